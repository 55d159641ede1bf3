"""The checksum of ledgers of format 2, to read them: nothing is written with it any more.

With fixed odd keys ``P`` (by position) and ``K`` (by word) it is
``sum_i P[i] * (K[0] * t[i] + sum_w K[w + 1] * y[i, w])`` modulo 2**64, where ``t`` are timestamps
in nanoseconds and ``y`` the words of the content. An odd key leaves the highest bit of a word where
it is, and spreads the others the less, the higher they are: two changed signs go unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.wire.checksum import Checksum, keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_POSITION_SEED: Final = 0x5EED_0001
_WORD_SEED: Final = 0x5EED_0002
_ODD: Final = np.uint64(1)


class ChecksumOfFormat2(Checksum):
    """As :class:`Checksum`; a fragment is one block."""

    def __init__(self, n_samples: int, n_words: int) -> None:
        self.samples_per_block, self.n_blocks = n_samples, 1
        self._positions = keys(_POSITION_SEED, n_samples) | _ODD
        self._time, *_ = words = keys(_WORD_SEED, n_words + 1) | _ODD
        self._words = words[1:]

    def passes(
        self,
        words: NDArray[np.uint64],
        *,
        overwrite: bool = False,  # noqa: ARG002
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
        """Yield the only pass: keys (n_samples, 1), factors (..., 1) by words (..., n_words)."""
        yield self._positions[:, None], np.einsum("...w,w", words, self._words)[..., None]

    def of_content(
        self, checksums: NDArray[np.uint64], start_ns: NDArray[np.int64], step_ns: int
    ) -> NDArray[np.uint64]:
        """Return checksums of whole fragments (m,) without what their times add."""
        numbers = np.arange(len(self._positions), dtype=np.uint64)
        steps = (self._positions * numbers).sum() * np.array(step_ns, np.uint64)
        times = start_ns.astype(np.uint64) * self._positions.sum() + steps
        content: NDArray[np.uint64] = checksums - times * self._time
        return content
