"""Snappy's raw block format, as both push protocols use it.

python-snappy's ``compress`` copies its input and its output; the library below it does not.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import cramjam

from looker.errors import DecodeError

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

_LEAST_SCRATCH_BYTES: Final = 1 << 16
_MOST_SCRATCH_BYTES: Final = 1 << 26
MAX_EXPANSION: Final = 22
"""The densest element is a copy of 64 bytes in 3."""


class _Scratch(threading.local):
    """Room for the longest compressed body so far, unless that is huge, of one thread."""

    def __init__(self) -> None:
        self.room = bytearray(_LEAST_SCRATCH_BYTES)


_scratch = _Scratch()


def compress(body: Buffer) -> memoryview:
    """Compress a whole body.

    Into memory that is there already: what the library allocates is as long as the worst case, is
    filled with zeros first, and would stay so long for as long as the body lives.
    """
    longest = cramjam.snappy.compress_raw_max_len(body)
    room = _scratch.room
    if longest > len(room):
        room = bytearray(longest)
        if longest <= _MOST_SCRATCH_BYTES:
            _scratch.room = room
    n_bytes = cramjam.snappy.compress_raw_into(body, room)
    return memoryview(bytes(memoryview(room)[:n_bytes]))


def uncompressed_length(body: Buffer) -> int:
    """Return the length that a compressed body claims to have; DecodeError if it claims none."""
    length = 0
    for position, byte in enumerate(memoryview(body)[:5]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return length
    raise DecodeError("not a snappy block: its length is missing")


def decompress(body: Buffer, max_bytes: int) -> bytes:
    """Decompress a whole body; DecodeError if it is damaged or larger than ``max_bytes``."""
    length = uncompressed_length(body)
    if length > max_bytes:
        raise DecodeError(f"a snappy block claims {length} bytes, more than {max_bytes} allowed")
    if length > MAX_EXPANSION * len(body):
        # before as much is set aside
        raise DecodeError(f"a snappy block of {len(body)} bytes claims {length}")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise DecodeError(f"a snappy block is damaged: {error}") from error
