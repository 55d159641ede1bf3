"""Where the fields of a protobuf body lie, found for all of them at once.

A field's start depends on the length of the one before it, which looks like a loop. Instead
every byte that can be a tag is a candidate, each candidate's length says where the next one
must be, and following those links by doubling reaches all true fields in log2(n) steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from looker.wire import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Offsets = NDArray[np.int64]

_FIELD_1 = 0x0A
_FIELD_2 = 0x12
_DOUBLE_1 = 0x09
_VARINT_2 = 0x10
_FEW = 1 << 16
_BLOCK_BYTES = 1 << 17  # stays within a core's L2 cache


@dataclass(frozen=True, eq=False)
class Fields:
    """Length-delimited fields in their order: where their content starts and stops, and whose.

    ``starts``, ``stops`` and ``regions`` (index of the region that a field lies in) are int64
    (n,); ``tags`` is uint8 (n,).
    """

    starts: Offsets
    stops: Offsets
    regions: Offsets
    tags: Bytes


def chain(
    buffer: Bytes, starts: Offsets, stops: Offsets, tags: Mapping[int, tuple[int, ...]]
) -> Fields | None:
    """Find the fields that tile every region [start, stop); None if other fields do, or none.

    ``tags`` maps each allowed tag byte to the bytes with which a field's content may begin (an
    empty field may always be). Regions are in ascending order and do not overlap.
    """
    regions = np.flatnonzero(starts < stops)
    if len(regions) == 0:
        nothing = np.zeros(0, np.int64)
        return Fields(nothing, nothing, nothing, np.zeros(0, np.uint8))
    starts, stops = starts[regions], stops[regions]
    found = _candidates(buffer, starts, stops, tags)
    if found is None:
        return None
    tag_at, begins, ends, region = found
    # A field that ends its region is followed by the first field of the next region.
    follow = np.append(starts[1:], np.int64(-1))
    following = np.where(ends == stops[region], follow[region], ends)
    if tag_at[0] != starts[0]:
        return None
    if not (np.array_equal(following[:-1], tag_at[1:]) and following[-1] == -1):
        kept = _reachable(tag_at, following)
        if kept is None:
            return None
        tag_at, begins, ends, region = tag_at[kept], begins[kept], ends[kept], region[kept]
    return Fields(begins, ends, regions[region], buffer[tag_at])


def _candidates(
    buffer: Bytes, starts: Offsets, stops: Offsets, tags: Mapping[int, tuple[int, ...]]
) -> tuple[Offsets, Offsets, Offsets, Offsets] | None:
    """List what may be a field: (offsets of tags, content starts, content stops, regions)."""
    hits: NDArray[np.bool_] | None = None
    for tag in tags:
        match = buffer == tag
        hits = match if hits is None else hits | match
    assert hits is not None  # noqa: S101 - callers name their tags
    if np.count_nonzero(hits) > len(buffer) // 2 + _FEW:
        # even empty fields have a length each: these cannot all be tags
        return None
    tag_at = np.flatnonzero(hits)
    region = np.searchsorted(starts, tag_at, "right") - 1
    tag_at, region = _keep((region >= 0) & (tag_at < stops[region]), tag_at, region)
    lengths, width = records.varints(buffer, tag_at + 1)
    begins = tag_at + 1 + width
    ends = begins + lengths
    first = buffer.take(begins, mode="clip")
    tag_of = buffer[tag_at]
    fits = (width > 0) & (ends <= stops[region]) & (ends >= begins)
    likely = lengths == 0
    for tag, openings in tags.items():
        opens = first == openings[0]
        for opening in openings[1:]:
            opens |= first == opening
        likely |= opens if len(tags) == 1 else opens & (tag_of == tag)
    tag_at, begins, ends, region = _keep(fits & likely, tag_at, begins, ends, region)
    return (tag_at, begins, ends, region) if len(tag_at) else None


def _keep(mask: NDArray[np.bool_], *columns: Offsets) -> tuple[Offsets, ...]:
    """Filter several columns by one mask."""
    return columns if bool(mask.all()) else tuple(column[mask] for column in columns)


def _reachable(tag_at: Offsets, following: Offsets) -> Offsets | None:
    """Index the candidates on the chain that begins at the first; None if it breaks off."""
    n = len(tag_at)
    end, broken = n, n + 1
    jump = np.searchsorted(tag_at, following)
    lost = tag_at.take(jump, mode="clip") != following
    jump[lost] = broken
    jump[following == -1] = end
    jump = np.append(jump, (end, broken))
    reached = np.zeros(1, np.int64)
    while True:
        ahead = jump[reached]
        reached = np.concatenate((reached, ahead[ahead < n]))
        if ahead[-1] >= n:
            break
        jump = jump[jump]
    reached.sort()
    last = reached[-1]
    return reached if following[last] == -1 else None


@dataclass(frozen=True, eq=False)
class UniformSeries:
    """Time series that all have the first one's layout, ``stride`` bytes each.

    ``timestamps_ms`` int64 and ``value_bits`` uint64, both (n series, k samples).
    """

    stride: int
    label_offset: int
    label_length: int
    timestamps_ms: NDArray[np.int64]
    value_bits: NDArray[np.uint64]


def uniform_series(buffer: Bytes) -> UniformSeries | None:
    """Decode TimeSeries of equal label widths and equal numbers of samples; None otherwise."""
    outline = _outline(bytes(buffer[:65536]))
    if outline is None:
        return None
    mask, label_offset, label_length, first_sample, k, varint = outline
    stride = len(mask)
    n, rest = divmod(len(buffer), stride)
    if rest:
        return None
    rows = buffer.reshape(n, stride)
    first = rows[0]
    step = max(1, _BLOCK_BYTES // stride)
    for at in range(0, n, step):
        if bool(((rows[at : at + step] ^ first) & mask).any()):
            return None
    spacing = 12 + varint
    shape, strides = (n, k), (stride, spacing)
    bits = np.ndarray(shape, "<u8", buffer, first_sample + 3, strides).astype(np.uint64)
    # The eight bytes that end with the varint: they always lie within the buffer.
    raw = np.ndarray(shape, "<u8", buffer, first_sample + 4 + varint, strides)
    stamps = records.squeeze(raw >> np.uint64(8 * (8 - varint))).view(np.int64)
    return UniformSeries(stride, label_offset, label_length, stamps, bits)


def mask_labels(blob: bytes, at: int = 0, *, names: bool = False) -> tuple[bytearray, int] | None:
    """Mark in labels fields from ``at`` on what must not vary: (mask of what was read, end).

    The mask has 0xFF for tags and lengths (and label names, if asked for) and 0 for the rest.
    It reads labels of (name, value), both present and shorter than 128 bytes; it ends at the
    first other field. None where a label has another layout.
    """
    mask = bytearray()
    size = len(blob)
    while at + 2 <= size and blob[at] == _FIELD_1:
        stop = at + 2 + blob[at + 1]
        if blob[at + 1] > 127 or stop > size or stop < at + 6 or blob[at + 2] != _FIELD_1:
            return None
        name = blob[at + 3]
        value_at = at + 4 + name
        if name > 127 or value_at + 2 > stop or blob[value_at] != _FIELD_2:
            return None
        value = blob[value_at + 1]
        if value > 127 or value_at + 2 + value != stop:
            return None
        name_mask = b"\xff" if names else b"\x00"
        mask += b"\xff\xff\xff\xff" + name_mask * name + b"\xff\xff" + bytes(value)
        at = stop
    return mask, at


def _outline(head: bytes) -> tuple[Bytes, int, int, int, int, int] | None:  # noqa: PLR0911
    """Read the first series: (mask, label offset and length, first sample, k, varint length).

    The mask (stride,) has 0xFF where every series must be equal to the first, 0x80 where its
    varint must continue or end alike.
    """
    if len(head) < 2 or head[0] != _FIELD_1:
        return None
    length, at, shift = 0, 1, 0
    while at < min(len(head), 6):
        length |= (head[at] & 0x7F) << shift
        shift += 7
        at += 1
        if head[at - 1] < 0x80:
            break
    stop = at + length
    label_offset = at
    labels = mask_labels(head[:stop], at)
    if stop > len(head) or labels is None:
        return None
    label_mask, at = labels
    first_sample = at
    varint = 0
    while at + 12 < stop and head[at + 12 + varint] >= 0x80:
        varint += 1
        if at + 12 + varint >= stop:
            return None
    varint += 1
    k, rest = divmod(stop - first_sample, 12 + varint)
    if rest or k == 0 or varint > records.VARINT_WORD:
        return None
    sample = bytes((_FIELD_2, 10 + varint, _DOUBLE_1)), head[at + 11]
    if sample[1] != _VARINT_2 or any(
        head[p : p + 3] != sample[0] or head[p + 11] != _VARINT_2
        for p in range(first_sample, stop, 12 + varint)
    ):
        return None
    ends = bytes([0x80] * varint)
    if any(
        bytes(byte & 0x80 for byte in head[p + 12 : p + 12 + varint]) != ends[:-1] + b"\0"
        for p in range(first_sample, stop, 12 + varint)
    ):
        return None
    sample_mask = b"\xff\xff\xff" + bytes(8) + b"\xff" + ends
    mask = b"\xff" * label_offset + bytes(label_mask) + sample_mask * k
    return (
        np.frombuffer(mask, np.uint8),
        label_offset,
        first_sample - label_offset,
        first_sample,
        (k),
        varint,
    )
