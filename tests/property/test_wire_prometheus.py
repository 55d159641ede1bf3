"""Remote write bodies, byte for byte those of the protobuf library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import referee
from looker.generate.metrics import MetricEncoder
from looker.model.config import Compressability
from looker.wire.columns import NumberedText
from looker.wire.prometheus import (
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
    SAMPLE_BYTES,
    SeriesRows,
    read_request,
    store_times,
    value_fields,
)
from looker.wire.proto import prometheus_pb2
from looker.wire.sample_blocks import decode_samples

if TYPE_CHECKING:
    from looker.generate.content import Content
    from looker.generate.encoder import EncodedBatch

MS = 1_000_000
NOW_MS = 1_795_475_977_000

starts_ms = st.one_of(
    st.integers(NOW_MS, NOW_MS + 10**6),
    st.sampled_from([MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS - 10**7]),
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    n_streams = draw(st.sampled_from([1, 10, 11, 1001, 10_000, 10_001, 100_001]))
    return referee.make_content(
        metrics=True,
        invocation_id=draw(st.sampled_from(["i", "looker-2026.11_x", "n" * 100])),
        born_in_cycle=draw(st.sampled_from([0, 9, 10, 123_456])),
        n_streams=n_streams,
        group_size=draw(st.integers(1, min(1000, n_streams))),
        extra=draw(st.sampled_from(referee.EXTRA_LABELS)),
        seed=draw(st.integers(0, 2**64 - 1)),
        generation=draw(st.integers(0, 2**32 - 1)),
        compressability=draw(st.sampled_from(Compressability)),
        n_samples=draw(st.sampled_from([1, 2, 5, 40, 1000])),
        step_ns=MS * draw(st.sampled_from([1, 15, 1000, 10_000])),
    )


def assert_as_referee(content: Content, encoded: EncodedBatch, per_message: int) -> None:
    batch = encoded.batch
    columns = batch.streams.tolist(), batch.fragments.tolist(), batch.start_ns.tolist()
    fragments = list(zip(*columns, strict=True))
    covered = []
    for part, body in encoded.messages(per_message):
        assert body.tobytes() == referee.push_request(content, fragments[part])
        covered += fragments[part]
    assert covered == fragments
    assert encoded.checksums.tolist() == [
        referee.checksum(referee.fragment_samples(content, *one)) for one in fragments
    ]


@given(st.data())
def test_bodies_are_those_of_the_protobuf_library(data: st.DataObject) -> None:
    content = data.draw(contents())
    last = content.scheme.n_streams - 1
    streams = data.draw(
        st.lists(
            st.one_of(st.integers(0, last), st.just(last)),
            min_size=1,
            max_size=min(6, last + 1),
            unique=True,
        )
    )
    n = len(streams)
    fragments = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n))
    begins = data.draw(st.lists(starts_ms.map(lambda ms: ms * MS), min_size=n, max_size=n))
    batch = referee.make_batch(content, streams, fragments, begins)
    encoded = MetricEncoder(content).encode(batch)
    assert encoded.batch.streams.tolist() == streams
    assert_as_referee(content, encoded, data.draw(st.integers(1, n + 1)))


@pytest.mark.parametrize(("n_streams", "n_samples"), [(1, 8000), (2000, 5)])
def test_batches_larger_than_a_block(n_streams: int, n_samples: int) -> None:
    content = referee.make_content(
        metrics=True, n_streams=n_streams, group_size=1, n_samples=n_samples, step_ns=MS
    )
    batch = referee.make_batch(
        content, range(n_streams), [3] * n_streams, [NOW_MS * MS + 7 * MS] * n_streams
    )
    assert_as_referee(content, MetricEncoder(content).encode(batch), 999)


def stored_samples(starts: list[int], offsets: list[int], bits: np.ndarray) -> np.ndarray:
    """Return samples (m, n, 18) as they stand behind a series' labels; here there are none."""
    series = SeriesRows(NumberedText([]), len(offsets))
    start_ms, offsets_ms = np.array(starts, np.int64), np.array(offsets, np.int64)
    samples = series.samples(series.blank(start_ms))
    value_fields(samples)[...] = bits
    store_times(samples, start_ms, offsets_ms)
    return samples


def decoded(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times and bit patterns of samples (m, n, 18), one behind the other."""
    n_rows, n_samples, _ = samples.shape
    flat = np.ascontiguousarray(samples).reshape(-1)
    found = decode_samples(flat, 0, (n_rows, n_samples), n_samples * SAMPLE_BYTES)
    assert found is not None
    times, bits = found
    # one row of times stands for all that are alike
    return np.broadcast_to(times, bits.shape).reshape(-1), bits.reshape(-1)


@given(
    st.lists(
        st.tuples(st.integers(MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS - 1), st.integers(1, 2**64 - 1)),
        min_size=1,
        max_size=20,
    )
)
def test_samples_parse_back_to_the_same_bits(samples: list[tuple[int, int]]) -> None:
    times, bits = (list(column) for column in zip(*samples, strict=True))
    rows = stored_samples(times, [0], np.array(bits, np.uint64)[:, None])
    parsed_times, parsed_bits = decoded(rows)
    assert (parsed_times.tolist(), parsed_bits.tolist()) == (times, bits)


@given(
    st.lists(st.integers(MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS - 2**36), min_size=1, max_size=20),
    st.integers(1, 9),
    st.sampled_from([1, 15, 1000, 16_383, 16_384, 16_385, 2**30, 2**32]),
    st.booleans(),
)
@example([NOW_MS // 2**14 * 2**14 + 16_383] * 12, 5, 1, True)
def test_rows_of_samples_cross_every_length_of_the_low_bits(
    starts: list[int], n_samples: int, step_ms: int, alike: bool
) -> None:
    # rows that are alike are copies of one blank row, others are made one by one
    starts = [starts[0] + number for number in range(20)] if alike else starts
    offsets = [number * step_ms for number in range(n_samples)]
    bits = np.arange(1, len(starts) * n_samples + 1, dtype=np.uint64).reshape(-1, n_samples)
    rows = stored_samples(starts, offsets, bits)
    parsed_times, parsed_bits = decoded(rows)
    assert parsed_bits.tolist() == bits.ravel().tolist()
    expected = [start + offset for start in starts for offset in offsets]
    assert parsed_times.tolist() == expected
    message = prometheus_pb2.TimeSeries(
        samples=[
            prometheus_pb2.Sample(value=referee.float_of(value), timestamp=time)
            for value, time in zip(bits.ravel().tolist(), expected, strict=True)
        ]
    )
    assert rows.tobytes() == message.SerializeToString()


def test_read_request_is_understood_by_the_library() -> None:
    matchers = [("a", "=", "1"), ("b", "!=", "2"), ("c", "=~", "x|y"), ("d", "!~", "z")]
    request = prometheus_pb2.ReadRequest.FromString(read_request(5, 99, matchers))
    (query,) = request.queries
    assert (query.start_timestamp_ms, query.end_timestamp_ms) == (5, 99)
    assert [(one.type, one.name, one.value) for one in query.matchers] == [
        (0, "a", "1"),
        (1, "b", "2"),
        (2, "c", "x|y"),
        (3, "d", "z"),
    ]
    assert list(request.accepted_response_types) == [prometheus_pb2.ReadRequest.SAMPLES]
