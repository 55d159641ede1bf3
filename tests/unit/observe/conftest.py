"""A configuration and the reports of a run that never was."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from looker.model.config import Compressability, Mode, ReadApi, RunConfig
from looker.model.histogram import Histogram
from looker.model.mismatch import Findings, MismatchKind
from looker.model.report import PhaseTimes, ReadReport, SpotCheckReport, WriteReport
from looker.model.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

NS_PER_S = 1_000_000_000


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        mode=Mode.LOGS,
        url=None,
        invocation_id="looker-ab12cd34",
        seed=1,
        n_streams=100,
        n_samples_per_fragment=1000,
        n_fragments_per_message=1,
        n_chars_per_line=100,
        compressability=Compressability.MIN,
        stop_after_n_fragments=10,
        stop_after_n_seconds=None,
        n_cycles=3,
        change_streams_every_n_cycles=0,
        skip_read=False,
        read_n_streams=None,
        read_api=ReadApi.AUTO,
        read_grace_s=0.0,
        max_concurrent_writes=10,
        max_concurrent_reads=10,
        step_ns=1,
        min_lag_s=30.0,
        max_lag_s=120.0,
        n_workers=2,
        align_phases=True,
        tenant=None,
        retry=RetryPolicy(420.0, 3.0, 30.0, 0.5),
        report=None,
        log_level="info",
    )


def histogram_of(*values_us: int) -> Histogram:
    histogram = Histogram()
    for value in values_us:
        histogram.record_us(value)
    return histogram


@pytest.fixture
def written() -> Callable[..., WriteReport]:
    """Return write reports after some seconds; every figure is ``times`` a number of its own."""

    def write_report(times: int = 1, seconds: float = 2.0, started_s: int = 1000) -> WriteReport:
        started_ns = started_s * NS_PER_S
        return WriteReport(
            times=PhaseTimes(started_ns, started_ns + int(seconds * NS_PER_S)),
            samples_acked=250_000 * times,
            samples_in_doubt=7_000 * times,
            payload_bytes_acked=25_000_000 * times,
            wire_bytes_sent=26_000_000 * times,
            fragments_pushed=257 * times,
            pushes_acked=250 * times,
            pushes_retried=7 * times,
            pushes_rejected=2 * times,
            pushes_indeterminate=4 * times,
            pushes_unresolved=1 * times,
            responses_by_status=Counter(
                {"204": 254 * times, "429": 6 * times, "ReadTimeout": times, "999": times}
            ),
            rate_limited_s=0.5 * times,
            throttled_s=0.25 * times,
            requesting_s=9.375 * times,
            starved_generator_s=0.125 * times,
            writers_s=10.0 * times,
            workers_s=2.0 * times,
            forward_leaps=3 * times,
            cpu_s=1.5 * times,
            service=histogram_of(*[700, 4_000, 5_000, 5_000_000] * times),
            push=histogram_of(*[800, 400_000_000] * times),
            lag=histogram_of(*[30_000_000, 31_000_000] * times),
        )

    return write_report


@pytest.fixture
def has_checked() -> Callable[..., SpotCheckReport]:
    """Return reports of spot checks; every figure is ``times`` a number of its own."""

    def spot_check_report(times: int = 1) -> SpotCheckReport:
        counts = dict.fromkeys(MismatchKind, 0)
        counts[MismatchKind.MISSING] = 3 * times
        findings = Findings(100 * times, 97 * times, counts=counts)
        return SpotCheckReport(checks=11 * times, findings=findings)

    return spot_check_report


@pytest.fixture
def has_read() -> Callable[..., ReadReport]:
    """Return read reports after some seconds; every figure is ``times`` a number of its own."""

    def read_report(times: int = 1, seconds: float = 1.0, started_s: int = 1010) -> ReadReport:
        started_ns = started_s * NS_PER_S
        counts = dict.fromkeys(MismatchKind, 0)
        counts[MismatchKind.MISSING] = 5 * times
        counts[MismatchKind.CORRUPT] = 2 * times
        return ReadReport(
            times=PhaseTimes(started_ns, started_ns + int(seconds * NS_PER_S)),
            streams_selected=50,
            queries=9 * times,
            payload_bytes_validated=12_000_000 * times,
            findings=Findings(125_000 * times, 124_993 * times, counts=counts),
            service=histogram_of(*[9_999, 10_000, 20_000] * times),
        )

    return read_report
