"""Processes that die, hang, are interrupted: what the run says, and that nothing is left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest

from looker.engine import pool
from looker.engine.messages import Phase
from looker.errors import ExitCode
from looker.model.verdict import Verdict
from servers import (
    Answer,
    Prometheus,
    Proxy,
    Run,
    SilentView,
    broken_worker,
    children,
    embedded_target,
    is_running,
    run_config,
    run_engine,
    shared_prometheus,  # noqa: F401 - a fixture
    spawned,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward

ENDLESS: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5", "--n-workers", "2"),
    *("--metrics-time-increment-ms", "1", "--stop-write-after-n-seconds", "300"),
)
CYCLES: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5", "--n-workers", "2"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-cycles", "0"),
)
SOON_S: Final = 30.0
"""A few seconds, on a machine that has other things to do."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def gone(pids: list[int], within_s: float = SOON_S) -> None:
    """Wait until processes are gone."""
    wait_until(lambda: not any(is_running(pid) for pid in pids), f"{pids} end", within_s)


def started_workers(run: Run) -> list[int]:
    """Wait until both workers write; return their process ids."""
    run.wait_for("cycle 0: write phase begins")
    workers = spawned(run.pid)
    assert len(workers) == 2
    return workers


# --- a worker dies -----------------------------------------------------------------------------


@pytest.mark.prometheus
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_killed_while_writing(
    tmp_path: Path, prometheus: Prometheus, number: signal.Signals
) -> None:
    with Run(tmp_path, "metrics", prometheus.url, *ENDLESS) as run:
        workers = started_workers(run)
        everyone = children(run.pid)
        time.sleep(1.2)  # so that it has told how far it is
        os.kill(workers[1], number)
        killed_s = time.monotonic()
        result = run.result(SOON_S)
        assert time.monotonic() - killed_s < SOON_S
    assert result.code == 70, result.said
    assert (result.report["exit_code"], result.report["verdict"]) == (70, "unknown")
    (fault,) = result.report["faults"]
    assert fault.startswith(f"worker 1 died (killed by {number.name}) in cycle 0")
    assert fault in result.stderr
    assert f"fault: {fault}" in result.stdout
    assert "Traceback" not in result.stderr
    (cycle,) = result.report["cycles"]
    assert cycle["verdict"] == "unknown"
    assert [worker["worker"] for worker in cycle["workers"]] == [0, 1]
    assert {worker["pid"] for worker in cycle["workers"]} == set(workers)
    # what both had told is kept
    assert all(worker["write"]["samples_acked"] > 0 for worker in cycle["workers"])
    assert result.report["finished_at"] is not None
    gone(everyone)


@pytest.mark.prometheus
def test_a_worker_killed_while_reading(tmp_path: Path, prometheus: Prometheus) -> None:
    reading = threading.Event()

    async def slow(_number: int, forward: Forward) -> Answer:
        reading.set()
        answer = await forward()
        # as a wait of a thread would hold up the proxy, it is the answers that wait
        for _ in range(600):
            if released.is_set():
                break
            await _pause()
        return answer

    released = threading.Event()
    with (
        Proxy(prometheus.url, read=slow) as proxy,
        Run(tmp_path, "metrics", proxy.url, *CYCLES) as run,
    ):
        workers = started_workers(run)
        everyone = children(run.pid)
        assert reading.wait(SOON_S)
        run.wait_for("cycle 0: read phase begins")
        os.kill(workers[0], signal.SIGKILL)
        released.set()
        result = run.result(SOON_S)
    assert result.code == 70, result.said
    assert result.report["verdict"] == "unknown"
    (fault,) = result.report["faults"]
    assert fault.startswith("worker 0 died (killed by SIGKILL) in cycle 0")
    assert result.report["cycles"][0]["write"]["samples_acked"] == 20 * 2 * 5
    assert "read" in result.report["cycles"][0]
    gone(everyone)


async def _pause() -> None:
    import asyncio  # noqa: PLC0415

    await asyncio.sleep(0.05)


def test_a_worker_that_fails_says_why(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "enter_worker", broken_worker)
    report = run_engine(run_config(prometheus.url, n_workers=2))
    assert report.exit_code is ExitCode.INTERNAL
    assert report.verdict is Verdict.UNKNOWN
    assert len(report.faults) in (1, 2)
    assert report.faults[0].endswith("failed: ZeroDivisionError: broken by a test")
    assert not multiprocessing.active_children()


def test_a_generator_that_fails_says_why(prometheus: Prometheus) -> None:
    config = run_config(prometheus.url, compressability=None)
    report = run_engine(config)
    assert report.exit_code is ExitCode.INTERNAL
    assert report.verdict is Verdict.UNKNOWN
    (fault,) = report.faults
    assert fault.startswith("worker 0 failed: ")
    assert not multiprocessing.active_children()


def test_a_worker_that_hangs_is_given_up(prometheus: Prometheus) -> None:
    class Stopper(SilentView):
        """Stops a worker in the middle of the write phase."""

        pids: list[int]

        def phase_began(self, cycle: int, phase: Phase) -> None:
            if phase is Phase.WRITE:
                found = [child for child in multiprocessing.active_children() if child.pid]
                self.pids = [child.pid or 0 for child in found]
                hung = next(child for child in found if child.name == "looker-worker-1")
                os.kill(hung.pid or 0, signal.SIGSTOP)

    view = Stopper()
    config = run_config(
        prometheus.url, n_workers=2, stop_after_n_fragments=None, stop_after_n_seconds=300.0
    )
    began_s = time.monotonic()
    report = run_engine(config, view=view, hang_s=8.0)
    assert time.monotonic() - began_s < SOON_S
    assert report.exit_code is ExitCode.INTERNAL
    assert report.verdict is Verdict.UNKNOWN
    assert report.faults[0].startswith("worker 1 hangs: no sign of life for ")
    assert len(report.faults) == 1
    gone(view.pids)


# --- interruptions -----------------------------------------------------------------------------


@pytest.mark.prometheus
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_reports_what_it_has(
    tmp_path: Path, prometheus: Prometheus, number: signal.Signals
) -> None:
    with Run(tmp_path, "metrics", prometheus.url, *ENDLESS) as run:
        started_workers(run)
        everyone = children(run.pid)
        time.sleep(0.5)
        run.send(number)
        result = run.result(SOON_S)
    assert result.code == 130, result.said
    report = result.report
    assert (report["exit_code"], report["interrupted"]) == (130, True)
    assert report["verdict"] == "unknown"
    assert report["faults"] == []
    assert result.write["samples_acked"] > 0
    assert result.write["pushes_acked"] * 5 == result.write["samples_acked"]
    assert f"{number.name}: ending the run" in result.stderr
    assert "interrupted" in result.stdout
    assert "Traceback" not in result.stderr
    gone(everyone)


@pytest.mark.prometheus
def test_finished_cycles_are_kept_when_interrupted(tmp_path: Path, prometheus: Prometheus) -> None:
    with Run(tmp_path, "metrics", prometheus.url, *CYCLES) as run:
        run.wait_for("cycle 2: passed")
        run.send(signal.SIGINT)
        result = run.result(SOON_S)
    assert result.code == 130, result.said
    cycles = result.report["cycles"]
    assert [cycle["cycle"] for cycle in cycles] == list(range(len(cycles)))
    assert len(cycles) >= 3
    for cycle in cycles[:3]:
        assert cycle["verdict"] == "passed"
        assert cycle["read"]["samples_validated"] == 200
    total = sum(cycle["write"]["samples_acked"] for cycle in cycles)
    assert result.report["totals"]["write"]["samples_acked"] == total


@pytest.mark.prometheus
def test_an_interruption_by_the_terminal_reaches_all_processes(
    tmp_path: Path, prometheus: Prometheus
) -> None:
    """Ctrl-C sends SIGINT to the whole foreground group."""
    with Run(tmp_path, "metrics", prometheus.url, *ENDLESS) as run:
        started_workers(run)
        os.killpg(run.pid, signal.SIGINT)
        result = run.result(SOON_S)
    assert result.code == 130, result.said
    assert result.report["faults"] == []
    assert "Traceback" not in result.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("embedded", "delay_s"),
    [
        (False, 0.0),
        (False, 0.15),
        (False, 0.3),
        (False, 0.4),
        (False, 0.6),
        (True, 0.3),
        (True, 0.5),
    ],
)
def test_an_interruption_while_starting(
    tmp_path: Path, prometheus: Prometheus, embedded: bool, delay_s: float
) -> None:
    url = [] if embedded else [prometheus.url]
    for _ in range(5):
        with Run(tmp_path, "metrics", *url, *ENDLESS) as run:
            wait_until(lambda run=run: run.is_python, "the interpreter runs")
            time.sleep(delay_s)
            os.killpg(run.pid, signal.SIGINT)
            result = run.result(SOON_S)
            everyone = children(run.pid)
        # while Python imports site and runpy, the signal is an error of Python's: not yet Looker's
        if not any(said in result.stderr for said in ("init_import_site", "import runpy module")):
            break
    # before anything of Looker's runs, Python itself ends with the signal
    assert result.code in (130, -signal.SIGINT), result.said
    if result.code == 130 and not embedded:
        # the embedded target does not yet ignore SIGINT while its interpreter starts
        assert "Traceback" not in result.stderr
    gone(everyone)


def test_the_second_interruption_ends_at_once(tmp_path: Path, target: str) -> None:
    async def silent(_number: int, _forward: Forward) -> Answer:
        for _ in range(2000):
            await _pause()
        return Answer(503)

    with (
        Proxy(target, push=silent) as proxy,
        Run(tmp_path, "logs", proxy.url, "--n-concurrent-streams", "20", "--n-workers", "2") as run,
    ):
        started_workers(run)
        everyone = children(run.pid)
        wait_until(lambda: proxy.n_pushes, "a push is on the wire")
        run.send(signal.SIGINT)
        run.wait_for("SIGINT: ending the run")
        run.send(signal.SIGINT)
        second_s = time.monotonic()
        result = run.result(SOON_S)
        # a worker that is told to stop is given 10 s, with 5 s for requests in flight
        assert time.monotonic() - second_s < 9
    assert result.code == 130, result.said
    assert result.report["interrupted"] is True
    assert result.report["verdict"] == "unknown"
    assert result.write["samples_acked"] == 0 if result.report["cycles"] else True
    assert "Traceback" not in result.stderr
    gone(everyone)


def test_pushes_on_the_wire_are_given_up_after_some_seconds(tmp_path: Path, target: str) -> None:
    async def silent(_number: int, _forward: Forward) -> Answer:
        for _ in range(2000):
            await _pause()
        return Answer(503)

    with (
        Proxy(target, push=silent) as proxy,
        Run(tmp_path, "logs", proxy.url, "--n-concurrent-streams", "4", "--n-workers", "1") as run,
    ):
        wait_until(lambda: proxy.n_pushes == 4, "all writers push")
        run.send(signal.SIGINT)
        result = run.result(SOON_S)
    assert result.code == 130, result.said
    # what was on the wire may be stored
    assert result.write["pushes_unresolved"] == 4
    assert result.write["pushes_rejected"] == result.write["samples_acked"] == 0
    assert result.report["faults"] == []


# --- the coordinator dies ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_nothing_survives_a_killed_coordinator(tmp_path: Path, mode: str) -> None:
    with Run(
        tmp_path,
        mode,
        *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5"),
        *("--n-workers", "2", "--stop-write-after-n-seconds", "300"),
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        # the embedded target, two workers
        assert len(spawned(run.pid)) == 3
        everyone = children(run.pid)
        time.sleep(0.5)
        run.send(signal.SIGKILL)
        assert run.result(SOON_S).code == -signal.SIGKILL
        gone(everyone, within_s=15.0)


def test_nothing_survives_a_run_that_ends_well(tmp_path: Path) -> None:
    with Run(tmp_path, "logs", "--n-concurrent-streams", "4", "--n-workers", "2") as run:
        run.wait_for("cycle 0: write phase begins")
        everyone = children(run.pid)
        assert run.result(SOON_S).code == 0
        gone(everyone)


def n_cycles_saved(run: Run) -> int:
    return sum(
        len(json.loads(path.read_text(encoding="utf-8"))["cycles"])
        for path in run.directory.glob("*.json")
    )


def test_the_report_of_finished_cycles_survives_a_kill(tmp_path: Path, target: str) -> None:
    with Run(
        tmp_path,
        *("logs", target, "--n-concurrent-streams", "4", "--n-workers", "1"),
        *("--n-entries-per-stream-fragment", "5", "--n-cycles", "0"),
        *("--stop-write-after-n-fragments-per-stream", "2"),
    ) as run:
        run.wait_for("cycle 2: write phase begins")
        # how often it is written depends on how long that takes
        wait_until(lambda: n_cycles_saved(run) >= 2, "two cycles are in the report")
        run.send(signal.SIGKILL)
        result = run.result(SOON_S)
    assert result.code == -signal.SIGKILL
    # saving is paced, so the newest cycles may be wanting
    first, *_ = result.report["cycles"]
    assert first["read"]["samples_validated"] == 40
    # field case 40: what was killed has not passed
    assert result.report["finished"] is False
    assert (result.report["verdict"], result.report["exit_code"]) == ("unknown", None)
    # a file left half written would lie beside it
    assert len(list(run.directory.glob("*.report.json"))) == 1
