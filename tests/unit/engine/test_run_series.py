"""The series of a run: exact sums in buckets of bounded number, whatever clocks do."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.engine.run_series import MAX_BUCKETS, RunSeries
from looker.model.histogram import Histogram
from looker.model.mismatch import MismatchKind
from looker.model.report import PhaseTimes, ReadReport, WriteReport

SECOND: Final = 1_000_000_000
YEAR: Final = 366 * 86_400 * SECOND
STARTED: Final = 1_769_860_800 * SECOND
WRITE_COUNTS: Final = (
    "samples_acked",
    "payload_bytes_acked",
    "wire_bytes_sent",
    "pushes_acked",
    "pushes_retried",
)


def begun() -> RunSeries:
    series = RunSeries()
    series.begin(STARTED, 5)
    return series


def written(n: int, elapsed_s: float, *latencies_us: int) -> WriteReport:
    report = WriteReport(
        times=PhaseTimes(STARTED, STARTED + int(elapsed_s * SECOND)),
        samples_acked=10 * n,
        payload_bytes_acked=1000 * n,
        wire_bytes_sent=900 * n,
        pushes_acked=n,
        pushes_retried=n // 3,
    )
    for latency_us in latencies_us:
        report.service.record_us(latency_us)
        report.lag.record_us(1000 * latency_us)
    return report


def hear(series: RunSeries, report: WriteReport | ReadReport, at_s: float, **of: int) -> None:
    series.hear(of.get("worker", 0), of.get("cycle", 0), report, 5 + int(at_s * SECOND))


def test_a_difference_is_spread_over_its_time() -> None:
    series = begun()
    hear(series, written(100, 0.5, 1000), 0.5)
    # 1.5 s, two thirds of them in the second bucket
    hear(series, written(400, 2.0, 1000, 200, 400, 800), 2.0)
    found = series.to_json()
    assert found["started_at"] == "2026-01-31T12:00:00.000000Z"
    assert (found["bucket_s"], found["n_buckets"], found["measured_from_s"]) == (1, 2, 0)
    assert found["write"]["pushes_acked"] == [200, 200]
    assert found["write"]["samples_acked"] == [2000, 2000]
    assert found["write"]["pushes_retried"] == [66, 67]
    # one of three values is of the first bucket: rounded down from below, the largest
    assert found["write"]["service_ms_max"] == [1.0, 0.4]
    assert found["write"]["service_ms_p50"] == [0.8, 0.2]
    assert found["write"]["lag_ms_max"] == [1000.447, 400.127]
    assert found["write"]["throttled_s"] == [0, 0]
    assert found["read"] is None


def test_reading_and_seconds_and_buckets_without_anything() -> None:
    series = begun()
    report = written(1, 0.25)
    report.throttled_s, report.rate_limited_s = 0.25, 0.1239
    hear(series, report, 0.25)
    read = ReadReport(times=PhaseTimes(1, 1 + SECOND // 2), queries=3, payload_bytes_validated=70)
    read.findings.n_validated = 7
    read.findings.counts[MismatchKind.CORRUPT] = 2
    read.service.record_us(1500)
    hear(series, read, 3.75)
    # nothing was done, but time went on
    hear(series, read, 4.0)
    found = series.to_json()
    assert found["n_buckets"] == 4
    assert found["write"]["throttled_s"] == [0.25, 0, 0, 0]
    assert found["write"]["rate_limited_s"] == [0.124, 0, 0, 0]
    assert found["write"]["service_ms_p50"] == [None] * 4
    assert found["write"]["lag_ms_max"] == [None] * 4
    assert found["read"] == {
        "samples_validated": [0, 0, 0, 7],
        "payload_bytes_validated": [0, 0, 0, 70],
        "queries": [0, 0, 0, 3],
        "mismatches": [0, 0, 0, 2],
        "service_ms_p50": [None, None, None, 1.5],
        "service_ms_p99": [None, None, None, 1.5],
        "service_ms_max": [None, None, None, 1.5],
    }
    # short forms, and none that JSON has not
    assert "0.0" not in json.dumps(found["write"]["throttled_s"], allow_nan=False)


def test_what_is_skipped_is_not_read_and_verify_writes_nothing() -> None:
    series = begun()
    hear(series, ReadReport(skipped=True), 1.0)
    assert series.to_json(writes=False)["write"] is None
    assert series.to_json()["read"] is None
    assert series.to_json()["n_buckets"] == 0
    assert series.to_json()["write"]["samples_acked"] == []
    with pytest.raises(ValueError, match="before the first one began"):
        RunSeries().hear(0, 0, WriteReport(), 0)


@pytest.mark.parametrize("jump_ns", [YEAR, -YEAR])
def test_neither_a_jump_of_wall_time_nor_anothers_clock_makes_buckets(jump_ns: int) -> None:
    series = begun()
    hear(series, written(1, 1.0), 1.0)
    later = written(1, 1.0)
    later.times = PhaseTimes(STARTED + jump_ns, STARTED + jump_ns + SECOND)
    hear(series, later, 2.0, cycle=1)
    # a phase that claims to have lasted for longer than the run
    absurd = written(1, 0.0)
    absurd.times.finished_ns = absurd.times.started_ns + abs(jump_ns)
    hear(series, absurd, 3.0, cycle=2)
    backwards = written(1, -1.0)
    hear(series, backwards, 3.0, cycle=3)
    found = series.to_json()
    assert (found["bucket_s"], found["n_buckets"]) == (1, 4)
    assert sum(found["write"]["pushes_acked"]) == 4
    assert found["write"]["pushes_acked"][:2] == [1, 1]


def test_a_run_of_years_has_few_buckets() -> None:
    series = begun()
    hear(series, written(600, 600.0, 1, 2, 3), 600.0)
    assert series.to_json()["n_buckets"] == MAX_BUCKETS
    assert series.to_json()["write"]["pushes_acked"] == [1] * MAX_BUCKETS
    hear(series, written(601, 601.0, 1, 2, 3), 601.0)
    found = series.to_json()
    assert (found["bucket_s"], found["n_buckets"]) == (2, 301)
    assert found["write"]["pushes_acked"] == [2] * 300 + [1]
    hear(series, written(700, 10 * YEAR / SECOND, 1, 2, 3, 4), 10 * YEAR / SECOND)
    found = series.to_json()
    assert found["bucket_s"] == 2**20
    assert 300 < found["n_buckets"] <= MAX_BUCKETS
    assert sum(found["write"]["pushes_acked"]) == 700
    assert max(ms for ms in found["write"]["service_ms_max"] if ms is not None) == 0.004


def test_measuring_begins_behind_the_warm_up() -> None:
    series = RunSeries(first_measured_cycle=1)
    series.begin(STARTED, 5)
    series.begin(STARTED + YEAR, 5 + YEAR)
    hear(series, written(3, 2.0), 2.0)
    assert series.to_json()["measured_from_s"] is None
    # begun at 3.5 and 3.25; of one report it is only known that it was not later than 3.6
    hear(series, written(1, 0.5), 4.1, cycle=1)
    hear(series, written(2, 1.0), 4.5, cycle=1)
    hear(series, written(1, 1.5), 4.75, cycle=1, worker=1)
    hear(series, written(1, 0.5), 9.0, cycle=2)
    assert series.to_json()["measured_from_s"] == 3.25


# --- properties --------------------------------------------------------------------------------


@dataclass
class Step:
    """What a worker did between two reports, and when the second one was heard."""

    phase: int
    elapsed_ns: int
    delay_ns: int
    counts: list[int]
    latencies_us: list[int] = field(default_factory=list)


steps = st.builds(
    Step,
    # now and then the next phase
    st.integers(0, 4).map(lambda n: int(n == 0)),
    st.integers(0, 3 * SECOND),
    st.integers(0, SECOND),
    st.lists(st.integers(0, 10**6), min_size=5, max_size=5),
    st.lists(st.integers(0, 10**7), max_size=5),
)
News = tuple[int, int, int, int, list[int], list[int]]


def news_of(worker: int, taken: list[Step]) -> list[News]:
    """Return worker, when it is heard, phase, its time so far, and what was done since."""
    now_ns = phase = elapsed_ns = 0
    found = []
    for step in taken:
        if step.phase:
            phase, elapsed_ns = phase + 1, 0
        elapsed_ns += step.elapsed_ns
        now_ns += step.elapsed_ns + step.delay_ns
        found.append((worker, now_ns, phase, elapsed_ns, step.counts, step.latencies_us))
    return found


def series_of(news: list[News], scale: int = 1) -> dict[str, Any]:
    """Return the series; the reports are the same objects all the time, as in one process."""
    series = begun()
    reports: dict[tuple[int, int], WriteReport | ReadReport] = {}
    for worker, now_ns, phase, elapsed_ns, counts, latencies_us in news:
        cycle, is_read = divmod(phase, 2)
        started_ns = STARTED - phase * YEAR
        report = reports.setdefault((worker, phase), ReadReport() if is_read else WriteReport())
        report.times = PhaseTimes(started_ns, started_ns + scale * elapsed_ns)
        for latency_us in latencies_us:
            report.service.record_us(latency_us)
        if isinstance(report, WriteReport):
            for name, n in zip(WRITE_COUNTS, counts, strict=True):
                setattr(report, name, getattr(report, name) + n)
            report.throttled_s += counts[0] / 1000
            report.lag.record_us(counts[1])
        else:
            report.findings.n_validated += counts[0]
            report.payload_bytes_validated += counts[1]
            report.queries += counts[2]
            report.findings.counts[MismatchKind.MISSING] += counts[3]
            report.findings.counts[MismatchKind.CORRUPT] += counts[4]
        series.hear(worker, cycle, report, 5 + scale * now_ns)
    return series.to_json()


@given(
    st.lists(st.lists(steps, max_size=8), min_size=1, max_size=3), st.sampled_from([1, 60, 9999])
)
def test_sums_are_the_totals(workers: list[list[Step]], scale: int) -> None:
    news = [one for worker, taken in enumerate(workers) for one in news_of(worker, taken)]
    news.sort(key=lambda one: one[1])
    found = series_of(news, scale)
    assert found["n_buckets"] <= MAX_BUCKETS
    last_ns = max((now_ns for _, now_ns, *_ in news), default=0) * scale
    assert found["n_buckets"] <= last_ns // (found["bucket_s"] * SECOND) + 1
    every = (found["write"], found["read"] or {})
    assert {len(column) for side in every for column in side.values()} <= {found["n_buckets"]}
    for side, name, sums in (
        *(("write", name, (at,)) for at, name in enumerate(WRITE_COUNTS)),
        ("read", "samples_validated", (0,)),
        ("read", "payload_bytes_validated", (1,)),
        ("read", "queries", (2,)),
        ("read", "mismatches", (3, 4)),
    ):
        of_side = [counts for _, _, phase, _, counts, _ in news if phase % 2 == (side == "read")]
        if side == "write" or of_side:
            total = sum(counts[at] for counts in of_side for at in sums)
            assert sum(found[side][name]) == total
    throttled = sum(counts[0] for _, _, phase, _, counts, _ in news if phase % 2 == 0)
    assert sum(found["write"]["throttled_s"]) == pytest.approx(throttled / 1000)
    for side, parity in (("write", 0), ("read", 1)):
        latencies = Histogram()
        for *_, phase, _, _, values in news:
            for value in values if phase % 2 == parity else ():
                latencies.record_us(value)
        if latencies.n:
            longest = [ms for ms in found[side]["service_ms_max"] if ms is not None]
            assert max(longest) == latencies.max_us / 1000


@given(st.lists(st.lists(steps, max_size=5), min_size=2, max_size=3), st.randoms())
def test_the_order_of_workers_makes_no_difference(workers: list[list[Step]], random: Any) -> None:
    queues = [news_of(worker, taken) for worker, taken in enumerate(workers)]
    expected = series_of(list(itertools.chain(*queues)))
    mixed = []
    while any(queues):
        mixed.append(random.choice([queue for queue in queues if queue]).pop(0))
    assert series_of(mixed) == expected
