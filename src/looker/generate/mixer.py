"""The counter-based hash that all content is made of.

``mix64`` is the finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014, with the constants of Stafford's variant 13). A fragment's key depends on
seed, generation, stream and fragment number; what its samples hold, on that key and on their
position in the fragment.
"""

from __future__ import annotations

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


def fragment_keys(
    seed: int, generation: int, streams: NDArray[Any], fragments: NDArray[Any]
) -> NDArray[np.uint64]:
    """Return a key for each fragment, uint64 (m,): different ones within a generation.

    ``streams`` and ``fragments`` are numbers below 2**32, (m,).
    """
    keys = streams.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= fragments.astype(np.uint64)
    keys += np.uint64(mix64(mix64(seed) + generation * _GENERATION_STEP))
    return mix_in_place(keys)


def span_keys(keys: NDArray[np.uint64], spans: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the keys of spans of fragments (m,): ``spans`` is one number, or one for each key.

    The content of a long fragment is made span by span; the first span has the fragment's own key.
    """
    if isinstance(spans, int):
        if not spans:
            return keys
        if len(keys) == 1:
            # numpy would take ten times as long
            return np.array([mix64(int(keys[0]) + spans * GOLDEN)], np.uint64)
        return mix_in_place(keys + np.uint64(spans * GOLDEN & _MASK))
    if not spans.any():
        return keys
    later = mix_in_place(keys + spans.astype(np.uint64) * np.uint64(GOLDEN))
    return np.where(spans == 0, keys, later)
