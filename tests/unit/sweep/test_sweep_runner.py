"""Running a plan with runs that are none: order, failures, resuming, limits, interruption."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.clock import ManualClock
from looker.errors import ExitCode, LookerError, UsageError
from looker.sweep import runner
from looker.sweep.definition import SweepTarget
from looker.sweep.runner import Sweep
from looker.sweep.store import Record, SweepStore, read_record
from looker.sweep.table import ResultsTable
from run_reports import plain_report
from servers import run_config
from sweeps import plan_for

if TYPE_CHECKING:
    from pathlib import Path

    from looker.sweep.plan import Plan, SweepRun

S: Final = 1_000_000_000


class FakeRun:
    """Ends at once with a code; or, with None, only when told to."""

    def __init__(self, code: int | None, *, obedient: bool = True) -> None:
        self.code = code
        self.obedient = obedient
        self.told: list[str] = []

    def wait(self, timeout_s: float) -> int | None:
        assert timeout_s < 1
        return self.code

    def interrupt(self) -> None:
        self.told.append("interrupt")
        if self.obedient:
            self.code = 130

    def kill(self) -> None:
        self.told.append("kill")
        self.code = -9


class Bench:
    """A sweep whose runs do as ``codes`` says by their places; 0 where it says nothing."""

    def __init__(self, root: Path, plan: Plan, **codes: Any) -> None:
        self.store = SweepStore(root)
        root.mkdir(exist_ok=True)
        self.plan = plan
        self.codes: dict[str, Any] = codes
        self.clock = ManualClock()
        self.began_: list[str] = []
        self.ended_: list[tuple[str, str | None, int, float | None]] = []
        self.launched: list[FakeRun] = []
        self._now = ""

    def sweep(self, *, again: bool = False) -> tuple[Sweep, ExitCode]:
        def failed(run: SweepRun) -> bool:
            return again and read_record(self.store.place(run)).error is not None

        sweep = Sweep(
            self.plan,
            self.store,
            self.clock,
            config_of=self.config_of,
            launch=self.launch,
            view=self,
            again=failed,
        )
        return sweep, sweep.run()

    def config_of(self, run: SweepRun, report: Path) -> Any:
        code = self.codes.get(str(run.place), 0)
        if isinstance(code, LookerError):
            raise code
        return run_config(None), run, report

    def launch(self, config: Any, log: Path) -> Any:
        _, run, report = config
        self.clock.advance(10 * S)
        code = self.codes.get(str(run.place), 0)
        log.write_text(f"last words of {run.place}\n")
        if callable(code):
            code = code()
        if code in (0, 1, 4):
            report.write_text(json.dumps(plain_report(100 * run.repeat, config__seed=run.seed)))
        made = code if isinstance(code, FakeRun) else FakeRun(0 if code == "no report" else code)
        self.launched.append(made)
        return made

    def began(self, run: SweepRun, n_over: int, left_s: float | None) -> None:
        assert 0 <= n_over < len(self.plan.runs)
        assert left_s is None or left_s > 0
        self.began_.append(str(run.place))

    def ended(self, run: SweepRun, record: Record, n_over: int, left_s: float | None) -> None:
        self.ended_.append((str(run.place), record.error, n_over, left_s))


def test_all_runs_come_in_order(tmp_path: Path) -> None:
    plan = plan_for("a", "b", matrix={"n_workers": [1, 2]}, repeats=2)
    bench = Bench(tmp_path, plan)
    sweep, code = bench.sweep()
    assert (code, sweep.interrupted) == (ExitCode.PASSED, False)
    assert bench.began_ == [str(run.place) for run in plan.runs]
    assert [ended[2] for ended in bench.ended_] == list(range(1, 9))
    # from the first run on it is known what the others will take
    assert [ended[3] for ended in bench.ended_] == [10.0 * left for left in range(7, -1, -1)]
    record = read_record(tmp_path / "b/n_workers=2/2")
    assert record.duration_s == 10.0
    assert record.swept == {"n_workers": 2}
    assert record.options == {
        "mode": "logs",
        "url": "http://b",
        "n_workers": 2,
        "seed": next(
            run.seed for run in plan.runs if run.repeat == 2 and run.point.name[-1] == "2"
        ),
    }
    report = json.loads((tmp_path / "b/n_workers=2/2/report.json").read_text())
    assert report["totals"]["write"]["samples_acked"] == 200


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (3, "last words of a/base/1", ExitCode.TARGET),
        (2, "last words of a/base/1", ExitCode.USAGE),
        (70, "last words of a/base/1", ExitCode.INTERNAL),
        (-9, "Looker was ended by SIGKILL", ExitCode.INTERNAL),
        (130, "last words of a/base/1", ExitCode.TARGET),
        ("no report", "it left no report", ExitCode.TARGET),
        (UsageError("--ca-file", "gone"), "--ca-file: gone", ExitCode.TARGET),
        (1, None, ExitCode.MISMATCH),
        (4, None, ExitCode.THRESHOLD),
    ],
)
def test_a_run_that_fails_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, failure: Any, error: str | None, code: ExitCode
) -> None:
    bench = Bench(tmp_path, plan_for("a", "b"), **{"a/base/1": failure})
    sweep, found = bench.sweep()
    assert (found, sweep.interrupted) == (code, False)
    assert [(place, said) for place, said, *_ in bench.ended_] == [
        ("a/base/1", error),
        ("b/base/1", None),
        ("b/base/2", None),
        ("a/base/2", None),
    ]
    assert (tmp_path / "a/base/1/report.json").exists() is (error is None)
    # what failed is done, too
    bench.began_.clear()
    assert bench.sweep()[1] == code
    assert bench.began_ == []
    # unless it is wanted again
    bench.codes.clear()
    found = bench.sweep(again=True)[1]
    assert bench.began_ == ([] if error is None else ["a/base/1"])
    assert found == (code if error is None else ExitCode.PASSED)


def test_a_refusal_in_the_warm_up_is_what_failed(tmp_path: Path) -> None:
    class Refused(Bench):
        def launch(self, config: Any, log: Path) -> Any:
            warm_up = {"write": {"refusal": "507 it is full"}, "read": None, "spot_check": None}
            report = {**plain_report(0), "faults": [], "warm_up": warm_up}
            config[2].write_text(json.dumps(report))
            return super().launch(config, log)

    bench = Refused(tmp_path, plan_for("a", "b"), **{"a/base/1": 3})
    bench.sweep()
    assert bench.ended_[0][:2] == ("a/base/1", "507 it is full")


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = plan_for("a", "b", repeats=2)
    whole = Bench(tmp_path / "whole", plan)
    whole.sweep()

    def interrupted() -> FakeRun:
        os.kill(os.getpid(), signal.SIGINT)
        return FakeRun(None)

    bench = Bench(tmp_path / "part", plan, **{"b/base/2": interrupted})
    before = signal.getsignal(signal.SIGINT)
    sweep, code = bench.sweep()
    assert signal.getsignal(signal.SIGINT) is before
    assert (code, sweep.interrupted) == (ExitCode.INTERRUPTED, True)
    assert bench.launched[-1].told == ["interrupt"]
    assert [place for place, *_ in bench.ended_] == ["a/base/1", "b/base/1"]
    assert not (tmp_path / "part/b/base/2").exists()
    bench.codes.clear()
    bench.clock = ManualClock()
    sweep, code = bench.sweep()
    assert (code, sweep.interrupted) == (ExitCode.PASSED, False)
    assert bench.began_ == ["a/base/1", "b/base/1", "b/base/2", "b/base/2", "a/base/2"]

    def figures(root: Path) -> list[tuple[Any, ...]]:
        import sqlite3  # noqa: PLC0415
        from contextlib import closing  # noqa: PLC0415

        with closing(sqlite3.connect(root / "results.sqlite")) as database:
            columns = "target, point, repeat, exit_code, report, write_samples_acked"
            return list(database.execute(f"SELECT {columns} FROM runs"))  # noqa: S608

    assert figures(tmp_path / "part") == figures(tmp_path / "whole")


def test_a_second_signal_ends_a_run_that_does_not_obey(tmp_path: Path) -> None:
    stubborn = FakeRun(None, obedient=False)
    stubborn.interrupt = lambda: (stubborn.told.append("interrupt"), os.kill(os.getpid(), 15))[0]  # type: ignore[method-assign]

    def begun() -> FakeRun:
        os.kill(os.getpid(), signal.SIGTERM)
        return stubborn

    bench = Bench(tmp_path, plan_for("a"), **{"a/base/1": begun})
    assert bench.sweep()[1] is ExitCode.INTERRUPTED
    assert stubborn.told == ["interrupt", "kill"]


@pytest.mark.parametrize("obedient", [True, False])
def test_a_run_may_not_take_longer_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obedient: bool
) -> None:
    monkeypatch.setattr(runner, "_INTERRUPT_GRACE_S", 0.01)
    slow = FakeRun(None, obedient=obedient)
    bench = Bench(tmp_path, plan_for("a", run_time_limit_s=0.01), **{"a/base/1": slow})
    assert bench.sweep()[1] is ExitCode.TARGET
    assert slow.told == ["interrupt"] if obedient else ["interrupt", "kill"]
    record = read_record(tmp_path / "a/base/1")
    assert record.error == "it took longer than run_time_limit_seconds = 0.01"
    assert bench.ended_[1][:2] == ("a/base/2", None)


def test_a_sweep_ends_when_its_time_is_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path, plan_for("a", repeats=5, time_limit_s=25.0))
    sweep, code = bench.sweep()
    assert (code, sweep.interrupted) == (ExitCode.INTERRUPTED, True)
    assert len(bench.began_) == 3
    # its time is that of one go
    assert bench.sweep()[1] is ExitCode.PASSED
    assert len(bench.began_) == 5


def test_a_target_that_does_not_come_up_fails_its_runs_only(tmp_path: Path) -> None:
    plan = plan_for("a", "b", repeats=1)
    broken = SweepTarget("a", {}, start="echo no disk; exit 1", stop="exit 5")
    object.__setattr__(plan.runs[0], "target", broken)
    bench = Bench(tmp_path / "out", plan)
    assert bench.sweep()[1] is ExitCode.TARGET
    record = read_record(tmp_path / "out/a/base/1")
    assert record.exit_code is None
    assert record.error is not None
    assert record.error.endswith("ended with exit code 1: no disk")
    assert record.server_error is not None
    assert "ended with exit code 5" in record.server_error
    assert (tmp_path / "out/a/base/1/server.log").read_text().startswith("$ echo no disk")
    assert bench.ended_[1][:2] == ("b/base/1", None)


def test_a_server_that_ends_during_a_run_spoils_it(tmp_path: Path) -> None:
    plan = plan_for("a", repeats=1)
    served = SweepTarget("a", {"url": "http://a"}, serve="sh -c 'exit 9'")
    object.__setattr__(plan.runs[0], "target", served)
    bench = Bench(tmp_path, plan)
    assert bench.sweep()[1] is ExitCode.TARGET
    error = read_record(tmp_path / "a/base/1").error
    assert error is not None
    assert error.startswith("the server ended with exit code 9") or "not ready" in error


def test_a_full_disk_ends_the_sweep_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_table: ResultsTable) -> None:
        raise LookerError("cannot write results.sqlite: No space left on device")

    monkeypatch.setattr(ResultsTable, "write", full)
    bench = Bench(tmp_path, plan_for("a"))
    with pytest.raises(LookerError, match="No space left"):
        bench.sweep()


def test_a_pause_cools_down(tmp_path: Path) -> None:
    bench = Bench(tmp_path, plan_for("a", repeats=3, cool_down_s=0.0))
    bench.sweep()
    assert bench.ended_[0][3] == 20.0
    bench = Bench(tmp_path / "x", plan_for("a", repeats=3, cool_down_s=5.0))
    pauses: list[float] = []

    def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        bench.clock.advance(int(pause_s * S))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.time, "sleep", sleep)
        bench.sweep()
    assert sum(pauses) == pytest.approx(10.0)
    assert bench.ended_[0][3] == 25.0
