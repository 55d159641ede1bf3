"""Settings: presets, single limits on top, paths of each product, tenants, documentation."""

from __future__ import annotations

import http.client
import time
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cramjam
import numpy as np
import pytest

from looker.clock import ManualClock
from looker.errors import UsageError
from looker.target import go_text
from looker.target.config import TargetConfig, config_of
from looker.target.limits import LIKES, OPTION_OF, PRESETS, Limits, limits_of
from looker.target.rates import Buckets, Throughput, TokenBucket
from looker.target.server import Target, serving
from looker.wire.proto import loki_pb2

NS = 1_795_475_977_000_000_000
S = 10**9
PROTO = {"content-type": "application/x-protobuf"}
DOCS = Path(__file__).parents[3] / "docs" / "target.md"


def push_body(n_lines: int = 1, size: int = 1) -> bytes:
    message = loki_pb2.PushRequest()
    stream = message.streams.add(labels='{a="b"}')
    for i in range(n_lines):
        entry = stream.entries.add(line="x" * size)
        entry.timestamp.seconds, entry.timestamp.nanos = divmod(NS + i, S)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def test_single_limits_on_top_of_a_preset() -> None:
    limits = limits_of(
        "loki-default",
        {"max_streams": 7, "reject_old_samples_max_age_s": "2d", "max_line_size": None},
    )
    assert (limits.max_streams, limits.max_line_size) == (7, 262_144)
    assert limits.reject_old_samples_max_age_s == 172_800
    assert limits_of("loki-default", {}) == PRESETS["loki-default"]
    config = config_of(
        {
            "like": "prometheus",
            "external_label": ["b=2", "a=x=y"],
            "oversized_answer_hang_s": "1500ms",
            "max_streams": None,
        }
    )
    assert config.external_labels == (("a", "x=y"), ("b", "2"))
    assert config.oversized_answer_hang_s == 1.5


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"like": "mimir"}, "--like"),
        ({"like": "cortex", "max_streams": 1}, "--max-streams"),
        ({"like": "loki-default", "ingestion_rate": 1.0}, "--ingestion-rate"),
        ({"like": "prometheus", "max_label_names": 1}, "--max-label-names"),
        ({"max_line_size": -1}, "--max-line-size"),
        ({"ingestion_rate_mb": float("nan")}, "--ingestion-rate-mb"),
        ({"ingestion_rate_mb": 1.0, "ingestion_burst_size_mb": 0.0}, "--ingestion-burst-size-mb"),
        ({"creation_grace_period_s": "soon"}, "--creation-grace-period"),
        ({"external_label": ["x"]}, "--external-label"),
        ({"external_label": ["1=x"]}, "--external-label"),
        ({"external_label": ["a=1", "a=2"]}, "--external-label"),
        ({"like": "cortex", "external_label": ["a=1"]}, "--external-label"),
        ({"oversized_answer": "x"}, "--oversized-answer"),
        ({"oversized_answer_hang_s": "x"}, "--oversized-answer-hang"),
        ({"oversized_answer_hang_s": -1.0}, "--oversized-answer-hang"),
        ({"range_boundary": "x"}, "--range-boundary"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_of(settings)
    assert caught.value.option == option
    assert "\n" not in str(caught.value)


def test_every_option_is_documented() -> None:
    import typer  # noqa: PLC0415

    from looker.cli.main import app  # noqa: PLC0415

    text = DOCS.read_text(encoding="utf-8")
    command = typer.main.get_command(app).commands["target"]  # type: ignore[attr-defined]
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    assert {f"`{o}" for o in options} - {"`--help", "`-h"} >= {f"`{o}" for o in OPTION_OF.values()}
    missing = [o for o in options - {"--help", "-h"} if f"`{o}`" not in text]
    assert missing == []
    assert [like for like in LIKES if f"`{like}`" not in text] == []


def test_the_documented_presets_are_those_in_force() -> None:
    rows = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`--") and len(cells) == 6:
            rows[cells[0].strip("`").split("`")[0]] = cells[1:5]
    columns = ("loki-default", "loki-raised", "cortex-default", "cortex")
    for one in fields(Limits):
        for like, cell in zip(columns, rows[OPTION_OF[one.name]], strict=True):
            value = getattr(PRESETS[like], one.name)  # type: ignore[index]
            applies = like.partition("-")[0] in one.metadata["products"]
            shown = "" if not applies else _shown(one.name, value)
            assert cell == shown, (one.name, like)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == 0:
        return "none"
    if name.endswith("_s"):
        minutes = round(value / 60)
        hours, rest = divmod(minutes, 60)
        return (f"{hours}h" if hours else "") + (f"{rest}m" if rest else "")
    return f"{value:,.10g}"


def test_each_product_serves_its_own_paths() -> None:
    paths = {
        "/loki/api/v1/push": {"looker", "loki"},
        "/api/v1/write": {"looker", "prometheus"},
        "/api/v1/push": {"looker", "cortex"},
        "/api/prom/push": {"loki", "cortex"},
        "/api/v1/read": {"looker", "prometheus"},
        "/prometheus/api/v1/read": {"looker", "cortex"},
        "/api/prom/api/v1/read": {"cortex"},
    }
    for like in LIKES:
        target = Target(TargetConfig(like=like))
        for path, products in paths.items():
            found = target.answer("PUT", path, {}, b"").status == 405
            assert found == (target.config.product in products), (like, path)
            discards = Target(TargetConfig(like=like, mode="null")).discards("POST", path)
            assert (discards is not None) == (found and not path.endswith("read"))


@pytest.mark.parametrize("like", LIKES)
def test_tenants(like: Any) -> None:
    target = Target(TargetConfig(like=like, require_tenant=True), clock=ManualClock(NS))
    path = {
        "looker": "/loki/api/v1/push", "loki": "/loki/api/v1/push",
        "cortex": "/api/v1/push", "prometheus": "/api/v1/write",
    }[target.config.product]  # fmt: skip
    answer = target.answer("POST", path, PROTO, b"")
    assert (answer.status, answer.body) == (401, b"no org id\n")
    assert target.answer("POST", path, {"x-scope-orgid": "t"}, b"").status != 401
    assert target.answer("GET", "/metrics", {}, b"").status == 200
    assert target.discards("POST", path) is None


def test_tenants_of_loki() -> None:
    strict = Target(TargetConfig(like="loki-default", require_tenant=True), clock=ManualClock(NS))
    push = "/loki/api/v1/push"
    answer = strict.answer("POST", push, PROTO | {"x-scope-orgid": "a|b"}, push_body())
    assert (answer.status, answer.body) == (400, b"multiple org IDs present\n")
    # without multi-tenancy the header means nothing
    open_ = Target(TargetConfig(like="loki-default"), clock=ManualClock(NS))
    assert open_.answer("POST", push, PROTO | {"x-scope-orgid": "a"}, push_body()).status == 204
    labels = open_.answer("GET", f"/loki/api/v1/labels?end={NS + 1}", {}, b"").body
    assert labels == b'{"status":"success","data":["a","service_name"]}\n'


def test_metrics_count() -> None:
    target = Target(TargetConfig(like="loki-default"), clock=ManualClock(NS))
    target.answer("POST", "/loki/api/v1/push", PROTO, push_body(3))
    target.answer("GET", "/nothing", {}, b"")
    text = target.answer("GET", "/metrics", {}, b"").body.decode()
    assert "loki_build_info{" in text
    assert "\nloki_distributor_lines_received_total 3\n" in text
    assert 'looker_target_requests_total{status="204"} 1\n' in text
    assert 'looker_target_requests_total{status="404"} 1\n' in text


@pytest.mark.parametrize(("how", "hang_s"), [("hang", 0.3), ("reset", 30.0), ("500", 30.0)])
def test_oversized_answers_over_a_socket(how: Any, hang_s: float) -> None:
    limits = limits_of("loki-raised", {"max_grpc_message_mb": 0.1})
    config = TargetConfig(
        like="loki-raised", limits=limits, oversized_answer=how, oversized_answer_hang_s=hang_s
    )
    with serving(config, clock=ManualClock(NS)) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        for part in range(2):
            connection.request("POST", "/loki/api/v1/push", push_body(9, 10_000 - part), PROTO)
            assert connection.getresponse().read() == b""
        began = time.monotonic()
        connection.request(
            "GET",
            f"/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start={NS}&end={NS + S}",
        )
        if how == "500":
            assert connection.getresponse().status == 500
            connection.close()
            return
        error = ConnectionResetError if how == "reset" else http.client.RemoteDisconnected
        with pytest.raises(error):
            connection.getresponse()
        took = time.monotonic() - began
        assert took >= hang_s if how == "hang" else took < hang_s
        connection.close()


def test_token_buckets() -> None:
    bucket = TokenBucket(10, 20)
    assert bucket.allow(20, 0)
    assert not bucket.allow(1, 0)
    assert bucket.allow(5, S // 2)
    assert not bucket.allow(1, 0)  # a clock that goes back gives nothing
    many = Buckets(1e10, 1e10)
    numbers = np.array([0, 3])
    assert many.tokens(numbers, 0).tolist() == [1e10, 1e10]
    many.take(numbers, np.array([1e10, 5e9]))
    assert many.tokens(np.array([3, 0, 1]), S // 4).tolist() == [7.5e9, 2.5e9, 1e10]
    assert many.tokens(np.array([9]), 10**6 * S).tolist() == [1e10]


def test_throughput_is_that_of_the_last_whole_second() -> None:
    flow = Throughput()
    one = np.array([1])
    assert flow.rates(one, 10 * S).tolist() == [0.0]
    flow.add(np.array([1, 1]), np.array([3.0, 4.0]))
    assert flow.rates(one, 10 * S + 9).tolist() == [0.0]
    assert flow.rates(one, 11 * S).tolist() == [7.0]
    assert flow.rates(one, 11 * S + 9).tolist() == [7.0]
    assert flow.rates(one, 13 * S).tolist() == [0.0]


def test_texts_of_go() -> None:
    assert go_text.time_string(NS + 1_500_000) == "2026-11-23 23:19:37.0015 +0000 UTC"
    assert go_text.rfc3339_nano(NS) == "2026-11-23T23:19:37Z"
    assert [go_text.byte_size(n) for n in (0, 1, 1024, 3 << 20, 1523)] == [
        "0B", "1B", "1KB", "3MB", "1523B",
    ]  # fmt: skip
    assert [go_text.duration_string(ms) for ms in (1500, 61_000, 3_600_000)] == [
        "1.5s", "1m1s", "1h0m0s",
    ]  # fmt: skip
    assert [go_text.model_duration(s) for s in (0, 721 * 3600, 7 * 86400, 1.5, 93_600)] == [
        "0s", "30d1h", "1w", "1s500ms", "1d2h",
    ]  # fmt: skip
    numbers = [1e21, 1e20, 1e-4, 1e-5, -2.5, 1e8, 0.0, -0.0, float("nan"), float("-inf")]
    assert [go_text.float_v(n) for n in numbers] == [
        "1e+21", "100000000000000000000", "0.0001", "1e-05", "-2.5", "100000000", "0", "-0", "NaN",
        "-Inf",
    ]  # fmt: skip


def test_a_rate_alone_brings_its_burst() -> None:
    loki = limits_of("loki-raised", {"ingestion_rate_mb": 4.0})
    assert (loki.ingestion_rate_mb, loki.ingestion_burst_size_mb) == (4.0, 6.0)
    assert loki.per_stream_rate_limit_burst_mb == 10_240.0
    both = limits_of("loki-raised", {"ingestion_rate_mb": 4.0, "ingestion_burst_size_mb": 9.0})
    assert both.ingestion_burst_size_mb == 9.0
    cortex = limits_of("cortex", {"ingestion_rate": 100.0})
    assert cortex.ingestion_burst_size == 200
    assert isinstance(cortex.ingestion_burst_size, int)
