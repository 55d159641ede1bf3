"""A run's ``/metrics``, scraped while it goes on."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from looker.observe.exposition import MetricsServer
from servers import (
    PATIENCE_S,
    Prometheus,
    Run,
    free_port,
    kill_quietly,
    looker,
    require_prometheus,
    spawned,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
RUN = (
    "metrics",
    "--n-workers=2",
    "--n-concurrent-streams=100",
    "--stop-write-after-n-seconds=1",
    "--n-cycles=2",
)
COUNTERS = ("_total", "_bucket", "_count", "_sum")


def scrape(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum over all workers."""
    return sum(
        value
        for (found, pairs), value in samples.items()
        if found == name and labels.items() <= dict(pairs).items()
    )


def assert_equal_to_report(samples: Samples, report: dict[str, Any]) -> None:
    write, read = report["totals"]["write"], report["totals"]["read"]
    for name, value in (
        ("looker_samples_acknowledged_total", write["samples_acked"]),
        ("looker_payload_acknowledged_bytes_total", write["payload_bytes_acked"]),
        ("looker_push_wire_bytes_total", write["wire_bytes_sent"]),
        ("looker_push_retries_total", write["pushes_retried"]),
        ("looker_push_duration_seconds_count", write["pushes_acked"]),
        ("looker_forward_leaps_total", write["forward_leaps"]),
        ("looker_samples_expected_total", read["samples_expected"]),
        ("looker_samples_validated_total", read["samples_validated"]),
        ("looker_query_duration_seconds_count", read["queries"]),
        ("looker_mismatches_total", sum(read["mismatches"].values())),
        ("looker_worker_cycles_completed_total", 2 * len(report["cycles"])),
        ("looker_cycles_completed_total", len(report["cycles"])),
    ):
        assert total(samples, name) == value, name
    assert total(samples, "looker_throttled_seconds_total") == pytest.approx(write["throttled_s"])
    for code, n in write["responses_by_status"].items():
        assert total(samples, "looker_push_responses_total", code=code) == n
    acked = total(samples, "looker_pushes_total", outcome="acknowledged")
    assert acked == write["pushes_acked"]


def test_counters_only_rise_and_end_as_the_report_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from looker.cli.main import main  # noqa: PLC0415 - what it configures is restored below

    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    last: list[Samples] = []
    scrapes: list[Samples] = []
    over = threading.Event()
    end = MetricsServer.__exit__

    def scrape_and_end(server: MetricsServer, *error: object) -> None:
        over.set()
        last.append(scrape(server.url))
        end(server, *error)

    def poll() -> None:
        while not over.is_set():
            with contextlib.suppress(urllib.error.URLError):
                scrapes.append(scrape(url))
            time.sleep(0.05)

    monkeypatch.setattr(MetricsServer, "__exit__", scrape_and_end)
    monkeypatch.chdir(tmp_path)
    poller = threading.Thread(target=poll)
    poller.start()
    try:
        with pytest.raises(SystemExit) as caught:
            main([*RUN, f"--http-server-port={port}", "--report=report.json"])
    finally:
        over.set()
        poller.join(PATIENCE_S)
    assert caught.value.code == 0, capsys.readouterr().err
    assert len(scrapes) > 10
    latest: dict[Any, float] = defaultdict(float)
    for samples in [*scrapes, *last]:
        for key, value in samples.items():
            if key[0].endswith(COUNTERS):
                assert value >= latest[key], key
                latest[key] = value
    assert any(total(samples, "looker_worker_up") == 2 for samples in scrapes)
    assert total(last[0], "looker_worker_up") == 0
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert_equal_to_report(last[0], report)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with Run(tmp_path, *RUN) as first:
        first.wait_for("metrics at http")
        found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", first.text("stderr"))
        assert found is not None
        assert 8900 <= int(found[1]) <= 8990
        second = looker(tmp_path, *RUN, f"--http-server-port={found[1]}")
        assert second.code == 2, second.said
        assert f"--http-server-port: port {found[1]} of 127.0.0.1 is in use" in second.stderr
        assert not second.reports
        with Run(tmp_path, *RUN) as third:
            third.wait_for("metrics at http")
            assert f":{found[1]}/" not in third.text("stderr")
            assert third.result().code == 0
        assert first.result().code == 0


def test_a_dead_worker_keeps_its_counters(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with Run(tmp_path, *RUN, "--n-cycles=0", f"--http-server-port={port}") as run:
        run.wait_for("cycle 0: passed")
        before = scrape(url)
        # the last one that was started is a worker, not the target
        kill_quietly(spawned(run.pid)[-1])
        after: Samples = {}
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            while run._process.poll() is None:
                after = scrape(url)
        assert total(after, "looker_worker_up") < 2
        for key, value in before.items():
            if key[0].endswith(COUNTERS):
                assert after[key] >= value, key
        assert run.result().code == 70


@pytest.mark.prometheus
def test_a_real_prometheus_scrapes_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    require_prometheus()
    port = free_port()
    scraping = {
        "scrape_configs": [
            {
                "job_name": "looker",
                "scrape_interval": "200ms",
                "scrape_timeout": "200ms",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
        ]
    }
    directory = tmp_path_factory.mktemp("prometheus")
    with (
        Prometheus(directory, json.dumps(scraping)) as prometheus,
        Run(
            tmp_path_factory.mktemp("run"),
            *RUN,
            "--stop-write-after-n-seconds=3",
            f"--http-server-port={port}",
        ) as run,
    ):

        def ask(query: str) -> float:
            result = prometheus.get("/api/v1/query", query=query)["result"]
            return float(result[0]["value"][1]) if result else 0.0

        wait_until(
            lambda: ask("sum(rate(looker_samples_acknowledged_total[2s]))") > 0,
            "Prometheus sees a rate",
        )
        p99 = (
            "histogram_quantile(0.99,"
            " sum without (worker) (rate(looker_push_request_duration_seconds_bucket[2s])))"
        )
        wait_until(lambda: 0 < ask(p99) < 10, "Prometheus sees a quantile")
        assert ask("count(looker_worker_up)") == 2
        result = run.result()
        assert result.code == 0, result.said
        metadata = prometheus.get("/api/v1/metadata")
        if metadata:
            assert metadata["looker_lag_seconds"][0]["type"] == "histogram"
        query = "sum(max_over_time(looker_samples_acknowledged_total[1m]))"
        seen = ask(query)
        # the last half a second may have gone by between two scrapes
        assert 0 < seen <= result.report["totals"]["write"]["samples_acked"]


def test_modules_of_the_metrics_are_not_loaded_for_the_version() -> None:
    code = "import sys, looker.cli.main; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
