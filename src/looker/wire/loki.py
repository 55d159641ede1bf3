"""Loki's push request as columns.

Field numbers are those of Loki's ``logproto``: ``PushRequest.streams = 1``, ``Stream.labels = 1``,
``Stream.entries = 2``, ``Entry.timestamp = 1``, ``Entry.line = 2``, ``Timestamp.seconds = 1``,
``Timestamp.nanos = 2``. The bytes are those that the official protobuf library makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.wire.columns import (
    NumberedText,
    store_words,
    varint,
    varint_lengths,
    varint_words,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.model.labels import LabelScheme

NS_PER_S: Final = 1_000_000_000
_SECONDS_BYTES: Final = 5
_CONTINUED: Final = 0x8080_8080
MAX_NANOS_BYTES: Final = 5
_NANOS_LIMITS: Final = (1 << 7, 1 << 14, 1 << 21, 1 << 28)
MIN_SECONDS: Final = 1 << 28
MAX_SECONDS: Final = 1 << 35
"""Seconds whose varint has five bytes: from July 1978 to the year 3058."""


@dataclass(frozen=True, slots=True)
class EntryLayout:
    """One entry of a push request: where its parts are, for a length of the nanoseconds' varint.

    ``nanos_bytes`` 0 is a whole second: protobuf leaves a zero out.
    """

    nanos_bytes: int
    n_chars: int
    head: NDArray[np.uint8]
    seconds_at: int
    nanos_at: int

    @property
    def width(self) -> int:
        """Bytes of an entry on the wire."""
        return len(self.head) + self.n_chars

    def heads(self, seconds: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return all but the line, with room for the nanoseconds: (..., the head's width)."""
        heads = np.empty((*seconds.shape, len(self.head)), np.uint8)
        heads[...] = self.head
        at = self.seconds_at
        store_words(heads[..., at : at + _SECONDS_BYTES], varint_words(seconds, _SECONDS_BYTES))
        return heads

    def store_nanos(self, out: NDArray[np.uint8], nanos: NDArray[np.int64]) -> None:
        """Store nanoseconds into entries ``out`` (..., at least the head's width)."""
        if not self.nanos_bytes:
            return
        at, end = self.nanos_at, self.nanos_at + self.nanos_bytes
        words = nanos.astype(np.uint32)
        if self.nanos_bytes == MAX_NANOS_BYTES:
            # 32 bits are enough for all but the last byte, and twice as fast as 64
            out[..., end - 1] = words >> np.uint32(28)
            end -= 1
            words &= np.uint32(0x0FFF_FFFF)
        # bits 14 to 27 move up by two, then each upper seven of fourteen by one
        upper = words & np.uint32(0x0FFF_C000)
        upper *= np.uint32(3)
        words += upper
        np.bitwise_and(words, np.uint32(0x3F80_3F80), out=upper)
        words += upper
        words |= np.uint32(_CONTINUED >> 8 * (MAX_NANOS_BYTES - self.nanos_bytes))
        store_words(out[..., at:end], words)


@cache
def entry_layout(nanos_bytes: int, n_chars: int) -> EntryLayout:
    """Return the layout of entries with lines of ``n_chars`` bytes (at least 1)."""
    timestamp = b"\x08" + bytes(_SECONDS_BYTES)
    if nanos_bytes:
        timestamp += b"\x10" + bytes(nanos_bytes)
    body_head = b"\x0a" + varint(len(timestamp)) + timestamp + b"\x12" + varint(n_chars)
    size = varint(len(body_head) + n_chars)
    head = np.frombuffer(b"\x12" + size + body_head, np.uint8)
    seconds_at = 1 + len(size) + 3
    return EntryLayout(nanos_bytes, n_chars, head, seconds_at, seconds_at + _SECONDS_BYTES + 1)


def split_seconds(timestamps_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return whole seconds and the nanoseconds that remain."""
    seconds = timestamps_ns // NS_PER_S
    return seconds, timestamps_ns - seconds * NS_PER_S


def nanos_lengths(nanos: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the bytes of each varint of nanoseconds: 0 for zero, which is left out."""
    lengths = (nanos > 0).view(np.uint8)
    for limit in _NANOS_LIMITS:
        lengths += nanos >= limit
    return lengths


def stream_labels(scheme: LabelScheme) -> NumberedText:
    """Return the label strings of a generation: ``{name="value", name="value"}``."""
    parts: list[bytes | tuple[int, int]] = []
    for name, value in scheme.templates():
        parts += [b"{" if not parts else b", ", name.encode(), b'="']
        parts += [
            part.replace(b"\\", b"\\\\").replace(b'"', b'\\"') if isinstance(part, bytes) else part
            for part in value
        ]
        parts.append(b'"')
    return NumberedText([*parts, b"}"])


def stream_head_widths(labels_width: int, entries_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes before the entries (...) of streams in a push request."""
    labels_field = 1 + len(varint(labels_width)) + labels_width
    return varint_lengths(entries_bytes + labels_field) + np.int64(1 + labels_field)


def stream_heads(labels: NumberedText, entries_bytes: int) -> NumberedText:
    """Return what comes before the ``entries_bytes`` of entries of each stream."""
    labels_field = b"\x0a" + varint(labels.width)
    size = varint(len(labels_field) + labels.width + entries_bytes)
    return labels.behind(b"\x0a" + size + labels_field)
