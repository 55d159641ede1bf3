from __future__ import annotations

import asyncio
import gzip
import os
import socket
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import cramjam
import httpx
import pytest
import uvloop
from aiohttp.http_writer import StreamWriter
from rawserver import Peer, RawServer, refused_url

from looker import __version__
from looker.backend import exchange
from looker.backend.connections import connect
from looker.backend.exchange import AnswerTooLargeError
from looker.backend.transport import Transport, possibly_stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from looker.backend.transport import Answer

    Run = Callable[[Callable[[], Awaitable[Any]]], Any]

PATIENCE_S = 30.0
"""What is over after tenths of a second on an idle host is so much sooner on a busy one."""
SMALL = b"s" * 2000
LARGE = os.urandom(16 * 2**20)


def n_open_sockets() -> int:
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(fd.readlink()))
        except FileNotFoundError:  # the directory's own
            continue
    return sum(link.startswith("socket:") for link in links)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine function; leave no task, thread or socket, and no unseen error."""
    faults: list[dict[str, Any]] = []

    def runner_of(main: Callable[[], Awaitable[Any]]) -> Any:
        async def guarded() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
            async with asyncio.timeout(10):
                result = await main()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(guarded())

    n_sockets = n_open_sockets()
    yield runner_of
    assert faults == []
    assert threading.active_count() == 1
    assert n_open_sockets() == n_sockets


def send(
    run: Run, url: str, *, body: Any = SMALL, deadline_s: float = 5.0, **options: Any
) -> Answer:
    async def main() -> Answer:
        async with Transport(max_connections=2) as transport:
            return await post(transport, url, body=body, deadline_s=deadline_s, **options)

    return run(main)


async def post(
    transport: Transport,
    url: str,
    *,
    body: Any = SMALL,
    deadline_s: float = 5.0,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Answer:
    return await transport.send(
        method, url, headers=headers or {}, body=body, deadline_s=deadline_s, **options
    )


def failure(
    run: Run, url: str, expected: type[httpx.TransportError], **options: Any
) -> httpx.TransportError:
    with pytest.raises(expected) as caught:
        send(run, url, **options)
    assert caught.type is expected
    return caught.value


def answering(peer: Peer) -> None:
    while peer.read_request() is not None:
        peer.answer(b"stored")


# Answered


def test_answer_and_request_are_complete(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        time.sleep(0.05)
        peer.answer(b"body", status="400 Bad Request", headers="X-Kind: test\r\n")

    with RawServer(script) as server:
        answer = send(run, server.url, headers={"Content-Type": "application/x-protobuf"})
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (400, b"body", "test")
    assert 50e6 <= answer.service_ns < 2e9
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/push", SMALL)
    assert request.headers == [
        ("host", server.url.split("/")[2]),
        ("user-agent", f"looker/{__version__}"),
        ("content-type", "application/x-protobuf"),
        ("content-length", "2000"),
    ]


@pytest.mark.parametrize("n_bytes", [0, 2000, 20_000, 3 * 2**20])
@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda raw: memoryview(raw.ljust(len(raw) + -len(raw) % 8)).cast("Q"),
        cramjam.Buffer,
    ],
    ids=["bytes", "bytearray", "memoryview", "memoryview of words", "cramjam"],
)
def test_bodies_arrive_unchanged(run: Run, n_bytes: int, wrap: Callable[[bytes], Any]) -> None:
    body = LARGE[:n_bytes]
    with RawServer(answering) as server:
        assert send(run, server.url, body=wrap(body)).status == 200
    assert [request.body for request in server.requests] == [body]


def test_get_has_no_body(run: Run) -> None:
    with RawServer(answering) as server:
        answer = send(run, server.url, method="GET", body=None)
    assert (answer.body, answer.service_ns > 0) == (b"stored", True)
    assert [name for name, _ in server.requests[0].headers] == ["host", "user-agent"]


def test_connections_are_kept(run: Run) -> None:
    async def main(url: str) -> list[int]:
        async with Transport(max_connections=1) as transport:
            return [(await post(transport, url)).status for _ in range(5)]

    with RawServer(answering) as server:
        assert run(lambda: main(server.url)) == [200] * 5
    assert (server.n_connections, len(server.requests)) == (1, 5)


def test_requests_are_concurrent_up_to_the_limit(run: Run) -> None:
    together = threading.Barrier(4, timeout=5)

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            together.wait()
            peer.answer(request.body)

    async def main(url: str) -> list[bytes]:
        async with Transport(max_connections=4) as transport:
            posts = [post(transport, url, body=b"%d" % i) for i in range(40)]
            return [answer.body for answer in await asyncio.gather(*posts)]

    with RawServer(script) as server:
        assert run(lambda: main(server.url)) == [b"%d" % i for i in range(40)]
    assert (server.n_connections, len(server.requests)) == (4, 40)


@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary Redirect"])
def test_redirect_is_not_followed(run: Run, status: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(status=status, headers="Location: /elsewhere\r\n")
        peer.await_end()

    with RawServer(script) as server:
        answer = send(run, server.url)
    assert (answer.status, answer.headers["location"]) == (int(status[:3]), "/elsewhere")
    assert [request.path for request in server.requests] == ["/push"]


def test_cookies_are_not_kept(run: Run) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(headers="Set-Cookie: a=b\r\n")

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            await post(transport, url)
            await post(transport, url)

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert [request.header("cookie") for request in server.requests] == [None, None]


def test_environment_proxy_is_used_only_on_demand(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(url: str, *, trust_env: bool) -> Answer:
        async with Transport(max_connections=1, trust_env=trust_env) as transport:
            return await post(transport, url)

    with RawServer(answering) as server, RawServer(answering) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/push"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        run(lambda: main(server.url, trust_env=False))
        run(lambda: main(server.url, trust_env=True))
    assert [request.path for request in server.requests] == ["/push"]
    assert [request.path for request in proxy.requests] == [server.url]


def test_early_answer_to_an_unread_body_is_an_answer(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.answer(b"too large", status="413 Payload Too Large")
        peer.stall()

    with RawServer(script) as server:
        answer = send(run, server.url, body=LARGE)
    assert (answer.status, answer.body) == (413, b"too large")
    assert server.requests == []


# Nothing sent


def test_refused(run: Run) -> None:
    assert not possibly_stored(failure(run, refused_url(), httpx.ConnectError))


def test_unknown_host(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    assert not possibly_stored(failure(run, "http://host.invalid/push", httpx.ConnectError))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/push", "/push", "http:///push"])
def test_no_http_url(run: Run, url: str) -> None:
    assert not possibly_stored(failure(run, url, httpx.UnsupportedProtocol))


def test_tls_failure(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.await_bytes()
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.await_end()

    with RawServer(script) as server:
        error = failure(run, server.url.replace("http:", "https:"), httpx.ConnectError)
    assert not possibly_stored(error)


@pytest.mark.parametrize(("connect_timeout_s", "deadline_s"), [(0.1, 5.0), (5.0, 0.1)])
def test_connecting_takes_too_long(run: Run, connect_timeout_s: float, deadline_s: float) -> None:
    async def main(url: str) -> None:
        async with Transport(max_connections=1, connect_timeout_s=connect_timeout_s) as transport:
            await post(transport, url, deadline_s=deadline_s)

    with (
        RawServer(Peer.stall) as server,
        pytest.raises(httpx.ConnectTimeout) as caught,
    ):
        # A TLS handshake that is never answered is part of connecting.
        run(lambda: main(server.url.replace("http:", "https:")))
    assert not possibly_stored(caught.value)


def test_no_connection_is_free(run: Run) -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            release.wait(5)
            peer.answer()

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            first = asyncio.create_task(post(transport, url))
            await asyncio.sleep(0.05)
            with pytest.raises(httpx.PoolTimeout) as caught:
                await post(transport, url, deadline_s=0.1)
            assert not possibly_stored(caught.value)
            release.set()
            assert (await first).status == 200

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert (server.n_connections, len(server.requests)) == (1, 1)


def test_deadline_over_before_sending(run: Run) -> None:
    with RawServer(answering) as server:
        assert not possibly_stored(failure(run, server.url, httpx.PoolTimeout, deadline_s=0))
    assert server.n_connections == 0


# Kept connections that are closed by the server


def test_closed_idle_connection_is_replaced(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer()

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            for _ in range(3):
                assert (await post(transport, url)).status == 200
                await asyncio.sleep(0.05)

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert (server.n_connections, len(server.requests)) == (3, 3)


def test_connection_lost_between_pool_and_first_byte(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = exchange.Attempt.connected

    def connected_and_lost(attempt: Any, protocol: Any) -> None:
        connected(attempt, protocol)
        protocol.transport.abort()

    monkeypatch.setattr(exchange.Attempt, "connected", connected_and_lost)
    with RawServer(answering) as server:
        assert not possibly_stored(failure(run, server.url, httpx.ConnectError))
        assert not possibly_stored(failure(run, server.url, httpx.ConnectError, body=None))
    assert server.requests == []


def test_unasked_answer_on_idle_connection_answers_nothing(run: Run) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer()
            if peer.number == 0:
                time.sleep(0.02)  # until the client holds the connection idle
                peer.answer(status="408 Request Timeout")

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            assert (await post(transport, url)).status == 200
            await asyncio.sleep(0.05)
            with pytest.raises(httpx.ConnectError) as caught:
                await post(transport, url)
            assert not possibly_stored(caught.value)
            assert (await post(transport, url)).status == 200

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert (server.n_connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_no_method_is_sent_twice(run: Run, method: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.read_request()

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            body = None if method == "GET" else SMALL
            assert (await post(transport, url, method=method, body=body)).status == 200
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await post(transport, url, method=method, body=body)
            assert possibly_stored(caught.value)

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert (server.n_connections, len(server.requests)) == (1, 2)


def test_a_request_that_was_connecting_while_all_was_closed_keeps_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(*arguments: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await connect(*arguments)

    monkeypatch.setattr("looker.backend.transport.connect", late)

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer()

    async def main(url: str) -> list[int]:
        transport = Transport(max_connections=1)
        under_way = asyncio.create_task(post(transport, url))
        await asked.wait()
        await transport.aclose()
        go_on.set()
        answers = [await under_way]
        assert transport._idle == {}
        # nor does it leave room for two where there was room for one
        answers += await asyncio.gather(post(transport, url), post(transport, url))
        assert len(transport._open) == 1
        await transport.aclose()
        return [answer.status for answer in answers]

    with RawServer(script) as server:
        assert run(lambda: main(server.url)) == [200, 200, 200]
    assert server.n_connections == 2


def test_close_that_crosses_the_next_request(run: Run) -> None:
    close, closed = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        close.wait(5)
        peer.finish_writing()
        closed.set()
        peer.read_request()

    async def main(url: str) -> httpx.TransportError:
        async with Transport(max_connections=1) as transport:
            await post(transport, url)
            # The loop is held up, so it cannot know of the end when it sends.
            close.set()
            closed.wait(5)
            with pytest.raises(httpx.TransportError) as caught:
                await post(transport, url)
            return caught.value

    with RawServer(script) as server:
        error = run(lambda: main(server.url))
    # A loop may or may not look at its sockets once more before it writes.
    n_requests = {httpx.ConnectError: 1, httpx.RemoteProtocolError: 2}[type(error)]
    assert len(server.requests) == n_requests
    assert possibly_stored(error) == (n_requests == 2)
    assert server.n_connections == 1


# Sent in part


def test_reset_before_store(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.reset()

    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.WriteError, body=LARGE))
    assert (server.n_connections, server.requests) == (1, [])


def test_reset_between_head_and_body(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reset = threading.Event()
    send_headers = StreamWriter.send_headers

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.reset()
        reset.set()

    def send_headers_and_wait(writer: StreamWriter) -> None:
        send_headers(writer)
        # uvloop hands small writes to the socket in its next turn only.
        reset.wait(0.1)

    monkeypatch.setattr(StreamWriter, "send_headers", send_headers_and_wait)
    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.WriteError, body=LARGE))
    assert (server.n_connections, server.requests) == (1, [])


def test_closed_before_store(run: Run) -> None:
    with RawServer(Peer.read_head) as server:
        assert possibly_stored(failure(run, server.url, httpx.WriteError, body=LARGE))
    assert (server.n_connections, server.requests) == (1, [])


@pytest.mark.parametrize("n_bytes", [6 * 2**20, 16 * 2**20])
def test_stalled_write(run: Run, n_bytes: int) -> None:
    with RawServer(Peer.stall) as server:
        started = time.monotonic()
        error = failure(run, server.url, httpx.WriteTimeout, body=LARGE[:n_bytes], deadline_s=0.2)
        assert time.monotonic() - started < PATIENCE_S
    assert possibly_stored(error)
    assert (server.n_connections, server.requests) == (1, [])


def test_stalled_write_of_the_last_bytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = exchange.Attempt.connected

    def connected_with_small_buffer(attempt: Any, protocol: Any) -> None:
        connected(attempt, protocol)
        sock = protocol.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr(exchange.Attempt, "connected", connected_with_small_buffer)
    with RawServer(Peer.stall) as server:
        # Too little for the loop to make the writer wait.
        body = LARGE[:50_000]
        error = failure(run, server.url, httpx.WriteTimeout, body=body, deadline_s=0.2)
    assert possibly_stored(error)
    assert (server.n_connections, server.requests) == (1, [])


def test_connection_lost_without_an_error_while_writing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = exchange.Attempt.connected

    def connected_and_lost_later(attempt: Any, protocol: Any) -> None:
        connected(attempt, protocol)
        asyncio.get_running_loop().call_later(0.1, protocol.transport.abort)

    monkeypatch.setattr(exchange.Attempt, "connected", connected_and_lost_later)
    with RawServer(Peer.stall) as server:
        assert possibly_stored(failure(run, server.url, httpx.WriteError, body=LARGE))
    assert (server.n_connections, server.requests) == (1, [])


def test_cancelled_write_does_not_go_on(run: Run) -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        release.wait(5)
        peer.read_request()

    async def main(url: str) -> None:
        async with Transport(max_connections=1) as transport:
            task = asyncio.create_task(post(transport, url, body=LARGE))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            release.set()
            await asyncio.sleep(0.05)

    with RawServer(script) as server:
        run(lambda: main(server.url))
    assert (server.n_connections, server.requests) == (1, [])


# Sent whole


def test_reset_of_an_unread_small_request(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.await_bytes()
        peer.reset()

    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.ReadError))
    assert (server.n_connections, server.requests) == (1, [])


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_reset_after_store(run: Run, body: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.ReadError, body=body))
    assert (server.n_connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_closed_after_store(run: Run, body: bytes) -> None:
    with RawServer(Peer.read_request) as server:
        assert possibly_stored(failure(run, server.url, httpx.RemoteProtocolError, body=body))
    assert (server.n_connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_stalled_answer(run: Run, body: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.await_end()

    with RawServer(script) as server:
        started = time.monotonic()
        # long enough for a busy host to have written all
        deadline_s = 0.3 if body is SMALL else 3.0
        error = failure(run, server.url, httpx.ReadTimeout, body=body, deadline_s=deadline_s)
        assert deadline_s <= time.monotonic() - started < PATIENCE_S
    assert possibly_stored(error)
    assert (server.n_connections, len(server.requests)) == (1, 1)


HEAD = b"HTTP/1.1 200 OK\r\n"
CUT_OFF = {
    "head": b"HTTP/1.1 20",
    "length": HEAD + b"Content-Length: 100\r\n\r\nhalf",
    "chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\nhalf",
    "between chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
}


@pytest.mark.parametrize("raw", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_answer_is_cut_off(run: Run, raw: bytes, reset: bool) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(raw)
        if reset:
            time.sleep(0.05)
            peer.reset()

    expected = httpx.ReadError if reset else httpx.RemoteProtocolError
    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, expected))
    assert (server.n_connections, len(server.requests)) == (1, 1)


def test_answer_delimited_by_the_end_of_the_connection(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(HEAD + b"\r\nall of it")

    with RawServer(script) as server:
        assert send(run, server.url).body == b"all of it"


def test_answer_delimited_by_a_reset_is_cut_off(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(HEAD + b"\r\nhalf of")
        time.sleep(0.05)
        peer.reset()

    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.ReadError))
    assert (server.n_connections, len(server.requests)) == (1, 1)


def test_trickled_answer_does_not_extend_the_deadline(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        while not peer._server.stopping.wait(0.02):
            peer.write(b".")

    with RawServer(script) as server:
        started = time.monotonic()
        error = failure(run, server.url, httpx.ReadTimeout, deadline_s=0.3)
        assert 0.3 <= time.monotonic() - started < PATIENCE_S
    assert possibly_stored(error)
    assert len(server.requests) == 1


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "length": HEAD + b"Content-Length: -1\r\n\r\n",
    "chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "long header": HEAD + b"X: " + b"x" * 20000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
def test_garbage_answer(run: Run, raw: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(raw)
        peer.await_end()

    with RawServer(script) as server:
        assert possibly_stored(failure(run, server.url, httpx.RemoteProtocolError))
    assert (server.n_connections, len(server.requests)) == (1, 1)


# Size of answers


def test_answer_of_just_the_limit(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(LARGE)

    with RawServer(script) as server:
        answer = send(run, server.url, max_answer_bytes=len(LARGE))
    assert answer.body == LARGE


@pytest.mark.parametrize("framing", [b"Content-Length: 99000000000\r\n", b""])
def test_answer_too_large(run: Run, framing: bytes) -> None:
    n_sent = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.write(HEAD + framing + b"\r\n")
        while True:
            peer.write(LARGE[: 2**18])
            n_sent.append(2**18)

    with RawServer(script) as server:
        error = failure(run, server.url, AnswerTooLargeError, max_answer_bytes=100_000)
    assert isinstance(error, httpx.ReadError)
    assert possibly_stored(error)
    assert sum(n_sent) < 16e6
    assert (server.n_connections, len(server.requests)) == (1, 1)


def packed(peer: Peer, raw: bytes) -> None:
    while peer.read_request() is not None:
        peer.answer(raw, headers="Content-Encoding: gzip\r\n")


def test_gzip_answer_is_unpacked(run: Run) -> None:
    raw = gzip.compress(b"one, ") + gzip.compress(b"two")
    with RawServer(lambda peer: packed(peer, raw)) as server:
        answer = send(
            run, server.url, headers={"Accept-Encoding": "gzip"}, max_answer_bytes=len(raw)
        )
    assert answer.body == b"one, two"
    assert server.requests[0].header("accept-encoding") == "gzip"


@pytest.mark.parametrize(("n_bytes", "n_members"), [(50_000_000, 1), (1_000_000, 1000)])
def test_gzip_bomb(run: Run, n_bytes: int, n_members: int) -> None:
    raw = gzip.compress(bytes(n_bytes)) * n_members
    with RawServer(lambda peer: packed(peer, raw)) as server:
        tracemalloc.start()
        try:
            error = failure(run, server.url, AnswerTooLargeError, max_answer_bytes=2_000_000)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert possibly_stored(error)
    assert peak_bytes < 10_000_000
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [b"no gzip", gzip.compress(SMALL)[:-4], gzip.compress(SMALL)[:-8] + bytes(8)],
    ids=["other", "cut off", "checksum"],
)
def test_broken_gzip(run: Run, raw: bytes) -> None:
    with RawServer(lambda peer: packed(peer, raw)) as server:
        assert possibly_stored(failure(run, server.url, httpx.RemoteProtocolError))


# Below the httpx client


def with_client(run: Run, url: str, *, method: str = "POST", **options: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=Transport(max_connections=2)) as client:
            return await client.request(method, url, **options)

    return run(main)


def test_client_is_answered(run: Run) -> None:
    raw = gzip.compress(b"unpacked")
    with RawServer(lambda peer: packed(peer, raw)) as server:
        url = server.url.replace("//", "//user:pass%20word@") + "?query=%7Ba%3D%22b+c%22%7D"
        response = with_client(run, url, content=iter_chunks())
    assert (response.status_code, response.content) == (200, b"unpacked")
    assert "content-encoding" not in response.headers
    [request] = server.requests
    assert (request.path, request.body) == ("/push?query=%7Ba%3D%22b+c%22%7D", b"onetwo")
    assert request.header("accept-encoding") == "gzip"
    assert request.header("authorization") == "Basic dXNlcjpwYXNzIHdvcmQ="


async def iter_chunks() -> Any:
    yield b"one"
    yield b"two"


def test_client_follows_no_unbounded_encoding(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(zlib.compress(bytes(10**6)), headers="Content-Encoding: deflate\r\n")

    with RawServer(script) as server, pytest.raises(httpx.RemoteProtocolError):
        with_client(run, server.url)


def close_after_store(peer: Peer) -> None:
    peer.read_request()


def reset_after_store(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def stall_answer(peer: Peer) -> None:
    peer.read_request()
    peer.await_end()


@pytest.mark.parametrize(
    ("script", "expected", "n_requests"),
    [
        (close_after_store, httpx.RemoteProtocolError, 1),
        (reset_after_store, httpx.ReadError, 1),
        (stall_answer, httpx.ReadTimeout, 1),
        (Peer.stall, httpx.WriteTimeout, 0),
    ],
)
@pytest.mark.parametrize(
    "options", [{"timeout": 0.3}, {"extensions": {"deadline_s": 0.3}}], ids=["timeout", "deadline"]
)
def test_client_sees_the_same_errors(
    run: Run,
    script: Callable[[Peer], None],
    expected: type[httpx.TransportError],
    n_requests: int,
    options: dict[str, Any],
) -> None:
    body = LARGE if n_requests == 0 else SMALL
    with RawServer(script) as server, pytest.raises(expected) as caught:
        with_client(run, server.url, content=body, **options)
    assert caught.type is expected
    assert possibly_stored(caught.value)
    assert caught.value.request.url == server.url
    assert (server.n_connections, len(server.requests)) == (1, n_requests)


def test_client_is_refused(run: Run) -> None:
    with pytest.raises(httpx.ConnectError) as caught:
        with_client(run, refused_url())
    assert not possibly_stored(caught.value)
