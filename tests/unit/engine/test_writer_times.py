"""Where writers' and readers' time goes, by a clock that moves only when told to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from looker.backend.attempts import Pauses
from looker.clock import ManualClock
from looker.engine.reader_times import ReaderTimes
from looker.engine.source import Cause
from looker.engine.writer_times import WriterTimes
from looker.model.elapsed import Elapsed
from looker.model.limit import ReadTimeSpent, TimeSpent
from looker.model.report import ReadReport, WriteReport

S = 1_000_000_000


class Source:
    """Is at one thing after the other, as the test says."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._since_ns = clock.monotonic
        self._spent = dict.fromkeys(Cause, 0)
        self._cause = Cause.GENERATING

    def enter(self, cause: Cause) -> None:
        self._spent[self._cause] += self._clock.monotonic - self._since_ns
        self._cause, self._since_ns = cause, self._clock.monotonic

    def spent_ns(self, now_ns: int) -> tuple[int, ...]:
        now = {**self._spent}
        now[self._cause] += now_ns - self._since_ns
        return tuple(now[cause] for cause in Cause)


class Running:
    """Writers of one worker, and the report that they fill."""

    def __init__(self, n_writers: int, n_surplus: int = 0) -> None:
        self.clock = ManualClock()
        self.source = Source(self.clock)
        self.pauses = Pauses()
        # an earlier phase's
        self.pauses.retry.begin(0)
        self.pauses.retry.end(99 * S)
        self.times = WriterTimes(
            cast("Any", self.source), self.pauses, cast("Any", self.clock), n_surplus
        )
        self._n_writers = n_writers

    def report(self) -> WriteReport:
        report = WriteReport()
        report.writers_s = self._n_writers * self.clock.monotonic / S
        self.times.fill(report, self.clock.monotonic)
        return report

    def seconds(self) -> dict[str, float]:
        spent = TimeSpent.of([self.report()]).seconds
        return {name: seconds for name, seconds in spent.items() if seconds}


def test_a_wait_counts_to_what_the_generator_is_at_meanwhile() -> None:
    running = Running(2)
    running.times.begin_waiting()
    running.times.begin_waiting()
    running.clock.advance(1 * S)
    # all is told while it lasts
    assert running.seconds() == {"generator": 2.0}
    running.source.enter(Cause.THROTTLED)
    running.clock.advance(3 * S)
    running.times.end_waiting()
    running.times.sending.begin(running.clock.monotonic)
    running.clock.advance(4 * S)
    running.source.enter(Cause.FILLING)
    running.clock.advance(5 * S)
    running.source.enter(Cause.FILLING_THROTTLED)
    running.clock.advance(6 * S)
    assert running.seconds() == {
        "generator": 2.0,
        "throttle": 10.0,
        "target": 15.0,
        "batch_deadline": 11.0,
    }
    assert running.report().batching_throttled_s == 6.0
    assert running.report().throttled_s == 7.0


def test_pauses_are_no_requests() -> None:
    running = Running(1)
    running.times.sending.begin(running.clock.monotonic)
    running.clock.advance(2 * S)
    running.pauses.rate_limited.begin(running.clock.monotonic)
    running.clock.advance(3 * S)
    assert running.seconds() == {"target": 2.0, "rate_limit": 3.0}
    running.pauses.rate_limited.end(running.clock.monotonic)
    running.pauses.retry.begin(running.clock.monotonic)
    running.clock.advance(1 * S)
    assert running.seconds() == {"target": 2.0, "rate_limit": 3.0, "retry": 1.0}


def test_writers_that_are_more_than_streams_wait_for_a_stream() -> None:
    running = Running(5, n_surplus=3)
    for _ in range(5):
        running.times.begin_waiting()
    running.clock.advance(1 * S)
    assert running.seconds() == {"generator": 2.0, "streams": 3.0}
    # the last to wait is the first to go
    running.times.end_waiting()
    running.times.sending.begin(running.clock.monotonic)
    running.source.enter(Cause.STREAMS)
    running.clock.advance(1 * S)
    assert running.seconds() == {"generator": 2.0, "streams": 7.0, "target": 1.0}
    for _ in range(4):
        running.times.end_waiting()
        running.times.ended.begin(running.clock.monotonic)
    running.clock.advance(10 * S)
    assert running.seconds() == {"generator": 2.0, "streams": 7.0, "target": 11.0, "tail": 40.0}


def test_what_readers_do_not_wait_for_is_looker_itself() -> None:
    clock = ManualClock()
    times = ReaderTimes(cast("Any", clock))
    report = ReadReport()
    earlier = ReadTimeSpent(requesting_s=1.0, looker_s=1.0, readers_s=2.0)
    with times.spent(times.asking):
        clock.advance(2 * S)
        times.pauses.rate_limited.begin(clock.monotonic)
        clock.advance(3 * S)
        times.pauses.rate_limited.end(clock.monotonic)
    clock.advance(4 * S)
    with times.spent(times.grace):
        clock.advance(5 * S)
    times.ended.begin(clock.monotonic)
    clock.advance(6 * S)
    times.fill(report, earlier, clock.monotonic, 20 * S)
    assert ReadTimeSpent.of([report]).seconds == {
        "target": 3.0,
        "rate_limit": 3.0,
        "retry": 0.0,
        "looker": 5.0,
        "grace": 5.0,
        "tail": 6.0,
        "other": 0.0,
    }
    assert report.readers_s == 22.0


def test_a_sum_of_times_is_exact_at_any_moment() -> None:
    elapsed = Elapsed()
    elapsed.begin(10)
    elapsed.begin(12)
    assert [elapsed.at(now) for now in (12, 13, 20)] == [2, 4, 18]
    elapsed.end(20)
    assert elapsed.at(25) == pytest.approx(23)
