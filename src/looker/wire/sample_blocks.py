"""Samples of remote read answers where they lie at even distances: decoded as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.wire.prometheus import SAMPLE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sample: tag and length, tag and double, tag and a varint of six bytes (see wire/prometheus.py).
_HEAD: Final = np.uint32(0x09_10_12)
_HEAD_MASK: Final = 0xFF_FF_FF
_BITS_AT: Final = 3
# The eight bytes that end the sample: the double's last one, the tag, and the varint.
_TIME_AT: Final = SAMPLE_BYTES - 8
_TIME_FORM: Final = np.uint64(0x00_80_80_80_80_80_10)
_TIME_MASK: Final = 0x80_80_80_80_80_80_FF
_ODD_SEVENS: Final = np.uint64(0x7F00_7F00_7F00)
_FOURTEEN_BITS: Final = np.uint64(0x3FFF)


def decode_samples(
    buffer: NDArray[np.uint8], begin: int, shape: tuple[int, int], series_bytes: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]] | None:
    """Return timestamps in ms and bit patterns of samples, both (series, samples).

    The timestamps are (1, samples) where all series have the same. The samples of a series follow
    each other from ``begin`` on, and those of the next one ``series_bytes`` later. None where a
    sample has another layout; every byte is looked at.
    """
    strides = (series_bytes, SAMPLE_BYTES)
    heads = _copied(buffer, "<u4", begin, shape, strides)
    heads ^= _HEAD
    if np.bitwise_or.reduce(heads, axis=None) & _HEAD_MASK:
        return None
    times = _copied(buffer, "<u8", begin + _TIME_AT, shape, strides)
    bits = _copied(buffer, "<u8", begin + _BITS_AT, shape, strides)
    # the first byte is the double's last one
    times >>= np.uint64(8)
    # takes away the continuation bits as well, where they are as they should be
    times ^= _TIME_FORM
    if (times[:, 0] == times[0, 0]).all() and (times == times[0]).all():
        # series of one rhythm: one of them tells the times of all
        times = times[:1]
    if int(np.bitwise_or.reduce(times, axis=None)) & _TIME_MASK:
        return None
    return _join_sevens(times).view(np.int64), bits


def _copied(
    buffer: NDArray[np.uint8],
    dtype: str,
    begin: int,
    shape: tuple[int, int],
    strides: tuple[int, int],
) -> NDArray[Any]:
    view: NDArray[Any] = np.ndarray(shape, dtype, buffer, begin, strides)
    return view.copy()


def _join_sevens(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Join the groups of seven bits in bytes 1 to 6, in place."""
    words >>= np.uint64(8)
    # pairs of groups, then the three pairs
    part = words & _ODD_SEVENS
    part >>= np.uint64(1)
    words -= part
    np.right_shift(words, np.uint64(2), out=part)
    part &= _FOURTEEN_BITS << np.uint64(14)
    last = words >> np.uint64(4)
    last &= _FOURTEEN_BITS << np.uint64(28)
    words &= _FOURTEEN_BITS
    words |= part
    words |= last
    return words
