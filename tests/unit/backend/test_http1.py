"""Reading answers, against h11, whole and in pieces; what is refused; when a connection ends."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.backend.http1 import AnswerReader, BodyTooLargeError, Headers, ProtocolError

LIMIT = 10**6


@dataclass(frozen=True)
class Read:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    reusable: bool


def read(raw: bytes, cuts: list[int], *, ended: bool, no_body: bool = False) -> Read:
    reader = AnswerReader(LIMIT, no_body=no_body)
    marks = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(marks):
        assert not reader.complete
        assert reader.feed(raw[begin:end]) == reader.complete
    if ended:
        reader.end()
    assert reader.complete
    return Read(reader.status, reader.headers.pairs, reader.body, reader.reusable)


def referee(raw: bytes, *, ended: bool, method: str = "POST") -> Read:
    """Read with h11, which gives names in lower case."""
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method=method, target="/", headers=[("Host", "a"), ("Content-Length", "0")]
    )
    connection.send(request)
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    if ended:
        connection.receive_data(b"")
    body = b""
    response = None
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            assert isinstance(event, h11.InformationalResponse), event
    assert response is not None
    found = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
    reusable = connection.their_state is h11.DONE and not ended
    return Read(response.status_code, found, body, reusable)


VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Return an answer, and whether it ends with the connection."""
    status = draw(st.sampled_from([200, 204, 304, 400, 429, 500, 599]))
    version = draw(st.sampled_from(["1.0", "1.1", "1.1"]))
    body = draw(st.binary(max_size=300))
    names = draw(st.lists(st.sampled_from(["X-A", "x-a", "Date", "Retry-After"]), max_size=3))
    spaces = st.sampled_from(["", " ", "\t "])
    lines = [f"{name}:{draw(spaces)}{draw(VALUES)}" for name in names]
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["Connection: close", "connection: Keep-Alive"])))
    framings = ["length", "end"] if version == "1.0" else ["length", "chunked", "end"]
    framing = draw(st.sampled_from(framings))
    if status in (204, 304):
        framing, body = "none", b""
    payload = body
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        sizes = draw(st.lists(st.integers(1, 50), max_size=8))
        payload = b""
        for size in (*sizes, 300):
            part, body = body[:size], body[size:]
            if part:
                payload += b"%x\r\n%b\r\n" % (len(part), part)
        payload += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: 1\r\n"])) + b"\r\n"
    phrase = draw(st.sampled_from(["", "OK", "Some Words"]))
    head = f"HTTP/{version} {status} {phrase}\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" if draw(st.booleans()) and version == "1.1" else b""
    raw = interim + head.encode() + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return raw + payload, framing == "end"


@given(answers(), st.lists(st.integers(0, 10**6), max_size=6))
def test_answers_are_read_as_h11_reads_them(answer: tuple[bytes, bool], cuts: list[int]) -> None:
    raw, ended = answer
    expected = referee(raw, ended=ended)
    found = read(raw, cuts, ended=ended)
    assert [(name.lower(), value) for name, value in found.headers] == expected.headers
    assert (found.status, found.body) == (expected.status, expected.body)
    # h11 keeps no connection of HTTP/1.0, even where both sides want that
    if raw.startswith(b"HTTP/1.1"):
        assert found.reusable == expected.reusable


@given(answers())
def test_answers_are_read_byte_by_byte(answer: tuple[bytes, bool]) -> None:
    raw, ended = answer
    assert read(raw, list(range(len(raw))), ended=ended) == read(raw, [], ended=ended)


HEAD = b"HTTP/1.1 200 OK\r\n"
OLD = b"HTTP/1.0 200 OK\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"ICY 200 OK",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"Name : space\r\n\r\n",
        HEAD + b"A: 1\r\n folded\r\n\r\n",
        HEAD + b"A: \x00\r\n\r\n",
        HEAD + b"A: 1\nB: 2\r\n\r\n",
        HEAD + b"Content-Length: +1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 1, 2\r\n\r\n",
        HEAD + b"Content-Length: \r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 20_000,
        HEAD + b"X: " + b"x" * 9000 + b"\r\n\r\n",
        HEAD + b"A: b\r\n" * 20_000,
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 3000,
    ],
)
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    reader = AnswerReader(LIMIT)
    with pytest.raises(ProtocolError):
        reader.feed(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        HEAD + b"Content-Length: 2\r\n\r\na",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_none(raw: bytes) -> None:
    reader = AnswerReader(LIMIT)
    reader.feed(raw)
    with pytest.raises(ProtocolError):
        reader.end()


@pytest.mark.parametrize(
    ("raw", "status", "body", "reusable"),
    [
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
            200,
            b"a",
            True,
        ),
        (OLD + b"Content-Length: 1\r\n\r\na", 200, b"a", False),
        (HEAD + b"Content-Length: 1\r\n\r\nab", 200, b"a", False),
        (HEAD + b"Content-Length: 1, 1\r\n\r\na", 200, b"a", True),
        (b"HTTP/1.1 204\r\n\r\nHTTP/1.1 204\r\n\r\n", 204, b"", False),
        (HEAD + b"Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\na\r\n0\r\n\r\n", 200, b"a", True),
        (HEAD + b"Connection: foo, Close\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
    ],
)
def test_when_a_connection_may_be_used_again(
    raw: bytes, status: int, body: bytes, reusable: bool
) -> None:
    found = read(raw, [], ended=False)
    assert (found.status, found.body, found.reusable) == (status, body, reusable)


def test_the_answer_to_a_head_request_has_no_body() -> None:
    raw = HEAD + b"Content-Length: 100\r\n\r\n"
    assert read(raw, [], ended=False, no_body=True).reusable


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 11\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n6\r\n",
        HEAD + b"\r\n" + b"a" * 11,
    ],
)
def test_a_body_is_bounded(raw: bytes) -> None:
    with pytest.raises(BodyTooLargeError, match="longer than 10 bytes"):
        AnswerReader(10).feed(raw)


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([("Set-Cookie", "a"), ("Date", "now"), ("set-cookie", "b")])
    assert (headers["SET-COOKIE"], headers.get("date"), headers.get("none")) == ("a", "now", None)
    assert headers.get_all("Set-Cookie") == ["a", "b"]
    assert (list(headers), len(headers), "DATE" in headers) == (["set-cookie", "date"], 2, True)
