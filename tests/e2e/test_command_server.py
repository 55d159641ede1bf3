"""What tests run the command line with: a forked one is as good as a fresh one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from command_server import CommandServer, command_server
from servers import ForkedRun, Run, children, is_running, spawned, wait_until

if TYPE_CHECKING:
    from servers import Result

SMALL: Final = (
    *("logs", "--n-concurrent-streams", "4", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)


def ended(kind: type[Run], tmp_path: Path, *arguments: str, **environment: str) -> Result:
    with kind(tmp_path, *arguments, **environment) as run:
        assert isinstance(run._process, subprocess.Popen) == (kind is Run)
        return run.result()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["metrics", "--help"], 0),
        (["logs", "http://127.0.0.1:1", "--n-workers", "0"], 2),
        (["verify", "no-such.ledger"], 2),
        (["logs", "http://127.0.0.1:1", "--log-level", "error"], 3),
    ],
)
def test_says_the_same(tmp_path: Path, arguments: list[str], code: int) -> None:
    fresh, forked = (ended(kind, tmp_path, *arguments) for kind in (Run, ForkedRun))
    assert fresh.code == code, fresh.said
    assert (forked.code, forked.stdout, forked.stderr) == (fresh.code, fresh.stdout, fresh.stderr)
    assert fresh.stdout if code == 0 else fresh.stderr.startswith("looker: ")


def test_runs_the_same(tmp_path: Path) -> None:
    fresh, forked = (ended(kind, tmp_path, *SMALL, "--seed", "7") for kind in (Run, ForkedRun))
    assert (forked.code, fresh.code) == (0, 0), forked.said
    for run in (forked, fresh):
        assert run.write["samples_acked"] == run.read["samples_validated"] == 4 * 5 * 2
        assert run.write["pushes_acked"] == 4 * 2
        assert "\npassed: all 40 entries read back exactly as written\n" in run.stdout
    assert forked.report.keys() == fresh.report.keys()


def test_takes_the_environment_of_each_run(tmp_path: Path) -> None:
    told = ended(ForkedRun, tmp_path, *SMALL, LOOKER_SEED="many")
    assert told.code == 2
    assert "many" in told.stderr
    assert ended(ForkedRun, tmp_path, "--version").code == 0
    server = command_server()
    assert server.suits({**os.environ, "COLUMNS": "60"})
    assert not server.suits({**os.environ, "PYTHONIOENCODING": "ascii"})
    assert not server.suits({**os.environ, "LC_ALL": "tr_TR.UTF-8"})


def test_is_a_session_and_has_the_same_files_open(tmp_path: Path) -> None:
    files = {}
    for kind in (Run, ForkedRun):
        with kind(tmp_path, "target", "--port", "0") as run:
            run.wait_for("listens at http")
            assert os.getsid(run.pid) == run.pid != os.getsid(0)
            assert Path(f"/proc/{run.pid}/cwd").resolve() == run.directory.resolve()
            paths = sorted(Path(f"/proc/{run.pid}/fd").iterdir(), key=lambda path: int(path.name))
            names = [str(path.readlink()).replace(str(run.directory), ".") for path in paths]
            files[kind] = [re.sub("[0-9]+", "N", name) for name in names]
            run.send(signal.SIGTERM)
            assert run.result().code == 0
    assert files[ForkedRun] == files[Run]
    assert files[Run][:3] == [os.devnull, "./.stdout", "./.stderr"]
    assert children(command_server().pid) == []


def test_what_hangs_is_killed(tmp_path: Path) -> None:
    with ForkedRun(tmp_path, "logs", *SMALL[1:], "--n-cycles", "0") as run:
        wait_until(lambda: len(spawned(run.pid)) == 2, "target and worker run")
        everyone = [run.pid, *children(run.pid)]
        with pytest.raises(subprocess.TimeoutExpired, match="logs"):
            run.result(0.01)
    assert run._process.returncode == -signal.SIGKILL
    wait_until(lambda: not any(map(is_running, everyone)), "all have ended")


def test_the_server_ends_with_those_who_ask_it(tmp_path: Path) -> None:
    server = CommandServer()
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        run = server.start(["target", "--port", "0"], tmp_path, dict(os.environ), (out, err))
    assert run.poll() is None
    assert server.close() == 0
    assert run.wait() == -signal.SIGKILL
    assert not is_running(run.pid)
