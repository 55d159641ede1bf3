"""The streams of one worker as columns, and which of them may be written to now.

Loose coupling to wall time (per stream, for all streams at once):

- start: uniform in ``[now - max_lag, now - min_lag)``, narrowed so that neither rule below fires
  for the first fragment;
- throttle: a fragment is written only when its newest sample is at least ``min_lag`` old;
- forward leap: a stream whose newest sample is older than ``max_lag`` continues so that the next
  fragment's last sample is ``min_lag`` old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.generate.disorder import Swaps
from looker.generate.mixer import stream_keys
from looker.model.fragment import FragmentBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from looker.generate.disorder import Disorder

MAX_OUTSTANDING: Final = 2
"""Fragments of one stream that are generated and not yet answered for: one on the wire, one
ahead."""
_SCAN: Final = 65_536
_MIN_SCAN: Final = 1_024
_START_GENERATION: Final = 2**40
"""Keeps the hash of a stream's start apart from that of its content."""


@dataclass(frozen=True, slots=True)
class Coupling:
    """How streams follow wall time; all in nanoseconds.

    ``tick_ns`` is the resolution of timestamps: 1 for logs, 1,000,000 for metrics. With
    ``fixed_start_ns`` all streams start there, and nothing is coupled to wall time.
    """

    n_samples: int
    step_ns: int
    min_lag_ns: int
    max_lag_ns: int
    tick_ns: int
    fixed_start_ns: int | None = None

    @property
    def width_ns(self) -> int:
        """Time from a fragment's first sample to its last one."""
        return (self.n_samples - 1) * self.step_ns

    def starts(self, now_ns: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return a start for each stream, int64 (m,): a pure function of its key and ``now``."""
        if self.fixed_start_ns is not None:
            return self._floor(np.full(keys.shape, self.fixed_start_ns, np.int64))
        # newest of the first fragment: start + width, at most now - min_lag
        latest = now_ns - self.min_lag_ns - self.width_ns
        # newest before the first fragment: start - step, at least now - max_lag
        earliest = now_ns - self.max_lag_ns + self.step_ns
        # a multiple of the tick, so that rounding down does not lead before it
        earliest = min(latest, earliest + -earliest % self.tick_ns)
        span = latest - earliest
        fractions = (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53
        starts = earliest + (fractions * span).astype(np.int64)
        return self._floor(starts)

    def ready_at(self, next_ns: NDArray[np.int64], now_ns: int) -> NDArray[np.int64]:
        """Return when each stream's next fragment may be written, ns."""
        if self.fixed_start_ns is not None:
            return np.full(next_ns.shape, now_ns)
        starts = self.leapt(next_ns, now_ns)
        return starts + (self.width_ns + self.min_lag_ns)

    def ready(self, next_ns: NDArray[np.int64], now_ns: int) -> NDArray[np.bool_]:
        """Return whether each stream's next fragment may be written: ``ready_at(...) <= now_ns``.

        A leap leads to where the throttle just allows it, so that it need not be looked at.
        """
        if self.fixed_start_ns is not None:
            return np.ones(next_ns.shape, np.bool_)
        return next_ns <= now_ns - self.min_lag_ns - self.width_ns

    def leapt(self, next_ns: NDArray[np.int64], now_ns: int) -> NDArray[np.int64]:
        """Return each stream's next start, moved forward where its newest sample is too old."""
        if self.fixed_start_ns is not None:
            return next_ns
        too_old = next_ns - self.step_ns < now_ns - self.max_lag_ns
        target = now_ns - self.min_lag_ns - self.width_ns
        target -= target % self.tick_ns
        return np.where(too_old, np.maximum(next_ns, target), next_ns)

    def _floor(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        return times_ns if self.tick_ns == 1 else times_ns - times_ns % self.tick_ns


@dataclass(frozen=True, eq=False, slots=True)
class Picked:
    """Fragments that may be written now, and how many of their streams leapt forward."""

    batch: FragmentBatch
    n_leaps: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many streams may go on now, and when a wanted number of them may.

    ``enough_ns`` is that wall time, where only time has to pass until then; None where answers have
    to come first. ``n_unfinished`` streams have fragments left in this cycle.
    """

    n_ready: int
    enough_ns: int | None
    n_unfinished: int


class Population:
    """Streams ``first`` to ``first + n - 1`` of a generation: about 13 bytes for each.

    Not thread-safe: the thread that picks also resolves.
    """

    def __init__(
        self,
        *,
        seed: int,
        generation: int,
        first: int,
        n: int,
        coupling: Coupling,
        now_ns: int,
        disorder: Disorder | None = None,
    ) -> None:
        self.first = first
        self.n = n
        self.coupling = coupling
        self.next_ns = np.empty(n, np.int64)
        # in blocks: temporary columns of all streams would be larger than all that is kept
        for part in _blocks(n):
            numbers = np.arange(first + part.start, first + part.stop, dtype=np.uint32)
            keys = stream_keys(seed, generation + _START_GENERATION, numbers)
            self.next_ns[part] = coupling.starts(now_ns, keys)
        self.n_fragments = np.zeros(n, np.uint32)
        self.outstanding = np.zeros(n, np.uint8)
        self._swaps: Swaps | None = None
        if disorder is not None and disorder.out_of_order_fraction > 0:
            self._swaps = Swaps(disorder, first, n, coupling.n_samples * coupling.step_ns)
        self._limits: NDArray[np.uint32] | None = None
        self._cursor = 0

    def begin_cycle(self, max_fragments: int | None) -> None:
        """Allow ``max_fragments`` further fragments of each stream; None means any number."""
        self._limits = None
        if max_fragments is not None:
            # a limit for all, unless a cycle without one has left them at different numbers
            alike = not self.n or bool((self.n_fragments == self.n_fragments[0]).all())
            done = self.n_fragments[:1] if alike else self.n_fragments
            limits = done.astype(np.uint64) + np.uint64(max_fragments)
            limits = np.minimum(limits, np.uint64(2**32 - 1)).astype(np.uint32)
            self._limits = np.broadcast_to(limits, self.n_fragments.shape)
        self._cursor = 0
        self.outstanding[:] = 0

    def exhausted(self) -> bool:
        """Tell whether every stream has had all the fragments of its cycle."""
        return self._limits is not None and bool((self.n_fragments >= self._limits).all())

    def pick(self, n_wanted: int, now_ns: int) -> Picked | None:
        """Take up to ``n_wanted`` fragments of different streams that may be written at ``now_ns``.

        Streams take turns. Returns None where none is ready.
        """
        chosen: list[NDArray[np.intp]] = []
        n_chosen, scanned = 0, 0
        # most are ready as a rule: no need to look at more than are wanted at first
        scan = min(_SCAN, max(_MIN_SCAN, n_wanted))
        while scanned < self.n and n_chosen < n_wanted:
            at = self._cursor
            until = min(at + scan, self.n, at + self.n - scanned)
            scan = min(_SCAN, 2 * scan)
            found = at + np.flatnonzero(self._ready(slice(at, until), now_ns))
            if len(found) > n_wanted - n_chosen:
                found = found[: n_wanted - n_chosen]
                until = int(found[-1]) + 1
            chosen.append(found)
            n_chosen += len(found)
            scanned += until - at
            self._cursor = until % self.n
        if not n_chosen:
            return None
        return self._take(np.concatenate(chosen), now_ns)

    def next_ready_ns(self, now_ns: int) -> int | None:
        """Return the wall time at which some stream is ready; None if that waits for answers."""
        earliest = [
            int(self.coupling.ready_at(self._places_ns(part)[open_], now_ns).min())
            for part in _blocks(self.n)
            if (open_ := self._open(part)).any()
        ]
        return min(earliest, default=None)

    def outlook(self, n_wanted: int, now_ns: int) -> Outlook:
        """Return how many streams are ready, and when ``n_wanted`` are."""
        n_unfinished = self.n
        if self._limits is not None:
            n_unfinished = int(np.count_nonzero(self.n_fragments < self._limits))
        n_ready, earliest = 0, np.empty(0, np.int64)
        for part in _blocks(self.n):
            open_ = self._open(part)
            if not open_.any():
                continue
            ready_ns = self.coupling.ready_at(self._places_ns(part)[open_], now_ns)
            n_ready += int(np.count_nonzero(ready_ns <= now_ns))
            earliest = np.concatenate((earliest, ready_ns))
            if len(earliest) > n_wanted:
                earliest = np.partition(earliest, n_wanted - 1)[:n_wanted]
        enough_ns = int(earliest.max()) if len(earliest) == n_wanted else None
        return Outlook(n_ready, enough_ns, n_unfinished)

    def resolve(self, streams: NDArray[np.uint32]) -> None:
        """Note that a fragment of each of these streams has been answered for."""
        np.subtract.at(self.outstanding, streams - np.uint32(self.first), np.uint8(1))

    def _places_ns(self, which: slice | NDArray[Any]) -> NDArray[np.int64]:
        """Return where the next fragments of some streams begin, unless they leap."""
        places: NDArray[np.int64] = self.next_ns[which]
        return places if self._swaps is None else places + self._swaps.shift_ns[which]

    def _ready(self, part: slice, now_ns: int) -> NDArray[np.bool_]:
        ready = self._open(part)
        ready &= self.coupling.ready(self._places_ns(part), now_ns)
        return ready

    def _open(self, part: slice) -> NDArray[np.bool_]:
        """Tell which streams may have another fragment under way."""
        open_ = self.outstanding[part] < MAX_OUTSTANDING
        if self._limits is not None:
            open_ &= self.n_fragments[part] < self._limits[part]
        return open_

    def _take(self, index: NDArray[np.intp], now_ns: int) -> Picked:
        coupling, swaps = self.coupling, self._swaps
        # neighbours are a view of the columns, which is several times as fast
        first, last = int(index[0]), int(index[-1])
        chosen = slice(first, last + 1) if last - first + 1 == len(index) else index
        before = self._places_ns(chosen)
        starts = coupling.leapt(before, now_ns)
        if swaps is not None:
            starts = np.where(swaps.held[index], before, starts)
        n_leaps = int(np.count_nonzero(starts != before))
        batch = FragmentBatch(
            (index + self.first).astype(np.uint32),
            np.array(self.n_fragments[chosen]),
            np.array(starts),
            coupling.n_samples,
            coupling.step_ns,
        )
        self.n_fragments[chosen] += np.uint32(1)
        if swaps is None:
            self.next_ns[chosen] = starts + coupling.n_samples * coupling.step_ns
        else:
            self.next_ns[chosen] = swaps.after(index, starts, self.n_fragments[index])
        self.outstanding[chosen] += np.uint8(1)
        return Picked(batch, n_leaps)


def _blocks(n: int) -> Iterator[slice]:
    for first in range(0, n, _SCAN):
        yield slice(first, min(first + _SCAN, n))
