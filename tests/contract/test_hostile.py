"""Hostile and broken servers: one clear line, bounded time and memory, never a pass."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from hostile import (
    BROKEN,
    CHUNKED,
    HEAD,
    JSON_BODIES,
    NEVER_ENDING,
    is_one_clear_line,
    memory_bounded,
    once,
    with_body,
)
from rawserver import Peer, RawServer, refused_url

import referee
from fuzz.mutation import mutated
from looker.backend import client as client_module
from looker.backend import probe
from looker.backend.api import Target, api_for
from looker.backend.attempts import Attempts
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.outcomes import Product
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.read_phase import comparison
from looker.errors import TargetError
from looker.model.config import Mode, ReadApi
from looker.model.fragment import FragmentState
from looker.model.query import RangeQuery
from looker.model.retry import RetryPolicy
from looker.wire.columns import varint
from looker.wire.snappy import compress
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.backend.client import PushResult
    from looker.verify.proof import PageProof

    Script = Callable[[Peer], None]

MIB = 1 << 20
PROTOBUF = "Content-Type: application/x-protobuf\r\n"
HTTP_LEVEL = {**NEVER_ENDING, **BROKEN}
WORDS = "\x1b[2J\x1b]0;owned\x07 more\r\nlines\u202e" + "long " * 1000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DEADLINE_S", 1.0)
    monkeypatch.setattr(client_module, "READ_RETRY", RetryPolicy(0.05, 0.02, 0.02, 0.5))


# --- preflight ---------------------------------------------------------------------------------


def refused_by_preflight(script: Script, mode: Mode, user: str = "") -> str:
    """Return in which words preflight refuses a server."""
    with RawServer(script) as server:
        url = server.url.removesuffix("/push").replace("//", f"//{user}")
        with memory_bounded(64 * MIB), pytest.raises(TargetError) as caught:
            discover(run_config(url, mode=mode), url)
    assert is_one_clear_line(str(caught.value)), repr(str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("script", HTTP_LEVEL.values(), ids=HTTP_LEVEL)
def test_preflight_of_a_server_that_does_not_answer(script: Script) -> None:
    said = refused_by_preflight(script, Mode.LOGS)
    assert "127.0.0.1" in said
    assert ": no whole answer for " in said or " does not answer as " in said


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("body", JSON_BODIES.values(), ids=JSON_BODIES)
def test_preflight_of_a_server_that_answers_something(mode: Mode, body: bytes) -> None:
    said = refused_by_preflight(with_body(body), mode)
    assert "does not answer as" in said or "answers neither as" in said or "not ready" in said


@pytest.mark.parametrize(
    "charset", ["zlib", "bz2", "hex", "rot13", "utf-7", "punycode", "idna", "undefined", "\x80"]
)
def test_preflight_believes_no_charset(charset: str) -> None:
    script = with_body(b"eJwDAAAAAAE=", f"Content-Type: text/plain; charset={charset}\r\n")
    assert "does not answer as Loki" in refused_by_preflight(script, Mode.LOGS)


@pytest.mark.parametrize("status", ["401 U", "403 F", "500 I", "503 S", "299 X", "999 Z"])
def test_foreign_words_are_shown_as_one_line(status: str) -> None:
    for mode in Mode:
        said = refused_by_preflight(with_body(WORDS.encode(), status=status), mode)
        assert status.partition(" ")[0] in said


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "Mon, 31 Dec 9999 23:59:59 -9999",
        "Mon, 99 Foo 99999999999999999999 99:99:99 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "9" * 5000,
        "",
        "(((((((((",
    ],
)
def test_preflight_survives_any_date(date: str) -> None:
    refused_by_preflight(with_body(b"{}", f"Date: {date}\r\n"), Mode.LOGS)


def test_what_a_target_tells_of_itself_is_cut_to_size() -> None:
    huge = b"9" * 5000
    answers = {
        "/loki/api/v1/status/buildinfo": b'{"version":"\\u001b[2J' + huge + b'","revision":[[1]]}',
        "/config": b"\n" * 3_000_000 + b"max_line_size: " + huge + b"\nmax_query_length: \x1b[2J\n"
        b"  max_entries_limit_per_query: \xc2\xb2\n" + b" " * 3_000_000,
    }

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            peer.answer(answers.get(request.path, b"{}"))

    with RawServer(script) as server, memory_bounded(128 * MIB):
        url = server.url.removesuffix("/push")
        target = discover(run_config(url, mode=Mode.LOGS), url)
    assert target.version is not None
    assert is_one_clear_line(target.version)
    assert len(target.version) == 200
    assert target.revision is None
    assert target.max_entries is None
    assert target.limits == {
        "max_query_length": "\N{REPLACEMENT CHARACTER}[2J",
        "max_entries_limit_per_query": "\xb2",
    }


def test_what_need_not_be_told_may_be_too_long() -> None:
    answers = {
        "/loki/api/v1/status/buildinfo": b'{"version":"","revision":""}',
        "/config": b" " * (9 * MIB),
        "/metrics": b"# " * (9 * MIB),
    }

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            peer.answer(answers.get(request.path, b"{}"))

    with RawServer(script) as server, memory_bounded(64 * MIB):
        url = server.url.removesuffix("/push")
        target = discover(run_config(url, mode=Mode.LOGS), url)
    assert (target.version, target.limits) == (None, {})


# --- redirects ---------------------------------------------------------------------------------

REDIRECTS = ["301 Moved Permanently", "302 Found", "303 See Other", "307 T", "308 P", "300 M"]


@pytest.mark.parametrize("status", REDIRECTS)
def test_nobody_follows_a_redirect(status: str) -> None:
    with RawServer(with_body(b"{}")) as elsewhere:
        script = with_body(
            b"", f"Location: {elsewhere.url}\r\nRefresh: 0; {elsewhere.url}\r\n", status
        )
        for mode in Mode:
            said = refused_by_preflight(script, mode, user="me:secret@")
            assert said.endswith(f"redirects to {elsewhere.url}: give the URL behind the redirect")
            assert "secret" not in said
            assert "bWU6c2VjcmV0" not in said
        pushed = push(script)
        assert (pushed.state, pushed.n_attempts) == (FragmentState.INDETERMINATE, 1)
        for kind in KINDS.values():
            assert status.partition(" ")[0] in refused_read(script, kind)
    assert elsewhere.n_connections == 0


# --- pushes ------------------------------------------------------------------------------------


def target_of(url: str, product: Product, read_api: ReadApi) -> Target:
    return Target(
        url=url.removesuffix("/push"),
        product=product,
        push_path="/push",
        query_path="/query",
        read_path="/read",
        read_api=read_api,
        version=None,
        revision=None,
        tenant=None,
        authorization="Basic bWU6c2VjcmV0",
    )


def with_client(target: Target, work: Callable[[Client], Any]) -> Any:
    async def main() -> Any:
        async with Transport(max_connections=2) as transport:
            retry = RetryPolicy(0.05, 0.02, 0.02, 0.5)
            stop = asyncio.Event()
            client = Client(
                transport, api_for(target), retry, SystemClock(), stop, request_timeout_s=1.0
            )
            return await work(client)

    return asyncio.run(main())


def push(script: Script, product: Product = Product.LOKI) -> PushResult:
    with RawServer(script) as server, memory_bounded(48 * MIB):
        target = target_of(server.url, product, ReadApi.REMOTE_READ)
        result: PushResult = with_client(target, lambda client: client.push(compress(b"x" * 99), 9))
    for words in (result.refusal, result.last_reason):
        assert not words or is_one_clear_line(words), repr(words)
    return result


@pytest.mark.parametrize("script", HTTP_LEVEL.values(), ids=HTTP_LEVEL)
def test_a_push_without_an_answer_is_never_acknowledged(script: Script) -> None:
    result = push(script)
    assert result.state is FragmentState.INDETERMINATE
    assert result.unresolved
    assert result.last_reason


@pytest.mark.parametrize(
    "status", ["200 OK", "204 No Content", "400 Bad", "413 Large", "429 Slow", "500 I", "599 X"]
)
@pytest.mark.parametrize("product", Product)
def test_words_of_pushes_are_shown_as_one_line(status: str, product: Product) -> None:
    body = b"" if status.startswith("204") else WORDS.encode()
    result = push(with_body(body, status=status), product)
    if status.startswith("20"):
        assert result.state is FragmentState.ACKNOWLEDGED
    else:
        assert result.state is not FragmentState.ACKNOWLEDGED
        assert result.last_reason.startswith(status[:3])


@pytest.mark.parametrize(
    "words",
    [
        "message larger than max (1 vs. " + "9" * 1000 + ")",
        "message larger than max (" + "9" * 1000 + " vs. 1)",
        "message larger than max (0 vs. 0)",
        "message larger than max (1 vs. 2)",
        "Ingestion rate limit exceeded (limit: " + "9" * 900 + " bytes/sec) while attempting to"
        " ingest '1' lines totaling '" + "9" * 900 + "' bytes",
        "ingestion rate limit (e.e) exceeded while adding 5 samples",
        "ingestion rate limit (1e999) exceeded while adding " + "9" * 999 + " samples",
        "ingestion rate limit set to 1.2.3 items/s with a maximum allowed burst of " + "9" * 999,
        "max entry size '" + "9" * 1500 + "' bytes exceeded",
    ],
)
@pytest.mark.parametrize("status", ["400 B", "413 L", "429 T", "500 I"])
def test_numbers_that_targets_cannot_mean(words: str, status: str) -> None:
    result = push(with_body(words.encode(), status=status))
    assert result.state is not FragmentState.ACKNOWLEDGED
    assert result.fitting is None or 0 <= result.fitting < 1


@pytest.mark.parametrize(
    "value", ["9" * 5000, "1e999", "-1", "nan", "Fri, 31 Dec 9999 23:59:59 GMT", "\x80\x81", ""]
)
def test_no_retry_after_outlasts_the_deadline(value: str) -> None:
    result = push(with_body(b"wait", f"Retry-After: {value}\r\n", "503 Busy"))
    assert (result.state, result.unresolved) == (FragmentState.INDETERMINATE, True)


@pytest.mark.parametrize(
    ("statuses", "n_copies"),
    [
        (["204 No Content"], 1),
        (["500 I", "500 I", "204 No Content"], 3),
        (["429 Slow", "429 Slow", "204 No Content"], 1),
        (["503 Busy", "429 Slow", "403 Forbidden"], 2),
        (["403 Forbidden"], 1),
    ],
)
def test_a_target_has_no_more_copies_than_it_may_have_stored(
    statuses: list[str], n_copies: int
) -> None:
    answers = iter(statuses)

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            status = next(answers)
            peer.answer(b"ingestion rate limit (9) exceeded" * ("429" in status), status=status)

    result = push(script)
    assert (result.n_copies, result.n_attempts) == (n_copies, len(statuses))


def test_a_push_that_nobody_takes_leaves_no_copy() -> None:
    target = target_of(refused_url(), Product.LOKI, ReadApi.AUTO)
    result = with_client(target, lambda client: client.push(compress(b"x" * 99), 9))
    assert (result.state, result.n_copies) == (FragmentState.UNSENT, 0)


@pytest.mark.parametrize("n_answers", [2, 50])
def test_a_surplus_answer_acknowledges_nothing(n_answers: int) -> None:
    """The second answer came before the second request: it cannot be to that."""

    def script(peer: Peer) -> None:
        if peer.read_request() is None:
            return
        peer.write(b"HTTP/1.1 204 No Content\r\n\r\n" * n_answers)
        while peer.read_request() is not None:
            peer.answer(b"no", status="403 Forbidden")

    async def work(client: Client) -> list[PushResult]:
        return [await client.push(compress(b"x" * 99), 9) for _ in range(3)]

    with RawServer(script) as server:
        target = target_of(server.url, Product.LOKI, ReadApi.AUTO)
        results = with_client(target, work)
    # every connection's first answer is taken for what it is, and no other
    assert [result.state for result in results] == [FragmentState.ACKNOWLEDGED] * 3
    assert server.n_connections == 3


RAW: Final = (
    HEAD + b'Content-Length: 20\r\nContent-Type: application/json\r\n\r\n{"status":"success"}',
    CHUNKED + b'14\r\n{"status":"success"}\r\n0\r\nTrailer: x\r\n\r\n',
    HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"{}" * 9),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nRetry-After: 5\r\n\r\n",
    b"HTTP/1.0 429 Too Many Requests\r\nSet-Cookie: a=b; Max-Age=9\r\n\r\nslow down",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
)


@pytest.mark.parametrize("n_cases", [int(os.environ.get("LOOKER_HTTP_CASES", "300"))])
def test_any_bytes_are_an_answer_or_an_error_of_the_transport(n_cases: int) -> None:
    chance = random.Random(1)  # noqa: S311 - to be played again
    cases = [mutated(chance.choice(RAW), RAW, chance) for _ in range(n_cases)]

    def script(peer: Peer) -> None:
        request = peer.read_request()
        if request is not None:
            peer.write(cases[int(request.body)])

    async def main(url: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for number in range(n_cases):
            async with Transport(max_connections=1) as transport:
                try:
                    answer = await transport.send(
                        *("POST", url),
                        headers={},
                        body=b"%d" % number,
                        deadline_s=2.0,
                        max_answer_bytes=MIB,
                    )
                except httpx.TransportError as error:
                    found[type(error).__name__] += 1
                else:
                    assert len(answer.body) <= MIB
                    found["answer"] += 1
        return found

    with RawServer(script) as server, memory_bounded(64 * MIB):
        found = asyncio.run(main(server.url))
    assert found.total() == n_cases
    assert found["answer"] > 0
    assert found["RemoteProtocolError"] > 0


# --- reads -------------------------------------------------------------------------------------

KINDS = {
    "loki": (Product.LOKI, ReadApi.AUTO),
    "remote read": (Product.PROMETHEUS, ReadApi.REMOTE_READ),
    "query": (Product.PROMETHEUS, ReadApi.QUERY),
}
MAX_BYTES = 4 * MIB


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def read(script: Script, kind: tuple[Product, ReadApi]) -> PageProof:
    product, read_api = kind
    mode = Mode.LOGS if product is Product.LOKI else Mode.METRICS
    history = referee.history(metrics=mode is Mode.METRICS)
    page = history.page()
    with RawServer(script) as server:
        target = target_of(server.url, product, read_api)
        config = replace(run_config(server.url, mode=mode), n_chars_per_line=40)
        query = RangeQuery(("a", "=", "b"), 0, 10**9, 5000, max_answer_bytes=MAX_BYTES)
        body = with_client(target, lambda client: client.fetch(query, Attempts(), divisible=False))
    return comparison(config, target, history.content)(body, page, False)


def not_accepted(script: Script, kind: tuple[Product, ReadApi]) -> bool:
    """Whether an answer is refused in one line, or found to hold nothing of what is due."""
    try:
        proof = read(script, kind)
    except TargetError as error:
        return is_one_clear_line(str(error))
    return proof.findings.n_validated == 0 and proof.findings.n_mismatches >= 24


def refused_read(script: Script, kind: tuple[Product, ReadApi]) -> str:
    with memory_bounded(160 * MIB), pytest.raises(TargetError) as caught:
        read(script, kind)
    assert is_one_clear_line(str(caught.value)), repr(str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("script", HTTP_LEVEL.values(), ids=HTTP_LEVEL)
def test_a_read_without_an_answer_is_an_error(script: Script) -> None:
    refused_read(script, KINDS["loki"])


@pytest.mark.parametrize("body", JSON_BODIES.values(), ids=JSON_BODIES)
def test_a_read_that_is_answered_with_something_else(
    body: bytes, kind: tuple[Product, ReadApi]
) -> None:
    headers = PROTOBUF if kind[1] is ReadApi.REMOTE_READ else ""
    refused_read(with_body(body, headers), kind)
    if kind[1] is ReadApi.REMOTE_READ:
        refused_read(with_body(body), kind)
        if body:
            refused_read(with_body(bytes(compress(body)), headers), kind)


@pytest.mark.parametrize("status", ["200 OK", "400 B", "404 N", "418 T", "500 I", "503 S"])
def test_words_of_reads_are_shown_as_one_line(status: str, kind: tuple[Product, ReadApi]) -> None:
    refused_read(with_body(WORDS.encode(), f"Content-Type: {'long' * 900}\r\n", status), kind)


LOKI_FRAME = '{"status":"success","data":{"resultType":"streams","result":[%s]}}'
MATRIX_FRAME = '{"status":"success","data":{"resultType":"matrix","result":[%s]}}'
TEXT = '"' + "x" * 40 + '"'
ROWS = [
    '["9223372036854775808",' + TEXT + "]",
    '["-9223372036854775809",' + TEXT + "]",
    '["' + "9" * 10_000 + '",' + TEXT + "]",
    '["1e999",' + TEXT + "]",
    '["1700000000_000000000",' + TEXT + "]",
    '[" 1700000000000000000",' + TEXT + "]",
    '["\\u0661700000000000000000",' + TEXT + "]",
    "[1700000000000000000," + TEXT + "]",
    "[1.7e18," + TEXT + "]",
    "[true," + TEXT + "]",
    "[null," + TEXT + "]",
    '[{"a":1},' + TEXT + "]",
    "[[1]," + TEXT + "]",
    '["1700000000000000000"]',
    "[]",
    '["1700000000000000000",7]',
    '["1700000000000000000",null]',
    '["1700000000000000000",["x"]]',
    '["1700000000000000000",' + TEXT + ",{},{}]",
    '{"0":"1700000000000000000","1":' + TEXT + "}",
    '"17"',
    "null",
    "17",
]
SAMPLES = [
    '[1e300,"1"]',
    '[1700000000.0005,"1"]',
    '[9223372036854775808,"1"]',
    '[18446744073709551616,"1"]',
    '[-99999999999,"1"]',
    '["1700000000","1"]',
    '[null,"1"]',
    '[true,"1"]',
    '[[1700000000],"1"]',
    '[{"a":1},"1"]',
    "[1700000000,1]",
    "[1700000000,true]",
    "[1700000000,null]",
    '[1700000000,["1"]]',
    '[1700000000,"1_0"]',
    '[1700000000," 1"]',
    '[1700000000,"1\\n"]',
    '[1700000000,"\\u0661"]',
    '[1700000000,"one"]',
    '[1700000000,""]',
    '[1700000000,"' + "x" * 100_000 + '"]',
    "[1700000000]",
    '[1700000000,"1","2"]',
    "[]",
    '"12"',
    '{"1":2,"3":4}',
    "17",
    "null",
]
ELEMENTS = ["null", "1", "[]", '"stream"', "{}", '{"stream":{},"values":{}}', '{"metric":{}}']


@pytest.mark.parametrize("row", ROWS)
def test_rows_that_are_not_time_and_line(row: str) -> None:
    body = LOKI_FRAME % f'{{"stream":{{"a":"b"}},"values":[{row}]}}'
    refused_read(with_body(body.encode()), KINDS["loki"])


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_that_are_not_time_and_value(sample: str) -> None:
    body = MATRIX_FRAME % f'{{"metric":{{"a":"b"}},"values":[{sample}]}}'
    refused_read(with_body(body.encode()), KINDS["query"])


@pytest.mark.parametrize("element", ELEMENTS)
def test_elements_that_are_neither_streams_nor_series(element: str) -> None:
    refused_read(with_body((LOKI_FRAME % element).encode()), KINDS["loki"])
    refused_read(with_body((MATRIX_FRAME % element).encode()), KINDS["query"])


@pytest.mark.parametrize(
    "labels", ["null", "[]", '"x"', "7", '{"looker_uniquename":7}', '{"looker_uniquename":{}}']
)
def test_labels_of_another_kind_are_no_pass(labels: str) -> None:
    stream = LOKI_FRAME % f'{{"stream":{labels},"values":[["1700000000000000000",{TEXT}]]}}'
    series = MATRIX_FRAME % f'{{"metric":{labels},"values":[[1700000000,"1"]]}}'
    for body, kind in ((stream, KINDS["loki"]), (series, KINDS["query"])):
        assert not_accepted(with_body(body.encode()), kind)


PROTOBUFS = {
    "a length beyond the body": b"\x0a\xff\xff\xff\xff\x07abc",
    "a length of 64 bits": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc",
    "a varint without an end": b"\x0a" + b"\xff" * 100,
    "a varint cut off": b"\x0a\x80",
    "a tag cut off": b"\x80",
    "field number 0": b"\x02\x01x",
    "an end of a group": b"\x0c",
    "groups within groups": b"\x0b" * 100_000,
    "messages within messages": b"\x0a\xff\x7f" * 30_000,
    "a wrong wire type inside": b"\x0a\x04\x0a\x02\x0d\x01",
    "labels that are no UTF-8": b"\x0a\x0a\x0a\x08\x0a\x06\x0a\x01\xff\x12\x01\xfe",
}


@pytest.mark.parametrize("raw", PROTOBUFS.values(), ids=PROTOBUFS)
def test_protobuf_that_is_none(raw: bytes) -> None:
    script = with_body(bytes(compress(raw)), PROTOBUF)
    refused_read(script, KINDS["remote read"])


SNAPPY = {
    "one gigabyte in five bytes": b"\x80\x80\x80\x80\x04",
    "four gigabytes": b"\xff\xff\xff\xff\x0f" + b"\x00" * 100,
    "more than 64 bits": b"\xff" * 20,
    "four megabytes in ten bytes": b"\x80\x80\x80\x02" + b"\x00" * 6,
    "a copy from before the beginning": b"\x0a\x01\x05\x00",
    "a literal beyond the end": b"\x64\xf0\xff",
    "the framing format": b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00abcdefg",
    "less than it claims": b"\x0a\x00x",
}


@pytest.mark.parametrize("raw", SNAPPY.values(), ids=SNAPPY)
def test_snappy_that_is_none(raw: bytes) -> None:
    with memory_bounded(32 * MIB), pytest.raises(TargetError) as caught:
        read(with_body(raw, PROTOBUF), KINDS["remote read"])
    assert is_one_clear_line(str(caught.value))


def field(content: bytes) -> bytes:
    """Return a message's field 1."""
    return b"\x0a" + varint(len(content)) + content


DENSE = {
    "loki": (LOKI_FRAME % ",".join(["[]"] * (MAX_BYTES // 3 - 99))).encode(),
    "query": (MATRIX_FRAME % ",".join(["{}"] * (MAX_BYTES // 3 - 99))).encode(),
    "remote read, results": b"\x0a\x00" * (MAX_BYTES // 2),
    "remote read, series": field(b"\x0a\x00" * (MAX_BYTES // 2 - 9)),
    "remote read, samples": field(field(b"\x12\x00" * (MAX_BYTES // 2 - 9))),
    "remote read, labels": field(field(b"\x0a\x04\x0a\x00\x12\x00" * (MAX_BYTES // 6 - 9))),
    "remote read, tags": field(b"\x0a" * (MAX_BYTES - 9)),
}


@pytest.mark.parametrize("name", DENSE)
def test_the_densest_answers_need_no_more_than_a_multiple(name: str) -> None:
    kind = KINDS[name.partition(",")[0]]
    body = DENSE[name]
    if name.startswith("remote"):
        script = with_body(bytes(compress(body)), PROTOBUF)
    else:
        script = with_body(body)
    with memory_bounded(90 * MAX_BYTES):
        assert not_accepted(script, kind)


def test_an_answer_cut_to_a_wrong_length_spoils_only_itself() -> None:
    """Neither is it taken for whole, nor is its rest taken for another answer."""
    faithful = referee.streams_response(referee.history().elements())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(faithful) - 5}\r\n\r\n".encode()
    refused_read(once(head + faithful), KINDS["loki"])


def test_a_faithful_answer_passes_here_too() -> None:
    """The harness itself: what these tests refuse is not refused by their making."""
    for metrics, body, name, headers in (
        (False, referee.streams_response, "loki", ""),
        (True, referee.matrix_response, "query", ""),
        (True, lambda own: compress(referee.read_response(own)), "remote read", PROTOBUF),
    ):
        raw = bytes(body(referee.history(metrics=metrics).elements()))
        proof = read(with_body(raw, headers), KINDS[name])
        assert referee.summary(proof.findings) == {"n_expected": 24, "n_validated": 24}
