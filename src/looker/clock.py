"""The clocks: wall time for coupling, monotonic time for durations; both injected."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, both in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never goes back; its origin has no meaning."""
        ...


class SystemClock:
    """The clocks of this host."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds of the system's monotonic clock."""
        return time.monotonic_ns()


@dataclass
class ManualClock:
    """A clock that moves only when told to, for tests and simulations."""

    wall: int = 1_700_000_000_000_000_000
    monotonic: int = 0

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as set."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Nanoseconds since this clock was made."""
        return self.monotonic

    def advance(self, ns: int) -> None:
        """Move both clocks forward by ``ns`` nanoseconds."""
        self.wall += ns
        self.monotonic += ns
