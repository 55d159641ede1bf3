"""HTTP/1.1, with as few copies of bodies as may be.

aiohttp's server spends 0.8 to 1.0 ms of CPU on receiving 1 MB, as it copies a body several
times. Here the kernel writes straight into the buffer that the handler is given (or, where
bodies are discarded, into one buffer for all). The requests of a connection are answered in their
order: while one takes long, in another thread, the connection waits. Memory is lent for what was
received, not for what is announced.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np

from looker.target.answers import Answer, plain_error
from looker.target.memory import LoanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from looker.target.connections import Connections

    Body = bytes | bytearray | memoryview

MAX_BODY_BYTES = 100 << 20
_HEAD_BYTES = 1 << 16
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SINK = bytearray(1 << 20)  # where discarded bodies go; nobody reads it
_FIRST_BYTES: Final = 4_000_000
"""So much room is made for a body at first, twice as much whenever it is full.

What nothing was written to yet is no memory; numpy sees to it for larger arrays that much is.
"""
_CONNECTION_BYTES: Final = 2 * _HEAD_BYTES + 8192
"""Of each connection: its input, and a body that is no longer than that."""
_QUIET_TICKS: Final = 6
"""Half a minute in which nothing comes of a request, or is taken of an answer."""
_REQUEST_TICKS: Final = 60
"""Five minutes, in which all of a request has to come."""
_IDLE_TICKS: Final = 24
"""Two minutes between two requests."""


class Handler(Protocol):
    """What answers requests."""

    def discards(self, method: str, path: str) -> Answer | None:
        """Return the answer to a request whose body nobody wants; None if it is wanted."""
        ...

    def answer(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Body,
        later: Callable[[Answer], None],
    ) -> Answer | None:
        """Answer one request; ``target`` is the path with its query, header names are lower.

        None where that takes long: ``later`` is called with the answer.
        """
        ...


class HttpProtocol(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, handler: Handler, connections: Connections) -> None:
        self._handler = handler
        self._connections = connections
        self._budget = connections.budget
        self.quiet_ticks = 0
        self.lent_bytes = 0
        self.has_answered = False
        self._request_ticks = 0
        self._opened: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None  # None from the last answer on
        self._input = bytearray(_HEAD_BYTES)
        self._filled = 0
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._constant: Answer | None = None
        self._body: NDArray[np.uint8] | bytearray | None = None
        self._received = 0
        self._unsent_bytes = 0  # of answers, where the client does not read them
        self._length = 0
        self._chunks: _Chunks | None = None
        self._hanging: asyncio.TimerHandle | None = None
        self._is_delayed = False
        self._is_working = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclasses of asyncio's
        self._opened = self._transport = cast("asyncio.Transport", transport)
        if not self._connections.add(self, _CONNECTION_BYTES):
            self._refuse(503, "looker target: no memory for another connection")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the transport; an unfinished request is dropped."""
        self._forget()
        self._opened = self._transport = None
        if self._hanging is not None:
            self._hanging.cancel()

    def _forget(self) -> None:
        self._connections.discard(self)
        self._drop_body()
        self._count_unsent(0)

    def pause_writing(self) -> None:
        """Take no more requests while the client does not read its answers."""
        if self._transport is not None:
            self._transport.pause_reading()
            # it is there already: what counts is that others have less
            self._count_unsent(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Take requests again."""
        self._count_unsent(0)
        if self._transport is not None:
            self._transport.resume_reading()
            self._advance()

    def _count_unsent(self, n_bytes: int) -> None:
        self._budget.give_back(self._unsent_bytes - n_bytes)
        self._unsent_bytes = n_bytes

    def abort(self) -> None:
        """Close at once, without an answer."""
        self._forget()
        if self._opened is not None:
            self._opened.abort()
        self._transport = None

    def tick(self) -> None:
        """Count a tick; close where the client takes too long."""
        self.quiet_ticks += 1
        if self._transport is None:
            # closing: what was answered last may still be on its way
            if self._hanging is None and self.quiet_ticks >= _QUIET_TICKS:
                self.abort()
            return
        if self._is_delayed or self._is_working:
            return
        if self._unsent_bytes:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent_bytes:
                self.quiet_ticks = 0
                self._count_unsent(unsent)
            elif self.quiet_ticks >= _QUIET_TICKS:
                self.abort()
        elif self._head is not None or self._filled:
            self._request_ticks += 1
            if self.quiet_ticks >= _QUIET_TICKS or self._request_ticks >= _REQUEST_TICKS:
                self._refuse(408, "request timeout")
        elif self.quiet_ticks >= _IDLE_TICKS:
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Give room for what belongs to this part of the request, never for more."""
        if self._head is not None and self._chunks is None:
            rest = self._length - self._received
            if self._body is None:
                return memoryview(_SINK)[:rest]
            return memoryview(cast("Body", self._body))[self._received :]
        return memoryview(self._input)[self._filled :]

    def _grow(self, n_there: int) -> None:
        """Make more room for a long body, unless there is no memory for it."""
        n_bytes = min(2 * n_there, self._length)
        if self._lend(n_bytes - self.lent_bytes):
            longer = np.empty(n_bytes, np.uint8)
            longer[:n_there] = np.frombuffer(cast("Body", self._body), np.uint8)
            self._body = longer

    def buffer_updated(self, nbytes: int) -> None:
        """Go on with what came."""
        self.quiet_ticks = 0
        if self._head is not None and self._chunks is None:
            self._received += nbytes
            if self._length > _HEAD_BYTES and not self._lend_received():
                return
            if self._received >= self._length:
                self._respond()
            elif self._body is not None and self._received == len(self._body):
                self._grow(self._received)
            return
        self._filled += nbytes
        self._advance()

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its client, not for this process."""
        return self._transport is not None and not (self._is_delayed or self._is_working)

    @property
    def _has_to_wait(self) -> bool:
        """Whether the answer before is not sent yet."""
        return self._is_delayed or self._is_working or bool(self._unsent_bytes)

    def _advance(self) -> None:
        """Read heads and whatever of their bodies is in the input."""
        while self._transport is not None and not self._has_to_wait:
            if self._chunks is not None:
                if not self._read_chunks():
                    return
                continue
            end = self._input.find(b"\r\n\r\n", 0, self._filled)
            if end < 0:
                if self._filled == _HEAD_BYTES:
                    self._refuse(431, "request header fields too large")
                return
            text = self._input[:end].decode("latin-1")
            self._consume(end + 4)
            if not self._begin(text):
                return
            if self._chunks is None and not self._begin_body():
                return

    def _begin_body(self) -> bool:
        """Take what of a body is in the input; False where more is needed, or it is refused."""
        part = min(self._filled, self._length)
        if self._constant is None and part == self._length:
            self._body = self._input[:part]
        elif self._constant is None:
            self._body = np.empty(min(self._length, _FIRST_BYTES), np.uint8)
            self._body[:part] = np.frombuffer(self._input, np.uint8, part)
        self._received = part
        self._consume(part)
        if part < self._length:
            return False
        self._respond()
        return True

    def _begin(self, text: str) -> bool:
        """Understand a head and make room for its body; False where it is refused."""
        try:
            line, *fields = text.split("\r\n")
            method, target, version = line.split(" ")
            pairs = (field.split(":", 1) for field in fields)
            headers = {name.lower(): value.strip() for name, value in pairs}
            length = int(headers.get("content-length", "0"))
        except ValueError:
            self._refuse(400, "malformed request")
            return False
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if not version.startswith("HTTP/1.") or length < 0:
            self._refuse(400, "malformed request")
            return False
        if length > MAX_BODY_BYTES:
            self._refuse(413, "request body too large")
            return False
        if version == "HTTP/1.0":
            headers["connection"] = "close"
        if headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(_CONTINUE)
        self._head = (method, target, headers)
        self._constant = self._handler.discards(method, target)
        self._body = None
        self._length, self._received = length, 0
        self._chunks = _Chunks() if chunked else None
        return True

    def _read_chunks(self) -> bool:
        """Read what is there of a chunked body; False where more is needed."""
        assert self._chunks is not None  # noqa: S101 - asked by the caller
        try:
            used = self._chunks.feed(memoryview(self._input)[: self._filled])
        except ValueError:
            self._refuse(400, "malformed chunked body")
            return False
        self._consume(used)
        if len(self._chunks.body) > MAX_BODY_BYTES:
            self._refuse(413, "request body too large")
            return False
        # an array that grows is copied now and then
        if not self._lend(2 * len(self._chunks.body) - self.lent_bytes):
            return False
        if not self._chunks.complete:
            if used == 0 and self._filled == _HEAD_BYTES:
                self._refuse(400, "malformed chunked body")
            return False
        self._respond()
        return True

    def _lend_received(self) -> bool:
        """Have memory lent for what a body has come to; False where the request is refused."""
        return self._body is None or self._lend(self._received - self.lent_bytes)

    def _lend(self, n_bytes: int) -> bool:
        """Have memory lent for what was received; False where the request is refused for it."""
        if n_bytes <= 0:
            return True
        try:
            self._connections.lend(self, n_bytes)
        except LoanError as error:
            self._refuse(413 if error.ever else 503, str(error))
            return False
        self.lent_bytes += n_bytes
        return True

    def _drop_body(self) -> None:
        if self._is_working:
            return  # it is still being looked at
        self._head = self._body = self._chunks = self._constant = None
        self._request_ticks = 0
        if self.lent_bytes:
            self._budget.give_back(self.lent_bytes)
            self.lent_bytes = 0

    def _consume(self, n: int) -> None:
        """Move what follows the first ``n`` bytes of input to its front."""
        rest = self._filled - n
        if rest and n:
            self._input[:rest] = self._input[n : self._filled]
        self._filled = rest

    def _respond(self) -> None:
        """Answer the request that is complete."""
        assert self._head is not None  # noqa: S101 - a body follows its head
        method, target, headers = self._head
        answer = self._constant
        if answer is None:
            body: Any = self._body if self._chunks is None else self._chunks.body
            answer = self._handler.answer(
                method, target, headers, memoryview(body), self._answer_later
            )
            if answer is None:
                self._is_working = True
                if self._transport is not None:
                    self._transport.pause_reading()
                return
        self._finish(answer)

    def _answer_later(self, answer: Answer) -> None:
        """Go on after a request that has taken long."""
        self._is_working = False
        if self._transport is None:
            self._drop_body()
            return
        self._transport.resume_reading()
        self._finish(answer)
        self._advance()

    def _finish(self, answer: Answer) -> None:
        """Send an answer, at once or later, or what it says instead."""
        assert self._head is not None  # noqa: S101 - there was a request
        self.has_answered = True
        close = self._head[2].get("connection", "").lower() == "close"
        self._drop_body()
        if answer.drop_after_s is not None:
            self._drop(answer.drop_after_s)
        elif answer.delay_s > 0:
            self._delay(answer, close=close)
        else:
            self._write(answer, close=close)

    def _delay(self, answer: Answer, *, close: bool) -> None:
        """Send an answer later; what the client sends meanwhile waits."""
        if self._transport is None:
            return
        self._transport.pause_reading()
        self._is_delayed = True

        def send() -> None:
            self._is_delayed = False
            if self._transport is not None:
                self._transport.resume_reading()
            self._write(answer, close=close)
            self._advance()

        self._hanging = asyncio.get_running_loop().call_later(answer.delay_s, send)

    def _drop(self, after_s: float) -> None:
        """Send nothing: close after a while, or reset at once."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if after_s > 0:
            transport.pause_reading()
            self._hanging = asyncio.get_running_loop().call_later(after_s, transport.abort)
            return
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read on from, and close."""
        self._write(plain_error(status, message), close=True)

    def _write(self, answer: Answer, *, close: bool) -> None:
        if self._transport is None:
            return
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}"]
        if answer.content_type:
            lines.append(f"Content-Type: {answer.content_type}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(answer.body)}")
        if close:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        self._transport.writelines((head, answer.body) if answer.body else (head,))
        if close:
            self._drop_body()
            self._transport.close()
            self._transport = None


class _Chunks:
    """A body in HTTP's chunked coding, joined as it comes."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False
        self._rest = 0  # of the chunk, its line end included
        self._last = False

    def feed(self, view: memoryview) -> int:
        """Take what ``view`` has of the body; returns how many bytes were used up."""
        at = 0
        text = bytes(view)
        while not self.complete:
            if self._rest:
                part = min(self._rest, len(text) - at)
                self.body += text[at : at + max(0, min(part, self._rest - 2))]
                self._rest -= part
                at += part
                if self._rest:
                    return at
            end = text.find(b"\r\n", at)
            if end < 0:
                return at
            line = text[at:end]
            at = end + 2
            if self._last:
                self.complete = not line  # behind the last chunk come trailers, if any
            else:
                size = int(line.partition(b";")[0], 16)
                if not 0 <= size <= MAX_BODY_BYTES:
                    raise ValueError(size)
                self._last = size == 0
                self._rest = size + 2 if size else 0
        return at
