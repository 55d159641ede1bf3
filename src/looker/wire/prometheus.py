"""Time series of remote write 1.0 and of remote read answers as columns; remote read requests.

Field numbers are those of Prometheus' ``remote.proto`` and ``types.proto``: ``TimeSeries.labels =
1``, ``TimeSeries.samples = 2``, ``Label.name = 1``, ``Label.value = 2``, ``Sample.value = 1``
(double), ``Sample.timestamp = 2`` (int64, ms). A write request and the result of a read both hold
series as field 1, so the same bytes serve both. They are those that the official protobuf library
makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.wire.columns import (
    NumberedText,
    copy_grid,
    grid_order,
    records_of,
    store_words,
    varint,
    varint_words,
)
from looker.wire.proto import prometheus_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from looker.model.labels import LabelScheme

_TIMESTAMP_BYTES: Final = 6
MIN_TIMESTAMP_MS: Final = 1 << 35
MAX_TIMESTAMP_MS: Final = 1 << 42
"""Timestamps whose varint has six bytes: from February 1971 to May 2109."""

_SAMPLE_TEMPLATE: Final = np.frombuffer(b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6), np.uint8)
SAMPLE_BYTES: Final = len(_SAMPLE_TEMPLATE)
_LOW_AT: Final = 12
_HIGH_AT: Final = 14
_LOW_BITS: Final = 14
"""Bits of a timestamp in the first two bytes of its varint."""
_BLANK_BYTES: Final = 1 << 16
_KNOWN_KINDS: Final = 16


def _label(name: str, value: Sequence[bytes | tuple[int, int]]) -> list[bytes | tuple[int, int]]:
    width = sum(len(part) if isinstance(part, bytes) else part[0] for part in value)
    encoded = name.encode()
    name_field = b"\x0a" + varint(len(encoded)) + encoded
    value_tag = b"\x12" + varint(width)
    size = len(name_field) + len(value_tag) + width
    return [b"\x0a" + varint(size) + name_field + value_tag, *value]


def series_labels(scheme: LabelScheme) -> NumberedText:
    """Return the label fields of a generation's series, sorted by name."""
    parts: list[bytes | tuple[int, int]] = []
    for name, value in scheme.templates():
        parts += _label(name, value)
    return NumberedText(parts)


def series_head_width(labels_width: int, n_samples: int) -> int:
    """Return the bytes of a series before its samples."""
    return 1 + len(varint(labels_width + n_samples * SAMPLE_BYTES)) + labels_width


def series_heads(labels: NumberedText, n_samples: int) -> NumberedText:
    """Return what comes before the samples of series of ``n_samples``."""
    return labels.behind(b"\x0a" + varint(labels.width + n_samples * SAMPLE_BYTES))


class SeriesRows:
    """Series of ``n_samples`` each, filled step by step: blank rows, numbers, samples.

    Of the six bytes of a timestamp, the upper four are mostly the same along a series, and few
    different ones occur, as series keep close to wall time. So rows are copies of few blank ones.
    """

    def __init__(self, labels: NumberedText, n_samples: int) -> None:
        self.heads = series_heads(labels, n_samples)
        self.n_samples = n_samples
        self.width = self.heads.width + n_samples * SAMPLE_BYTES
        self._least = 0
        self._known = np.empty((0, self.width), np.uint8)

    def blank(self, start_ms: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return rows (m, width) without the series' numbers, values and low bits of the time."""
        high = start_ms >> _LOW_BITS
        least, most = int(high.min()), int(high.max())
        n_kinds = most - least + 1
        if n_kinds > len(high) or n_kinds * self.width > _BLANK_BYTES:
            return self._make(high)
        if not self._least <= least <= most < self._least + len(self._known):
            self._least = least
            n_known = max(n_kinds, min(_KNOWN_KINDS, _BLANK_BYTES // self.width))
            self._known = self._make(np.arange(least, least + n_known))
        rows: NDArray[np.uint8] = records_of(self._known)[high - self._least].view(np.uint8)
        return rows.reshape(len(high), self.width)

    def _make(self, high: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = np.empty((len(high), self.width), np.uint8)
        records_of(rows[:, : self.heads.width])[...] = records_of(self.heads.template)
        samples = self.samples(rows)
        records_of(samples)[...] = records_of(_SAMPLE_TEMPLATE)
        words = varint_words(high.astype(np.uint32), 4)[:, None]
        grid = samples[..., _HIGH_AT:].view("<u4")[..., 0]
        copy_grid(grid, np.broadcast_to(words, grid.shape))
        return rows

    def samples(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """View the samples of rows (m, width): (m, n_samples, 18)."""
        return rows[:, self.heads.width :].reshape(len(rows), self.n_samples, SAMPLE_BYTES)


def value_fields(samples: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """View the bit patterns of the values of samples (m, n, 18): (m, n)."""
    bits: NDArray[np.uint64] = samples[..., 3:11].view("<u8")[..., 0]
    return bits


def store_times(
    out: NDArray[np.uint8], start_ms: NDArray[np.int64], offsets_ms: NDArray[np.int64]
) -> None:
    """Store timestamps into samples ``out`` (m, n, 18) of blank rows that were made for them.

    Sample ``i`` of row ``j`` is at ``start_ms[j] + offsets_ms[i]``; offsets are not negative and
    ascend.
    """
    shape = out.shape[:2]
    low = (start_ms & ((1 << _LOW_BITS) - 1)).astype(np.uint32)
    times = np.empty(shape, np.uint32, grid_order(*shape))
    np.add(low[:, None], np.minimum(offsets_ms, 1 << 30).astype(np.uint32), out=times)
    crossing = np.flatnonzero(times[:, -1] >> np.uint32(_LOW_BITS))
    words = times.astype(np.uint16, order="K")
    upper = words & np.uint16(0x3F80)
    words += upper  # one bit up
    words |= np.uint16(0x8080)
    copy_grid(out[..., _LOW_AT:_HIGH_AT].view("<u2")[..., 0], words)
    if len(crossing):
        times_ms = start_ms[crossing, None] + offsets_ms
        stamps = np.empty((*times_ms.shape, _TIMESTAMP_BYTES), np.uint8)
        store_words(stamps, varint_words(times_ms, _TIMESTAMP_BYTES))
        out[crossing, :, _LOW_AT:] = stamps


def read_request(start_ms: int, end_ms: int, matchers: Sequence[tuple[str, str, str]]) -> bytes:
    """Return a remote read request; both ends are inclusive.

    ``matchers`` are (name, operator, value); the operator is one of ``=``, ``!=``, ``=~``, ``!~``.
    """
    types = {
        "=": prometheus_pb2.LabelMatcher.EQ,
        "!=": prometheus_pb2.LabelMatcher.NEQ,
        "=~": prometheus_pb2.LabelMatcher.RE,
        "!~": prometheus_pb2.LabelMatcher.NRE,
    }
    query = prometheus_pb2.Query(
        start_timestamp_ms=start_ms,
        end_timestamp_ms=end_ms,
        matchers=[
            prometheus_pb2.LabelMatcher(type=types[operator], name=name, value=value)
            for name, operator, value in matchers
        ],
    )
    request = prometheus_pb2.ReadRequest(
        queries=[query], accepted_response_types=[prometheus_pb2.ReadRequest.SAMPLES]
    )
    encoded: bytes = request.SerializeToString()
    return encoded
