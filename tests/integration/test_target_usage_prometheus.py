"""What a real Prometheus used, as a report tells it, against what the kernel counts."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from looker.backend.discovery import discover
from looker.clock import SystemClock
from looker.engine.coordinator import Coordinator
from looker.engine.pool import LocalPool
from looker.engine.usage_watch import UsageWatch
from looker.model.target_usage import PRODUCT_METRICS
from looker.observe.cpu import process_cpu_s
from servers import (
    Prometheus,
    SilentView,
    run_config,
    separate_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from looker.engine.messages import Phase
    from looker.model.report import CycleReport

pytestmark = pytest.mark.prometheus
# of Prometheus 2.42: the sizes of WAL and head chunks came later
THERE = {
    "go_memstats_heap_inuse_bytes",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_head_chunks",
    "prometheus_tsdb_storage_blocks_bytes",
}


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class KernelView(SilentView):
    """Notes what the kernel says of a process where phases begin and end, and all the time."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.cpu_s: list[float] = []
        self.max_bytes = self.start_bytes = resident_bytes(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def phase_began(self, cycle: int, phase: Phase) -> None:
        self.cpu_s.append(process_cpu_s(self.pid))

    def cycle_ended(self, report: CycleReport) -> None:
        self.cpu_s.append(process_cpu_s(self.pid))

    def close(self) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.max_bytes = max(self.max_bytes, resident_bytes(self.pid))


def test_a_report_says_what_the_kernel_says(own_prometheus: Prometheus) -> None:
    assert own_prometheus._process is not None
    pid = own_prometheus._process.pid
    config = run_config(
        own_prometheus.url,
        n_streams=4000,
        n_samples_per_fragment=200,
        n_fragments_per_message=20,
        max_lag_s=120.0,
        stop_after_n_fragments=5,
        target_metrics_every_s=0.25,
        target_metrics=('prometheus_http_requests_total{handler="/api/v1/write"}',),
    )
    clock = SystemClock()
    target = discover(config, own_prometheus.url)
    view = KernelView(pid)
    started_ns = time.time_ns()
    try:
        report = Coordinator(
            config,
            target,
            LocalPool(),
            clock,
            environment={},
            view=view,
            save=lambda _: None,
            watch=UsageWatch.of(config, target, clock, started_ns),
        ).run()
    finally:
        view.close()
    plain = report.to_json()
    assert plain["verdict"] == "passed"
    found, told = plain["totals"]["target"], plain["target_usage"]
    assert (told["n_failed"], told["restarted"]) == (0, False)
    begun_s, written_s, read_s = view.cpu_s
    # the kernel, and Prometheus, count in hundredths of a second
    assert found["write_cpu_s"] == pytest.approx(written_s - begun_s, rel=0.2, abs=0.05)
    assert found["write_cpu_s"] > 0.2
    assert found["read_cpu_s"] == pytest.approx(read_s - written_s, rel=0.2, abs=0.05)
    assert found["rss_bytes_start"] == pytest.approx(view.start_bytes, rel=0.2)
    assert found["rss_bytes_max"] == pytest.approx(view.max_bytes, rel=0.2)
    assert found["rss_bytes_per_stream"] == pytest.approx(
        (view.max_bytes - view.start_bytes) / 4000, rel=0.3
    )
    n_samples = 4000 * 200 * 5
    assert found["write_cpu_s_per_gb"] == pytest.approx(
        found["write_cpu_s"] / (16 * n_samples / 1e9)
    )
    metrics = found["metrics"]
    (asked,) = config.target_metrics
    assert set(metrics) == {asked, *THERE}
    assert set(PRODUCT_METRICS["prometheus"]) >= THERE - {"go_memstats_heap_inuse_bytes"}
    assert metrics["prometheus_tsdb_head_series"] == {"start": 0, "end": 4000, "max": 4000}
    assert metrics[asked]["end"] >= 1000
