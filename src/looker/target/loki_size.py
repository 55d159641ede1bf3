"""How large a push is as the message from Loki's distributor to its ingester."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from looker.wire.columns import varint_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]

_NANOS = 1_000_000_000
_LEVEL_BYTES = 27  # detected_level="unknown" as a field of its entry
_HASH_BYTES = 11  # field 3 of a stream: a tag and, nearly always, ten bytes


def _field(sizes: Offsets) -> Offsets:
    """Return the size of length-delimited fields with these contents."""
    return sizes + 1 + varint_lengths(sizes).astype(np.int64)


def entry_sizes(times_ns: Offsets, line_lengths: Offsets, *, levels: bool) -> Offsets:
    """Return the bytes of each entry as a field of its stream; int64 (n,)."""
    seconds, nanos = np.divmod(times_ns, _NANOS)
    stamp = np.zeros(len(times_ns), np.int64)
    for part in (seconds, nanos):
        stamp += np.where(part != 0, 1 + varint_lengths(np.abs(part)).astype(np.int64), 0)
    line = np.where(line_lengths > 0, _field(line_lengths), 0)
    return _field(2 + stamp + line + (_LEVEL_BYTES if levels else 0))


def stream_size(label_text: str, entries_bytes: int) -> int:
    """Return the bytes of a stream as a field of the push."""
    labels = int(_field(np.array([len(label_text.encode())]))[0])
    return int(_field(np.array([labels + entries_bytes + _HASH_BYTES]))[0])
