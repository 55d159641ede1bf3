"""Deliberate disorder, for servers that accept it: which fragments are late, which come again.

Fragments ``2 j`` and ``2 j + 1`` of a stream are a pair. Where a pair is chosen, its first fragment
is written with the later times, and the second one with the earlier times. Content stays what the
fragment's number says; only its time differs. What is chosen is a pure function of seed,
generation, stream and fragment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.mixer import fragment_keys, mix_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SWAP_GENERATION: Final = 2**42
_REPEAT_GENERATION: Final = 2**43
"""Keep the hashes that choose apart from those of content, starts and sparse reads."""


@dataclass(frozen=True, slots=True)
class Disorder:
    """What to choose in one generation: fractions of pairs and of fragments, 0 to 1."""

    seed: int
    generation: int
    out_of_order_fraction: float = 0.0
    duplicate_fraction: float = 0.0

    def swapped(
        self, streams: NDArray[np.uint32], fragments: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Tell of which fragments (m,) the pair is swapped."""
        pairs = fragments // np.uint32(2)
        return self._chosen(_SWAP_GENERATION, streams, pairs, self.out_of_order_fraction)

    def late(self, streams: NDArray[np.uint32], fragments: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Tell which fragments (m,) are older than what was written before: seconds of a pair."""
        second: NDArray[np.bool_] = fragments % np.uint32(2) == 1
        return second & self.swapped(streams, fragments)

    def repeated(
        self, streams: NDArray[np.uint32], fragments: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Tell which fragments (m,) are sent again when they are acknowledged."""
        return self._chosen(_REPEAT_GENERATION, streams, fragments, self.duplicate_fraction)

    def _chosen(
        self,
        generation: int,
        streams: NDArray[np.uint32],
        numbers: NDArray[np.uint32],
        fraction: float,
    ) -> NDArray[np.bool_]:
        keys = fragment_keys(self.seed, self.generation + generation, streams, numbers)
        # once more, as the numbers of neighbours differ in few bits
        chances = (mix_in_place(keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return chances < fraction


class Swaps:
    """Where in a swapped pair each stream of a population is: columns of length n.

    ``shift_ns`` int64: how far behind its usual place the next fragment is, if it is the first of a
    swapped pair, else 0. ``held`` bool: whether it is the second one, whose place has been kept.
    """

    def __init__(self, disorder: Disorder, first: int, n: int, span_ns: int) -> None:
        """``span_ns`` is the time from the start of a fragment to that of the next one."""
        self._disorder = disorder
        self._first = first
        self._span_ns = span_ns
        self.shift_ns = np.zeros(n, np.int64)
        self.held = np.zeros(n, np.bool_)
        self._enter(np.arange(n), np.zeros(n, np.uint32))

    def after(
        self,
        index: NDArray[np.intp],
        starts_ns: NDArray[np.int64],
        next_numbers: NDArray[np.uint32],
    ) -> NDArray[np.int64]:
        """Return where streams go on after their fragments at ``starts_ns``, int64 (m,).

        ``next_numbers`` are the numbers of the fragments that come then.
        """
        ends_ns = starts_ns + self._span_ns
        # the place before a first fragment is kept, behind a second one is the first one's
        ends_ns = np.where(self.shift_ns[index] > 0, starts_ns - self._span_ns, ends_ns)
        ends_ns = np.where(self.held[index], starts_ns + 2 * self._span_ns, ends_ns)
        self._enter(index, next_numbers)
        return ends_ns

    def _enter(self, index: NDArray[np.intp], numbers: NDArray[np.uint32]) -> None:
        streams = (index + self._first).astype(np.uint32)
        swapped = self._disorder.swapped(streams, numbers)
        second = numbers % np.uint32(2) == 1
        self.shift_ns[index] = np.where(swapped & ~second, self._span_ns, 0)
        self.held[index] = swapped & second
