from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import cramjam
import pytest

from looker.errors import TargetError, UsageError
from looker.target.config import TargetConfig
from looker.target.run import TargetProcess
from looker.target.server import running, serving
from looker.wire.proto import loki_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = 1_795_475_977_000_000_000
PUSH = "/loki/api/v1/push"
QUERY = f"/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=0&end={NS + 1}"
PROTO = {"Content-Type": "application/x-protobuf"}


def push_body(line: str = "line") -> bytes:
    message = loki_pb2.PushRequest()
    entry = message.streams.add(labels='{a="b"}').entries.add(line=line)
    entry.timestamp.seconds, entry.timestamp.nanos = divmod(NS, 10**9)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def exchange(url: str, raw: bytes) -> bytes:
    """Send raw bytes, and receive until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(raw)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def request(url: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body, PROTO if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as server:
        yield server.url


def test_push_and_read_back_over_one_connection() -> None:
    with serving() as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        for _ in range(3):
            connection.request("POST", PUSH, push_body("x" * 100_000), PROTO)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (204, b"")
        connection.request("GET", QUERY)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "application/json; charset=UTF-8"
        assert answer.read().count(b"x" * 100_000) == 1
        connection.close()
        assert server.store.budget.held_bytes > 300_000


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    answer = exchange(
        url,
        b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /loki/api/v1/push HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"405"]


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_requests_in_pieces(url: str, step: int) -> None:
    body = push_body()
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    head = b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n"
    raw = (
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"
        + head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    )  # fmt: skip
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(raw), step):
            client.sendall(raw[at : at + step])
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 204 No Content\r\n") == 2


def test_expect_continue(url: str) -> None:
    body = push_body()
    raw = (
        b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: a/b\r\nExpect: 100-continue\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    answer = exchange(url, raw + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (65_536 - 19), b"431"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 104857601\r\n\r\n", b"413"),
        (b"GET /ready HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_what_ends_a_connection(url: str, raw: bytes, status: bytes) -> None:
    answer = exchange(url, raw)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in answer


def test_an_abandoned_request_stores_nothing() -> None:
    with serving() as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
        assert request(server.url, "GET", "/ready") == (200, b"ready\n")
        assert server.store.budget.held_bytes == 0


def test_null_mode_acknowledges_and_holds_nothing() -> None:
    with serving(TargetConfig(mode="null")) as server:
        for path, status in (
            (PUSH, 204),
            ("/api/v1/write", 204),
            ("/api/v1/push", 200),
            ("/prometheus/api/v1/push", 200),
        ):
            for size in (10, 3_000_000):
                assert request(server.url, "POST", path, bytes(size)) == (status, b"")
        assert b'"result":[]' in request(server.url, "GET", QUERY)[1]
        assert request(server.url, "GET", "/api/v1/query?query=m%5B1m%5D")[1] == (
            b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        )
        assert server.store.budget.held_bytes == 0


@pytest.mark.parametrize("mode", ["memory", "null"])
def test_interceptor_sees_and_replaces_answers(mode: str) -> None:
    seen: list[tuple[str, bytes, int, bytes]] = []

    def damage(path: str, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        seen.append((path, body, status, answer))
        return (
            (503, b"broken") if path == PUSH else (status, answer.replace(b"success", b"SUCCESS"))
        )

    body = push_body()
    with serving(TargetConfig(mode=mode), interceptor=damage) as server:  # type: ignore[arg-type]
        assert request(server.url, "POST", PUSH, body) == (503, b"broken")
        status, answer = request(server.url, "GET", QUERY)
        assert status == 200
        assert answer.startswith(b'{"status":"SUCCESS"')
        assert answer.count(b'"line"') == (1 if mode == "memory" else 0)
        assert request(server.url, "GET", "/ready") == (200, b"ready\n")
    assert [(path, status) for path, _, status, _ in seen] == [
        (PUSH, 204),
        (QUERY.partition("?")[0], 200),
    ]
    assert seen[0][1] == body


def test_running_within_a_loop() -> None:
    async def use() -> bytes:
        async with running(TargetConfig()) as url:
            reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
            writer.write(b"GET /ready HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(use()).endswith(b"\r\n\r\nready\n")


def test_a_port_in_use_is_one_clear_line() -> None:
    with serving() as server:
        port = int(server.url.rpartition(":")[2])
        config = TargetConfig(port=port)
        with (
            pytest.raises(TargetError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: .+$") as e,
            serving(config),
        ):
            pass
        assert "\n" not in str(e.value)
        process = TargetProcess(config)
        with pytest.raises(TargetError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: .+$"):
            process.start()
        process.stop()


def test_wrong_settings_are_refused() -> None:
    for setting in (
        {"port": 70_000},
        {"max_memory_mb": 0},
        {"mode": "x"},
        {"like": "mimir"},
    ):
        with pytest.raises(UsageError):
            TargetConfig(**setting)  # type: ignore[arg-type]


def test_target_process_starts_and_stops() -> None:
    process = TargetProcess(TargetConfig())
    url = process.start()
    try:
        assert request(url, "POST", PUSH, push_body()) == (204, b"")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)  # the parent alone decides
        assert b'"line"' in request(url, "GET", QUERY)[1]
    finally:
        process.stop()
    process.stop()
    assert process.pid is None
    with pytest.raises(ConnectionRefusedError):
        request(url, "GET", "/ready")


def test_target_process_ends_with_its_parent() -> None:
    script = (
        "import time\n"
        "from looker.target.config import TargetConfig\n"
        "from looker.target.run import TargetProcess\n"
        "if __name__ == '__main__':\n"
        "    process = TargetProcess(TargetConfig())\n"
        "    print(process.start(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert request(url, "GET", "/ready") == (200, b"ready\n")
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            request(url, "GET", "/ready")
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the target outlived its parent")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_target_ends_on_a_signal(number: signal.Signals) -> None:
    script = (
        "from looker.target.config import TargetConfig\n"
        "from looker.target.run import run_target\n"
        "run_target(TargetConfig(), lambda url: print(url, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
        assert process.wait(10) == 0


def test_importing_run_is_cheap() -> None:
    script = (
        "import sys, looker.target.run\n"
        "print([m for m in ('numpy', 'aiohttp', 'uvloop', 'google.protobuf') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"


def test_nothing_is_left_behind() -> None:
    with serving():
        pass
    assert [t.name for t in threading.enumerate() if t.name == "looker-target"] in (
        [],
        ["looker-target"],  # the one of this module's fixture
    )
    assert multiprocessing.active_children() == []
