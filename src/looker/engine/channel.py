"""A queue between two processes with one writer and one reader.

A ``multiprocessing.Queue`` shares a lock and, once its writer is killed in the middle of a
message, a pipe that never ends: both its ends stay open in the reader. Here each end is held by one
process only, so that the death of the other is the end of the stream, always noticed.

The coordinator never waits for a worker: it takes what has come of a message (``Inbox``), and
writes what there is room for (``Outbox``). A worker waits at its ends (``Sender``, ``Receiver``).
A message is its length, its CRC-32, and its pickle.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_HEAD: Final = struct.Struct(">QI")
_MAX_MESSAGE_BYTES: Final = 1 << 30
_PIECE_BYTES: Final = 1 << 18
_MAX_PIECES: Final = 64
"""What is read at once of one writer, so that others are heard as well."""


class DamagedMessageError(Exception):
    """What has come is no message: something else has written into the channel."""


def _framed(message: object) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _head(frame: bytes | bytearray) -> tuple[int, int]:
    n_bytes, crc = _HEAD.unpack_from(frame)
    if n_bytes > _MAX_MESSAGE_BYTES:
        raise DamagedMessageError
    return n_bytes, crc


def _message(body: bytes | bytearray, crc: int) -> Any:
    if zlib.crc32(body) != crc:
        raise DamagedMessageError
    # of a process that this one has started, over a pipe that nobody else holds
    return pickle.loads(body)  # noqa: S301


class Sender:
    """The writing end that waits; any thread may put."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def put(self, message: object) -> None:
        """Send a message; waits for the reader if the pipe is full, does nothing if it is gone."""
        frame = memoryview(_framed(message))
        with self._lock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while frame:
                frame = frame[os.write(self._connection.fileno(), frame) :]

    def offer(self, message: object) -> None:
        """Send a message that may be lost: only if the pipe has room."""
        _, writable, _ = select.select([], [self._connection], [], 0)
        if writable:
            self.put(message)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


class Receiver:
    """The reading end that waits."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def get(self) -> Any:
        """Return the next message; EOFError where the writer is gone."""
        n_bytes, crc = _head(self._read(_HEAD.size))
        return _message(self._read(n_bytes), crc)

    def _read(self, n_bytes: int) -> bytearray:
        read = bytearray()
        while len(read) < n_bytes:
            piece = os.read(self._connection.fileno(), n_bytes - len(read))
            if not piece:
                raise EOFError
            read += piece
        return read


class Inbox:
    """The reading end that never waits: a message is there when all of it has come."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._read = bytearray()
        self.ended = False
        """Whether the writer is gone and all that it has written is read."""
        os.set_blocking(connection.fileno(), False)

    def fileno(self) -> int:
        """Return what is ready to be read when something has come."""
        return self._connection.fileno()

    @property
    def is_torn(self) -> bool:
        """Whether the writer is gone in the middle of a message."""
        return self.ended and bool(self._read)

    def take(self) -> list[Any]:
        """Return the messages that have come as a whole; DamagedMessageError for others."""
        for _ in range(_MAX_PIECES):
            try:
                piece = os.read(self.fileno(), _PIECE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self.ended = True
                break
            self._read += piece
        return self._whole()

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def _whole(self) -> list[Any]:
        messages, at = [], 0
        while len(self._read) - at >= _HEAD.size:
            n_bytes, crc = _head(self._read[at : at + _HEAD.size])
            end = at + _HEAD.size + n_bytes
            if end > len(self._read):
                break
            messages.append(_message(self._read[at + _HEAD.size : end], crc))
            at = end
        del self._read[:at]
        return messages


class Outbox:
    """The writing end that never waits: what has no room is written later, by ``flush``."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._waiting = bytearray()
        os.set_blocking(connection.fileno(), False)

    def put(self, message: object) -> None:
        """Send a message, now or later; nothing happens if the reader is gone."""
        self._waiting += _framed(message)
        self.flush()

    def flush(self) -> None:
        """Write what there is room for."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._connection.fileno(), self._waiting)]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._waiting.clear()

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
