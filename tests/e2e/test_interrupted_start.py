"""SIGTERM and SIGINT while a command starts: 130, no traceback, nothing left behind."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from servers import Run, children, is_running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

ENDLESS: Final = (
    *("logs", "--n-concurrent-streams", "4", "--n-entries-per-stream-fragment", "5"),
    *("--n-workers", "2", "--n-cycles", "0"),
)
SWEEP: Final = """
repeats = 6

[base]
mode = "logs"
n_cycles = 0
n_workers = 1
n_concurrent_streams = 4
"""


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def from_the_first_moment_on(run: Run) -> bool:
    return catches(run.pid, signal.SIGTERM)


def with_its_first_child(run: Run) -> bool:
    return bool(children(run.pid))


def with_the_target(run: Run) -> bool:
    return len(children(run.pid)) > 1


def when_workers_start(run: Run) -> bool:
    return ", seed " in run.text("stderr")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "moment",
    [from_the_first_moment_on, with_its_first_child, with_the_target, when_workers_start],
)
def test_field_case_51_a_signal_while_a_run_starts(
    tmp_path: Path, moment: Callable[[Run], bool], number: signal.Signals
) -> None:
    with Run(tmp_path, *ENDLESS) as run:
        wait_until(lambda: moment(run), moment.__name__)
        left = children(run.pid)
        run.send(number)
        result = run.result()
        assert result.code == 130, result.said
        assert "Traceback" not in result.said
        wait_until(lambda: not any(map(is_running, left)), "its children are gone")
        # what has begun something says how far it came
        assert all(report["interrupted"] for report in [result.report] if report)


@pytest.mark.parametrize("moment", [from_the_first_moment_on, with_its_first_child])
def test_field_case_51_a_signal_while_a_sweep_starts(
    tmp_path: Path, moment: Callable[[Run], bool]
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(SWEEP, encoding="utf-8")
    with Run(tmp_path, "sweep", str(file), "--out", str(tmp_path / "out")) as run:
        wait_until(lambda: moment(run), moment.__name__)
        left = children(run.pid)
        run.send(signal.SIGTERM)
        result = run.result()
        assert result.code == 130, result.said
        assert "Traceback" not in result.said
        wait_until(lambda: not any(map(is_running, left)), "its children are gone")


@pytest.mark.parametrize("words", [("compare", "a", "b"), ("target", "--port", "0")])
def test_field_case_51_every_command_catches_signals_at_once(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    with Run(tmp_path, *words) as run:
        wait_until(lambda: not is_running(run.pid) or from_the_first_moment_on(run), "it has begun")
        run.send(signal.SIGTERM)
        result = run.result()
        # what is over before the signal comes, or serves already, has a code of its own
        assert result.code in (130, {"compare": 2, "target": 0}[words[0]])
        assert "Traceback" not in result.said
