"""Time series of remote write 1.0 and of remote read answers as columns; remote read requests.

Field numbers are those of Prometheus' ``remote.proto`` and ``types.proto``: ``TimeSeries.labels =
1``, ``TimeSeries.samples = 2``, ``Label.name = 1``, ``Label.value = 2``, ``Sample.value = 1``
(double), ``Sample.timestamp = 2`` (int64, ms). A write request and the result of a read both hold
series as field 1, so the same bytes serve both. They are those that the official protobuf library
makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.wire.columns import NumberedText, store_words, varint, varint_words
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


def store_series_heads(
    out: NDArray[np.uint8], labels: NumberedText, streams: NDArray[Any], n_samples: int
) -> None:
    """Store what comes before the samples of each series into ``out`` (m, head width)."""
    fixed = np.frombuffer(b"\x0a" + varint(labels.width + n_samples * SAMPLE_BYTES), np.uint8)
    out[:, : len(fixed)] = fixed
    labels.store(out[:, len(fixed) :], streams)


def store_samples(
    out: NDArray[np.uint8], timestamps_ms: NDArray[np.int64], bits: NDArray[np.uint64]
) -> None:
    """Store samples (...) into ``out`` (..., 18); no value may have the bits of +0.0."""
    out[...] = _SAMPLE_TEMPLATE
    out[..., 3:11].view("<u8")[..., 0] = bits
    store_words(out[..., 12:18], varint_words(timestamps_ms, _TIMESTAMP_BYTES))


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
