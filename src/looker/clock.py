"""The clocks: wall time for coupling, monotonic time for durations; both injected."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final, Protocol

STANDSTILL_S: Final = 5.0
"""A process that reads no clock for so long, though it always does, has not been running."""


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


class RunningClock:
    """A clock whose monotonic time leaves out what a process stood still, as after Ctrl-Z.

    To be read at least every second as long as the process runs: what is longer than STANDSTILL_S
    between two readings is left out. Any thread may read it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_ns = clock.monotonic_ns()
        self.stood_still_ns = 0
        """What was left out so far."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.wall_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds that the process has been running."""
        # a thread may be stopped between reading the time and noting it
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if now_ns - self._read_ns > STANDSTILL_S * 1e9:
                self.stood_still_ns += now_ns - self._read_ns
            self._read_ns = now_ns
            return now_ns - self.stood_still_ns


def asleep_ns() -> int:
    """Return for how long this machine has been asleep; the monotonic clock does not count it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


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
