"""Protobuf bodies to columns: pushes of both kinds, and remote read's answers.

The usual layouts are decoded without a Python step per record: fields that follow one another
are found as a chain over all bytes that can begin one. Whatever is laid out otherwise (fields
in another order, unknown fields, varints beyond 56 bits) goes to the protobuf library, which
decides what the bytes mean; it also insists that strings are UTF-8, where the column decoders
hand out bytes as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from looker.errors import DecodeError
from looker.wire import records
from looker.wire.layout import Fields, chain, uniform_series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from looker.wire.proto import prometheus_pb2

    Bytes = NDArray[np.uint8]
    Offsets = NDArray[np.int64]

_FIELD_1 = 0x0A  # field 1, length-delimited
_FIELD_2 = 0x12  # field 2, length-delimited
_VARINT_1 = 0x08
_VARINT_2 = 0x10
_DOUBLE_1 = 0x09
_NANOS = 1_000_000_000
_MAX_RESULTS = 64
_SECONDS_LIMIT = 9_223_372_036  # int64 nanoseconds end in this second


@dataclass(frozen=True, eq=False)
class LogColumns:
    """The entries of a push, stream after stream, in the order they came.

    ``buffer`` holds the bytes that all offsets point into, uint8 (b,). Per stream:
    ``label_offsets``, ``label_lengths`` (the label string) and ``counts`` (its entries), int64
    (s,). Per entry, int64 (n,): ``timestamps_ns``, ``line_offsets``, ``line_lengths``.
    ``n_metadata`` counts structured metadata pairs, which are not kept.
    """

    buffer: Bytes
    label_offsets: Offsets
    label_lengths: Offsets
    counts: Offsets
    timestamps_ns: Offsets
    line_offsets: Offsets
    line_lengths: Offsets
    n_metadata: int = 0

    def label_strings(self) -> list[bytes]:
        """Each stream's label string, as pushed; s items."""
        return records.slices(self.buffer, self.label_offsets, self.label_lengths)


@dataclass(frozen=True, eq=False)
class SeriesColumns:
    """The samples of time series, series after series, in the order they came.

    ``buffer`` holds the label blobs, uint8 (b,). Per series: ``label_offsets``,
    ``label_lengths`` (all its labels fields, tags included) and ``counts`` (its samples), int64
    (s,). Per sample: ``timestamps_ms`` int64 (n,) and ``value_bits`` uint64 (n,), the float64's
    bit pattern.
    """

    buffer: Bytes
    label_offsets: Offsets
    label_lengths: Offsets
    counts: Offsets
    timestamps_ms: Offsets
    value_bits: NDArray[np.uint64]

    def label_blobs(self) -> list[bytes]:
        """Each series' labels fields as raw bytes; s items."""
        return records.slices(self.buffer, self.label_offsets, self.label_lengths)


def decode_push_request(body: bytes | bytearray | memoryview) -> LogColumns:
    """Decode an uncompressed Loki PushRequest; DecodeError if it is none."""
    buffer = np.frombuffer(body, np.uint8)
    columns = _fast_push(buffer)
    return _general_push(body) if columns is None else columns


def decode_write_request(body: bytes | bytearray | memoryview) -> SeriesColumns:
    """Decode an uncompressed remote write 1.0 WriteRequest; DecodeError if it is none."""
    columns = _fast_series(np.frombuffer(body, np.uint8))
    if columns is not None:
        return columns
    from looker.wire.proto.prometheus_pb2 import WriteRequest  # noqa: PLC0415

    message = WriteRequest()
    _parse(message, body, "WriteRequest")
    return _general_series(message.timeseries)


def decode_read_response(body: bytes | bytearray | memoryview) -> tuple[SeriesColumns, ...]:
    """Decode an uncompressed remote ReadResponse: one item per query; DecodeError if it is none.

    Answers to more than 64 queries are none: nobody asks so many at once.
    The offsets of each item point into its own ``buffer``, a part of ``body``.
    """
    from looker.wire.proto.prometheus_pb2 import QueryResult, ReadResponse  # noqa: PLC0415

    parts = _results(body)
    if parts is None:
        message = ReadResponse()
        _parse(message, body, "ReadResponse")
        if len(message.results) > _MAX_RESULTS:
            raise DecodeError(f"not a valid ReadResponse: {len(message.results)} results")
        return tuple(_general_series(result.timeseries) for result in message.results)
    answers = []
    for part in parts:
        columns = _fast_series(np.frombuffer(part, np.uint8))
        if columns is None:
            result = QueryResult()
            _parse(result, part, "ReadResponse")
            columns = _general_series(result.timeseries)
        answers.append(columns)
    return tuple(answers)


def _parse(message: object, body: bytes | bytearray | memoryview, name: str) -> None:
    """Let the protobuf library decode ``body`` into ``message``."""
    try:
        message.ParseFromString(bytes(body))  # type: ignore[attr-defined]
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a valid {name}: {error}") from error


def _results(body: bytes | bytearray | memoryview) -> list[memoryview] | None:
    """Split a ReadResponse into its results; None unless it consists of some, and nothing else."""
    view = memoryview(body)
    parts: list[memoryview] = []
    position = 0
    while position < len(view):
        if view[position] != _FIELD_1 or len(parts) == _MAX_RESULTS:
            return None
        length, shift, position = 0, 0, position + 1
        while True:
            if position >= len(view) or shift > 28:
                return None
            byte = view[position]
            length |= (byte & 0x7F) << shift
            shift += 7
            position += 1
            if byte < 0x80:
                break
        if position + length > len(view):
            return None
        parts.append(view[position : position + length])
        position += length
    return parts


def _whole(buffer: Bytes) -> tuple[Offsets, Offsets]:
    """Make one region of all of ``buffer``."""
    return np.zeros(1, np.int64), np.full(1, len(buffer), np.int64)


def _fast_push(buffer: Bytes) -> LogColumns | None:
    """Decode streams of (labels, entries...) of (timestamp, line); None for any other layout."""
    streams = chain(buffer, *_whole(buffer), {_FIELD_1: (_FIELD_1,)})
    if streams is None:
        return None
    lengths, width = records.varints(buffer, streams.starts + 1)
    label_offsets = streams.starts + 1 + width
    first_entry = label_offsets + lengths
    if bool((width == 0).any()) or bool((first_entry > streams.stops).any()):
        return None
    entries = chain(buffer, first_entry, streams.stops, {_FIELD_2: (_FIELD_1,)})
    if entries is None:
        return None
    timed = _timestamps_ns(buffer, entries)
    if timed is None:
        return None
    timestamps, after = timed
    lined = _lines(buffer, entries, after)
    if lined is None:
        return None
    counts = np.bincount(entries.regions, minlength=len(first_entry)).astype(np.int64)
    return LogColumns(buffer, label_offsets, lengths, counts, timestamps, *lined)


def _timestamps_ns(buffer: Bytes, entries: Fields) -> tuple[Offsets, Offsets] | None:
    """Decode the Timestamp that begins each entry: (nanoseconds, offset behind it)."""
    starts, stops = entries.starts, entries.stops
    sizes = _bytes_at(buffer, starts + 1).astype(np.int64)
    after = starts + 2 + sizes
    if bool((sizes > 15).any()) or bool((after > stops).any()):
        return None
    at = starts + 2
    seconds, at, sound = _optional_varint(buffer, at, after, _VARINT_1)
    nanos, at, sound_too = _optional_varint(buffer, at, after, _VARINT_2)
    if not (sound and sound_too) or bool((at != after).any()):
        return None
    if bool((seconds >= _SECONDS_LIMIT).any()) or bool((nanos >= _NANOS).any()):
        return None
    return seconds * _NANOS + nanos, after


def _optional_varint(
    buffer: Bytes, at: Offsets, limit: Offsets, tag: int
) -> tuple[Offsets, Offsets, bool]:
    """Decode the varint field ``tag`` where it stands at ``at``: (values, offset behind, sound)."""
    present = (at < limit) & (_bytes_at(buffer, at) == tag)
    if bool(present.all()):
        values, width = records.varints(buffer, at + 1)
        return values, at + 1 + width, bool((width > 0).all())
    values, behind = np.zeros_like(at), at.copy()
    found, width = records.varints(buffer, at[present] + 1)
    values[present] = found
    behind[present] += 1 + width
    return values, behind, bool((width > 0).all())


def _lines(buffer: Bytes, entries: Fields, at: Offsets) -> tuple[Offsets, Offsets] | None:
    """Find the line that ends each entry: (offsets, lengths); an absent line is empty."""
    stops = entries.stops
    absent = at == stops
    length, width = records.varints(buffer, np.minimum(at + 1, stops))
    begins = at + 1 + width
    sound = (_bytes_at(buffer, at) == _FIELD_2) & (width > 0) & (begins + length == stops)
    if not bool((sound | absent).all()):
        return None
    if bool(absent.any()):
        return np.where(absent, stops, begins), np.where(absent, 0, length)
    return begins, length


def _fast_series(buffer: Bytes) -> SeriesColumns | None:  # noqa: PLR0911 - a layout each
    """Decode series of (labels..., samples...); None for any other layout."""
    uniform = uniform_series(buffer)
    if uniform is not None:
        n, k = uniform.value_bits.shape
        return SeriesColumns(
            buffer,
            uniform.label_offset + np.arange(n, dtype=np.int64) * uniform.stride,
            np.full(n, uniform.label_length, np.int64),
            np.full(n, k, np.int64),
            uniform.timestamps_ms.reshape(-1),
            uniform.value_bits.reshape(-1),
        )
    series = chain(buffer, *_whole(buffer), {_FIELD_1: (_FIELD_1,)})
    if series is None:
        return None
    tags = {_FIELD_1: (_FIELD_1,), _FIELD_2: (_DOUBLE_1, _VARINT_2)}
    fields = chain(buffer, series.starts, series.stops, tags)
    if fields is None:
        return None
    is_sample = fields.tags == _FIELD_2
    regions = fields.regions
    returns = is_sample[:-1] & ~is_sample[1:] & (regions[:-1] == regions[1:])
    if bool(returns.any()):
        return None  # labels behind samples
    if not _labels_sound(buffer, fields.starts[~is_sample], fields.stops[~is_sample]):
        return None
    n = len(series.starts)
    counts = np.bincount(regions[is_sample], minlength=n).astype(np.int64)
    labels_end = series.starts.copy()
    # In field order the last label of a series is the one that stays.
    labels_end[regions[~is_sample]] = fields.stops[~is_sample]
    samples = _samples(buffer, fields.starts[is_sample], fields.stops[is_sample])
    if samples is None:
        return None
    return SeriesColumns(buffer, series.starts, labels_end - series.starts, counts, *samples)


def _labels_sound(buffer: Bytes, starts: Offsets, stops: Offsets) -> bool:
    """Whether each label is a name and a value, nothing else."""
    at = starts
    for tag in (_FIELD_1, _FIELD_2):
        length, width = records.varints(buffer, np.minimum(at + 1, stops))
        tagged = (at < stops) & (_bytes_at(buffer, at) == tag)
        if not bool((tagged & (width > 0) & (length <= len(buffer))).all()):
            return False
        at = at + 1 + width + length
    return bool((at == stops).all())


def _samples(
    buffer: Bytes, starts: Offsets, stops: Offsets
) -> tuple[Offsets, NDArray[np.uint64]] | None:
    """Decode Samples of (value, timestamp): (timestamps, bit patterns); zeros may be absent."""
    valued = _bytes_at(buffer, starts) == _DOUBLE_1
    bits = np.where(valued, records.words(buffer, np.minimum(starts + 1, stops)), np.uint64(0))
    at = np.where(valued, starts + 9, starts)
    if bool((at > stops).any()):
        return None
    timestamps, behind, sound = _optional_varint(buffer, at, stops, _VARINT_2)
    if not sound or bool((behind != stops).any()):
        return None
    return timestamps, bits


def _bytes_at(buffer: Bytes, offsets: Offsets) -> Bytes:
    """Read the byte at each offset; beyond the end it is the last one (callers check limits)."""
    if len(buffer) == 0:
        return np.zeros(len(offsets), np.uint8)
    return buffer.take(offsets, mode="clip")


def _spans(lengths: list[int]) -> tuple[Offsets, Offsets]:
    """Offsets and lengths of parts that lie one behind the other."""
    sizes = np.array(lengths, np.int64)
    return np.cumsum(sizes) - sizes, sizes


def _general_push(body: bytes | bytearray | memoryview) -> LogColumns:
    """Decode any PushRequest by the protobuf library."""
    from looker.wire.proto.loki_pb2 import PushRequest  # noqa: PLC0415

    message = PushRequest()
    _parse(message, body, "PushRequest")
    labels, lines, counts, stamps, n_metadata = [], [], [], [], 0
    for stream in message.streams:
        labels.append(stream.labels.encode())
        counts.append(len(stream.entries))
        for entry in stream.entries:
            stamp = entry.timestamp
            ns = stamp.seconds * _NANOS + stamp.nanos
            if not 0 <= stamp.nanos < _NANOS or not -(1 << 63) <= ns < 1 << 63:
                raise DecodeError("not a valid PushRequest: timestamp out of range")
            stamps.append(ns)
            lines.append(entry.line.encode())
            n_metadata += len(entry.structured_metadata)
    buffer = np.frombuffer(b"".join([*labels, *lines]), np.uint8)
    offsets, sizes = _spans([len(part) for part in (*labels, *lines)])
    n = len(labels)
    return LogColumns(
        buffer,
        offsets[:n],
        sizes[:n],
        np.array(counts, np.int64),
        np.array(stamps, np.int64),
        offsets[n:],
        sizes[n:],
        n_metadata,
    )


def _general_series(series: Iterable[prometheus_pb2.TimeSeries]) -> SeriesColumns:
    """Take the columns out of decoded TimeSeries messages."""
    from looker.wire.proto.prometheus_pb2 import TimeSeries  # noqa: PLC0415

    blobs: list[bytes] = []
    counts: list[int] = []
    stamps: list[int] = []
    values: list[float] = []
    for one in series:
        blobs.append(TimeSeries(labels=one.labels).SerializeToString())
        counts.append(len(one.samples))
        stamps.extend(sample.timestamp for sample in one.samples)
        values.extend(sample.value for sample in one.samples)
    offsets, sizes = _spans([len(blob) for blob in blobs])
    return SeriesColumns(
        np.frombuffer(b"".join(blobs), np.uint8),
        offsets,
        sizes,
        np.array(counts, np.int64),
        np.array(stamps, np.int64),
        np.array(values, np.float64).view(np.uint64),
    )
