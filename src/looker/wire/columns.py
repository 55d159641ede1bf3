"""Building blocks of wire formats as columns: varints, decimal digits, text with numbers in it.

Arrays have any leading shape; the last axis, where there is one, runs over bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLOCK_BYTES: Final = 1024 * 1024
"""Working set of a kernel: small enough for the L2 cache, large enough for numpy's overhead."""


_FOUR_DIGITS: Final = np.frombuffer(
    "".join(f"{number:04d}" for number in range(10_000)).encode(), dtype="<u4"
)

_SHORT_ROW: Final = 64


def grid_order(n_rows: int, n_columns: int) -> Literal["C", "F"]:
    """Return the memory order in which operations on a grid have the longer inner loop.

    numpy spends some 10 ns on each inner loop, which is much where it has five steps.
    """
    return "F" if n_columns < min(n_rows, _SHORT_ROW) else "C"


def copy_grid(out: NDArray[Any], values: NDArray[Any]) -> None:
    """Copy a grid that is in the order of :func:`grid_order` from or to one of records.

    numpy would go along the rows of ``out``, however short they are.
    """
    if values.shape[1] < min(values.shape[0], _SHORT_ROW):
        for column in range(values.shape[1]):
            out[:, column] = values[:, column]
    else:
        out[...] = values


def varint(value: int) -> bytes:
    """Encode one unsigned integer as a protobuf varint."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def varint_lengths(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the number of bytes of each value's varint (1 to 10); values are not negative."""
    lengths = np.ones(values.shape, np.uint8)
    limit, highest = 1 << 7, int(values.max(initial=0))
    while limit <= highest:
        lengths += values >= limit
        limit <<= 7
    return lengths


def records_of(out: NDArray[np.uint8]) -> NDArray[Any]:
    """View the last axis of ``out`` (..., width), contiguous, as one record (...).

    Assigning records is one ``memcpy`` each.
    """
    view: NDArray[Any] = out.view(f"V{out.shape[-1]}")[..., 0]
    return view


def store_words(out: NDArray[np.uint8], words: NDArray[Any]) -> None:
    """Store the low bytes of ``words`` (...) little-endian into ``out`` (..., width).

    The words are unsigned, and at least as wide as ``out``.
    """
    at, width = 0, out.shape[-1]
    for size in (8, 4, 2, 1):
        while width - at >= size:
            part = words if at == 0 else words >> words.dtype.type(8 * at)
            view = out[..., at : at + size].view(f"<u{size}")[..., 0]
            np.copyto(view, part, casting="unsafe")
            at += size


def varint_words(values: NDArray[Any], n_bytes: int) -> NDArray[Any]:
    """Return each value's varint of ``n_bytes`` bytes, packed little-endian.

    At most 8 bytes, as uint64; uint32 values stay uint32 and give at most 4 bytes. Every value
    must need exactly ``n_bytes``: the encoding is the canonical, shortest one.
    """
    source = values if values.dtype == np.uint32 else values.astype(np.uint64)
    kind = source.dtype.type
    words = source & kind(0x7F)
    for position in range(1, n_bytes):
        # bits 7p .. 7p+6 move to 8p .. 8p+6
        part = source << kind(position)
        part &= kind(0x7F << (8 * position))
        words |= part
    continuation = sum(0x80 << (8 * position) for position in range(n_bytes - 1))
    words |= kind(continuation)
    return words


def store_digits(out: NDArray[np.uint8], values: NDArray[Any]) -> None:
    """Store values (...) as zero-padded decimal ASCII digits into ``out`` (..., width).

    Values are not negative and have at most ``width`` digits.
    """
    width = out.shape[-1]
    # half the bits, twice the speed
    kind = np.uint32 if width <= 9 else np.uint64
    rest: NDArray[Any] = values.astype(kind)
    # numbers are small enough for the table: clipping is cheaper than checking
    for at in range(width, 0, -4):
        last = rest
        if at > 4:
            rest = last // kind(10_000)
            last = last - rest * kind(10_000)
        if at >= 4:
            out[..., at - 4 : at].view("<u4")[..., 0] = _FOUR_DIGITS.take(last, mode="clip")
        elif at == 1:
            np.add(last, kind(ord("0")), out=out[..., 0], casting="unsafe")
        else:
            store_words(
                out[..., :at], _FOUR_DIGITS.take(last, mode="clip") >> np.uint32(8 * (4 - at))
            )


@dataclass(frozen=True, slots=True)
class NumberHole:
    """Where a template has digits: ``width`` digits of ``stream // divisor`` at ``offset``."""

    offset: int
    width: int
    divisor: int


class NumberedText:
    """Text of one width for many streams: a template with zero-padded numbers in it."""

    def __init__(self, parts: Sequence[bytes | tuple[int, int]]) -> None:
        """Take the parts in order: bytes, or (width, divisor) of a number."""
        template = b""
        holes = []
        for part in parts:
            if isinstance(part, bytes):
                template += part
            else:
                width, divisor = part
                holes.append(NumberHole(len(template), width, divisor))
                template += b"0" * width
        self.template = np.frombuffer(template, np.uint8)
        self.holes = tuple(holes)

    def behind(self, start: bytes) -> NumberedText:
        """Return the same text with ``start`` before it."""
        longer = NumberedText([start, self.template.tobytes()])
        longer.holes = tuple(replace(hole, offset=hole.offset + len(start)) for hole in self.holes)
        return longer

    @property
    def width(self) -> int:
        """Bytes of one text."""
        return len(self.template)

    def store(self, out: NDArray[np.uint8], streams: NDArray[Any]) -> None:
        """Store the texts of ``streams`` (m,) into ``out`` (m, width)."""
        records_of(out)[...] = records_of(self.template)
        self.store_numbers(out, streams)

    def store_numbers(self, out: NDArray[np.uint8], streams: NDArray[Any]) -> None:
        """Store only the numbers in the texts of ``streams`` (m,) into ``out`` (m, >= width)."""
        for hole in self.holes:
            numbers = streams if hole.divisor == 1 else streams // hole.divisor
            store_digits(out[..., hole.offset : hole.offset + hole.width], numbers)

    def render(self, streams: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the texts of ``streams`` (m,) as uint8 (m, width)."""
        out = np.empty((len(streams), self.width), np.uint8)
        self.store(out, streams)
        return out
