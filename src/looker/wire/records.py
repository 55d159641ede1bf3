"""Fixed-size records at arbitrary byte offsets: gathers, scatters and varints as columns.

All offsets are int64 arrays; all byte buffers are one-dimensional ``uint8`` arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Offsets = NDArray[np.int64]
    Words = NDArray[np.uint64]

VARINT_WORD = 8  # the longest varint that the column decoders take: 56 bits
_CONTINUES = np.uint64(0x8080808080808080)
_PAYLOAD = np.uint64(0x7F7F7F7F7F7F7F7F)


def _windows(buffer: Bytes, size: int) -> NDArray[Any]:
    """View every run of ``size`` bytes of ``buffer`` as one record; shape (len - size + 1,)."""
    view: NDArray[Any] = np.ndarray((len(buffer) - size + 1,), f"V{size}", buffer, 0, (1,))
    return view


def gather(buffer: Bytes, offsets: Offsets, size: int) -> Bytes:
    """Copy the ``size`` bytes at each of ``offsets``; shape (len(offsets), size), uint8.

    Raises IndexError where a record would reach beyond the buffer.
    """
    if size == 0 or len(offsets) == 0:
        return np.empty((len(offsets), size), np.uint8)
    if size > len(buffer):
        raise IndexError(f"records of {size} bytes in a buffer of {len(buffer)}")
    return _windows(buffer, size)[offsets].view(np.uint8).reshape(len(offsets), size)


def scatter(buffer: Bytes, offsets: Offsets, rows: Bytes) -> None:
    """Write each row of ``rows`` (n, size) into ``buffer`` at its offset.

    Raises IndexError where a record would reach beyond the buffer.
    """
    n, size = rows.shape
    if n == 0 or size == 0:
        return
    if size > len(buffer):
        raise IndexError(f"records of {size} bytes in a buffer of {len(buffer)}")
    records = np.ascontiguousarray(rows).view(f"V{size}").reshape(n)
    _windows(buffer, size)[offsets] = records


def words(buffer: Bytes, offsets: Offsets) -> Words:
    """Read 8 little-endian bytes at each offset; what lies beyond the buffer reads as zero.

    Offsets are within [0, len(buffer)]. Returns uint64 (n,).
    """
    size = len(buffer)
    if size < VARINT_WORD:
        padded = np.zeros(VARINT_WORD, np.uint8)
        padded[:size] = buffer
        return words(padded, offsets)
    limit = size - VARINT_WORD
    every: Words = np.ndarray((limit + 1,), "<u8", buffer, 0, (1,))
    inside = np.minimum(offsets, limit)
    beyond = np.minimum(offsets - inside, VARINT_WORD).astype(np.uint64)
    # A shift by the full width is undefined in C: two halves make it zero.
    half = beyond * np.uint64(4)
    found: Words = (every[inside] >> half) >> half
    return found


def squeeze(raw: Words) -> Words:
    """Join the low seven bits of each byte of ``raw``: the values of varints of up to 8 bytes.

    Bytes behind the end of a varint must be zero in ``raw``.
    """
    x = raw & _PAYLOAD
    x = (x & np.uint64(0x007F007F007F007F)) | ((x & np.uint64(0x7F007F007F007F00)) >> np.uint64(1))
    x = (x & np.uint64(0x00003FFF00003FFF)) | ((x & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
    joined: Words = (x & np.uint64(0x0FFFFFFF)) | (
        (x & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4)
    )
    return joined


def varints(buffer: Bytes, offsets: Offsets) -> tuple[Offsets, Offsets]:
    """Decode the varint at each offset: (values, lengths in bytes), both int64 (n,).

    A varint of more than eight bytes has length 0: such are left to a general decoder.
    """
    raw = words(buffer, offsets)
    ends = ~raw & _CONTINUES
    last = ends & (~ends + np.uint64(1))  # the lowest bit that ends a varint; 0 if there is none
    mask = (last << np.uint64(1)) - np.uint64(1)
    values = squeeze(raw & mask).view(np.int64)
    lengths = (np.bitwise_count(mask) >> np.uint8(3)).astype(np.int64)
    lengths[last == 0] = 0
    return values, lengths


def slices(buffer: Bytes, offsets: Offsets, lengths: Offsets) -> list[bytes]:
    """Copy the bytes [offset, offset + length) of each record: a list of n ``bytes``."""
    n = len(offsets)
    if n == 0:
        return []
    size = int(lengths[0])
    if size and bool((lengths == size).all()):
        found: list[bytes] = _windows(buffer, size)[offsets].tolist()
        return found
    view = buffer.data
    stops = (offsets + lengths).tolist()
    return [bytes(view[a:b]) for a, b in zip(offsets.tolist(), stops, strict=True)]
