"""The checksum of fragments, against Python's big integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.wire.checksum import (
    line_sums,
    line_words,
    position_keys,
    time_checksums,
    time_sums,
    value_sums,
    weighted,
    weighted_rows,
    word_keys,
)

times = st.integers(0, 2**63 - 1)
words = st.integers(0, 2**64 - 1)


@st.composite
def log_fragments(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    n_chars = draw(st.integers(1, 40))
    entry = st.tuples(times, st.binary(min_size=n_chars, max_size=n_chars))
    return draw(st.lists(entry, min_size=1, max_size=8))


metric_fragments = st.lists(st.tuples(times, words), min_size=1, max_size=8)


def checksum_of_lines(samples: list[tuple[int, bytes]], first: int = 0) -> int:
    lines = np.frombuffer(b"".join(line for _, line in samples), np.uint8)
    stamps = np.array([time for time, _ in samples], np.int64)
    sums = line_sums(lines.reshape(len(samples), -1)) + time_sums(stamps)
    return int(weighted(sums, slice(first, first + len(samples))).sum())


def checksum_of_values(samples: list[tuple[int, int]], first: int = 0) -> int:
    stamps = np.array([time for time, _ in samples], np.int64)
    sums = value_sums(np.array([bits for _, bits in samples], np.uint64)) + time_sums(stamps)
    return int(weighted(sums, np.arange(first, first + len(samples))).sum())


@given(log_fragments(), st.integers(0, 1500))
def test_lines_agree_with_big_integers(samples: list[tuple[int, bytes]], first: int) -> None:
    assert checksum_of_lines(samples, first) == referee.checksum(samples, first)


@given(metric_fragments, st.integers(0, 1500))
def test_values_agree_with_big_integers(samples: list[tuple[int, int]], first: int) -> None:
    assert checksum_of_values(samples, first) == referee.checksum(samples, first)


def test_empty_positions() -> None:
    assert weighted(np.empty(0, np.uint64), np.empty(0, np.int64)).shape == (0,)
    assert weighted(np.empty(0, np.uint64), slice(0, 0)).shape == (0,)


@given(log_fragments(), st.data())
def test_parts_add_up(samples: list[tuple[int, bytes]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(samples)))
    parts = [
        checksum_of_lines(part, first)
        for part, first in ((samples[:cut], 0), (samples[cut:], cut))
        if part
    ]
    assert sum(parts) % 2**64 == checksum_of_lines(samples)


@given(metric_fragments, st.data())
def test_parts_of_values_add_up(samples: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(samples)))
    parts = [checksum_of_values(samples[:cut]), checksum_of_values(samples[cut:], cut)]
    assert sum(parts) % 2**64 == checksum_of_values(samples)


@given(log_fragments(), st.data())
def test_any_change_of_one_byte_shows(
    samples: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(samples) - 1))
    time, line = samples[at]
    position = data.draw(st.integers(0, len(line) - 1))
    changed = bytearray(line)
    changed[position] ^= data.draw(st.integers(1, 255))
    altered = [*samples[:at], (time, bytes(changed)), *samples[at + 1 :]]
    assert checksum_of_lines(altered) != checksum_of_lines(samples)


@given(log_fragments(), st.data())
def test_any_change_of_a_timestamp_shows(
    samples: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(samples) - 1))
    time, line = samples[at]
    other = data.draw(times.filter(lambda value: value != time))
    altered = [*samples[:at], (other, line), *samples[at + 1 :]]
    assert checksum_of_lines(altered) != checksum_of_lines(samples)


@given(metric_fragments, st.data())
def test_any_change_of_a_value_shows(samples: list[tuple[int, int]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(samples) - 1))
    time, bits = samples[at]
    altered = [
        *samples[:at],
        (time, bits ^ data.draw(st.integers(1, 2**64 - 1))),
        *samples[at + 1 :],
    ]
    assert checksum_of_values(altered) != checksum_of_values(samples)


@given(st.lists(st.tuples(times, words), min_size=2, max_size=8, unique=True), st.data())
def test_swapped_samples_show(samples: list[tuple[int, int]], data: st.DataObject) -> None:
    one, other = data.draw(
        st.lists(st.integers(0, len(samples) - 1), min_size=2, max_size=2, unique=True)
    )
    swapped = list(samples)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    assert checksum_of_values(swapped) != checksum_of_values(samples)


def test_swapped_contents_show() -> None:
    times_ns = [10, 20, 30]
    texts = [b"first line", b"other line", b"third line"]
    original = checksum_of_lines(list(zip(times_ns, texts, strict=True)))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        swapped = list(texts)
        swapped[a], swapped[b] = swapped[b], swapped[a]
        assert checksum_of_lines(list(zip(times_ns, swapped, strict=True))) != original


def test_words_of_lines() -> None:
    line = np.frombuffer(b"0123456789abc", np.uint8)
    for n_chars, expected in (
        (3, [b"012\0\0\0\0\0"]),
        (8, [b"01234567"]),
        (9, [b"01234567", b"8"]),
        (13, [b"01234567", b"89abc"]),
    ):
        words = line_words(line[None, :n_chars])
        assert words.tolist() == [[int.from_bytes(word, "little") for word in expected]]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1500), st.data())
def test_rows_add_up_in_either_memory_order(
    n_rows: int, n_samples: int, first: int, data: st.DataObject
) -> None:
    flat = data.draw(st.lists(words, min_size=n_rows * n_samples, max_size=n_rows * n_samples))
    sums = np.array(flat, np.uint64).reshape(n_rows, n_samples)
    positions = slice(first, first + n_samples)
    keys = position_keys(2000)[positions].tolist()
    expected = [
        sum(word * key for word, key in zip(row, keys, strict=True)) % 2**64
        for row in sums.tolist()
    ]
    assert weighted_rows(sums, positions).tolist() == expected
    assert weighted_rows(np.asfortranarray(sums), positions).tolist() == expected


@given(
    st.lists(times, min_size=1, max_size=4),
    st.integers(1, 10**18),
    st.integers(1, 30),
    st.integers(0, 1500),
)
def test_times_of_a_fragment_add_up(
    starts: list[int], step_ns: int, n_samples: int, first: int
) -> None:
    positions = slice(first, first + n_samples)
    found = time_checksums(np.array(starts, np.int64), step_ns, positions)
    for start, checksum in zip(starts, found.tolist(), strict=True):
        stamps = [(start + i * step_ns) % 2**64 for i in range(first, first + n_samples)]
        sums = time_sums(np.array(stamps, np.uint64).view(np.int64))
        assert checksum == int(weighted(sums, positions).sum())


def test_keys_are_odd_and_do_not_depend_on_how_many_are_asked_for() -> None:
    for keys in (position_keys, word_keys):
        many = keys(5000)
        assert (many & np.uint64(1)).all()
        assert len(np.unique(many)) == 5000
        for n in (1, 2, 64, 65, 1024, 1025):
            assert np.array_equal(keys(n), many[:n])
    assert not np.isin(position_keys(1000), word_keys(1000)).any()
