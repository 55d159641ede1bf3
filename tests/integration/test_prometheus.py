"""``looker metrics`` against a real Prometheus, and what Prometheus itself says is stored."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.outcomes import Product
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.generate.content import Content
from looker.generate.metrics import MetricEncoder
from looker.model.config import ReadApi
from looker.model.fragment import FragmentBatch, FragmentState
from looker.wire.snappy import compress
from servers import (
    Prometheus,
    Run,
    looker,
    new_id,
    run_config,
    separate_prometheus,  # noqa: F401 - a fixture
    shared_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from pathlib import Path

    from looker.backend.client import PushResult

pytestmark = pytest.mark.prometheus

SMALL = ("--n-entries-per-stream-fragment", "5", "--stop-write-after-n-fragments-per-stream", "3")
SHORT_RETRIES = (
    "--retry-post-min-delay-seconds",
    "0.1",
    "--retry-post-max-delay-seconds",
    "0.3",
)


@pytest.mark.parametrize("n_workers", ["1", "2"])
@pytest.mark.parametrize("read_api", ["auto", "remote-read", "query"])
def test_all_that_was_written_is_read_back(
    prometheus: Prometheus, tmp_path: Path, read_api: str, n_workers: str
) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "40", "--n-workers", n_workers),
        *("--read-api", read_api, *SMALL),
    )
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.report["target"]["product"] == "prometheus"
    assert result.report["target"]["version"].startswith("2.")
    assert result.write["samples_acked"] == 40 * 3 * 5
    assert result.write["payload_bytes_acked"] == 40 * 3 * 5 * 16
    assert result.write["pushes_acked"] == 40 * 3
    assert result.write["responses_by_status"] == {"204": 120}
    assert result.read["samples_expected"] == result.read["samples_validated"] == 600
    assert result.read["streams_selected"] == 40
    assert result.read["fragments_proved_by_checksum"] == 120
    assert "passed: all 600 samples read back exactly as written" in result.stdout
    stored = prometheus.stored(name)
    assert set(stored) == {f"{name}-0-{number:02d}" for number in range(40)}
    for unique_name, series in stored.items():
        assert set(series.labels) == {"__name__", "looker_group", "looker_uniquename"}
        assert series.labels["__name__"] == "looker_metric_0"
        assert series.labels["looker_group"].startswith(f"{name}-0-g")
        assert series.labels["looker_uniquename"] == unique_name
        assert len(series.values) == 15
        assert len(set(series.values)) == 15
        assert all(np.isfinite(series.values))
        # three fragments of consecutive milliseconds, one behind the other
        assert (np.diff(series.times_ms) >= 1).all()
        assert (np.diff(series.times_ms).reshape(-1)[[0, 1, 2, 3]] == 1).all()
        assert time.time() - 200 < series.times_ms[0] / 1000 < time.time() - 30


def test_several_series_share_a_message(prometheus: Prometheus, tmp_path: Path) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "100", "--n-workers", "2"),
        *("--n-fragments-per-push-message", "25", *SMALL),
    )
    assert result.code == 0, result.said
    assert result.write["samples_acked"] == result.read["samples_validated"] == 1500
    # a message may hold fewer where not enough series are ready
    assert 12 <= result.write["pushes_acked"] < 100
    mean = 300 / result.write["pushes_acked"]
    assert result.write["fragments_per_push_mean"] == pytest.approx(mean)
    stored = prometheus.stored(name)
    assert len(stored) == 100
    assert sum(len(series.values) for series in stored.values()) == 1500


def test_one_series_of_one_sample(prometheus: Prometheus, tmp_path: Path) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "1"),
        *("--n-entries-per-stream-fragment", "1"),
        *("--stop-write-after-n-fragments-per-stream", "1"),
    )
    assert result.code == 0, result.said
    assert result.report["config"]["n_workers"] == 1
    assert result.write["samples_acked"] == result.read["samples_validated"] == 1
    assert [len(series.values) for series in prometheus.stored(name).values()] == [1]


@pytest.mark.parametrize("align", ["--align-phases", "--no-align-phases"])
def test_kept_series_grow_from_cycle_to_cycle(
    prometheus: Prometheus, tmp_path: Path, align: str
) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "20", "--n-workers", "2"),
        *("--n-cycles", "3", align, *SMALL),
    )
    assert result.code == 0, result.said
    cycles = result.report["cycles"]
    assert [(cycle["cycle"], cycle["generation"]) for cycle in cycles] == [(0, 0), (1, 0), (2, 0)]
    for cycle in cycles:
        assert cycle["verdict"] == "passed"
        assert cycle["write"]["samples_acked"] == 300
        assert cycle["read"]["samples_expected"] == cycle["read"]["samples_validated"] == 300
    assert result.report["totals"]["write"]["samples_acked"] == 900
    assert result.report["totals"]["read"]["samples_validated"] == 900
    stored = prometheus.stored(name)
    assert len(stored) == 20
    assert {len(series.values) for series in stored.values()} == {45}


def test_renewed_series_are_other_series(prometheus: Prometheus, tmp_path: Path) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "10", "--n-cycles", "4"),
        *("--change-streams-every-n-cycles", "2", *SMALL),
    )
    assert result.code == 0, result.said
    assert [cycle["generation"] for cycle in result.report["cycles"]] == [0, 0, 1, 1]
    assert [cycle["verdict"] for cycle in result.report["cycles"]] == ["passed"] * 4
    stored = prometheus.stored(name)
    assert set(stored) == {f"{name}-{born}-{number}" for born in (0, 2) for number in range(10)}
    assert {len(series.values) for series in stored.values()} == {30}
    values = [value for series in stored.values() for value in series.values]
    assert len(set(values)) == len(values) == 600


def test_sparse_reads_choose_anew_in_each_cycle(prometheus: Prometheus, tmp_path: Path) -> None:
    result = looker(
        tmp_path,
        "metrics",
        prometheus.url,
        *("--n-concurrent-streams", "60", "--n-workers", "2", "--n-cycles", "2"),
        *("--read-n-streams-only", "7", *SMALL),
    )
    assert result.code == 0, result.said
    for cycle in result.report["cycles"]:
        assert cycle["write"]["samples_acked"] == 60 * 15
        assert cycle["read"]["streams_selected"] == 7
        assert cycle["read"]["samples_expected"] == cycle["read"]["samples_validated"] == 7 * 15
        assert sum(worker["read"]["streams_selected"] for worker in cycle["workers"]) == 7


def test_external_labels_are_tolerated_and_named(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    config = "global: {external_labels: {cluster: a, replica: b}}\n"
    with Prometheus(tmp_path_factory.mktemp("labelled"), config) as server:
        arguments = ("metrics", server.url, "--n-concurrent-streams", "10", *SMALL)
        by_query = looker(tmp_path, *arguments, "--read-api", "query")
        assert by_query.code == 0, by_query.said
        assert by_query.report["target"]["adds"] == []
        by_read = looker(tmp_path, *arguments, "--read-api", "remote-read")
        # the query API does not show them, remote read does
        assert by_read.code == 0, by_read.said
        assert by_read.report["target"]["adds"] == ["cluster", "replica"]
        assert by_read.read["samples_validated"] == 150


def test_an_older_sample_is_refused(prometheus: Prometheus) -> None:
    config = run_config(prometheus.url, n_streams=2, n_samples_per_fragment=3)
    target = discover(config, prometheus.url)
    assert (target.product, target.read_api) == (Product.PROMETHEUS, ReadApi.REMOTE_READ)
    encoder = MetricEncoder(Content.of(config, 0))
    now_ms = time.time_ns() // 1_000_000
    bodies = []
    for start_ms in (now_ms - 60_000, now_ms - 90_000):
        batch = FragmentBatch(
            np.array([0], np.uint32),
            np.array([0], np.uint32),
            np.array([start_ms * 1_000_000], np.int64),
            3,
            1_000_000,
        )
        (_, raw) = next(iter(encoder.encode(batch).messages(1)))
        bodies.append(compress(raw.data))

    async def push() -> list[PushResult]:
        async with Transport(max_connections=1) as transport:
            client = Client(
                transport, api_for(target), config.retry, SystemClock(), asyncio.Event()
            )
            return [await client.push(body, 3) for body in bodies]

    newer, older = asyncio.run(push())
    assert newer.state is FragmentState.ACKNOWLEDGED
    assert dict(newer.responses) == {"204": 1}
    # Prometheus rolls the whole request back: it is known that nothing was stored
    assert older.state is FragmentState.REJECTED
    assert dict(older.responses) == {"400": 1}
    assert older.n_attempts == 1
    assert not older.unresolved
    assert older.refusal == "400 out of order sample"
    (series,) = prometheus.stored(config.invocation_id).values()
    assert series.times_ms == [now_ms - 60_000 + number for number in range(3)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_while_writing_costs_retries_only(
    own_prometheus: Prometheus, tmp_path: Path, number: signal.Signals
) -> None:
    name = new_id()
    with Run(
        tmp_path,
        "metrics",
        own_prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "50"),
        *("--n-entries-per-stream-fragment", "5", "--metrics-time-increment-ms", "1"),
        *("--stop-write-after-n-seconds", "4", "--retry-post-deadline-seconds", "60"),
        *SHORT_RETRIES,
    ) as run:
        run.wait_for("write phase begins")
        time.sleep(1)
        own_prometheus.end(number)
        time.sleep(0.7)  # longer than two retries are apart
        own_prometheus.start()
        result = run.result()
    # Prometheus hands its log of writes to the kernel before it answers: killing it loses nothing
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    write, read = result.write, result.read
    assert write["pushes_retried"] > 0
    assert write["pushes_rejected"] == write["pushes_unresolved"] == 0
    assert sum(write["responses_by_status"].values()) == (
        write["pushes_acked"] + write["pushes_indeterminate"] + write["pushes_retried"]
    )
    assert "ConnectError" in write["responses_by_status"]
    assert read["samples_expected"] == read["samples_validated"] == write["samples_acked"] > 0
    stored = own_prometheus.stored(name)
    n_stored = sum(len(series.values) for series in stored.values())
    assert n_stored == read["samples_validated"] + read["samples_indeterminate_found"]


def test_a_server_that_is_gone_for_good_ends_the_run(
    own_prometheus: Prometheus, tmp_path: Path
) -> None:
    with Run(
        tmp_path,
        "metrics",
        own_prometheus.url,
        *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5", "--skip-read"),
        *("--stop-write-after-n-seconds", "60", "--retry-post-deadline-seconds", "1.5"),
        *("--n-workers", "2", *SHORT_RETRIES),
    ) as run:
        run.wait_for("write phase begins")
        time.sleep(0.5)
        own_prometheus.end()
        ended_s = time.monotonic()
        result = run.result()
        assert time.monotonic() - ended_s < 45
    assert result.code == 3, result.said
    assert result.report["exit_code"] == 3
    assert result.report["verdict"] == "not_checked"
    write = result.write
    assert write["samples_acked"] > 0
    # of each, it is known whether any byte was sent
    assert 1 <= write["pushes_rejected"] + write["pushes_unresolved"] <= 20
    assert write["pushes_retried"] > 0
    assert write["refusal"].startswith("given up after ")
    assert "ConnectError" in write["refusal"]
    assert write["refusal"] in result.stdout
    assert len(result.report["cycles"][0]["workers"]) == 2
    assert result.report["finished_at"] is not None
    assert "Traceback" not in result.stderr


def test_many_series_are_read_back_with_few_queries(
    own_prometheus: Prometheus, tmp_path: Path
) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        "metrics",
        own_prometheus.url,
        *("--invocation-id", name, "--n-concurrent-streams", "100000"),
        *("--n-entries-per-stream-fragment", "5", "--n-fragments-per-push-message", "1000"),
        *("--stop-write-after-n-fragments-per-stream", "2"),
    )
    assert result.code == 0, result.said
    assert result.write["samples_acked"] == result.read["samples_validated"] == 1_000_000
    assert result.read["fragments_proved_by_checksum"] == 200_000
    assert result.read["queries"] <= 500
    (counted,) = own_prometheus.get(
        "/api/v1/query",
        query=f'count(last_over_time({{looker_uniquename=~"{name}-0-.*"}}[30m]))',
        time=f"{time.time():.3f}",
    )["result"]
    assert counted["value"][1] == "100000"
    names = own_prometheus.get("/api/v1/label/__name__/values")
    assert names == [f"looker_metric_{number}" for number in range(10)]
