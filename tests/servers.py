"""What tests start: real servers, the command line, a proxy that misbehaves as told.

The fixtures at its end belong to the modules that import them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from command_server import Forked, command_server
from looker.backend.discovery import discover
from looker.clock import SystemClock
from looker.engine.coordinator import HANG_S, Coordinator
from looker.engine.pool import LocalPool
from looker.model.config import Compressability, Mode, ReadApi, RunConfig
from looker.model.retry import RetryPolicy
from looker.spawning import held_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

    from looker.engine.coordinator import View
    from looker.engine.messages import Phase, WorkerPlan
    from looker.engine.run_report import RunReport
    from looker.model.report import CycleReport
    from looker.model.run_state import RunState

    Forward = Callable[[], Awaitable["Answer"]]
    Script = Callable[[int, Forward], Awaitable["Answer"]]

PATIENCE_S: Final = 60.0
"""How long anything is waited for before a test fails: much longer than it ever takes."""


# --- waiting, processes -----------------------------------------------------------------------


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the first true value of ``condition``."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children, oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat[1] == pid:
                found.append((stat[2], int(entry.name)))
    return [child for _, child in sorted(found)]


def spawned(pid: int) -> list[int]:
    """Return those children that Python's multiprocessing has spawned, oldest first."""
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                found.append(child)
    return found


def is_running(pid: int) -> bool:
    """Whether a process exists, zombies not counted."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Return state, parent and start time of a process; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# --- Prometheus -------------------------------------------------------------------------------


class Prometheus:
    """Debian's Prometheus on a port of its own, with an empty store at first."""

    def __init__(self, directory: Path, config: str = "", *flags: str) -> None:
        self._directory = directory
        self._flags = flags
        self._config = directory / "prometheus.yml"
        self._config.write_text(config, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        for _ in range(3):
            try:
                self.start()
            except OSError:  # somebody else has taken the port meanwhile
                self._port = free_port()
            else:
                return self
        raise AssertionError("prometheus does not start: " + self._log())

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)

    def start(self) -> None:
        """Start it and wait until it is ready; OSError if it ends at once."""
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._directory / 'store'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--web.enable-remote-write-receiver",
                    *self._flags,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_ready, "prometheus is ready")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal, and wait."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        process.wait(PATIENCE_S)

    def get(self, path: str, **parameters: str) -> Any:
        """Return the ``data`` of an answer of its HTTP API."""
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return json.load(answer)["data"]

    def stored(self, invocation_id: str) -> dict[str, Stored]:
        """Return all that is stored of a run, by unique name."""
        result = self.get(
            "/api/v1/query",
            query=f'{{looker_uniquename=~"{invocation_id}-.*"}}[1h]',
            time=f"{time.time():.3f}",
        )["result"]
        names = [one["metric"]["looker_uniquename"] for one in result]
        assert len(set(names)) == len(names), "a name has several series"
        return {
            one["metric"]["looker_uniquename"]: Stored(
                one["metric"],
                [round(float(pair[0]) * 1000) for pair in one["values"]],
                [float(pair[1]) for pair in one["values"]],
            )
            for one in result
        }

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise OSError(self._process.returncode, self._log())
        with contextlib.suppress(OSError):
            url = f"{self.url}/-/ready"
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        return False

    def _log(self) -> str:
        return (self._directory / "prometheus.log").read_text(encoding="utf-8")[-2000:]


@dataclass(frozen=True)
class Stored:
    """A series as Prometheus' query API shows it."""

    labels: dict[str, str]
    times_ms: list[int]
    values: list[float]


def require_prometheus() -> None:
    if shutil.which("prometheus") is not None:
        return
    if os.environ.get("LOOKER_REQUIRE_REAL_SERVERS") == "1":
        pytest.fail("prometheus is not on PATH, and LOOKER_REQUIRE_REAL_SERVERS=1")
    pytest.skip("prometheus is not on PATH")


# --- the command line -------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How a run of the command line ended; ``report`` is {} where none was written."""

    code: int
    stdout: str
    stderr: str
    report: dict[str, Any]
    reports: list[Path]

    @property
    def write(self) -> dict[str, Any]:
        """The write phase of the only cycle."""
        (cycle,) = self.report["cycles"]
        write: dict[str, Any] = cycle["write"]
        return write

    @property
    def read(self) -> dict[str, Any]:
        """The read phase of the only cycle."""
        (cycle,) = self.report["cycles"]
        read: dict[str, Any] = cycle["read"]
        return read

    @property
    def said(self) -> str:
        return f"exit {self.code}\n{self.stdout}\n{self.stderr}"


class Run:
    """The command line as a process of its own, in a new directory."""

    def __init__(self, tmp_path: Path, *arguments: str, **environment: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=tmp_path))
        self._files = {
            name: (self.directory / f".{name}").open("w+b") for name in ("stdout", "stderr")
        }
        self._process = self._start(arguments, {**os.environ, "COLUMNS": "200", **environment})
        self.began_s = time.monotonic()

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | Forked:
        return subprocess.Popen(
            [sys.executable, "-m", "looker", *arguments],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._files["stdout"],
            stderr=self._files["stderr"],
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            pids = [*children(self.pid), self.pid]
            for pid in pids:
                kill_quietly(pid)
            self._process.wait(PATIENCE_S)
        for file in self._files.values():
            file.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_python(self) -> bool:
        """Whether the process runs the interpreter already."""
        return b"looker" in Path(f"/proc/{self.pid}/cmdline").read_bytes()

    def text(self, name: str) -> str:
        return (self.directory / f".{name}").read_text(encoding="utf-8")

    def wait_for(self, words: str) -> None:
        """Wait until the log has said something."""

        def has_said() -> bool:
            assert self._process.poll() is None or words in self.text("stderr"), self.text("stderr")
            return words in self.text("stderr")

        wait_until(has_said, words)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def result(self, timeout_s: float = PATIENCE_S) -> Result:
        """Wait for the end, and return how it was."""
        code = self._process.wait(timeout_s)
        reports = sorted(self.directory.glob("*.json"))
        report = json.loads(reports[0].read_text(encoding="utf-8")) if reports else {}
        return Result(code, self.text("stdout"), self.text("stderr"), report, reports)


class ForkedRun(Run):
    """The same, without what a fresh interpreter costs: for what does not depend on one."""

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | Forked:
        server = command_server()
        if not server.suits(environment):
            return super()._start(arguments, environment)
        streams = self._files["stdout"], self._files["stderr"]
        return server.start(arguments, self.directory, environment, streams)


def looker(tmp_path: Path, *arguments: str, **environment: str) -> Result:
    """Run the command line to its end."""
    with ForkedRun(tmp_path, *arguments, **environment) as run:
        return run.result(120.0)


@contextlib.contextmanager
def embedded_target(tmp_path: Path, *arguments: str, start: type[Run] = ForkedRun) -> Iterator[str]:
    """Run ``looker target`` on a free port; yields its URL."""
    with start(tmp_path, "target", "--port", "0", *arguments) as run:
        run.wait_for("listens at http")
        yield run.text("stderr").split("listens at ")[1].split()[0]
        run.send(signal.SIGTERM)
        assert run.result().code == 0


def run_config(url: str | None, **changes: Any) -> RunConfig:
    """Return the configuration of a small run of metrics, for engines in the test's process."""
    config = RunConfig(
        mode=Mode.METRICS,
        url=url,
        invocation_id=new_id(),
        seed=1,
        n_streams=4,
        n_samples_per_fragment=5,
        n_fragments_per_message=1,
        n_chars_per_line=100,
        compressability=Compressability.MIN,
        stop_after_n_fragments=2,
        stop_after_n_seconds=None,
        n_cycles=1,
        change_streams_every_n_cycles=0,
        skip_read=False,
        read_n_streams=None,
        read_api=ReadApi.AUTO,
        read_grace_s=0.0,
        max_concurrent_writes=4,
        max_concurrent_reads=4,
        step_ns=1_000_000,
        min_lag_s=30.0,
        max_lag_s=120.0,
        n_workers=1,
        align_phases=True,
        tenant=None,
        retry=RetryPolicy(20.0, 0.1, 0.2, 0.5),
        report=None,
        log_level="info",
    )
    return replace(config, **changes)


def new_id() -> str:
    """Return an invocation id that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


class SilentView:
    """Shows nothing of a run."""

    def phase_began(self, cycle: int, phase: Phase) -> None:
        pass

    def progress(self, state: RunState, cycle: int) -> None:
        pass

    def cycle_ended(self, report: CycleReport) -> None:
        pass


class ReadyPool(LocalPool):
    """The same, but its processes begin with all that a worker imports: forked from one that has.

    That costs a tenth of what starting afresh does; runs of the command line start afresh.
    """

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        multiprocessing.set_forkserver_preload(_WORKERS_MODULES)
        context = multiprocessing.get_context("forkserver")
        with held_back({signal.SIGINT, signal.SIGTERM}):
            self._start_all(context, plans)  # type: ignore[arg-type]


_WORKERS_MODULES: Final = [
    f"looker.{module}"
    for module in (
        *("engine.worker", "engine.read_phase", "engine.spot_check", "engine.verify_run"),
        *("generate.logs", "generate.metrics", "verify.modes"),
    )
]


def run_engine(config: RunConfig, *, view: View | None = None, hang_s: float = HANG_S) -> RunReport:
    """Run a configuration with the coordinator in this process."""
    assert config.url is not None
    saved: list[RunReport] = []
    report = Coordinator(
        config,
        discover(config, config.url),
        ReadyPool(),
        SystemClock(),
        environment={},
        view=view or SilentView(),
        save=saved.append,
        hang_s=hang_s,
    ).run()
    assert saved[-1] is report
    return report


# --- workers that are patched before they begin ------------------------------------------------


def impatient_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Be a worker whose requests, and retries of reading, have less time than the product's."""
    from looker.backend import client  # noqa: PLC0415 - only in the worker's process
    from looker.engine.pool import enter_worker  # noqa: PLC0415
    from looker.model.retry import RetryPolicy  # noqa: PLC0415

    client.READ_RETRY = RetryPolicy(1.0, 0.1, 0.2, 0.5)  # type: ignore[misc]
    plan = replace(plan, config=replace(plan.config, request_timeout_s=1.0))
    enter_worker(plan, commands, results)


def broken_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Be a worker that fails as soon as it enters its first cycle."""
    from looker.engine import worker  # noqa: PLC0415 - only in the worker's process
    from looker.engine.pool import enter_worker  # noqa: PLC0415

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("broken by a test")

    worker.Worker._enter_generation = fail  # type: ignore[method-assign]
    enter_worker(plan, commands, results)


# --- a proxy that misbehaves ------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """An answer, of the backend or made up."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


RESET: Final = Answer(status=-1)
"""No answer: the connection is reset."""
STALL: Final = Answer(status=-2)
"""No answer: the connection stays as it is, until the client gives up."""

_PUSHES: Final = ("/write", "/push")
_READS: Final = ("/api/v1/read", "/api/v1/query", "/query_range")
_DROPPED: Final = {"host", "content-length", "accept-encoding", "transfer-encoding", "connection"}


async def honest(_number: int, forward: Forward) -> Answer:
    return await forward()


class Proxy:
    """Forwards to a backend, in a thread; the scripts say what it does with each request.

    A script is called with the number of the push (or read; 0 for other requests), from 0, and a
    function that forwards it and returns the backend's answer (its ``body`` is the request's); it
    returns the answer that the client gets. ``tenants`` and ``authorizations`` are all that
    requests came with.
    """

    def __init__(
        self,
        backend: str,
        *,
        push: Script = honest,
        read: Script = honest,
        other: Script = honest,
    ) -> None:
        self._backend = backend
        self._push, self._read, self._other = push, read, other
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._started = threading.Event()
        self._stopping: asyncio.Event
        self.n_pushes = 0
        self.n_reads = 0
        self.tenants: set[str | None] = set()
        self.authorizations: set[str | None] = set()
        self.url = ""
        self.faults: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(PATIENCE_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.faults:
            raise self.faults[0]

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._main())

    async def _main(self) -> None:
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as session:
            self._session = session
            self._started.set()
            await self._stopping.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.tenants.add(request.headers.get("X-Scope-OrgID"))
        self.authorizations.add(request.headers.get("Authorization"))

        async def forward() -> Answer:
            headers = {
                name: value
                for name, value in request.headers.items()
                if name.lower() not in _DROPPED
            }
            url = self._backend + request.raw_path
            async with self._session.request(
                request.method, URL(url, encoded=True), data=body, headers=headers
            ) as answer:
                kept = {
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() not in _DROPPED
                }
                return Answer(answer.status, await answer.read(), kept)

        forward.body = body  # type: ignore[attr-defined]
        try:
            if request.path.endswith(_PUSHES):
                number, self.n_pushes = self.n_pushes, self.n_pushes + 1
                answer = await self._push(number, forward)
            elif request.path.endswith(_READS) and b"none" not in body:
                number, self.n_reads = self.n_reads, self.n_reads + 1
                answer = await self._read(number, forward)
            else:
                answer = await self._other(0, forward)
        except aiohttp.ClientError:
            answer = RESET
        except Exception as error:
            self.faults.append(error)
            raise
        assert request.transport is not None
        if answer is RESET:
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        elif answer is STALL:
            # ends with the client's connection, or with the proxy
            await self._stopping.wait()
        return web.Response(
            status=max(200, answer.status), body=answer.body, headers=answer.headers
        )


@contextlib.contextmanager
def raw_server(reply: bytes | None) -> Iterator[str]:
    """Serve connections with fixed bytes and close them; None: close without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(PATIENCE_S)
                    sock.recv(65536)
                    if reply is not None:
                        sock.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


# --- fixtures ---------------------------------------------------------------------------------


@pytest.fixture(name="prometheus", scope="module")
def shared_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One Prometheus for all tests of a module that leave it running."""
    require_prometheus()
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(name="own_prometheus")
def separate_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Start a Prometheus of the test's own, which it may end."""
    require_prometheus()
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server
