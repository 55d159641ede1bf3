"""HTTP transport: every failure says whether the target may have stored the request.

A request goes through the phases of ``_Phase``, in order; the phase in which it fails decides the
exception. Nothing is ever sent twice: not after a stale connection, not after a redirect.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx

from looker.backend.connections import Origin, Route, connect, parsed
from looker.backend.http1 import AnswerReader, BodyTooLargeError, Headers, ProtocolError
from looker.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Mapping

    from typing_extensions import Buffer

MAX_ANSWER_BYTES: Final = 256 * 2**20
_T = TypeVar("_T")

# Below this size, copying the body behind the headers costs less than a second write.
_COPY_LIMIT_BYTES: Final = 64 * 2**10
_GZIP_WBITS: Final = 31
_MAX_KEPT_HEADS: Final = 64
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "expect"})
_FIELD: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t\x20-\x7e\x80-\xff]*)")
_METHOD: Final = re.compile(r"[A-Z]+")


class AnswerTooLargeError(httpx.ReadError):
    """The answer, as sent or unpacked, is longer than ``max_answer_bytes``; the rest was left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of any status; a gzip body is unpacked, the headers are as sent.

    ``service_ns`` counts from the first request byte handed to the socket to the last answer byte.
    """

    status: int
    headers: Headers
    body: bytes
    service_ns: int


def possibly_stored(error: httpx.TransportError) -> bool:
    """Whether a byte of the failed request may have reached the target."""
    return not isinstance(
        error,
        httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol,
    )


class Transport(httpx.AsyncBaseTransport):
    """A pool of at most ``max_connections`` connections, of the event loop that first uses it.

    ``connect_timeout_s`` bounds name lookup, connecting and TLS handshake together. Environment
    proxies are used with ``trust_env`` only, and for http only.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        connect_timeout_s: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
    ) -> None:
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._ssl_context = ssl_context
        self._trust_env = trust_env
        self._free = asyncio.Semaphore(max_connections)
        self._idle: dict[Origin, list[_Connection]] = {}
        self._open: set[_Connection] = set()
        self._heads: dict[tuple[str, str], tuple[dict[str, str], Route, bytes]] = {}

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Buffer | None,
        deadline_s: float | None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send one request, once, and read its whole answer within ``deadline_s`` seconds.

        ``body`` must stay unchanged until this returns. Raises ``httpx.TransportError``:

        - ``UnsupportedProtocol``: not a URL of http or https;
        - ``PoolTimeout``, ``ConnectTimeout``, ``ConnectError``: nothing was sent;
        - ``WriteTimeout``, ``WriteError``: sent in part;
        - ``ReadTimeout``: no complete answer in time; ``ReadError``: reset before one;
        - ``RemoteProtocolError``: closed before a complete answer, or an answer that is not HTTP;
        - ``AnswerTooLargeError``: more than ``max_answer_bytes``.
        """
        if deadline_s is not None and deadline_s <= 0:
            raise httpx.PoolTimeout("deadline over before anything was sent")
        route, head = self._head(method, url, headers)
        attempt = _Attempt(body, deadline_s)
        free = self._free
        if free.locked():
            await attempt.within_deadline(free.acquire())
        else:
            await free.acquire()
        connection: _Connection | None = None
        try:
            connection = self._kept(route.origin)
            if connection is None:
                attempt.phase = _Phase.CONNECTING
                connection = await attempt.within_deadline(self._connect(route))
            reader = AnswerReader(max_answer_bytes, no_body=method == "HEAD")
            attempt.connected(connection)
            attempt.write(head, reader)
            await attempt.answered
            attempt.finished = attempt.phase is _Phase.WRITTEN
        finally:
            attempt.end()
            if connection is not None:
                # what was under way while all connections were closed keeps none
                reusable = attempt.finished and free is self._free
                self._give_back(connection, route.origin, reusable=reusable)
            free.release()
        raw = reader.body
        if raw and reader.headers.get("Content-Encoding", "").lower() == "gzip":
            raw = _gunzip(raw, max_answer_bytes)
        return Answer(reader.status, reader.headers, raw, attempt.ended_ns - attempt.started_ns)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve an httpx client, with the same errors as ``send``.

        The deadline in seconds is the extension ``deadline_s``, else the largest of httpx's four
        time-outs (none if one of them is None); connecting has the transport's own limit.
        """
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _FRAMING}
        # only what _gunzip can bound may be asked for
        if "accept-encoding" in headers:
            asks_gzip = "gzip" in headers["accept-encoding"]
            headers["accept-encoding"] = "gzip" if asks_gzip else "identity"
        answer = await self.send(
            request.method,
            # httpx has made an Authorization header of the user and password in the URL
            str(request.url.copy_with(userinfo=b"")),
            headers=headers,
            body=body,
            deadline_s=_deadline_s(request.extensions),
        )
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        pairs = answer.headers.pairs
        if encoding == "gzip":
            dropped = ("content-encoding", "content-length")
            pairs = [pair for pair in pairs if pair[0].lower() not in dropped]
        elif encoding != "identity":
            raise httpx.RemoteProtocolError(f"answer has a Content-Encoding not asked: {encoding}")
        return httpx.Response(
            answer.status,
            headers=pairs,
            stream=httpx.ByteStream(answer.body),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close all connections; the transport may be used again afterwards.

        A request that is still connecting goes on, and closes its connection when it has ended.
        """
        closing = [connection.closed for connection in self._open]
        for connection in [*self._open]:
            connection.transport.abort()
        self._idle.clear()
        if closing:
            await asyncio.wait(closing)
            # closed sockets are let go in the next turn of the loop
            await asyncio.sleep(0)
        self._free = asyncio.Semaphore(self._max_connections)

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[Route, bytes]:
        """Return where a request goes, and its head as far as it is the same each time."""
        kept = self._heads.get((method, url))
        if kept is not None and kept[0] == headers:
            return kept[1:]
        try:
            route = parsed(url, trust_env=self._trust_env)
        except ValueError as error:
            raise httpx.UnsupportedProtocol(f"not a URL of http or https: {url}") from error
        fields = {"host": ("Host", route.host), "user-agent": ("User-Agent", _USER_AGENT)}
        fields |= {name.lower(): (name, value) for name, value in headers.items()}
        fields |= {name.lower(): (name, value) for name, value in route.proxy_headers}
        lines = [f"{name}: {value}" for name, value in fields.values()]
        if not _METHOD.fullmatch(method) or not all(map(_FIELD.fullmatch, lines)):
            raise ValueError("a method or header that HTTP cannot carry")
        if not _FRAMING.isdisjoint(fields):
            raise ValueError(f"a header that belongs to the transport: {_FRAMING & fields.keys()}")
        first = f"{method} {route.target} HTTP/1.1"
        head = "".join(f"{line}\r\n" for line in (first, *lines)).encode("latin-1")
        if len(self._heads) >= _MAX_KEPT_HEADS:
            self._heads.clear()
        self._heads[method, url] = ({**headers}, route, head)
        return route, head

    def _kept(self, origin: Origin) -> _Connection | None:
        """Return an idle connection of an origin that has not been closed meanwhile."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def _connect(self, route: Route) -> _Connection:
        if len(self._open) >= self._max_connections:
            # only idle ones of other origins can be too many
            for idle in self._idle.values():
                while idle and len(self._open) >= self._max_connections:
                    connection = idle.pop()
                    connection.transport.abort()
                    self._open.discard(connection)
        tls = None
        if route.origin.tls:
            if self._ssl_context is None:
                from looker.backend.tls import ssl_context  # noqa: PLC0415 - seldom needed

                self._ssl_context = ssl_context(None, insecure_skip_verify=False)
            tls = self._ssl_context
        limit = asyncio.timeout(self._connect_timeout_s)
        try:
            async with limit:
                connection = await connect(route.origin, tls, _Connection)
        except OSError as error:
            if limit.expired():
                message = f"not connected to {route.origin.host} within {self._connect_timeout_s} s"
                raise httpx.ConnectTimeout(message) from error
            raise httpx.ConnectError(f"{error}") from error
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def _give_back(self, connection: _Connection, origin: Origin, *, reusable: bool) -> None:
        if not reusable or not connection.release():
            # with all that is unsent: closing would go on sending it
            connection.transport.abort()
            return
        self._idle.setdefault(origin, []).append(connection)


_USER_AGENT: Final = f"looker/{__version__}"


class _Phase(IntEnum):
    """How far an attempt has got."""

    QUEUED = 0
    CONNECTING = 1
    WRITING = 2
    WRITTEN = 3


_TIMEOUTS: Final[dict[_Phase, tuple[type[httpx.TimeoutException], str]]] = {
    _Phase.QUEUED: (httpx.PoolTimeout, "no connection was free in time"),
    _Phase.CONNECTING: (httpx.ConnectTimeout, "no connection was made in time"),
    _Phase.WRITING: (httpx.WriteTimeout, "the target did not take the request in time"),
    _Phase.WRITTEN: (httpx.ReadTimeout, "the target gave no complete answer in time"),
}


class _Attempt:
    """One request under way, which knows how far it has got."""

    __slots__ = (
        "_body",
        "_connection",
        "_deadline_at",
        "_expiry",
        "_loop",
        "answered",
        "ended_ns",
        "finished",
        "phase",
        "started_ns",
    )

    def __init__(self, body: Buffer | None, deadline_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._body = body if isinstance(body, bytes) else memoryview(body or b"").cast("B")
        self._deadline_at = None if deadline_s is None else self._loop.time() + deadline_s
        self._expiry: asyncio.TimerHandle | None = None
        self._connection: _Connection | None = None
        self.phase = _Phase.QUEUED
        self.finished = False
        self.started_ns = 0
        self.ended_ns = 0
        self.answered: asyncio.Future[None] = self._loop.create_future()

    async def within_deadline(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await what comes before anything is sent."""
        try:
            async with asyncio.timeout_at(self._deadline_at):
                return await work
        except TimeoutError as error:
            raise self._timeout(self.phase) from error

    def connected(self, protocol: _Connection) -> None:
        """Take a connection; ``httpx.ConnectError`` if it received data while idle."""
        self._connection = protocol
        if protocol.spoiled:
            raise httpx.ConnectError("kept connection was closed, nothing was sent")

    def write(self, head: bytes, reader: AnswerReader) -> None:
        """Hand the request to the socket, unless the connection is gone already."""
        connection = cast("_Connection", self._connection)
        transport = connection.transport
        if transport.is_closing():
            raise httpx.ConnectError("connection was lost, nothing was sent")
        connection.begin(self, reader)
        if self._deadline_at is not None:
            # one timer, where asyncio.timeout costs as much as the rest of an attempt
            self._expiry = self._loop.call_at(self._deadline_at, self._expire)
        self.phase = _Phase.WRITING
        self.started_ns = time.monotonic_ns()
        body = self._body
        if not body:
            transport.write(head + b"\r\n")
        else:
            head += b"Content-Length: %d\r\n\r\n" % len(body)
            if len(body) > _COPY_LIMIT_BYTES:
                transport.write(head)
                transport.write(body)
            else:
                transport.write(b"".join((head, body)))
        # transports do not raise where writing fails
        if not connection.paused and not transport.is_closing():
            self.phase = _Phase.WRITTEN

    def succeed(self) -> None:
        """Note that the answer is complete."""
        if not self.answered.done():
            self.ended_ns = time.monotonic_ns()
            self.answered.set_result(None)

    def fail(self, failure: httpx.TransportError) -> None:
        """End without a complete answer."""
        if not self.answered.done():
            self.answered.set_exception(failure)

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.answered.cancel()

    def _expire(self) -> None:
        phase = self.phase
        transport = cast("_Connection", self._connection).transport
        # the last bytes may have been handed to the transport, but not yet to the kernel
        if phase is _Phase.WRITTEN and transport.get_write_buffer_size():
            phase = _Phase.WRITING
        self.fail(self._timeout(phase))

    @staticmethod
    def _timeout(phase: _Phase) -> httpx.TimeoutException:
        kind, message = _TIMEOUTS[phase]
        return kind(message)


class _Connection(asyncio.Protocol):
    """A connection, used by one attempt after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.paused = False
        self.spoiled = False
        self._attempt: _Attempt | None = None
        self._reader: AnswerReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclasses of asyncio's
        self.transport = cast("asyncio.Transport", transport)

    def begin(self, attempt: _Attempt, reader: AnswerReader) -> None:
        """Let what comes from now on belong to an attempt."""
        self._attempt, self._reader = attempt, reader

    def release(self) -> bool:
        """Part with a finished attempt; return whether another one may follow."""
        reader, self._attempt, self._reader = self._reader, None, None
        return (
            reader is not None
            and reader.reusable
            and not self.paused
            and not self.spoiled
            and not self.transport.is_closing()
        )

    def data_received(self, received: bytes) -> None:
        """Read on in the answer."""
        attempt, reader = self._attempt, self._reader
        if attempt is None or reader is None or reader.complete:
            # nobody has asked for it
            self.spoiled = True
            self.transport.pause_reading()
            return
        try:
            if reader.feed(received):
                attempt.succeed()
        except BodyTooLargeError as error:
            self._give_up(attempt, AnswerTooLargeError(f"{error}"))
        except ProtocolError as error:
            self._give_up(attempt, httpx.RemoteProtocolError(f"{error}"))

    def pause_writing(self) -> None:
        """Note that bytes wait for the socket."""
        self.paused = True

    def resume_writing(self) -> None:
        """Note that the last bytes are with the socket, or nearly so."""
        self.paused = False
        attempt = self._attempt
        if attempt is not None and not self.transport.is_closing():
            attempt.phase = _Phase.WRITTEN

    def eof_received(self) -> bool:
        """Take the end that the peer has sent, before anything else happens."""
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the attempt, if there is one."""
        if not self.closed.done():
            self.closed.set_result(None)
        self._end(exc)

    def _give_up(self, attempt: _Attempt, failure: httpx.TransportError) -> None:
        self.spoiled = True
        attempt.fail(failure)
        self.transport.abort()

    def _end(self, error: Exception | None) -> None:
        attempt, reader = self._attempt, self._reader
        if attempt is None or reader is None:
            return
        kind: type[httpx.TransportError] = httpx.ReadError
        if error is None:
            kind = httpx.RemoteProtocolError
            try:
                reader.end()
            except ProtocolError as cut_off:
                error = cut_off
        if error is None:
            attempt.succeed()
            return
        if attempt.phase is _Phase.WRITING:
            kind = httpx.WriteError
        attempt.fail(kind(f"{error}" or type(error).__name__))


def _gunzip(packed: bytes, limit_bytes: int) -> bytes:
    """Unpack, member by member, never more than one byte beyond the limit."""
    parts: list[bytes] = []
    n_left = limit_bytes
    while packed:
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            part = member.decompress(packed, n_left + 1)
        except zlib.error as error:
            raise httpx.RemoteProtocolError(f"answer is not gzip: {error}") from error
        n_left -= len(part)
        if n_left < 0:
            raise AnswerTooLargeError(f"answer unpacks to more than {limit_bytes} bytes")
        if not member.eof:
            raise httpx.RemoteProtocolError("gzip answer is cut off")
        parts.append(part)
        packed = member.unused_data
    return b"".join(parts)


def _deadline_s(extensions: Mapping[str, Any]) -> float | None:
    if "deadline_s" in extensions:
        return cast("float", extensions["deadline_s"])
    timeouts = [*extensions.get("timeout", {}).values()]
    return None if not timeouts or None in timeouts else max(timeouts)
