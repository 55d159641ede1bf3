"""The warning that Looker itself is the limit: when it comes, how often, what it says."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from looker.model.report import WriteReport
from looker.model.run_state import RunState
from looker.observe.bottleneck import GeneratorWatch

if TYPE_CHECKING:
    from looker.model.config import RunConfig

WORDS = "Looker itself is the limit"


class Phase:
    """A write phase of two workers, told half-second by half-second."""

    def __init__(self, config: RunConfig, caplog: pytest.LogCaptureFixture) -> None:
        self.state = RunState(config, 0)
        self.watch = GeneratorWatch(n_cores=lambda: 4)
        self.caplog = caplog
        self.seconds = 0.0
        self.busy_s = 0.0
        self.starved_s = 0.0
        self.throttled_s = 0.0
        self.requesting_s = 0.0

    def goes_on(
        self, seconds: float, *, busy: bool, throttled: bool = False, cycle: int = 0
    ) -> list[str]:
        """Let time pass; return what was warned of since the beginning."""
        logging.getLogger("looker").propagate = True
        with self.caplog.at_level(logging.WARNING, "looker"):
            for _ in range(int(seconds * 2)):
                self.seconds += 0.5
                self.busy_s += 0.5 if busy else 0.05
                starved_s = 2.0 if busy else 0.0
                self.requesting_s += 2.5 - starved_s
                self.throttled_s += starved_s if throttled else 0.0
                self.starved_s += 0.0 if throttled else starved_s
                for worker in range(2):
                    report = WriteReport(
                        writers_s=5 * self.seconds,
                        workers_s=self.seconds,
                        generating_s=self.busy_s,
                        cpu_s=self.busy_s / 2,
                        requesting_s=self.requesting_s,
                        starved_generator_s=self.starved_s,
                        starved_throttle_s=self.throttled_s,
                    )
                    self.state.hear(worker, cycle, report)
                    self.watch.progress(self.state, cycle)
        return [
            record.getMessage() for record in self.caplog.records if WORDS in record.getMessage()
        ]


@pytest.fixture
def phase(config: RunConfig, caplog: pytest.LogCaptureFixture) -> Phase:
    return Phase(config, caplog)


def test_it_is_said_once_after_some_seconds(phase: Phase) -> None:
    assert not phase.goes_on(2.5, busy=True)
    (said,) = phase.goes_on(10, busy=True)
    assert said == (
        "cycle 0: Looker itself is the limit, not the target: for the last 3 s its workers have"
        " made messages 100 % of the time, and kept 1.0 core(s) busy; what helps:"
        " --n-workers up to 4, more per push message"
        " (--n-entries-per-stream-fragment, --n-fragments-per-push-message);"
        " `looker calibrate logs` shows what this host can offer"
    )
    assert phase.goes_on(10, busy=True) == [said]


def test_nothing_is_said_where_the_target_is_the_limit(phase: Phase) -> None:
    assert not phase.goes_on(30, busy=False)


def test_nothing_is_said_where_the_coupling_is_the_limit(phase: Phase) -> None:
    assert not phase.goes_on(30, busy=True, throttled=True)


def test_what_was_long_ago_does_not_count(phase: Phase) -> None:
    # over the whole phase Looker is not the limit, in the last seconds it is
    assert not phase.goes_on(60, busy=False)
    assert len(phase.goes_on(4, busy=True)) == 1


def test_a_short_burst_is_no_limit(phase: Phase) -> None:
    assert not phase.goes_on(10, busy=False)
    assert not phase.goes_on(1, busy=True)
    assert not phase.goes_on(10, busy=False)


def test_each_cycle_has_its_own_warning(phase: Phase) -> None:
    assert len(phase.goes_on(5, busy=True)) == 1
    phase.seconds = phase.busy_s = phase.starved_s = phase.requesting_s = 0.0
    said = phase.goes_on(5, busy=True, cycle=1)
    assert [line.split(":")[0] for line in said] == ["cycle 0", "cycle 1"]
    # a straggler of the earlier cycle changes nothing
    phase.watch.progress(phase.state, 0)
    assert len(phase.goes_on(5, busy=True, cycle=1)) == 2


def test_workers_that_are_through_with_the_phase_keep_their_time(
    config: RunConfig, caplog: pytest.LogCaptureFixture
) -> None:
    phase = Phase(dataclasses.replace(config, n_workers=2), caplog)
    assert len(phase.goes_on(4, busy=True)) == 1
    phase.watch.progress(phase.state, 0)
    assert len(phase.goes_on(0, busy=True)) == 1
