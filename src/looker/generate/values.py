"""Metric values of many series at once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.mixer import span_keys
from looker.model.config import Compressability
from looker.wire.columns import grid_order
from looker.wire.random_words import random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE: Final = np.uint64(0x3FF0_0000_0000_0000)
_SMALLEST_EXPONENT: Final = np.uint64(0x3F00_0000_0000_0000)
# sign, four bits of the exponent, and the mantissa
_FREE_BITS: Final = {
    Compressability.MIN: np.uint64(0x80FF_FFFF_FFFF_FFFF),
    Compressability.MEDIUM: np.uint64(0x80FF_FFFF_0000_0000),
    Compressability.MAX: np.uint64(0),
}
SPAN: Final = 1 << 14
"""Samples that are made with one key."""
_TABLE_SEED: Final = 0x7E47_0003


@cache
def _table() -> NDArray[np.uint64]:
    return random_words(_TABLE_SEED, SPAN)


class ValueContent:
    """The bit patterns of the samples' float64 values.

    ``min``: magnitudes from 2**-15 to 2 with all 52 bits of the mantissa random; ``medium``: 20
    of them; ``max``: always 1. Never NaN, infinite or zero: Cortex loses the sign of -0.0.

    A value is an odd key times a random word of a fixed table, at the sample's position, and its
    upper half is folded into the lower one, whose lowest bits would depend on few of the key's.
    """

    def __init__(self, compressability: Compressability) -> None:
        self._free = _FREE_BITS[compressability]
        self._table = _table()

    def bits(self, keys: NDArray[np.uint64], positions: slice) -> NDArray[np.uint64]:
        """Return samples of fragments, uint64 (m, n), in the order of :func:`grid_order`.

        ``keys`` (m,) are those of fragments, ``positions`` which of their samples, ``n`` each.
        """
        n_samples = positions.stop - positions.start
        bits = np.empty((len(keys), n_samples), np.uint64, grid_order(len(keys), n_samples))
        begin = positions.start
        while begin < positions.stop:
            span, first = divmod(begin, SPAN)
            end = min(begin + SPAN - first, positions.stop)
            factors = span_keys(keys, span) | np.uint64(1)
            part = bits[:, begin - positions.start : end - positions.start]
            np.multiply(factors[:, None], self._table[first : first + end - begin], out=part)
            begin = end
        return self._as_values(bits)

    def bits_at(self, keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return single samples, uint64 (k,): of a fragment and a position each (k,)."""
        spans, first = np.divmod(positions, SPAN)
        return self._as_values((span_keys(keys, spans) | np.uint64(1)) * self._table[first])

    def _as_values(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if not self._free:
            words[...] = _ONE
            return words
        words ^= words >> np.uint64(32)
        words &= self._free
        words |= _SMALLEST_EXPONENT
        return words
