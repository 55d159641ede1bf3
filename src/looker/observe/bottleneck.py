"""Says while a run goes on that Looker itself, not the target, holds it back."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from looker.model.limit import LimitedBy, TimeSpent, generator_advice
from looker.observe.environment import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.model.run_state import RunState

LOG = logging.getLogger(__name__)

WINDOW_S: Final = 3.0
"""So long, per worker, it must have been Looker that was the limit."""


class GeneratorWatch:
    """Warns once in each write phase, when its last seconds were limited by Looker's own cores."""

    def __init__(self, n_cores: Callable[[], int] = usable_cores) -> None:
        self._n_cores = n_cores
        self._cycle = -1
        self._warned = False
        self._spent: deque[TimeSpent] = deque()

    def progress(self, state: RunState, cycle: int) -> None:
        """Look at the workers' reports of a cycle as far as they are."""
        if cycle > self._cycle:
            self._cycle, self._warned = cycle, False
            self._spent.clear()
        if self._warned or cycle < self._cycle:
            return
        parts = [worker.part for worker in state.snapshot() if worker.part.cycle == cycle]
        now = TimeSpent.of(part.write for part in parts)
        window_s = WINDOW_S * state.config.n_workers
        # the newest of those that are old enough comes first
        while len(self._spent) > 1 and now.workers_s - self._spent[1].workers_s >= window_s:
            self._spent.popleft()
        if not self._spent or now.workers_s > self._spent[-1].workers_s:
            self._spent.append(now)
        spent = now.since(self._spent[0])
        if spent.workers_s >= window_s and spent.limited_by is LimitedBy.GENERATOR:
            self._warned = True
            self._warn(state, spent)

    def _warn(self, state: RunState, spent: TimeSpent) -> None:
        config = state.config
        LOG.warning(
            "cycle %d: Looker itself is the limit, not the target: for the last %.0f s its workers"
            " have made messages %.0f %% of the time, and kept %.1f core(s) busy; what helps: %s",
            self._cycle,
            spent.workers_s / config.n_workers,
            100 * spent.generating_s / spent.workers_s,
            config.n_workers * spent.cpu_s / spent.workers_s,
            generator_advice(
                mode=config.mode,
                n_workers=config.n_workers,
                n_cores=self._n_cores(),
                n_samples=config.n_samples_per_fragment,
                n_fragments=config.n_fragments_per_message,
            ),
        )
