"""A 64-bit multilinear hash over the content of a fragment's samples, as columns.

A sample's content is words of 8 bytes, little-endian: a metric sample's value is one, as its bit
pattern; a line has as many as it needs, the last one padded with zeros. A fragment is cut into
blocks of samples, with the words ``y`` in each, counted from 0. A block's sum is
``sum_i K[i] * y[i] + L[i] * (y[i] >> 32)``; that is the fragment's checksum, unless it has several
blocks: then it is ``sum_b P[b] * s[b] + Q[b] * (s[b] >> 32)`` of their sums ``s``. All is modulo
2**64, and all keys are random words.

With y = low + 2**32 * high, ``high`` is multiplied by 2**32 * K + L, which is as random as L and
independent of K: so each half of 32 bits has a random key of 64 bits of its own. A half that
changes by 2**j times an odd number, j < 32, changes the sum by one of 2**(64 - j) numbers, each as
likely as any other: whatever else changes, it goes unseen with a chance of at most 2**-33 in the
sum of its block, and again in that of the blocks: at most 2**-32 (docs/verification.md has the
proof in full, and where the hash is from).

What a block is made of adds up, so its parts may come in different pages, in any order. Times are
not summed up: a sample has its position by its time, which is compared as a number.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from looker.wire.columns import records_of
from looker.wire.random_words import random_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK_WORDS: Final = 1 << 14
"""Words of a block, unless one sample has more: with their keys they stay in the L2 cache."""
_HALF: Final = np.uint64(32)
_WORD_SEEDS: Final = (0x5EED_0003, 0x5EED_0004)
_BLOCK_SEEDS: Final = (0x5EED_0005, 0x5EED_0006)
_LEAST_KEYS: Final = 1024


def keys(seed: int, n_keys: int) -> NDArray[np.uint64]:
    """Return the first keys of a sequence, uint64 (n_keys,)."""
    return _sequence(seed, max(_LEAST_KEYS, 1 << (n_keys - 1).bit_length()))[:n_keys]


@cache
def _sequence(seed: int, n_keys: int) -> NDArray[np.uint64]:
    return random_words(seed, n_keys)


class Checksum:
    """Sums up fragments of ``n_samples``, each of ``n_words`` words.

    ``n_blocks`` is how many blocks a fragment has, of ``samples_per_block`` each but the last.
    """

    def __init__(self, n_samples: int, n_words: int) -> None:
        self.samples_per_block = min(n_samples, max(1, BLOCK_WORDS // n_words))
        self.n_blocks = -(-n_samples // self.samples_per_block)
        shape = (self.samples_per_block, n_words)
        self._low, self._high = (
            keys(seed, shape[0] * shape[1]).reshape(shape) for seed in _WORD_SEEDS
        )

    @classmethod
    @lru_cache(64)
    def of(cls, n_samples: int, n_words: int) -> Self:
        """Return the same one for the same fragments."""
        return cls(n_samples, n_words)

    def passes(
        self, words: NDArray[np.uint64], *, overwrite: bool = False
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
        """Yield what a block's sum is made of: keys (samples_per_block, n_words), factors.

        Factors are like ``words`` (..., n_words); all passes have to be added up. With
        ``overwrite`` the words may be used as scratch.
        """
        yield self._low, words
        yield self._high, np.right_shift(words, _HALF, out=words if overwrite else None)

    def of_part(
        self, own: NDArray[np.uint64], factors: NDArray[np.uint64], positions: slice
    ) -> tuple[slice, NDArray[np.uint64]]:
        """Sum up a pass over some positions of fragments, at least one: (..., n, n_words).

        Return the blocks that they are of, and what they add to their sums, uint64 (..., blocks).
        """
        size = self.samples_per_block
        first, last = positions.start // size, (positions.stop - 1) // size
        if first == last:
            begin = positions.start - first * size
            of_one = _products(factors, own[begin : begin + positions.stop - positions.start])
            return slice(first, first + 1), of_one[..., None]
        sums = np.empty((*factors.shape[:-2], last + 1 - first), np.uint64)
        # the first and the last block may be cut
        begin, end = first * size - positions.start, last * size - positions.start
        sums[..., 0] = _products(factors[..., : begin + size, :], own[-begin:])
        if last - first > 1:
            whole = factors[..., begin + size : end, :]
            whole = whole.reshape(*whole.shape[:-2], last - first - 1, size, -1)
            sums[..., 1:-1] = _products(whole, own)
        rest = factors[..., end:, :]
        sums[..., -1] = _products(rest, own[: rest.shape[-2]])
        return slice(first, last + 1), sums

    def add_rows(
        self,
        sums: NDArray[np.uint64],
        words: NDArray[np.uint64],
        positions: slice,
        *,
        overwrite: bool = False,
    ) -> None:
        """Add words (m, n, n_words) to the sums of fragments' blocks (m, n_blocks)."""
        for own, factors in self.passes(words, overwrite=overwrite):
            blocks, added = self.of_part(own, factors, positions)
            sums[:, blocks] += added

    def of_single(
        self, words: NDArray[np.uint64], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the blocks of single samples, and what each adds to its sum: words (k, n_words).

        Both are (k,), as are the positions.
        """
        blocks, at = np.divmod(positions, self.samples_per_block)
        sums = np.zeros(len(positions), np.uint64)
        for own, factors in self.passes(words):
            sums += np.einsum("kw,kw->k", factors, own[at])
        return blocks, sums

    def of_blocks(self, sums: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the checksums (m,) of fragments by the sums of their blocks (m, n_blocks)."""
        if self.n_blocks == 1:
            return sums[:, 0]
        low, high = (keys(seed, self.n_blocks) for seed in _BLOCK_SEEDS)
        checksums: NDArray[np.uint64] = np.einsum("mb,b->m", sums, low)
        checksums += np.einsum("mb,b->m", sums >> _HALF, high)
        return checksums

    def of_content(
        self,
        checksums: NDArray[np.uint64],
        start_ns: NDArray[np.int64],  # noqa: ARG002 - that of others depends on them
        step_ns: int,  # noqa: ARG002
    ) -> NDArray[np.uint64]:
        """Return checksums of whole fragments (m,) without what their times add."""
        return checksums


def _products(factors: NDArray[np.uint64], own: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the sums of factors (..., n, n_words) times keys (n, n_words), uint64 (...)."""
    if factors.ndim == 3 and factors.strides[0] < factors.strides[1]:
        # in columns, each of one word: numpy would go along the short rows
        columns: NDArray[np.uint64] = np.add.reduce(factors[..., 0] * own[:, 0], axis=1)
        return columns
    sums: NDArray[np.uint64] = np.einsum("...nw,nw->...", factors, own)
    return sums


def words_of_lines(lines: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return lines (..., n_chars) as words (..., n_words); the bytes are contiguous."""
    n_chars = lines.shape[-1]
    words = np.empty((*lines.shape[:-1], -(-n_chars // 8)), np.uint64)
    if n_chars % 8:
        words[..., -1] = 0
    records_of(words.view(np.uint8)[..., :n_chars])[...] = records_of(lines)
    return words


def words_of_values(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the bit patterns of metric samples (...) as words (..., 1)."""
    return bits[..., None]
