"""Loki push bodies, byte for byte those of the protobuf library over a plain reimplementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import referee
from looker.generate.lines import LineContent
from looker.generate.logs import LogEncoder
from looker.model.config import Compressability
from looker.wire.columns import store_digits
from looker.wire.loki import MIN_SECONDS

if TYPE_CHECKING:
    from looker.generate.content import Content
    from looker.generate.encoder import EncodedBatch
    from looker.model.fragment import FragmentBatch

S = 10**9
NOW_S = 1_795_475_977

nanos = st.one_of(
    st.just(0),
    *(st.integers(1 << 7 * (n - 1), min((1 << 7 * n) - 1, S - 1)) for n in range(1, 6)),
    st.integers(S - 3000, S - 1),
)
starts = st.builds(
    lambda second, ns: second * S + ns,
    st.one_of(st.integers(NOW_S, NOW_S + 3), st.sampled_from([MIN_SECONDS, 9_223_371_000])),
    nanos,
)
steps = st.one_of(
    st.sampled_from([1, 2, 127, 128, 1000, 16_383, 10**6, 10**8, S // 2, S, 10 * S]),
    st.integers(1, 10 * S),
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    n_streams = draw(st.sampled_from([1, 2, 10, 11, 100, 101, 1001, 12_345]))
    return referee.make_content(
        invocation_id=draw(st.sampled_from(["i", "looker-2026.11_x", "n" * 100])),
        born_in_cycle=draw(st.sampled_from([0, 9, 10, 4_294_967_295])),
        n_streams=n_streams,
        group_size=draw(st.integers(1, min(1000, n_streams))),
        extra=draw(st.sampled_from(referee.EXTRA_LABELS)),
        seed=draw(st.integers(0, 2**64 - 1)),
        generation=draw(st.integers(0, 2**32 - 1)),
        n_chars=draw(st.one_of(st.integers(20, 60), st.sampled_from([127, 128, 200, 300]))),
        compressability=draw(st.sampled_from(Compressability)),
        n_samples=draw(st.sampled_from([1, 2, 3, 5, 17])),
        step_ns=draw(steps),
    )


@st.composite
def batches(draw: st.DrawFn, content: Content) -> FragmentBatch:
    last = content.scheme.n_streams - 1
    streams = draw(
        st.lists(st.integers(0, last), min_size=1, max_size=min(8, last + 1), unique=True)
    )
    n = len(streams)
    fragments = draw(st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n))
    begins = draw(st.lists(starts, min_size=n, max_size=n))
    return referee.make_batch(content, streams, fragments, begins)


def fragments_of(batch: FragmentBatch) -> list[tuple[int, int, int]]:
    columns = batch.streams.tolist(), batch.fragments.tolist(), batch.start_ns.tolist()
    return list(zip(*columns, strict=True))


def assert_as_referee(content: Content, encoded: EncodedBatch, per_message: int) -> None:
    fragments = fragments_of(encoded.batch)
    parts = list(encoded.messages(per_message))
    bounds = [(part.start, part.stop) for part, _ in parts]
    n = len(fragments)
    assert bounds == [(at, min(at + per_message, n)) for at in range(0, n, per_message)]
    for part, body in parts:
        assert body.tobytes() == referee.push_request(content, fragments[part])
    assert encoded.checksums.dtype == np.uint64
    assert encoded.checksums.tolist() == [
        referee.checksum(referee.fragment_samples(content, *one)) for one in fragments
    ]
    assert encoded.offsets[0] == 0
    assert encoded.offsets[-1] == len(encoded.buffer)


@given(st.data())
def test_bodies_are_those_of_the_protobuf_library(data: st.DataObject) -> None:
    content = data.draw(contents())
    encoder = LogEncoder(content)
    for batch in data.draw(st.lists(batches(content), min_size=1, max_size=2)):
        encoded = encoder.encode(batch)
        assert sorted(fragments_of(encoded.batch)) == sorted(fragments_of(batch))
        assert (encoded.batch.n_samples, encoded.batch.step_ns) == (
            content.n_samples,
            content.step_ns,
        )
        assert_as_referee(content, encoded, data.draw(st.integers(1, len(batch) + 1)))


@pytest.mark.parametrize("length", range(6))
def test_each_length_of_the_nanoseconds_varint(length: int) -> None:
    content = referee.make_content(n_samples=1, n_chars=20)
    least = (1 << 7 * (length - 1)) if length else 0
    most = min((1 << 7 * length) - 1, S - 1)
    batch = referee.make_batch(content, [1, 2], [0, 0], [NOW_S * S + least, NOW_S * S + most])
    encoded = LogEncoder(content).encode(batch)
    assert_as_referee(content, encoded, 2)
    timestamp = 6 + (1 + length if length else 0)
    labels_field = 2 + len(referee.selector(referee.labels(content.scheme, 1)))
    entry = 2 + 2 + timestamp + 2 + 20
    assert np.diff(encoded.offsets).tolist() == [2 + labels_field + entry] * 2


def test_a_batch_is_ordered_by_the_width_of_its_entries() -> None:
    content = referee.make_content(n_samples=2, step_ns=1)
    begins = [NOW_S * S + S - 1, NOW_S * S + 300_000_000, NOW_S * S + 1, NOW_S * S + 200]
    batch = referee.make_batch(content, [0, 1, 2, 3], [5, 6, 7, 8], begins)
    encoded = LogEncoder(content).encode(batch)
    assert encoded.batch.streams.tolist() == [2, 3, 1, 0]
    assert encoded.batch.fragments.tolist() == [7, 8, 6, 5]
    assert_as_referee(content, encoded, 3)


@pytest.mark.parametrize(
    ("n_samples", "n_chars", "step_ns"),
    [(1500, 130, 1), (1500, 130, 1_000_003), (7, 40_000, 5), (3, 200_000, 400_000_000)],
)
def test_fragments_larger_than_a_block(n_samples: int, n_chars: int, step_ns: int) -> None:
    content = referee.make_content(n_samples=n_samples, n_chars=n_chars, step_ns=step_ns)
    batch = referee.make_batch(content, [3, 1], [2, 9], [NOW_S * S + 300_000_000, NOW_S * S])
    assert_as_referee(content, LogEncoder(content).encode(batch), 1)


def test_many_small_fragments_in_blocks() -> None:
    content = referee.make_content(n_samples=2, n_chars=60, n_streams=1001, group_size=100)
    begins = [NOW_S * S + 500_000_000 + stream for stream in range(1001)]
    batch = referee.make_batch(content, range(1000, -1, -1), [1] * 1001, begins)
    assert_as_referee(content, LogEncoder(content).encode(batch), 400)


@given(
    st.integers(1, 40),
    st.sampled_from(Compressability),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 10**7)), min_size=1, max_size=6),
    st.booleans(),
)
@example(1, Compressability.MEDIUM, [(5, 0)], False)
def test_lines_of_any_length(
    n_text: int,
    compressability: Compressability,
    places: list[tuple[int, int]],
    include_time: bool,
) -> None:
    keys, positions = [key for key, _ in places], [position for _, position in places]
    n_chars = n_text - 1 + 20 if include_time else n_text
    lines = LineContent(n_chars, compressability, include_time=include_time)
    times = np.arange(len(places)) + referee.NS
    digits = np.empty((len(places), 19), np.uint8)
    store_digits(digits, times)
    out = np.full((len(places), n_chars), 0xEE, np.uint8)
    lines.store_time(out, digits)
    lines.store_text_at(out, np.array(keys, np.uint64), np.array(positions))
    for row, key, position, time_ns in zip(out, keys, positions, times.tolist(), strict=True):
        prefix = f"{time_ns}:".encode() if include_time else b""
        text = referee.line_text(key, position, n_chars - len(prefix), compressability)
        assert row.tobytes() == prefix + text


def test_a_line_too_short_for_its_time_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 20 characters"):
        LineContent(19, Compressability.MIN)
