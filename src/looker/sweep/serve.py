"""A process that runs a shell command as a server, and ends with the process that started it.

Run by its path, ``python -I -S serve.py COMMAND PARENT_PID``, as the first process of a group of
its own; it imports nothing of Looker's. SIGTERM, which the kernel sends when the parent is gone
(prctl(2)), is passed on to the group: the shell and all that it has started, as in ``cd data &&
server | tee log``. It ends when all of them have ended, as the shell did.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(command: str, parent: int) -> NoReturn:
    """Run a command until it ends or the process ``parent`` does."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # what a shell leaves behind when it ends becomes a child of this process
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        if not ending:
            # this process is one of them, and is told once more
            ending = True
            os.killpg(0, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    # until the child listens to it in the way a program does
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    shell = os.fork()
    if shell == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.execv("/bin/sh", ["/bin/sh", "-c", command])  # noqa: S606 - the user's own command
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
    code = 0
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            break
        if ended == shell:
            code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
