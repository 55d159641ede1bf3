"""Merging of reports, and the figures that are derived from them."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.model.config import VerifyMode
from looker.model.histogram import Histogram
from looker.model.limit import ReadTimeSpent, TimeSpent
from looker.model.mismatch import Findings, MismatchExample, MismatchKind
from looker.model.reasons import Reasons
from looker.model.report import (
    CycleReport,
    PhaseTimes,
    ReadReport,
    SpotCheckReport,
    WriteReport,
    in_sequence,
    merged_read,
    merged_write,
    rfc3339,
)
from looker.model.verdict import Verdict

S = 10**9
counts = st.integers(0, 10**12)
# multiples of a power of two: their sums are exact in any order
seconds = st.integers(0, 10**6).map(lambda n: n / 64)
texts = st.one_of(st.none(), st.text("ab", max_size=3))


@st.composite
def times(draw: st.DrawFn) -> PhaseTimes:
    started = draw(st.integers(0, 10**18))
    return PhaseTimes(started, started + draw(counts)) if started else PhaseTimes()


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    histogram = Histogram()
    for value in draw(st.lists(st.integers(1, 10**6), max_size=4)):
        histogram.record_us(value)
    return histogram


counters = st.dictionaries(st.sampled_from(["200", "204", "429", "reset"]), st.integers(1, 99)).map(
    Counter
)


@st.composite
def reasons(draw: st.DrawFn) -> Reasons:
    """More texts than are kept, at times; some of them differ in numbers only."""
    found = Reasons()
    said = st.tuples(st.sampled_from(["200", "500", "ReadTimeout"]), st.text("ab1", max_size=3))
    for status, text in draw(st.lists(said, max_size=12)):
        found.note(status, text)
    return found


write_reports = st.builds(
    WriteReport,
    times=times(),
    **dict.fromkeys(
        (
            "samples_acked",
            "samples_in_doubt",
            "payload_bytes_acked",
            "wire_bytes_sent",
            "fragments_pushed",
            "pushes_acked",
            "pushes_retried",
            "pushes_rejected",
            "pushes_indeterminate",
            "pushes_unresolved",
            "forward_leaps",
            "out_of_order_sent",
            "duplicates_sent",
            "duplicates_refused",
        ),
        counts,
    ),
    **dict.fromkeys(
        [
            *TimeSpent.names(),
            "throttled_s",
        ],
        seconds,
    ),
    responses_by_status=counters,
    reasons=reasons(),
    service=histograms(),
    push=histograms(),
    loop_delay=histograms(),
    refusal=texts,
)
findings = st.builds(
    Findings,
    n_expected=counts,
    n_validated=counts,
    n_optional_seen=counts,
    retry_duplicates=counts,
    counts=st.fixed_dictionaries(dict.fromkeys(MismatchKind, st.integers(0, 9))),
    added_labels=st.sets(st.sampled_from("abc")),
)
read_reports = st.builds(
    ReadReport,
    skipped=st.booleans(),
    complete=st.booleans(),
    times=times(),
    streams_selected=counts,
    queries=counts,
    queries_retried=counts,
    responses_by_status=counters,
    **dict.fromkeys(ReadTimeSpent.names(), seconds),
    fragments_proved=counts,
    payload_bytes_validated=counts,
    findings=findings,
    streams_visible_at_first_ask=counts,
    first_ask_after=histograms(),
    visible_after=histograms(),
    service=histograms(),
    cpu_s=seconds,
    error=texts,
    verify=st.sampled_from(VerifyMode),
    missing_because=texts,
)
spot_check_reports = st.builds(
    SpotCheckReport,
    checks=counts,
    checks_uncached=counts,
    fragments=counts,
    fragments_proved=counts,
    queries=counts,
    n_mismatches_uncached=counts,
    findings=findings,
    service=histograms(),
    error=texts,
)
cycle_reports = st.builds(
    CycleReport,
    cycle=st.just(1),
    generation=st.just(0),
    write=write_reports,
    read=st.one_of(st.none(), read_reports),
    spot_check=st.one_of(st.none(), spot_check_reports),
)


def merged(one: Any, other: Any) -> Any:
    result = copy.deepcopy(one)
    result.merge(other)
    return result


@pytest.mark.parametrize(
    "reports", [write_reports, read_reports, spot_check_reports, cycle_reports, times()]
)
def test_merging_is_associative_and_commutative(reports: st.SearchStrategy[Any]) -> None:
    @given(reports, reports, reports)
    def check(a: Any, b: Any, c: Any) -> None:
        before = copy.deepcopy((b, c))
        assert merged(merged(a, b), c) == merged(a, merged(b, c))
        assert merged(a, b) == merged(b, a)
        assert (b, c) == before  # what is merged stays as it is

    check()


@given(write_reports, write_reports)
def test_everything_adds_up(a: WriteReport, b: WriteReport) -> None:
    total = merged_write([a, b])
    for name in WriteReport.__slots__:
        mine, theirs, both = (getattr(report, name) for report in (a, b, total))
        if isinstance(mine, int | float):
            assert both == mine + theirs, name
        elif isinstance(mine, Counter):
            assert both == mine + theirs
        elif isinstance(mine, Histogram):
            assert both.n == mine.n + theirs.n
            assert both == Histogram.merged([mine, theirs])
    assert merged_write([a]) == a
    assert total.refusal in (a.refusal, b.refusal)
    assert (total.refusal is None) == (a.refusal is None and b.refusal is None)


@given(read_reports, read_reports)
def test_reads_add_up(a: ReadReport, b: ReadReport) -> None:
    total = merged_read([None, a, None, b])
    assert total is not None
    for name in ("streams_selected", "queries", "fragments_proved", "payload_bytes_validated"):
        assert getattr(total, name) == getattr(a, name) + getattr(b, name)
    for name in ("n_expected", "n_validated", "n_optional_seen", "retry_duplicates"):
        both = getattr(total.findings, name)
        assert both == getattr(a.findings, name) + getattr(b.findings, name)
    for kind in MismatchKind:
        assert total.findings.counts[kind] == a.findings.counts[kind] + b.findings.counts[kind]
    assert total.findings.added_labels == a.findings.added_labels | b.findings.added_labels
    assert total.skipped == (a.skipped and b.skipped)
    assert total.complete == (a.complete and b.complete)
    assert merged_read([a]) == a
    assert merged_read([None]) is None


def test_examples_are_kept_up_to_a_limit() -> None:
    def with_examples(n: int, stream: str) -> Findings:
        found = Findings(max_examples=10)
        for number in range(n):
            found.add(MismatchKind.MISSING, 1)
            found.keep(MismatchExample(MismatchKind.MISSING, stream, 0, position=number))
        return found

    total = with_examples(7, "a")
    total.merge(with_examples(7, "b"))
    assert [(one.stream, one.position) for one in total.examples] == [
        *(("a", n) for n in range(7)),
        *(("b", n) for n in range(3)),
    ]
    assert total.counts[MismatchKind.MISSING] == 14
    assert total.room() == 0
    assert len(with_examples(30, "c").examples) == 10
    # the smaller limit holds, whichever side it is on
    wide = Findings()
    wide.merge(with_examples(30, "c"))
    wide.merge(with_examples(30, "d"))
    assert len(wide.examples) == wide.max_examples == 10


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        ([], Verdict.PASSED),
        ([MismatchKind.MISSING], Verdict.UNKNOWN),
        ([MismatchKind.CORRUPT], Verdict.FAILED),
        ([MismatchKind.MISSING, MismatchKind.DUPLICATE], Verdict.FAILED),
    ],
)
def test_missing_samples_with_another_cause_say_nothing(
    kinds: list[MismatchKind], verdict: Verdict
) -> None:
    read = ReadReport(missing_because="too old")
    read.findings.n_expected = read.findings.n_validated = 10
    for kind in kinds:
        read.findings.add(kind, 2)
    read.findings.n_validated -= 2 * (MismatchKind.MISSING in kinds)
    total = merged_read([read, ReadReport()])
    assert total is not None
    assert read.verdict == total.verdict == verdict
    missing = MismatchKind.MISSING in kinds
    assert read.to_json()["missing_because"] == ("too old" if missing else None)
    read.missing_because = None
    assert read.verdict == (Verdict.FAILED if kinds else Verdict.PASSED)


# -- times and rates


def test_a_phase_lasts_from_the_first_start_to_the_last_end() -> None:
    total = merged(PhaseTimes(100 * S, 110 * S), PhaseTimes(95 * S, 105 * S))
    assert total == PhaseTimes(95 * S, 110 * S)
    assert total.duration_s == 15.0
    assert merged(PhaseTimes(), PhaseTimes(5 * S, 6 * S)) == PhaseTimes(5 * S, 6 * S)
    assert PhaseTimes().duration_s == 0.0
    assert PhaseTimes(10, 5).duration_s == 0.0


def test_phases_in_sequence_add_up_without_what_is_between() -> None:
    total = in_sequence([PhaseTimes(100 * S, 110 * S), PhaseTimes(), PhaseTimes(200 * S, 203 * S)])
    assert (total.started_ns, total.finished_ns) == (100 * S, 203 * S)
    assert total.duration_s == 13.0
    assert in_sequence([total, PhaseTimes(300 * S, 301 * S)]).duration_s == 14.0
    assert in_sequence([]) == PhaseTimes()


def test_rates_are_derived_after_merging() -> None:
    # two workers beside each other, one of them for half of the time
    one = WriteReport(
        PhaseTimes(100 * S, 110 * S), samples_acked=1000, payload_bytes_acked=50_000_000,
        fragments_pushed=30, pushes_acked=8, pushes_rejected=1, pushes_indeterminate=1,
    )  # fmt: skip
    other = WriteReport(
        PhaseTimes(105 * S, 120 * S), samples_acked=2000, payload_bytes_acked=30_000_000,
        fragments_pushed=10, pushes_acked=4, pushes_unresolved=2,
    )  # fmt: skip
    total = merged_write([one, other])
    assert total.samples_per_s == 150.0
    figures = total.to_json()
    assert figures["payload_mb_per_s"] == 4.0
    assert figures["duration_s"] == 20.0
    assert figures["fragments_per_push_mean"] == 40 / 16
    assert figures["latency_ms"] is None
    assert total.n_pushes == 16
    read = ReadReport(times=PhaseTimes(1 * S, 5 * S), payload_bytes_validated=10_000_000)
    assert read.to_json()["payload_mb_per_s"] == 2.5


def test_nothing_has_no_rates() -> None:
    figures = WriteReport().to_json()
    for name in ("samples_per_s", "payload_mb_per_s", "fragments_per_push_mean", "duration_s"):
        assert figures[name] == 0.0
    assert figures["started_at"] is None


@given(cycle_reports)
def test_a_report_is_json(report: CycleReport) -> None:
    decoded = json.loads(json.dumps(report.to_json()))
    assert decoded["verdict"] == report.verdict
    assert decoded["write"]["samples_acked"] == report.write.samples_acked
    assert (decoded["read"] is None) == (report.read is None)
    if report.read is not None:
        assert decoded["read"]["mismatches"] == {
            kind.value: report.read.findings.counts[kind] for kind in MismatchKind
        }


def test_wall_time_as_text() -> None:
    assert rfc3339(0) is None
    assert rfc3339(1_795_475_977_123_456_789) == "2026-11-23T23:19:37.123456Z"
    assert rfc3339(1_795_475_977 * S) == "2026-11-23T23:19:37.000000Z"


def test_latency_is_distorted_by_a_slow_loop() -> None:
    def report(service_us: int, delay_us: int) -> WriteReport:
        found = WriteReport()
        found.service.record_us(service_us)
        found.loop_delay.record_us(delay_us)
        return found

    assert not report(100_000, 9_000).latency_distorted
    assert report(100_000, 11_000).latency_distorted
    assert not WriteReport().latency_distorted


# -- verdicts


def found(n_expected: int, n_validated: int, **kinds: int) -> Findings:
    result = Findings(n_expected=n_expected, n_validated=n_validated)
    for kind, n in kinds.items():
        result.add(MismatchKind(kind), n)
    return result


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (ReadReport(skipped=True), Verdict.NOT_CHECKED),
        (ReadReport(findings=found(5, 5)), Verdict.PASSED),
        (ReadReport(), Verdict.UNKNOWN),
        (ReadReport(findings=found(0, 0)), Verdict.UNKNOWN),
        (ReadReport(findings=found(5, 4)), Verdict.UNKNOWN),
        (ReadReport(findings=found(5, 5), complete=False), Verdict.UNKNOWN),
        (ReadReport(findings=found(5, 5), error="gone"), Verdict.UNKNOWN),
        *((ReadReport(findings=found(5, 5, **{kind: 1})), Verdict.FAILED) for kind in MismatchKind),
        (ReadReport(findings=found(5, 4, missing=1), complete=False), Verdict.FAILED),
        (ReadReport(findings=found(5, 4, missing=1), error="gone"), Verdict.FAILED),
        (ReadReport(findings=found(0, 0, unexpected=1)), Verdict.FAILED),
    ],
)
def test_verdict_of_a_read(report: ReadReport, expected: Verdict) -> None:
    assert report.verdict is expected
    assert report.to_json()["verdict"] == expected.value
    assert CycleReport(0, 0, read=report).verdict is expected


def test_retry_duplicates_are_no_mismatch() -> None:
    findings = found(5, 5)
    findings.retry_duplicates = 3
    findings.n_optional_seen = 2
    assert ReadReport(findings=findings).verdict is Verdict.PASSED


def test_a_cycle_that_was_never_read_is_unknown() -> None:
    assert CycleReport(0, 0).verdict is Verdict.UNKNOWN


def test_one_workers_doubt_is_everybodys() -> None:
    good = ReadReport(findings=found(5, 5))
    for bad, expected in (
        (ReadReport(findings=found(5, 5), complete=False), Verdict.UNKNOWN),
        (ReadReport(findings=found(5, 5), error="gone"), Verdict.UNKNOWN),
        (ReadReport(findings=found(5, 4, corrupt=1)), Verdict.FAILED),
    ):
        for order in ([good, bad], [bad, good]):
            total = merged_read(order)
            assert total is not None
            assert total.verdict is expected


@pytest.mark.parametrize(
    ("spot_check", "expected"),
    [
        (SpotCheckReport(), Verdict.NOT_CHECKED),
        (SpotCheckReport(findings=found(5, 5)), Verdict.PASSED),
        (SpotCheckReport(findings=found(5, 4)), Verdict.UNKNOWN),
        (SpotCheckReport(findings=found(5, 5), error="gone"), Verdict.UNKNOWN),
        (SpotCheckReport(findings=found(5, 4, missing=1), error="gone"), Verdict.FAILED),
        (SpotCheckReport(findings=found(5, 4, missing=1), missing_because="old"), Verdict.UNKNOWN),
        (SpotCheckReport(findings=found(5, 4, corrupt=1), missing_because="old"), Verdict.FAILED),
    ],
)
def test_spot_checks_can_spoil_a_cycle_and_make_up_for_nothing(
    spot_check: SpotCheckReport, expected: Verdict
) -> None:
    assert spot_check.verdict is expected
    spoilt = expected in (Verdict.FAILED, Verdict.UNKNOWN)
    for read, verdict in (
        (ReadReport(findings=found(5, 5)), Verdict.PASSED),
        (ReadReport(skipped=True), Verdict.NOT_CHECKED),
    ):
        cycle = CycleReport(0, 0, read=read, spot_check=spot_check)
        assert cycle.verdict is (expected if spoilt else verdict)
    failed = ReadReport(findings=found(5, 4, missing=1))
    assert CycleReport(0, 0, read=failed, spot_check=spot_check).verdict is Verdict.FAILED
    never_read = CycleReport(0, 0, spot_check=spot_check).verdict
    assert never_read is (Verdict.FAILED if expected is Verdict.FAILED else Verdict.UNKNOWN)


def test_a_spot_check_is_added_to_its_cycle() -> None:
    report = SpotCheckReport()
    good = ReadReport(findings=found(5, 5), queries=2, fragments_proved=1)
    bad = ReadReport(findings=found(5, 3, missing=2), queries=1, error="gone")
    for check, uncached in ((good, False), (bad, True), (bad, False)):
        report.add(check, 3, uncached=uncached)
    plain = report.to_json()
    assert (plain["checks"], plain["checks_uncached"], plain["fragments"]) == (3, 1, 9)
    assert (plain["queries"], plain["fragments_proved_by_checksum"]) == (4, 1)
    assert (plain["samples_expected"], plain["samples_validated"]) == (15, 11)
    assert (plain["mismatches"]["missing"], plain["mismatches_uncached"]) == (4, 2)
    assert (plain["error"], plain["verdict"]) == ("gone", "failed")
    assert CycleReport(0, 0, spot_check=report).to_json()["spot_check"] == plain
    assert CycleReport(0, 0).to_json()["spot_check"] is None
