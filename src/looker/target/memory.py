"""The target's memory: what is held or needed for a while is counted, and never more than allowed.

A megabyte is 10**6 bytes here. *Held* are the columns and bytes of all entries and samples and
an estimate for each stream's or series' Python objects. *Lent* is what requests need for a while:
what was received of them, what that becomes when it is decoded, and what their answers take. Both
together stay below the limit, but for LEAST_LENT_BYTES, so that a full target still answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEGABYTE = 1_000_000
LEAST_LENT_BYTES = 128 * MEGABYTE
PUSH_BYTES = 600  # the Python objects that keep one push's columns
_MUCH_BYTES = 32 * MEGABYTE
_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0)  # where the system knows it


class MemoryLimitError(Exception):
    """A push would exceed the limit; nothing of it was stored."""


class LoanError(Exception):
    """A request needs more memory for a while than is free.

    ``ever`` tells that it would be too much even if nothing else was under way.
    """

    def __init__(self, n_bytes: int, lendable_bytes: int, limit_mb: int) -> None:
        super().__init__(
            f"looker target: this request takes {n_bytes:,} bytes of memory or more, which are not"
            f" free (--max-memory-mb {limit_mb})"
        )
        self.n_bytes = n_bytes
        self.lendable_bytes = lendable_bytes
        self.ever = n_bytes > lendable_bytes


class Budget:
    """Bytes held for good by all stores of one target, and lent to requests, against one limit."""

    def __init__(self, limit_mb: int) -> None:
        self.limit_mb = limit_mb
        self.limit_bytes = limit_mb * MEGABYTE
        self.held_bytes = 0
        self.lent_bytes = 0
        self._most_lent_bytes = 0
        self._lock = threading.Lock()

    @property
    def free_bytes(self) -> int:
        """How much can be lent now."""
        left_bytes = self.limit_bytes - self.held_bytes
        return max(left_bytes, LEAST_LENT_BYTES) - self.lent_bytes

    def take(self, n_bytes: int) -> None:
        """Count ``n_bytes`` as held; MemoryLimitError (and nothing counted) if it is too much."""
        if self.held_bytes + n_bytes > self.limit_bytes:
            raise MemoryLimitError(
                f"looker target: memory limit of {self.limit_mb} MB reached, "
                "nothing of this request was stored"
            )
        self.held_bytes += n_bytes

    def lend(self, n_bytes: int) -> None:
        """Count ``n_bytes`` as lent; LoanError (and nothing counted) if it is too much."""
        with self._lock:
            if n_bytes > self.free_bytes:
                raise LoanError(n_bytes, self.free_bytes + self.lent_bytes, self.limit_mb)
            self.lent_bytes += n_bytes
            self._most_lent_bytes = max(self._most_lent_bytes, self.lent_bytes)

    def return_freed_memory(self) -> None:
        """Let the C library return what was freed to the system, if much was lent since."""
        if self._most_lent_bytes - self.lent_bytes > _MUCH_BYTES:
            self._most_lent_bytes = self.lent_bytes
            # other C libraries have no such function, nor the habit of keeping what was freed
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)

    def give_back(self, n_bytes: int) -> None:
        """Count bytes as no longer lent; fewer than none are lent whatever there is."""
        with self._lock:
            self.lent_bytes -= n_bytes

    def loan(self, n_bytes: int = 0) -> Loan:
        """Lend bytes, and more if need be, for as long as a block takes; LoanError."""
        if n_bytes:
            self.lend(n_bytes)
        return Loan(self, n_bytes)


class Loan:
    """What one request has been lent; a context manager, which gives it back."""

    __slots__ = ("budget", "n_bytes")

    def __init__(self, budget: Budget, n_bytes: int) -> None:
        self.budget = budget
        self.n_bytes = n_bytes

    def __enter__(self) -> Self:
        """Give back what was lent when the block ends."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        if self.n_bytes:
            self.budget.give_back(self.n_bytes)

    def more(self, n_bytes: int) -> None:
        """Lend more; LoanError."""
        self.budget.lend(n_bytes)
        self.n_bytes += n_bytes


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
