"""What lines are made of."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise, product

import numpy as np
import pytest

import referee
from looker.generate.lines import ALPHABET, FILLER, LineContent
from looker.generate.mixer import sample_hashes, stream_keys
from looker.model.config import Compressability

LEVEL_WORDS = ("err", "error", "warn", "warning", "info", "debug", "trace", "fatal", "critical")


def random_lines(n_lines: int, n_chars: int, compressability: Compressability) -> np.ndarray:
    keys = stream_keys(42, 0, np.arange(10))
    hashes = sample_hashes(keys[:, None], np.arange(n_lines // 10, dtype=np.uint64)).reshape(-1)
    lines = LineContent(n_chars, compressability, include_time=False)
    out = np.empty((n_lines, n_chars), np.uint8)
    lines.store(out, hashes, np.empty((n_lines, 19), np.uint8))
    return out


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


def test_every_letter_is_as_frequent_at_every_position() -> None:
    lines = random_lines(32_000, 40, Compressability.MIN)
    worst, total = 0.0, 0.0
    for column in lines.T:
        counts = np.bincount(column, minlength=128)[list(ALPHABET)]
        chi_square = float(((counts - 1000.0) ** 2 / 1000.0).sum())
        worst = max(worst, chi_square)
        total += chi_square
    # 31 degrees of freedom: 80 is passed by chance once in 500,000; the mean's error is 1.24
    assert worst < 80
    assert abs(total / 40 - 31) < 5


def test_neighbouring_positions_and_lines_are_independent() -> None:
    lines = random_lines(32_000, 40, Compressability.MIN)
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


@pytest.mark.parametrize("compressability", [Compressability.MIN, Compressability.MEDIUM])
def test_no_line_repeats(compressability: Compressability) -> None:
    lines = random_lines(100_000, 60, compressability)
    assert len(np.unique(lines.view("V60"))) == 100_000


def test_random_text_compresses_like_random_text() -> None:
    text = random_lines(10_000, 100, Compressability.MIN).tobytes()
    choices = np.random.default_rng(1).integers(0, 32, len(text))
    reference = np.frombuffer(ALPHABET, np.uint8)[choices].tobytes()
    size, reference_size = len(zlib.compress(text, 9)), len(zlib.compress(reference, 9))
    # five bits of eight, and what zlib spends on matches that do not pay
    assert 0.625 <= size / len(text) < 0.67
    assert abs(size / reference_size - 1) < 0.002


def test_medium_is_half_random_and_half_one_letter() -> None:
    for n_chars, n_random in ((1, 1), (2, 1), (80, 40), (81, 41)):
        lines = random_lines(1000, n_chars, Compressability.MEDIUM)
        full = random_lines(1000, n_chars, Compressability.MIN)
        assert np.array_equal(lines[:, :n_random], full[:, :n_random])
        assert (lines[:, n_random:] == ord("a")).all()
        assert len(np.unique(lines[:, n_random - 1])) == 32


def test_max_is_one_letter() -> None:
    assert (random_lines(10, 30, Compressability.MAX) == ord("a")).all()


@pytest.mark.parametrize("n_chars", [20, 21, 27, 28, 29, 100])
def test_a_line_begins_with_its_time(n_chars: int) -> None:
    out = np.zeros((1, n_chars), np.uint8)
    digits = np.frombuffer(b"1795475977000000001", np.uint8)[None]
    LineContent(n_chars, Compressability.MIN).store(out, np.array([99], np.uint64), digits)
    expected = b"1795475977000000001:" + referee.random_text(99, n_chars - 20)
    assert out.tobytes() == expected
