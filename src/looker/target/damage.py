"""What faults do to entries and samples: as they are stored, and as they are answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from looker.target.runs import group_starts
from looker.target.series_labels import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from looker.target.append_rules import Batch
    from looker.target.faults import Faults
    from looker.target.loki_store import Page
    from looker.target.matchers import Labels
    from looker.target.series_store import Samples

    Offsets = NDArray[np.int64]
    Rows = NDArray[np.intp]

_UNIQUENAME = "looker_uniquename"
_FOREIGN_LINE = np.frombuffer(b"looker target: an entry that nobody wrote", np.uint8)
_OF_ENTRIES = (
    "drop-entry",
    "duplicate-entry",
    "corrupt-byte",
    "truncate-line",
    "shift-timestamp",
    "foreign-entry",
)
_OF_TEXTS = frozenset({"corrupt-byte", "truncate-line"})
_LOWEST_BIT = np.uint64(1)
_FOREIGN_BITS = np.uint64(0x0008_0000_0000_0001)  # never makes a NaN of a number


class StoreDamage:
    """Damages what is stored: columns of a push, its fragments one after the other.

    What one fault has struck is no opportunity of the next, so that counts add up.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.keeps_half = False  # of each fragment: set while a push is to be stored in part

    def log_entries(
        self,
        owners: Offsets,
        times: Offsets,
        offsets: Offsets,
        lengths: Offsets,
        buffer: NDArray[np.uint8],
    ) -> tuple[Offsets, Offsets, Offsets, Offsets, NDArray[np.uint8]]:
        """Return the columns (n,) and the lines' bytes with all faults in them.

        ``owners`` are the entries' streams, whatever numbers they have.
        """
        rows, struck = self._chosen(owners, lengths > 0)
        at = struck.get("corrupt-byte")
        if at is not None:
            buffer = buffer.copy()
            buffer[offsets[at] + lengths[at] // 2] ^= 1
        at = struck.get("truncate-line")
        if at is not None:
            lengths = lengths.copy()
            lengths[at] //= 2
        moved = _shifted(owners, times, struck.get("shift-timestamp"))
        stored = (owners[rows], moved[rows], offsets[rows], lengths[rows], buffer)
        at = struck.get("foreign-entry")
        if at is None:
            return stored
        n = len(at)
        return (
            np.append(stored[0], owners[at]),
            np.append(stored[1], times[at]),
            np.append(stored[2], np.full(n, len(buffer), np.int64)),
            np.append(stored[3], np.full(n, len(_FOREIGN_LINE), np.int64)),
            np.append(buffer, _FOREIGN_LINE),
        )

    def samples(self, batch: Batch) -> Batch:
        """Return the samples to be stored of those that a push has brought, sorted by series."""
        series, times, bits = batch.series, batch.times, batch.bits
        rows, struck = self._chosen(series, None)
        at = struck.get("corrupt-byte")
        if at is not None:
            bits = bits.copy()
            bits[at] ^= _LOWEST_BIT
        moved = _shifted(series, times, struck.get("shift-timestamp"))
        stored = replace(batch, series=series[rows], times=moved[rows], bits=bits[rows])
        at = struck.get("foreign-entry")
        if at is None:
            return stored
        return replace(
            stored,
            series=np.append(stored.series, series[at]),
            times=np.append(stored.times, times[at]),
            bits=np.append(stored.bits, bits[at] ^ _FOREIGN_BITS),
        )

    def _chosen(
        self, owners: Offsets, with_text: NDArray[np.bool_] | None
    ) -> tuple[Rows, dict[str, Rows]]:
        """Return which rows are stored, some twice, and those that each kind has struck.

        ``with_text`` (n,) are those that have a text to be damaged; None where none are texts.
        """
        n = len(owners)
        begins = group_starts(owners)
        sizes = np.diff(begins, append=n)
        fragments = np.repeat(np.arange(len(begins)), sizes)
        copies = np.ones(n, np.intp)
        if self.keeps_half:
            copies[np.arange(n) - begins[fragments] >= sizes[fragments] // 2] = 0
        free = copies > 0
        for kind, n_copies in (("drop-fragment", 0), ("duplicate-fragment", 2)):
            candidates = np.unique(fragments[free])
            hit = self._faults.take(kind, len(candidates))
            if hit is not None:
                own = free & np.isin(fragments, candidates[hit])
                copies[own] = n_copies
                free &= ~own
        struck: dict[str, Rows] = {}
        for kind in _OF_ENTRIES:
            if not self._faults.any_of(kind) or (with_text is None and kind == "truncate-line"):
                continue
            fitting = free
            if with_text is not None and kind in _OF_TEXTS:
                fitting = free & with_text
            rows = np.flatnonzero(fitting)
            hit = self._faults.take(kind, len(rows))
            if hit is not None:
                struck[kind] = rows[hit]
                free[rows[hit]] = False
        copies[struck.get("drop-entry", [])] = 0
        copies[struck.get("duplicate-entry", [])] = 2
        return np.repeat(np.arange(n), copies), struck


def _shifted(owners: Offsets, times: Offsets, at: Rows | None) -> Offsets:
    """Move times by one towards the middle of their fragment, so that they stay within it."""
    if at is None:
        return times
    begins = group_starts(owners)
    ends = np.append(begins[1:], len(owners))
    fragment = np.searchsorted(begins, at, "right") - 1
    moved = times.copy()
    moved[at] += np.where(2 * at + 1 < begins[fragment] + ends[fragment], 1, -1)
    return moved


class AnswerDamage:
    """Damages what queries have found: the store is as it was, a second answer may be right."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._last_labels: Labels | None = None
        self.n_found = 0  # entries or samples, by the queries of the present request

    def page(self, page: Page, cache_control: str) -> Page:
        """Return a page of log entries as it is answered."""
        labels, counts, rows = self._arranged(page.labels, page.counts, page.times, cache_control)
        return replace(
            page,
            labels=labels,
            counts=counts,
            times=page.times[rows],
            offsets=page.offsets[rows],
            lengths=page.lengths[rows],
        )

    def samples(self, samples: Samples, cache_control: str) -> Samples:
        """Return samples as they are answered."""
        labels, counts, rows = self._arranged(
            samples.labels, samples.counts, samples.times_ms, cache_control
        )
        return replace(
            samples,
            labels=labels,
            blobs=[encode(own) for own in labels],
            counts=counts,
            times_ms=samples.times_ms[rows],
            value_bits=samples.value_bits[rows],
        )

    def _arranged(
        self, labels: Sequence[Labels], counts: Offsets, times: Offsets, cache_control: str
    ) -> tuple[list[Labels], Offsets, Rows]:
        """Return the elements' labels and sizes, and which rows (of ``times``) are in them."""
        take, n = self._faults.take, len(times)
        self.n_found += n
        elements = np.repeat(np.arange(len(counts)), counts)
        rows = np.arange(n)
        # what caches have is from before the push; who asks past them gets what is there
        passes_caches = "no-cache" in cache_control or "no-store" in cache_control
        if n and not passes_caches and take("stale-read", 1) is not None:
            rows = rows[:0]
        elif n and take("short-page", 1) is not None:
            rows = np.sort(np.argsort(times, kind="stable")[: n // 2])
        named, elements, rows = self._merged(list(labels), elements[rows], times, rows)
        hit = take("wrong-label", len(named))
        for i in [] if hit is None else hit.tolist():
            named[i] = _mislabelled(named[i])
        named, elements, rows = self._split(named, elements, rows)
        rows = self._swapped(elements, times, rows)
        sizes = np.bincount(elements, minlength=len(named)).astype(np.int64)
        some = np.flatnonzero(sizes)
        return [named[i] for i in some.tolist()], sizes[some], rows

    def _merged(
        self, labels: list[Labels], elements: Offsets, times: Offsets, rows: Rows
    ) -> tuple[list[Labels], Offsets, Rows]:
        """Put elements under the labels of the ones before them, in the order of time."""
        present = np.unique(elements)
        if not self._faults.any_of("merge-streams") or not len(present):
            return labels, elements, rows
        # the very first one has none before it
        candidates = present if self._last_labels is not None else present[1:]
        hit = self._faults.take("merge-streams", len(candidates))
        struck = set() if hit is None else set(candidates[hit].tolist())
        into = np.arange(len(labels))
        before = -1
        for i in present.tolist():
            if i not in struck:
                before, self._last_labels = i, labels[i]
            elif before >= 0:
                into[i] = before
            elif self._last_labels is not None:
                before, labels[i] = i, self._last_labels
        elements = into[elements]
        order = np.lexsort((times[rows], elements)) if struck else np.arange(len(rows))
        return labels, elements[order], rows[order]

    def _split(
        self, labels: list[Labels], elements: Offsets, rows: Rows
    ) -> tuple[list[Labels], Offsets, Rows]:
        """Answer elements as two of the same labels, the rows in turn."""
        sizes = np.bincount(elements, minlength=len(labels))
        divisible = np.flatnonzero(sizes > 1)
        hit = self._faults.take("split-streams", len(divisible))
        if hit is None:
            return labels, elements, rows
        chosen = np.zeros(len(labels), np.bool_)
        chosen[divisible[hit]] = True
        begins = np.cumsum(sizes) - sizes
        odd = (np.arange(len(rows)) - begins[elements]) % 2 == 1
        second = 2 * elements + (odd & chosen[elements])
        order = np.argsort(second, kind="stable")
        return [own for own in labels for _ in range(2)], second[order], rows[order]

    def _swapped(self, elements: Offsets, times: Offsets, rows: Rows) -> Rows:
        """Exchange neighbours of different times: the first with the second, and so on."""
        if not self._faults.any_of("swap-entries") or not len(rows):
            return rows
        begins = group_starts(elements)
        position = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
        first = np.flatnonzero(position[:-1] % 2 == 0)
        first = first[elements[first] == elements[first + 1]]
        first = first[times[rows[first]] != times[rows[first + 1]]]
        hit = self._faults.take("swap-entries", len(first))
        if hit is None:
            return rows
        at, rows = first[hit], rows.copy()
        rows[at], rows[at + 1] = rows[at + 1], rows[at]
        return rows


def _mislabelled(labels: Labels) -> Labels:
    """Change the value of the last label that is not the stream's unique name."""
    names = [name for name, _ in labels]
    chosen = next((name for name in reversed(names) if name != _UNIQUENAME), _UNIQUENAME)
    return tuple((name, f"{value}x" if name == chosen else value) for name, value in labels)
