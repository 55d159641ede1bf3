"""Metric samples as remote write messages: generated, encoded and summed up in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.encoder import EncodedBatch, blocks
from looker.model.config import NS_PER_MS
from looker.wire.checksum import time_checksums, value_sums, weighted_rows
from looker.wire.columns import BLOCK_BYTES, copy_grid
from looker.wire.prometheus import (
    SAMPLE_BYTES,
    series_heads,
    series_labels,
    store_samples,
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
        self._values = content.values()

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch, in its order."""
        n_rows, n_samples = len(batch), batch.n_samples
        heads = series_heads(self._labels, n_samples)
        head = heads.width
        width = head + n_samples * SAMPLE_BYTES
        buffer = np.empty(n_rows * width, np.uint8)
        region = buffer.reshape(n_rows, width)
        heads.store(region[:, :head], batch.streams)
        rows = region[:, head:].reshape(n_rows, n_samples, SAMPLE_BYTES)
        keys = self._content.keys(batch.streams, batch.fragments)
        start_ms = batch.start_ns // NS_PER_MS
        offsets_ms = np.arange(n_samples, dtype=np.int64) * (batch.step_ns // NS_PER_MS)
        checksums = np.zeros(n_rows, np.uint64)
        for part, samples in blocks(n_rows, n_samples, _SAMPLES_PER_BLOCK):
            target = rows[part, samples]
            bits = self._values.bits(keys[part], samples)
            store_samples(target, start_ms[part], offsets_ms[samples], bits)
            copy_grid(bits, target[..., 3:11].view("<u8")[..., 0])
            sent = value_sums(bits)
            checksums[part] += weighted_rows(sent, samples)
            checksums[part] += time_checksums(batch.start_ns[part], batch.step_ns, samples)
        offsets = np.arange(n_rows + 1, dtype=np.int64) * width
        return EncodedBatch(batch, buffer, offsets, checksums)
