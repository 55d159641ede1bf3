"""A run that is stopped as a whole, and goes on: its workers do not hang. Field case 43."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.clock import ManualClock
from looker.engine import coordinator as module
from looker.engine.coordinator import HANG_S, Coordinator
from looker.engine.messages import Alive, Finished
from looker.engine.pool import Ended
from looker.errors import ExitCode
from looker.model.config import ReadApi
from servers import SilentView, run_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from looker.engine.messages import FromWorker, ToWorker, WorkerPlan
    from looker.engine.run_report import RunReport

_S = 1_000_000_000


class ScriptedPool:
    """One worker that says what it is told to, after so many seconds each."""

    def __init__(self, clock: ManualClock, script: Sequence[tuple[float, bool]]) -> None:
        self._clock = clock
        self._script = [*script]
        self._killed = False

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        assert len(plans) == 1

    def send(self, worker: int, message: ToWorker) -> None:
        pass

    def poll(self, _timeout_s: float) -> list[FromWorker | Ended]:
        if self._killed:
            return [Ended(0, clean=False, how="killed by SIGKILL")]
        if not self._script:
            return [Finished(0), Ended(0, clean=True, how="exit code 0")]
        after_s, speaks = self._script.pop(0)
        self._clock.advance(int(after_s * _S))
        return [Alive(0)] if speaks else []

    def kill(self, _worker: int) -> None:
        self._killed = True

    def close(self, _grace_s: float) -> None:
        pass


def ran(*script: tuple[float, bool]) -> RunReport:
    clock = ManualClock()
    target = Target(
        "http://127.0.0.1:1", Product.LOKI, "/p", "/q", None, ReadApi.AUTO, None, None, None
    )
    return Coordinator(
        run_config("http://127.0.0.1:1", n_workers=1),
        target,
        ScriptedPool(clock, script),
        clock,
        environment={},
        view=SilentView(),
        save=lambda _: None,
    ).run()


def test_a_run_that_stood_still_as_a_whole_has_no_hanging_worker() -> None:
    # Ctrl-Z, 65 s, fg: what the workers say comes some time after
    report = ran((0.5, True), (65.0, False), (0.2, False), (0.5, True), (300.0, False))
    assert report.faults == []
    assert report.stood_still_s == 365.0
    assert report.to_json()["stood_still_s"] == 365.0


def test_a_worker_that_is_silent_while_the_coordinator_listens_hangs() -> None:
    report = ran((65.0, False), *[(0.5, False)] * (2 * int(HANG_S) + 2))
    assert report.faults == [f"worker 0 hangs: no sign of life for {HANG_S:.0f} s"]
    assert report.exit_code is ExitCode.INTERNAL


def test_a_machine_that_was_asleep_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = iter([3 * _S, 3 * _S, 3 * _S, 63 * _S])
    monkeypatch.setattr(module, "asleep_ns", lambda: next(asleep, 63 * _S))
    report = ran(*[(0.5, True)] * 6)
    assert report.stood_still_s == 60.0
    assert report.faults == []
