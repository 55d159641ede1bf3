"""Metric samples as remote write messages: generated, encoded and summed up in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.content import SampleGrid
from looker.generate.encoder import EncodedBatch, blocks
from looker.generate.values import value_bits
from looker.model.config import NS_PER_MS
from looker.wire.checksum import value_sums, weighted
from looker.wire.columns import BLOCK_BYTES
from looker.wire.prometheus import (
    SAMPLE_BYTES,
    series_head_width,
    series_labels,
    store_samples,
    store_series_heads,
)

if TYPE_CHECKING:
    from looker.generate.content import Content
    from looker.model.fragment import FragmentBatch

_SAMPLES_PER_BLOCK: Final = BLOCK_BYTES // SAMPLE_BYTES


class MetricEncoder:
    """Encodes fragments of metric samples: all fragments of a generation have one width."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._labels = series_labels(content.scheme)

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch, in its order."""
        n_rows, n_samples = len(batch), batch.n_samples
        head = series_head_width(self._labels.width, n_samples)
        width = head + n_samples * SAMPLE_BYTES
        buffer = np.empty(n_rows * width, np.uint8)
        region = buffer.reshape(n_rows, width)
        store_series_heads(region[:, :head], self._labels, batch.streams, n_samples)
        rows = region[:, head:].reshape(n_rows, n_samples, SAMPLE_BYTES)
        grid = SampleGrid(self._content, batch)
        checksums = np.zeros(n_rows, np.uint64)
        for part, samples in blocks(n_rows, n_samples, _SAMPLES_PER_BLOCK):
            timestamps_ns = grid.timestamps_ns(part, samples)
            bits = value_bits(grid.hashes(part, samples), self._content.compressability)
            target = rows[part, samples]
            store_samples(target, timestamps_ns // NS_PER_MS, bits)
            sent = target[..., 3:11].view("<u8")[..., 0]
            checksums[part] += weighted(value_sums(timestamps_ns, sent), samples).sum(axis=1)
        offsets = np.arange(n_rows + 1, dtype=np.int64) * width
        return EncodedBatch(batch, buffer, offsets, checksums)
