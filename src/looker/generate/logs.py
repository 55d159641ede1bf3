"""Log entries as Loki push messages: generated, encoded and summed up in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.content import SampleGrid
from looker.generate.encoder import EncodedBatch, blocks
from looker.generate.lines import LineContent
from looker.wire.checksum import line_sums, weighted
from looker.wire.columns import BLOCK_BYTES, records_of, store_digits
from looker.wire.loki import (
    NS_PER_S,
    EntryLayout,
    entry_layout,
    nanos_lengths,
    split_seconds,
    store_stream_heads,
    stream_head_width,
    stream_labels,
)
from looker.wire.records import scatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.model.fragment import FragmentBatch

TIMESTAMP_DIGITS: Final = 19
_SECONDS_DIGITS: Final = 10
_MIXED: Final = 6
"""The class of fragments whose entries differ in width."""


class LogEncoder:
    """Encodes fragments of log entries.

    Entries are as wide as the varint of their nanoseconds demands. Within a fragment that width
    rarely changes, so fragments of one width are put next to each other and filled as one
    two-dimensional array; the few others are scattered entry by entry.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._lines = LineContent(
            content.n_chars, content.compressability, include_time=content.include_time
        )
        self._labels = stream_labels(content.scheme)
        self._layouts = [entry_layout(width, content.n_chars) for width in range(_MIXED)]
        self._widths = np.array([layout.width for layout in self._layouts], np.int64)

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch, ordered by the width of its entries."""
        classes = self._classes(batch)
        if classes.min() != classes.max():
            order = np.argsort(classes, kind="stable")
            batch, classes = batch.take(order), classes[order]
        bounds = np.searchsorted(classes, np.arange(_MIXED + 2))
        uniform = int(bounds[_MIXED])
        entries_bytes = np.empty(len(batch), np.int64)
        entries_bytes[:uniform] = self._widths[classes[:uniform]] * batch.n_samples
        mixed_widths = self._mixed_classes(batch, slice(uniform, len(batch)))
        entries_bytes[uniform:] = self._widths[mixed_widths].sum(axis=1)
        offsets = np.zeros(len(batch) + 1, np.int64)
        np.cumsum(entries_bytes + self._head_widths(entries_bytes), out=offsets[1:])
        buffer = np.empty(int(offsets[-1]), np.uint8)
        encoded = EncodedBatch(batch, buffer, offsets, np.zeros(len(batch), np.uint64))
        grid = SampleGrid(self._content, batch)
        for width, layout in enumerate(self._layouts):
            if bounds[width] < bounds[width + 1]:
                rows = slice(int(bounds[width]), int(bounds[width + 1]))
                self._fill_uniform(encoded, grid, rows, layout)
        if uniform < len(batch):
            self._fill_mixed(encoded, grid, uniform, mixed_widths)
        return encoded

    def _classes(self, batch: FragmentBatch) -> NDArray[np.uint8]:
        first_s, first_nanos = split_seconds(batch.start_ns)
        last_s, last_nanos = split_seconds(batch.start_ns + (batch.n_samples - 1) * batch.step_ns)
        first, last = nanos_lengths(first_nanos), nanos_lengths(last_nanos)
        # within one second nanoseconds only grow, and so do their varints
        return np.where((first_s == last_s) & (first == last), first, np.uint8(_MIXED))

    def _mixed_classes(self, batch: FragmentBatch, rows: slice) -> NDArray[np.uint8]:
        steps = np.arange(batch.n_samples, dtype=np.int64) * batch.step_ns
        _, nanos = split_seconds(batch.start_ns[rows, None] + steps)
        return nanos_lengths(nanos)

    def _head_widths(self, entries_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
        sizes, inverse = np.unique(entries_bytes, return_inverse=True)
        widths = [stream_head_width(self._labels.width, size) for size in sizes.tolist()]
        return np.array(widths, np.int64)[inverse]

    def _fill_uniform(
        self, encoded: EncodedBatch, grid: SampleGrid, rows: slice, layout: EntryLayout
    ) -> None:
        batch, offsets = encoded.batch, encoded.offsets
        n_rows = rows.stop - rows.start
        region = encoded.buffer[offsets[rows.start] : offsets[rows.stop]].reshape(n_rows, -1)
        entries_bytes = batch.n_samples * layout.width
        head = region.shape[1] - entries_bytes
        store_stream_heads(region[:, :head], self._labels, batch.streams[rows], entries_bytes)
        entries = region[:, head:].reshape(n_rows, batch.n_samples, layout.width)
        # entries of one width are of one second
        seconds = batch.start_ns[rows, None] // NS_PER_S
        seconds_ns, prefixes = seconds * NS_PER_S, self._prefixes(layout, seconds)
        per_block = max(1, BLOCK_BYTES // layout.width)
        for part, samples in blocks(n_rows, batch.n_samples, per_block):
            absolute = slice(rows.start + part.start, rows.start + part.stop)
            timestamps = grid.timestamps_ns(absolute, samples)
            target = entries[part, samples]
            nanos = timestamps - seconds_ns[part]
            self._fill(target, layout, prefixes[part], grid.hashes(absolute, samples), nanos)
            sums = line_sums(timestamps, target[..., len(layout.head) :])
            encoded.checksums[absolute] += weighted(sums, samples).sum(axis=1)

    def _fill_mixed(
        self, encoded: EncodedBatch, grid: SampleGrid, first: int, classes: NDArray[np.uint8]
    ) -> None:
        batch, offsets = encoded.batch, encoded.offsets
        rows = slice(first, len(batch))
        widths = self._widths[classes]
        entries_bytes = widths.sum(axis=1)
        heads = np.diff(offsets[first:]) - entries_bytes
        at = np.cumsum(widths, axis=1) - widths + (offsets[rows] + heads)[:, None]
        for row, size in enumerate(entries_bytes.tolist()):
            begin = offsets[first + row]
            store_stream_heads(
                encoded.buffer[None, begin : begin + heads[row]],
                self._labels,
                batch.streams[first + row : first + row + 1],
                size,
            )
        every = slice(0, batch.n_samples)
        timestamps, hashes = grid.timestamps_ns(rows, every), grid.hashes(rows, every)
        sums = np.empty(classes.shape, np.uint64)
        for width in np.unique(classes).tolist():
            layout = self._layouts[width]
            chosen = np.nonzero(classes == width)
            per_block = max(1, BLOCK_BYTES // layout.width)
            for begin in range(0, len(chosen[0]), per_block):
                block = tuple(axis[begin : begin + per_block] for axis in chosen)
                entries = np.empty((len(block[0]), layout.width), np.uint8)
                seconds, nanos = split_seconds(timestamps[block])
                prefixes = self._prefixes(layout, seconds)
                self._fill(entries, layout, prefixes, hashes[block], nanos)
                scatter(encoded.buffer, at[block], entries)
                sums[block] = line_sums(timestamps[block], entries[:, len(layout.head) :])
        encoded.checksums[rows] = weighted(sums, every).sum(axis=1)

    def _prefixes(self, layout: EntryLayout, seconds: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return what entries of each second (...) begin with: (..., width), one record each.

        Room is left for the nanoseconds, and for their digits.
        """
        head = len(layout.head)
        if not self._lines.include_time:
            return layout.heads(seconds)
        prefixes = np.empty((*seconds.shape, head + self._lines.text_at), np.uint8)
        prefixes[..., :head] = layout.heads(seconds)
        store_digits(prefixes[..., head : head + _SECONDS_DIGITS], seconds)
        prefixes[..., -1] = ord(":")
        return prefixes

    def _fill(
        self,
        out: NDArray[np.uint8],
        layout: EntryLayout,
        prefixes: NDArray[np.uint8],
        hashes: NDArray[np.uint64],
        nanos: NDArray[np.int64],
    ) -> None:
        """Store entries into ``out`` (..., width).

        ``prefixes`` may have fewer rows than ``nanos`` (...), and is broadcast.
        """
        head = len(layout.head)
        records_of(out[..., : prefixes.shape[-1]])[...] = records_of(prefixes)
        layout.store_nanos(out, nanos)
        if self._lines.include_time:
            store_digits(out[..., head + _SECONDS_DIGITS : head + TIMESTAMP_DIGITS], nanos)
        self._lines.store_text(out[..., head:], hashes)
