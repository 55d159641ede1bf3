from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import looker
from looker.clock import ManualClock
from looker.target.config import TargetConfig
from looker.target.server import Target
from looker.wire.proto import loki_pb2

if TYPE_CHECKING:
    from looker.target.answers import Answer

GOLDEN = Path(__file__).parents[2] / "golden" / "captures"
NS = 1_795_475_977_000_000_000
PUSH = "/loki/api/v1/push"
PROTO = {"content-type": "application/x-protobuf"}
CATEGORIZE = {"x-loki-response-encoding-flags": "categorize-labels"}
NUMBER_AS_TIME = b'{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}'
Streams = list[tuple[str, list[tuple[int, str]]]]


def body_of(streams: Streams) -> bytes:
    message = loki_pb2.PushRequest()
    for labels, entries in streams:
        stream = message.streams.add(labels=labels)
        for ns, line in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, 10**9)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def push(target: Target, streams: Streams, **headers: str) -> Answer:
    return target.answer("POST", PUSH, PROTO | headers, body_of(streams))


def query(target: Target, headers: dict[str, str] | None = None, **params: Any) -> Answer:
    return target.answer("GET", "/loki/api/v1/query_range?" + urlencode(params), headers or {}, b"")


def rows(target: Target, **params: Any) -> list[tuple[dict[str, str], list[tuple[int, str]]]]:
    answer = query(target, **params)
    assert answer.status == 200, answer.body
    result = json.loads(answer.body)["data"]["result"]
    return [(e["stream"], [(int(ns), line) for ns, line in e["values"]]) for e in result]


def captured(name: str) -> tuple[bytes, dict[str, Any]]:
    index = json.loads((GOLDEN / "index.json").read_text())
    entry = next(e for e in index if e["name"] == name)
    return (GOLDEN / entry["body"]).read_bytes(), entry


@pytest.fixture
def target() -> Target:
    target = Target(TargetConfig(), clock=ManualClock(NS))
    for number in (1, 3):
        stream = json.loads((GOLDEN / f"loki-stream-{number}.json").read_text())
        labels = stream["labels"].replace("}", ',service_name="g"}')
        assert push(target, [(labels, [tuple(e) for e in stream["entries"]])]).status == 204
    return target


@pytest.mark.parametrize(
    "name",
    [
        "loki-query-forward",
        "loki-query-forward-categorized",
        "loki-query-page-of-7",
        "loki-query-backward",
        "loki-query-empty",
        "loki-query-escapes-categorized",
        "loki-query-limit-too-high",
        "loki-query-parse-error",
    ],
)
def test_answers_are_laid_out_as_loki_does(target: Target, name: str) -> None:
    expected, entry = captured(name)
    headers = {key.lower(): value for key, value in entry["request"]["headers"].items()}
    answer = query(target, headers, **entry["request"]["params"])
    assert answer.status == entry["status"]
    assert answer.content_type == entry["headers"]["Content-Type"]
    if answer.status == 200:
        # What Loki adds by default, and its statistics, are its own.
        expected = expected.replace(b'"structuredMetadata":{"detected_level":"unknown"}', b"")
        expected = expected.replace(b'"detected_level":"unknown",', b"")
        expected = expected[: expected.index(b',"stats":')]
        got = answer.body
        assert json.loads(got)["data"]["stats"] == {
            "summary": {"totalEntriesReturned": got.count(b'["1795')}
        }
        assert got.endswith(b"}\n")
        assert got[: got.index(b',"stats":')] == expected
    else:
        assert answer.body == expected


def test_start_is_inclusive_and_end_exclusive(target: Target) -> None:
    selector = '{looker_uniquename="golden-1"}'
    (found,) = rows(target, query=selector, start=NS + 3, end=NS + 6, direction="forward")
    assert [ns - NS for ns, _ in found[1]] == [3, 4, 5]
    assert rows(target, query=selector, start=NS + 3, end=NS + 3) == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NS // 10**9, NS // 10**9 + 1),
        ("1795475977.0", "1795475977.5"),
        ("2026-11-23T23:19:37Z", "2026-11-24T00:19:37.1+01:00"),
        ("", NS + 20),
    ],
)
def test_forms_of_time(target: Target, start: object, end: object) -> None:
    found = rows(target, query='{looker_uniquename="golden-1"}', start=start, end=end)
    assert [len(entries) for _, entries in found] == [20]


def test_limit_counts_over_all_streams_in_time_order() -> None:
    target = Target(TargetConfig())
    for i in range(3):
        push(target, [(f'{{s="{i}"}}', [(NS + 3 * j + i, f"{j}") for j in range(50)])])
    found = rows(target, query='{s=~".+"}', start=0, end=2 * NS, limit=7, direction="forward")
    assert [(s["s"], [ns - NS for ns, _ in e]) for s, e in found] == [
        ("0", [0, 3, 6]),
        ("1", [1, 4]),
        ("2", [2, 5]),
    ]
    found = rows(target, query='{s=~".+"}', start=0, end=2 * NS, limit=4)
    assert [(s["s"], [ns - NS for ns, _ in e]) for s, e in found] == [
        ("0", [147]),
        ("1", [148]),
        ("2", [149, 146]),
    ]
    assert sum(len(e) for _, e in rows(target, query='{s=~".+"}', start=0, end=2 * NS)) == 100


entries = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=30)
pushes = st.lists(st.tuples(st.sampled_from("pqr"), entries), max_size=8)


@settings(max_examples=60, deadline=None)
@given(pushes, st.booleans(), st.integers(1, 40), st.integers(0, 40), st.integers(0, 41))
def test_queries_against_a_plain_model(
    sent: list[tuple[str, list[tuple[int, str]]]], forward: bool, limit: int, start: int, end: int
) -> None:
    target = Target(TargetConfig())
    model: dict[tuple[str, int, str], None] = {}
    for at, (name, some) in enumerate(sent):
        push(target, [(f'{{s="{name}"}}', [(NS + ns, line) for ns, line in some])])
        model |= {(name, ns, line): None for ns, line in some}
        if at % 3 == 0:  # a query in between makes another run
            query(target, query='{s="p"}', start=0, end=2 * NS)
    direction = "forward" if forward else "backward"
    lower, upper = min(start, end), max(start, end)
    found = rows(
        target,
        query='{s=~".+"}',
        start=NS + lower,
        end=NS + upper,
        limit=limit,
        direction=direction,
    )
    got = [(s["s"], ns - NS, line) for s, e in found for ns, line in e]
    inside = [key for key in model if lower <= key[1] < upper]
    assert len(got) == min(limit, len(inside))
    assert len(set(got)) == len(got)
    assert set(got) <= set(inside)
    times = sorted((ns for _, ns, _ in inside), reverse=not forward)[:limit]
    assert sorted((ns for _, ns, _ in got), reverse=not forward) == times
    for _, e in found:
        assert e == sorted(e, key=lambda row: row[0], reverse=not forward)


def test_duplicates_do_not_count_against_the_limit() -> None:
    target = Target(TargetConfig())
    some = [(NS + j, f"{j:03d}") for j in range(60)]
    for _ in range(4):
        push(target, [('{s="x"}', some)])
        assert (
            rows(target, query='{s="x"}', start=0, end=2 * NS, limit=50, direction="forward")[0][1]
            == some[:50]
        )
    assert rows(target, query='{s="x"}', start=0, end=2 * NS)[0][1] == some[::-1]


def test_lines_of_any_length_and_content() -> None:
    target = Target(TargetConfig())
    some = [(NS, ""), (NS + 1, "ä\u2028\x01\x7f"), (NS + 2, "plain"), (5, '</>&"\\')]
    push(target, [('{s="<&\\""}', some)])
    answer = query(target, query='{s=~".+"}', start=0, end=2 * NS, direction="forward")
    assert answer.body.startswith(
        b'{"status":"success","data":{"resultType":"streams","result":[{"stream":{"s":"<&\\""},'
        b'"values":[["5","\\u003c/\\u003e\\u0026\\"\\\\"],["1795475977000000000",""],'
        b'["1795475977000000001","\xc3\xa4\\u2028\\u0001\x7f"],["1795475977000000002","plain"]]}],'
    )


def test_json_push_and_tenants() -> None:
    target = Target(TargetConfig())
    body = json.dumps(
        {"streams": [{"stream": {"b": 'q"', "a": "1"}, "values": [[str(NS), "line"]]}]}
    ).encode()
    headers = {"content-type": "application/json", "x-scope-orgid": "t1"}
    assert target.answer("POST", PUSH, headers, body).status == 204
    parameters = {"query": '{a="1"}', "start": 0, "end": NS + 1}
    path = f"/loki/api/v1/query_range?{urlencode(parameters)}"
    answer = target.answer("GET", path, headers, b"")
    assert json.loads(answer.body)["data"]["result"] == [
        {"stream": {"a": "1", "b": 'q"'}, "values": [[str(NS), "line"]]}
    ]
    assert json.loads(target.answer("GET", path, {}, b"").body)["data"]["result"] == []
    form = path.partition("?")[2].encode()
    headers["content-type"] = "application/x-www-form-urlencoded"
    posted = target.answer("POST", "/loki/api/v1/query_range", headers, form)
    assert posted.body == answer.body


@pytest.mark.parametrize(
    ("headers", "body", "status", "text"),
    [
        ({}, b"", 400, "mime: no media type\n"),
        (PROTO, b"\xff\xff\xff", 400, "snappy: corrupt input"),
        (PROTO, bytes(cramjam.snappy.compress_raw(b"\x0a\xff")), 400, "not a valid PushRequest"),
        (PROTO, body_of([]), 422, "error at least one valid stream"),
        (PROTO, body_of([('{a="b"}', [])]), 204, ""),
        (PROTO, body_of([("{}", [(NS, "x")])]), 400, "at least one label pair"),
        (PROTO, body_of([('{a="1",a="2"}', [(NS, "x")])]), 400, "stream '{a="),
        (PROTO, body_of([("nonsense", [(NS, "x")])]), 400, "error parsing labels: 1:1: parse err"),
        (PROTO | {"content-encoding": "br"}, b"", 400, 'Content-Encoding "br" not supported'),
        ({"content-type": "application/json"}, NUMBER_AS_TIME, 400, "loghttp.PushRequest"),
    ],
)  # fmt: skip
def test_pushes_that_are_refused(
    headers: dict[str, str], body: bytes, status: int, text: str
) -> None:
    answer = Target(TargetConfig()).answer("POST", PUSH, headers, body)
    assert (answer.status, answer.body.decode()[: len(text)]) == (status, text)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": 0}, "limit must be a positive value"),
        ({"limit": -1}, "limit must be a positive value"),
        ({"direction": "up"}, "invalid direction"),
        ({"start": "x"}, "could not parse 'start'"),
        ({"query": '{a="b"} |= "x"'}, "parse error at line 1, col 9: syntax error"),
        ({"query": '{a=~".*"}'}, "parse error : queries require at least one"),
    ],
)
def test_queries_that_are_refused(params: dict[str, object], text: str) -> None:
    answer = query(Target(TargetConfig()), **{"query": '{a="b"}', **params})
    assert answer.status == 400
    assert answer.body.decode().startswith(text)


def test_structured_metadata_is_refused_not_dropped() -> None:
    message = loki_pb2.PushRequest()
    entry = message.streams.add(labels='{a="b"}').entries.add(line="x")
    entry.timestamp.seconds = 1
    entry.structured_metadata.add(name="k", value="v")
    body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
    assert Target(TargetConfig()).answer("POST", PUSH, PROTO, body).status == 400


def test_a_full_memory_refuses_whole_requests() -> None:
    target = Target(TargetConfig(max_memory_mb=1))
    small = [(NS + i, "x" * 100) for i in range(1000)]
    assert push(target, [('{a="1"}', small)]).status == 204
    held = target.store.budget.held_bytes
    assert 132_000 < held < 160_000
    large = [(NS + i, "y" * 100) for i in range(10_000)]
    answer = push(target, [('{a="2"}', large)])
    assert (answer.status, answer.body) == (
        507,
        b"looker target: memory limit of 1 MB reached, nothing of this request was stored\n",
    )
    assert target.store.budget.held_bytes == held
    assert rows(target, query='{a="2"}', start=0, end=2 * NS) == []
    assert push(target, [('{a="2"}', small)]).status == 204


def test_buildinfo_and_ready() -> None:
    target = Target(TargetConfig())
    info = json.loads(target.answer("GET", "/loki/api/v1/status/buildinfo", {}, b"").body)
    assert info["version"] == f"looker-{looker.__version__}"
    assert list(info) == list(json.loads(captured("loki-buildinfo")[0]))
    assert target.answer("GET", "/ready", {}, b"").body == captured("loki-ready")[0]


def test_many_pages_read_everything_once() -> None:
    target = Target(TargetConfig())
    rng = np.random.default_rng(5)
    stamps = np.sort(rng.choice(10**6, 3000, replace=False)).tolist()
    for at in range(0, 3000, 300):
        part = stamps[at : at + 300]
        push(target, [(f'{{s="{i}"}}', [(NS + t, f"{t}") for t in part[i::3]]) for i in range(3)])
    got, start = [], NS
    while True:
        page = rows(
            target, query='{s=~"."}', start=start, end=2 * NS, limit=250, direction="forward"
        )
        new = sorted(ns - NS for _, e in page for ns, _ in e)
        if not new:
            break
        got += new
        start = NS + new[-1] + 1
    assert got == stamps
