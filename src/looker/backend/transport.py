"""HTTP transport: every failure says whether the target may have stored the request.

Nothing is ever sent twice: not after a stale connection, not after a redirect.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import httpx

from looker.backend.connections import Origin, Route, connect, parsed
from looker.backend.exchange import AnswerTooLargeError, Attempt, Connection, Phase
from looker.backend.http1 import AnswerReader, Headers
from looker.clock import SystemClock
from looker.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from typing_extensions import Buffer

    from looker.clock import Clock

MAX_ANSWER_BYTES: Final = 256 * 2**20

_GZIP_WBITS: Final = 31
_MAX_KEPT_HEADS: Final = 64
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "expect"})
_FIELD: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t\x20-\x7e\x80-\xff]*)")
_METHOD: Final = re.compile(r"[A-Z]+")


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
    proxies are used with ``trust_env`` only, and for http only. What ``clock`` leaves out counts
    neither as service time nor for the deadline.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        connect_timeout_s: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._ssl_context = ssl_context
        self._trust_env = trust_env
        self._clock = clock or SystemClock()
        self._free = asyncio.Semaphore(max_connections)
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
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
        attempt = Attempt(body, deadline_s, self._clock)
        free = self._free
        if free.locked():
            await attempt.within_deadline(free.acquire())
        else:
            await free.acquire()
        connection: Connection | None = None
        try:
            connection = self._kept(route.origin)
            if connection is None:
                attempt.phase = Phase.CONNECTING
                connection = await attempt.within_deadline(self._connect(route))
            reader = AnswerReader(max_answer_bytes, no_body=method == "HEAD")
            attempt.connected(connection)
            attempt.write(head, reader)
            await attempt.answered
            attempt.finished = attempt.phase is Phase.WRITTEN
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

    def _kept(self, origin: Origin) -> Connection | None:
        """Return an idle connection of an origin that has not been closed meanwhile."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def _connect(self, route: Route) -> Connection:
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
                connection = await connect(route.origin, tls, Connection)
        except OSError as error:
            if limit.expired():
                message = f"not connected to {route.origin.host} within {self._connect_timeout_s} s"
                raise httpx.ConnectTimeout(message) from error
            raise httpx.ConnectError(f"{error}") from error
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def _give_back(self, connection: Connection, origin: Origin, *, reusable: bool) -> None:
        if not reusable or not connection.release():
            # with all that is unsent: closing would go on sending it
            connection.transport.abort()
            return
        self._idle.setdefault(origin, []).append(connection)


_USER_AGENT: Final = f"looker/{__version__}"


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
