"""Bringing a sweep's targets up and down, by the commands that its file gives."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from looker.errors import TargetError
from looker.model.url import presentable, redacted
from looker.sweep import supervisor
from looker.sweep.store import log_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from looker.sweep.definition import SweepTarget

LOG = logging.getLogger(__name__)

READY_PATHS: Final = ("/ready", "/-/ready")
"""Loki, Cortex and Mimir answer the first, Prometheus the second."""
COMMAND_LIMIT_S: Final = 600.0
"""A start, stop or reset command that takes longer is ended."""
STOP_LIMIT_S: Final = 60.0
"""A server that ``serve`` runs is killed if it has not ended so long after SIGTERM."""
_LATER_S: Final = 5.0
"""So much later a supervisor does that by itself, should nobody be there to tell it."""
AT_ONCE_S: Final = 2.0
"""How long a stop command may take where the sweep is to end at once."""
_KILL_LIMIT_S: Final = 10.0
_ANSWER_S: Final = 5.0
"""How much longer than it may take to be ready the last answer is waited for."""
_POLL_S: Final = 0.1


class Stopped(Exception):  # noqa: N818 - no error: the user wants an end
    """The sweep is to end."""


class Server:
    """One target for the time of one run; ``log`` takes what its commands print.

    What fails raises TargetError, which says what, and Stopped as soon as the sweep is to end.
    """

    def __init__(
        self,
        target: SweepTarget,
        log: Path,
        is_ready: Callable[[Sequence[str]], bool],
        n_signals: Callable[[], int],
        lock_fd: int | None = None,
    ) -> None:
        """``is_ready`` tells whether one of the URLs answers with success.

        With the first of ``n_signals`` the sweep is to end in order, with the second at once. A
        server that ``serve`` runs holds ``lock_fd`` as long as it lives.
        """
        self._target = target
        self._log = log
        self._is_ready = is_ready
        self._n_signals = n_signals
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
            self._served = self._spawn("serve", target.serve, self._lock_fds)
        if target.is_started or target.ready_url is not None:
            self._wait_until_ready()

    def fault(self) -> str | None:
        """Say how the server that the sweep runs has ended; None while it has not."""
        if self._served is None or self._served.poll() is None:
            return None
        return f"the server {_ended(self._served.returncode)}{self._said()}"

    def bring_down(self) -> None:
        """Stop the target; TargetError where that fails.

        What was started is stopped also where the sweep is to end, but for AT_ONCE_S at most where
        it is to end at once; what the sweep itself runs is killed then.
        """
        try:
            if self._target.stop is not None:
                self._command("stop", self._target.stop, until_n_signals=2, grace_s=AT_ONCE_S)
        finally:
            self._end_served()

    def _end_served(self) -> None:
        served, self._served = self._served, None
        if served is None or served.poll() is not None:
            return
        served.terminate()
        end_s = time.monotonic() + STOP_LIMIT_S
        while served.poll() is None:
            at_once = self._n_signals() > 1
            if at_once or time.monotonic() > end_s:
                self._kill(served)
                if at_once:
                    return
                raise TargetError(
                    f"the server did not end within {STOP_LIMIT_S:.0f} s of SIGTERM: it was killed"
                )
            time.sleep(_POLL_S)
        self._complain_of_what_is_left(served)

    def _command(
        self, name: str, command: str, *, until_n_signals: int = 1, grace_s: float = 0.0
    ) -> None:
        process, shown = self._spawn("command", command), presentable(command)
        begun_s = time.monotonic()
        while process.poll() is None:
            took_s = time.monotonic() - begun_s
            if self._n_signals() >= until_n_signals and took_s >= grace_s:
                self._kill(process)
                if name == "stop":
                    LOG.warning("stop was ended: what it should have stopped may still run")
                raise Stopped
            if took_s > COMMAND_LIMIT_S:
                self._kill(process)
                raise TargetError(f"{name}: took longer than {COMMAND_LIMIT_S:.0f} s: {shown}")
            time.sleep(_POLL_S)
        if process.returncode:
            raise TargetError(f"{name}: {shown!r} {_ended(process.returncode)}{self._said()}")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a command and all that it has started, in other sessions too, at once."""
        process.send_signal(signal.SIGUSR1)
        try:
            process.wait(_KILL_LIMIT_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._complain_of_what_is_left(process)

    def _complain_of_what_is_left(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode == supervisor.UNENDED:
            LOG.warning("what a command started is still there%s", self._said())

    def _wait_until_ready(self) -> None:
        target = self._target
        urls = [target.ready_url] if target.ready_url else _ready_urls(target.options["url"])
        deadline = time.monotonic() + target.ready_timeout_s
        while not self._answers(urls, deadline + _ANSWER_S):
            if self._n_signals():
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

    def _answers(self, urls: Sequence[str], deadline_s: float) -> bool:
        """Ask once whether it is ready; an answer that takes its time holds up no signal."""
        found: list[bool | BaseException] = []

        def ask() -> None:
            try:
                found.append(self._is_ready(urls))
            except BaseException as error:  # noqa: BLE001 - raised below
                found.append(error)

        thread = threading.Thread(target=ask, name="looker-ready", daemon=True)
        thread.start()
        while thread.is_alive() and not self._n_signals() and time.monotonic() < deadline_s:
            thread.join(_POLL_S)
        answer = found[0] if found else False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _spawn(
        self, kind: str, command: str, pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a command, which ends when the sweep does, however that does."""
        # what is to be killed is killed, and told of, by this process as long as it is there
        limit_s = str(STOP_LIMIT_S + _LATER_S)
        words = [supervisor.__file__, kind, command, str(os.getpid()), limit_s]
        with self._log.open("ab") as log:
            log.write(f"$ {presentable(command)}\n".encode())
            log.flush()
            return subprocess.Popen(  # noqa: S603 - the user's own commands
                [sys.executable, "-I", "-S", *words],
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
