"""The clocks: wall time for coupling, monotonic time for durations; both injected."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol

STANDSTILL_S: Final = 5.0
"""A process that reads no clock for so long, though it always does, has not been running."""
_STANDSTILL_NS: Final = int(STANDSTILL_S * 1e9)


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
        self._now_ns = clock.monotonic_ns
        # when it was read last, and what was left out by then; a thread that is stopped within a
        # reading puts an earlier pair back, of which the next reading makes the later one again
        self._state = (clock.monotonic_ns(), 0)

    @property
    def stood_still_ns(self) -> int:
        """What was left out so far."""
        return self._state[1]

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.wall_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds that the process has been running."""
        read_ns, still_ns = self._state
        now_ns = self._now_ns()
        if now_ns - read_ns > _STANDSTILL_NS:
            still_ns += now_ns - read_ns
        self._state = (now_ns, still_ns)
        return now_ns - still_ns


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
