"""The target's memory: what is held is counted, and never more than was allowed.

A megabyte is 10**6 bytes here. Counted are the columns and bytes of all entries and samples and
an estimate for each stream's or series' Python objects; not the passing needs of one request.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEGABYTE = 1_000_000
PUSH_BYTES = 600  # the Python objects that keep one push's columns
_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0)  # where the system knows it


class MemoryLimitError(Exception):
    """A push would exceed the limit; nothing of it was stored."""


class Budget:
    """Bytes held by all stores of one target, against one limit for good."""

    def __init__(self, limit_mb: int) -> None:
        self.limit_mb = limit_mb
        self.held_bytes = 0

    @property
    def limit_bytes(self) -> int:
        """The limit in bytes."""
        return self.limit_mb * MEGABYTE

    def take(self, n_bytes: int) -> None:
        """Count ``n_bytes`` as held; MemoryLimitError (and nothing counted) if it is too much."""
        if self.held_bytes + n_bytes > self.limit_bytes:
            raise MemoryLimitError(
                f"looker target: memory limit of {self.limit_mb} MB reached, "
                "nothing of this request was stored"
            )
        self.held_bytes += n_bytes


class Arena:
    """One growing run of bytes, so that every byte stored has one offset for good.

    Its whole address range is reserved at once; the system backs it with memory only as it is
    written to.
    """

    def __init__(self, limit_bytes: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        self._bytes = np.frombuffer(mmap.mmap(-1, limit_bytes, flags=flags), np.uint8)
        self._used = 0

    def append(self, part: NDArray[np.uint8]) -> int:
        """Copy ``part`` behind the others; returns its offset. Its budget was taken before."""
        offset = self._used
        self._bytes[offset : offset + len(part)] = part
        self._used += len(part)
        return offset

    @property
    def used(self) -> NDArray[np.uint8]:
        """All bytes so far, without a copy; uint8 (n,)."""
        return self._bytes[: self._used]
