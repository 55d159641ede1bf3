"""Log entries as Loki push messages: generated, encoded and summed up in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.content import SampleGrid
from looker.generate.encoder import EncodedBatch, blocks
from looker.wire.checksum import words_of_lines
from looker.wire.columns import BLOCK_BYTES, records_of, store_digits
from looker.wire.loki import (
    NS_PER_S,
    EntryLayout,
    entry_layout,
    nanos_lengths,
    split_seconds,
    stream_head_widths,
    stream_heads,
    stream_labels,
)
from looker.wire.records import scatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.generate.lines import LineContent
    from looker.model.fragment import FragmentBatch

TIMESTAMP_DIGITS: Final = 19
_SECONDS_DIGITS: Final = 10
_KNOWN_SECONDS: Final = 256
_MIXED: Final = np.uint8(6)
"""The class of fragments whose entries differ in width."""


class EntryPrefixes:
    """What entries of a layout begin with, second by second; made for many seconds at once.

    Room is left for the nanoseconds, and for their digits.
    """

    def __init__(self, layout: EntryLayout, lines: LineContent) -> None:
        self._layout = layout
        self._lines = lines
        self._first_s = 0
        self._known = np.empty(0, f"V{len(layout.head) + lines.text_at}")

    def of(self, seconds: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the prefixes of entries of these seconds (m,), one record each."""
        low, high = int(seconds.min()), int(seconds.max())
        if high - low >= _KNOWN_SECONDS:
            return self._make(seconds)
        if not self._first_s <= low <= high < self._first_s + len(self._known):
            self._first_s = low
            self._known = self._make(np.arange(low, low + _KNOWN_SECONDS))
        return self._known[seconds - self._first_s]

    def _make(self, seconds: NDArray[np.int64]) -> NDArray[np.void]:
        head = len(self._layout.head)
        prefixes = np.empty((len(seconds), self._known.itemsize), np.uint8)
        prefixes[:, :head] = self._layout.heads(seconds)
        if self._lines.include_time:
            store_digits(prefixes[:, head : head + _SECONDS_DIGITS], seconds)
            prefixes[:, -1] = ord(":")
        made: NDArray[np.void] = records_of(prefixes)
        return made


@dataclass(frozen=True, eq=False, slots=True)
class _Filling:
    """A batch whose entries are being stored, and summed up: ``sums`` (m, blocks of a fragment)."""

    batch: FragmentBatch
    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sums: NDArray[np.uint64]


class LogEncoder:
    """Encodes fragments of log entries.

    Entries are as wide as the varint of their nanoseconds demands. Within a fragment that width
    rarely changes, so fragments of one width are put next to each other and filled as one
    two-dimensional array; the few others are scattered entry by entry.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._lines = content.lines()
        self._checksum = content.checksum()
        self._labels = stream_labels(content.scheme)
        self._layouts = [entry_layout(width, content.n_chars) for width in range(int(_MIXED))]
        self._widths = np.array([layout.width for layout in self._layouts], np.int64)
        self._prefixes = [EntryPrefixes(layout, self._lines) for layout in self._layouts]
        self.sample_bytes = int(self._widths.max())
        self.fixed_bytes = int(stream_head_widths(self._labels.width, np.array([2**31 - 1]))[0])

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch, ordered by the width of its entries."""
        classes = self._classes(batch)
        if classes.min() != classes.max():
            order = np.argsort(classes, kind="stable")
            batch, classes = batch.take(order), classes[order]
        bounds = np.searchsorted(classes, np.arange(int(_MIXED) + 2))
        uniform = int(bounds[_MIXED])
        entries_bytes = np.empty(len(batch), np.int64)
        entries_bytes[:uniform] = self._widths[classes[:uniform]] * batch.n_samples
        if uniform < len(batch):
            mixed_widths = self._mixed_classes(batch, slice(uniform, len(batch)))
            entries_bytes[uniform:] = self._widths[mixed_widths].sum(axis=1)
        offsets = np.zeros(len(batch) + 1, np.int64)
        heads = stream_head_widths(self._labels.width, entries_bytes)
        np.cumsum(entries_bytes + heads, out=offsets[1:])
        buffer = np.empty(int(offsets[-1]), np.uint8)
        sums = np.zeros((len(batch), self._checksum.n_blocks), np.uint64)
        encoded = _Filling(batch, buffer, offsets, sums)
        grid = SampleGrid(self._content, batch)
        for width, layout in enumerate(self._layouts):
            if bounds[width] < bounds[width + 1]:
                rows = slice(int(bounds[width]), int(bounds[width + 1]))
                self._fill_uniform(encoded, grid, rows, layout)
        if uniform < len(batch):
            self._fill_mixed(encoded, grid, uniform, mixed_widths)
        return EncodedBatch(batch, buffer, offsets, self._checksum.of_blocks(sums))

    def _classes(self, batch: FragmentBatch) -> NDArray[np.uint8]:
        _, first = split_seconds(batch.start_ns)
        last = first + (batch.n_samples - 1) * batch.step_ns
        width = nanos_lengths(first)
        # within one second nanoseconds only grow, and so do their varints
        return np.where((last < NS_PER_S) & (nanos_lengths(last) == width), width, _MIXED)

    def _mixed_classes(self, batch: FragmentBatch, rows: slice) -> NDArray[np.uint8]:
        steps = np.arange(batch.n_samples, dtype=np.int64) * batch.step_ns
        _, nanos = split_seconds(batch.start_ns[rows, None] + steps)
        return nanos_lengths(nanos)

    def _fill_uniform(
        self, encoded: _Filling, grid: SampleGrid, rows: slice, layout: EntryLayout
    ) -> None:
        batch, offsets = encoded.batch, encoded.offsets
        n_rows = rows.stop - rows.start
        region = encoded.buffer[offsets[rows.start] : offsets[rows.stop]].reshape(n_rows, -1)
        entries_bytes = batch.n_samples * layout.width
        head = region.shape[1] - entries_bytes
        stream_heads(self._labels, entries_bytes).store(region[:, :head], batch.streams[rows])
        entries = region[:, head:].reshape(n_rows, batch.n_samples, layout.width)
        # entries of one width are of one second
        seconds = batch.start_ns[rows] // NS_PER_S
        seconds_ns = seconds * NS_PER_S
        prefixes = self._prefixes[layout.nanos_bytes].of(seconds)[:, None]
        per_block = max(1, BLOCK_BYTES // layout.width)
        for part, samples in blocks(n_rows, batch.n_samples, per_block):
            absolute = slice(rows.start + part.start, rows.start + part.stop)
            target = entries[part, samples]
            nanos = grid.timestamps_ns(absolute, samples, seconds_ns[part])
            self._fill(target, layout, prefixes[part], nanos)
            lines = target[..., len(layout.head) :]
            self._lines.store_text(lines, grid.keys[absolute], samples)
            words = words_of_lines(lines)
            self._checksum.add_rows(encoded.sums[absolute], words, samples, overwrite=True)

    def _fill_mixed(
        self, encoded: _Filling, grid: SampleGrid, first: int, classes: NDArray[np.uint8]
    ) -> None:
        batch, offsets = encoded.batch, encoded.offsets
        rows = slice(first, len(batch))
        widths = self._widths[classes]
        entries_bytes = widths.sum(axis=1)
        heads = np.diff(offsets[first:]) - entries_bytes
        at = np.cumsum(widths, axis=1) - widths + (offsets[rows] + heads)[:, None]
        for row, size in enumerate(entries_bytes.tolist()):
            begin = offsets[first + row]
            stream_heads(self._labels, size).store(
                encoded.buffer[None, begin : begin + heads[row]],
                batch.streams[first + row : first + row + 1],
            )
        timestamps = grid.timestamps_ns(rows, slice(0, batch.n_samples))
        for width in np.unique(classes).tolist():
            layout = self._layouts[width]
            chosen = np.nonzero(classes == width)
            per_block = max(1, BLOCK_BYTES // layout.width)
            for begin in range(0, len(chosen[0]), per_block):
                block = tuple(axis[begin : begin + per_block] for axis in chosen)
                entries = np.empty((len(block[0]), layout.width), np.uint8)
                seconds, nanos = split_seconds(timestamps[block])
                self._fill(entries, layout, self._prefixes[width].of(seconds), nanos)
                lines = entries[:, len(layout.head) :]
                self._lines.store_text_at(lines, grid.keys[rows][block[0]], block[1])
                scatter(encoded.buffer, at[block], entries)
                summed, sums = self._checksum.of_single(words_of_lines(lines), block[1])
                np.add.at(encoded.sums[rows], (block[0], summed), sums)

    def _fill(
        self,
        out: NDArray[np.uint8],
        layout: EntryLayout,
        prefixes: NDArray[np.void],
        nanos: NDArray[np.int64],
    ) -> None:
        """Store all but the text of entries into ``out`` (..., width).

        ``prefixes`` may have fewer rows than ``nanos`` (...), and is broadcast.
        """
        head = len(layout.head)
        records_of(out[..., : prefixes.itemsize])[...] = prefixes
        layout.store_nanos(out, nanos)
        if self._lines.include_time:
            store_digits(out[..., head + _SECONDS_DIGITS : head + TIMESTAMP_DIGITS], nanos)
