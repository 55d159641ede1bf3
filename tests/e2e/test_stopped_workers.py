"""Workers that are stopped, or die, in the middle of what they say: field case 49."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from looker.engine import pool
from looker.errors import ExitCode
from looker.model.verdict import Verdict
from looker.target.config import TargetConfig
from looker.target.server import serving
from servers import run_config, run_engine

if TYPE_CHECKING:
    from looker.engine.run_report import RunReport

N_BYTES = 1 << 20
"""Of a message: much more than a pipe holds."""


def _half_message(results: Any, end: signal.Signals) -> None:
    """Send a message, and have this process ended or stopped in the middle of it."""
    from looker.engine.channel import Sender  # noqa: PLC0415 - only in the worker's process
    from looker.engine.messages import WorkerFailed  # noqa: PLC0415

    write = os.write

    def half(descriptor: int, frame: bytes) -> int:
        if len(frame) < N_BYTES:
            return write(descriptor, frame)
        n_written = write(descriptor, frame[: N_BYTES // 2])
        os.kill(os.getpid(), end)
        return n_written

    os.write = half  # type: ignore[assignment]
    Sender(results).put(WorkerFailed(0, "x" * N_BYTES, ""))


def stopped_worker(_plan: object, _commands: object, results: Any) -> None:
    """Be a worker that is stopped in the middle of a message."""
    _half_message(results, signal.SIGSTOP)


def killed_worker(_plan: object, _commands: object, results: Any) -> None:
    """Be a worker that dies in the middle of a message."""
    _half_message(results, signal.SIGKILL)


def torn_worker(_plan: object, _commands: object, results: Any) -> None:
    """Be a worker that ends as if all were well in the middle of a message."""
    os.write(results.fileno(), bytes(7) + b"\x09")


def babbling_worker(_plan: object, _commands: object, results: Any) -> None:
    """Be a worker into whose channel something else writes."""
    os.write(results.fileno(), b"WARNING: what is this?\n")
    signal.pause()


def ran(hang_s: float) -> RunReport:
    with serving(TargetConfig()) as server:
        report = run_engine(run_config(server.url, n_workers=1), hang_s=hang_s)
    assert report.exit_code is ExitCode.INTERNAL
    assert report.verdict is Verdict.UNKNOWN
    return report


def test_a_worker_stopped_in_the_middle_of_a_message_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field case 49: the limit holds."""
    monkeypatch.setattr(pool, "enter_worker", stopped_worker)
    assert ran(2.0).faults[0].startswith("worker 0 hangs: no sign of life for ")


def test_signals_end_a_run_whose_worker_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field case 49: two Ctrl-C end the run at once."""
    monkeypatch.setattr(pool, "enter_worker", stopped_worker)
    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(1.0):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with serving(TargetConfig()) as server:
            report = run_engine(run_config(server.url, n_workers=1))
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert report.interrupted
    assert report.exit_code is ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("worker", "how"),
    [
        (killed_worker, "killed by SIGKILL"),
        (torn_worker, "it ended in the middle of a message"),
        (babbling_worker, "what it sent was no message: it was killed"),
    ],
)
def test_a_torn_message_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch, worker: Any, how: str
) -> None:
    monkeypatch.setattr(pool, "enter_worker", worker)
    assert ran(60.0).faults == [
        f"worker 0 died ({how}) in cycle 0: its part of the run is missing from there on"
    ]
