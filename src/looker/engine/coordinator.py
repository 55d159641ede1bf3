"""The coordinator: starts workers, lets phases begin together, merges what they report."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from looker.clock import STANDSTILL_S, RunningClock, asleep_ns
from looker.engine.messages import (
    Alive,
    EndWrite,
    Finished,
    Go,
    LedgerFailed,
    Phase,
    Progress,
    ReadEnded,
    Ready,
    SpotChecked,
    Stop,
    WorkerFailed,
    WorkerPlan,
    WriteEnded,
)
from looker.engine.paced import Paced
from looker.engine.partition import shares
from looker.engine.pool import Ended, Pool
from looker.engine.run_report import LedgerFacts, RunReport, WorkerRecord
from looker.model.report import SpotCheckReport, WriteReport
from looker.model.run_state import RunState
from looker.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from looker.backend.api import Target
    from looker.clock import Clock
    from looker.engine.messages import FromWorker, LedgerPlace, VerifyTask
    from looker.engine.usage_watch import UsageWatch
    from looker.model.config import RunConfig
    from looker.model.report import CycleReport

LOG = logging.getLogger(__name__)

_TICK_S: Final = 0.2
HANG_S: Final = 60.0
"""A worker whose event loop gives no sign of life for this long is given up."""
_STOP_GRACE_S: Final = 10.0


class View(Protocol):
    """What shows a run to a person while it goes on."""

    def phase_began(self, cycle: int, phase: Phase) -> None:
        """Show that a phase has begun."""
        ...

    def progress(self, state: RunState, cycle: int) -> None:
        """Show how far the run is; called for every worker's news of a cycle."""
        ...

    def cycle_ended(self, report: CycleReport) -> None:
        """Show what a cycle has come to."""
        ...


class Coordinator:
    """Runs the cycles of one configuration on a pool of workers."""

    def __init__(
        self,
        config: RunConfig,
        target: Target,
        pool: Pool,
        clock: Clock,
        *,
        environment: Mapping[str, Any],
        view: View,
        save: Callable[[RunReport], None],
        state: RunState | None = None,
        hang_s: float = HANG_S,
        ledger: LedgerPlace | None = None,
        verify: VerifyTask | None = None,
        ledger_facts: LedgerFacts | None = None,
        watch: UsageWatch | None = None,
    ) -> None:
        """``save`` is given the report at the end, and after a cycle if that takes 1 % of the time.

        ``watch`` asks the target what it uses, as long as the run goes on. ``state`` is kept up to
        date for those who watch the run from other threads. Workers append to ``ledger``. With
        ``verify`` nothing is written: the run is one cycle without a write phase, and
        ``ledger_facts`` stand in its report.
        """
        self._config = config
        self._pool = pool
        self._clock = clock
        # what counts is the time in which this process could hear a worker
        self._running = RunningClock(clock)
        self._view = view
        self._save = save
        self._saving = Paced(self._save_report, clock)
        self._hang_s = hang_s
        self._target = target
        self._state = RunState(config, clock.wall_ns()) if state is None else state
        self._ledger = ledger
        self._verify = verify
        self._report = RunReport(
            config, target, environment, self._state.started_ns, ledger=ledger_facts
        )
        self._watch = watch
        self._ledger_failed = False
        self._left_out = False
        self._alive: set[int] = set()
        self._ready: set[int] = set()
        self._accounted_for: set[int] = set()
        self._heard_ns: dict[int, int] = {}
        self._went_back_s: dict[int, float] = {}
        self._passed: dict[Go, set[int]] = {}
        self._asleep_ns = 0
        self._stop_since_ns: int | None = None
        self._kill_all = False

    def run(self) -> RunReport:
        """Run to the end, whatever comes; return the report, complete or not."""
        plans = [
            WorkerPlan(self._config, self._target, share, self._ledger, self._verify)
            for share in shares(self._config)
        ]
        self._alive = {plan.share.worker for plan in plans}
        now, self._asleep_ns = self._running.monotonic_ns(), asleep_ns()
        self._heard_ns = dict.fromkeys(self._alive, now)
        self._report.workers = {number: WorkerRecord(number) for number in sorted(self._alive)}
        previous = self._catch_signals()
        try:
            if self._watch is not None:
                self._watch.start()
            self._pool.start(plans)
            while self._alive:
                for news in self._pool.poll(_TICK_S):
                    self._hear(news)
                self._look_after_workers()
                self._saving.do_if_due()
        except KeyboardInterrupt:
            self._report.interrupted = True
            raise
        except Exception as error:
            self._report.faults.append(f"Looker failed: {type(error).__name__}: {error}")
            raise
        finally:
            self._pool.close(0.0 if self._kill_all else _STOP_GRACE_S)
            if self._watch is not None:
                self._watch.stop(at_once=self._kill_all)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._report.finished_ns = self._clock.wall_ns()
            self._report.finished = True
            self._saving.do()
        return self._report

    def _hear(self, news: FromWorker | Ended) -> None:
        self._heard_ns[news.worker] = self._running.monotonic_ns()
        match news:
            case Ready(worker, pid, host):
                record = self._report.workers[worker]
                record.pid, record.host = pid, host
                self._state.set_up(worker, up=True)
                self._ready.add(worker)
                if self._ready == self._alive:
                    self._begin(Go(0, Phase.WRITE if self._verify is None else Phase.READ))
            case Progress():
                self._hear_progress(news)
            case WriteEnded():
                self._hear_write(news)
            case ReadEnded():
                self._hear_read(news)
            case SpotChecked() | LedgerFailed():
                self._hear_aside(news)
            case WorkerFailed(worker, error, traceback):
                LOG.error("worker %d failed:\n%s", worker, traceback.rstrip())
                self._accounted_for.add(worker)
                self._fail(f"worker {worker} failed: {error}")
            case Ended():
                self._hear_end(news)
            case Alive() | Finished():
                pass

    def _hear_progress(self, news: Progress) -> None:
        part = self._report.part(news.worker, news.cycle)
        if isinstance(news.report, WriteReport):
            part.write = news.report
            self._warn_of_wall_time(news.worker, news.report)
        else:
            part.read = news.report
        self._state.hear(news.worker, news.cycle, news.report)
        self._hear_series(news)
        self._view.progress(self._state, news.cycle)

    def _hear_series(self, news: Progress | WriteEnded | ReadEnded) -> None:
        now_ns = self._running.monotonic_ns()
        self._report.series.hear(news.worker, news.cycle, news.report, now_ns)

    def _warn_of_wall_time(self, worker: int, report: WriteReport) -> None:
        """Tell once by how much wall time went back in a cycle, and again where it is more."""
        if report.wall_went_back_s > 2 * self._went_back_s.get(worker, 0.0):
            self._went_back_s[worker] = report.wall_went_back_s
            LOG.warning(
                "worker %d: wall time went back by %.3f s; its streams wait until it has caught up",
                worker,
                report.wall_went_back_s,
            )

    def _hear_write(self, news: WriteEnded) -> None:
        self._report.part(news.worker, news.cycle).write = news.report
        self._state.hear(news.worker, news.cycle, news.report)
        self._hear_series(news)
        if news.report.refusal is not None:
            LOG.warning("worker %d: pushes failed: %s", news.worker, news.report.refusal)
            if not self._config.allow_rejected:
                self._broadcast(EndWrite())
        self._warn_of_wall_time(news.worker, news.report)
        self._went_back_s.pop(news.worker, None)
        self._pass(news.worker, Go(news.cycle, Phase.WRITE))

    def _hear_read(self, news: ReadEnded) -> None:
        self._report.part(news.worker, news.cycle).read = news.report
        self._state.hear(news.worker, news.cycle, news.report, over=True)
        self._hear_series(news)
        if news.report.error is not None:
            LOG.warning("worker %d: reading failed: %s", news.worker, news.report.error)
        self._pass(news.worker, Go(news.cycle, Phase.READ))

    def _hear_aside(self, news: SpotChecked | LedgerFailed) -> None:
        """Note what does not depend on the phase that a worker is in."""
        if isinstance(news, LedgerFailed):
            # the cycle goes on: its verdict does not depend on the file
            self._ledger_failed = True
            self._note_fault(
                f"worker {news.worker} cannot write the ledger: {news.reason}; its fragments from"
                f" cycle {news.cycle} on are not in it"
            )
            return
        part, report = self._report.part(news.worker, news.cycle), news.report
        before = SpotCheckReport() if part.spot_check is None else part.spot_check
        part.spot_check = report
        self._state.hear(news.worker, news.cycle, report)
        n_new = report.findings.n_mismatches - before.findings.n_mismatches
        if n_new:
            LOG.error(
                "worker %d: spot check in cycle %d: %d mismatch(es)", news.worker, news.cycle, n_new
            )
        if report.error is not None and before.error is None:
            LOG.warning("worker %d: spot check failed: %s", news.worker, report.error)

    def _hear_end(self, news: Ended) -> None:
        self._alive.discard(news.worker)
        self._state.set_up(news.worker, up=False)
        if not news.clean and news.worker not in self._accounted_for:
            cycles = self._report.workers[news.worker].cycles
            done = [
                number
                for number, part in cycles.items()
                if part.read is not None and (part.read.complete or part.read.skipped)
            ]
            self._fail(
                f"worker {news.worker} died ({news.how}) in cycle {max(done, default=-1) + 1}:"
                " its part of the run is missing from there on"
            )

    def _fail(self, fault: str) -> None:
        self._note_fault(fault)
        self._stop_all()

    def _note_fault(self, fault: str) -> None:
        LOG.error("%s", fault)
        self._report.faults.append(fault)

    def _pass(self, worker: int, gate: Go) -> None:
        """Note that a worker is through with a phase; let the next begin if all are."""
        passed = self._passed.setdefault(gate, set())
        passed.add(worker)
        if passed != set(self._report.workers):
            return
        del self._passed[gate]
        cycle = self._report.cycle(gate.cycle)
        if self._watch is not None:
            self._watch.phase_ended(cycle, gate.phase)
        if gate.phase is Phase.WRITE:
            self._begin(Go(gate.cycle, Phase.READ))
            return
        self._archive_before(gate.cycle)
        self._view.cycle_ended(cycle)
        self._report.finished_ns = self._clock.wall_ns()
        if self._is_end(cycle):
            self._stop_all()
            return
        if not self._config.is_last(gate.cycle):
            self._saving.want()
            self._begin(Go(gate.cycle + 1, Phase.WRITE))

    def _archive_before(self, cycle: int) -> None:
        left_out = self._report.archive_before(cycle)
        if left_out is not None and not self._left_out:
            self._left_out = True
            self._note_fault(f"the report lacks cycles: they cannot be kept in {left_out}")

    def _save_report(self) -> None:
        self._report.usage = None if self._watch is None else self._watch.snapshot()
        self._save(self._report)

    def _is_end(self, cycle: CycleReport) -> bool:
        """Tell whether a cycle's outcome makes further ones pointless or unwanted."""
        if cycle.write.refusal is not None and not self._config.allow_rejected:
            return True
        if self._ledger_failed or cycle.read is None or cycle.read.error is not None:
            return True
        return self._config.stop_on_mismatch and cycle.verdict is Verdict.FAILED

    def _begin(self, gate: Go) -> None:
        if self._stop_since_ns is None:
            self._report.series.begin(self._clock.wall_ns(), self._running.monotonic_ns())
            if gate.phase is Phase.WRITE or not self._config.skip_read:
                self._view.phase_began(gate.cycle, gate.phase)
                if self._watch is not None:
                    self._watch.phase_began(gate.cycle, gate.phase)
            self._broadcast(gate)

    def _stop_all(self) -> None:
        if self._stop_since_ns is None:
            self._stop_since_ns = self._running.monotonic_ns()
            self._broadcast(Stop())

    def _broadcast(self, message: Go | Stop | EndWrite) -> None:
        for worker in sorted(self._alive):
            self._pool.send(worker, message)

    def _look_after_workers(self) -> None:
        """End workers that hang, and those that do not leave when told to."""
        now = self._running.monotonic_ns()
        self._note_standstill()
        if self._report.interrupted:
            self._stop_all()
        too_long_stopping = (
            self._stop_since_ns is not None and now - self._stop_since_ns > _STOP_GRACE_S * 1e9
        )
        for worker in sorted(self._alive):
            silent_s = (now - self._heard_ns[worker]) / 1e9
            if self._kill_all or too_long_stopping:
                self._accounted_for.add(worker)
                self._pool.kill(worker)
            elif silent_s > self._hang_s and worker not in self._accounted_for:
                self._accounted_for.add(worker)
                self._fail(f"worker {worker} hangs: no sign of life for {silent_s:.0f} s")
                self._pool.kill(worker)

    def _note_standstill(self) -> None:
        """Tell once for how long all of the run stood still, stopped by a signal or asleep."""
        asleep_s = (asleep_ns() - self._asleep_ns) / 1e9
        still_s = self._running.stood_still_ns / 1e9 + (asleep_s if asleep_s > STANDSTILL_S else 0)
        new_s = still_s - self._report.stood_still_s
        if new_s > STANDSTILL_S:
            self._report.stood_still_s = still_s
            LOG.warning(
                "the run stood still for %.0f s (stopped as by Ctrl-Z, or the machine was asleep):"
                " no figure and no time limit counts that",
                new_s,
            )

    def _catch_signals(self) -> dict[int, Any]:
        """Let the first SIGINT or SIGTERM end the run in order, and a second one at once."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if self._report.interrupted:
                self._kill_all = True
                return
            self._report.interrupted = True
            name = signal.Signals(number).name
            LOG.warning("%s: ending the run; once more to end it at once", name)

        if threading.current_thread() is not threading.main_thread():
            return {}
        return {
            number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
