"""Latency histogram: HdrHistogram's layout, percentiles and serialized form, for 1 µs to 1 h.

Layout, percentiles and the V2 compressed encoding follow HdrHistogram
(https://github.com/HdrHistogram/HdrHistogram), so any HdrHistogram tool reads what is written here.
Everything is derived from the counts alone, hence merging and serializing lose nothing.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

LOWEST_US = 1
HIGHEST_US = 3_600_000_000
SIGNIFICANT_DIGITS = 3

# 2048 is the smallest power of two that tells 2 * 10**3 values apart. Values below it have a slot
# each; every doubling above has 1024 slots, each twice as wide as in the doubling before.
_SUB_BUCKETS = 2048
_HALF_BITS = 10
_FULL_BITS = 11
_N_SLOTS = 23 << _HALF_BITS  # 2048 << 21 is the first doubling that exceeds HIGHEST_US

# The second lowest nibble of a cookie tells the word size; in V2 it is always 1.
_COMPRESSED_COOKIE = 0x1C849314
_COUNTS_COOKIE = 0x1C849313
_COOKIE_MASK = 0xFFFFFF0F
_OUTER = struct.Struct(">II")  # cookie, length of the zlib stream
# cookie, length of the counts, normalizing index offset, digits, lowest, highest, int-to-double
_INNER = struct.Struct(">IIIIQQd")
_MAX_VARINT_BYTES = 9
_MAX_INNER_BYTES = _INNER.size + _MAX_VARINT_BYTES * _N_SLOTS


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """The figures of one histogram, in milliseconds; all None where nothing was recorded.

    ``histogram`` is HdrHistogram's base64 form, in microseconds: figures of several summaries are
    got by merging their histograms, never from the figures themselves.
    """

    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    p99_9: float | None
    max: float | None
    histogram: str


class Histogram:
    """Counts of durations in microseconds, exact below 2048 µs and to 0.1 % above.

    A value beyond one hour counts as one hour, a negative one as 0.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        # Slot number to count, without zeros: merging and reading then cost only the slots in use,
        # which outweighs the 25 ns that incrementing a list of all slots would save.
        self._counts: dict[int, int] = {}

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same counts."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the number of values and their range in microseconds."""
        return f"<Histogram n={self.n} min_us={self.min_us} max_us={self.max_us}>"

    def record_us(self, value: int) -> None:
        """Count one duration, in microseconds (a Python int, not a numpy scalar)."""
        if value >= _SUB_BUCKETS:
            value = min(value, HIGHEST_US)
            doubling = value.bit_length() - _FULL_BITS
            slot = (doubling << _HALF_BITS) + (value >> doubling)
        else:
            slot = max(value, 0)
        counts = self._counts
        counts[slot] = counts.get(slot, 0) + 1

    def record_many_us(self, values: NDArray[np.int64]) -> None:
        """Count durations, in microseconds."""
        clamped = np.clip(values, 0, HIGHEST_US)
        # frexp's exponent is the bit length; exact, as the values fit a double's 53 bits.
        bit_length = np.frexp(clamped.astype(np.float64))[1].astype(np.int64)
        doubling = np.maximum(bit_length - _FULL_BITS, 0)
        all_slots = (doubling << _HALF_BITS) + (clamped >> doubling)
        slots, counts = np.unique(all_slots, return_counts=True)
        self._add_counts(zip(slots.tolist(), counts.tolist(), strict=True))

    def add(self, other: Histogram) -> None:
        """Count everything that ``other`` counted, too."""
        self._add_counts(other._counts.items())

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was counted after ``earlier``, an earlier state of this histogram."""
        before, later = earlier._counts, Histogram()
        new = ((slot, count - before.get(slot, 0)) for slot, count in self._counts.items())
        later._counts = {slot: count for slot, count in new if count}
        return later

    def divided(self, share: int, whole: int) -> tuple[Histogram, Histogram]:
        """Return ``share`` of ``whole`` parts of the values, rounded down, and the rest.

        Both have values of all sizes in this proportion, as far as whole counts allow.
        """
        part, rest, total = Histogram(), Histogram(), 0
        for slot, count in sorted(self._counts.items()):
            before, total = total, total + count
            n = total * share // whole - before * share // whole
            if n:
                part._counts[slot] = n
            if count - n:
                rest._counts[slot] = count - n
        return part, rest

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Self:
        """Return a new histogram of all values; order and grouping make no difference."""
        total = cls()
        for histogram in histograms:
            total.add(histogram)
        return total

    @property
    def n(self) -> int:
        """How many values were recorded."""
        return sum(self._counts.values())

    @property
    def min_us(self) -> int:
        """Lowest value of the lowest slot in use, as HdrHistogram has it; 0 when empty."""
        return _lowest_us(min(self._counts)) if self._counts else 0

    @property
    def max_us(self) -> int:
        """Highest value of the highest slot in use, as HdrHistogram has it; 0 when empty."""
        return _highest_us(max(self._counts)) if self._counts else 0

    @property
    def mean_us(self) -> float:
        """Mean of the slots' middles, as HdrHistogram has it; 0.0 when empty."""
        if not self._counts:
            return 0.0
        return self.sum_us / self.n

    @property
    def sum_us(self) -> int:
        """Sum of all values, each counted as the middle of its slot; 0 when empty."""
        slots, counts = self._columns()
        doublings = np.maximum((slots >> _HALF_BITS) - 1, 0)
        offsets = slots - (doublings << _HALF_BITS)
        # Doubles are exact up to 2**53. What is shifted is a Python integer, as an int64 would
        # overflow after some 10**9 long durations.
        per_doubling = zip(
            np.bincount(doublings, offsets * counts).tolist(),
            np.bincount(doublings, counts).tolist(),
            strict=True,
        )
        return sum(
            (int(offset) << doubling) + int(n) * ((1 << doubling) >> 1)
            for doubling, (offset, n) in enumerate(per_doubling)
        )

    def counts_up_to(self, bounds_us: Sequence[int]) -> list[int]:
        """Return, for each of the ascending bounds, how many values do not exceed it.

        As HdrHistogram has it, all values of a bound's slot count as equal to it. So the counts are
        exact where the bound is the last value of its slot: always below 2048, and above wherever
        ``bound + 1`` is a slot's first value, as are 1250, 1875 (and all others that are below
        2048) times any power of two.
        """
        slots, counts = self._columns()
        firsts = np.searchsorted([_slot_of(bound) for bound in bounds_us], slots)
        # one more than the bounds: what exceeds them all
        per_bound = np.bincount(firsts, counts, len(bounds_us) + 1).astype(np.int64)
        cumulated: list[int] = np.cumsum(per_bound[:-1]).tolist()
        return cumulated

    def percentile_us(self, p: float) -> int:
        """Value that ``p`` percent (0 to 100) of the values do not exceed; 0 when empty.

        HdrHistogram's definition: with k = max(1, ⌊p·n/100 + ½⌋), the highest value of the slot
        that holds the k-th smallest value, or the lowest one of it for p = 0.
        """
        return self._percentiles_us((p,))[0]

    def summary_ms(self) -> LatencySummary:
        """Return the report's figures, in milliseconds."""
        encoded = self.to_base64()
        if not self._counts:
            return LatencySummary(None, None, None, None, None, None, encoded)
        p50, p90, p99, p99_9 = self._percentiles_us((50.0, 90.0, 99.0, 99.9))
        return LatencySummary(
            mean=self.mean_us / 1000,
            p50=p50 / 1000,
            p90=p90 / 1000,
            p99=p99 / 1000,
            p99_9=p99_9 / 1000,
            max=self.max_us / 1000,
            histogram=encoded,
        )

    def to_base64(self) -> str:
        """Return HdrHistogram's V2 compressed encoding, in base64."""
        varints = bytearray()
        next_slot = 0
        for slot, count in sorted(self._counts.items()):
            if slot > next_slot:
                _append_varint(varints, next_slot - slot)
            _append_varint(varints, count)
            next_slot = slot + 1
        header = _INNER.pack(
            _COUNTS_COOKIE, len(varints), 0, SIGNIFICANT_DIGITS, LOWEST_US, HIGHEST_US, 1.0
        )
        compressed = zlib.compress(header + varints)
        outer = _OUTER.pack(_COMPRESSED_COOKIE, len(compressed))
        return base64.b64encode(outer + compressed).decode("ascii")

    @classmethod
    def from_base64(cls, encoded: str) -> Self:
        """Return the histogram that ``to_base64``, or another HdrHistogram encoder, encoded.

        Raises ValueError where the text is malformed or of another range or precision than ours.
        """
        counts: dict[int, int] = {}
        slot = 0
        for number in _read_varints(_decoded_counts(encoded)):
            if number < 0:
                slot -= number
            else:
                if number:
                    counts[slot] = number
                slot += 1
            if slot > _N_SLOTS:
                raise ValueError(f"histogram: more than {_N_SLOTS} slots")
        histogram = cls()
        histogram._counts = counts
        return histogram

    def packed(self) -> tuple[NDArray[np.uint16], NDArray[Any]]:
        """Return slots and counts in a fraction of the memory, for :meth:`unpacked`."""
        slots, counts = self._columns()
        return slots.astype(np.uint16), counts.astype(np.min_scalar_type(counts.max(initial=0)))

    @classmethod
    def unpacked(cls, slots: NDArray[np.uint16], counts: NDArray[Any]) -> Self:
        """Return the histogram of which these are the slots and counts."""
        histogram = cls()
        histogram._counts = dict(zip(slots.tolist(), counts.tolist(), strict=True))
        return histogram

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the slots in use and their counts."""
        n = len(self._counts)
        return (
            np.fromiter(self._counts.keys(), np.int64, n),
            np.fromiter(self._counts.values(), np.int64, n),
        )

    def _add_counts(self, items: Iterable[tuple[int, int]]) -> None:
        counts = self._counts
        for slot, count in items:
            counts[slot] = counts.get(slot, 0) + count

    def _percentiles_us(self, ascending: Iterable[float]) -> list[int]:
        """Return the values at percentiles that must be given in ascending order."""
        slots = sorted(self._counts)
        if not slots:
            return [0 for _ in ascending]
        n = self.n
        values: list[int] = []
        position = 0
        cumulated = self._counts[slots[0]]
        for p in ascending:
            target = max(1, int(min(p, 100.0) * n / 100 + 0.5))
            # The second condition matters only where p·n/100 is rounded up beyond n.
            while cumulated < target and position + 1 < len(slots):
                position += 1
                cumulated += self._counts[slots[position]]
            slot = slots[position]
            values.append(_highest_us(slot) if p else _lowest_us(slot))
        return values


def _slot_of(value: int) -> int:
    """Return the slot of a value in microseconds; ``record_us`` has this in line, for speed."""
    value = min(max(value, 0), HIGHEST_US)
    doubling = max(value.bit_length() - _FULL_BITS, 0)
    return (doubling << _HALF_BITS) + (value >> doubling)


def _doubling(slot: int) -> int:
    """Return how often the slot's width of 1 µs was doubled."""
    return max((slot >> _HALF_BITS) - 1, 0)


def _lowest_us(slot: int) -> int:
    doubling = _doubling(slot)
    return (slot - (doubling << _HALF_BITS)) << doubling


def _highest_us(slot: int) -> int:
    return _lowest_us(slot) + (1 << _doubling(slot)) - 1


def _append_varint(out: bytearray, number: int) -> None:
    """Append a signed number as ZigZag LEB128-64b9B: the ninth byte carries eight bits."""
    zigzag = number << 1 if number >= 0 else (-number << 1) - 1
    for _ in range(_MAX_VARINT_BYTES - 1):
        if zigzag < 0x80:
            break
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)


def _read_varints(encoded: bytes) -> Iterator[int]:
    """Yield the signed numbers of a ZigZag LEB128-64b9B sequence."""
    zigzag = 0
    shift = 0
    for byte in encoded:
        if shift == 7 * (_MAX_VARINT_BYTES - 1):
            zigzag |= byte << shift
        elif byte & 0x80:
            zigzag |= (byte & 0x7F) << shift
            shift += 7
            continue
        else:
            zigzag |= byte << shift
        yield (zigzag >> 1) ^ -(zigzag & 1)
        zigzag = 0
        shift = 0
    if shift:
        raise ValueError("histogram: the counts end within a number")


def _decoded_counts(encoded: str) -> bytes:
    """Return the encoded counts, after checking everything around them."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise ValueError(f"histogram: not base64: {error}") from error
    if len(raw) < _OUTER.size:
        raise ValueError(f"histogram: {len(raw)} bytes are too short for a header")
    cookie, n_compressed = _OUTER.unpack_from(raw)
    if (cookie ^ _COMPRESSED_COOKIE) & _COOKIE_MASK:
        raise ValueError(f"histogram: cookie {cookie:#x} is not HdrHistogram V2 compressed")
    if n_compressed != len(raw) - _OUTER.size:
        raise ValueError(
            f"histogram: {len(raw) - _OUTER.size} compressed bytes, header says {n_compressed}"
        )
    inner = _decompressed(raw[_OUTER.size :])
    if len(inner) < _INNER.size:
        raise ValueError(f"histogram: {len(inner)} bytes are too short for an inner header")
    cookie, n_counts, offset, *scale = _INNER.unpack_from(inner)
    if (cookie ^ _COUNTS_COOKIE) & _COOKIE_MASK:
        raise ValueError(f"histogram: inner cookie {cookie:#x} is not HdrHistogram V2")
    if offset or scale != [SIGNIFICANT_DIGITS, LOWEST_US, HIGHEST_US, 1.0]:
        raise ValueError(
            f"histogram: digits, lowest, highest, ratio {scale} and offset {offset} "
            f"instead of {[SIGNIFICANT_DIGITS, LOWEST_US, HIGHEST_US, 1.0]} and 0"
        )
    if n_counts != len(inner) - _INNER.size:
        raise ValueError(
            f"histogram: {len(inner) - _INNER.size} bytes of counts, header says {n_counts}"
        )
    return inner[_INNER.size :]


def _decompressed(compressed: bytes) -> bytes:
    """Inflate, but never to more than a full histogram takes."""
    inflater = zlib.decompressobj()
    try:
        inner = inflater.decompress(compressed, _MAX_INNER_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"histogram: not a zlib stream: {error}") from error
    if len(inner) > _MAX_INNER_BYTES:
        raise ValueError(f"histogram: more than {_MAX_INNER_BYTES} bytes of counts")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("histogram: the zlib stream is cut short or followed by other bytes")
    return inner
