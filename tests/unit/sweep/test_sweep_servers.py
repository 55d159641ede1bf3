"""Bringing targets up and down by commands."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from looker.errors import TargetError, UsageError
from looker.sweep import servers, store
from looker.sweep.definition import SweepTarget
from looker.sweep.servers import Server, Stopped
from looker.sweep.store import SweepStore
from servers import is_running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def server(
    tmp_path: Path,
    is_ready: Callable[[Sequence[str]], bool] = lambda _urls: True,
    n_signals: Callable[[], int] = lambda: 0,
    **commands: Any,
) -> Server:
    target = SweepTarget("a", {"url": "http://user:secret@127.0.0.1:1/"}, **commands)
    return Server(target, tmp_path / "server.log", is_ready, n_signals)


def test_commands_run_in_order_and_what_they_print_is_kept(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    one = server(
        tmp_path,
        reset=f"echo reset >> {trace}; echo wiped",
        start=f"echo start >> {trace}",
        stop=f"echo stop >> {trace}; echo oh >&2",
    )
    one.bring_up()
    assert trace.read_text().split() == ["reset", "start"]
    assert one.fault() is None
    one.bring_down()
    assert trace.read_text().split() == ["reset", "start", "stop"]
    log = (tmp_path / "server.log").read_text()
    assert "wiped\n" in log
    assert "oh\n" in log
    assert log.count("$ ") == 3


def test_a_target_without_commands_is_taken_as_it_is(tmp_path: Path) -> None:
    def never(_urls: Sequence[str]) -> bool:
        raise AssertionError

    one = server(tmp_path, never)
    one.bring_up()
    one.bring_down()
    assert not (tmp_path / "server.log").exists()


@pytest.mark.parametrize(
    ("commands", "urls"),
    [
        ({"start": "true"}, ["/ready", "/-/ready"]),
        ({"ready_url": "http://127.0.0.1:1/x"}, ["/x"]),
    ],
)
def test_it_is_asked_until_it_is_ready(
    tmp_path: Path, commands: dict[str, str], urls: list[str]
) -> None:
    asked: list[Sequence[str]] = []

    def third_time(urls: Sequence[str]) -> bool:
        asked.append(urls)
        return len(asked) == 3

    server(tmp_path, third_time, **commands).bring_up()
    assert len(asked) == 3
    assert [url.partition("127.0.0.1:1")[2] for url in asked[0]] == urls


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (
            {"start": "echo no disk >&2; exit 3"},
            "start: 'echo no disk >&2; exit 3' ended with exit",
        ),
        ({"start": "echo no disk >&2; exit 3"}, "exit code 3: no disk"),
        ({"reset": "kill -9 $$"}, "was ended by SIGKILL"),
        ({"serve": "no-such-program"}, "the server ended with exit code 127: "),
        ({"serve": "false"}, "the server ended with exit code 1"),
        (
            {"start": "true", "ready_timeout_s": 0.01},
            "not ready 0.01 s after its start: no success from http://***@127.0.0.1:1/ready or",
        ),
    ],
)
def test_what_fails_is_one_line_without_secrets(
    tmp_path: Path, commands: dict[str, Any], words: str
) -> None:
    with pytest.raises(TargetError) as failure:
        server(tmp_path, lambda _urls: False, **commands).bring_up()
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_server_that_ended_while_another_answers_is_noticed(tmp_path: Path) -> None:
    def once_it_ended(_urls: Sequence[str]) -> bool:
        wait_until(one.fault, "it ends")
        return True

    one = server(tmp_path, once_it_ended, serve="false")
    with pytest.raises(TargetError, match="the server ended with exit code 1"):
        one.bring_up()


def test_a_served_server_runs_until_it_is_brought_down(tmp_path: Path) -> None:
    one = server(tmp_path, serve="sleep 1000")
    one.bring_up()
    served = one._served
    assert served is not None
    assert is_running(served.pid)
    assert one.fault() is None
    one.bring_down()
    assert not is_running(served.pid)
    assert served.returncode == -signal.SIGTERM


def test_a_directory_is_held_as_long_as_its_server_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.2)
    held = SweepStore(tmp_path / "out")
    target = SweepTarget("a", {"url": "http://a"}, serve="sleep 1000")
    with held.locked():
        one = Server(target, tmp_path / "log", lambda _urls: True, lambda: 0, held.lock_fd)
        one.bring_up()
    assert held.lock_fd is None
    # as if the sweep had been killed
    with pytest.raises(UsageError, match="another sweep"), SweepStore(tmp_path / "out").locked():
        pass
    one.bring_down()
    with SweepStore(tmp_path / "out").locked():
        pass


def test_one_that_does_not_listen_to_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "STOP_LIMIT_S", 0.2)
    ready = tmp_path / "ready"
    script = f"sh -c 'trap \"\" TERM; touch {ready}; while :; do sleep 0.1; done'"
    one = server(tmp_path, lambda _urls: ready.exists(), serve=script)
    one.bring_up()
    pid = one._served.pid if one._served is not None else 0
    with pytest.raises(TargetError, match="was killed"):
        one.bring_down()
    assert not is_running(pid)


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "COMMAND_LIMIT_S", 0.2)
    pid_file = tmp_path / "pid"
    with pytest.raises(TargetError, match=r"start: took longer than 0 s: sleep 1000"):
        server(tmp_path, start=f"sleep 1000 & echo $! > {pid_file}; wait").bring_up()


@pytest.mark.parametrize("commands", [{"start": "sleep 1000"}, {"serve": "sleep 1000"}])
def test_the_end_of_a_sweep_is_heeded(tmp_path: Path, commands: dict[str, str]) -> None:
    one = server(tmp_path, lambda _urls: False, lambda: 1, **commands)
    with pytest.raises(Stopped):
        one.bring_up()
    served = one._served
    one.bring_down()
    assert served is None or not is_running(served.pid)


def test_what_was_started_is_stopped_though_the_sweep_is_to_end(tmp_path: Path) -> None:
    n_signals = [0]
    one = server(tmp_path, n_signals=lambda: n_signals[0], start="true", stop=f"touch {tmp_path}/x")
    one.bring_up()
    n_signals[0] = 1
    one.bring_down()
    assert (tmp_path / "x").exists()


def test_a_served_server_ends_with_the_sweep_however_that_ends(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from looker.sweep.definition import SweepTarget
from looker.sweep.servers import Server
path = pathlib.Path({str(tmp_path)!r})
one = Server(SweepTarget("a", {{"url": "http://a"}}, serve="sleep 1000"), path / "log",
             lambda urls: True, lambda: 0)
one.bring_up()
(path / "pid.new").write_text(str(one._served.pid))
(path / "pid.new").rename(path / "pid")
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as sweep:
        try:
            wait_until((tmp_path / "pid").exists, "the server runs")
            pid = int((tmp_path / "pid").read_text())
            assert is_running(pid)
        finally:
            sweep.kill()
    wait_until(lambda: not is_running(pid), "the server ends")


SLEEPS = "sh -c 'echo $$ > {pid}; exec sleep 1000'"


@pytest.mark.parametrize(
    "command",
    [
        "exec {sleeps}",
        "WORD=x {sleeps}",
        "cd {path} && {sleeps}",
        "cd {path}; {sleeps} | cat",
        "({sleeps}); true",
        "{sleeps} & wait",
    ],
)
@pytest.mark.parametrize("kill", [False, True])
def test_any_shell_command_is_a_server_and_ends_as_a_whole(
    tmp_path: Path, command: str, kill: bool
) -> None:
    pid_file = tmp_path / "pid"
    words = command.format(sleeps=SLEEPS.format(pid=pid_file), path=tmp_path)
    one = server(
        tmp_path, lambda _urls: pid_file.exists() and bool(pid_file.read_text()), serve=words
    )
    one.bring_up()
    pid = int(pid_file.read_text())
    served = one._served
    assert served is not None
    assert is_running(pid)
    assert one.fault() is None
    if kill:
        os.kill(pid, signal.SIGKILL)
        wait_until(one.fault, "its end is noticed")
    one.bring_down()
    assert not is_running(pid)
    assert not is_running(served.pid)


def test_a_server_has_ended_when_all_that_it_started_has(tmp_path: Path) -> None:
    """A shell ends at once, its children when they have put everything in order."""
    slow = f"trap 'sleep 0.5; touch {tmp_path}/clean; exit' TERM; touch {tmp_path}/up; "
    slow += "sleep 1000 & wait"
    one = server(
        tmp_path, lambda _urls: (tmp_path / "up").exists(), serve=f'sh -c "{slow}" | cat; true'
    )
    one.bring_up()
    one.bring_down()
    assert (tmp_path / "clean").exists()


def descend(tmp_path: Path) -> str:
    """Return a command that is in its own session and does not listen to SIGTERM."""
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; "
    script += "while :; do sleep 0.1; done"
    return f"setsid sh -c {shlex.quote(script)}"


def deep(tmp_path: Path) -> int:
    path = tmp_path / "pid"
    wait_until(path.exists, "it runs")
    return int(path.read_text())


@pytest.mark.parametrize("command", ["{} & wait", "{} & sleep 1000", "({} &) ; sleep 1000"])
@pytest.mark.parametrize("n_signals", [0, 2])
def test_what_a_server_starts_in_another_session_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, n_signals: int
) -> None:
    """Field case 50: a child of serve that calls setsid."""
    if not n_signals:
        monkeypatch.setattr(servers, "STOP_LIMIT_S", 0.5)
    told = [0]
    serve = command.format(descend(tmp_path))
    one = server(tmp_path, n_signals=lambda: told[0], serve=serve)
    one.bring_up()
    pid = deep(tmp_path)
    told[0] = n_signals
    if n_signals:
        one.bring_down()
    else:
        with pytest.raises(TargetError, match="was killed"):
            one.bring_down()
    assert not is_running(pid)


def test_a_stop_that_hangs_ends_at_once_with_the_second_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Field case 50."""
    monkeypatch.setattr(servers, "AT_ONCE_S", 0.2)
    told = [1]

    def signals() -> int:
        # the second one comes when the command is under way
        if (tmp_path / "pid").exists():
            told[0] = 2
        return told[0]

    one = server(tmp_path, n_signals=signals, stop=descend(tmp_path), serve="sleep 1000")
    told[0] = 0
    one.bring_up()
    served = one._served
    told[0] = 1
    with pytest.raises(Stopped):
        one.bring_down()
    assert not is_running(deep(tmp_path))
    assert served is not None
    assert not is_running(served.pid)
    assert "what it should have stopped may still run" in caplog.text


def test_a_server_dies_though_it_does_not_listen_and_the_sweep_is_gone(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from looker.sweep import servers
from looker.sweep.definition import SweepTarget
servers.STOP_LIMIT_S = 0.5
path = pathlib.Path({str(tmp_path)!r})
command = {descend(tmp_path)!r} + " & wait"
one = servers.Server(SweepTarget("a", {{"url": "http://a"}}, serve=command), path / "log",
                     lambda urls: (path / "pid").exists(), lambda: 0)
one.bring_up()
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as sweep:
        try:
            pid = deep(tmp_path)
        finally:
            sweep.kill()
    wait_until(lambda: not is_running(pid), "the server ends")


def test_what_a_start_command_leaves_running_is_left(tmp_path: Path) -> None:
    one = server(tmp_path, start=f"{descend(tmp_path)} &", stop=f"kill -9 $(cat {tmp_path}/pid)")
    one.bring_up()
    pid = deep(tmp_path)
    assert is_running(pid)
    one.bring_down()
    assert not is_running(pid)
