"""Records of many streams, columnar: appended as they come, sorted when they are asked for.

A *run* is a block sorted by (stream, time). What was pushed since the last query becomes one
run; runs of similar size are merged, so there are few of them (about log2 of the records) and
each record is moved as often at most. A *segment* is the part of one run that belongs to one
stream: a range of positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.target.effort import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]
    Dedupe = Callable[[Offsets, Offsets, Offsets, Offsets], Offsets | None]

_SORT_S = 1e-7  # of each record, roughly: it cannot be interrupted


@dataclass(frozen=True, eq=False)
class Run:
    """Records sorted by (stream, time).

    ``streams`` int64 (s,) ascending numbers, ``bounds`` int64 (s + 1,) their positions,
    ``times`` int64 (n,), ``columns`` what else a record has (n,).
    """

    streams: Offsets
    bounds: Offsets
    times: Offsets
    columns: tuple[NDArray[Any], ...]

    def segments(self, streams: Offsets, start: int, stop: int) -> tuple[Offsets, Offsets, Offsets]:
        """Find each stream's records within [start, stop): (index into streams, from, to).

        Only streams that have such records are listed.
        """
        at = np.searchsorted(self.streams, streams)
        present = np.flatnonzero(self.streams.take(at, mode="clip") == streams)
        at = at[present]
        first, last = self.bounds[at], self.bounds[at + 1]
        begins = _bisect(self.times, start, first, last)
        ends = _bisect(self.times, stop, begins, last)
        some = ends > begins
        return present[some], begins[some], ends[some]


def _bisect(times: Offsets, bound: int, first: Offsets, last: Offsets) -> Offsets:
    """Find in each sorted part [first, last) the first position with a time >= bound."""
    low, high = first.copy(), last.copy()
    while True:
        open_ = low < high
        if not bool(open_.any()):
            return low
        middle = (low + high) >> 1
        below = open_ & (times.take(middle, mode="clip") < bound)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)


def ranges(begins: Offsets, ends: Offsets) -> Offsets:
    """List all positions of [begin, end) of every part, one part after the other."""
    sizes = ends - begins
    before = np.cumsum(sizes) - sizes
    positions: Offsets = np.arange(int(sizes.sum())) + np.repeat(begins - before, sizes)
    return positions


def group_starts(keys: Offsets) -> Offsets:
    """Find the positions at which a column's value differs from the one before."""
    starts = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=starts[1:])
    return np.flatnonzero(starts)


class Runs:
    """The runs of one tenant, and what is not sorted yet.

    ``dedupe``, if given, takes the sorted columns (streams, times, and the two others) and
    returns the positions to keep, None for all.
    """

    def __init__(self, dedupe: Dedupe | None = None) -> None:
        self.dedupe = dedupe
        self._pending: list[tuple[Any, ...]] = []
        self._runs: list[Run] = []

    def append(self, streams: Offsets, times: Offsets, *columns: NDArray[Any]) -> None:
        """Take records as they came; all columns (n,)."""
        if len(times):
            self._pending.append((streams, times, *columns))

    def sorted_runs(self) -> list[Run]:
        """Sort what is pending, merge, and return the runs, the oldest first."""
        if self._pending:
            expect(_SORT_S * sum(len(part[0]) for part in self._pending))
            columns = [np.concatenate(parts) for parts in zip(*self._pending, strict=True)]
            # what fails on the way costs nothing of what was taken
            self._runs.append(self._sort(columns))
            self._pending.clear()
        while len(self._runs) > 1 and len(self._runs[-2].times) < 2 * len(self._runs[-1].times):
            expect(_SORT_S * sum(len(run.times) for run in self._runs[-2:]))
            self._runs[-2:] = [self._merge(*self._runs[-2:])]
        return self._runs

    def _merge(self, older: Run, newer: Run) -> Run:
        columns = (
            (np.repeat(run.streams, np.diff(run.bounds)), run.times, *run.columns)
            for run in (older, newer)
        )
        return self._sort([np.concatenate(pair) for pair in zip(*columns, strict=True)])

    def _sort(self, columns: list[NDArray[Any]]) -> Run:
        streams = columns[0]
        if bool((streams[1:] < streams[:-1]).any()):
            # Stable: what arrived first stays first; presorted stretches make it cheap.
            order = np.argsort(streams, kind="stable")
            columns = [column[order] for column in columns]
        streams, times = columns[:2]
        same = streams[1:] == streams[:-1]
        if bool((same & (times[1:] < times[:-1])).any()):
            order = np.lexsort((times, streams))
            columns = [column[order] for column in columns]
        kept = None if self.dedupe is None else self.dedupe(*columns)
        if kept is not None:
            columns = [column[kept] for column in columns]
        streams = columns[0]
        begins = group_starts(streams)
        bounds = np.append(begins, len(streams))
        return Run(streams[begins], bounds, columns[1], tuple(columns[2:]))
