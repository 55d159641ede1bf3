"""A queue between two processes with one writer and one reader.

A ``multiprocessing.Queue`` shares a lock and, once its writer is killed in the middle of a
message, a pipe that never ends: both its ends stay open in the reader. Here each end is held by one
process only, so that the death of the other is the end of the stream, always noticed.
"""

from __future__ import annotations

import contextlib
import select
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Sender:
    """The writing end; any thread may put."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def put(self, message: object) -> None:
        """Send a message; waits for the reader if the pipe is full, does nothing if it is gone."""
        with self._lock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)

    def offer(self, message: object) -> None:
        """Send a message that may be lost: only if the pipe has room."""
        _, writable, _ = select.select([], [self._connection], [], 0)
        if writable:
            self.put(message)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
