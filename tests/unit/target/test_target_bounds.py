"""The bounds of the embedded target: time, connections, and what is counted as memory."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from looker.target import connections as connections_module
from looker.target import label_index
from looker.target.append_rules import Batch, rising
from looker.target.config import TargetConfig
from looker.target.connections import Connections
from looker.target.effort import EffortError, Limited, check, checked, expect
from looker.target.label_index import LabelIndex
from looker.target.levels import of_line
from looker.target.matchers import Matcher
from looker.target.memory import LEAST_LENT_BYTES, MEGABYTE, Budget, LoanError
from looker.target.patterns import Pattern, PatternError
from looker.target.server import Target, serving
from looker.wire.snappy import compress
from servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

NS = 1_700_000_000_000_000_000
JSON = {"content-type": "application/json"}
PROTO = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}


# --- memory -------------------------------------------------------------------------------------


def test_what_is_lent_and_what_is_held_share_one_limit() -> None:
    budget = Budget(1000)
    budget.take(800 * MEGABYTE)
    with budget.loan(150 * MEGABYTE) as loan:
        assert budget.free_bytes == 50 * MEGABYTE
        with pytest.raises(LoanError, match=r"60,000,000 bytes .*\(--max-memory-mb 1000\)") as one:
            loan.more(60 * MEGABYTE)
        assert not one.value.ever
        with pytest.raises(LoanError) as other:
            loan.more(201 * MEGABYTE)
        assert other.value.ever
        loan.more(50 * MEGABYTE)
    assert budget.lent_bytes == 0
    # a full target still answers
    budget.take(200 * MEGABYTE)
    assert budget.free_bytes == LEAST_LENT_BYTES


def label_sets(n: int) -> list[dict[str, str]]:
    """Return label sets that take much memory for their text: short names, all different."""
    return [{f"l{n}_{k}": f"v{n}_{k}" for k in range(30)} for n in range(n)]


def log_push(labels: dict[str, str]) -> bytes:
    plain = {"streams": [{"stream": labels, "values": [[str(NS), "x"]]}]}
    return json.dumps(plain).encode()


def series_push(labels: dict[str, str]) -> bytes:
    from looker.wire.proto.prometheus_pb2 import WriteRequest  # noqa: PLC0415

    request = WriteRequest()
    one = request.timeseries.add()
    for name, value in sorted(labels.items()):
        one.labels.add(name=name, value=value)
    one.samples.add(value=1.5, timestamp=NS // 1_000_000)
    return bytes(compress(request.SerializeToString()))


@pytest.mark.parametrize("kind", ["logs", "loki", "series"])
def test_what_label_sets_take_is_counted(kind: str) -> None:
    """Hundreds of bytes of Python objects for each byte of a short label's text."""
    target = Target(TargetConfig(like="loki-raised" if kind == "loki" else "looker"))
    sets = label_sets(150)
    path, headers, push = ("/loki/api/v1/push", JSON, log_push)
    if kind == "series":
        path, headers, push = ("/api/v1/write", PROTO, series_push)
    bodies = [push(labels) for labels in sets]
    target.answer("POST", path, headers, push({"warm": "up"}))
    held_before = target.store.budget.held_bytes
    tracemalloc.start()
    try:
        for body in bodies:
            assert target.answer("POST", path, headers, body).status == 204
        if kind == "series":
            query = urlencode({"query": '{l1_1="v1_1"}', "time": str(NS // 10**9)})
            assert target.answer("GET", f"/api/v1/query?{query}", {}, b"").status == 200
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = target.store.budget.held_bytes - held_before
    assert taken < 1.1 * held
    # and not much more is counted than that
    assert held < 4 * taken


def test_memory_set_aside_for_labels_is_used_before_a_push_is_refused() -> None:
    target = Target(TargetConfig(max_memory_mb=4))
    shared = {f"name{k}": "a value that all have" for k in range(10)}
    n_taken = 0
    while (
        target.answer(
            "POST", "/api/v1/write", PROTO, series_push({**shared, "one": str(n_taken)})
        ).status
        == 204
    ):
        n_taken += 1
    # 8 kB are set aside for each, of which an index takes less than 1
    assert n_taken > 800
    assert target.store.budget.held_bytes <= 4 * MEGABYTE


def test_tenants_and_refused_streams_are_counted() -> None:
    target = Target(TargetConfig(max_memory_mb=1))
    statuses = [
        target.answer(
            "POST", "/loki/api/v1/push", {**JSON, "x-scope-orgid": f"t{n}"}, log_push({"a": "b"})
        ).status
        for n in range(400)
    ]
    assert statuses[0] == 204
    assert statuses[-1] == 507
    limited = Target(TargetConfig(max_memory_mb=1, like="loki-default"))
    body = {"streams": [{"stream": {"a": "x" * 100}, "values": [["1", "too old"]]}]}
    statuses = []
    for n in range(2000):
        body["streams"][0]["stream"] = {"a": f"{n}"}  # type: ignore[index]
        text = json.dumps(body).encode()
        statuses.append(limited.answer("POST", "/loki/api/v1/push", JSON, text).status)
    assert statuses[0] == 400
    assert statuses[-1] == 507


def test_remembered_selections_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_index, "_CACHED_BYTES", 80_000)
    index = LabelIndex(lambda labels: labels)
    for number in range(500):
        index.add((("a", str(number)), ("b", "x")))
    index.select((Matcher("b", "=", "x"),))
    tracemalloc.start()
    try:
        for number in range(200):
            matchers = (Matcher("b", "=", "x"), Matcher("a", "!=", f"none{number}"))
            assert len(index.select(matchers)) == 500
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 200 selections of 4 kB each
    assert held < 150_000


def test_reasons_do_not_add_up() -> None:
    """Each of 20,000 entries is refused for a reason that names a stream of 20 kB."""
    target = Target(TargetConfig(like="loki-raised"))
    values = [[str(NS + 10**18 + n * 10**9), "x"] for n in range(20_000)]
    plain = {"streams": [{"stream": {"a": "x" * 20_000}, "values": values}]}
    answer = target.answer("POST", "/loki/api/v1/push", JSON, json.dumps(plain).encode())
    assert answer.status == 400
    assert b"has timestamp too new" in answer.body
    assert len(answer.body) < 3 * MEGABYTE


# --- time ---------------------------------------------------------------------------------------


def test_a_limit_is_looked_at() -> None:
    check()
    expect(1000.0)
    with Limited(1000.0):
        assert list(checked(range(1000))) == list(range(1000))
        expect(1e6)
    with Limited(1000.0, at_once=True), pytest.raises(EffortError):
        expect(1e6)
    with Limited(1e-9):
        # the time begins with the first look at the clock
        check()
        with pytest.raises(EffortError):
            check()
        with pytest.raises(EffortError):
            list(checked(range(1000)))
    with Limited(0):
        check()
        check()


def many_streams(n: int) -> bytes:
    streams = [{"stream": {"a": f"b{k}"}, "values": [[str(NS), "x"]]} for k in range(n)]
    return json.dumps({"streams": streams}).encode()


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/loki/api/v1/query_range?query=%7Ba%3D~%22b.*%22%7D", 504, b"request timed out, "),
        ("GET", "/loki/api/v1/series?match[]=%7Ba%3D~%22b.*%22%7D", 504, b"request timed out, "),
        (
            "GET",
            "/api/v1/query?query=%7Ba%3D~%22b.*%22%7D",
            503,
            b'{"status":"error","errorType":"timeout","error":"query timed out in expression',
        ),
        ("POST", "/loki/api/v1/push", 503, b"takes more than 1e-09 s, nothing of it was stored\n"),
    ],
)
def test_what_takes_too_long_is_refused_in_the_servers_words(
    method: str, path: str, status: int, words: bytes
) -> None:
    target = Target(TargetConfig())
    assert target.answer("POST", "/loki/api/v1/push", JSON, many_streams(1000)).status == 204
    sets = [{"a": f"b{k}"} for k in range(1000)]
    for labels in sets:
        assert target.answer("POST", "/api/v1/write", PROTO, series_push(labels)).status == 204
    records, held = target.counters.records, target.store.budget.held_bytes
    target.config = replace(target.config, query_timeout_s=1e-9)
    answer = target.answer(method, path, JSON, many_streams(1001) if method == "POST" else b"")
    assert answer.status == status
    assert words in answer.body
    assert target.counters.records == records
    assert target.store.budget.held_bytes <= held
    assert target.store.budget.lent_bytes == 0
    target.config = replace(target.config, query_timeout_s=10.0)
    query = "/loki/api/v1/label/a/values?start=0"
    assert len(json.loads(target.answer("GET", query, {}, b"").body)["data"]) == 1000


def get(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    return thread, found


def is_beside_the_loop() -> bool:
    """Whether this is not the thread of the event loop; EffortError there, as if it took long."""
    if threading.current_thread().name == "looker-target":
        raise EffortError
    return True


def test_while_one_request_takes_long_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving() as served:
        begun, released = threading.Event(), threading.Event()
        query = served.store.logs.query

        def slow(*arguments: Any) -> Any:
            assert is_beside_the_loop()
            begun.set()
            assert released.wait(60)
            return query(*arguments)

        monkeypatch.setattr(served.store.logs, "query", slow)
        path = "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D"
        first, answers = in_thread(lambda: get(served.url, path))
        assert begun.wait(60)
        # what touches no store is answered meanwhile, the others after it
        assert get(served.url, "/ready") == (200, b"ready\n")
        assert get(served.url, "/metrics")[0] == 200
        second, later = in_thread(lambda: get(served.url, "/loki/api/v1/labels"))
        assert get(served.url, "/ready")[0] == 200
        assert not answers
        assert not later
        released.set()
        first.join(60)
        second.join(60)
        assert answers[0][0] == later[0][0] == 200
        wait_until(lambda: served.target.counters.answered[200] == 5, "all are counted")


def test_a_client_that_leaves_before_its_answer_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving() as served:
        push = served.store.logs.push
        monkeypatch.setattr(
            served.store.logs, "push", lambda *given: is_beside_the_loop() and push(*given)
        )
        body = log_push({"a": "b" * 100_000})
        for _ in range(5):
            with socket.create_connection(address(served.url), timeout=60) as client:
                length = f"Content-Length: {len(body)}\r\n"
                line = "POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/json\r\n"
                client.sendall(f"{line}{length}\r\n".encode() + body)
        wait_until(lambda: served.target.counters.answered[204] == 5, "all are stored")
        wait_until(lambda: served.store.budget.lent_bytes == 0, "all is given back")


# --- connections --------------------------------------------------------------------------------


def address(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    return str(place.hostname), int(place.port or 0)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET / HTT", b"HTTP/1.1 408 Request Timeout\r\n"),
        (b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Length: 9\r\n\r\n[", b"HTTP/1.1 408 "),
        (b"GET /ready HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
    ],
)
def test_a_connection_that_stands_still_is_closed(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, answered: bytes
) -> None:
    monkeypatch.setattr(connections_module, "TICK_S", 0.01)
    with serving() as served, socket.create_connection(address(served.url), timeout=60) as client:
        client.sendall(sent)
        got = b""
        while part := client.recv(1000):
            got += part
        assert got.startswith(answered)
        assert bool(got) == bool(answered)


def test_a_request_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not enough."""
    monkeypatch.setattr(connections_module, "TICK_S", 0.01)
    with serving() as served, socket.create_connection(address(served.url), timeout=60) as client:
        client.sendall(b"GET /ready HTTP/1.1\r\n")
        refused = threading.Event()

        def trickle() -> None:
            while not refused.is_set():
                try:
                    client.sendall(b"a")
                except OSError:
                    return
                time.sleep(0.005)

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
        refused.set()
        thread.join(60)


class FakeConnection:
    """A connection that only counts."""

    def __init__(self, among: Connections, quiet_ticks: int, *, has_answered: bool) -> None:
        self.among = among
        self.quiet_ticks = quiet_ticks
        self.has_answered = has_answered
        self.lent_bytes = 0
        self.is_waiting = True

    def tick(self) -> None:
        raise AssertionError

    def abort(self) -> None:
        self.among.discard(self)
        self.among.budget.give_back(self.lent_bytes)
        self.lent_bytes = 0


def test_those_that_have_brought_nothing_make_room_first() -> None:
    everyone = Connections(Budget(1000), most=3)
    served = FakeConnection(everyone, 9, has_answered=True)
    quiet = FakeConnection(everyone, 5, has_answered=False)
    new = FakeConnection(everyone, 0, has_answered=False)
    last = FakeConnection(everyone, 0, has_answered=False)
    assert all(everyone.add(one, 1000) for one in (served, quiet, new, last))
    assert list(everyone._open) == [served, new, last]
    assert everyone.budget.lent_bytes == 3000


def test_memory_for_a_body_is_taken_from_those_that_stand_still() -> None:
    everyone = Connections(Budget(1000))
    quiet, busy, working, new = (
        FakeConnection(everyone, ticks, has_answered=False) for ticks in (2, 0, 9, 0)
    )
    working.is_waiting = False
    for one in (quiet, busy, working):
        assert everyone.add(one, 0)
        everyone.lend(one, 300 * MEGABYTE)
        one.lent_bytes = 300 * MEGABYTE
    assert everyone.add(new, 0)
    everyone.lend(new, 400 * MEGABYTE)
    assert list(everyone._open) == [busy, working, new]
    with pytest.raises(LoanError):
        everyone.lend(new, 1)


# --- what was not linear ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("a|b", "b", True),
        ("a|b", "a|b", False),
        ("|a", "", True),
        ("a.c", "a\nc", True),
        ("a.c", "xabc", False),
        ("(?i)ABC", "abc", True),
        ("(a|b)*", "abba", True),
        (r"\d+", "12", True),
        ("é+", "éé", True),
        ("[^a]", "\udcff", True),
    ],
)
def test_patterns_match_whole_texts(text: str, value: str, *, matches: bool) -> None:
    assert Pattern(text).matches(value) == matches


@pytest.mark.parametrize("text", ["(", r"(a)\1", "(?=a)", "a**", "(?<!a)b", "[b-a]", "a{1001}"])
def test_what_the_servers_do_not_take_is_no_pattern(text: str) -> None:
    with pytest.raises(PatternError, match="error parsing regexp: "):
        Pattern(text)


def test_samples_that_fall_are_passed_over_as_one_by_one() -> None:
    rng = random.Random(1)  # noqa: S311 - no secret
    for _ in range(200):
        series = np.array(sorted(rng.randrange(5) for _ in range(30)), np.int64)
        times = np.array([rng.randrange(10) for _ in range(30)], np.int64)
        batch = Batch(series, times, np.arange(30, dtype=np.uint64))
        highest: dict[int, int] = {}
        kept = []
        for at, (number, moment) in enumerate(zip(series.tolist(), times.tolist(), strict=True)):
            if moment > highest.get(number, -1):
                kept.append(at)
            highest[number] = max(moment, highest.get(number, -1))
        assert rising(batch).bits.tolist() == kept


@pytest.mark.timeout(60)
def test_long_texts_are_looked_at_once() -> None:
    assert of_line("=" + "x" * 2_000_000 + " level=warn") == "warn"
    assert of_line("level " + "a=b " * 1000 + "level=error") == "error"
    # 50,000 series, each with a sample that falls
    series = np.repeat(np.arange(50_000), 2)
    batch = Batch(series, np.tile(np.array([2, 1]), 50_000), np.zeros(100_000, np.uint64))
    assert len(rising(batch).times) == 50_000
