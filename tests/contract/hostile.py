"""Answers that no honest server gives: as scripts for the raw server, and as bodies."""

from __future__ import annotations

import contextlib
import gzip
import re
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rawserver import Peer

    Script = Callable[[Peer], None]

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
BLOCK: Final = b"x" * 2**16


def forever(begin: bytes, again: bytes) -> Script:
    """Answer with a beginning, and then the same again and again until the client leaves."""

    def script(peer: Peer) -> None:
        if peer.read_request() is None:
            return
        peer.write(begin)
        while True:
            peer.write(again)

    return script


def once(raw: bytes) -> Script:
    """Answer with these bytes and close."""

    def script(peer: Peer) -> None:
        if peer.read_request() is not None:
            peer.write(raw)

    return script


def drip(raw: bytes) -> Script:
    """Answer a byte at a time."""

    def script(peer: Peer) -> None:
        if peer.read_request() is None:
            return
        for number in range(len(raw)):
            peer.write(raw[number : number + 1])
            time.sleep(0.05)

    return script


def with_body(body: bytes, headers: str = "", status: str = "200 OK") -> Script:
    """Answer every request of a connection with a body."""

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(body, status=status, headers=headers)

    return script


CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB: Final = gzip.compress(bytes(300 << 20), 9)

NEVER_ENDING: Final[dict[str, Script]] = {
    "endless body": forever(HEAD + b"\r\n", BLOCK),
    "endless body of a claimed exabyte": forever(
        HEAD + b"Content-Length: 1152921504606846976\r\n\r\n", BLOCK
    ),
    "endless chunks": forever(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"),
    "endless small chunks": forever(CHUNKED, b"1\r\nx\r\n" * 2000),
    "an endless chunk extension": forever(CHUNKED + b"4;", BLOCK),
    "endless trailers": forever(CHUNKED + b"0\r\n", b"X: y\r\n" * 2000),
    "endless headers": forever(HEAD, b"X-Flood: yes\r\n" * 2000),
    "endless different headers": forever(
        HEAD, b"".join(b"X-%d: yes\r\n" % number for number in range(2000))
    ),
    "an endless header": forever(HEAD + b"X: ", BLOCK),
    "an endless status line": forever(b"HTTP/1.1 200 ", BLOCK),
    "endless interim answers": forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "endless early hints": forever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500),
    "endless empty lines": forever(b"", b"\r\n" * 10_000),
    "no HTTP without an end": forever(b"", b"220 mail ESMTP\r\n" * 1000),
    "a dripping status line": drip(HEAD * 20),
    "a dripping header": drip(HEAD + b"X: " + b"y" * 500),
    "a dripping body": drip(HEAD + b"Content-Length: 500\r\n\r\n" + b"y" * 500),
    "dripping chunks": drip(CHUNKED + b"1\r\ny\r\n" * 100),
}
"""None of these ever becomes a whole answer that is small enough."""

BROKEN: Final[dict[str, Script]] = {
    "a gzip bomb": with_body(BOMB, "Content-Encoding: gzip\r\n"),
    "no gzip": with_body(b"\x1f\x8b\x08 but not really", "Content-Encoding: gzip\r\n"),
    "gzip cut off": with_body(gzip.compress(b"{}" * 99)[:-9], "Content-Encoding: gzip\r\n"),
    "a body shorter than its length": once(HEAD + b'Content-Length: 99\r\n\r\n{"status"'),
    "two lengths": once(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    "a length and chunks": once(
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "a length that is no number": once(HEAD + b"Content-Length: two\r\n\r\n{}"),
    "a length of 5,000 digits": once(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}"),
    "a chunk size beyond 64 bits": once(CHUNKED + b"f" * 40 + b"\r\n{}\r\n"),
    "a negative chunk size": once(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n"),
    "another protocol": once(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "HTTP/2": once(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "TLS": once(b"\x15\x03\x03\x00\x02\x02\x16"),
    "a status of letters": once(b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}"),
    "a status of 20 digits": once(b"HTTP/1.1 20000000000000000000 OK\r\n\r\n{}"),
    "a version that is none": once(b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "control characters in the head": once(HEAD + b"X\x00\x1b[2J: \x07\r\n\r\n{}"),
    "only an interim answer": once(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an unfinished head": once(HEAD + b"Content-Type: appl"),
    "nothing": once(b""),
}
"""None of these is a whole answer, or one with a body that means anything."""


JSON_BODIES: Final[dict[str, bytes]] = {
    "empty": b"",
    "white space": b" \r\n" * 10_000,
    "no JSON": b"<html><title>Sign in</title></html>",
    "binary": bytes(range(256)) * 40,
    "invalid UTF-8": b'{"status":"success\xff\xfe","data":{"version":"\xc0\x80"}}',
    "lone surrogates": rb'{"status":"success","data":{"version":"\ud800","yaml":"\udfff"}}',
    "UTF-16": '{"status":"success"}'.encode("utf-16"),
    "another encoding": zlib.compress(b'{"status":"success"}'),
    "deep lists": b"[" * 2_000_000,
    "deep objects": b'{"data":' * 500_000,
    "deep and closed": b'{"status":"success","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "1e999": b'{"status":"success","data":1e999,"version":1e999}',
    "an integer of 10,000 digits": b'{"status":"success","data":' + b"9" * 10_000 + b"}",
    "not a number": b'{"status":"success","data":NaN,"version":-Infinity}',
    "cut off": b'{"status":"success","data":{"resultType":"mat',
    "a list": b"[" + b"[]," * 100_000 + b"[]]",
    "null": b"null",
    "a string": b'"success"',
    "data of another kind": b'{"status":"success","data":[{"resultType":"streams"}]}',
    "an error with status 200": b'{"status":"error","errorType":"timeout","error":"too slow"}',
    "control characters": b'{"status":"\x1b]0;owned\x07\x1b[2J\r\n"}',
}


def is_one_clear_line(words: str) -> bool:
    """Whether a message is one line of reasonable length that a terminal only shows."""
    return bool(words) and len(words) < 900 and words.isprintable()


@contextlib.contextmanager
def memory_bounded(max_growth_bytes: int) -> Iterator[None]:
    """Assert that this process never needs much more memory than at the beginning."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _memory_bytes("VmRSS")
    yield
    growth = _memory_bytes("VmHWM") - before
    assert growth < max_growth_bytes, f"needed {growth >> 20} MiB more"


def _memory_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10
