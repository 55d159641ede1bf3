"""Doing something no more often than so that it takes little of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.clock import Clock

_PAUSE_PER_COST: Final = 99
"""What takes a second is done again 99 s later at the earliest: it takes 1 % of the time."""


class Paced:
    """An action that is asked for at any time, and done when enough time is over."""

    def __init__(self, action: Callable[[], None], clock: Clock) -> None:
        self._action = action
        self._clock = clock
        self._next_ns = clock.monotonic_ns()
        self._wanted = False

    def want(self) -> None:
        """Ask for the action, at once or as soon as it may be."""
        self._wanted = True
        self.do_if_due()

    def do_if_due(self) -> None:
        """Do what was asked for, if it may be now."""
        if self._wanted and self._clock.monotonic_ns() >= self._next_ns:
            self.do()

    def do(self) -> None:
        """Do it now, whether it was asked for or not."""
        self._wanted = False
        begun_ns = self._clock.monotonic_ns()
        self._action()
        ended_ns = self._clock.monotonic_ns()
        self._next_ns = ended_ns + _PAUSE_PER_COST * (ended_ns - begun_ns)
