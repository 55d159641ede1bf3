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
_BLANK_BYTES: Final = 1 << 16


def _label(name: str, value: Sequence[bytes | tuple[int, int]]) -> list[bytes | tuple[int, int]]:
    width = sum(len(part) if isinstance(part, bytes) else part[0] for part in value)
    name_field = b"\x0a" + varint(len(name)) + name.encode()
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


def store_samples(
    out: NDArray[np.uint8],
    start_ms: NDArray[np.int64],
    offsets_ms: NDArray[np.int64],
    bits: NDArray[np.uint64],
) -> None:
    """Store samples into ``out`` (m, n, 18); no value may have the bits of +0.0.

    Sample ``i`` of row ``j`` is at ``start_ms[j] + offsets_ms[i]``; offsets ascend. ``bits`` are
    (m, n), in the order of :func:`looker.wire.columns.grid_order`.
    """
    # bytes 0 and 1 of a varint are the low 14 bits; the others are mostly the same along a row
    high, low = start_ms >> 14, (start_ms & 0x3FFF).astype(np.uint32)
    _store_blanks(out, high)
    copy_grid(out[..., 3:11].view("<u8")[..., 0], bits)
    times = np.empty(bits.shape, np.uint32, grid_order(*bits.shape))
    np.add(low[:, None], np.minimum(offsets_ms, 1 << 30).astype(np.uint32), out=times)
    crossing = np.flatnonzero(times[:, -1] > 0x3FFF)
    words = times.astype(np.uint16, order="K")
    upper = words & np.uint16(0x3F80)
    words &= np.uint16(0x007F)
    words |= upper << np.uint16(1)
    words |= np.uint16(0x8080)
    copy_grid(out[..., 12:14].view("<u2")[..., 0], words)
    if len(crossing):
        times_ms = start_ms[crossing, None] + offsets_ms
        stamps = np.empty((*times_ms.shape, _TIMESTAMP_BYTES), np.uint8)
        store_words(stamps, varint_words(times_ms, _TIMESTAMP_BYTES))
        out[crossing, :, 12:18] = stamps


def _store_blanks(out: NDArray[np.uint8], high: NDArray[np.int64]) -> None:
    """Store all but value and low bits of the time into ``out`` (m, n, 18).

    ``high`` (m,) are the upper 28 bits of the times: few different ones, as streams keep close to
    wall time, so that rows are mostly copies of some blank ones.
    """
    n_rows, n_samples, _ = out.shape
    least = int(high.min())
    n_blanks = int(high.max()) - least + 1
    if n_blanks < n_rows and n_blanks * n_samples * SAMPLE_BYTES <= _BLANK_BYTES:
        blanks = np.empty((n_blanks, n_samples, SAMPLE_BYTES), np.uint8)
        kinds = np.arange(least, least + n_blanks)
    else:
        blanks, kinds = out, high
    records_of(blanks)[...] = records_of(_SAMPLE_TEMPLATE)
    words = varint_words(kinds.astype(np.uint32), 4)[:, None]
    copy_grid(blanks[..., 14:18].view("<u4")[..., 0], np.broadcast_to(words, blanks.shape[:2]))
    if blanks is not out:
        rows = records_of(blanks.reshape(n_blanks, -1))
        records_of(out.reshape(n_rows, -1))[...] = rows[high - least]


def parse_samples(
    rows: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return timestamps (n,) in ms and bit patterns (n,) of samples (n, 18) of that very layout."""
    bits = rows[:, 3:11].copy().view("<u8")[:, 0]
    padded = np.zeros((len(rows), 8), np.uint8)
    padded[:, :_TIMESTAMP_BYTES] = rows[:, 12:18]
    words = padded.view("<u8")[:, 0]
    timestamps = np.zeros(len(rows), np.uint64)
    for position in range(_TIMESTAMP_BYTES):
        timestamps |= (words >> np.uint64(position)) & np.uint64(0x7F << (7 * position))
    return timestamps.view(np.int64), bits


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
