"""Calibrating a host: what Looker itself can do here, by 1 to N workers.

For each number of workers, two measurements against null targets on loopback: every stage alone, by
all workers at once; and a real write phase. The first says where the time goes, the second what
comes of it.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, TypeVar

from looker.backend.discovery import discover
from looker.engine.coordinator import Coordinator
from looker.engine.messages import MeasureStages, Ready, StagesMeasured, WorkerFailed
from looker.engine.partition import shares
from looker.engine.pool import Ended, LocalPool
from looker.engine.source import BATCH_BYTES
from looker.engine.stage_worker import StagePlan, enter_stage_worker
from looker.errors import InternalError, LookerError
from looker.model.calibration import Calibration, LoadCeiling, Measured, summed
from looker.model.report import rfc3339
from looker.observe.cpu import OthersCpu, process_cpu_s
from looker.target.config import TargetConfig
from looker.target.run import TargetProcess
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from looker.backend.api import Target
    from looker.clock import Clock
    from looker.engine.messages import Phase, WorkerPlan
    from looker.model.calibration import Work
    from looker.model.config import RunConfig
    from looker.model.report import CycleReport, WriteReport
    from looker.model.run_state import RunState

_News = TypeVar("_News")
LOG = logging.getLogger(__name__)

WORKERS_PER_TARGET: Final = 4
"""A null target keeps up with more workers than these; it must never be what limits."""
_LEAST_S: Final = 0.3
_START_S: Final = 1.0
"""How long starting processes takes, until the first start has shown it."""
_PATIENCE_S: Final = 120.0
_TICK_S: Final = 0.2


def worker_counts(n_most: int, n_columns: int = 4) -> list[int]:
    """Return the numbers of workers to measure: from 1 to ``n_most``, evenly by their ratio."""
    if n_most <= n_columns:
        return list(range(1, n_most + 1))
    steps = n_columns - 1
    return sorted({round(n_most ** (step / steps)) for step in range(n_columns)})


def calibrate(
    loads: Sequence[Sequence[RunConfig]],
    seconds: float,
    *,
    environment: Mapping[str, Any],
    clock: Clock,
) -> Calibration:
    """Measure each load with each of its numbers of workers, in about ``seconds`` altogether.

    ``loads`` holds, for each load, its configurations by rising number of workers. Raises
    LookerError where something does not work, KeyboardInterrupt where the user has had enough.
    """
    started_ns = clock.wall_ns()
    n_most = max(config.n_workers for configs in loads for config in configs)
    n_targets = -(-n_most // WORKERS_PER_TARGET)
    n_measured = sum(map(len, loads))
    budget = _Budget(seconds, 2 * n_measured, n_measured + len(loads))
    with ExitStack() as stack:
        null = [_Served(stack, TargetConfig(mode="null")) for _ in range(n_targets)]
        storing = _Served(stack, TargetConfig(max_memory_mb=_room_mb(loads)))
        found = []
        for configs in loads:
            host = _Host(configs, null, storing, environment, clock)
            n_cores = environment["n_usable_cores"]
            others = OthersCpu([one.pid for one in (*null, storing)], n_cores)
            measured = host.measure(budget)
            found.append(LoadCeiling(configs[-1], n_cores, n_targets, measured, others.cores()))
    return Calibration(
        looker_version=__version__,
        started_at=rfc3339(started_ns),
        finished_at=rfc3339(clock.wall_ns()),
        environment=environment,
        loads=tuple(found),
    )


class _Budget:
    """Divides the time that is left evenly among the measurements that are left.

    Starting processes takes its part of it, each time as long as on average so far.
    """

    def __init__(self, seconds: float, n_steps: int, n_starts: int) -> None:
        self._end_s = time.monotonic() + seconds
        self._n_steps = n_steps
        self._n_starts = n_starts
        self._starts_s: list[float] = []

    def next_s(self) -> float:
        """Return the seconds of the next measurement."""
        start_s = fmean(self._starts_s or [_START_S])
        left_s = self._end_s - time.monotonic() - self._n_starts * start_s
        share_s = left_s / max(1, self._n_steps)
        self._n_steps -= 1
        return max(_LEAST_S, share_s)

    def started(self, seconds: float) -> None:
        """Note that processes have been started, and that this took so long."""
        self._n_starts -= 1
        self._starts_s.append(max(0.0, seconds))


class _Served:
    """An embedded target in a process of its own, until the context ends."""

    def __init__(self, stack: ExitStack, config: TargetConfig) -> None:
        self._process = TargetProcess(config)
        stack.callback(self._process.stop)
        self.url = self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0


class _Host:
    """One load on this host's workers and targets."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        null: Sequence[_Served],
        storing: _Served,
        environment: Mapping[str, Any],
        clock: Clock,
    ) -> None:
        self._configs = configs
        self._null = null
        self._environment = environment
        self._clock = clock
        first = discover(configs[-1], null[0].url, embedded=True)
        self._targets = [replace(first, url=one.url) for one in null]
        self._storing = discover(configs[-1], storing.url, embedded=True)

    def measure(self, budget: _Budget) -> tuple[Measured, ...]:
        """Measure all numbers of workers."""
        works = self._stages(budget)
        found = []
        for config, work in zip(self._configs, works, strict=True):
            begun_s, cpu_begun_s = time.monotonic(), self._target_cpu_s()
            seconds = budget.next_s()
            LOG.info("%s, writing for %.1f s", _said(config), seconds)
            write = self._write(config, seconds)
            budget.started(time.monotonic() - begun_s - seconds)
            target_cpu_s = self._target_cpu_s() - cpu_begun_s
            found.append(Measured(config.n_workers, work, write, target_cpu_s))
        return tuple(found)

    def _target_of(self, worker: int) -> Target:
        return self._targets[worker % len(self._targets)]

    def _stages(self, budget: _Budget) -> list[Work]:
        """Measure each stage alone, by the first so many of all workers."""
        config = self._configs[-1]
        plans = [
            StagePlan(config, self._target_of(share.worker), share, storing=self._storing)
            for share in shares(config)
        ]
        pool = LocalPool(enter_stage_worker)
        begun_s = time.monotonic()
        try:
            pool.start(plans)
            _heard(pool, Ready, len(plans), _PATIENCE_S)
            budget.started(time.monotonic() - begun_s)
            works = []
            for part in self._configs:
                seconds = budget.next_s()
                LOG.info("%s, each stage alone for %.1f s", _said(part), seconds)
                for worker in range(part.n_workers):
                    pool.send(worker, MeasureStages(seconds))
                told = _heard(pool, StagesMeasured, part.n_workers, seconds + _PATIENCE_S)
                works.append(summed(one.work for one in told))
            return works
        finally:
            pool.close(0.0)

    def _write(self, config: RunConfig, seconds: float) -> WriteReport:
        report = Coordinator(
            replace(config, skip_read=True, stop_after_n_seconds=seconds),
            self._targets[0],
            _SpreadPool(self._target_of),
            self._clock,
            environment=self._environment,
            view=_NoView(),
            save=lambda _: None,
        ).run()
        if report.interrupted:
            raise KeyboardInterrupt
        if report.faults:
            raise InternalError(report.faults[0])
        write = report.totals().write
        if write.refusal is not None or not write.samples_acked:
            raise LookerError(f"the null target took no pushes: {write.refusal}")
        return write

    def _target_cpu_s(self) -> float:
        return sum(process_cpu_s(one.pid) for one in self._null)


def _heard(pool: LocalPool, kind: type[_News], n_workers: int, patience_s: float) -> list[_News]:
    """Return what so many workers say; LookerError where one cannot."""
    end_s = time.monotonic() + patience_s
    found: list[_News] = []
    while len(found) < n_workers:
        if time.monotonic() > end_s:
            raise InternalError("a worker hangs while calibrating")
        for news in pool.poll(_TICK_S):
            if isinstance(news, kind):
                found.append(news)
            elif isinstance(news, WorkerFailed):
                LOG.debug("worker %d failed:\n%s", news.worker, news.traceback.rstrip())
                raise LookerError(f"worker {news.worker} failed while calibrating: {news.error}")
            elif isinstance(news, Ended):
                raise LookerError(f"worker {news.worker} died while calibrating ({news.how})")
    return found


def _said(config: RunConfig) -> str:
    return f"{config.mode}: {config.n_workers} worker{'s' if config.n_workers > 1 else ''}"


class _SpreadPool(LocalPool):
    """Workers that are spread over several targets."""

    def __init__(self, target_of: Callable[[int], Target]) -> None:
        super().__init__()
        self._target_of = target_of

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        """Start a worker for each plan, with the target that is its own."""
        super().start([replace(plan, target=self._target_of(plan.share.worker)) for plan in plans])


class _NoView:
    """Shows nothing of a run."""

    def phase_began(self, cycle: int, phase: Phase) -> None:
        pass

    def progress(self, state: RunState, cycle: int) -> None:
        pass

    def cycle_ended(self, report: CycleReport) -> None:
        pass


def _room_mb(loads: Sequence[Sequence[RunConfig]]) -> int:
    """Return how much may be stored: some batches of each worker, several times over."""
    n_bytes = 0
    for configs in loads:
        for config in configs:
            message = config.payload_bytes_per_fragment * config.n_fragments_per_message
            n_bytes += config.n_workers * (message + BATCH_BYTES)
    return 1024 + 16 * (n_bytes >> 20)
