from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looker.clock import ManualClock
from looker.target.config import TargetConfig
from looker.target.prometheus_json import float_text, value_texts
from looker.target.server import Target
from looker.wire.decode import decode_read_response
from looker.wire.proto import prometheus_pb2

if TYPE_CHECKING:
    from looker.target.answers import Answer

GOLDEN = Path(__file__).parents[2] / "golden" / "captures"
MS = 1_795_475_977_000
WRITE = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
Series = list[tuple[dict[str, str], list[tuple[int, float]]]]


def body_of(series: Series) -> bytes:
    message = prometheus_pb2.WriteRequest()
    for labels, samples in series:
        one = message.timeseries.add()
        for name, value in labels.items():
            one.labels.add(name=name, value=value)
        for ms, value in samples:
            one.samples.add(timestamp=ms, value=value)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def write(target: Target, series: Series, path: str = "/api/v1/write", **headers: str) -> Answer:
    return target.answer("POST", path, WRITE | headers, body_of(series))


def get(target: Target, path: str, **params: Any) -> Answer:
    return target.answer("GET", f"/api/v1/{path}?" + urlencode(params), {}, b"")


def values_of(answer: Answer) -> list[tuple[dict[str, str], list[tuple[float, str]]]]:
    assert answer.status == 200, answer.body
    result = json.loads(answer.body)["data"]["result"]
    return [(e["metric"], [(t, v) for t, v in e["values"]]) for e in result]


def read(target: Target, start: int, end: int, *matchers: tuple[int, str, str]) -> bytes:
    message = prometheus_pb2.ReadRequest()
    one = message.queries.add(start_timestamp_ms=start, end_timestamp_ms=end)
    for kind, name, value in matchers:
        one.matchers.add(type=kind, name=name, value=value)
    body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
    answer = target.answer("POST", "/prometheus/api/v1/read", WRITE, body)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Encoding"] == "snappy"
    assert answer.content_type == "application/x-protobuf"
    return bytes(cramjam.snappy.decompress_raw(answer.body))


def golden_target(boundary: Any = "closed") -> Target:
    target = Target(TargetConfig(range_boundary=boundary), clock=ManualClock(MS * 10**6))
    series = json.loads((GOLDEN / "prometheus-series.json").read_text())["series"]
    for one in series:
        samples = [(ms, float(value)) for ms, value in one["samples"]]
        assert write(target, [(one["labels"], samples)]).status == 204
    return target


def captured(name: str) -> tuple[bytes, dict[str, Any]]:
    index = json.loads((GOLDEN / "index.json").read_text())
    entry = next(e for e in index if e["name"] == name)
    return (GOLDEN / entry["body"]).read_bytes(), entry


@pytest.mark.parametrize(
    "name",
    [
        "prometheus-query-range-vector",
        "prometheus-query-range-vector-boundary",
        "prometheus-query-range",
        "prometheus-query-empty",
        "prometheus-query-parse-error",
    ],
)
def test_answers_are_those_of_prometheus(name: str) -> None:
    expected, entry = captured(name)
    path = entry["request"]["path"].removeprefix("/api/v1/")
    answer = get(golden_target(), path, **entry["request"]["params"])
    assert (answer.status, answer.body) == (entry["status"], expected)
    assert answer.content_type == entry["headers"]["Content-Type"]


def test_remote_read_is_that_of_prometheus() -> None:
    expected = cramjam.snappy.decompress_raw((GOLDEN / "prometheus-read-samples.body").read_bytes())
    got = read(golden_target(), MS, MS + 60_000, (0, "__name__", "golden_a"))
    (theirs,) = decode_read_response(bytes(expected))
    (ours,) = decode_read_response(got)
    assert ours.label_blobs() == theirs.label_blobs()
    assert ours.timestamps_ms.tolist() == theirs.timestamps_ms.tolist()
    zeros = (theirs.value_bits == 0) & (ours.value_bits == 1 << 63)
    assert ((ours.value_bits == theirs.value_bits) | zeros).all()


def test_open_boundary_leaves_out_the_oldest_instant() -> None:
    query = {"query": 'golden_a{uniquename="golden-2"}[9s]', "time": MS / 1000 + 9}
    ((_, closed),) = values_of(get(golden_target(), "query", **query))
    ((_, opened),) = values_of(get(golden_target("open"), "query", **query))
    assert [t for t, _ in closed] == [MS / 1000 + i for i in range(10)]
    assert opened == closed[1:]


def test_remote_read_is_inclusive_and_sorted_by_labels() -> None:
    target = Target(TargetConfig())
    for i in (2, 0, 1):
        labels = {"i": str(i), "__name__": "m"}  # not in order, as some clients send them
        write(target, [(labels, [(MS + j, i + j / 8) for j in range(10)])])
    (answer,) = decode_read_response(read(target, MS + 3, MS + 5, (2, "__name__", "m|n")))
    labels = [prometheus_pb2.TimeSeries.FromString(b).labels for b in answer.label_blobs()]
    assert [[(x.name, x.value) for x in one] for one in labels] == [
        [("__name__", "m"), ("i", str(i))] for i in range(3)
    ]
    assert answer.counts.tolist() == [3, 3, 3]
    assert answer.timestamps_ms.tolist() == [MS + 3, MS + 4, MS + 5] * 3
    assert answer.value_bits.view(np.float64).tolist() == [
        i + j / 8 for i in range(3) for j in (3, 4, 5)
    ]
    assert read(target, MS, MS, (0, "__name__", "none")) == b"\x0a\x00"


def test_label_order_does_not_make_another_series() -> None:
    target = Target(TargetConfig())
    write(target, [({"__name__": "m", "a": "1"}, [(MS, 1.0)])])
    write(target, [({"a": "1", "__name__": "m"}, [(MS + 1, 2.0)])])
    write(target, [({"a": "1", "__name__": "m", "b": ""}, [(MS + 2, 3.0)])])
    answer = get(target, "query", query="m[1m]", time=MS / 1000 + 1)
    assert [v for _, v in values_of(answer)[0][1]] == ["1", "2", "3"]
    assert len(values_of(answer)) == 1


A, B = {"__name__": "m", "i": "0"}, {"__name__": "m", "i": "1"}


@pytest.mark.parametrize(
    ("series", "text"),
    [
        ([(B, [(MS + 9, 1.0)]), (A, [(MS - 1, 5.0)])], "out of order sample\n"),
        ([(B, [(MS + 9, 1.0)]), (A, [(MS, 1.0)])], "out of order sample\n"),
        ([(B, [(MS + 9, 1.0)]), (A, [(MS + 1, 9.0)])], "duplicate sample for timestamp\n"),
        ([(A, [(MS + 1, -0.0)])], "duplicate sample for timestamp\n"),
        ([(A, [(MS + 3, 1.0), (MS + 2, 1.0)])], "out of order sample\n"),
        ([(A, [(MS + 3, 1.0)]), (A, [(MS + 3, 2.0)])], "duplicate sample for timestamp\n"),
        ([(B, [(MS + 1, 9.0)]), (A, [(MS, 9.0)])], "duplicate sample for timestamp\n"),
    ],
)
def test_append_rules_refuse_the_whole_request(series: Series, text: str) -> None:
    target = Target(TargetConfig())
    write(target, [(A, [(MS, 1.0), (MS + 1, 0.0)]), (B, [(MS + 1, 0.5)])])
    before = get(target, "query", query="m[1m]", time=MS / 1000 + 1).body
    held = target.store.budget.held_bytes
    answer = write(target, series)
    assert (answer.status, answer.body.decode()) == (400, text)
    assert get(target, "query", query="m[1m]", time=MS / 1000 + 1).body == before
    assert target.store.budget.held_bytes == held


def test_the_latest_sample_again_is_no_error_and_stored_once() -> None:
    target = Target(TargetConfig())
    write(target, [(A, [(MS, math.nan)])])
    assert write(target, [(A, [(MS, math.nan), (MS + 1, 2.0)])]).status == 204
    assert write(target, [(A, [(MS + 1, 2.0)])], "/api/v1/push").status == 200
    assert values_of(get(target, "query", query="m[1m]", time=MS / 1000 + 1)) == [
        (A, [(MS / 1000, "NaN"), (MS / 1000 + 0.001, "2")])
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-encoding": ""}, 415),
        ({"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415),
        ({"content-type": "application/x-protobuf; proto=prometheus.WriteRequest"}, 204),
        ({"x-scope-orgid": "other"}, 204),
    ],
)
def test_write_headers(headers: dict[str, str], status: int) -> None:
    target = Target(TargetConfig())
    answer = target.answer("POST", "/api/v1/write", WRITE | headers, body_of([(A, [(MS, 1.0)])]))
    assert answer.status == status
    expected = 1 if status == 204 and "x-scope-orgid" not in headers else 0
    assert len(values_of(get(target, "query", query="m[1m]", time=MS / 1000))) == expected


@pytest.mark.parametrize("body", [b"\xff\xff\xff", bytes(cramjam.snappy.compress_raw(b"\x0a\xff"))])
def test_broken_bodies_are_refused(body: bytes) -> None:
    target = Target(TargetConfig())
    for path in ("/api/v1/write", "/api/v1/read"):
        assert target.answer("POST", path, WRITE, body).status == 400


def test_instant_vector_looks_back_five_minutes() -> None:
    for boundary, count in (("closed", 1), ("open", 0)):
        target = Target(TargetConfig(range_boundary=boundary))  # type: ignore[arg-type]
        write(target, [(A, [(MS - 5, 1.0), (MS, 1.5)])])
        for at, n in ((MS, 1), (MS + 299_999, 1), (MS + 300_000, count), (MS + 300_001, 0)):
            result = json.loads(get(target, "query", query="m", time=at / 1000).body)["data"]
            assert result["resultType"] == "vector"
            assert [e["value"] for e in result["result"]] == [[at / 1000, "1.5"]] * n


def test_stale_markers_hide_a_series() -> None:
    target = Target(TargetConfig())
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    write(target, [(A, [(MS, 1.0), (MS + 1000, stale)]), (B, [(MS, 2.0)])])
    at = MS / 1000 + 1
    result = json.loads(get(target, "query", query="m", time=at).body)["data"]["result"]
    assert [e["metric"]["i"] for e in result] == ["1"]
    assert [len(v) for _, v in values_of(get(target, "query", query="m[1m]", time=at))] == [1, 1]
    ranged = get(target, "query_range", query="m", start=MS / 1000, end=at, step="1s")
    assert [len(v) for _, v in values_of(ranged)] == [1, 2]


def test_query_range_repeats_within_the_lookback() -> None:
    target = Target(TargetConfig())
    write(target, [(A, [(MS, 1.0), (MS + 1500, 2.0)])])
    answer = get(
        target, "query_range", query="m", start=MS / 1000 - 1, end=MS / 1000 + 600, step="1"
    )
    ((_, points),) = values_of(answer)
    assert points[:3] == [(MS / 1000, "1"), (MS / 1000 + 1, "1"), (MS / 1000 + 2, "2")]
    assert points[-1] == (MS / 1000 + 301, "2")
    assert len(points) == 302


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        ("query_range", {"start": 0, "end": 11_001, "step": 1}, "exceeded maximum resolution"),
        ("query_range", {"start": 0, "end": 1, "step": 0}, "zero or negative query resolution"),
        ("query_range", {"start": 2, "end": 1, "step": 1}, "end timestamp must not be before"),
        ("query_range", {"start": "x", "end": 1, "step": 1}, "cannot parse"),
        ("query", {"query": "m[5x]"}, "parse error"),
        ("query", {"query": "sum(m)"}, "parse error"),
        ("query", {"query": '{a=~".*"}'}, "at least one non-empty matcher"),
    ],
)
def test_queries_that_are_refused(path: str, params: dict[str, Any], text: str) -> None:
    answer = get(Target(TargetConfig()), path, **{"query": "m", **params})
    said = json.loads(answer.body)
    assert (answer.status, said["status"], said["errorType"]) == (400, "error", "bad_data")
    assert text in said["error"]


def test_exactly_eleven_thousand_steps_are_allowed() -> None:
    answer = get(Target(TargetConfig()), "query_range", query="m", start=0, end=11_000, step=1)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-7, "1e-07"), (1.5e-10, "1.5e-10"), (1e-6, "0.000001"), (0.00001234, "0.00001234"),
        (1e21, "1e+21"), (1.25e300, "1.25e+300"), (1e20, "100000000000000000000"),
        (123456789012345680.0, "123456789012345680"), (-0.0, "-0"), (0.0, "0"), (3.0, "3"),
        (-2.5, "-2.5"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_float_texts(value: float, text: str) -> None:
    assert float_text(value) == text
    assert value_texts(np.array([value, 1.5]).view(np.uint64)) == [text, "1.5"]


@given(st.lists(st.floats(), max_size=6))
def test_float_texts_read_back_the_same(values: list[float]) -> None:
    bits = np.array(values, np.float64).view(np.uint64)
    texts = value_texts(bits)
    assert texts == [float_text(value) for value in values]
    for value, text in zip(values, texts, strict=True):
        assert math.isnan(value) if text == "NaN" else float(text) == value


samples = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0.0, 1.0, 2.5])), max_size=6)
requests = st.lists(st.lists(st.tuples(st.sampled_from("abc"), samples), max_size=4), max_size=8)


@settings(max_examples=80, deadline=None)
@given(requests)
def test_pushes_against_a_plain_model(
    sent: list[list[tuple[str, list[tuple[int, float]]]]],
) -> None:
    target = Target(TargetConfig())
    model: dict[str, list[tuple[int, float]]] = {}
    for at, request in enumerate(sent):
        draft = {name: list(some) for name, some in model.items()}
        wrong = None
        for name, some in request:
            for ms, value in some:
                kept = draft.setdefault(name, [])
                if kept and ms < kept[-1][0]:
                    wrong = wrong or "out of order sample\n"
                elif kept and ms == kept[-1][0]:
                    if value != kept[-1][1]:
                        wrong = wrong or "duplicate sample for timestamp\n"
                else:
                    kept.append((ms, value))
        labelled = [
            ({"__name__": "m", "n": name}, [(MS + ms, value) for ms, value in some])
            for name, some in request
        ]
        answer = write(target, labelled)
        assert answer.status == (400 if wrong else 204)
        if wrong is None:
            model = draft
        if at % 2:
            (got,) = decode_read_response(read(target, 0, 2 * MS, (0, "__name__", "m")))
            expected = [model[name] for name in sorted(model) if model[name]]
            assert got.counts.tolist() == [len(some) for some in expected]
            assert got.timestamps_ms.tolist() == [MS + ms for some in expected for ms, _ in some]
            assert got.value_bits.view(np.float64).tolist() == [v for s in expected for _, v in s]


def test_a_full_memory_refuses_whole_requests() -> None:
    target = Target(TargetConfig(max_memory_mb=1))
    assert write(target, [(A, [(MS + i, 1.0) for i in range(30_000)])]).status == 204
    held = target.store.budget.held_bytes
    answer = write(target, [(B, [(MS + i, 1.0) for i in range(30_000)])])
    assert answer.status == 507
    assert answer.body == (
        b"looker target: memory limit of 1 MB reached, nothing of this request was stored\n"
    )
    assert target.store.budget.held_bytes == held
    assert len(values_of(get(target, "query", query="m[1m]", time=MS / 1000))) == 1


def test_buildinfo_has_prometheus_envelope() -> None:
    for prefix in ("", "/prometheus"):
        answer = Target(TargetConfig()).answer("GET", f"{prefix}/api/v1/status/buildinfo", {}, b"")
        said = json.loads(answer.body)
        assert said["status"] == "success"
        assert list(said["data"]) == list(
            json.loads((GOLDEN / "prometheus-buildinfo.body").read_text())["data"]
        )
