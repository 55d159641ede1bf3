"""A scripted server of raw sockets on 127.0.0.1: each connection is played by a script in a thread.

It keeps what it has really received, so that a test sees a request that was sent twice.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Request:
    """A request that arrived whole; header names are in lower case."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Peer:
    """The server's end of one connection; ``number`` counts connections from 0."""

    def __init__(self, sock: socket.socket, server: RawServer, number: int) -> None:
        self._sock = sock
        self._server = server
        self._buffer = b""
        self.number = number

    def read_head(self) -> bytes | None:
        """Read a request's head; None at the end of the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return head

    def read_request(self) -> Request | None:
        """Read and keep a whole request; None if the connection ends before."""
        head = self.read_head()
        if head is None:
            return None
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        pairs = [line.split(": ", 1) for line in lines]
        headers = [(name.lower(), value) for name, value in pairs]
        n_bytes = int(dict(headers).get("content-length", "0"))
        chunks = [self._buffer]
        n_have = len(self._buffer)
        while n_have < n_bytes:
            self._buffer = b""
            if not self._receive():
                return None
            chunks.append(self._buffer)
            n_have += len(self._buffer)
        received = b"".join(chunks)
        self._buffer = received[n_bytes:]
        request = Request(method, path, headers, received[:n_bytes])
        self._server.requests.append(request)
        return request

    def answer(self, body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.write(head.encode() + body)

    def write(self, raw: bytes) -> None:
        self._sock.sendall(raw)

    def finish_writing(self) -> None:
        """Send FIN and go on reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def await_bytes(self) -> None:
        """Wait until there is something to read, and leave it unread."""
        self._sock.recv(1, socket.MSG_PEEK)

    def stall(self) -> None:
        """Do nothing until the server stops."""
        self._server.stopping.wait(_PATIENCE_S)

    def await_end(self) -> None:
        """Read until the client has closed."""
        while self._receive():
            self._buffer = b""

    def _receive(self) -> bool:
        chunk = self._sock.recv(65536)
        self._buffer += chunk
        return bool(chunk)


class RawServer:
    """Plays ``script`` on each connection; what the script leaves open is closed behind it."""

    def __init__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        """With ``tls`` it speaks TLS; a handshake that fails ends a connection."""
        self._tls = tls
        self.requests: list[Request] = []
        self.n_connections = 0
        self.stopping = threading.Event()
        self._script = script
        self._threads: list[threading.Thread] = []
        self._faults: list[Exception] = []
        self._listener = socket.socket()
        # Small, so that a server that does not read stalls its client soon.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/push"

    def __enter__(self) -> Self:
        self._threads.append(threading.Thread(target=self._accept))
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
            assert not thread.is_alive(), "a script does not end"
        self._listener.close()
        if self._faults:
            raise ExceptionGroup("scripts failed", self._faults)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.stopping.is_set():
                sock, _ = self._listener.accept()
                thread = threading.Thread(target=self._play, args=(sock, self.n_connections))
                self.n_connections += 1
                self._threads.append(thread)
                thread.start()

    def _play(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(_PATIENCE_S)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except (ssl.SSLError, ConnectionError):
                sock.close()
                return
        with sock:
            try:
                self._script(Peer(sock, self, number))
            except ConnectionError:
                pass  # clients that give up are what some tests are about
            except Exception as error:  # noqa: BLE001 shown where the server is left
                self._faults.append(error)


def refused_url() -> str:
    """URL of a port of this host on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/push"
