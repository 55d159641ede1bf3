"""A 64-bit multilinear hash over the samples of a fragment, as columns.

With fixed odd keys ``P`` (by position in the fragment) and ``K`` (by word of a sample), a
fragment's checksum is ``sum_i P[i] * (K[0] * t[i] + sum_w K[w + 1] * x[i, w])`` modulo 2**64,
where ``t`` are timestamps in nanoseconds and ``x`` the content as 8-byte little-endian words (a
line's last word is padded with zeros). Every change of one word changes it, as odd keys are
invertible modulo 2**64. It is linear, so parts of a fragment that are read in different pages
simply add up, and so do times and content.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.wire.columns import records_of
from looker.wire.random_words import random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSITION_SEED: Final = 0x5EED_0001
_WORD_SEED: Final = 0x5EED_0002
_MASK: Final = 2**64 - 1


@cache
def _keys(seed: int, n_keys: int) -> NDArray[np.uint64]:
    keys = random_words(seed, n_keys) | np.uint64(1)
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
    words = np.empty((*lines.shape[:-1], -(-n_chars // 8)), np.uint64)
    if n_chars % 8:
        words[..., -1] = 0
    records_of(words.view(np.uint8)[..., :n_chars])[...] = records_of(lines)
    return words


def line_sums(lines: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the inner sums of the content of log entries: lines (..., n_chars)."""
    words = line_words(lines)
    sums: NDArray[np.uint64] = np.einsum("...w,w", words, word_keys(1 + words.shape[-1])[1:])
    return sums


def time_key(unit_ns: int = 1) -> int:
    """Return the key of timestamps in ``unit_ns``."""
    return int(word_keys(1)[0]) * unit_ns & _MASK


def value_key() -> int:
    """Return the key of a metric sample's bit pattern."""
    return int(word_keys(2)[1])


def time_sums(timestamps: NDArray[np.int64], unit_ns: int = 1) -> NDArray[np.uint64]:
    """Return what timestamps (...) add to inner sums; ``unit_ns`` is their unit."""
    sums: NDArray[np.uint64] = timestamps.view(np.uint64) * np.uint64(time_key(unit_ns))
    return sums


def value_sums(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the inner sums of the content of metric samples: the floats' bit patterns (...)."""
    sums: NDArray[np.uint64] = bits * word_keys(2)[1]
    return sums


def weighted(sums: NDArray[np.uint64], positions: NDArray[Any] | slice) -> NDArray[np.uint64]:
    """Return the inner sums times the keys of their positions in their fragments."""
    if isinstance(positions, slice):
        keys = position_keys(positions.stop)
    else:
        keys = position_keys(int(positions.max(initial=0)) + 1)
    products: NDArray[np.uint64] = sums * keys[positions]
    return products


def weighted_rows(sums: NDArray[np.uint64], positions: slice) -> NDArray[np.uint64]:
    """Return the checksums of inner sums (m, n): those of ``n`` positions of ``m`` fragments."""
    keys = position_keys(positions.stop)[positions]
    if sums.flags.c_contiguous:
        checksums: NDArray[np.uint64] = np.einsum("mn,n->m", sums, keys)
        return checksums
    checksums = np.empty(len(sums), np.uint64)
    return np.add.reduce(sums * keys, axis=1, out=checksums)


def time_checksums(
    start_ns: NDArray[np.int64], step_ns: int, positions: slice
) -> NDArray[np.uint64]:
    """Return what the timestamps of some positions of fragments add to their checksums, (m,).

    ``start_ns`` (m,) are those of the fragments' first samples. The sum is linear in them.
    """
    per_start, per_step = _time_factors(positions.start, positions.stop)
    checksums: NDArray[np.uint64] = start_ns.view(np.uint64) * np.uint64(per_start)
    checksums += np.uint64(per_step * step_ns & _MASK)
    return checksums


@lru_cache(256)
def _time_factors(first: int, end: int) -> tuple[int, int]:
    """Return what one ns of start, and one ns of step, adds to a checksum."""
    keys = position_keys(end)[first:]
    factor = int(word_keys(1)[0])
    all_steps = int((keys * np.arange(first, end, dtype=np.uint64)).sum())
    return int(keys.sum()) * factor & _MASK, all_steps * factor & _MASK
