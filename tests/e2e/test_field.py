"""What happens in the field: servers that are killed, full disks, dead processes, clocks that jump.

Real servers where there are any; each test says what is right, and that nothing else is claimed.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.clock import SystemClock
from looker.engine import pool
from looker.errors import ExitCode
from looker.model.config import Mode
from looker.model.verdict import Verdict
from looker.target.config import TargetConfig
from looker.target.server import serving
from servers import (
    Answer,
    Prometheus,
    Proxy,
    Run,
    children,
    embedded_target,
    is_running,
    looker,
    run_config,
    run_engine,
    separate_prometheus,  # noqa: F401 - a fixture
    spawned,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from looker.engine.messages import WorkerPlan
    from looker.engine.run_report import RunReport
    from servers import Forward, Result

SOON_S: Final = 60.0
BY_THEMSELVES_S: Final = 5.0
"""How soon all that a run has started must have ended when the coordinator is killed."""
STREAMS: Final = ("--n-concurrent-streams", "20", "--n-workers", "2")
SMALL: Final = (
    *("--n-concurrent-streams", "4", "--n-workers", "1", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2"),
)
RETRIES: Final = (
    *("--retry-post-min-delay-seconds", "0.1", "--retry-post-max-delay-seconds", "0.3"),
    "--retry-post-deadline-seconds",
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def no_mismatch(result: Result) -> bool:
    return not any(result.read["mismatches"].values())


# --- Prometheus is killed, or away for a while -------------------------------------------------


@pytest.mark.prometheus
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_prometheus_goes_and_comes_back_while_it_is_written_to(
    tmp_path: Path, own_prometheus: Prometheus, number: signal.Signals
) -> None:
    """What it acknowledged is in its log before it says so: not even SIGKILL loses any of it."""
    with Run(
        tmp_path,
        *("metrics", own_prometheus.url, *STREAMS, "--n-entries-per-stream-fragment", "5"),
        *("--stop-write-after-n-seconds", "6", "--metrics-time-increment-ms", "1"),
        *(*RETRIES, "60"),
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        time.sleep(1.0)
        for _ in range(2):
            own_prometheus.end(number)
            time.sleep(0.7)
            own_prometheus.start()
        result = run.result(SOON_S)
    assert result.code == 0, result.said
    write, read = result.write, result.read
    assert result.report["verdict"] == "passed"
    assert write["pushes_retried"] > 0
    assert write["responses_by_status"]["ConnectError"] > 0
    assert write["pushes_rejected"] == write["pushes_unresolved"] == 0
    assert write["samples_acked"] == 5 * write["pushes_acked"] > 0
    assert read["samples_validated"] == read["samples_expected"] == write["samples_acked"]
    assert no_mismatch(result)
    # perhaps stored before the answer was lost: any of them may be there, and those that are, are
    # whole, as one request is one transaction
    n_perhaps = 5 * write["pushes_indeterminate"]
    assert read["samples_indeterminate_found"] <= n_perhaps
    stored = own_prometheus.stored(result.report["invocation_id"])
    n_stored = sum(len(one.values) for one in stored.values())
    assert n_stored == read["samples_validated"] + read["samples_indeterminate_found"]


@pytest.mark.prometheus
def test_prometheus_is_killed_and_started_again_while_it_is_read(
    tmp_path: Path, own_prometheus: Prometheus
) -> None:
    async def killed_once(number: int, forward: Forward) -> Answer:
        if number == 3:
            own_prometheus.end(signal.SIGKILL)
            own_prometheus.start()
        return await forward()

    with Proxy(own_prometheus.url, read=killed_once) as proxy:
        result = looker(
            tmp_path,
            *("metrics", proxy.url, *STREAMS, "--n-entries-per-stream-fragment", "20000"),
            *("--stop-write-after-n-fragments-per-stream", "2", "--metrics-time-increment-ms", "1"),
            *("--max-concurrent-reads", "2"),
        )
    assert proxy.n_reads > 4
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.read["samples_validated"] == result.write["samples_acked"] == 20 * 2 * 20_000
    assert no_mismatch(result)


@pytest.mark.prometheus
def test_prometheus_is_away_for_longer_than_pushes_are_tried(
    tmp_path: Path, own_prometheus: Prometheus
) -> None:
    with Run(
        tmp_path,
        *("metrics", own_prometheus.url, *STREAMS, "--n-entries-per-stream-fragment", "5"),
        *("--stop-write-after-n-seconds", "300", "--metrics-time-increment-ms", "1"),
        *(*RETRIES, "1"),
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        time.sleep(1.0)
        own_prometheus.end(signal.SIGKILL)
        result = run.result(SOON_S)
    assert result.code == 3, result.said
    write, report = result.write, result.report
    assert (report["verdict"], report["exit_code"]) == ("unknown", 3)
    assert "given up after" in write["refusal"]
    n_lost = write["pushes_rejected"] + write["pushes_unresolved"]
    assert n_lost > 0
    assert "ConnectError" in result.read["error"]
    assert no_mismatch(result)
    assert "Traceback" not in result.stderr
    # the books are right: all that was acknowledged is there, and no more than was perhaps stored
    own_prometheus.start()
    stored = own_prometheus.stored(report["invocation_id"])
    n_stored = sum(len(one.values) for one in stored.values())
    n_perhaps = 5 * (write["pushes_unresolved"] + write["pushes_indeterminate"])
    assert 0 < write["samples_acked"] <= n_stored <= write["samples_acked"] + n_perhaps


def test_a_server_that_is_away_for_a_while_before_it_is_read(tmp_path: Path, target: str) -> None:
    """Connections are refused at first, as by a server that is being started again."""
    begun: list[float] = []

    async def away(_number: int, forward: Forward) -> Answer:
        begun.append(time.monotonic())
        if begun[-1] - begun[0] < 1.5:
            return Answer(503, b"starting")
        return await forward()

    with Proxy(target, read=away) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL)
    assert result.code == 0, result.said
    assert len(begun) > 4
    assert result.read["samples_validated"] == 40


# --- hostile answers, to a whole run -------------------------------------------------------------

GZIPPED: Final = {"Content-Encoding": "gzip"}
HOSTILE: Final = {
    "deep nesting": Answer(200, b"[" * 3_000_000),
    "a gzip bomb": Answer(200, gzip.compress(bytes(400 << 20), 9), GZIPPED),
    "longer than asked": Answer(200, b" " * (12 << 20)),
    "another place": Answer(307, b"", {"Location": "http://127.0.0.1:9/"}),
    "control characters": Answer(418, b"\x1b[2J\r\n\x07" * 99),
    "always fewer entries": Answer(400),
}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((Mode.LOGS, kind) for kind in HOSTILE),
        *((Mode.METRICS, kind) for kind in ("a gzip bomb", "longer than asked")),
    ],
)
def test_a_hostile_answer_to_a_query_is_never_a_pass(
    tmp_path: Path, target: str, mode: Mode, kind: str
) -> None:
    async def script(number: int, _forward: Forward) -> Answer:
        if kind == "always fewer entries":
            said = "max entries limit per query exceeded, limit > max_entries_limit_per_query"
            return Answer(400, f"{said} ({5000 - number} > {4999 - number})".encode())
        return HOSTILE[kind]

    with Proxy(target, read=script) as proxy:
        report = run_engine(run_config(proxy.url, mode=mode))
        assert proxy.n_reads < 40
    assert (report.exit_code, report.verdict) == (ExitCode.TARGET, Verdict.UNKNOWN)
    assert report.faults == []
    (cycle,) = report.cycles()
    assert cycle.write.samples_acked == 40
    assert cycle.read is not None
    assert cycle.read.error is not None
    assert cycle.read.error.isprintable()
    assert len(cycle.read.error) < 900
    assert cycle.read.findings.n_validated == 0


@pytest.mark.parametrize("kind", ["a gzip bomb", "another place", "control characters"])
def test_a_hostile_answer_to_pushes_is_never_an_acknowledgement(target: str, kind: str) -> None:
    async def script(_number: int, _forward: Forward) -> Answer:
        return HOSTILE[kind]

    with Proxy(target, push=script) as proxy:
        retry = replace(run_config(None).retry, deadline_s=0.5)
        report = run_engine(run_config(proxy.url, mode=Mode.LOGS, retry=retry))
    assert (report.exit_code, report.verdict) == (ExitCode.TARGET, Verdict.UNKNOWN)
    (cycle,) = report.cycles()
    assert cycle.write.samples_acked == 0
    assert cycle.write.refusal is not None
    assert cycle.write.refusal.isprintable()
    assert len(cycle.write.refusal) < 900


def test_a_target_whose_largest_message_is_always_one_less(target: str) -> None:
    """Parts that were to fit, and do not, are halved: not taken off one by one."""
    n_pushes = 0

    async def script(_number: int, _forward: Forward) -> Answer:
        nonlocal n_pushes
        n_pushes += 1
        return Answer(413, b"message larger than max (1000 vs. 999)")

    with Proxy(target, push=script) as proxy:
        config = run_config(proxy.url, mode=Mode.LOGS, n_streams=2000, n_fragments_per_message=2000)
        report = run_engine(config)
    assert (report.exit_code, report.faults) == (ExitCode.TARGET, [])
    assert report.cycles()[0].write.samples_acked == 0
    assert n_pushes < 40


# --- disks that are full -------------------------------------------------------------------------


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that has no room left."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        (directory / "kept.json").write_text('{"an": "older report"}', encoding="utf-8")
        with (directory / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("name", ["new.json", "kept.json"])
def test_a_full_disk_keeps_no_half_report_and_the_verdict_is_told(
    tmp_path: Path, full_disk: Path, target: str, name: str
) -> None:
    result = looker(tmp_path, "logs", target, *SMALL, "--report", str(full_disk / name))
    assert result.code == 74, result.said
    assert "passed: all 40 entries read back exactly as written" in result.stdout
    said = f"cannot write the report {full_disk / name}: No space left on device"
    assert result.stderr.count(said) == 1
    assert "Traceback" not in result.stderr
    assert files_in(full_disk) == {"filler", "kept.json"}
    assert (full_disk / "kept.json").read_text(encoding="utf-8") == '{"an": "older report"}'


def test_a_device_without_room(tmp_path: Path, target: str) -> None:
    result = looker(tmp_path, "logs", target, *SMALL, "--report", "/dev/full")
    assert result.code == 74, result.said
    assert "passed: all 40 entries" in result.stdout
    assert "cannot write the report /dev/full: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


LIMITED: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
sys.argv = ["looker", *sys.argv[1:]]
from looker.cli.main import main
main()
"""


def test_a_limit_of_file_sizes_is_like_a_full_disk(tmp_path: Path, target: str) -> None:
    """The first cycle's report is as large as the last one's: neither is left in part."""
    directory = tmp_path / "reports"
    directory.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-c", LIMITED, "logs", target, *SMALL, "--n-cycles", "2"),
            *("--report", str(directory / "report.json")),
        ],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert done.returncode == 74, done.stdout + done.stderr
    assert "passed: all 80 entries" in done.stdout
    assert done.stderr.count("cannot write the report") == 2
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_in(directory) == set()


# --- a worker dies -------------------------------------------------------------------------------


def test_cycles_before_a_worker_died_are_kept(tmp_path: Path, target: str) -> None:
    with Run(
        tmp_path,
        *("logs", target, *STREAMS, "--n-entries-per-stream-fragment", "5", "--n-cycles", "0"),
        *("--stop-write-after-n-fragments-per-stream", "2"),
    ) as run:
        run.wait_for("cycle 2: passed")
        workers = spawned(run.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        result = run.result(SOON_S)
    assert result.code == 70, result.said
    report = result.report
    assert (report["verdict"], report["exit_code"]) == ("unknown", 70)
    (fault,) = report["faults"]
    cycles = report["cycles"]
    assert fault.startswith("worker 0 died (killed by SIGKILL) in cycle ")
    assert fault.endswith("its part of the run is missing from there on")
    died_in = int(fault.partition("in cycle ")[2].partition(":")[0])
    assert 3 <= died_in <= cycles[-1]["cycle"] + 1
    for cycle in cycles[:3]:
        assert cycle["verdict"] == "passed"
        assert cycle["read"]["samples_validated"] == 20 * 2 * 5
        assert {part["pid"] for part in cycle["workers"]} == set(workers)
    total = sum(cycle["write"]["samples_acked"] for cycle in cycles)
    assert report["totals"]["write"]["samples_acked"] == total
    assert all(cycle["verdict"] != "failed" for cycle in cycles)
    assert f"fault: {fault}" in result.stdout
    wait_until(lambda: not any(map(is_running, workers)), "the workers end", SOON_S)


# --- the coordinator dies ------------------------------------------------------------------------


@pytest.mark.parametrize("doing", ["writing", "waiting to push again", "reading", "starting"])
def test_all_ends_by_itself_when_the_coordinator_is_killed(
    tmp_path: Path, target: str, doing: str
) -> None:
    busy = threading.Event()

    async def push(_number: int, forward: Forward) -> Answer:
        if doing == "waiting to push again":
            busy.set()
            return Answer(503, b"busy", {"Retry-After": "30"})
        return await forward()

    async def read(_number: int, forward: Forward) -> Answer:
        busy.set()
        for _ in range(600 if doing == "reading" else 0):
            await asyncio.sleep(0.1)
        return await forward()

    limit = ("--stop-write-after-n-seconds", "300")
    if doing == "reading":
        limit = ("--stop-write-after-n-fragments-per-stream", "1")
    with (
        Proxy(target, push=push, read=read) as proxy,
        Run(
            tmp_path,
            *("logs", proxy.url, *STREAMS, "--n-entries-per-stream-fragment", "5", *limit),
        ) as run,
    ):
        if doing == "starting":
            wait_until(lambda: spawned(run.pid), "a worker is started", SOON_S)
        else:
            run.wait_for("cycle 0: write phase begins")
        if doing in ("reading", "waiting to push again"):
            assert busy.wait(SOON_S)
        everyone = children(run.pid)
        assert everyone
        run.send(signal.SIGKILL)
        assert run.result(SOON_S).code == -signal.SIGKILL
        wait_until(lambda: not any(map(is_running, everyone)), "all processes end", BY_THEMSELVES_S)


# --- wall time jumps -----------------------------------------------------------------------------

HOUR_S: Final = 3600


class JumpingClock(SystemClock):
    """Wall time jumps by so many seconds, so long after it was asked for first."""

    jumps: tuple[tuple[float, float], ...] = ()
    """(seconds after the first question, seconds ahead of true time from then on)."""

    def __init__(self) -> None:
        self._begun_ns: int | None = None

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, wrong as told."""
        now_ns = self.monotonic_ns()
        if self._begun_ns is None:
            self._begun_ns = now_ns
        offset_s = 0.0
        for after_s, ahead_s in self.jumps:
            if now_ns - self._begun_ns >= after_s * 1e9:
                offset_s = ahead_s
        return super().wall_ns() + int(offset_s * 1e9)


class ForwardClock(JumpingClock):
    """Wall time is set forward by an hour."""

    jumps = ((1.0, HOUR_S),)


class BackwardClock(JumpingClock):
    """Wall time is set back by an hour."""

    jumps = ((1.0, -HOUR_S),)


class CorrectedClock(JumpingClock):
    """Wall time is set back by an hour, and corrected after a second."""

    jumps = ((0.3, -HOUR_S), (1.3, 0.0))


def _worker_with(clock: type[JumpingClock], *arguments: Any) -> None:
    from looker.engine import worker  # noqa: PLC0415 - only in the worker's process
    from looker.engine.pool import enter_worker  # noqa: PLC0415

    worker.SystemClock = clock  # type: ignore[misc]
    enter_worker(*arguments)


def forward_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Be a worker whose wall time is set forward."""
    _worker_with(ForwardClock, plan, commands, results)


def backward_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Be a worker whose wall time is set back."""
    _worker_with(BackwardClock, plan, commands, results)


def corrected_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Be a worker whose wall time is set back for a second."""
    _worker_with(CorrectedClock, plan, commands, results)


def jumping_run(mode: Mode, **changes: Any) -> RunReport:
    with serving(TargetConfig()) as server:
        config = run_config(
            server.url,
            mode=mode,
            step_ns=5_000_000,
            stop_after_n_fragments=None,
            stop_after_n_seconds=3.0,
            **changes,
        )
        report = run_engine(config)
    assert report.verdict is Verdict.PASSED
    assert report.exit_code is ExitCode.PASSED
    assert report.faults == []
    (cycle,) = report.cycles()
    assert cycle.read is not None
    assert cycle.read.findings.n_mismatches == 0
    assert cycle.read.findings.n_validated == cycle.write.samples_acked > 0
    # durations are of the clock that never jumps
    assert 2.5 < cycle.write.times.duration_s < SOON_S
    assert cycle.read.times.duration_s < SOON_S
    return report


def test_wall_time_is_set_forward_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "enter_worker", forward_worker)
    (cycle,) = jumping_run(Mode.LOGS).cycles()
    # every stream continues at the new time, once
    assert cycle.write.forward_leaps == 4
    assert cycle.write.wall_went_back_s == 0


def test_wall_time_is_set_back_while_writing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "enter_worker", backward_worker)
    (cycle,) = jumping_run(Mode.METRICS).cycles()
    assert cycle.write.wall_went_back_s == pytest.approx(HOUR_S, abs=10)
    assert cycle.write.forward_leaps == 0
    # its streams wait for an hour, and the phase ends in time all the same
    assert cycle.write.throttled_s > 1.0
    warnings = [one.message for one in caplog.records if "wall time went back" in one.message]
    assert len(warnings) == 1
    assert "its streams wait until it has caught up" in warnings[0]


def test_streams_go_on_when_wall_time_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "enter_worker", corrected_worker)
    with serving(TargetConfig()) as server:
        # more than fits between the start and now, so that some is written after the correction
        config = run_config(
            server.url, step_ns=5_000_000_000, max_lag_s=60.0, stop_after_n_fragments=3
        )
        config = replace(config, n_samples_per_fragment=1, step_ns=1_000_000_000, min_lag_s=56.0)
        report = run_engine(config)
    (cycle,) = report.cycles()
    assert report.verdict is Verdict.PASSED
    assert cycle.write.samples_acked == 4 * 3
    assert cycle.write.wall_went_back_s == pytest.approx(HOUR_S, abs=10)
    assert cycle.write.times.duration_s < SOON_S
