"""The checksum of fragments, against Python's big integers, and against who would fool it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.wire.checksum import (
    BLOCK_WORDS,
    Checksum,
    keys,
    words_of_lines,
    words_of_values,
)
from looker.wire.checksum_of_format_2 import ChecksumOfFormat2

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

words = st.integers(0, 2**64 - 1)


@st.composite
def log_fragments(draw: st.DrawFn) -> list[bytes]:
    n_chars = draw(st.integers(1, 40))
    line = st.binary(min_size=n_chars, max_size=n_chars)
    return draw(st.lists(line, min_size=1, max_size=8))


metric_fragments = st.lists(words, min_size=1, max_size=8)


def as_words(samples: list[Any]) -> Words:
    """Return the words (1, n, n_words) of a fragment's lines or bit patterns."""
    if isinstance(samples[0], int):
        return words_of_values(np.array([samples], np.uint64))
    joined = np.frombuffer(b"".join(samples), np.uint8)
    return words_of_lines(joined.reshape(1, len(samples), -1))


def timed(samples: list[Any]) -> list[tuple[int, Any]]:
    return [(0, one) for one in samples]


def checksums(fragments: Words) -> list[int]:
    """Return the checksums of whole fragments (m, n, n_words)."""
    checksum = Checksum(*fragments.shape[1:])
    sums = np.zeros((len(fragments), checksum.n_blocks), np.uint64)
    checksum.add_rows(sums, fragments, slice(0, fragments.shape[1]))
    found: list[int] = checksum.of_blocks(sums).tolist()
    return found


@given(log_fragments() | metric_fragments)
def test_big_integers_agree(samples: list[Any]) -> None:
    assert checksums(as_words(samples)) == [referee.checksum(timed(samples))]


@pytest.mark.parametrize("n_words", [1, 2, 7, 5000, BLOCK_WORDS, BLOCK_WORDS + 1])
@pytest.mark.parametrize("n_blocks", [1, 2, 3, 5])
def test_blocks_and_parts_of_them_agree_with_big_integers(n_words: int, n_blocks: int) -> None:
    """Whatever positions come together, and in whatever order, they add up to the same."""
    random = np.random.default_rng(n_words * n_blocks)
    per_block = max(1, BLOCK_WORDS // n_words)
    n_samples = n_blocks * per_block - (per_block > 1)
    lines = random.integers(0, 256, (n_samples, 8 * n_words - 3), np.uint8)
    fragment = words_of_lines(lines)
    checksum = Checksum(n_samples, n_words)
    assert checksum.n_blocks == n_blocks
    cuts = np.unique(random.integers(1, n_samples + 1, 6) - 1).tolist()
    parts = [*zip([0, *cuts], [*cuts, n_samples], strict=True)]
    random.shuffle(parts)
    sums = np.zeros((1, n_blocks), np.uint64)
    for begin, end in parts:
        if begin < end:
            checksum.add_rows(sums, fragment[None, begin:end].copy(), slice(begin, end))
    sampled = [(0, line.tobytes()) for line in lines]
    assert sums[0].tolist() == list(referee.block_sums(sampled).values())
    assert checksum.of_blocks(sums).tolist() == [referee.checksum(sampled)]
    order = random.permutation(n_samples)
    blocks, values = checksum.of_single(fragment[order], order)
    single = np.zeros(n_blocks, np.uint64)
    np.add.at(single, blocks, values)
    assert single.tolist() == sums[0].tolist()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1500), st.data())
def test_rows_add_up_in_either_memory_order(
    n_rows: int, n_samples: int, first: int, data: st.DataObject
) -> None:
    flat = data.draw(st.lists(words, min_size=n_rows * n_samples, max_size=n_rows * n_samples))
    bits = np.array(flat, np.uint64).reshape(n_rows, n_samples)
    expected = [[referee.checksum(timed(row), first)] for row in bits.tolist()]
    checksum = Checksum(first + n_samples, 1)
    for ordered in (bits, np.asfortranarray(bits)):
        for overwrite in (False, True):
            sums = np.zeros((n_rows, 1), np.uint64)
            given_words = words_of_values(ordered.copy(order="K"))
            positions = slice(first, first + n_samples)
            checksum.add_rows(sums, given_words, positions, overwrite=overwrite)
            assert sums.tolist() == expected
            assert overwrite or np.array_equal(given_words[..., 0], bits)


def test_words_of_lines() -> None:
    line = np.frombuffer(b"0123456789abc", np.uint8)
    for n_chars, expected in (
        (3, [b"012\0\0\0\0\0"]),
        (8, [b"01234567"]),
        (9, [b"01234567", b"8"]),
        (13, [b"01234567", b"89abc"]),
    ):
        found = words_of_lines(line[None, :n_chars])
        assert found.tolist() == [[int.from_bytes(word, "little") for word in expected]]


def test_keys_are_all_different_and_do_not_depend_on_how_many_are_asked_for() -> None:
    many = [keys(seed, 5000) for seed in range(0x5EED_0003, 0x5EED_0007)]
    assert len(np.unique(np.concatenate(many))) == 4 * 5000
    for n in (1, 2, 64, 1024, 1025):
        assert np.array_equal(keys(0x5EED_0003, n), many[0][:n])


# --- changes that would fool a weaker sum -------------------------------------------------------

N_EACH = 20_000
FORMS = {
    "values": (40, 1),
    "values in several blocks": (3 * BLOCK_WORDS // 2, 1),
    "lines": (24, 5),
    "lines in several blocks": (3 * BLOCK_WORDS // 5, 5),
}
"""Samples of a fragment, and words of each."""
Change = Any
"""Takes a source of random numbers and two samples of a fragment, (k, 2, n_words); changes them."""


def flip_one_bit_of_both(random: np.random.Generator, pair: Words) -> None:
    word, bit = random.integers(0, pair.shape[2], len(pair)), random.integers(0, 64, len(pair))
    pair[np.arange(len(pair)), :, word] ^= (np.uint64(1) << bit.astype(np.uint64))[:, None]


def flip_a_high_bit_of_both(random: np.random.Generator, pair: Words) -> None:
    bits = random.integers(52, 64, len(pair)).astype(np.uint64)
    pair[:, :, -1] ^= (np.uint64(1) << bits)[:, None]


def negate_both(_: np.random.Generator, pair: Words) -> None:
    pair ^= np.uint64(1 << 63)


def take_absolute(_: np.random.Generator, pair: Words) -> None:
    pair &= np.uint64(2**63 - 1)


def set_bit_7_of_both(random: np.random.Generator, pair: Words) -> None:
    at = random.integers(0, 8, len(pair)).astype(np.uint64)
    pair[:, :, 0] |= (np.uint64(0x80) << (np.uint64(8) * at))[:, None]


def set_bit_7_of_all(_: np.random.Generator, pair: Words) -> None:
    pair |= np.uint64(0x8080_8080_8080_8080)


def swap(_: np.random.Generator, pair: Words) -> None:
    pair[...] = pair[:, ::-1].copy()


def repeat_the_other(_: np.random.Generator, pair: Words) -> None:
    pair[:, 0] = pair[:, 1]


def shift_between(random: np.random.Generator, pair: Words) -> None:
    """What is added to the one is taken from the other: 2**k times any number."""
    added = random.integers(1, 2**32, len(pair), np.uint64) << _shifts(random, len(pair))
    pair[:, 0, 0] += added
    pair[:, 1, 0] -= added


def add_to_both(random: np.random.Generator, pair: Words) -> None:
    added = random.integers(1, 2**32, len(pair), np.uint64) << _shifts(random, len(pair))
    pair[:, :, 0] += added[:, None]


def move_between_halves(random: np.random.Generator, pair: Words) -> None:
    """What one gains in its upper half the other one loses in its lower half."""
    added = random.integers(1, 2**32, len(pair), np.uint64)
    pair[:, 0, 0] += added << np.uint64(32)
    pair[:, 1, 0] -= added


def exchange_halves(_: np.random.Generator, pair: Words) -> None:
    pair[...] = pair << np.uint64(32) | pair >> np.uint64(32)


def exchange_upper_halves(_: np.random.Generator, pair: Words) -> None:
    upper = pair & np.uint64(0xFFFF_FFFF << 32)
    pair ^= upper ^ upper[:, ::-1]


def rotate_words(_: np.random.Generator, pair: Words) -> None:
    """Each word takes the place of the next, across both samples."""
    flat = pair.reshape(len(pair), -1)
    flat[...] = np.roll(flat, 1, axis=1)


def _shifts(random: np.random.Generator, n: int) -> Words:
    return random.integers(0, 64, n).astype(np.uint64)


CHANGES: list[Callable[[np.random.Generator, Words], None]] = [
    flip_one_bit_of_both,
    flip_a_high_bit_of_both,
    negate_both,
    take_absolute,
    set_bit_7_of_both,
    set_bit_7_of_all,
    swap,
    repeat_the_other,
    shift_between,
    add_to_both,
    move_between_halves,
    exchange_halves,
    exchange_upper_halves,
    rotate_words,
]


def missed(kind: type[Checksum], form: str, change: Change) -> tuple[int, int]:
    """Change two samples of a fragment many times; return how often, and what was not seen."""
    n_samples, n_words = FORMS[form]
    random = np.random.default_rng(n_samples + n_words)
    fragment = random.integers(0, 2**64, (n_samples, n_words), np.uint64)
    places = random.integers(0, n_samples, (N_EACH, 2))
    places[:, 1] += places[:, 0] == places[:, 1]
    places %= n_samples
    pairs = fragment[places]
    changed = pairs.copy()
    change(random, changed)
    differs = (changed != pairs).any(axis=(1, 2))
    checksum = kind(n_samples, n_words)
    sums = np.zeros((1, checksum.n_blocks), np.uint64)
    checksum.add_rows(sums, fragment[None], slice(0, n_samples))
    altered = np.repeat(sums, N_EACH, axis=0)
    for side in (0, 1):
        numbers = np.arange(N_EACH)
        blocks, values = checksum.of_single(changed[:, side], places[:, side])
        np.add.at(altered, (numbers, blocks), values)
        blocks, values = checksum.of_single(pairs[:, side], places[:, side])
        np.subtract.at(altered, (numbers, blocks), values)
    same = checksum.of_blocks(altered) == checksum.of_blocks(sums)
    return int(differs.sum()), int((differs & same).sum())


@pytest.mark.parametrize("form", FORMS)
def test_more_than_a_million_changes_of_two_samples_are_all_seen(form: str) -> None:
    """Field case 37: each form has some 280,000, of all kinds that are known to cancel out."""
    n_changes = 0
    for change in CHANGES:
        n_changed, n_missed = missed(Checksum, form, change)
        assert n_missed == 0, change.__name__
        n_changes += n_changed
    assert n_changes > 255_000


def test_the_former_checksum_missed_many_of_them() -> None:
    """So that the changes are known to be of the kinds that matter."""
    shares = {}
    for change in CHANGES:
        n_changed, n_missed = missed(ChecksumOfFormat2, "values", change)
        shares[change] = n_missed / n_changed
    assert shares[negate_both] == 1
    for change in (take_absolute, flip_one_bit_of_both, flip_a_high_bit_of_both, add_to_both):
        assert shares[change] > 0.01


@pytest.mark.parametrize("form", FORMS)
def test_changes_of_whole_fragments_are_seen(form: str) -> None:
    """Field case 37: all negated, absolute, rotated, reversed, and each shifted by the same."""
    n_samples, n_words = FORMS[form]
    random = np.random.default_rng(5)
    fragment = random.integers(0, 2**64, (n_samples, n_words), np.uint64)
    changed = [
        fragment ^ np.uint64(1 << 63),
        fragment & np.uint64(2**63 - 1),
        fragment[::-1],
        -fragment,
        ~fragment,
        *(np.roll(fragment, n, axis=0) for n in (1, 2, n_samples // 2, n_samples - 1)),
        *(fragment + (np.uint64(1) << np.uint64(bit)) for bit in range(64)),
        *(fragment ^ (np.uint64(1) << np.uint64(bit)) for bit in range(64)),
    ]
    sent, *came = [checksums(one[None])[0] for one in (fragment, *changed)]
    assert sent not in came
    assert len(set(came)) == len({one.tobytes() for one in changed})
