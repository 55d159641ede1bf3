"""What benchmarks start and measure: runs of the command line, bare clients, /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from servers import Run, embedded_target, spawned

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from servers import Result

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_POLL_S: Final = 0.01
_LOOK_S: Final = 0.2
_LIMIT_S: Final = 600.0


def own_target(tmp_path: Path, *arguments: str) -> AbstractContextManager[str]:
    """Run ``looker target`` as a user does: its memory is its own."""
    return embedded_target(tmp_path, *arguments, start=Run)


def null_target(tmp_path: Path) -> AbstractContextManager[str]:
    """Run ``looker target --mode null``: it reads bodies, and throws them away."""
    return own_target(tmp_path, "--mode", "null")


def run_looker(tmp_path: Path, *arguments: str) -> Result:
    """Run the command line with one worker unless told otherwise; it must end well."""
    with started(tmp_path, *arguments) as run:
        return ended_well(run)


def started(tmp_path: Path, *arguments: str) -> Run:
    """Start the command line."""
    if "--n-workers" not in arguments:
        arguments = (*arguments, "--n-workers", "1")
    return Run(tmp_path, *arguments)


def ended_well(run: Run) -> Result:
    result = run.result(_LIMIT_S)
    assert result.code == 0, result.said
    return result


def cpu_per_push_ms(write: dict[str, Any]) -> float:
    """Return the CPU time of the workers per push of a write phase, from the report."""
    return 1000 * float(write["cpu_s"]) / int(write["pushes_acked"])


def paired(
    rounds: int, measured: Callable[[], float], reference: Callable[[], float]
) -> tuple[float, float]:
    """Return the medians of figures that were taken in turn, round by round."""
    pairs = [(measured(), reference()) for _ in range(rounds)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


class BareClient:
    """Pushes over one blocking socket: the least that a client can do."""

    def __init__(self, url: str, path: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def push(self, body: bytes | memoryview) -> None:
        """Send a body and read the answer, which must be good and have no body."""
        self._socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode())
        self._socket.sendall(body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 20"), answer


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory_bytes(pid: int, name: str) -> int:
    """Return a size from a process's status: VmRSS, resident now, or VmHWM, its peak."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


@dataclass(eq=False)
class MemoryWatch:
    """Reads the memory of a run's processes every 10 ms, in a thread.

    ``resident`` has the worker's size, sample by sample, with the time (monotonic, s); ``peaks``
    the largest size of each process.
    """

    run: Run
    resident: list[tuple[float, int]] = field(default_factory=list)
    peaks: dict[int, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        workers: list[int] = []
        looked_at = 0.0
        while not self._over.wait(_POLL_S):
            if time.monotonic() > looked_at + _LOOK_S:
                # later than the last look, as workers start one after the other
                workers = [*dict.fromkeys([*workers, *spawned(self.run.pid)])]
                looked_at = time.monotonic()
            for pid in (self.run.pid, *workers):
                # a process that ends has no status any more
                with contextlib.suppress(OSError, StopIteration):
                    self.peaks[pid] = memory_bytes(pid, "VmHWM")
            if workers:
                with contextlib.suppress(OSError, StopIteration):
                    now = time.monotonic()
                    self.resident.append((now, memory_bytes(workers[0], "VmRSS")))
