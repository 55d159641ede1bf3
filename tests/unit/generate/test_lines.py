"""What lines are made of."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise, product

import numpy as np
import pytest

import referee
from looker.generate.lines import ALPHABET, FILLER, LineContent
from looker.generate.mixer import fragment_keys
from looker.model.config import Compressability

LEVEL_WORDS = ("err", "error", "warn", "warning", "info", "debug", "trace", "fatal", "critical")


def random_lines(
    n_lines: int, n_chars: int, compressability: Compressability, per_fragment: int = 10
) -> np.ndarray:
    streams = np.repeat(np.arange(10, dtype=np.uint32), n_lines // per_fragment // 10)
    fragments = np.tile(np.arange(n_lines // per_fragment // 10, dtype=np.uint32), 10)
    keys = fragment_keys(42, 0, streams, fragments)
    lines = LineContent(n_chars, compressability, include_time=False)
    out = np.empty((len(keys), per_fragment, n_chars), np.uint8)
    lines.store_text(out, keys, slice(0, per_fragment))
    return out.reshape(n_lines, n_chars)


def test_the_alphabet() -> None:
    assert ALPHABET == b"@ABCHIJKPQRSXYZ[`abchijkpqrsxyz{"
    assert chr(FILLER) == "a"


def test_lines_hold_nothing_but_the_alphabet_and_all_of_it() -> None:
    assert set(np.unique(random_lines(1000, 33, Compressability.MIN)).tolist()) == set(ALPHABET)


@pytest.mark.parametrize("word", LEVEL_WORDS)
def test_no_level_word_can_be_spelled(word: str) -> None:
    spellings = {word.upper(), word.lower()}
    for spelling in spellings:
        assert set(spelling.encode()) - set(ALPHABET)
    # in any mixture of cases: one letter is in the alphabet in neither case
    assert any(not {ord(c.upper()), ord(c.lower())} & set(ALPHABET) for c in word)


def test_json_and_html_escape_no_character() -> None:
    text = (ALPHABET + b"0123456789:" + bytes([FILLER])).decode()
    assert json.dumps(text) == f'"{text}"'
    assert not set(text) & set("<>&'\"\\")


# lines of fragments of one line, of some, and of whole spans
PER_FRAGMENT = pytest.mark.parametrize("per_fragment", [1, 10, 3200])


@PER_FRAGMENT
def test_every_letter_is_as_frequent_at_every_position(per_fragment: int) -> None:
    lines = random_lines(32_000, 40, Compressability.MIN, per_fragment)
    worst, total = 0.0, 0.0
    for column in lines.T:
        counts = np.bincount(column, minlength=128)[list(ALPHABET)]
        chi_square = float(((counts - 1000.0) ** 2 / 1000.0).sum())
        worst = max(worst, chi_square)
        total += chi_square
    # 31 degrees of freedom: 80 is passed by chance once in 500,000; the mean's error is 1.24
    assert worst < 80
    assert abs(total / 40 - 31) < 5


@PER_FRAGMENT
def test_neighbouring_positions_and_lines_are_independent(per_fragment: int) -> None:
    lines = random_lines(32_000, 40, Compressability.MIN, per_fragment)
    for one, other in [
        *pairwise(range(17)),
        *((position, position + 8) for position in range(8)),
    ]:
        pairs = lines[:, one].astype(np.int64) * 128 + lines[:, other]
        counts = np.bincount(pairs, minlength=128 * 128)
        counts = counts[[a * 128 + b for a, b in product(ALPHABET, ALPHABET)]]
        # 1,023 degrees of freedom, a standard deviation of 45
        assert abs(float(((counts - 31.25) ** 2 / 31.25).sum()) - 1023) < 270
    same = (lines[1:] == lines[:-1]).mean()
    assert abs(same - 1 / 32) < 0.001


@PER_FRAGMENT
@pytest.mark.parametrize("compressability", [Compressability.MIN, Compressability.MEDIUM])
def test_no_line_repeats(compressability: Compressability, per_fragment: int) -> None:
    lines = random_lines(96_000, 60, compressability, per_fragment)
    assert len(np.unique(lines.view("V60"))) == 96_000


@PER_FRAGMENT
def test_no_stretch_of_text_repeats_but_by_chance(per_fragment: int) -> None:
    # ten characters are 50 bits: three million of them agree by chance 0.004 times
    lines = random_lines(64_000, 60, Compressability.MIN, per_fragment)
    stretches = np.lib.stride_tricks.sliding_window_view(lines, 10, axis=1).reshape(-1, 10)
    assert len(np.unique(np.ascontiguousarray(stretches).view("V10"))) == len(stretches)


@PER_FRAGMENT
def test_random_text_compresses_like_random_text(per_fragment: int) -> None:
    text = random_lines(32_000, 100, Compressability.MIN, per_fragment).tobytes()
    choices = np.random.default_rng(1).integers(0, 32, len(text))
    reference = np.frombuffer(ALPHABET, np.uint8)[choices].tobytes()
    size, reference_size = len(zlib.compress(text, 9)), len(zlib.compress(reference, 9))
    # five bits of eight, and what zlib spends on matches that do not pay
    assert 0.625 <= size / len(text) < 0.67
    assert abs(size / reference_size - 1) < 0.002


def test_medium_is_half_random_and_half_one_letter() -> None:
    for n_chars, n_random in ((1, 1), (2, 1), (80, 40), (81, 41)):
        lines = random_lines(1000, n_chars, Compressability.MEDIUM)
        half = random_lines(1000, n_random, Compressability.MIN)
        assert np.array_equal(lines[:, :n_random], half)
        assert (lines[:, n_random:] == ord("a")).all()
        assert len(np.unique(lines[:, n_random - 1])) == 32


def test_max_is_one_letter() -> None:
    assert (random_lines(100, 30, Compressability.MAX) == ord("a")).all()


@pytest.mark.parametrize("n_chars", [20, 21, 27, 28, 29, 100])
def test_a_line_begins_with_its_time(n_chars: int) -> None:
    out = np.zeros((1, n_chars), np.uint8)
    digits = np.frombuffer(b"1795475977000000001", np.uint8)[None]
    lines = LineContent(n_chars, Compressability.MIN)
    lines.store_time(out, digits)
    lines.store_text_at(out, np.array([99], np.uint64), np.array([3]))
    text = referee.line_text(99, 3, n_chars - 20, Compressability.MIN)
    expected = b"1795475977000000001:" + text
    assert out.tobytes() == expected
