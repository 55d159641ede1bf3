"""Content is a pure function of seed, generation, stream and sample."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.generate.mixer import (
    fragment_keys,
    mix64,
    mix_in_place,
    span_keys,
    stream_keys,
)
from looker.wire.random_words import random_words

if TYPE_CHECKING:
    from looker.generate.content import Content

words = st.integers(0, 2**64 - 1)


@given(st.integers(0, 2**70))
def test_mix64_is_the_published_finalizer(value: int) -> None:
    assert mix64(value) == referee.mix(value)


def test_mix64_makes_the_published_sequence_of_splitmix64() -> None:
    # the first outputs of splitmix64 with seed 1234567, as in Rosetta Code and many ports' tests
    gamma = 0x9E3779B97F4A7C15
    assert [mix64(1234567 + n * gamma) for n in range(1, 6)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(words, max_size=20))
def test_scalar_and_array_agree(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    mixed = mix_in_place(array)
    assert mixed is array
    assert mixed.tolist() == [mix64(value) for value in values]


def test_arrays_of_any_shape_are_mixed() -> None:
    array = np.arange(24, dtype=np.uint64).reshape(2, 3, 4)
    expected = np.array([mix64(value) for value in range(24)], np.uint64).reshape(2, 3, 4)
    assert np.array_equal(mix_in_place(array.copy()), expected)


@given(
    words,
    st.integers(0, 2**42),
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=5
    ),
    st.integers(0, 2**20),
)
def test_keys_are_the_referees(
    seed: int, generation: int, fragments: list[tuple[int, int]], span: int
) -> None:
    content = referee.make_content(seed=seed, generation=generation)
    columns = [np.array(column, np.uint32) for column in zip(*fragments, strict=True)]
    keys = fragment_keys(seed, generation, *columns)
    assert np.array_equal(keys, content.keys(*columns))
    expected = [referee.fragment_key(content, *one) for one in fragments]
    assert keys.tolist() == expected
    of_span = [referee.span_key(key, span) for key in expected]
    assert span_keys(keys, span).tolist() == of_span
    spans = np.arange(len(keys)) * span
    each = [referee.span_key(key, n * span) for n, key in enumerate(expected)]
    assert span_keys(keys, spans).tolist() == each
    assert keys.tolist() == expected  # what came in is left as it was


def test_each_argument_changes_the_key() -> None:
    keys = set()
    numbers = np.arange(8, dtype=np.uint32)
    for seed, generation, span in product(range(8), range(8), range(8)):
        for streams, fragments in ((np.full(8, n, np.uint32), numbers) for n in range(8)):
            own = span_keys(fragment_keys(seed, generation, streams, fragments), span)
            keys |= set(own.tolist())
    assert len(keys) == 8**5


def test_random_words_are_one_sequence_however_many_are_asked_for() -> None:
    assert random_words(5, 10).tolist() == np.random.PCG64(5).random_raw(10).tolist()
    assert np.array_equal(random_words(5, 1000)[:10], random_words(5, 10))
    assert not random_words(5, 10).flags.writeable


def test_stream_keys_differ_by_seed_generation_and_stream() -> None:
    keys = set()
    for seed, generation in product(range(8), range(8)):
        keys |= set(stream_keys(seed, generation, np.arange(8)).tolist())
    assert len(keys) == 8**3


def lines_and_values(
    content: Content, streams: list[int], fragments: list[int]
) -> dict[int, bytes]:
    """Return the encoded content by stream and fragment, as one key."""
    encoder = MetricEncoder(content) if content.scheme.metrics else LogEncoder(content)
    starts = [referee.NS + fragment * 1000 * referee.MS for fragment in fragments]
    encoded = encoder.encode(referee.make_batch(content, streams, fragments, starts))
    found = {}
    for part, body in encoded.messages(1):
        stream, fragment = encoded.batch.streams[part], encoded.batch.fragments[part]
        found[int(stream[0]) << 32 | int(fragment[0])] = body.tobytes()
    return found


@pytest.mark.parametrize("metrics", [False, True])
def test_content_does_not_depend_on_batch_or_order(metrics: bool) -> None:
    content = referee.make_content(metrics=metrics, n_streams=300, step_ns=referee.MS, n_samples=5)
    streams = list(range(300))
    fragments = [stream % 7 for stream in streams]
    whole = lines_and_values(content, streams, fragments)
    assert len(set(whole.values())) == 300
    assert lines_and_values(content, streams[::-1], fragments[::-1]) == whole
    for size in (1, 7, 128):
        parts: dict[int, bytes] = {}
        for at in range(0, 300, size):
            parts |= lines_and_values(content, streams[at : at + size], fragments[at : at + size])
        assert parts == whole


@pytest.mark.parametrize("metrics", [False, True])
def test_content_differs_by_seed_and_generation_alone(metrics: bool) -> None:
    bodies = set()
    for seed, generation in product((0, 1, 2**63), (0, 1, 2)):
        content = referee.make_content(
            metrics=metrics, seed=seed, generation=generation, step_ns=referee.MS
        )
        bodies |= set(lines_and_values(content, [3], [4]).values())
    assert len(bodies) == 9


@pytest.mark.parametrize("metrics", [False, True])
@pytest.mark.parametrize("n_samples", [1, 3, 70, 5000, 40_000])
def test_content_is_the_referees(metrics: bool, n_samples: int) -> None:
    # from single samples to fragments of several spans
    content = referee.make_content(metrics=metrics, n_samples=n_samples, step_ns=referee.MS)
    expectation_of = content.values() if metrics else content.lines()
    keys = content.keys(np.array([2, 9], np.uint32), np.array([0, 3], np.uint32))
    chosen = sorted({0, n_samples // 2, n_samples - 1})
    for row, (stream, fragment) in enumerate(((2, 0), (9, 3))):
        for position in chosen:
            number = fragment * n_samples + position
            if metrics:
                whole = expectation_of.bits(keys, slice(0, n_samples))
                single = expectation_of.bits_at(keys[[row]], np.array([position]))
                expected = referee.value_bits(content, stream, number)
                assert int(whole[row, position]) == int(single[0]) == expected
            else:
                lines = np.zeros((2, n_samples, content.n_chars), np.uint8)
                expectation_of.store_text(lines, keys, slice(0, n_samples))
                line = np.zeros((1, content.n_chars), np.uint8)
                expectation_of.store_text_at(line, keys[[row]], np.array([position]))
                text = referee.line(content, stream, number, referee.NS)[20:].encode()
                assert lines[row, position, 20:].tobytes() == line[0, 20:].tobytes() == text
