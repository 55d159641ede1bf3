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
from looker.generate.mixer import mix64, mix_in_place, sample_hashes, stream_keys, word_block

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


@given(words, st.integers(0, 2**42), st.integers(0, 2**32 - 1), st.integers(0, 2**60))
def test_keys_and_hashes_are_the_referees(
    seed: int, generation: int, stream: int, number: int
) -> None:
    content = referee.make_content(seed=seed, generation=generation)
    keys = stream_keys(seed, generation, np.array([stream], np.uint32))
    assert np.array_equal(keys, content.keys(np.array([stream], np.uint32)))
    hashes = sample_hashes(keys, np.array([number], np.uint64))
    assert hashes.tolist() == [referee.sample_hash(content, stream, number)]


def test_each_argument_changes_the_hash() -> None:
    hashes = set()
    for seed, generation, stream in product(range(8), range(8), range(8)):
        keys = stream_keys(seed, generation, np.array([stream], np.uint32))
        hashes |= set(sample_hashes(keys, np.arange(8, dtype=np.uint64)).tolist())
    assert len(hashes) == 8**4


def test_every_byte_of_a_word_depends_on_every_bit_of_the_hash() -> None:
    base = np.array([mix64(number) for number in range(64)], np.uint64)
    original = word_block(base, 3).view(np.uint8)
    assert original.shape == (64, 24)
    for bit in range(64):
        changed = word_block(base ^ np.uint64(1 << bit), 3).view(np.uint8)
        assert (changed != original).any(axis=0).all()


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
def test_samples_are_numbered_through_a_streams_fragments(metrics: bool) -> None:
    # four fragments of three samples hold what three fragments of four samples hold
    texts = []
    for n_samples in (3, 4):
        content = referee.make_content(metrics=metrics, n_samples=n_samples, step_ns=referee.MS)
        tail = 19 if metrics else 25
        for fragment in range(12 // n_samples):
            start = referee.NS + fragment * n_samples * referee.MS
            batch = referee.make_batch(content, [2], [fragment], [start])
            encoder = MetricEncoder(content) if metrics else LogEncoder(content)
            body = encoder.encode(batch).buffer.tobytes()
            expected = [value for _, value in referee.fragment_samples(content, 2, fragment, start)]
            for value in expected:
                wire = value.to_bytes(8, "little") if metrics else value[-tail:].encode()
                assert wire in body
            texts.append(expected)
    assert sum(texts[:4], []) == sum(texts[4:], [])  # noqa: RUF017 - a dozen items
