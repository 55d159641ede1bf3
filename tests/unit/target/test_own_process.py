"""What the embedded target tells of its own process, against the kernel and the client library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from looker.target.config import TargetConfig
from looker.target.limits import LIKES, Like
from looker.target.own_process import OwnProcess, own_process
from looker.target.server import Target

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
)


def of_process(page: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in NAMES
    }


@pytest.mark.parametrize("like", LIKES)
def test_the_page_tells_what_the_client_library_tells(like: Like) -> None:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    target = Target(TargetConfig(like=like))
    found = of_process(target.answer("GET", "/metrics", {}, b"").body.decode())
    expected = of_process(generate_latest(registry).decode())
    assert set(found) == set(expected) == set(NAMES)
    cpu, rss, started = NAMES
    # the library's counter is in hundredths of a second
    assert found[cpu] == pytest.approx(expected[cpu], abs=0.5)
    assert found[rss] == pytest.approx(expected[rss], rel=0.1)
    assert found[started] == pytest.approx(expected[started], abs=2)


def test_cpu_time_grows_and_is_told_finely() -> None:
    before = own_process().cpu_s
    end_s = time.process_time() + 0.02
    while time.process_time() < end_s:
        pass
    assert 0.02 <= own_process().cpu_s - before < 60


def test_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    found = own_process(tmp_path)
    assert (found.resident_bytes, found.started_s) == (None, None)


def test_what_the_kernel_tells_is_read_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "proc" / "self"
    own.mkdir(parents=True)
    (own / "statm").write_text("100 25 3 0 0 0 0\n")
    rest = " ".join(str(number) for number in range(3, 53))
    (own / "stat").write_text(f"7 (a ) (b) {rest}\n")
    (tmp_path / "proc" / "stat").write_text("cpu 1 2\nbtime 1700000000\n")
    found = own_process(tmp_path)
    assert found == OwnProcess(found.cpu_s, 25 * 4096, 1_700_000_000.22)
