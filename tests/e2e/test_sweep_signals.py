"""Ending a sweep at once, and what is left then: field case 50."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from servers import Run, children, free_port, is_running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = "import os, signal, time; os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def pid_of(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text(), f"{path.name} is there")
    return int(path.read_text())


@pytest.mark.parametrize("when", ["stop", "run", "ready"])
def test_a_second_signal_ends_a_sweep_at_once_and_nothing_is_left(
    tmp_path: Path, when: str
) -> None:
    """The server has a child with a session of its own that ignores SIGTERM; stop hangs."""
    port = free_port()
    child = tmp_path / "child.py"
    child.write_text(
        f"{STUBBORN}\nopen({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(1000)\n"
    )
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        f"{STUBBORN}\nopen({str(tmp_path / 'stop')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(1000)\n"
    )
    file = tmp_path / "sweep.toml"
    served = "sleep 1000" if when == "ready" else f"{sys.executable} -m looker target --port {port}"
    stop = f'stop = "{sys.executable} {hangs} & wait"' if when == "stop" else ""
    file.write_text(
        f"""
repeats = 2
[base]
mode = "logs"
n_concurrent_streams = 4
n_entries_per_stream_fragment = 10
stop_write_after_n_seconds = {300 if when == "run" else 1}
[[targets]]
name = "a"
url = "http://127.0.0.1:{port}"
serve = "{sys.executable} {child} & {served}"
{stop}
"""
    )
    with Run(tmp_path, "sweep", str(file), "--out", str(tmp_path / "out")) as run:
        pids = [pid_of(tmp_path / "child")]
        if when == "stop":
            pids.append(pid_of(tmp_path / "stop"))
        elif when == "run":
            wait_until(
                lambda: [pid for pid in children(run.pid) if len(children(pid)) >= 1],
                "something runs",
            )
        pids += children(run.pid)
        run.send(signal.SIGINT)
        run.wait_for("SIGINT: ending the sweep")
        run.send(signal.SIGINT)
        # a server that does not listen would have 60 s, a stop command 600 s
        result = run.result(30.0)
    assert result.code == 130, result.said
    assert "Traceback" not in result.stderr
    wait_until(lambda: not any(map(is_running, pids)), "nothing is left", 10.0)
