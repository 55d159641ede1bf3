"""A 64-bit multilinear hash over the samples of a fragment, as columns.

With fixed odd keys ``P`` (by position in the fragment) and ``K`` (by word of a sample), a
fragment's checksum is ``sum_i P[i] * (K[0] * t[i] + sum_w K[w + 1] * x[i, w])`` modulo 2**64,
where ``t`` are timestamps in nanoseconds and ``x`` the content as 8-byte little-endian words (the
last word of a line is its last eight bytes; shorter lines are padded with zeros). Every change of
one word changes it, as odd keys are invertible modulo 2**64. It is linear, so parts of a fragment
that are read in different pages simply add up.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MASK: Final = 2**64 - 1
_POSITION_SEED: Final = 0x5EED_0001
_WORD_SEED: Final = 0x5EED_0002


@cache
def _keys(seed: int, n_keys: int) -> NDArray[np.uint64]:
    # numpy keeps the output of its bit generators stable across versions
    raw = np.random.PCG64(seed).random_raw(n_keys).astype(np.uint64)
    keys = raw | np.uint64(1)
    keys.setflags(write=False)
    return keys


def position_keys(n_samples: int) -> NDArray[np.uint64]:
    """Return the keys of positions 0 .. n_samples - 1, uint64."""
    return _keys(_POSITION_SEED, 1 << max(10, (n_samples - 1).bit_length()))[:n_samples]


def word_keys(n_words: int) -> NDArray[np.uint64]:
    """Return the keys of the timestamp (first) and of ``n_words - 1`` words of content."""
    return _keys(_WORD_SEED, 1 << max(6, (n_words - 1).bit_length()))[:n_words]


def line_words(lines: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return lines (..., n_chars) as words (..., ceil(n_chars / 8)); the bytes are contiguous."""
    n_chars = lines.shape[-1]
    lead = lines.shape[:-1]
    if n_chars < 8:
        padded = np.zeros((*lead, 8), np.uint8)
        padded[..., :n_chars] = lines
        words: NDArray[np.uint64] = padded.view("<u8")
        return words
    n_whole = n_chars // 8
    words = np.empty((*lead, -(-n_chars // 8)), np.uint64)
    # one record per line: numpy copies those fastest
    whole = f"V{8 * n_whole}"
    words[..., :n_whole].view(whole)[...] = lines[..., : 8 * n_whole].view(whole)
    if n_chars % 8:
        words[..., -1] = lines[..., -8:].view("<u8")[..., 0]
    return words


def line_sums(timestamps_ns: NDArray[np.int64], lines: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the inner sums of log entries: timestamps (...), lines (..., n_chars)."""
    words = line_words(lines)
    keys = word_keys(1 + words.shape[-1])
    # twice as fast as np.dot, which has no BLAS for integers
    sums: NDArray[np.uint64] = np.einsum("...w,w->...", words, keys[1:])
    sums += timestamps_ns.view(np.uint64) * keys[0]
    return sums


def value_keys(unit_ns: int = 1) -> tuple[int, int]:
    """Return the keys of a metric sample's timestamp in ``unit_ns``, and of its bit pattern."""
    time_key, value_key = word_keys(2).tolist()
    return time_key * unit_ns & _MASK, value_key


def value_sums(timestamps_ns: NDArray[np.int64], bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the inner sums of metric samples; ``bits`` are the floats' bit patterns."""
    keys = word_keys(2)
    sums: NDArray[np.uint64] = bits * keys[1]
    sums += timestamps_ns.view(np.uint64) * keys[0]
    return sums


def weighted(sums: NDArray[np.uint64], positions: NDArray[Any] | slice) -> NDArray[np.uint64]:
    """Return the inner sums times the keys of their positions in their fragments."""
    if isinstance(positions, slice):
        keys = position_keys(positions.stop)
    else:
        keys = position_keys(int(positions.max(initial=0)) + 1)
    products: NDArray[np.uint64] = sums * keys[positions]
    return products
