"""Prometheus' XOR chunks and the frames that remote read streams them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.wire.columns import varint

if TYPE_CHECKING:
    from looker.target.series_store import Samples

_SAMPLES_PER_CHUNK: Final = 120
_XOR: Final = b"\x18\x01"  # type=3 of a chunk
_CASTAGNOLI: Final = 0x82F63B78
_WORD: Final = (1 << 64) - 1


class _Bits:
    """A growing run of bits, the highest of each byte first."""

    def __init__(self) -> None:
        self._value, self._n = 0, 0

    def add(self, value: int, n: int) -> None:
        self._value = (self._value << n) | (value & ((1 << n) - 1))
        self._n += n

    def add_bytes(self, content: bytes) -> None:
        for byte in content:
            self.add(byte, 8)

    def content(self) -> bytes:
        padding = -self._n % 8
        return (self._value << padding).to_bytes((self._n + padding) // 8, "big")


def _zigzag(value: int) -> bytes:
    return varint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)


def _add_change(bits: _Bits, change: int) -> None:
    """Write how much the step between times has changed."""
    if change == 0:
        bits.add(0, 1)
        return
    for prefix, prefix_bits, size in ((0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20)):
        if -((1 << (size - 1)) - 1) <= change <= 1 << (size - 1):
            bits.add(prefix, prefix_bits)
            bits.add(change, size)
            return
    bits.add(0b1111, 4)
    bits.add(change, 64)


def encode(times_ms: list[int], value_bits: list[int]) -> bytes:
    """Encode samples, at least one, as one chunk."""
    bits = _Bits()
    bits.add(len(times_ms), 16)
    leading, trailing = 0xFF, 0
    before, step = 0, 0
    time = 0
    for i, (at, value) in enumerate(zip(times_ms, value_bits, strict=True)):
        if i == 0:
            bits.add_bytes(_zigzag(at))
            bits.add(value, 64)
            time, before = at, value
            continue
        delta = at - time
        if i == 1:
            bits.add_bytes(varint(delta))
        else:
            _add_change(bits, delta - step)
        time, step = at, delta
        difference = (value ^ before) & _WORD
        before = value
        if difference == 0:
            bits.add(0, 1)
            continue
        bits.add(1, 1)
        new_leading = min(64 - difference.bit_length(), 31)
        new_trailing = (difference & -difference).bit_length() - 1
        if leading != 0xFF and new_leading >= leading and new_trailing >= trailing:
            bits.add(0, 1)
            bits.add(difference >> trailing, 64 - leading - trailing)
            continue
        leading, trailing = new_leading, new_trailing
        significant = 64 - leading - trailing
        bits.add(1, 1)
        bits.add(leading, 5)
        bits.add(significant, 6)  # 64 is written as 0
        bits.add(difference >> trailing, significant)
    return bits.content()


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varint(len(content)) + content


def crc32c(content: bytes) -> int:
    """Return the Castagnoli checksum."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (_CASTAGNOLI if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def frames(samples: Samples, query_index: int) -> bytes:
    """Write one frame for each series: its length, checksum and ChunkedReadResponse."""
    times, values = samples.times_ms.tolist(), samples.value_bits.tolist()
    parts, at = [], 0
    for blob, n in zip(samples.blobs, samples.counts.tolist(), strict=True):
        chunks = []
        for first in range(at, at + n, _SAMPLES_PER_CHUNK):
            stop = min(first + _SAMPLES_PER_CHUNK, at + n)
            own = times[first:stop]
            chunks.append(
                b"\x08" + varint(own[0]) + b"\x10" + varint(own[-1]) + _XOR
                + _field(0x22, encode(own, values[first:stop]))
            )  # fmt: skip
        at += n
        series = blob + b"".join(_field(0x12, chunk) for chunk in chunks)
        message = _field(0x0A, series)
        if query_index:
            message += b"\x10" + varint(query_index)
        parts.append(varint(len(message)) + crc32c(message).to_bytes(4, "big") + message)
    return b"".join(parts)
