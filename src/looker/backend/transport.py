"""HTTP transport over aiohttp: every failure says whether the target may have stored the request.

A request goes through the phases of ``_Phase``, in order; the phase in which it fails decides the
exception. Nothing is ever sent twice: not after a stale connection, not after a redirect.
"""

from __future__ import annotations

import asyncio
import functools
import time
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict
from yarl import URL

from looker.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from multidict import CIMultiDictProxy
    from typing_extensions import Buffer

MAX_ANSWER_BYTES: Final = 256 * 2**20

# Below this size, copying the body behind the headers costs less than a second system call.
_COPY_LIMIT_BYTES: Final = 64 * 2**10
_GZIP_WBITS: Final = 31


class AnswerTooLargeError(httpx.ReadError):
    """The answer, as sent or unpacked, is longer than ``max_answer_bytes``; the rest was left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of any status; a gzip body is unpacked, the headers are as sent.

    ``service_ns`` counts from the first request byte handed to the socket to the last answer byte.
    """

    status: int
    headers: CIMultiDictProxy[str]
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
    proxies (and netrc) are used with ``trust_env`` only.
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
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: URL | str,
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
        attempt = _Attempt(body)
        session = self._session or self._open()
        response: aiohttp.ClientResponse | None = None
        deadline = asyncio.timeout(deadline_s)
        try:
            async with deadline:
                # Not `async with`: that would wait for a body that an early answer made needless.
                response = await session.request(
                    method, url, headers=headers, data=attempt, allow_redirects=False
                )
                raw = await _read(response, max_answer_bytes)
                ended_ns = time.monotonic_ns()
                attempt.check_complete(response)
            attempt.finished = attempt.phase is _Phase.WRITTEN
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise httpx.UnsupportedProtocol(f"not a URL of http or https: {url}") from error
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            raise attempt.failure(error, timed_out=deadline.expired()) from error
        finally:
            if not attempt.finished:
                if response is not None:
                    response.close()
                attempt.abort()
        if raw and response.headers.get("Content-Encoding", "").lower() == "gzip":
            raw = _gunzip(raw, max_answer_bytes)
        return Answer(response.status, response.headers, raw, ended_ns - attempt.started_ns)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve an httpx client, with the same errors as ``send``.

        The deadline in seconds is the extension ``deadline_s``, else the largest of httpx's four
        time-outs (none if one of them is None); connecting has the transport's own limit.
        """
        body = await request.aread()
        headers = CIMultiDict(request.headers.multi_items())
        # aiohttp frames the body by itself; only what _gunzip can bound may be asked for.
        headers.popall("Content-Length", None)
        headers.popall("Transfer-Encoding", None)
        if "Accept-Encoding" in headers:
            asks_gzip = "gzip" in headers["Accept-Encoding"]
            headers["Accept-Encoding"] = "gzip" if asks_gzip else "identity"
        answer = await self.send(
            request.method,
            # httpx has made an Authorization header of the user and password in the URL.
            URL(str(request.url.copy_with(userinfo=b"")), encoded=True),
            headers=headers,
            body=body,
            deadline_s=_deadline_s(request.extensions),
        )
        answer_headers = answer.headers.copy()
        encoding = answer_headers.get("Content-Encoding", "identity").lower()
        if encoding == "gzip":
            answer_headers.popall("Content-Encoding")
            answer_headers.popall("Content-Length", None)
        elif encoding != "identity":
            raise httpx.RemoteProtocolError(f"answer has a Content-Encoding not asked: {encoding}")
        return httpx.Response(
            answer.status,
            headers=list(answer_headers.items()),
            stream=httpx.ByteStream(answer.body),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close all connections; the transport may be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            # Closed sockets are let go in the next turn of the loop.
            await asyncio.sleep(0)

    def _open(self) -> aiohttp.ClientSession:
        self._session = session = aiohttp.ClientSession(
            connector=_Connector(
                connect_timeout_s=self._connect_timeout_s,
                limit=self._max_connections,
                ssl=self._ssl_context or True,
            ),
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"looker/{__version__}"},
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            trust_env=self._trust_env,
            # One deadline over everything is kept here; aiohttp's are rounded up to whole seconds.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )
        # aiohttp sends requests of idempotent methods again when a kept connection breaks, and has
        # no public switch; its own test client sets this one.
        session._retry_connection = False  # noqa: SLF001
        return session


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


class _Attempt(aiohttp.Payload):
    """The body of one request, which also knows how far its request has got."""

    _autoclose = True

    def __init__(self, body: Buffer | None) -> None:
        super().__init__(body)
        # aiohttp slices and measures bodies: only bytes may come as they are.
        self._chunk = (
            body if isinstance(body, bytes) else memoryview(b"" if body is None else body).cast("B")
        )
        self._size = len(self._chunk)
        self.phase = _Phase.QUEUED
        self.finished = False
        self.started_ns = 0
        self._protocol: _Protocol | None = None
        self._transport: asyncio.Transport | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._chunk).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self.begin_writing()
        if len(self._chunk) > _COPY_LIMIT_BYTES:
            writer.send_headers()
        await writer.write(self._chunk[:content_length])
        self.end_writing()

    def connected(self, protocol: _Protocol) -> None:
        """Take a connection; ``httpx.ConnectError`` if it broke, or received data, while idle."""
        self._protocol = protocol
        self._transport = protocol.transport
        if protocol.should_close or not protocol.is_connected():
            raise httpx.ConnectError("kept connection was closed, nothing was sent")

    def begin_writing(self) -> None:
        """Note the first byte, unless the connection is gone already."""
        if self._transport is None or self._transport.is_closing():
            raise aiohttp.ClientConnectionResetError("connection closed, nothing was sent")
        self.phase = _Phase.WRITING
        self.started_ns = time.monotonic_ns()

    def end_writing(self) -> None:
        """Note the last byte, unless writing has failed: transports do not raise that."""
        if self._transport is not None and not self._transport.is_closing():
            self.phase = _Phase.WRITTEN

    def check_complete(self, response: aiohttp.ClientResponse) -> None:
        """Raise ``httpx.ReadError`` if the answer ended only because of a reset."""
        # Without a length, aiohttp takes the end of the connection, of any kind, for the end.
        headers = response.headers
        if (
            self._was_reset()
            and response.content is not EMPTY_PAYLOAD
            and "Content-Length" not in headers
            and "Transfer-Encoding" not in headers
        ):
            raise httpx.ReadError("connection was reset in the answer")

    def failure(self, error: Exception, *, timed_out: bool) -> httpx.TransportError:
        """Httpx's exception for a failure in the present phase."""
        phase = self.phase
        if timed_out:
            # The last bytes may have been handed to the transport, but not yet to the kernel.
            if (
                phase is _Phase.WRITTEN
                and self._transport is not None
                and self._transport.get_write_buffer_size()
            ):
                phase = _Phase.WRITING
            kind, message = _TIMEOUTS[phase]
            return kind(message)
        if phase < _Phase.WRITING:
            return httpx.ConnectError("connection was lost, nothing was sent")
        message = f"{error}" or type(error).__name__
        if isinstance(
            error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | HttpProcessingError
        ):
            cut_off = httpx.ReadError if self._was_reset() else httpx.RemoteProtocolError
            return cut_off(message)
        if phase is _Phase.WRITING:
            return httpx.WriteError(message)
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return httpx.RemoteProtocolError(message)
        return httpx.ReadError(message)

    def _was_reset(self) -> bool:
        return self._protocol is not None and self._protocol.lost is not None

    def abort(self) -> None:
        """Drop the connection with all that is unsent: closing would go on sending it."""
        if self._transport is not None:
            self._transport.abort()


class _Protocol(ResponseHandler):
    """A connection that remembers the error it was lost with."""

    lost: BaseException | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = exc
        super().connection_lost(exc)


class _Request(aiohttp.ClientRequest):
    """A request that tells its attempt when it has a connection."""

    def __init__(self, method: str, url: URL, *, data: _Attempt, **options: Any) -> None:
        self.attempt = data
        super().__init__(method, url, data=data if data.size else None, **options)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        attempt = self.attempt
        attempt.connected(cast("_Protocol", conn.protocol))
        if attempt.size:
            return await super().send(conn)
        attempt.begin_writing()
        response = await super().send(conn)
        attempt.end_writing()
        return response


class _Connector(aiohttp.TCPConnector):
    """A connection pool that tells waiting for a connection from connecting."""

    def __init__(self, *, connect_timeout_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._connect_timeout_s = connect_timeout_s
        self._factory = functools.partial(  # type: ignore[assignment]
            _Protocol, loop=self._loop
        )

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 aiohttp's signature
    ) -> ResponseHandler:
        cast("_Request", req).attempt.phase = _Phase.CONNECTING
        limit = asyncio.timeout(self._connect_timeout_s)
        try:
            async with limit:
                return await super()._create_connection(req, traces, timeout)
        except (aiohttp.ClientError, OSError) as error:
            if limit.expired():
                message = f"not connected to {req.host} within {self._connect_timeout_s} s"
                raise httpx.ConnectTimeout(message) from error
            raise httpx.ConnectError(f"{error}") from error


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    content = response.content
    chunk = await content.readany()
    chunks = [chunk]
    n_bytes = len(chunk)
    while chunk and n_bytes <= limit_bytes and not content.at_eof():
        chunk = await content.readany()
        chunks.append(chunk)
        n_bytes += len(chunk)
    if n_bytes > limit_bytes:
        raise AnswerTooLargeError(f"answer is longer than {limit_bytes} bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
