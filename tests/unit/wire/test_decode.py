from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.errors import DecodeError
from looker.wire import decode, records
from looker.wire.proto import loki_pb2, prometheus_pb2

Streams = list[tuple[str, list[tuple[int, str]]]]
Series = list[tuple[list[tuple[str, str]], list[tuple[int, int]]]]

NS = 1_700_000_000_000_000_000


def push_request(streams: Streams) -> loki_pb2.PushRequest:
    message = loki_pb2.PushRequest()
    for labels, entries in streams:
        stream = message.streams.add(labels=labels)
        for ns, line in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, 10**9)
    return message


def as_streams(columns: decode.LogColumns) -> Streams:
    lines = records.slices(columns.buffer, columns.line_offsets, columns.line_lengths)
    stamps = columns.timestamps_ns.tolist()
    at, streams = 0, []
    for labels, n in zip(columns.label_strings(), columns.counts.tolist(), strict=True):
        entries = [(s, x.decode()) for s, x in zip(stamps, lines, strict=True)][at : at + n]
        streams.append((labels.decode(), entries))
        at += n
    return streams


def write_request(series: Series) -> prometheus_pb2.WriteRequest:
    message = prometheus_pb2.WriteRequest()
    for labels, samples in series:
        one = message.timeseries.add()
        for name, value in labels:
            one.labels.add(name=name, value=value)
        for ms, bits in samples:
            value = float(np.uint64(bits).view(np.float64))
            one.samples.add(timestamp=ms, value=value)
    return message


def as_series(columns: decode.SeriesColumns) -> Series:
    at, series = 0, []
    stamps, bits = columns.timestamps_ms.tolist(), columns.value_bits.tolist()
    for blob, n in zip(columns.label_blobs(), columns.counts.tolist(), strict=True):
        labels = prometheus_pb2.TimeSeries.FromString(blob).labels
        samples = list(zip(stamps[at : at + n], bits[at : at + n], strict=True))
        series.append(([(x.name, x.value) for x in labels], samples))
        at += n
    return series


def bits_of(value: float) -> int:
    return int(np.float64(value).view(np.uint64))


stamps_ns = st.one_of(
    st.integers(0, 2**62), st.integers(NS, NS + 5 * 10**9), st.just(0), st.integers(-(2**62), -1)
)
lines = st.one_of(st.text(max_size=20), st.sampled_from(["", "\n\x02", "\x12\x04\n\x00" * 3]))
log_streams = st.lists(
    st.tuples(
        st.one_of(st.text(max_size=30), st.text("x", min_size=120, max_size=300)),
        st.lists(st.tuples(stamps_ns, lines), max_size=8),
    ),
    max_size=5,
)
stamps_ms = st.one_of(
    st.integers(1_700_000_000_000, 1_700_000_100_000), st.integers(-(2**63), 2**63 - 1)
)
patterns = st.one_of(
    st.floats(allow_nan=False).map(bits_of), st.sampled_from([0, 1 << 63, bits_of(np.nan)])
)
metric_series = st.lists(
    st.tuples(
        st.lists(st.tuples(st.text(max_size=9), st.text(max_size=150)), max_size=4),
        st.lists(st.tuples(stamps_ms, patterns), max_size=8),
    ),
    max_size=5,
)


@given(log_streams)
def test_any_push_request_decodes_to_what_the_library_encoded(streams: Streams) -> None:
    body = push_request(streams).SerializeToString()
    assert as_streams(decode.decode_push_request(body)) == streams


@given(metric_series)
def test_any_write_request_decodes_to_what_the_library_encoded(series: Series) -> None:
    body = write_request(series).SerializeToString()
    assert as_series(decode.decode_write_request(body)) == series


@given(st.lists(metric_series, max_size=3))
def test_any_read_response_decodes_to_what_the_library_encoded(results: list[Series]) -> None:
    message = prometheus_pb2.ReadResponse()
    for series in results:
        message.results.add(timeseries=write_request(series).timeseries)
    answers = decode.decode_read_response(message.SerializeToString())
    assert [as_series(answer) for answer in answers] == results


@given(st.binary(max_size=60))
def test_arbitrary_bytes_decode_like_the_library_or_raise(body: bytes) -> None:
    try:
        expected = prometheus_pb2.WriteRequest.FromString(body)
    except Exception:  # noqa: BLE001 - the library's own classes differ by implementation
        expected = None
    try:
        columns = decode.decode_write_request(body)
    except DecodeError:
        assert expected is None
        return
    if expected is not None:
        got = as_series(columns)
        assert [x for x, _ in got] == [
            [(y.name, y.value) for y in one.labels] for one in expected.timeseries
        ]
        assert [len(x) for _, x in got] == [len(one.samples) for one in expected.timeseries]


@given(log_streams, st.data())
def test_a_cut_push_request_raises_or_is_a_shorter_message(
    streams: Streams, data: st.DataObject
) -> None:
    body = push_request(streams).SerializeToString()
    cut = body[: data.draw(st.integers(0, len(body)))]
    try:
        expected = loki_pb2.PushRequest.FromString(cut)
    except Exception:  # noqa: BLE001 - the library's own classes differ by implementation
        with pytest.raises(DecodeError):
            decode.decode_push_request(cut)
        return
    assert len(decode.decode_push_request(cut).counts) == len(expected.streams)


def test_regular_bodies_take_the_column_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("general path")

    monkeypatch.setattr(decode, "_general_push", refuse)
    monkeypatch.setattr(decode, "_general_series", refuse)
    streams = [
        (f'{{a="{i}"}}', [(NS + j * 123_456_789, f"{j:020d}:line") for j in range(50)])
        for i in range(7)
    ]
    body = push_request(streams).SerializeToString()
    columns = decode.decode_push_request(body)
    assert as_streams(columns) == streams
    assert columns.timestamps_ns.dtype == np.int64
    assert columns.line_lengths.tolist() == [25] * 350
    for zero_at in (None, 3):
        series = [
            (
                [("__name__", "m"), ("i", f"{i:05d}")],
                [
                    (1_700_000_000_000 + j, 0 if i == zero_at else bits_of(i + 0.5))
                    for j in range(5)
                ],
            )
            for i in range(300)
        ]
        body = write_request(series).SerializeToString()
        assert as_series(decode.decode_write_request(body)) == series


def test_uniform_layout_is_only_taken_where_every_series_has_it() -> None:
    series = [([("n", "v")], [(1_700_000_000_000, bits_of(1.0))])] * 3
    body = bytearray(write_request(series).SerializeToString())
    stride = len(body) // 3
    body[stride * 2 - 9] ^= 1  # one bit within the second value
    assert as_series(decode.decode_write_request(body))[1][1] != series[1][1]
    body[stride + 6] ^= 0x01
    assert as_series(decode.decode_write_request(body))[1][0] != series[1][0]
    for at in (stride * 2 + 1, stride + 5):
        broken = bytearray(body)
        broken[at] += 1
        with pytest.raises(DecodeError, match="not a valid WriteRequest"):
            decode.decode_write_request(broken)


def test_structured_metadata_is_counted() -> None:
    message = push_request([('{a="b"}', [(NS, "x"), (NS + 1, "y")])])
    message.streams[0].entries[1].structured_metadata.add(name="k", value="v")
    columns = decode.decode_push_request(message.SerializeToString())
    assert columns.n_metadata == 1
    assert as_streams(columns) == [('{a="b"}', [(NS, "x"), (NS + 1, "y")])]


def test_timestamp_out_of_range_raises() -> None:
    message = push_request([('{a="b"}', [(NS, "x")])])
    message.streams[0].entries[0].timestamp.nanos = 1_000_000_000
    with pytest.raises(DecodeError, match="timestamp out of range"):
        decode.decode_push_request(message.SerializeToString())


def test_unknown_fields_and_histograms_are_passed_over() -> None:
    body = write_request([([("n", "v")], [(5, bits_of(2.0))])]).SerializeToString()
    assert as_series(decode.decode_write_request(body + b"\x1a\x02\x08\x01")) == [
        ([("n", "v")], [(5, bits_of(2.0))])
    ]


@given(st.lists(st.integers(0, 2**56 - 1), min_size=1, max_size=20))
def test_varints_as_columns(values: list[int]) -> None:
    encoded, offsets = bytearray(), []
    for value in values:
        offsets.append(len(encoded))
        rest = value
        while rest >= 0x80:
            encoded.append(rest & 0x7F | 0x80)
            rest >>= 7
        encoded.append(rest)
    buffer = np.frombuffer(bytes(encoded), np.uint8)
    found, lengths = records.varints(buffer, np.array(offsets))
    assert found.tolist() == values
    assert lengths.tolist() == np.diff([*offsets, len(encoded)]).tolist()


def test_scatter_puts_back_what_gather_took() -> None:
    buffer = np.arange(50, dtype=np.uint8)
    offsets = np.array([0, 17, 47])
    rows = records.gather(buffer, offsets, 3)
    assert rows.tolist() == [[0, 1, 2], [17, 18, 19], [47, 48, 49]]
    copy = np.zeros(50, np.uint8)
    records.scatter(copy, offsets, rows)
    assert copy[offsets].tolist() == [0, 17, 47]
    assert int(copy.sum()) == int(rows.sum())
    with pytest.raises(IndexError):
        records.gather(buffer, np.array([48]), 3)
    with pytest.raises(IndexError):
        records.scatter(buffer, np.array([0]), np.zeros((1, 51), np.uint8))
