"""Hostile clients of the embedded target: its memory is bounded, and others are still answered."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

import pytest

from looker.wire.columns import varint
from looker.wire.snappy import compress, decompress
from servers import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MB: Final = 1_000_000
LIMIT_MB: Final = 256
OWN_BYTES: Final = 150 * MB
"""What the process takes by itself, and the C library beside what it was asked for."""
PATIENCE_S: Final = 120.0
NS: Final = 1_700_000_000_000_000_000
LOKI: Final = "/loki/api/v1/push"
WRITE: Final = "/api/v1/write"
SNAPPY: Final = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
JSON: Final = {"Content-Type": "application/json"}
GZIP: Final = {**JSON, "Content-Encoding": "gzip"}
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Attacked:
    """A target in a process of its own."""

    url: str
    pid: int
    limit_mb: int

    def send(
        self, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request (POST with a body, else GET); returns status and body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)
        try:
            connection.request("POST" if body else "GET", path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def query(self, path: str, **parameters: str) -> Any:
        status, body = self.send(f"{path}?{urlencode(parameters)}")
        assert status == 200, body
        return json.loads(body)["data"]["result"]

    def connect(self) -> socket.socket:
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname, place.port or 0), timeout=PATIENCE_S)

    def most_resident(self) -> int:
        """Return the largest resident memory there was, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) << 10

    def forget_peak(self) -> int:
        """Begin a new peak; returns what is resident now, in bytes."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.most_resident()

    def check(self, most_bytes: int | None = None) -> None:
        """Assert that memory stayed within the limit, and that another client is answered."""
        most_bytes = self.limit_mb * MB + OWN_BYTES if most_bytes is None else most_bytes
        assert self.send("/ready")[0] == 200
        body = json.dumps({"streams": [{"stream": {"other": "x"}, "values": [[str(NS), "y"]]}]})
        status, said = self.send(LOKI, body.encode(), JSON)
        assert status == 204, said
        assert self.most_resident() < most_bytes, self.most_resident() // MB


@contextlib.contextmanager
def attacked(directory: Path, limit_mb: int, *arguments: str) -> Iterator[Attacked]:
    limit = ("--max-memory-mb", str(limit_mb))
    with Run(directory, "target", "--port", "0", *limit, *arguments) as run:
        run.wait_for("listens at http")
        yield Attacked(run.text("stderr").split("listens at ")[1].split()[0], run.pid, limit_mb)


@pytest.fixture(scope="module")
def shared_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Be attacked by one test after the other, and stay as it was."""
    with attacked(tmp_path_factory.mktemp("target"), LIMIT_MB) as target:
        yield target


@pytest.fixture
def target(shared_target: Attacked) -> Attacked:
    shared_target.forget_peak()
    return shared_target


def head(path: str, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


# --- what is received ---------------------------------------------------------------------------


def test_bodies_that_are_only_announced_take_no_memory(target: Attacked) -> None:
    """Field case 55: 20 bare heads made 2 GB."""
    before = target.forget_peak()
    clients = [target.connect() for _ in range(20)]
    for client in clients:
        client.sendall(head(LOKI, 100 << 20, JSON) + b"[")
    target.check(before + 30 * MB)
    for client in clients:
        client.close()


def test_a_body_beyond_all_bounds_is_refused_by_its_head(target: Attacked) -> None:
    with target.connect() as client:
        client.sendall(head(LOKI, 1 << 30, JSON))
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    target.check()


def test_bodies_that_come_but_never_end_stay_within_the_memory(target: Attacked) -> None:
    clients = [target.connect() for _ in range(6)]

    def send(client: socket.socket) -> None:
        try:
            client.sendall(head(LOKI, 100 << 20, JSON))
            client.sendall(bytes(99 << 20))
        except OSError:
            return  # refused on the way

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for client in clients:
        client.close()
    target.check()


# --- what is decompressed and parsed ------------------------------------------------------------


def repeated(part: bytes, n: int, before: bytes = b'{"streams":[', after: bytes = b"{}]}") -> bytes:
    return gzip.compress(before + part * n + after, 1)


JSON_BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "zeros": lambda: gzip.compress(bytes(300 * MB), 1),
    "lists": lambda: repeated(b"[],", 4_000_000),
    "objects": lambda: repeated(b'{"":[]},', 2_000_000),
    "numbers": lambda: repeated(b"1.5,", 8_000_000),
    "entries": lambda: repeated(
        b'["1700000000000000000",""],',
        1_500_000,
        b'{"streams":[{"stream":{"a":"b"},"values":[',
        b'["1700000000000000000",""]]}]}',
    ),
    "wide characters": lambda: repeated('["😀",""],'.encode(), 2_000_000),
}


@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_compressed_json_is_bounded_by_what_it_becomes(target: Attacked, kind: str) -> None:
    """Field case 55: one request of 19 MB made 21 GB and no answers."""
    status, said = target.send(LOKI, JSON_BOMBS[kind](), GZIP)
    assert status in {413, 503}, (status, said)
    assert b"--max-memory-mb 256" in said
    target.check()


def test_deep_nesting_is_no_recursion(target: Attacked) -> None:
    status, _ = target.send(LOKI, b"[" * 1_000_000, JSON)
    assert status == 400
    target.check()


PROTOBUF_BOMBS: Final = {
    "empty streams": (LOKI, b"\x0a\x00", 8_000_000),
    "empty series": (WRITE, b"\x0a\x00", 8_000_000),
    "empty metadata": (WRITE, b"\x1a\x00", 8_000_000),
    "zeros": (WRITE, b"\x00", 300_000_000),
    "queries": ("/api/v1/read", b"\x0a\x00", 8_000_000),
}


@pytest.mark.parametrize("kind", PROTOBUF_BOMBS)
def test_compressed_protobuf_is_bounded_by_what_it_becomes(target: Attacked, kind: str) -> None:
    path, part, n = PROTOBUF_BOMBS[kind]
    status, said = target.send(path, bytes(compress(part * n)), SNAPPY)
    assert status == (400 if kind == "queries" else 413), said
    target.check()


@pytest.mark.parametrize("part", [b"a=&", b"&", b"a=%41%41%41%41&"])
def test_the_parameters_of_a_form_are_bounded(target: Attacked, part: bytes) -> None:
    path = "/loki/api/v1/query_range"
    status, _ = target.send(path, part * (9_000_000 // len(part)), FORM)
    assert status == 413
    assert target.send(path, bytes(11 << 20), FORM) == (413, b"http: POST too large\n")
    target.check()


# --- labels -------------------------------------------------------------------------------------


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def series(n_labels: int) -> bytes:
    labels = (field(1, b"l%06d" % n) + field(2, b"v") for n in range(n_labels))
    sample = b"\x09" + struct.pack("<d", 1.5) + b"\x10" + varint(NS // 1_000_000)
    return field(1, b"".join(field(1, label) for label in labels) + field(2, sample))


@pytest.mark.timeout(600)
def test_300_000_labels_of_a_stream_100_000_of_a_series_are_taken_and_found(tmp_path: Path) -> None:
    """Field case 55: quadratic."""
    with attacked(tmp_path, 1024) as target:
        labels = {f"l{n}": "v" for n in range(300_000)}
        body = json.dumps({"streams": [{"stream": labels, "values": [[str(NS), "line"]]}]})
        assert target.send(LOKI, body.encode(), JSON)[0] == 204
        times = {"start": str(NS), "end": str(NS + 1)}
        selector = '{l7="v",l299999=~"v+"}'
        (found,) = target.query("/loki/api/v1/query_range", query=selector, **times)
        assert found["stream"] == labels
        assert found["values"] == [[str(NS), "line"]]
        assert target.send(WRITE, bytes(compress(series(100_000))), SNAPPY)[0] == 204
        at = f"{NS / 1e9:.3f}"
        selector = '{l000007="v",l099999=~"v+"}'
        (found,) = target.query("/api/v1/query", query=selector, time=at)
        assert found["metric"] == {f"l{n:06d}": "v" for n in range(100_000)}
        target.check()


def test_servers_with_a_limit_on_labels_refuse_them_in_their_words(tmp_path: Path) -> None:
    with attacked(tmp_path, LIMIT_MB, "--like", "loki-default") as loki:
        labels = {f"l{n}": "v" for n in range(100_000)}
        body = json.dumps({"streams": [{"stream": labels, "values": [[str(NS), "line"]]}]})
        status, said = loki.send(LOKI, body.encode(), JSON)
        assert status == 400
        assert said.endswith(b"has 100000 label names; limit 15\n")


# --- queries ------------------------------------------------------------------------------------


def test_regular_expressions_take_linear_time(target: Attacked) -> None:
    """Field case 55: one regular expression blocked the target for good."""
    value = "a" * 50_000
    body = json.dumps({"streams": [{"stream": {"e": value}, "values": [[str(NS), "line"]]}]})
    assert target.send(LOKI, body.encode(), JSON)[0] == 204
    blob = field(1, field(1, b"e") + field(2, value.encode()))
    sample = field(2, b"\x09" + struct.pack("<d", 1.5) + b"\x10" + varint(NS // 1_000_000))
    assert target.send(WRITE, bytes(compress(field(1, blob + sample))), SNAPPY)[0] == 204
    for pattern, n in (("(a+)+b", 0), ("(a|aa)+", 1), ("(a*)*c", 0), ("(.*a){20}", 1)):
        times = {"start": str(NS), "end": str(NS + 1)}
        selector = f'{{e=~"{pattern}"}}'
        logs = target.query("/loki/api/v1/query_range", query=selector, **times)
        metrics = target.query("/api/v1/query", query=selector, time=f"{NS / 1e9:.3f}")
        assert (len(logs), len(metrics)) == (n, n), pattern
        matcher = b"\x08\x02" + field(2, b"e") + field(3, pattern.encode())
        query = b"\x08" + varint(NS // MB) + b"\x10" + varint(NS // MB) + field(3, matcher)
        status, answer = target.send("/api/v1/read", bytes(compress(field(1, query))), SNAPPY)
        assert status == 200
        assert (value.encode() in decompress(answer, MB)) == bool(n)
    target.check()


def test_many_conditions_are_refused_or_answered(target: Attacked) -> None:
    patterns = ",".join(f'a{n}=~"x.*{n}"' for n in range(100_000))
    plain = ",".join(f'a{n}!="x"' for n in range(100_000))
    for path, selector, status in (
        ("/loki/api/v1/query_range", patterns, 400),
        ("/api/v1/query", patterns, 400),
        ("/api/v1/query", f'other="x",{plain}', 200),
    ):
        body = f"query={quote('{' + selector + '}')}".encode()
        assert target.send(path, body, FORM)[0] == status
    target.check()


@pytest.mark.parametrize("query", ["[" * 1_000_000, "[" * 1_000_000 + "]x", "1" * 1_000_000])
def test_texts_of_one_character_are_no_trap(target: Attacked, query: str) -> None:
    status, _ = target.send("/api/v1/query", f"query={query}".encode(), FORM)
    assert status in {200, 400}
    target.check()


def test_times_and_limits_beyond_all_numbers_are_answered(target: Attacked) -> None:
    target.check()
    selector = quote('{other="x"}')
    many = "9" * 400
    for path in (
        f"/loki/api/v1/query_range?query={selector}&start=-{'9' * 18}&end={'9' * 19}",
        f"/loki/api/v1/query_range?query={selector}&end={many}",
        f"/loki/api/v1/query_range?query={selector}&limit={many}",
        f"/loki/api/v1/query_range?query={selector}&since={many}y",
        f"/loki/api/v1/query_range?query={selector}&start=1&end=1e{many}",
        f"/api/v1/query?query={selector}&time=99999999999.9",
        f"/api/v1/query?query={selector}[{many}y]",
        f"/api/v1/query?query={selector}[999999999999999999y]",
        f"/api/v1/query_range?query={selector}&start=-99999999999&end=99999999999&step={many}",
        f"/api/v1/query_range?query={selector}&start=-99999999999&end=99999999999&step=1",
    ):
        status, said = target.send(path)
        assert status in {200, 400}, (path[:200], said)


def test_an_answer_that_takes_too_much_memory_is_refused(target: Attacked) -> None:
    """As the servers say it: clients that know the words ask for less."""
    n = 400_000
    samples = b"".join(
        field(2, b"\x09" + struct.pack("<d", at) + b"\x10" + varint(NS // MB + at))
        for at in range(1, n + 1)
    )
    blob = field(1, field(1, b"many") + field(2, b"x"))
    for part in range(2):
        label = field(1, field(1, b"part") + field(2, b"%d" % part))
        body = bytes(compress(field(1, blob + label + samples)))
        assert target.send(WRITE, body, SNAPPY)[0] == 204
    query = urlencode({"query": '{many="x"}[1h]', "time": f"{NS / 1e9 + 1000:.3f}"})
    status, said = target.send(f"/api/v1/query?{query}")
    assert status == 422
    assert b"query processing would load too many samples" in said
    target.check()


# --- connections --------------------------------------------------------------------------------


def test_answers_that_are_not_read_hold_up_those_behind_them(target: Attacked) -> None:
    lines = [[str(NS + n), "x" * 1000] for n in range(1000)]
    body = json.dumps({"streams": [{"stream": {"a": "b"}, "values": lines}]})
    assert target.send(LOKI, body.encode(), JSON)[0] == 204
    times = {"start": str(NS), "end": str(NS + 10_000), "limit": "5000"}
    path = "/loki/api/v1/query_range?" + urlencode({"query": '{a="b"}', **times})
    clients = [target.connect() for _ in range(5)]
    for client in clients:
        # 300 answers of 1 MB
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 300)
    target.check()
    for client in clients:
        client.close()


def test_more_connections_than_there_is_room_for_do_not_keep_others_out(target: Attacked) -> None:
    clients = []
    for _ in range(700):
        client = target.connect()
        client.sendall(b"GET /")
        clients.append(client)
    target.check()
    for client in clients:
        client.close()
