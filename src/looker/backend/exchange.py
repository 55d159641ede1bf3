"""One request and its answer on a connection, which knows how far it has got.

A request goes through the phases of :class:`Phase`, in order; the phase in which it fails decides
the exception.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx

from looker.backend.http1 import AnswerReader, BodyTooLargeError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import Buffer

    from looker.clock import Clock

_T = TypeVar("_T")

# Below this size, copying the body behind the headers costs less than a second write.
_COPY_LIMIT_BYTES: Final = 64 * 2**10
_LEAST_LEFT_S: Final = 0.1


class AnswerTooLargeError(httpx.ReadError):
    """The answer, as sent or unpacked, is longer than ``max_answer_bytes``; the rest was left."""


class Phase(IntEnum):
    """How far an attempt has got."""

    QUEUED = 0
    CONNECTING = 1
    WRITING = 2
    WRITTEN = 3


_TIMEOUTS: Final[dict[Phase, tuple[type[httpx.TimeoutException], str]]] = {
    Phase.QUEUED: (httpx.PoolTimeout, "no connection was free in time"),
    Phase.CONNECTING: (httpx.ConnectTimeout, "no connection was made in time"),
    Phase.WRITING: (httpx.WriteTimeout, "the target did not take the request in time"),
    Phase.WRITTEN: (httpx.ReadTimeout, "the target gave no complete answer in time"),
}


class Attempt:
    """One request under way, which knows how far it has got."""

    __slots__ = (
        "_body",
        "_clock",
        "_connection",
        "_deadline_at",
        "_deadline_ns",
        "_expiry",
        "_loop",
        "answered",
        "ended_ns",
        "finished",
        "phase",
        "started_ns",
    )

    def __init__(self, body: Buffer | None, deadline_s: float | None, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._deadline_ns = 0
        self._body = body if isinstance(body, bytes) else memoryview(body or b"").cast("B")
        self._deadline_at = None if deadline_s is None else self._loop.time() + deadline_s
        self._expiry: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self.phase = Phase.QUEUED
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

    def connected(self, protocol: Connection) -> None:
        """Take a connection; ``httpx.ConnectError`` if it received data while idle."""
        self._connection = protocol
        if protocol.spoiled:
            raise httpx.ConnectError("kept connection was closed, nothing was sent")

    def write(self, head: bytes, reader: AnswerReader) -> None:
        """Hand the request to the socket, unless the connection is gone already."""
        connection = cast("Connection", self._connection)
        transport = connection.transport
        if transport.is_closing():
            raise httpx.ConnectError("connection was lost, nothing was sent")
        connection.begin(self, reader)
        if self._deadline_at is not None:
            # one timer, where asyncio.timeout costs as much as the rest of an attempt
            self._expiry = self._loop.call_at(self._deadline_at, self._expire)
            left_s = self._deadline_at - self._loop.time()
            self._deadline_ns = self._clock.monotonic_ns() + int(left_s * 1e9)
        self.phase = Phase.WRITING
        self.started_ns = self._clock.monotonic_ns()
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
            self.phase = Phase.WRITTEN

    def succeed(self) -> None:
        """Note that the answer is complete."""
        if not self.answered.done():
            self.ended_ns = self._clock.monotonic_ns()
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
        left_s = (self._deadline_ns - self._clock.monotonic_ns()) / 1e9
        if left_s > _LEAST_LEFT_S:
            # the event loop's clock has gone on while this process stood still
            self._expiry = self._loop.call_later(left_s, self._expire)
            return
        phase = self.phase
        transport = cast("Connection", self._connection).transport
        # the last bytes may have been handed to the transport, but not yet to the kernel
        if phase is Phase.WRITTEN and transport.get_write_buffer_size():
            phase = Phase.WRITING
        self.fail(self._timeout(phase))

    @staticmethod
    def _timeout(phase: Phase) -> httpx.TimeoutException:
        kind, message = _TIMEOUTS[phase]
        return kind(message)


class Connection(asyncio.Protocol):
    """A connection, used by one attempt after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.paused = False
        self.spoiled = False
        self._attempt: Attempt | None = None
        self._reader: AnswerReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclasses of asyncio's
        self.transport = cast("asyncio.Transport", transport)

    def begin(self, attempt: Attempt, reader: AnswerReader) -> None:
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
            attempt.phase = Phase.WRITTEN

    def eof_received(self) -> bool:
        """Take the end that the peer has sent, before anything else happens."""
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the attempt, if there is one."""
        if not self.closed.done():
            self.closed.set_result(None)
        self._end(exc)

    def _give_up(self, attempt: Attempt, failure: httpx.TransportError) -> None:
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
        if attempt.phase is Phase.WRITING:
            kind = httpx.WriteError
        attempt.fail(kind(f"{error}" or type(error).__name__))
