"""What a target says of itself: figures beyond all measure, and when they were told."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from looker.clock import ManualClock
from looker.engine.messages import Phase
from looker.engine.usage_watch import UsageWatch
from looker.model.report import CycleReport, ReadReport
from servers import run_config, wait_until

if TYPE_CHECKING:
    from looker.engine.usage_watch import Page

NS = 1_000_000_000


class Said:
    """A page that says what is in ``text``; the clock moves on while it answers."""

    shown_url = "http://target/metrics"

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.text = ""

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        self._clock.advance(7 * NS)
        return self.text.encode()

    async def aclose(self) -> None:
        pass


def said(page: Page, clock: ManualClock) -> UsageWatch:
    config = run_config(
        None, target_metrics_every_s=100_000.0, target_metrics=("held_bytes", "queue_length")
    )
    return UsageWatch(config, page, clock, started_ns=clock.wall)


def answered(watch: UsageWatch, n: int) -> None:
    wait_until(lambda: watch.snapshot().told["n_scrapes"] >= n, f"{n} answers")


def a_page(cpu_s: str, held: str) -> str:
    return (
        f"process_cpu_seconds_total {cpu_s}\nprocess_start_time_seconds 5\n"
        f"process_resident_memory_bytes 1000\nheld_bytes {held}\nqueue_length 3\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0", "1e305"),
        ("-1.7e308", "1.7e308"),
        ("1", "NaN"),
        ("1", "+Inf"),
        ("-Inf", "1"),
        ("1e309", "2"),
        ("9e307", "1.5e308"),
    ],
)
def test_no_figure_of_a_target_can_lose_a_report(
    before: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Field case 46."""
    logging.getLogger("looker").propagate = True
    clock = ManualClock()
    page = Said(clock)
    page.text = a_page(before, before)
    watch = said(page, clock)
    cycle = CycleReport(0, 0, read=ReadReport())
    # so little that a figure per GB overflows
    cycle.write.samples_acked, cycle.write.payload_bytes_acked = 1, 1
    with caplog.at_level(logging.WARNING, "looker"):
        watch.start()
        answered(watch, 1)
        watch.phase_began(0, Phase.WRITE)
        answered(watch, 2)
        page.text = a_page(after, after)
        watch.phase_ended(cycle, Phase.WRITE)
        answered(watch, 3)
        watch.stop()
    usage = watch.snapshot()
    assert usage.figures is not None
    # a report is written of them, and holds what can be told
    plain = {"target": usage.figures, "target_usage": usage.told}
    report = json.loads(json.dumps(plain, allow_nan=False))
    assert report["target"]["rss_bytes_max"] == 1000
    assert report["target"]["metrics"]["queue_length"] == {"start": 3, "end": 3, "max": 3}
    assert report["target"]["write_cpu_s"] is None
    assert report["target"]["write_cpu_s_per_gb"] is None
    # and says so, once
    assert report["target_usage"]["dropped"] == ["held_bytes", "process_cpu_seconds_total"]
    lines = [line for line in caplog.messages if "dropped, as it is no measure" in line]
    assert len(lines) == 1
    assert "process_cpu_seconds_total" in lines[0]


def test_an_answer_has_the_time_at_which_it_came() -> None:
    """Field case 25."""
    clock = ManualClock()
    page = Said(clock)
    page.text = a_page("1", "2")
    watch = said(page, clock)
    watch.start()
    answered(watch, 1)
    watch.phase_began(0, Phase.WRITE)
    answered(watch, 2)
    watch.stop()
    told: dict[str, Any] = watch.snapshot().told
    assert told["series"]["at_s"][:2] == [7.0, 14.0]
    assert told["dropped"] == []
