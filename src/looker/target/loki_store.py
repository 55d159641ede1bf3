"""Log entries in memory: all lines in one arena, everything else in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.target.effort import check, checked
from looker.target.label_index import LabelIndex
from looker.target.matchers import label_string, parse_labels
from looker.target.memory import PUSH_BYTES, Arena, Budget
from looker.target.runs import Runs, ranges
from looker.wire import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from looker.target.damage import StoreDamage
    from looker.target.matchers import Labels, Matcher
    from looker.target.runs import Run
    from looker.wire.decode import LogColumns

    Offsets = NDArray[np.int64]
    _Part = tuple[Run, Offsets, Offsets, Offsets]

ENTRY_BYTES = 32  # stream, time, line offset and length
STREAM_BYTES = 600  # Python objects of one stream, besides its labels
TENANT_BYTES = 4000
TAKEN_BYTES = 100  # of each entry that a query takes, while it is sorted
_BLOCK = 1 << 16
_LEAST_TAKEN = 16


@dataclass(frozen=True, eq=False)
class Page:
    """Entries that answer one query, stream after stream in label order, in query direction.

    ``labels`` and ``counts`` have one item per stream (s,). Per entry, int64 (n,): ``times``,
    and ``offsets`` and ``lengths`` of the lines within ``lines`` (uint8).
    """

    labels: list[Labels]
    counts: Offsets
    times: Offsets
    offsets: Offsets
    lengths: Offsets
    lines: NDArray[np.uint8]


class _Tenant:
    """The streams of one tenant; a stream's number is its place in the index."""

    def __init__(self, store: LokiStore) -> None:
        self.index = LabelIndex(label_string)
        self.by_text: dict[bytes, int] = {}
        self.by_labels: dict[Labels, int] = {}
        self.runs = Runs(store.distinct)
        self.flushed = Runs(store.distinct)

    def flush(self) -> None:
        """Move all entries to the flushed ones."""
        for run in self.runs.sorted_runs():
            streams = np.repeat(run.streams, np.diff(run.bounds))
            self.flushed.append(streams, run.times, *run.columns)
        self.runs = Runs(self.runs.dedupe)

    def parts(
        self, numbers: Offsets, start_ns: int, stop_ns: int, visible_from_ns: int | None
    ) -> list[_Part]:
        """Find the segments of a time range, of entries that are visible."""
        if len(numbers) == 0:
            return []
        unflushed_from = start_ns if visible_from_ns is None else max(start_ns, visible_from_ns)
        return [
            (run, *run.segments(numbers, begin_ns, stop_ns))
            for runs, begin_ns in ((self.flushed, start_ns), (self.runs, unflushed_from))
            for run in runs.sorted_runs()
        ]


class LokiStore:
    """Every tenant's streams, within one budget.

    ``damage``, if any, is done to all that is stored; equal entries are then kept as often as
    they come where ``keeps_duplicates`` says so.
    """

    def __init__(
        self, budget: Budget, damage: StoreDamage | None = None, *, keeps_duplicates: bool = False
    ) -> None:
        self.budget = budget
        self._damage = damage
        self._keeps_duplicates = keeps_duplicates
        self._arena = Arena(budget.limit_bytes)
        self._tenants: dict[str, _Tenant] = {}

    def push(self, tenant: str, columns: LogColumns) -> None:
        """Store all entries, or raise and store none.

        Raises SelectorError for a label string that is none, MemoryLimitError.
        """
        owner = self._tenants.get(tenant)
        tenant_bytes = 0 if owner is not None else TENANT_BYTES + len(tenant)
        owner = owner or _Tenant(self)
        texts = columns.label_strings()
        fresh = {
            text: parse_labels(text.decode(errors="replace"))
            for text in checked(dict.fromkeys(texts))
            if text not in owner.by_text
        }
        labels_bytes = tenant_bytes + sum(STREAM_BYTES + 3 * len(text) for text in fresh)
        if fresh:
            labels_bytes += owner.index.cost(fresh.values())
        owners = np.repeat(np.arange(len(texts)), columns.counts)
        times, buffer = columns.timestamps_ns, columns.buffer
        offsets, lengths = columns.line_offsets, columns.line_lengths
        if self._damage is not None:
            owners, times, offsets, lengths, buffer = self._damage.log_entries(
                owners, times, offsets, lengths, buffer
            )
        self.budget.take(PUSH_BYTES + len(buffer) + len(times) * ENTRY_BYTES + labels_bytes)
        self._tenants[tenant] = owner
        for text, labels in fresh.items():
            number = owner.by_labels.get(labels)
            if number is None:
                number = owner.index.add(labels)
                owner.by_labels[owner.index.labels[number]] = number
            owner.by_text[text] = number
        numbers = np.array([owner.by_text[text] for text in texts], np.int64)
        base = self._arena.append(buffer)
        owner.runs.append(numbers[owners], times, offsets + base, lengths)

    def append(
        self,
        tenant: str,
        names: Sequence[Labels],
        streams: Offsets,
        columns: LogColumns,
        at: Offsets,
    ) -> None:
        """Store the entries ``at`` of a request, each in the stream of its number in ``names``.

        ``names`` only ever grows, and nothing else is stored for this tenant. Raises
        MemoryLimitError.
        """
        owner = self._tenants.setdefault(tenant, _Tenant(self))
        fresh = names[len(owner.index.labels) :]
        labels_bytes = sum(STREAM_BYTES + 3 * len(label_string(labels)) for labels in fresh)
        labels_bytes += owner.index.cost(fresh)
        times, buffer = columns.timestamps_ns[at], columns.buffer
        offsets, lengths = columns.line_offsets[at], columns.line_lengths[at]
        if self._damage is not None:
            streams, times, offsets, lengths, buffer = self._damage.log_entries(
                streams, times, offsets, lengths, buffer
            )
        self.budget.take(PUSH_BYTES + len(buffer) + len(times) * ENTRY_BYTES + labels_bytes)
        for labels in fresh:
            owner.index.add(labels)
        base = self._arena.append(buffer)
        owner.runs.append(streams, times, offsets + base, lengths)

    def flush(self) -> None:
        """Count all entries of all tenants as flushed."""
        for owner in self._tenants.values():
            owner.flush()

    def streams(
        self,
        tenant: str,
        matchers: Sequence[Matcher],
        start_ns: int,
        stop_ns: int,
        visible_from_ns: int | None = None,
    ) -> list[Labels]:
        """List the streams that have entries within [start, stop), in label order."""
        owner = self._tenants.get(tenant)
        if owner is None:
            return []
        numbers = owner.index.select(matchers)
        parts = owner.parts(numbers, start_ns, stop_ns, visible_from_ns)
        found = np.unique(np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)]))
        return [owner.index.labels[number] for number in numbers[found].tolist()]

    def query(
        self,
        tenant: str,
        matchers: Sequence[Matcher],
        start_ns: int,
        stop_ns: int,
        limit: int,
        visible_from_ns: int | None = None,
    ) -> Page:
        """Take the entries of a time range [start, stop).

        ``limit`` > 0 takes the oldest so many, ascending; < 0 the newest so many, descending.
        Of entries that are not flushed, those before ``visible_from_ns`` are left out. LoanError
        where the entries take too much memory.
        """
        owner = self._tenants.get(tenant)
        lines = self._arena.used
        nothing = np.zeros(0, np.int64)
        if owner is None or start_ns >= stop_ns:
            return Page([], nothing, nothing, nothing, nothing, lines)
        numbers = owner.index.select(matchers)
        parts = owner.parts(numbers, start_ns, stop_ns, visible_from_ns)
        n_there = sum(int((ends - begins).sum()) for _, _, begins, ends in parts)
        n_taken = max(8 * abs(limit), _LEAST_TAKEN * sum(len(part[1]) for part in parts))
        with self.budget.loan(TAKEN_BYTES * min(n_there, n_taken)):
            ranks, times, offsets, lengths = self._take(parts, limit)
        if limit < 0:
            ranks, times, offsets, lengths = (c[::-1] for c in (ranks, times, offsets, lengths))
        order = np.argsort(ranks, kind="stable")
        found, counts = np.unique(ranks, return_counts=True)
        labels = [owner.index.labels[number] for number in numbers[found].tolist()]
        return Page(labels, counts, times[order], offsets[order], lengths[order], lines)

    def _take(self, parts: list[_Part], limit: int) -> tuple[Offsets, Offsets, Offsets, Offsets]:
        """Take the ``limit`` first entries by time (< 0: the last ones), sorted by time."""
        n_segments = sum(len(ranks) for _, ranks, _, _ in parts)
        quota = max(_LEAST_TAKEN, 2 * abs(limit) // max(1, n_segments))
        exact = False
        while True:
            # Each segment gives its first ``quota``: complete up to the first time left out.
            columns, bound = _heads(parts, quota, newest=limit < 0)
            complete = bound is None
            if bound is not None:
                inside = columns[1] > bound if limit < 0 else columns[1] < bound
                columns = tuple(column[inside] for column in columns)
            if len(columns[0]) >= abs(limit) or complete:
                n_before = len(columns[0])
                columns = self._ordered(columns, None if exact else limit)
                n = len(columns[0])
                if n >= abs(limit) or (complete and (exact or n_before <= abs(limit))):
                    cut = slice(0, limit) if limit > 0 else slice(max(0, n + limit), n)
                    ranks, times, offsets, lengths = (column[cut] for column in columns)
                    return ranks, times, offsets, lengths
                exact = True  # duplicates took places: take them out before cutting
            quota *= 4

    def _ordered(self, columns: tuple[Any, ...], limit: int | None) -> tuple[Any, ...]:
        """Sort by (time, rank) without duplicates, first dropping what ``limit`` cuts off."""
        ranks, times = columns[0], columns[1]
        if limit is not None and 0 < abs(limit) < len(times):
            last = np.partition(times, limit - 1 if limit > 0 else limit)[
                limit - 1 if limit > 0 else limit
            ]
            near = times <= last if limit > 0 else times >= last
            columns = tuple(column[near] for column in columns)
            ranks, times = columns[0], columns[1]
        if bool((times[1:] <= times[:-1]).any()):
            order = np.lexsort((ranks, times))
            columns = tuple(column[order] for column in columns)
        kept = self.distinct(*columns)
        return columns if kept is None else tuple(column[kept] for column in columns)

    def distinct(
        self, streams: Offsets, times: Offsets, offsets: Offsets, lengths: Offsets
    ) -> Offsets | None:
        """Find the positions of first occurrences of (stream, time, line); None for all.

        Equal streams and times lie next to each other.
        """
        if self._keeps_duplicates:
            return None
        tied = (times[1:] == times[:-1]) & (streams[1:] == streams[:-1])
        if not bool(tied.any()):
            return None
        involved = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
        digests = np.fromiter(self._digests(offsets[involved], lengths[involved]), np.int64)
        order = np.lexsort((digests, times[involved], streams[involved]))
        at, digests = involved[order], digests[order]
        alike = (digests[1:] == digests[:-1]) & (times[at[1:]] == times[at[:-1]])
        alike &= streams[at[1:]] == streams[at[:-1]]
        kept = np.ones(len(times), np.bool_)
        for pair in checked(np.flatnonzero(alike).tolist()):
            one, other = (self._line(offsets[n], lengths[n]) for n in at[pair : pair + 2])
            if one == other:
                kept[at[pair + 1]] = False
        return None if bool(kept.all()) else np.flatnonzero(kept)

    def _digests(self, offsets: Offsets, lengths: Offsets) -> Iterator[int]:
        """Hash lines, some of them at a time: they are not to be in memory twice."""
        lines = self._arena.used
        for begin in range(0, len(offsets), _BLOCK):
            check()
            part = slice(begin, begin + _BLOCK)
            yield from map(hash, records.slices(lines, offsets[part], lengths[part]))

    def _line(self, offset: int, length: int) -> bytes:
        return self._arena.used[offset : offset + length].tobytes()


def _heads(parts: list[_Part], quota: int, *, newest: bool) -> tuple[tuple[Any, ...], int | None]:
    """Gather up to ``quota`` entries of each segment, from the end that the query begins at.

    Returns the columns (ranks, times, offsets, lengths) and the first time that was left out.
    """
    gathered, left_out = [], []
    for run, ranks, begins, ends in parts:
        cut = ends - begins > quota
        if newest:
            first, last = np.where(cut, ends - quota, begins), ends
            left_out.append(run.times[first[cut] - 1])
        else:
            first, last = begins, np.where(cut, begins + quota, ends)
            left_out.append(run.times[last[cut]])
        at = ranges(first, last)
        gathered.append(
            (np.repeat(ranks, last - first), run.times[at], *(c[at] for c in run.columns))
        )
    if not gathered:
        nothing = np.zeros(0, np.int64)
        return (nothing, nothing, nothing, nothing), None
    columns = tuple(np.concatenate(column) for column in zip(*gathered, strict=True))
    bounds = np.concatenate(left_out)
    if len(bounds) == 0:
        return columns, None
    return columns, int(bounds.max() if newest else bounds.min())
