"""What Cortex' limits and Prometheus' rules let through, looking at what was stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cramjam
import numpy as np
import pytest

from looker.clock import ManualClock
from looker.target.config import TargetConfig
from looker.target.limits import PRESETS
from looker.target.prometheus_json import plain_text
from looker.target.server import Target
from looker.wire.decode import decode_read_response
from looker.wire.proto import prometheus_pb2

if TYPE_CHECKING:
    from looker.target.answers import Answer

MS = 1_795_476_160_000
S = 10**9
HOUR_MS = 3_600_000
WRITE = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
A, B = {"__name__": "m", "i": "0"}, {"__name__": "m", "i": "1"}
FAMILY = (
    "maxFailure (quorum) on a given error family, addr=127.0.0.1:9096 state=ACTIVE zone=, "
    "rpc error: code = Code(400) desc = user=fake: err: "
)
Series = list[tuple[Any, list[tuple[int, float]]]]


def cortex_of(like: Any = "cortex", clock: ManualClock | None = None, **limits: Any) -> Target:
    config = TargetConfig(like=like, limits=replace(PRESETS[like], **limits))
    return Target(config, clock=clock or ManualClock(MS * 10**6))


def prometheus_of(**settings: Any) -> Target:
    return Target(TargetConfig(like="prometheus", **settings), clock=ManualClock(MS * 10**6))


def write(target: Target, series: Series) -> tuple[int, str]:
    message = prometheus_pb2.WriteRequest()
    for labels, samples in series:
        one = message.timeseries.add()
        for name, value in labels.items() if isinstance(labels, dict) else labels:
            one.labels.add(name=name, value=value)
        for ms, number in samples:
            one.samples.add(timestamp=ms, value=number)
    body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
    path = "/api/v1/push" if target.config.product == "cortex" else "/api/v1/write"
    answer = target.answer("POST", path, WRITE, body)
    return answer.status, answer.body.decode()


def get(target: Target, path: str, **parameters: Any) -> Answer:
    prefix = "/prometheus" if target.config.product == "cortex" else ""
    query = urlencode(parameters, doseq=True)
    return target.answer("GET", f"{prefix}/api/v1/{path}?{query}", {}, b"")


def stored(target: Target, query: str = '{__name__=~".+"}') -> dict[str, list[tuple[int, str]]]:
    """Return times (relative to MS) and values by the label i, or the metric's name without."""
    answer = get(target, "query", query=f"{query}[5h]", time=MS / 1000 + HOUR_MS)
    result = json.loads(answer.body)["data"]["result"]
    assert answer.status == 200
    # the query looks back from far ahead: ask by remote read instead
    assert result == []
    message = prometheus_pb2.ReadRequest()
    one = message.queries.add(start_timestamp_ms=0, end_timestamp_ms=2 * MS)
    one.matchers.add(type=2, name="__name__", value=".+")
    body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
    prefix = "/prometheus" if target.config.product == "cortex" else ""
    read = target.answer("POST", f"{prefix}/api/v1/read", WRITE, body)
    (found,) = decode_read_response(bytes(cramjam.snappy.decompress_raw(read.body)))
    values, at = {}, 0
    for blob, n in zip(found.label_blobs(), found.counts.tolist(), strict=True):
        labels = {x.name: x.value for x in prometheus_pb2.TimeSeries.FromString(blob).labels}
        times = (found.timestamps_ms[at : at + n] - MS).tolist()
        texts = map(str, found.value_bits[at : at + n].view(np.float64).tolist())
        values[labels.get("i", labels["__name__"])] = list(zip(times, texts, strict=True))
        at += n
    return values


def test_cortex_rate_limit_drops_the_whole_request() -> None:
    clock = ManualClock(MS * 10**6)
    target = cortex_of(clock=clock, ingestion_rate=100.0, ingestion_burst_size=200)
    many = [(MS - 1000 + i, 1.0) for i in range(150)]
    assert write(target, [(A, many)])[0] == 200
    assert write(target, [(B, many[:51])]) == (
        429,
        "ingestion rate limit (100) exceeded while adding 51 samples and 0 metadata\n",
    )
    assert list(stored(target)) == ["0"]
    clock.advance(S // 2)
    assert write(target, [(B, many[:100])])[0] == 200
    clock.advance(3600 * S)
    assert write(target, [({"__name__": "n"}, [(MS + i, 1.0) for i in range(201)])])[0] == 429


def test_a_default_cortex_never_takes_more_than_its_burst() -> None:
    target = cortex_of("cortex-default")
    series: Series = [
        ({"__name__": "m", "i": str(i)}, [(MS + j, 1.0) for j in range(5)]) for i in range(10_001)
    ]
    assert write(target, series)[0] == 429
    assert write(target, series[:-1])[0] == 200


def test_series_limits_keep_the_series_that_fit() -> None:
    target = cortex_of(max_series_per_metric=2)
    series: Series = [({"__name__": "m", "i": str(i)}, [(MS + i, 1.0)]) for i in range(4)]
    status, text = write(target, [*series, ({"__name__": "n", "i": "n"}, [(MS, 2.0)])])
    assert (status, text) == (
        400,
        FAMILY + "per-metric series limit of 2 exceeded for metric m, please contact administrator "
        "to raise it (local limit: 2 global limit: 0 actual local limit: 2)\n",
    )
    assert list(stored(target)) == ["0", "1", "n"]
    assert write(target, [(A, [(MS + 9, 1.0)])])[0] == 200
    assert write(target, [({"__name__": "m", "i": "x"}, [(MS + 9, 1.0)])])[0] == 400
    assert write(target, [({"__name__": "n", "i": "y"}, [(MS + 9, 1.0)])])[0] == 200

    target = cortex_of(max_series_per_user=3)
    status, text = write(target, series)
    assert (status, text) == (
        400,
        FAMILY + "per-user series limit of 3 exceeded, please contact administrator to raise it "
        "(local limit: 3 global limit: 0 actual local limit: 3)\n",
    )
    assert list(stored(target)) == ["0", "1", "2"]
    assert write(target, series[3:])[0] == 400


def test_cortex_keeps_the_good_samples_and_tells_the_first_error() -> None:
    target = cortex_of()
    assert write(target, [(A, [(MS, 1.0), (MS + 5, 2.0)]), (B, [(MS, 1.0)])]) == (200, "")
    status, text = write(
        target,
        [(B, [(MS, 9.5), (MS + 1, 3.0)]), (A, [(MS + 1, 1.0), (MS + 5, 2.0), (MS + 6, 7.0)])],
    )
    assert (status, text) == (
        400,
        FAMILY + f"duplicate sample for timestamp {MS}; overrides not allowed: existing 1, new "
        'value 9.5. series={__name__="m", i="1"}\n',
    )
    assert stored(target) == {
        "0": [(0, "1.0"), (5, "2.0"), (6, "7.0")],
        "1": [(0, "1.0"), (1, "3.0")],
    }


@pytest.mark.parametrize(("behind_ms", "status"), [(HOUR_MS, 200), (HOUR_MS + 1, 400)])
def test_cortex_bounds(behind_ms: int, status: int) -> None:
    target = cortex_of()
    write(target, [(A, [(MS + 500, 1.0)])])
    assert write(target, [(B, [(MS + 500 - behind_ms, 1.0)])])[0] == status
    assert ("1" in stored(target)) == (status == 200)
    if status == 400:
        text = write(target, [(B, [(MS + 500 - behind_ms, 1.0)])])[1]
        assert text == (
            FAMILY + "out of bounds. timestamp=2026-11-23T22:22:40.499Z, "
            'tsdbHeadMaxTimestamp=2026-11-23T23:22:40.5Z, series={__name__="m", i="1"}\n'
        )


def test_cortex_validation_leaves_out_series() -> None:
    target = cortex_of("cortex-default")
    many = {"__name__": "m"} | {f"l{i:02d}": "x" for i in range(30)}
    good: Series = [({"__name__": "n"}, [(MS, 1.0)])]
    grace = MS + 600_000
    for series, text in (
        ([(A, [(MS, 1.0), (grace + 1, 1.0)])], f'timestamp too new: {grace + 1} metric: "m"\n'),
        ([({"i": "x"}, [(MS, 1.0)])], "sample missing metric name\n"),
        ([({"__name__": "a-b"}, [(MS, 1.0)])], 'sample invalid metric name: "a-b"\n'),
        (
            [({"__name__": "m", "a-b": "x"}, [(MS, 1.0)])],
            'sample invalid label: "a-b" metric "m{a-b=\\"x\\"}"\n',
        ),
        ([(many, [(MS, 1.0)])], "series has too many labels (actual: 31, limit: 30) series: 'm{"),
        ([([("__name__", "m"), ("a", "1"), ("a", "2")], [(MS, 1.0)])], "duplicate label name: "),
    ):
        status, said = write(target, [*series, *good])
        assert status == 400
        assert said.startswith(text)
    assert stored(target) == {"n": [(0, "1.0")]}
    assert write(target, [(B, [(grace, 1.0)])])[0] == 200


def test_cortex_loses_the_sign_of_zero() -> None:
    target = cortex_of()
    write(target, [(A, [(MS, -0.0)])])
    assert stored(target) == {"0": [(0, "0.0")]}
    assert write(target, [(A, [(MS, 0.0)])])[0] == 200


def test_cortex_paths_and_texts() -> None:
    target = cortex_of()
    write(target, [(A, [(MS + 500, 1e-7)])])
    for prefix in ("/prometheus", "/api/prom"):
        path = f"{prefix}/api/v1/query?query=m%5B1m%5D&time={MS / 1000 + 1}"
        body = target.answer("GET", path, {}, b"").body
        assert b'[1795476160.5,"0.0000001"]' in body
    for path, status in (
        ("/api/prom/read", 404), ("/api/v1/read", 404), ("/api/v1/query", 404),
        ("/api/v1/write", 404), ("/loki/api/v1/labels", 404), ("/api/v1/status/buildinfo", 404),
        ("/flush", 204), ("/api/prom/push", 405),
    ):  # fmt: skip
        assert target.answer("GET", path, {}, b"").status == status
    assert b"cortex_build_info{" in target.answer("GET", "/metrics", {}, b"").body
    scalar = json.loads(get(target, "query", query="1", time=MS / 1000).body)["data"]
    assert scalar == {"resultType": "scalar", "result": [MS / 1000, "1"]}
    assert [plain_text(v) for v in (1e21, -2.5e-7, 0.0, float("inf"))] == [
        "1000000000000000000000", "-0.00000025", "0", "+Inf",
    ]  # fmt: skip


def test_prometheus_rolls_back_and_names_the_first_error() -> None:
    target = prometheus_of()
    write(target, [(A, [(MS, 1.0), (MS + 5, 2.0)])])
    before = stored(target)
    assert write(target, [(B, [(MS, 1.0)]), (A, [(MS + 1, 1.0), (MS + 5, 3.0)])]) == (
        400, "out of order sample\n",
    )  # fmt: skip
    assert write(target, [(B, [(MS, 1.0)]), (A, [(MS + 5, 3.0), (MS + 1, 1.0)])]) == (
        400, "duplicate sample for timestamp\n",
    )  # fmt: skip
    assert stored(target) == before
    assert write(target, [(A, [(MS + 5, 2.0)])]) == (204, "")


def test_prometheus_passes_over_unsorted_samples_of_one_request() -> None:
    target = prometheus_of()
    unsorted = [(MS, 1.0), (MS + 9, 2.0), (MS + 5, 3.0), (MS + 9, 4.0), (MS + 10, 5.0)]
    assert write(target, [(A, unsorted), (B, [(MS + 1, 1.0)])]) == (204, "")
    assert stored(target)["0"] == [(0, "1.0"), (9, "2.0"), (10, "5.0")]


@pytest.mark.parametrize(("behind_ms", "status"), [(HOUR_MS, 204), (HOUR_MS + 1, 400)])
def test_prometheus_bounds_follow_the_newest_sample(behind_ms: int, status: int) -> None:
    target = prometheus_of()
    # nothing keeps a sample of the future out
    assert write(target, [(A, [(MS + 2 * HOUR_MS, 1.0)])])[0] == 204
    code, text = write(target, [(B, [(MS + 2 * HOUR_MS - behind_ms, 1.0)])])
    assert (code, text) == (status, "" if status == 204 else "out of bounds\n")


def test_prometheus_other_answers() -> None:
    target = prometheus_of()
    twice: Series = [([("__name__", "m"), ("a", "1"), ("a", "2")], [(MS, 1.0)])]
    assert write(target, twice) == (500, 'label name "a" is not unique: invalid sample\n')
    # remote write 2.0: unknown fields, nothing stored, 204
    body = bytes(cramjam.snappy.compress_raw(b"\x22\x00\x22\x01a\x2a\x02\x0a\x00"))
    kind = {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
    assert target.answer("POST", "/api/v1/write", WRITE | kind, body).status == 204
    assert stored(target) == {}
    for path in ("/api/v1/push", "/prometheus/api/v1/query", "/loki/api/v1/labels", "/ready"):
        assert target.answer("GET", path, {}, b"").status == 404
    assert target.answer("GET", "/-/ready", {}, b"").body == b"Prometheus Server is Ready.\n"
    assert b"prometheus_build_info{" in target.answer("GET", "/metrics", {}, b"").body


def test_external_labels_are_added_by_remote_read_only() -> None:
    target = prometheus_of(external_labels=(("region", "eu"), ("replica", "0")))
    write(target, [(A, [(MS, 1.0)]), ({"__name__": "m", "region": "us"}, [(MS, 2.0)])])

    def read(*matchers: tuple[str, str]) -> list[dict[str, str]]:
        message = prometheus_pb2.ReadRequest()
        one = message.queries.add(start_timestamp_ms=0, end_timestamp_ms=2 * MS)
        for name, value in matchers:
            one.matchers.add(name=name, value=value)
        body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
        answer = target.answer("POST", "/api/v1/read", WRITE, body)
        response = prometheus_pb2.ReadResponse.FromString(
            bytes(cramjam.snappy.decompress_raw(answer.body))
        )
        return [{x.name: x.value for x in s.labels} for s in response.results[0].timeseries]

    eu = A | {"region": "eu", "replica": "0"}
    us = {"__name__": "m", "region": "us", "replica": "0"}
    assert read(("__name__", "m")) == [eu, us]
    assert read(("__name__", "m"), ("region", "eu")) == [eu]
    assert read(("__name__", "m"), ("region", "us")) == [us]
    series = json.loads(get(target, "series", **{"match[]": "m"}).body)["data"]
    assert series == [A, {"__name__": "m", "region": "us"}]


def test_labels_and_series() -> None:
    target = prometheus_of()
    write(target, [(A, [(MS, 1.0)]), ({"__name__": "n", "x": "<\u00e4>"}, [(MS + 5000, 2.0)])])

    def ask(path: str, **parameters: Any) -> Any:
        return json.loads(get(target, path, **parameters).body).get("data")

    assert ask("labels") == ["__name__", "i", "x"]
    assert ask("labels", **{"match[]": "n"}) == ["__name__", "x"]
    assert ask("labels", start=MS / 1000, end=MS / 1000 + 1) == ["__name__", "i"]
    assert ask("label/__name__/values") == ["m", "n"]
    assert ask("label/zz/values") == []
    assert ask("series", **{"match[]": ["m", "n"]}) == [A, {"__name__": "n", "x": "<\u00e4>"}]
    assert ask("series", **{"match[]": "m"}, start=MS / 1000 + 1) == []
    raw = get(target, "series", **{"match[]": "n"}).body.decode()
    assert '"\\u003c\u00e4\\u003e"' in raw
    assert get(target, "series").status == 400
    assert get(target, "series", **{"match[]": "{"}).status == 400
    assert get(target, "label/a-b/values").status == 400
    assert get(target, "labels", start="x").status == 400
    assert get(target, "labels", start=2, end=1).status == 400
