"""Finding out what a target is: products, paths, versions, limits, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from looker.backend.credentials import credentials
from looker.backend.discovery import discover
from looker.backend.outcomes import Product
from looker.backend.transport import Answer, Transport
from looker.errors import TargetError, UsageError
from looker.model.config import Mode, ReadApi
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.backend.api import Target
    from looker.model.config import RunConfig

URL = "http://target.test/prefix"
OK = httpx.Response(200, json={"status": "success", "data": {"resultType": "scalar"}})
READ = httpx.Response(200, headers={"Content-Type": "application/x-protobuf"})
LOKI_BUILD = {"version": "3.4.0", "revision": "abc"}
LOKI = {
    "/loki/api/v1/status/buildinfo": httpx.Response(200, json=LOKI_BUILD),
    "/loki/api/v1/labels": OK,
    "/ready": httpx.Response(200, text="ready\n"),
    "/config": httpx.Response(
        200,
        text="limits_config:\n  ingestion_rate_mb: 4\n  max_entries_limit_per_query: 5000\n",
    ),
}
PROMETHEUS = {
    "/api/v1/status/buildinfo": httpx.Response(200, json={"data": {"version": "2.42.0"}}),
    "/api/v1/status/flags": httpx.Response(
        200, json={"data": {"web.enable-remote-write-receiver": "true", "query.max-samples": "9"}}
    ),
    "/api/v1/status/config": httpx.Response(
        200,
        json={
            "data": {
                "yaml": 'global:\n  scrape_interval: 1m\n  external_labels:\n    region: "eu"\n'
                "    zone: a\nscrape_configs: []\n"
            }
        },
    ),
    "/api/v1/read": READ,
}
CORTEX = {
    "/prometheus/api/v1/query": OK,
    "/prometheus/api/v1/read": READ,
    "/metrics": httpx.Response(
        200, text='cortex_build_info{branch="x",revision="r1",version="1.21.1"} 1\n'
    ),
    "/config": httpx.Response(200, text="limits:\n  ingestion_rate: 25000\n"),
}
MIMIR = {
    "/api/v1/status/buildinfo": httpx.Response(
        200, json={"data": {"application": "Grafana Mimir", "version": "3.0"}}
    ),
    "/prometheus/api/v1/read": READ,
}

Answers = dict[str, httpx.Response]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[httpx.Request]]:
    def answers(by_path: Answers) -> list[httpx.Request]:
        seen: list[httpx.Request] = []

        async def send(
            _transport: Transport,
            method: str,
            url: str,
            *,
            headers: dict[str, str],
            body: bytes | None,
            **_limits: float,
        ) -> Answer:
            request = httpx.Request(method, url, headers=headers, content=body)
            seen.append(request)
            path = request.url.path.removeprefix("/prefix")
            found = by_path.get(path, httpx.Response(404, text="404 page not found\n"))
            kept = CIMultiDictProxy(CIMultiDict(found.headers))
            return Answer(found.status_code, kept, found.content, 1)

        monkeypatch.setattr(Transport, "send", send)
        return seen

    return answers


def config(mode: Mode, **changes: Any) -> RunConfig:
    return replace(run_config(URL, mode=mode), **changes)


def found(mode: Mode, **changes: Any) -> Target:
    return discover(config(mode, **changes), URL)


def test_loki(serve: Callable[[Answers], list[httpx.Request]]) -> None:
    seen = serve(LOKI)
    target = found(Mode.LOGS, tenant="t1")
    assert (target.product, target.version, target.revision) == (Product.LOKI, "3.4.0", "abc")
    assert target.url == URL
    assert (target.push_path, target.query_path) == (
        "/loki/api/v1/push",
        "/loki/api/v1/query_range",
    )
    assert target.limits == {"ingestion_rate_mb": "4", "max_entries_limit_per_query": "5000"}
    assert target.max_entries == 5000
    assert {request.headers["X-Scope-OrgID"] for request in seen} == {"t1"}
    assert len(seen) <= 6


def test_an_old_loki_without_build_information(
    serve: Callable[[Answers], list[httpx.Request]],
) -> None:
    serve({"/loki/api/v1/labels": httpx.Response(200, json={"status": "success"})})
    target = found(Mode.LOGS)
    assert (target.product, target.version, target.max_entries) == (Product.UNKNOWN, None, None)
    assert target.is_logs


def test_prometheus(serve: Callable[[Answers], list[httpx.Request]]) -> None:
    serve(PROMETHEUS)
    target = found(Mode.METRICS)
    assert (target.product, target.version) == (Product.PROMETHEUS, "2.42.0")
    assert (target.push_path, target.read_path) == ("/api/v1/write", "/api/v1/read")
    assert target.read_api is ReadApi.REMOTE_READ
    assert target.external_labels == (("region", "eu"), ("zone", "a"))
    assert found(Mode.METRICS, read_api=ReadApi.QUERY).read_api is ReadApi.QUERY


def test_cortex_has_its_version_on_metrics(
    serve: Callable[[Answers], list[httpx.Request]],
) -> None:
    serve(CORTEX)
    target = found(Mode.METRICS)
    assert (target.product, target.version, target.revision) == (Product.CORTEX, "1.21.1", "r1")
    assert (target.push_path, target.read_path) == ("/api/v1/push", "/prometheus/api/v1/read")
    assert target.limits == {"ingestion_rate": "25000"}


def test_mimir(serve: Callable[[Answers], list[httpx.Request]]) -> None:
    serve(MIMIR)
    target = found(Mode.METRICS)
    assert (target.product, target.version) == (Product.MIMIR, "3.0")
    assert target.push_path == "/api/v1/push"


def test_without_remote_read_the_query_api_is_used(
    serve: Callable[[Answers], list[httpx.Request]],
) -> None:
    serve({path: answer for path, answer in CORTEX.items() if not path.endswith("/read")})
    target = found(Mode.METRICS)
    assert (target.read_api, target.query_path) == (ReadApi.QUERY, "/prometheus/api/v1/query")
    with pytest.raises(TargetError, match=r"no remote read at .*: use --read-api query"):
        found(Mode.METRICS, read_api=ReadApi.REMOTE_READ)


def test_paths_by_hand(serve: Callable[[Answers], list[httpx.Request]]) -> None:
    serve({**CORTEX, "/r": READ})
    target = found(Mode.METRICS, push_path="/p", query_path="/r")
    assert (target.push_path, target.read_path) == ("/p", "/r")
    serve(LOKI)
    assert found(Mode.LOGS, query_path="/q").query_path == "/q"


@pytest.mark.parametrize(
    ("mode", "answers", "message"),
    [
        (Mode.LOGS, {}, "does not answer as Loki does.*looker metrics URL"),
        (Mode.METRICS, {}, "neither as Prometheus nor as Cortex.*looker logs URL"),
        (
            Mode.LOGS,
            {**LOKI, "/ready": httpx.Response(503, text="Ingester not ready: waiting\n")},
            "is not ready: 503 Ingester not ready: waiting",
        ),
        (
            Mode.LOGS,
            {**LOKI, "/loki/api/v1/labels": httpx.Response(401, text="no org id\n")},
            "give --tenant ID",
        ),
        (
            Mode.METRICS,
            {"/api/v1/status/buildinfo": httpx.Response(403, text="keep out")},
            "refuses access: 403 keep out",
        ),
        (
            Mode.METRICS,
            {"/api/v1/status/buildinfo": httpx.Response(302, headers={"Location": "http://b"})},
            "redirects to http://b",
        ),
        (
            Mode.METRICS,
            {
                **PROMETHEUS,
                "/api/v1/status/flags": httpx.Response(
                    200, json={"data": {"web.enable-remote-write-receiver": "false"}}
                ),
            },
            "--web.enable-remote-write-receiver",
        ),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    serve: Callable[[Answers], list[httpx.Request]], mode: Mode, answers: Answers, message: str
) -> None:
    serve(answers)
    with pytest.raises(TargetError, match=message) as caught:
        found(mode)
    assert "\n" not in str(caught.value)


def dated(answers: Answers, offset_s: float) -> Answers:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=offset_s), usegmt=True)
    return {
        path: httpx.Response(
            answer.status_code, headers={**answer.headers, "Date": date}, content=answer.content
        )
        for path, answer in answers.items()
    }


@pytest.mark.parametrize(("offset_s", "word"), [(-100, "behind"), (100, "ahead of")])
def test_a_clock_beyond_the_minimum_lag_is_refused(
    serve: Callable[[Answers], list[httpx.Request]], offset_s: float, word: str
) -> None:
    serve(dated(LOKI, offset_s))
    with pytest.raises(TargetError, match=rf"is (99|100|101) s {word} this host's"):
        found(Mode.LOGS, min_lag_s=30.0)
    skew_s = found(Mode.LOGS, min_lag_s=150.0, max_lag_s=500.0).clock_skew_s
    assert skew_s == pytest.approx(offset_s, abs=2)
    assert found(Mode.LOGS, start_time_ns=10**18).clock_skew_s is not None


def test_user_and_password_become_a_header() -> None:
    url, authorization = credentials(config(Mode.LOGS), "https://me:a%40b@host:1/p/")
    assert url == "https://host:1/p"
    assert authorization == "Basic bWU6YUBi"
    assert credentials(config(Mode.LOGS), "http://host") == ("http://host", None)


def test_a_token_comes_from_a_file(
    tmp_path: Path, serve: Callable[[Answers], list[httpx.Request]]
) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    seen = serve(LOKI)
    target = found(Mode.LOGS, bearer_token_file=file)
    assert {request.headers["Authorization"] for request in seen} == {"Bearer s3cret"}
    assert target.headers() == {"Authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(target)
    with pytest.raises(UsageError, match="contradicts the user name"):
        credentials(config(Mode.LOGS, bearer_token_file=file), "http://me@host")
    file.write_text("two words")
    with pytest.raises(UsageError, match="holds no token"):
        credentials(config(Mode.LOGS, bearer_token_file=file), "http://host")


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(TargetError, match=r"cannot reach http://127\.0\.0\.1:9"):
        discover(config(Mode.LOGS), "http://127.0.0.1:9")
