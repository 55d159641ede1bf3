"""Metric samples as remote write messages: generated, encoded and summed up in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.encoder import EncodedBatch, blocks
from looker.model.config import NS_PER_MS
from looker.wire.checksum import words_of_values
from looker.wire.columns import BLOCK_BYTES, copy_grid
from looker.wire.prometheus import (
    SAMPLE_BYTES,
    SeriesRows,
    series_head_width,
    series_labels,
    store_times,
    value_fields,
)

if TYPE_CHECKING:
    from looker.generate.content import Content
    from looker.model.fragment import FragmentBatch

_SAMPLES_PER_BLOCK: Final = BLOCK_BYTES // SAMPLE_BYTES


class MetricEncoder:
    """Encodes fragments of metric samples: all fragments of a generation have one width."""

    def __init__(self, content: Content) -> None:
        self._content = content
        labels = series_labels(content.scheme)
        self._series = SeriesRows(labels, content.n_samples)
        self.sample_bytes = SAMPLE_BYTES
        self.fixed_bytes = series_head_width(labels.width, (2**31 - 1) // SAMPLE_BYTES)
        self._values = content.values()
        self._checksum = content.checksum()

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch, in its order."""
        n_rows, n_samples, series = len(batch), batch.n_samples, self._series
        keys = self._content.keys(batch.streams, batch.fragments)
        start_ms = batch.start_ns // NS_PER_MS
        offsets_ms = np.arange(n_samples, dtype=np.int64) * (batch.step_ns // NS_PER_MS)
        buffer = series.blank(start_ms)
        series.heads.store_numbers(buffer, batch.streams)
        rows = series.samples(buffer)
        sums = np.zeros((n_rows, self._checksum.n_blocks), np.uint64)
        for part, samples in blocks(n_rows, n_samples, _SAMPLES_PER_BLOCK):
            target = rows[part, samples]
            bits = self._values.bits(keys[part], samples)
            copy_grid(value_fields(target), bits)
            store_times(target, start_ms[part], offsets_ms[samples])
            # what is summed up is read from what will be sent
            copy_grid(bits, value_fields(target))
            words = words_of_values(bits)
            self._checksum.add_rows(sums[part], words, samples, overwrite=True)
        offsets = np.arange(n_rows + 1, dtype=np.int64) * series.width
        checksums = self._checksum.of_blocks(sums)
        return EncodedBatch(batch, buffer.reshape(-1), offsets, checksums)
