"""Running a sweep: what is not done yet, one run after the other, whatever each comes to."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from looker.errors import ExitCode, LookerError, TargetError
from looker.model.report import rfc3339
from looker.model.verdict import gravest
from looker.model.words import one_line
from looker.sweep.readiness import is_ready
from looker.sweep.servers import Server, Stopped
from looker.sweep.store import (
    LOG_FILE,
    REPORT_FILE,
    SERVER_LOG_FILE,
    Record,
    log_tail,
    read_record,
    shown,
    shown_options,
)
from looker.sweep.table import ResultsTable
from looker.sweep.time_left import TimeLeft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import FrameType

    from looker.clock import Clock
    from looker.model.config import RunConfig
    from looker.sweep.plan import Plan, SweepRun
    from looker.sweep.store import SweepStore

LOG = logging.getLogger(__name__)

SOUND: Final = (ExitCode.PASSED, ExitCode.MISMATCH, ExitCode.THRESHOLD)
"""Exit codes of a run that came to its end."""
_MAX_CHARS: Final = 300
_POLL_S: Final = 0.1
_INTERRUPT_GRACE_S: Final = 20.0
"""A run that is told to end has this long to do so in order."""


class Launched(Protocol):
    """A run of Looker in a process of its own."""

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code (negative: the signal that ended it); None while it goes on."""
        ...

    def interrupt(self) -> None:
        """Tell it to end in order."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class View(Protocol):
    """What shows a sweep to a person while it goes on."""

    def began(self, run: SweepRun, n_over: int, left_s: float | None) -> None:
        """Show which run is under way."""
        ...

    def ended(self, run: SweepRun, record: Record, n_over: int, left_s: float | None) -> None:
        """Show what a run has come to."""
        ...


class Sweep:
    """Runs a plan; what is done already is left as it is."""

    def __init__(
        self,
        plan: Plan,
        store: SweepStore,
        clock: Clock,
        *,
        config_of: Callable[[SweepRun, Path], RunConfig],
        launch: Callable[[RunConfig, Path], Launched],
        view: View,
        again: Callable[[SweepRun], bool],
    ) -> None:
        """``config_of`` gives a run its configuration and the file of its report.

        ``launch`` is given that, and the file of its log. A run that is done is done ``again`` if
        that says so.
        """
        self._plan = plan
        self._store = store
        self._clock = clock
        self._config_of = config_of
        self._launch = launch
        self._view = view
        self._again = again
        self._time_left = TimeLeft()
        self.table = ResultsTable(store.root)
        """Of all runs; written after each."""
        self._n_signals = 0
        self._out_of_time = False

    @property
    def interrupted(self) -> bool:
        """Whether the sweep was ended before all of it was done, by a signal or its time limit."""
        return self._n_signals > 0 or self._out_of_time

    def run(self) -> ExitCode:
        """Run what is to be run; return the gravest exit code of all runs, or INTERRUPTED."""
        self._store.write_plan(self._plan)
        todo = []
        for run in self._plan.runs:
            damage = self._store.damage(run)
            if damage is not None:
                LOG.warning("%s: the run is done again", damage)
                self._store.discard(run)
            if self._store.is_done(run) and not self._again(run):
                self._learn(run, read_record(self._store.place(run)))
            else:
                todo.append(run)
        previous = self._catch_signals()
        try:
            self._run_all(todo)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.table.write()
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return gravest([_exit_code(read_record(self._store.place(run))) for run in self._plan.runs])

    def _run_all(self, todo: Sequence[SweepRun]) -> None:
        begun_ns = self._clock.monotonic_ns()
        limit_s = self._plan.definition.time_limit_s
        n_done = len(self._plan.runs) - len(todo)
        for number, run in enumerate(todo):
            if number:
                self._cool_down()
            if self._n_signals:
                return
            if limit_s is not None and self._clock.monotonic_ns() - begun_ns > limit_s * 1e9:
                LOG.warning("the time limit of %g s is reached", limit_s)
                self._out_of_time = True
                return
            self._view.began(run, n_done + number, self._left_s(todo[number:]))
            try:
                record = self._one(run)
            except Stopped:
                return
            self._learn(run, record)
            self.table.write()
            self._view.ended(run, record, n_done + number + 1, self._left_s(todo[number + 1 :]))

    def _learn(self, run: SweepRun, record: Record) -> None:
        # how soon a run failed says nothing of the others
        if record.error is None:
            self._time_left.add(run, record.duration_s)

    def _left_s(self, runs: Sequence[SweepRun]) -> float | None:
        left_s = self._time_left.of(runs)
        if left_s is None:
            return None
        return left_s + max(0, len(runs) - 1) * self._plan.definition.cool_down_s

    def _one(self, run: SweepRun) -> Record:
        """Bring the target up, run, bring it down; Stopped where the sweep is to end."""
        place = self._store.begin(run)
        started_ns, begun_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        exit_code, error, server_error = None, None, None
        try:
            config = self._config_of(run, place / REPORT_FILE)
            server = self._server(run, config, place)
            try:
                server.bring_up()
                exit_code, error = self._measure(config, place)
                error = server.fault() or error
            finally:
                server_error = _down(server)
        except LookerError as failure:
            error = str(failure)
        record = Record(
            target=run.target.name,
            point=run.point.name,
            repeat=run.repeat,
            swept=shown(run.point.options),
            options=shown_options(run),
            exit_code=exit_code,
            error=error,
            started_at=rfc3339(started_ns) or "",
            finished_at=rfc3339(self._clock.wall_ns()) or "",
            duration_s=(self._clock.monotonic_ns() - begun_ns) / 1e9,
            server_error=server_error,
            setup=self._store.setup_of(run),
        )
        self._store.finish(run, record)
        return record

    def _server(self, run: SweepRun, config: RunConfig, place: Path) -> Server:
        return Server(
            run.target,
            place / SERVER_LOG_FILE,
            lambda urls: is_ready(urls, config),
            lambda: self._n_signals,
            self._store.lock_fd,
        )

    def _measure(self, config: RunConfig, place: Path) -> tuple[int, str | None]:
        """Run once; return the exit code, and why there is no sound result if there is none."""
        limit_s = self._plan.definition.run_time_limit_s
        launched = self._launch(config, place / LOG_FILE)
        begun_s, told_s, killed = time.monotonic(), None, False
        while (code := launched.wait(_POLL_S)) is None:
            now_s = time.monotonic()
            too_long = limit_s is not None and now_s - begun_s > limit_s
            if told_s is None and (self._n_signals or too_long):
                launched.interrupt()
                told_s = now_s
            waited_long = told_s is not None and now_s - told_s > _INTERRUPT_GRACE_S
            if not killed and (self._n_signals > 1 or waited_long):
                launched.kill()
                killed = True
        if self._n_signals:
            raise Stopped
        if told_s is not None:
            said = f"it took longer than run_time_limit_seconds = {limit_s:g}"
            return ExitCode.INTERRUPTED if killed else code, said
        if code < 0:
            return code, f"Looker was ended by {signal.Signals(-code).name}"
        if code not in SOUND:
            return code, _why(place) or f"exit code {code}"
        if not (place / REPORT_FILE).exists():
            return code, "it left no report"
        return code, None

    def _cool_down(self) -> None:
        end = self._clock.monotonic_ns() + int(self._plan.definition.cool_down_s * 1e9)
        while not self._n_signals and self._clock.monotonic_ns() < end:
            time.sleep(_POLL_S)

    def _catch_signals(self) -> dict[int, Any]:
        """Let the first SIGINT or SIGTERM end the run that is under way in order, and the sweep."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self._n_signals += 1
            if self._n_signals == 1:
                name = signal.Signals(number).name
                LOG.warning("%s: ending the sweep; once more to end it at once", name)

        if threading.current_thread() is not threading.main_thread():
            return {}
        return {
            number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }


def _down(server: Server) -> str | None:
    """Bring a target down; return what failed in that."""
    try:
        server.bring_down()
    except TargetError as failure:
        LOG.warning("%s", failure)
        return str(failure)
    return None


def _why(place: Path) -> str | None:
    """Return in words why a run did not come to its end: its report's, or its log's last ones."""
    try:
        report = orjson.loads((place / REPORT_FILE).read_bytes())
        words = [report.get("error"), *report["faults"]]
        for sums in (report["totals"], report.get("warm_up") or {}):
            words.append((sums.get("write") or {}).get("refusal"))
            words += [(sums.get(part) or {}).get("error") for part in ("read", "spot_check")]
        words += [
            f"--fail-if: {one['expr']!r} cannot be judged: its figure has no value"
            for one in report.get("thresholds") or ()
            if one["breached"] is None
        ]
        said = next((word for word in words if word), f"its verdict is {report['verdict']}")
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        said = log_tail(place / LOG_FILE)
        return None if said is None else said.removeprefix("looker: ")
    return one_line(str(said), _MAX_CHARS)


def _exit_code(record: Record) -> ExitCode:
    """Return what a run counts as."""
    if record.exit_code is None:
        return ExitCode.TARGET
    try:
        code = ExitCode(record.exit_code)
    except ValueError:
        return ExitCode.INTERNAL
    if record.error is not None and code in (*SOUND, ExitCode.INTERRUPTED):
        return ExitCode.TARGET
    return code
