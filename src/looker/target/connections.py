"""The connections of a target: no more than there is room for, none that stands still for long."""

from __future__ import annotations

import asyncio
import heapq
import resource
from typing import TYPE_CHECKING, Protocol

from looker.target.memory import LoanError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looker.target.memory import Budget

TICK_S = 5.0
"""Time is counted in ticks, so that one in which the whole process stood still is a single one."""
_SPARE_FILES = 64
_MOST = 10_000


class Connection(Protocol):
    """One connection."""

    quiet_ticks: int
    """How long nothing was received or sent."""
    lent_bytes: int
    """What it holds of a request that is not whole yet."""
    has_answered: bool
    """Whether it has ever brought a whole request."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its client, not for this process."""
        ...

    def tick(self) -> None:
        """Count a tick; close where the client takes too long."""
        ...

    def abort(self) -> None:
        """Close at once, without an answer."""
        ...


class Connections:
    """All that are open.

    Where there is no room for one more, or for what one receives, others make room: those that
    have never brought a whole request, and were quiet for longest.
    """

    def __init__(self, budget: Budget, most: int | None = None) -> None:
        self.budget = budget
        self._open: dict[Connection, int] = {}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _MOST if files == resource.RLIM_INFINITY else max(8, files - _SPARE_FILES)
        self._most = min(_MOST, limit) if most is None else most
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def add(self, connection: Connection, n_bytes: int) -> bool:
        """Take a new one, which takes so much memory; False where there is no room for it."""
        if len(self._open) >= self._most or self.budget.free_bytes < n_bytes:
            self._close_some(self._open)
        try:
            self.lend(connection, n_bytes)
        except LoanError:
            return False
        self._open[connection] = n_bytes
        return True

    def lend(self, connection: Connection, n_bytes: int) -> None:
        """Lend memory to a connection, if need be that of quiet ones; LoanError."""
        if self.budget.free_bytes < n_bytes:
            self._make_room(connection, n_bytes)
        self.budget.lend(n_bytes)

    def _make_room(self, connection: Connection, n_bytes: int) -> None:
        while self.budget.free_bytes < n_bytes:
            holders = [
                one
                for one in self._open
                if one is not connection and one.lent_bytes and one.quiet_ticks
            ]
            if not self._close_some(holders):
                return

    @staticmethod
    def _close_some(among: Iterable[Connection]) -> bool:
        """Close those that can best be done without, a few; False where there is none."""
        waiting = [one for one in among if one.is_waiting]
        # of equal ones the first: they have been open for longest
        worst = heapq.nlargest(
            1 + len(waiting) // 64, waiting, key=lambda one: (not one.has_answered, one.quiet_ticks)
        )
        for one in worst:
            one.abort()
        return bool(worst)

    def discard(self, connection: Connection) -> None:
        """Forget one that is closed."""
        n_bytes = self._open.pop(connection, None)
        if n_bytes is not None:
            self.budget.give_back(n_bytes)

    def watch(self) -> None:
        """Begin to count ticks, within the running loop."""
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def close(self) -> None:
        """Close all, and count no more."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._open):
            connection.abort()

    def _tick(self) -> None:
        for connection in list(self._open):
            connection.tick()
        self.budget.return_freed_memory()
        self.watch()
