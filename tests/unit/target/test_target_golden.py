"""Every captured exchange with a real server, asked again of the target that stands for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cramjam
import pytest

from looker.clock import ManualClock
from looker.target.config import TargetConfig
from looker.target.server import Target
from looker.wire.decode import decode_read_response
from looker.wire.proto import loki_pb2, prometheus_pb2

if TYPE_CHECKING:
    from looker.target.answers import Answer

GOLDEN = Path(__file__).parents[2] / "golden" / "captures"
INDEX = {entry["name"]: entry for entry in json.loads((GOLDEN / "index.json").read_text())}
NS = 1_795_475_977_000_000_000
SECOND = 10**9
HOUR = 3600 * SECOND
PROM_MS = 1_795_475_977_000
CORTEX_MS = 1_795_476_160_000
WRITE = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
GOLDEN_1 = '{looker_uniquename="golden-1",job="g"}'
Entries = list[tuple[int, str]]
Series = list[tuple[dict[str, str], list[tuple[int, float]]]]


def names_of(product: str) -> list[str]:
    return [name for name in INDEX if name.startswith(f"{product}-")]


def packed(message: Any) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def push(target: Target, labels: str, entries: Entries) -> Answer:
    message = loki_pb2.PushRequest()
    stream = message.streams.add(labels=labels)
    for ns, line in entries:
        entry = stream.entries.add(line=line)
        entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, 10**9)
    headers = {"content-type": "application/x-protobuf"}
    return target.answer("POST", "/loki/api/v1/push", headers, packed(message))


def stream(number: int) -> tuple[str, Entries]:
    said = json.loads((GOLDEN / f"loki-stream-{number}.json").read_text())
    return said["labels"], [(ns, line) for ns, line in said["entries"]]


def write(target: Target, path: str, series: Series) -> Answer:
    message = prometheus_pb2.WriteRequest()
    for labels, samples in series:
        one = message.timeseries.add()
        for name, value in labels.items():
            one.labels.add(name=name, value=value)
        for ms, number in samples:
            one.samples.add(timestamp=ms, value=number)
    return target.answer("POST", path, WRITE, packed(message))


def golden_series(product: str) -> Series:
    said = json.loads((GOLDEN / f"{product}-series.json").read_text())["series"]
    return [(one["labels"], [(ms, float(v)) for ms, v in one["samples"]]) for one in said]


def get(target: Target, request: dict[str, Any]) -> Answer:
    query = urlencode(request.get("params", {}))
    headers = {name.lower(): value for name, value in request.get("headers", {}).items()}
    return target.answer(request["method"], f"{request['path']}?{query}", headers, b"")


def check_frame(answer: Answer, name: str) -> bytes:
    """Compare status and headers; returns the captured body."""
    entry = INDEX[name]
    assert answer.status == entry["status"]
    for header in ("Content-Type", "X-Content-Type-Options", "Content-Encoding"):
        own = answer.content_type if header == "Content-Type" else answer.headers.get(header, "")
        assert own == entry["headers"].get(header, ""), header
    return (GOLDEN / entry["body"]).read_bytes()


# --- Loki --------------------------------------------------------------------------------------


@pytest.fixture
def loki() -> Target:
    target = Target(TargetConfig(like="loki-default"), clock=ManualClock(NS + 121 * SECOND))
    for number in (1, 2, 3):
        assert push(target, *stream(number)).status == 204
    return target


def keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return None


@pytest.mark.parametrize("name", [n for n in names_of("loki") if n.startswith("loki-query")])
def test_loki_queries(loki: Target, name: str) -> None:
    answer = get(loki, INDEX[name]["request"])
    expected = check_frame(answer, name)
    if name == "loki-query-forward-protobuf":
        data = expected.index(b"\x0a\x07streams")
        end = expected.index(b"\x30\x88\x27\x38\x01\x42")
        own = answer.body.index(b"\x0a\x07streams")
        assert answer.body[own : own + end - data] == expected[data:end]
        assert answer.body[own + end - data :] == b"\x30\x88\x27\x38\x01\x42\x00"
    elif answer.status == 200:
        mark = b',"stats":'
        assert answer.body.partition(mark)[:2] == expected.partition(mark)[:2]
        stats = [json.loads(body)["data"]["stats"] for body in (answer.body, expected)]
        theirs, own_n = stats[1], stats[0]["summary"]["totalEntriesReturned"]
        assert own_n == theirs["summary"]["totalEntriesReturned"]
        for part in ("summary", "cache", "index"):
            assert keys(stats[0][part]) == keys(theirs[part])
        assert list(stats[0]) == list(theirs)
        assert answer.body.endswith(b"}\n")
    else:
        assert answer.body == expected


LOKI_PUSHES: dict[str, tuple[str, Entries]] = {
    "loki-push-ok": stream(1),
    "loki-push-levels": stream(2),
    "loki-push-escapes": stream(3),
    "loki-push-duplicate": stream(1),
    "loki-push-no-entries": (GOLDEN_1, []),
    "loki-push-too-far-behind": (GOLDEN_1, [(NS - 2 * HOUR, "old"), (NS, "fine")]),
    "loki-push-too-new": (GOLDEN_1, [(NS + HOUR, "new")]),
    "loki-push-too-old": (GOLDEN_1, [(NS - 8 * 24 * HOUR, "old")]),
    "loki-push-line-too-long": (GOLDEN_1, [(NS, "x" * 262_145)]),
    "loki-push-rate-limited": (GOLDEN_1, [(NS + i, "y" * 100_000) for i in range(70)]),
}


@pytest.mark.parametrize("name", [n for n in names_of("loki") if n.startswith("loki-push")])
def test_loki_pushes(name: str) -> None:
    clock = ManualClock(NS + 121 * SECOND)
    target = Target(TargetConfig(like="loki-default"), clock=clock)
    assert push(target, *stream(1)).status == 204
    entries = LOKI_PUSHES[name][1]
    if name == "loki-push-too-far-behind":
        entries = [entries[0], (NS, "fine")]
        # what was newest then was exactly NS
        target = Target(TargetConfig(like="loki-default"), clock=clock)
        push(target, GOLDEN_1, [(NS, "newest")])
    answer = push(target, LOKI_PUSHES[name][0], entries)
    assert answer.body == check_frame(answer, name)


def test_loki_others(loki: Target) -> None:
    for name in ("loki-buildinfo", "loki-ready"):
        answer = get(loki, INDEX[name]["request"])
        assert answer.body == check_frame(answer, name)


# --- Prometheus --------------------------------------------------------------------------------


@pytest.fixture
def prometheus() -> Target:
    target = Target(TargetConfig(like="prometheus"), clock=ManualClock(PROM_MS * 10**6))
    assert write(target, "/api/v1/write", golden_series("prometheus")).status == 204
    return target


def second(ms: int, value: float, number: int = 2) -> Series:
    return [({"__name__": "golden_a", "uniquename": f"golden-{number}"}, [(ms, value)])]


PROMETHEUS_WRITES: dict[str, Series] = {
    "prometheus-write-ok": second(PROM_MS + 20_000, 3.0),
    "prometheus-write-out-of-order": second(PROM_MS, 0.0),
    "prometheus-write-duplicate-timestamp": second(PROM_MS + 9000, 99.0),
    "prometheus-write-out-of-bounds": second(PROM_MS - 4 * 3_600_000, 1.0, 3),
    "prometheus-write-identical-again": second(PROM_MS + 9000, 2.25),
}


@pytest.mark.parametrize("name", [n for n in names_of("prometheus") if "-write-" in n])
def test_prometheus_writes(prometheus: Target, name: str) -> None:
    answer = write(prometheus, "/api/v1/write", PROMETHEUS_WRITES[name])
    assert answer.body == check_frame(answer, name)


@pytest.mark.parametrize("name", [n for n in names_of("prometheus") if "-query" in n])
def test_prometheus_queries(prometheus: Target, name: str) -> None:
    answer = get(prometheus, INDEX[name]["request"])
    assert answer.body == check_frame(answer, name)


def read_body(start_ms: int, end_ms: int, kinds: list[int], uniquename: str = "") -> bytes:
    message = prometheus_pb2.ReadRequest(accepted_response_types=kinds)
    query = message.queries.add(start_timestamp_ms=start_ms, end_timestamp_ms=end_ms)
    query.matchers.add(name="__name__", value="golden_a")
    return packed(message)


@pytest.mark.parametrize("name", ["prometheus-read-samples", "prometheus-read-chunks"])
def test_prometheus_reads(prometheus: Target, name: str) -> None:
    request = INDEX[name]["request"]
    body = read_body(PROM_MS, PROM_MS + 60_000, request["accepted_response_types"])
    answer = prometheus.answer("POST", request["path"], WRITE, body)
    expected = check_frame(answer, name)
    if name.endswith("chunks"):
        assert answer.body == expected
    else:
        (own,), (theirs,) = (
            decode_read_response(bytes(cramjam.snappy.decompress_raw(one)))
            for one in (answer.body, expected)
        )
        assert own.label_blobs() == theirs.label_blobs()
        assert own.timestamps_ms.tolist() == theirs.timestamps_ms.tolist()
        zeros = (theirs.value_bits == 0) & (own.value_bits == 1 << 63)
        assert ((own.value_bits == theirs.value_bits) | zeros).all()


def test_prometheus_buildinfo(prometheus: Target) -> None:
    answer = get(prometheus, INDEX["prometheus-buildinfo"]["request"])
    expected = json.loads(check_frame(answer, "prometheus-buildinfo"))
    assert list(json.loads(answer.body)["data"]) == list(expected["data"])


# --- Cortex ------------------------------------------------------------------------------------


@pytest.fixture
def cortex() -> Target:
    target = Target(TargetConfig(like="cortex"), clock=ManualClock((CORTEX_MS + 60_000) * 10**6))
    assert write(target, "/api/v1/push", golden_series("cortex")).status == 200
    return target


PARTIAL = second(CORTEX_MS, 7.0) + second(CORTEX_MS + 20_000, 77.0) + second(CORTEX_MS + 9000, 5, 4)
CORTEX_WRITES: dict[str, Series] = {
    "cortex-write-ok": second(CORTEX_MS + 20_000, 3.0),
    "cortex-write-out-of-order": second(CORTEX_MS, 0.0),
    "cortex-write-duplicate-timestamp": second(CORTEX_MS + 9000, 99.0),
    "cortex-write-out-of-bounds": second(CORTEX_MS - 4 * 3_600_000, 1.0, 3),
    "cortex-write-identical-again": second(CORTEX_MS + 9000, 2.25),
    "cortex-write-partial": PARTIAL,
}


@pytest.mark.parametrize("name", [n for n in names_of("cortex") if "-write-" in n])
def test_cortex_writes(cortex: Target, name: str) -> None:
    answer = write(cortex, "/api/v1/push", CORTEX_WRITES[name])
    assert answer.body == check_frame(answer, name)


@pytest.mark.parametrize("name", [n for n in names_of("cortex") if "-query" in n])
def test_cortex_queries(cortex: Target, name: str) -> None:
    if "after-partial" in name:
        assert write(cortex, "/api/v1/push", PARTIAL).status == 400
    answer = get(cortex, INDEX[name]["request"])
    assert answer.body == check_frame(answer, name)


@pytest.mark.parametrize("name", ["cortex-read-samples", "cortex-read-chunks-asked"])
def test_cortex_reads(cortex: Target, name: str) -> None:
    request = INDEX[name]["request"]
    body = read_body(request["start_ms"], request["end_ms"], request["accepted_response_types"])
    answer = cortex.answer("POST", request["path"], WRITE, body)
    expected = check_frame(answer, name)
    own, theirs = (cramjam.snappy.decompress_raw(one) for one in (answer.body, expected))
    assert bytes(own) == bytes(theirs)


@pytest.mark.parametrize("name", ["cortex-ready", "cortex-buildinfo"])
def test_cortex_others(cortex: Target, name: str) -> None:
    answer = get(cortex, INDEX[name]["request"])
    assert answer.body == check_frame(answer, name)


def test_every_capture_is_tested() -> None:
    tested = {
        *LOKI_PUSHES,
        *PROMETHEUS_WRITES,
        *CORTEX_WRITES,
        *(name for name in INDEX if "-query" in name),
        "loki-buildinfo", "loki-ready", "prometheus-read-samples", "prometheus-read-chunks",
        "prometheus-buildinfo", "cortex-read-samples", "cortex-read-chunks-asked",
        "cortex-ready", "cortex-buildinfo",
    }  # fmt: skip
    assert tested == set(INDEX)
