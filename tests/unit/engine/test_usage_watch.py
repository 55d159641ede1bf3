"""The thread that asks what the target uses, against pages that come when a test says so."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from looker.clock import ManualClock
from looker.engine.messages import Phase
from looker.engine.usage_watch import UsageWatch
from looker.errors import TargetError
from looker.model.report import CycleReport, ReadReport
from servers import run_config, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER_S = 100_000.0
"""So that only marks are asked for, and the first page."""


class Told:
    """A page that tells its CPU seconds as the test sets them, or fails, or hangs."""

    shown_url = "http://target/metrics"

    def __init__(self) -> None:
        self.cpu_s = 1.0
        self.rss = 1000
        self.more = ""
        self.error: str | None = None
        self.hangs = threading.Event()
        self.hanging = threading.Event()
        self.n_asked = 0
        self.n_cut_off = 0
        self.n_closed = 0

    async def read(self) -> bytes:
        self.n_asked += 1
        try:
            while self.hangs.is_set():
                self.hanging.set()
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.n_cut_off += 1
            raise
        if self.error is not None:
            raise TargetError(self.error)
        return (
            f"process_cpu_seconds_total {self.cpu_s}\nprocess_start_time_seconds 5\n"
            f"process_resident_memory_bytes {self.rss}\n{self.more}"
        ).encode()

    async def aclose(self) -> None:
        self.n_closed += 1


@pytest.fixture
def page() -> Told:
    return Told()


@pytest.fixture
def watching(page: Told) -> Iterator[Any]:
    started: list[UsageWatch] = []

    def start(*, kept: tuple[str, ...] = (), **changes: Any) -> UsageWatch:
        config = run_config(None, **{"target_metrics_every_s": NEVER_S, **changes})
        watch = UsageWatch(config, page, ManualClock(), started_ns=ManualClock().wall, kept=kept)
        started.append(watch)
        watch.start()
        return watch

    yield start
    page.hangs.clear()
    for watch in started:
        watch.stop(at_once=True)
    assert page.n_closed == len(started)
    assert not [thread for thread in threading.enumerate() if thread.name == "looker-usage"]


def cycle(number: int = 0, *, samples: int = 4_000_000, payload: int = 2 * 10**9) -> CycleReport:
    report = CycleReport(number, 0)
    report.write.samples_acked = samples
    report.write.payload_bytes_acked = payload
    report.read = ReadReport()
    report.read.findings.n_validated = samples // 2
    return report


def answered(watch: UsageWatch, n: int) -> None:
    """Wait until so many pages came or failed."""

    def n_known() -> int:
        told = watch.snapshot().told
        return int(told["n_scrapes"] + told["n_failed"])

    wait_until(lambda: n_known() >= n, f"{n} answers")


def figures(watch: UsageWatch) -> dict[str, Any]:
    found = watch.snapshot().figures
    assert found is not None
    return found


def run_a_cycle(watch: UsageWatch, page: Told, number: int, n_before: int) -> None:
    """Write for 6 CPU seconds and 3000 bytes, and read for 2, with an answer at each mark."""
    steps = [
        (0.0, lambda: watch.phase_began(number, Phase.WRITE)),
        (6.0, lambda: watch.phase_ended(cycle(number), Phase.WRITE)),
        (1.0, lambda: watch.phase_began(number, Phase.READ)),
        (2.0, lambda: watch.phase_ended(cycle(number), Phase.READ)),
    ]
    for n, (cpu_s, leave) in enumerate(steps, n_before + 1):
        page.cpu_s += cpu_s
        page.rss += int(500 * cpu_s)
        leave()
        answered(watch, n)


def test_a_mark_is_answered_at_once_and_phases_add_up(page: Told, watching: Any) -> None:
    watch = watching(n_streams=9)
    answered(watch, 1)
    run_a_cycle(watch, page, 0, 1)
    run_a_cycle(watch, page, 1, 5)
    watch.stop()
    found = figures(watch)
    assert found["cpu_s"] == 18.0
    assert found["write_cpu_s"] == 12.0
    assert found["write_cpu_s_per_gb"] == 3.0
    assert found["write_cpu_s_per_million_samples"] == 1.5
    assert found["read_cpu_s"] == 4.0
    assert found["read_cpu_s_per_million_samples"] == 1.0
    assert (found["rss_bytes_start"], found["rss_bytes_end"]) == (1000, 10_000)
    assert found["rss_bytes_per_stream"] == 1000
    told = watch.snapshot().told
    assert (told["n_scrapes"], told["n_failed"], told["error"]) == (9, 0, None)
    assert told["series"]["cpu_s"][0] == 1.0
    assert told["series"]["at_s"] == [0.0] * 9


def test_streams_of_all_generations_count(page: Told, watching: Any) -> None:
    watch = watching(n_streams=10, change_streams_every_n_cycles=1)
    answered(watch, 1)
    run_a_cycle(watch, page, 0, 1)
    run_a_cycle(watch, page, 1, 5)
    run_a_cycle(watch, page, 2, 9)
    assert figures(watch)["rss_bytes_per_stream"] == 3 * 4500 / 30


@pytest.mark.parametrize(
    ("every", "n_new"),
    # the streams of the warm-up are kept, or go on for one cycle more, or are renewed
    [(0, 0), (2, 1), (1, 2)],
)
def test_a_warm_up_is_not_measured(page: Told, watching: Any, every: int, n_new: int) -> None:
    watch = watching(n_streams=10, n_warm_up_cycles=1, change_streams_every_n_cycles=every)
    answered(watch, 1)
    run_a_cycle(watch, page, 0, 1)
    assert figures(watch)["cpu_s"] is None
    page.cpu_s += 100
    run_a_cycle(watch, page, 1, 5)
    run_a_cycle(watch, page, 2, 9)
    watch.stop()
    found = figures(watch)
    assert (found["cpu_s"], found["write_cpu_s"], found["read_cpu_s"]) == (18.0, 12.0, 4.0)
    assert found["rss_bytes_start"] == 1000 + 4500
    assert found["rss_bytes_per_stream"] == (2 * 4500 / (10 * n_new) if n_new else None)


def test_phases_that_overlap_have_no_figures_of_their_own(page: Told, watching: Any) -> None:
    watch = watching(align_phases=False)
    answered(watch, 1)
    run_a_cycle(watch, page, 0, 1)
    watch.stop()
    found = figures(watch)
    assert found["cpu_s"] == 9.0
    assert found["rss_bytes_max"] == 5500
    for name in ("write_cpu_s", "write_cpu_s_per_gb", "read_cpu_s"):
        assert found[name] is None


def test_marks_that_come_while_one_is_answered_share_an_answer(page: Told, watching: Any) -> None:
    watch = watching()
    answered(watch, 1)
    page.hangs.set()
    watch.phase_began(0, Phase.WRITE)
    page.hanging.wait(10)
    watch.phase_ended(cycle(), Phase.WRITE)
    watch.phase_began(0, Phase.READ)
    watch.phase_ended(cycle(), Phase.READ)
    assert page.n_asked == 2
    page.hangs.clear()
    answered(watch, 3)
    watch.stop()
    assert page.n_asked == 3
    found = figures(watch)
    # between the first answer and the second nothing was used, which is known
    assert found["write_cpu_s"] == 0
    # the reading began and ended with the second
    assert found["read_cpu_s"] is None


def test_a_mark_cuts_off_a_question_of_the_clocks(page: Told, watching: Any) -> None:
    page.hangs.set()
    watch = watching()
    page.hanging.wait(10)
    watch.phase_began(0, Phase.WRITE)
    wait_until(lambda: page.n_asked == 2, "the mark's own question")
    assert page.n_cut_off == 1
    page.hangs.clear()
    answered(watch, 1)
    assert watch.snapshot().told["n_failed"] == 0


def test_the_clock_asks_between_marks(page: Told, watching: Any) -> None:
    watch = watching(target_metrics_every_s=0.1)
    answered(watch, 3)
    assert watch.snapshot().told["error"] is None
    assert figures(watch)["write_cpu_s"] is None


def test_a_failure_at_the_end_of_a_phase_leaves_it_unknown(page: Told, watching: Any) -> None:
    watch = watching()
    answered(watch, 1)
    run_a_cycle(watch, page, 0, 1)
    watch.phase_began(1, Phase.WRITE)
    answered(watch, 6)
    page.error = "http://target/metrics answers 503 ''"
    watch.phase_ended(cycle(1), Phase.WRITE)
    answered(watch, 7)
    page.error = "something else"
    watch.phase_began(1, Phase.READ)
    answered(watch, 8)
    watch.stop()
    found, told = figures(watch), watch.snapshot().told
    assert found["write_cpu_s"] is None
    assert found["write_cpu_s_per_gb"] == 3.0
    # the second reading never ended
    assert found["read_cpu_s"] is None
    assert found["read_cpu_s_per_million_samples"] == 1.0
    assert (told["n_failed"], told["error"]) == (2, "http://target/metrics answers 503 ''")


@pytest.mark.parametrize(
    ("url", "level"), [(None, logging.INFO), ("http://target/metrics", logging.WARNING)]
)
def test_the_first_failure_is_said_once(
    page: Told,
    watching: Any,
    caplog: pytest.LogCaptureFixture,
    url: str | None,
    level: int,
) -> None:
    caplog.set_level(logging.DEBUG, "looker.engine.usage_watch")
    page.error = "http://target/metrics answers 404 'nothing'"
    watch = watching(target_metrics_url=url)
    answered(watch, 1)
    watch.phase_began(0, Phase.WRITE)
    answered(watch, 2)
    watch.stop()
    said = [(record.levelno, record.message) for record in caplog.records]
    assert said == [
        (level, f"what the target uses is not known: {page.error}"),
    ]
    assert watch.snapshot().figures is None


def test_a_page_without_any_of_the_metrics_is_a_failure(page: Told, watching: Any) -> None:
    watch = watching()
    answered(watch, 1)

    async def html() -> bytes:
        return b"<!doctype html><p>process_cpu_seconds_total 5"

    page.read = html  # type: ignore[method-assign]
    watch.phase_began(0, Phase.WRITE)
    answered(watch, 2)
    assert "has none of the metrics" in watch.snapshot().told["error"]


def test_metrics_are_kept_by_their_selectors(page: Told, watching: Any) -> None:
    page.more = 'kept 2\nasked{a="1"} 3\nasked{a="2"} 4\nother 5\nnan NaN\n'
    watch = watching(kept=("kept", "gone"), target_metrics=(' asked{a="2"}', "asked", "nan"))
    answered(watch, 1)
    watch.stop()
    assert figures(watch)["metrics"] == {
        'asked{a="2"}': {"start": 4, "end": 4, "max": 4},
        "asked": {"start": 7, "end": 7, "max": 7},
        "nan": {"start": None, "end": None, "max": None},
        "kept": {"start": 2, "end": 2, "max": 2},
    }


def test_stopping_waits_for_what_is_still_to_be_known(page: Told, watching: Any) -> None:
    watch = watching()
    answered(watch, 1)
    watch.phase_began(0, Phase.WRITE)
    answered(watch, 2)
    page.cpu_s += 8
    watch.phase_ended(cycle(), Phase.WRITE)
    watch.stop()
    assert figures(watch)["write_cpu_s"] == 8


@pytest.mark.parametrize("at_once", [True, False])
def test_stopping_does_not_wait_for_a_page_that_hangs(
    page: Told, watching: Any, at_once: bool
) -> None:
    watch = watching()
    watch._stop_s = 0.1
    answered(watch, 1)
    watch.phase_began(0, Phase.WRITE)
    answered(watch, 2)
    page.hangs.set()
    watch.phase_ended(cycle(), Phase.WRITE)
    page.hanging.wait(10)
    watch.stop(at_once=at_once)
    # it hangs still
    assert page.hangs.is_set()
    assert page.n_cut_off == 1
    assert figures(watch)["write_cpu_s"] is None
    # neither marks nor a second stop do any harm afterwards
    watch.phase_began(1, Phase.WRITE)
    watch.stop()


def test_a_fault_of_its_own_ends_only_the_watching(
    page: Told, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watching()
    answered(watch, 1)

    async def broken() -> bytes:
        raise ZeroDivisionError

    page.read = broken  # type: ignore[method-assign]
    watch.phase_began(0, Phase.WRITE)
    wait_until(lambda: not watch._thread.is_alive(), "the thread ends")
    watch.phase_ended(cycle(), Phase.WRITE)
    watch.stop()
    assert "what the target uses is not watched any more" in caplog.text
    assert watch.snapshot().told["error"] == "a fault of Looker's own: ZeroDivisionError()"
    assert figures(watch)["rss_bytes_max"] == 1000
