"""The counter-based hash that all content is made of.

``mix64`` is the finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014, with the constants of Stafford's variant 13). A stream's key depends on
seed, generation and stream number; a sample's hash on that key and the sample's number; the words
of a line on the sample's hash and the word's position.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MASK: Final = 2**64 - 1
GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_GENERATION_STEP: Final = 0xD1B5_4A32_D192_ED03
_M1: Final = 0xBF58_476D_1CE4_E5B9
_M2: Final = 0x94D0_49BB_1331_11EB


def mix64(value: int) -> int:
    """Mix one 64-bit integer."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _M1) & _MASK
    value = ((value ^ (value >> 27)) * _M2) & _MASK
    return value ^ (value >> 31)


def mix_in_place(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix an array of 64-bit integers of any shape, in place; return it."""
    scratch = values >> np.uint64(30)
    values ^= scratch
    values *= np.uint64(_M1)
    np.right_shift(values, np.uint64(27), out=scratch)
    values ^= scratch
    values *= np.uint64(_M2)
    np.right_shift(values, np.uint64(31), out=scratch)
    values ^= scratch
    return values


def stream_keys(seed: int, generation: int, streams: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the keys of streams (m,), uint64 (m,)."""
    base = mix64(mix64(seed) + generation * _GENERATION_STEP)
    return mix_in_place(streams.astype(np.uint64) * np.uint64(GOLDEN) + np.uint64(base))


def sample_hashes(keys: NDArray[np.uint64], samples: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of each sample: ``keys`` and ``samples`` broadcast against each other."""
    return mix_in_place(samples * np.uint64(GOLDEN) + keys)


@cache
def _word_offsets(n_words: int) -> NDArray[np.uint64]:
    return np.array([mix64(0xC0FFEE + word) for word in range(n_words)], np.uint64)


def word_block(hashes: NDArray[np.uint64], n_words: int) -> NDArray[np.uint64]:
    """Return ``n_words`` random words for each sample's hash (n,), uint64 (n, n_words).

    Lighter than :func:`mix64`, as its input is well mixed already: every byte still depends on
    every bit of the hash (tests hold it to byte statistics and to zstd).
    """
    words = hashes[:, None] + _word_offsets(n_words)
    words *= np.uint64(_M1)
    scratch = words >> np.uint64(32)
    words ^= scratch
    words *= np.uint64(_M2)
    np.right_shift(words, np.uint64(29), out=scratch)
    words ^= scratch
    return words
