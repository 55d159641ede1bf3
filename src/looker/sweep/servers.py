"""Bringing a sweep's targets up and down, by the commands that its file gives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from looker.errors import TargetError
from looker.model.url import redacted
from looker.sweep import serve
from looker.sweep.store import log_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from looker.sweep.definition import SweepTarget

READY_PATHS: Final = ("/ready", "/-/ready")
"""Loki, Cortex and Mimir answer the first, Prometheus the second."""
COMMAND_LIMIT_S: Final = 600.0
"""A start, stop or reset command that takes longer is ended."""
STOP_LIMIT_S: Final = 60.0
"""A server that ``serve`` runs is killed if it has not ended so long after SIGTERM."""
_POLL_S: Final = 0.1


class Stopped(Exception):  # noqa: N818 - no error: the user wants an end
    """The sweep is to end."""


class Server:
    """One target for the time of one run; ``log`` takes what its commands print.

    What fails raises TargetError, which says what, and Stopped as soon as ``stopped`` says so.
    """

    def __init__(
        self,
        target: SweepTarget,
        log: Path,
        is_ready: Callable[[Sequence[str]], bool],
        stopped: Callable[[], bool],
        lock_fd: int | None = None,
    ) -> None:
        """``is_ready`` tells whether one of the URLs answers with success.

        A server that ``serve`` runs holds ``lock_fd`` as long as it lives.
        """
        self._target = target
        self._log = log
        self._is_ready = is_ready
        self._stopped = stopped
        self._lock_fds = () if lock_fd is None else (lock_fd,)
        self._served: subprocess.Popen[bytes] | None = None

    def bring_up(self) -> None:
        """Reset and start the target, and wait until it is ready."""
        target = self._target
        if target.reset is not None:
            self._command("reset", target.reset)
        if target.start is not None:
            self._command("start", target.start)
        if target.serve is not None:
            # it ends when the sweep does, however that does
            words = [sys.executable, "-I", "-S", serve.__file__, target.serve, str(os.getpid())]
            self._served = self._spawn(target.serve, words, self._lock_fds)
        if target.is_started or target.ready_url is not None:
            self._wait_until_ready()

    def fault(self) -> str | None:
        """Say how the server that the sweep runs has ended; None while it has not."""
        if self._served is None or self._served.poll() is None:
            return None
        return f"the server {_ended(self._served.returncode)}{self._said()}"

    def bring_down(self) -> None:
        """Stop the target; TargetError where that fails."""
        if self._target.stop is not None:
            # also where the sweep is to end: what was started is stopped
            self._command("stop", self._target.stop, stopped=lambda: False)
        served, self._served = self._served, None
        if served is None or served.poll() is not None:
            return
        served.terminate()
        try:
            served.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            _kill(served)
            raise TargetError(
                f"the server did not end within {STOP_LIMIT_S:.0f} s of SIGTERM: it was killed"
            ) from None

    def _command(self, name: str, command: str, stopped: Callable[[], bool] | None = None) -> None:
        process = self._spawn(command, ["/bin/sh", "-c", command])
        deadline = time.monotonic() + COMMAND_LIMIT_S
        while process.poll() is None:
            if (stopped or self._stopped)():
                _kill(process)
                raise Stopped
            if time.monotonic() > deadline:
                _kill(process)
                raise TargetError(f"{name}: took longer than {COMMAND_LIMIT_S:.0f} s: {command}")
            time.sleep(_POLL_S)
        if process.returncode:
            raise TargetError(f"{name}: {command!r} {_ended(process.returncode)}{self._said()}")

    def _wait_until_ready(self) -> None:
        target = self._target
        urls = [target.ready_url] if target.ready_url else _ready_urls(target.options["url"])
        deadline = time.monotonic() + target.ready_timeout_s
        while not self._is_ready(urls):
            if self._stopped():
                raise Stopped
            fault = self.fault()
            if fault is not None:
                raise TargetError(fault)
            if time.monotonic() > deadline:
                raise TargetError(
                    f"not ready {target.ready_timeout_s:g} s after its start: no success from"
                    f" {' or '.join(map(redacted, urls))}{self._said()}"
                )
            time.sleep(_POLL_S)
        fault = self.fault()
        if fault is not None:
            # another server answers at its address
            raise TargetError(fault)

    def _spawn(
        self, command: str, words: Sequence[str], pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            log.write(f"$ {command}\n".encode())
            log.flush()
            return subprocess.Popen(  # noqa: S603 - the user's own commands
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # a Ctrl-C is for the sweep, which ends its servers in order
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def _said(self) -> str:
        tail = log_tail(self._log)
        return "" if tail is None or tail.startswith("$ ") else f": {tail}"


def _ready_urls(url: str) -> list[str]:
    base = url.rstrip("/")
    return [base + path for path in READY_PATHS]


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _kill(process: subprocess.Popen[Any]) -> None:
    """End a command and what it has started: it is the first of its own session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
