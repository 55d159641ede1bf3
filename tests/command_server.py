"""The command line, forked from a process that has imported all of it already.

A fresh interpreter takes half a second of CPU time to import what a run needs; there are hundreds
of runs in the tests. One server per pytest process forks them instead. A run is a session of its
own with the streams, directory, environment and arguments that it is given, ends as an interpreter
does, and starts its own processes afresh, as ever.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import multiprocessing.process
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import looker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER: Final = struct.Struct("=i")
_MAX_REQUEST: Final = 1 << 20
_N_FILES: Final = 3
_SERVE: Final = (
    "import sys; sys.path[0] = sys.argv[1]; import command_server; command_server.serve()"
)
_OF_INTERPRETER: Final = ("PYTHON", "LANG", "LC_")
"""How the variables begin that an interpreter reads when it starts."""


# --- the server -------------------------------------------------------------------------------


def serve() -> None:
    """Fork a command line for each request; end, with all of them, when nobody can ask any more.

    Standard input is a socket: a message for each request, with the files for standard output,
    error, and a pipe; into this go a process id and, when the process has ended, its exit code.
    """
    for module in pkgutil.walk_packages(looker.__path__, "looker."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    n_threads = len(list(Path("/proc/self/task").iterdir()))
    assert n_threads == 1, f"{n_threads} threads: a fork would have one of them only"
    gc.collect()
    gc.freeze()
    _become(*_next_child(socket.socket(fileno=0)))
    from looker.cli.entry import main  # noqa: PLC0415 - as python -m looker does

    main()


def _next_child(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Serve; return, in each child, what it is asked to do and its files."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready, _, _ = select.select([control, *running], [], [])
        for ended in running.keys() & set(ready):
            _bury(ended, *running.pop(ended))
        if control not in ready:
            continue
        message, files, _, _ = socket.recv_fds(control, _MAX_REQUEST, _N_FILES)
        if not message:
            break
        *streams, pipe = files
        pid = os.fork()
        if pid == 0:
            control.detach()
            for ended, (_, other) in running.items():
                os.close(ended)
                os.close(other)
            os.close(pipe)
            return json.loads(message), streams
        for descriptor in streams:
            os.close(descriptor)
        running[os.pidfd_open(pid)] = pid, pipe
        _tell(pipe, pid)
    for ended, (pid, pipe) in running.items():
        # its session's group, which it may not have yet
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        _bury(ended, pid, pipe)
    sys.exit(0)


def _bury(ended: int, pid: int, pipe: int) -> None:
    """Wait for a child, tell its exit code, and close its files."""
    _tell(pipe, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(pipe)
    os.close(ended)


def _tell(pipe: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, _NUMBER.pack(number))


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Make this process what a fresh interpreter would be."""
    os.setsid()
    os.chdir(request["directory"])
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([null, *streams]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv[:] = [str(Path(looker.__path__[0], "__main__.py")), *request["arguments"]]
    sys.path[0] = request["directory"]
    # where a child process begins
    multiprocessing.process.ORIGINAL_DIR = request["directory"]  # type: ignore[attr-defined]


# --- who asks it ------------------------------------------------------------------------------


class CommandServer:
    """Starts command lines; the process that forks them ends with this one."""

    def __init__(self) -> None:
        self._environment = _of_interpreter(os.environ)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(Path(__file__).parent)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                # OpenBLAS would begin threads
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> int:
        """End it, and all that it runs; returns its exit code."""
        self._control.close()
        return self._process.wait()

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter with this environment would start as the server has."""
        return _of_interpreter(environment) == self._environment

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        streams: tuple[IO[bytes], IO[bytes]],
    ) -> Forked:
        """Start ``looker`` with arguments; ``streams`` are standard output and error."""
        request = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": dict(environment),
        }
        reader, writer = os.pipe()
        try:
            files = [*(stream.fileno() for stream in streams), writer]
            socket.send_fds(self._control, [json.dumps(request).encode()], files)
        finally:
            os.close(writer)
        return Forked(arguments, reader)


class Forked:
    """A process that the server has forked, as ``subprocess.Popen`` shows one."""

    def __init__(self, arguments: Sequence[str], pipe: int) -> None:
        self._arguments = ["looker", *arguments]
        self._pipe = open(pipe, "rb", buffering=0)  # noqa: SIM115 - until it has ended
        self.pid = self._told()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; TimeoutExpired if the process has not ended by then."""
        if self.returncode is None:
            if not select.select([self._pipe], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
            self.returncode = self._told()
            self._pipe.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _told(self) -> int:
        told = self._pipe.read(_NUMBER.size)
        assert len(told) == _NUMBER.size, "the server of the command line has ended"
        number: int = _NUMBER.unpack(told)[0]
        return number


@functools.cache
def command_server() -> CommandServer:
    """Return the server of this process, starting it when it is first needed."""
    server = CommandServer()
    atexit.register(server.close)
    return server


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(_OF_INTERPRETER)}
