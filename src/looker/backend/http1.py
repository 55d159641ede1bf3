"""Reading one HTTP/1.1 answer (RFC 9112): bytes in, status, header and body out; no I/O.

Strict where leniency would make one answer of two, or two of one: lengths, codings, line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

MAX_HEAD_BYTES: Final = 65_536
MAX_LINE_BYTES: Final = 8_190
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\xff]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class ProtocolError(ValueError):
    """What came is no HTTP answer, or not a complete one."""


class BodyTooLargeError(ValueError):
    """The body is longer than allowed."""


class Headers(Mapping[str, str]):
    """Header fields in the order in which they came; names are found in upper and lower case.

    Of a name that came several times, ``[]`` and ``get`` return the first value.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def __getitem__(self, name: str) -> str:
        """Return the first value; KeyError if there is none."""
        wanted = name.lower()
        for known, value in self.pairs:
            if known.lower() == wanted:
                return value
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name."""
        wanted = name.lower()
        return [value for known, value in self.pairs if known.lower() == wanted]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the different names, in lower case."""
        return iter(dict.fromkeys(name.lower() for name, _ in self.pairs))

    def __len__(self) -> int:
        """Return the number of different names."""
        return len({name.lower() for name, _ in self.pairs})


class _State(IntEnum):
    HEAD = 0
    LENGTH = 1
    CHUNK_HEAD = 2
    CHUNK = 3
    CHUNK_END = 4
    TRAILER = 5
    UNTIL_END = 6
    COMPLETE = 7


class AnswerReader:
    """One answer; fed with what comes until :attr:`complete`.

    ``max_body_bytes`` bounds the body as it is sent. Of a complete answer, ``reusable`` tells
    whether another request may follow on its connection.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_head_bytes",
        "_left",
        "_max_body_bytes",
        "_n_body_bytes",
        "_no_body",
        "_state",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, max_body_bytes: int, *, no_body: bool = False) -> None:
        """``no_body`` tells that the request was one whose answer never has a body (HEAD)."""
        self.status = 0
        self.headers = Headers([])
        self.reusable = False
        self._max_body_bytes = max_body_bytes
        self._no_body = no_body
        self._state = _State.HEAD
        self._buffer = b""
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._n_body_bytes = 0
        self._left = 0

    @property
    def complete(self) -> bool:
        """Whether the whole answer is there."""
        return self._state is _State.COMPLETE

    @property
    def body(self) -> bytes:
        """The body, its chunks joined."""
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def feed(self, received: bytes) -> bool:
        """Take what came, and return whether the answer is complete.

        ProtocolError or BodyTooLargeError end the answer.
        """
        if self._state is _State.LENGTH and not self._buffer:
            # the bulk of a large answer: no need to join it with anything
            self._take_length(received)
            return self.complete
        self._buffer = self._buffer + received if self._buffer else received
        while self._advance():
            pass
        if self.complete and self._buffer:
            # what follows the answer was not asked for
            self.reusable = False
        return self.complete

    def end(self) -> None:
        """Take the end of the connection; ProtocolError if it cuts the answer off."""
        if self._state is _State.UNTIL_END:
            self._state = _State.COMPLETE
        elif self._state is not _State.COMPLETE:
            begun = self._state is not _State.HEAD or self._buffer or self._head_bytes
            what = "in the answer" if begun else "without an answer"
            raise ProtocolError(f"connection was closed {what}")

    def _advance(self) -> bool:
        """Go one step; False where more has to come first, or the answer is complete."""
        state = self._state
        if state is _State.HEAD:
            return self._read_head()
        if state is _State.LENGTH:
            received, self._buffer = self._buffer, b""
            self._take_length(received)
            return False
        if state is _State.UNTIL_END:
            if self._buffer:
                self._keep(self._buffer)
                self._buffer = b""
            return False
        if state is _State.COMPLETE:
            return False
        return self._read_chunks()

    def _take_length(self, received: bytes) -> None:
        if len(received) > self._left:
            # what follows the answer was not asked for
            self._buffer = received[self._left :]
            received = received[: self._left]
            self.reusable = False
        self._left -= len(received)
        self._keep(received)
        if not self._left:
            self._state = _State.COMPLETE

    def _keep(self, part: bytes) -> None:
        self._n_body_bytes += len(part)
        if self._n_body_bytes > self._max_body_bytes:
            raise self._too_large()
        self._body.append(part)

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"answer is longer than {self._max_body_bytes} bytes")

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if (len(self._buffer) if end < 0 else end) > MAX_HEAD_BYTES:
            raise ProtocolError(f"header is longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            if not b"HTTP/1.".startswith(self._buffer[:7]):
                raise ProtocolError(f"answer is not HTTP: {self._buffer[:40]!r}")
            return False
        line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        matched = _STATUS_LINE.fullmatch(line)
        if matched is None:
            raise ProtocolError(f"answer is not HTTP: {line[:40]!r}")
        status = int(matched[2])
        headers = Headers([_field(line) for line in lines])
        if status < 200:
            if status == 101:
                raise ProtocolError("answer changes the protocol, which nobody asked for")
            # the answer proper follows
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ProtocolError("too many interim answers")
            return True
        self.status, self.headers = status, headers
        self._frame(version_1_1=matched[1] == "1")
        return True

    def _frame(self, *, version_1_1: bool) -> None:
        """Find out how long the body is (RFC 9112 section 6.3), and if the connection stays."""
        headers = self.headers
        if not headers.pairs:
            options, codings, lengths = "", [], []
        else:
            options = ",".join(headers.get_all("connection")).lower()
            codings = headers.get_all("transfer-encoding")
            lengths = headers.get_all("content-length")
        tokens = [token.strip() for token in options.split(",")]
        self.reusable = "close" not in tokens and (version_1_1 or "keep-alive" in tokens)
        if self._no_body or self.status in (204, 304):
            self._state = _State.COMPLETE
        elif codings:
            if ",".join(codings).strip().lower() != "chunked":
                raise ProtocolError(f"unknown transfer coding {codings}")
            if lengths:
                # perhaps an attempt to smuggle: nobody knows where this answer ends
                raise ProtocolError("answer has a length and a transfer coding")
            self._state = _State.CHUNK_HEAD
        elif lengths:
            different = {length.strip() for value in lengths for length in value.split(",")}
            (length, *others) = different
            if others or not _DIGITS.fullmatch(length):
                raise ProtocolError(f"Content-Length is {', '.join(lengths)!r}")
            self._left = int(length)
            if self._left > self._max_body_bytes:
                raise self._too_large()
            self._state = _State.LENGTH if self._left else _State.COMPLETE
        else:
            self.reusable = False
            self._state = _State.UNTIL_END

    def _read_chunks(self) -> bool:
        """Read all that is there of a chunked body; slices only what it keeps."""
        buffer, at = self._buffer, 0
        while self._state is not _State.COMPLETE:
            if self._state is _State.CHUNK:
                part = buffer[at : at + self._left]
                if not part:
                    break
                at += len(part)
                self._left -= len(part)
                self._keep(part)
                if not self._left:
                    self._state = _State.CHUNK_END
                continue
            end = buffer.find(b"\r\n", at)
            if end < 0:
                if len(buffer) - at > MAX_LINE_BYTES:
                    raise ProtocolError("chunked answer has a line that does not end")
                break
            self._read_chunk_line(buffer[at:end])
            at = end + 2
        self._buffer = buffer[at:]
        return False

    def _read_chunk_line(self, line: bytes) -> None:
        """Take a line that is no content: the end of a chunk, a chunk's size, a trailer."""
        if self._state is _State.CHUNK_END:
            if line:
                raise ProtocolError("chunk is longer than it says")
            self._state = _State.CHUNK_HEAD
        elif self._state is _State.CHUNK_HEAD:
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise ProtocolError(f"no size of a chunk: {line[:40]!r}")
            self._left = int(size[1], 16)
            self._state = _State.CHUNK if self._left else _State.TRAILER
            if self._n_body_bytes + self._left > self._max_body_bytes:
                raise self._too_large()
        elif not line:
            self._state = _State.COMPLETE
        else:
            self._head_bytes += len(line)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ProtocolError("trailer is too long")
            _field(line.decode("latin-1"))


def _field(line: str) -> tuple[str, str]:
    """Take a header line apart; obsolete line folding is refused, as RFC 9112 allows."""
    name, colon, value = line.partition(":")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ProtocolError(f"no header field: {line[:40]!r}")
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"header line is longer than {MAX_LINE_BYTES} bytes")
    return name, value.strip(" \t")
