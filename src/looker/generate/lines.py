"""Log lines of many streams at once.

The random text of a fragment is the exclusive or of two stretches of fixed random tables, which
begin where the fragment's key says, and of a word of that key: one pass and a half over the text,
where a mixer would take nine. Every character depends on the key, each of some 2**64 different
texts of a span is as likely as any other, and no stretch of a text repeats in another one but by
chance (tests hold it to byte statistics, and to zstd).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.mixer import span_keys
from looker.model.config import TIME_PREFIX_CHARS, Compressability
from looker.wire.columns import records_of
from looker.wire.random_words import random_words
from looker.wire.records import gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A random byte becomes one of 32 printable characters with two operations on whole words. The
# characters @ABC HIJK PQRS XYZ[ `abc hijk pqrs xyz{ are 0x40 to 0x7b with bit 2 clear: none is
# escaped in JSON or HTML, and no level word that Loki looks for (error, warn, info, debug, trace,
# fatal, critical ...) can be spelled, as each has a letter with bit 2 set. Any exclusive or of a
# word of them with free bits is a word of them again.
_FREE_BITS: Final = np.uint64(0x3B3B_3B3B_3B3B_3B3B)
_FIXED_BITS: Final = np.uint64(0x4040_4040_4040_4040)
ALPHABET: Final = bytes(code for code in range(0x40, 0x80) if not code & 0x04)
FILLER: Final = ord("a")

SPAN_WORDS: Final = 1 << 14
"""Words of text that are made with one key, unless one line is longer: 128 kB."""
_STARTS: Final = 1 << 13
_FIRST_SEED: Final = 0x7E47_0001
_SECOND_SEED: Final = 0x7E47_0002
_SECOND_SHIFT: Final = 51
_KEY_FACTOR: Final = np.uint64(0x9FB2_1C65_1E98_DF25)


@cache
def _tables(n_words: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return what texts begin with and what changes them, each uint64 (n_words,)."""
    first = random_words(_FIRST_SEED, n_words) & _FREE_BITS | _FIXED_BITS
    return first, random_words(_SECOND_SEED, n_words) & _FREE_BITS


class LineContent:
    """Lines of ``n_chars`` characters: the timestamp in ns and a colon, then random text.

    ``compressability`` says what the rest is: ``min`` all random, ``medium`` half random and half
    one letter, ``max`` one letter. Without the time prefix a line may be of any length from 1.
    """

    def __init__(
        self, n_chars: int, compressability: Compressability, *, include_time: bool = True
    ) -> None:
        self.n_chars = n_chars
        self.include_time = include_time
        self.text_at = TIME_PREFIX_CHARS if include_time else 0
        n_text = n_chars - self.text_at
        if n_text < 0:
            raise ValueError(f"a line with its time needs {TIME_PREFIX_CHARS} characters")
        self._n_random = {
            Compressability.MIN: n_text,
            Compressability.MEDIUM: n_text - n_text // 2,
            Compressability.MAX: 0,
        }[compressability]
        self._filler = np.full(n_text - self._n_random, FILLER, np.uint8)
        self._n_words = -(-self._n_random // 8)
        self.span = max(1, SPAN_WORDS // max(1, self._n_words))
        """Lines that are made with one key."""
        self._tables = _tables(_STARTS + max(SPAN_WORDS, self._n_words))

    def store_time(self, out: NDArray[np.uint8], digits: NDArray[np.uint8]) -> None:
        """Store timestamps in ns, as ``digits`` (..., 19), into lines ``out`` (..., n_chars)."""
        if self.include_time:
            records_of(out[..., : self.text_at - 1])[...] = records_of(digits)
            out[..., self.text_at - 1] = ord(":")

    def store_text(
        self, out: NDArray[np.uint8], keys: NDArray[np.uint64], positions: slice
    ) -> None:
        """Store what comes behind the time into lines ``out`` (m, n, n_chars).

        ``keys`` (m,) are those of fragments, ``positions`` which of their lines, ``n`` each.
        """
        if not self._n_words:
            self._fill(out)
            return
        begin = positions.start
        while begin < positions.stop:
            span, first = divmod(begin, self.span)
            end = min(begin + self.span - first, positions.stop)
            part = out[:, begin - positions.start : end - positions.start]
            words = self._words(span_keys(keys, span), first * self._n_words, end - begin)
            self._store(part, words)
            begin = end

    def store_text_at(
        self, out: NDArray[np.uint8], keys: NDArray[np.uint64], positions: NDArray[np.int64]
    ) -> None:
        """Store single lines into ``out`` (..., n_chars): of a fragment and a position each."""
        if not self._n_words:
            self._fill(out)
            return
        spans, first = np.divmod(positions.reshape(-1), self.span)
        spanned = span_keys(keys.reshape(-1), spans)
        self._store(out, self._words(spanned, first * self._n_words, 1))

    def _words(
        self, keys: NDArray[np.uint64], first: int | NDArray[np.int64], n_lines: int
    ) -> NDArray[np.uint64]:
        """Return text from a span's word number ``first`` on, for ``n_lines``: (m, words)."""
        n_words = n_lines * self._n_words
        base, change = self._tables
        if len(keys) == 1:
            # in Python's own numbers: numpy takes a microsecond for each step
            key, at = int(keys[0]), int(first if isinstance(first, int) else first[0])
            a, b = (key & (_STARTS - 1)) + at, (key >> _SECOND_SHIFT) + at
            words = base[a : a + n_words] ^ change[b : b + n_words]
            words ^= np.uint64(key * int(_KEY_FACTOR) & int(_FREE_BITS))
            return words[None]
        base_at = (keys & np.uint64(_STARTS - 1)).view(np.int64) + first
        change_at = (keys >> np.uint64(_SECOND_SHIFT)).view(np.int64) + first
        last = keys * _KEY_FACTOR & _FREE_BITS
        size = 8 * n_words
        words = gather(base.view(np.uint8), 8 * base_at, size).view(np.uint64)
        words ^= gather(change.view(np.uint8), 8 * change_at, size).view(np.uint64)
        words ^= last[:, None]
        return words

    def _store(self, out: NDArray[np.uint8], words: NDArray[np.uint64]) -> None:
        text = words.view(np.uint8).reshape(*out.shape[:-1], 8 * self._n_words)
        end = self.text_at + self._n_random
        records_of(out[..., self.text_at : end])[...] = records_of(text[..., : self._n_random])
        self._fill(out)

    def _fill(self, out: NDArray[np.uint8]) -> None:
        if len(self._filler):
            end = self.n_chars - len(self._filler)
            records_of(out[..., end:])[...] = records_of(self._filler)
