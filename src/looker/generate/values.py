"""Metric values of many series at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.model.config import Compressability

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


def value_bits(hashes: NDArray[np.uint64], compressability: Compressability) -> NDArray[np.uint64]:
    """Return the bit patterns of the samples' float64 values, uint64 of the shape of ``hashes``.

    ``min``: magnitudes from 2**-15 to 2 with all 52 bits of the mantissa random; ``medium``: 20
    of them; ``max``: always 1. Never NaN, infinite or zero: Cortex loses the sign of -0.0.
    """
    free = _FREE_BITS[compressability]
    if not free:
        return np.full(hashes.shape, _ONE)
    bits = hashes & free
    bits |= _SMALLEST_EXPONENT
    return bits
