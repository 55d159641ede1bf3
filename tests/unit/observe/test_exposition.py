"""The referees are prometheus_client's parsers and Prometheus' own linter."""

from __future__ import annotations

import dataclasses
import http.client
import logging
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

import looker
from looker.clock import ManualClock
from looker.errors import ExitCode, UsageError
from looker.model.histogram import Histogram
from looker.model.run_state import RunState
from looker.observe import exposition
from looker.observe.exposition import (
    DURATION_BOUNDS_US,
    LAG_BOUNDS_US,
    MetricsServer,
    RunCollector,
    metrics_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from looker.model.config import RunConfig
    from looker.model.report import ReadReport, SpotCheckReport, WriteReport

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "metrics.md"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def text_of(state: RunState, clock: ManualClock | None = None) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(state, clock or ManualClock()))
    return generate_latest(registry).decode()


def samples_of(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


@pytest.fixture(name="state")
def hand_made_state(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_read: Callable[..., ReadReport],
) -> RunState:
    """Worker 0 has one cycle behind it and is writing; worker 1 has died in its first read."""
    state = RunState(config, 1_000_000_000_500_000_000)
    for worker in (0, 1):
        state.set_up(worker, up=True)
    state.hear(0, 0, written(1))
    state.hear(0, 0, has_read(1), over=True)
    state.hear(0, 1, written(2))
    state.hear(1, 0, written(4))
    state.hear(1, 0, has_read(4))
    state.set_up(1, up=False)
    return state


COUNTERS = {
    # name: (of one write report, of one read report)
    "looker_push_retries_total": (7, 0),
    "looker_fragments_pushed_total": (257, 0),
    "looker_samples_acknowledged_total": (250_000, 0),
    "looker_samples_in_doubt_total": (7_000, 0),
    "looker_payload_acknowledged_bytes_total": (25_000_000, 0),
    "looker_push_wire_bytes_total": (26_000_000, 0),
    "looker_rate_limited_seconds_total": (0.5, 0),
    "looker_throttled_seconds_total": (0.25, 0),
    "looker_starved_seconds_total": (0.125, 0),
    "looker_writer_seconds_total": (10, 0),
    "looker_forward_leaps_total": (3, 0),
    "looker_samples_expected_total": (0, 125_000),
    "looker_samples_validated_total": (0, 124_993),
    "looker_payload_validated_bytes_total": (0, 12_000_000),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_sums_over_all_cycles(state: RunState, name: str) -> None:
    samples = samples_of(text_of(state))
    by_write, by_read = COUNTERS[name]
    assert value(samples, name, worker="0") == 3 * by_write + by_read
    assert value(samples, name, worker="1") == 4 * by_write + 4 * by_read


def test_counters_with_a_second_label(state: RunState) -> None:
    samples = samples_of(text_of(state))
    pushes = {labels: n for (name, labels), n in samples.items() if name == "looker_pushes_total"}
    assert pushes == {
        (("outcome", outcome), ("worker", worker)): times * n
        for worker, times in (("0", 3), ("1", 4))
        for outcome, n in (
            ("acknowledged", 250),
            ("rejected", 2),
            ("indeterminate", 4),
            ("unresolved", 1),
        )
    }
    responses = {
        labels: n for (name, labels), n in samples.items() if name == "looker_push_responses_total"
    }
    assert responses == {
        (("code", code), ("worker", worker)): times * n
        for worker, times in (("0", 3), ("1", 4))
        for code, n in (("204", 254), ("429", 6), ("ReadTimeout", 1), ("other", 1))
    }
    mismatches = {
        labels: n for (name, labels), n in samples.items() if name == "looker_mismatches_total"
    }
    assert mismatches == {
        (("kind", kind), ("worker", worker)): times * n
        for worker, times in (("0", 1), ("1", 4))
        for kind, n in (
            ("missing", 5),
            ("duplicate", 0),
            ("corrupt", 2),
            ("out_of_order", 0),
            ("unexpected", 0),
            ("wrong_labels", 0),
            ("transient", 0),
            ("inconsistent", 0),
        )
    }


def test_spot_checks_are_counted_apart(
    state: RunState, has_checked: Callable[..., SpotCheckReport]
) -> None:
    before = samples_of(text_of(state))
    state.hear(0, 1, has_checked(1))
    # so far, not since then
    state.hear(0, 1, has_checked(2))
    state.hear(0, 2, has_checked(4))
    now = samples_of(text_of(state))
    added = {key: now[key] - before[key] for key in now if now[key] != before[key]}
    assert added == {
        ("looker_worker_cycles_completed_total", (("worker", "0"),)): 1,
        ("looker_spot_checks_total", (("worker", "0"),)): 66,
        ("looker_spot_check_samples_validated_total", (("worker", "0"),)): 582,
        (
            "looker_spot_check_mismatches_total",
            (("kind", "missing"), ("worker", "0")),
        ): 18,
    }


def test_a_spot_check_does_not_begin_an_ended_cycle_again(
    state: RunState,
    has_checked: Callable[..., SpotCheckReport],
    has_read: Callable[..., ReadReport],
) -> None:
    state.hear(0, 1, has_read(1), over=True)
    state.hear(0, 1, has_checked())
    assert state.snapshot()[0].n_cycles == 2
    state.hear(0, 2, has_checked())
    assert state.snapshot()[0].n_cycles == 2
    assert not state.snapshot()[0].over


def test_what_is_said_of_the_run(state: RunState) -> None:
    samples = samples_of(text_of(state, ManualClock(wall=1_000_000_012_750_000_000)))
    assert value(samples, "looker_start_time_seconds") == 1_000_000_000.5
    assert value(samples, "looker_uptime_seconds") == 12.25
    assert value(samples, "looker_worker_up", worker="0") == 1
    assert value(samples, "looker_worker_up", worker="1") == 0
    assert value(samples, "looker_cycles_completed_total") == 0
    assert value(samples, "looker_worker_cycles_completed_total", worker="0") == 1
    assert value(samples, "looker_worker_cycles_completed_total", worker="1") == 0
    assert value(samples, "looker_run_info", invocation_id="looker-ab12cd34", mode="logs") == 1
    python = platform.python_version()
    assert value(samples, "looker_build_info", version=looker.__version__, python=python) == 1


@pytest.mark.parametrize(
    ("name", "bounds_us", "worker", "values_us"),
    [
        ("push_request_duration", DURATION_BOUNDS_US, "0", [700, 4_000, 5_000, 5_000_000] * 3),
        ("push_request_duration", DURATION_BOUNDS_US, "1", [700, 4_000, 5_000, 5_000_000] * 4),
        ("push_duration", DURATION_BOUNDS_US, "0", [800, 400_000_000] * 3),
        ("lag", LAG_BOUNDS_US, "0", [30_000_000, 31_000_000] * 3),
        ("query_duration", DURATION_BOUNDS_US, "0", [9_999, 10_000, 20_000]),
        ("query_duration", DURATION_BOUNDS_US, "1", [9_999, 10_000, 20_000] * 4),
    ],
)
def test_histograms(
    state: RunState, name: str, bounds_us: tuple[int, ...], worker: str, values_us: list[int]
) -> None:
    samples = samples_of(text_of(state))
    prefix = f"looker_{name}_seconds"
    for bound_us in bounds_us:
        # a recorded microsecond has begun: what was recorded as the bound itself is above it
        n = sum(one < bound_us for one in values_us)
        assert value(samples, f"{prefix}_bucket", worker=worker, le=str(bound_us / 1e6)) == n
    assert value(samples, f"{prefix}_bucket", worker=worker, le="+Inf") == len(values_us)
    assert value(samples, f"{prefix}_count", worker=worker) == len(values_us)
    total_s = value(samples, f"{prefix}_sum", worker=worker)
    assert total_s == pytest.approx(sum(values_us) / 1e6, rel=1e-3)


@pytest.mark.parametrize("bounds_us", [DURATION_BOUNDS_US, LAG_BOUNDS_US])
def test_bounds_fall_between_slots_so_that_counts_are_exact(bounds_us: tuple[int, ...]) -> None:
    assert list(bounds_us) == sorted(set(bounds_us))
    for bound_us in bounds_us:
        histogram = Histogram()
        for one in (bound_us - 2, bound_us - 1, bound_us, bound_us + 1):
            histogram.record_us(one)
        assert histogram.counts_up_to([bound_us - 1]) == [2]


def test_nothing_goes_back_when_a_cycle_or_a_worker_ends(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_read: Callable[..., ReadReport],
) -> None:
    state = RunState(config, 0)
    before: Samples = {}

    def assert_monotonic() -> None:
        nonlocal before
        now = samples_of(text_of(state))
        for key, number in before.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert now[key] >= number, key
        before = now

    for cycle in range(5):
        for times in (1, 2, 3):
            state.hear(0, cycle, written(times))
            assert_monotonic()
        for times in (1, 2):
            state.hear(0, cycle, has_read(times))
            assert_monotonic()
        state.hear(0, cycle, has_read(3), over=True)
        assert_monotonic()
    state.set_up(0, up=False)
    assert_monotonic()
    assert value(before, "looker_samples_acknowledged_total", worker="0") == 5 * 3 * 250_000
    assert value(before, "looker_worker_cycles_completed_total", worker="0") == 5


def test_a_scrape_of_many_cycles_is_as_large_as_one_of_two(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_read: Callable[..., ReadReport],
) -> None:
    state = RunState(config, 0)
    sizes = []
    for cycle in range(200):
        state.hear(0, cycle, written())
        state.hear(0, cycle, has_read(), over=True)
        sizes.append(len(text_of(state).splitlines()))
    assert sizes[2] == sizes[-1]


def test_a_snapshot_stays_as_it_is(state: RunState, written: Callable[..., WriteReport]) -> None:
    snapshot = state.snapshot()
    before = [dataclasses.replace(worker.past.write).to_json() for worker in snapshot]
    state.hear(0, 2, written(9))
    state.hear(0, 3, written(9))
    assert [worker.past.write.to_json() for worker in snapshot] == before


def test_before_anything_has_happened(config: RunConfig) -> None:
    samples = samples_of(text_of(RunState(config, 0)))
    assert value(samples, "looker_query_duration_seconds_count", worker="1") == 0
    assert value(samples, "looker_samples_acknowledged_total", worker="1") == 0


def test_scrapes_while_the_run_goes_on_are_consistent(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_read: Callable[..., ReadReport],
) -> None:
    state = RunState(config, 0)
    done = threading.Event()

    def work() -> None:
        for cycle in range(100):
            for times in (1, 2, 3):
                state.hear(0, cycle, written(times))
            state.hear(0, cycle, has_read(), over=True)
        done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        worker = threading.Thread(target=work)
        worker.start()
        last = 0.0
        while not done.is_set():
            samples = samples_of(text_of(state))
            acked = value(samples, "looker_samples_acknowledged_total", worker="0")
            payload = value(samples, "looker_payload_acknowledged_bytes_total", worker="0")
            assert payload == 100 * acked
            assert acked >= last
            last = acked
        worker.join()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
def test_promtool_has_nothing_to_say(state: RunState) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text_of(state),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_family_is_documented_and_no_other(state: RunState) -> None:
    exposed = set(re.findall(r"^# TYPE (\w+) (\w+)$", text_of(state), re.MULTILINE))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENTATION.read_text("utf-8"), re.MULTILINE)
    assert set(rows) == exposed
    assert len(rows) == len(exposed)


# --- the server ---------------------------------------------------------------------------------


@pytest.fixture(name="server")
def serving(state: RunState) -> Iterator[MetricsServer]:
    with MetricsServer(RunCollector(state, ManualClock()), 0) as server:
        yield server


def ask(
    server: MetricsServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()
    finally:
        connection.close()


def test_the_server_answers(server: MetricsServer, state: RunState) -> None:
    status, content_type, body = ask(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert samples_of(body) == samples_of(text_of(state))
    assert ask(server, "/metrics?x=1")[0] == 200
    assert ask(server, "/") == (200, "text/plain; charset=utf-8", "Looker: see /metrics\n")
    assert ask(server, "/", "HEAD") == (200, "text/plain; charset=utf-8", "")
    assert ask(server, "/metrics/x")[0] == 404
    assert ask(server, "/metrics", "POST")[0] == 501
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"


def test_the_server_speaks_openmetrics_to_those_who_ask(server: MetricsServer) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    status, content_type, body = ask(server, "/metrics", Accept=accept)
    assert status == 200
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in openmetrics_parser.text_string_to_metric_families(body)}
    assert {"looker_samples_acknowledged", "looker_lag_seconds", "looker_build"} <= families


def test_the_port_is_free_again_afterwards(state: RunState) -> None:
    collector = RunCollector(state, ManualClock())
    with MetricsServer(collector, 0) as server:
        ask(server, "/metrics")
    with MetricsServer(collector, server.port) as again:
        assert ask(again, "/")[0] == 200


def test_a_client_that_hangs_does_not_hold_up_others_or_the_end(state: RunState) -> None:
    with MetricsServer(RunCollector(state, ManualClock()), 0) as server:
        hanging = socket.create_connection(("127.0.0.1", server.port))
        hanging.sendall(b"GET /met")
        assert ask(server, "/metrics")[0] == 200
    hanging.close()


def test_a_given_port_in_use_is_a_usage_error(server: MetricsServer, state: RunState) -> None:
    collector = RunCollector(state, ManualClock())
    with pytest.raises(UsageError, match=r"--http-server-port: port \d+ .* is in use") as caught:
        metrics_server(collector, server.port)
    assert caught.value.exit_code is ExitCode.USAGE
    with pytest.raises(UsageError, match="cannot be listened on"):
        metrics_server(collector, 70_000)


def test_the_range_is_that_of_the_original() -> None:
    assert (exposition.PORTS[0], exposition.PORTS[-1]) == (8900, 8990)


def test_the_first_free_port_of_the_range_is_taken(
    server: MetricsServer, state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(exposition, "PORTS", [server.port, port])
    found = metrics_server(RunCollector(state, ManualClock()), None)
    assert found is not None
    with found:
        assert found.port == port


def test_without_a_free_port_the_run_goes_on(
    server: MetricsServer,
    state: RunState,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(exposition, "PORTS", [server.port])
    monkeypatch.setattr(logging.getLogger("looker"), "propagate", True)
    assert metrics_server(RunCollector(state, ManualClock()), None) is None
    assert "--http-server-port" in caplog.text
