"""A process that runs a shell command, and ends all of it when it is told to or its parent ends.

Run by its path, ``python -I -S supervisor.py serve|command COMMAND PARENT_PID LIMIT_S``, as the
first process of a group of its own; it imports nothing of Looker's. What the command starts,
however deep and in whichever session, is below this process or falls to it
(``PR_SET_CHILD_SUBREAPER``, prctl(2)), as in ``cd data && server | tee log``.

SIGTERM, which the kernel sends when the parent is gone, is passed on to all of them; what is there
``LIMIT_S`` seconds later is killed. SIGUSR1 kills all of them at once. A ``serve`` ends when all of
them have ended, a ``command`` when its shell has, as that did; UNENDED where something outlives
SIGKILL, or is not this user's to kill.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import Final, NoReturn

UNENDED: Final = 75
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_TICK_S: Final = 0.5
_KILLED_S: Final = 5.0
"""How long what was killed is waited for: it may hang within the kernel."""
_SIGNALS: Final = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}


def descendants() -> list[int]:
    """Return the process ids of all that runs below this process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - imports little
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - likewise
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state not in b"ZX":
                children.setdefault(int(parent), []).append(int(name))
    found = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _tell_all() -> None:
    """Tell all to end: by groups, as nothing that is just being forked escapes these."""
    groups = {os.getpgrp()}
    for pid in descendants():
        with contextlib.suppress(OSError):
            groups.add(os.getpgid(pid))
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGTERM)


def _kill_all() -> None:
    """Kill all; end this process where that does not do."""
    end_s = time.monotonic() + _KILLED_S
    while left := descendants():
        if time.monotonic() > end_s:
            words = ", ".join(map(str, left))
            sys.stderr.write(f"cannot be ended: process {words}\n")
            sys.stderr.flush()
            os._exit(UNENDED)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _start(command: str) -> int:
    """Start a shell, which ends with this process; return its process id."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # they are waited for: a handler could be called just before a wait that it should end
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    shell = os.fork()
    if shell == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.execv("/bin/sh", ["/bin/sh", "-c", command])  # noqa: S606 - the user's own command
    return shell


def _reaped(shell: int, code: int | None) -> tuple[int | None, bool]:
    """Take leave of what has ended; return the shell's exit code, and whether something is left."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, False
        if ended == 0:
            return code, True
        if ended == shell:
            code = os.waitstatus_to_exitcode(status)


def main(kind: str, command: str, parent: int, limit_s: float) -> NoReturn:
    """Run a command until it ends, or the process ``parent`` does."""
    shell = _start(command)
    kill_at_s: float | None = None
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
    code: int | None = None
    while True:
        code, is_left = _reaped(shell, code)
        if not is_left or (kind == "command" and code is not None and kill_at_s is None):
            break
        told = signal.sigtimedwait(_SIGNALS, _TICK_S)
        now_s = time.monotonic()
        if told is not None and told.si_signo == signal.SIGTERM and kill_at_s is None:
            kill_at_s = now_s + limit_s
            _tell_all()
        if (told is not None and told.si_signo == signal.SIGUSR1) or (
            kill_at_s is not None and now_s > kill_at_s
        ):
            _kill_all()
    if code is not None and code < 0:
        # as the shell did
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.kill(os.getpid(), -code)
    sys.exit(code or 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
