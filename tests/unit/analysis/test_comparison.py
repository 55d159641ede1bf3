"""Comparisons of sides whose figures are known: differences, findings, refusals, warnings."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from rich.console import Console

from looker.analysis import comparison
from looker.analysis.comparison import Comparison, Finding
from looker.analysis.comparison_table import markdown, show
from looker.analysis.metrics import DEFAULT_METRICS, Better, better
from looker.analysis.sides import Match
from looker.analysis.statistics import N_FLIPS
from looker.errors import UsageError
from looker.model.figures import figure_paths
from looker.model.threshold import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from looker.analysis.reports import Side

    Sides = Callable[..., Side]

RATE: Final = "write.samples_per_s"
CPU: Final = "write.cpu_s_per_million_samples"
NOISE: Final = [1000, 1040, 980, 1010, 1070, 990, 1020, 1030, 960, 1000]


def times(factor: float) -> list[int]:
    return [round(1000 * n * factor) for n in NOISE]


def compare(baseline: Side, contenders: Sequence[Side], **settings: Any) -> Comparison:
    return comparison.compare([Match(baseline, one) for one in contenders], **settings)


def text(found: Comparison, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_usual_metrics_are_figures_with_a_direction() -> None:
    assert set(DEFAULT_METRICS) <= set(figure_paths())
    ways = {path: better(path) for path in DEFAULT_METRICS}
    higher = {path for path, way in ways.items() if way is Better.HIGHER}
    assert higher == {"write.samples_per_s", "read.samples_per_s"}
    assert None not in ways.values()


def test_every_figure_has_a_direction_or_is_a_matter_of_view() -> None:
    neutral = {path.split(".")[1] for path in figure_paths() if better(path) is None}
    assert neutral == {
        "fragments_per_push_mean",
        "out_of_order_sent",
        "duplicates_sent",
        "duplicates_refused",
        "lag_ms",
        "limited_by_shares",
        "streams_selected",
        "queries_shaped",
        "samples_expected",
        "samples_indeterminate_found",
        "first_ask_after_ms",
        "checks",
        "checks_uncached",
        "fragments",
    }
    assert better("write.responses_by_status.429") is None


def test_a_difference_in_every_pair_is_shown(side: Sides) -> None:
    found = compare(side("a", times(1)), [side("b", times(0.9))])
    (contest,) = found.contests
    assert contest.n_pairs == 10
    assert found.n_tests == len(contest.differences) == 9
    by_path = {one.path: one for one in contest.differences}
    rate = by_path[RATE]
    assert (rate.baseline.n, rate.baseline.median) == (10, 100_500)
    assert rate.baseline.mad == 2000
    assert rate.relative == pytest.approx(-0.1)
    assert rate.interval == pytest.approx((-0.1, -0.1))
    assert rate.test.p == 2 / 2**10
    assert rate.test.exact
    assert rate.p_corrected == pytest.approx(9 * 2 / 2**10)
    assert rate.finding is Finding.WORSE
    # less CPU time for each sample is better, more is worse
    assert by_path[CPU].relative == pytest.approx(1 / 0.9 - 1)
    assert by_path[CPU].finding is Finding.WORSE
    same = by_path["write.service_ms.p99"]
    assert (same.relative, same.test.p, same.finding) == (0, 1, Finding.NOTHING)


def test_exchanging_the_sides_mirrors_the_findings(side: Sides) -> None:
    random = np.random.default_rng(5)
    one, other = side("a", times(1)), side("b", [round(n) for n in random.normal(9e5, 5e4, 10)])
    (forth,) = compare(one, [other]).contests
    (back,) = compare(other, [one]).contests
    mirrored = {Finding.BETTER: Finding.WORSE, Finding.WORSE: Finding.BETTER}
    n_shown = 0
    for there, here in zip(forth.differences, back.differences, strict=True):
        assert there.p_corrected == here.p_corrected
        assert there.finding is mirrored.get(here.finding, here.finding)
        assert (1 + there.relative) * (1 + here.relative) == pytest.approx(1)
        assert there.interval is not None
        assert here.interval is not None
        assert (1 + there.interval[0]) * (1 + here.interval[1]) == pytest.approx(1)
        n_shown += here.finding is not Finding.NOTHING
    # two rates and the CPU time of a sample; no payload is counted, and no latency differs
    assert n_shown == 3


def test_pairs_cancel_what_both_suffer_from(side: Sides) -> None:
    drifting = [1_000_000 * (1 + n) for n in range(10)]
    slower = [round(0.98 * n) for n in drifting]
    (contest,) = compare(side("a", drifting), [side("b", slower)], metrics=[RATE]).contests
    (rate,) = contest.differences
    assert rate.finding is Finding.WORSE
    assert rate.relative == pytest.approx(-0.02)
    assert rate.baseline.spread is not None
    assert rate.baseline.spread > 0.4


def test_noise_is_no_difference(side: Sides) -> None:
    (contest,) = compare(side("a", times(1)), [side("b", times(1)[::-1])]).contests
    assert {one.finding for one in contest.differences} == {Finding.NOTHING}


def test_few_pairs_show_nothing_and_say_how_many_would(side: Sides) -> None:
    found = compare(side("a", times(1)[:4]), [side("b", times(0.5)[:4])])
    assert {one.finding for one in found.contests[0].differences} == {Finding.NOTHING}
    (note,) = found.notes
    assert note == (
        "4 pair(s), 9 test(s): no p below 1 can come out, after correction, so no difference can"
        " be shown: 95 % certainty wants 9 pairs, or, with a single metric, 6"
    )
    found = compare(
        side("a", times(1)[:4]), [side("b", times(0.5)[:4])], metrics=[RATE], confidence=0.8
    )
    assert found.contests[0].differences[0].finding is Finding.WORSE
    (note,) = found.notes
    assert note == (
        "4 pair(s), 1 test(s): no p below 0.12 can come out, after correction; 80 % certainty"
        " wants 4 pairs"
    )


def test_one_run_each_has_no_interval(side: Sides) -> None:
    found = compare(side("a", [1_000_000]), [side("b", [700_000])], metrics=[RATE])
    (rate,) = found.contests[0].differences
    assert rate.relative == pytest.approx(-0.3)
    assert (rate.interval, rate.test.p, rate.finding) == (None, 1, Finding.NOTHING)
    assert "-30.0 %" in text(found)


def test_all_contenders_are_corrected_together(side: Sides) -> None:
    found = compare(
        side("a", times(1)),
        [side("b", times(0.9)), side("c", times(1.2)), side("d", times(1))],
        metrics=[RATE, "read.queries"],
    )
    assert found.n_tests == 6
    rates = [contest.differences[0] for contest in found.contests]
    assert [one.finding for one in rates] == [Finding.WORSE, Finding.BETTER, Finding.NOTHING]
    assert [one.p_corrected for one in rates] == pytest.approx([12 / 1024, 12 / 1024, 1])


def test_runs_without_a_counterpart_are_not_tested(side: Sides) -> None:
    found = compare(side("a", times(1)), [side("b", [*times(0.9), 1, 1])], metrics=[RATE])
    (rate,) = found.contests[0].differences
    assert (found.contests[0].n_pairs, rate.contender.n) == (10, 12)
    assert rate.relative == pytest.approx(-0.1)
    assert any("the last 2 run(s) have no counterpart" in note for note in found.notes)


def test_many_pairs_are_tested_by_chance_and_said_so(side: Sides) -> None:
    found = compare(side("a", times(1) * 3), [side("b", times(0.9) * 3)], metrics=[RATE])
    (rate,) = found.contests[0].differences
    assert not rate.test.exact
    assert rate.test.p == 1 / (1 + N_FLIPS)
    assert "30 pairs: p is estimated, from 99,999 random flips" in found.notes


def test_figures_that_are_zero_are_subtracted(side: Sides) -> None:
    path = "read.mismatches.missing"
    changes = {"totals__read__mismatches__missing": 5}
    found = compare(side("a", times(1)), [side("b", times(1), **changes)], metrics=[path])
    (missing,) = found.contests[0].differences
    assert missing.finding is Finding.WORSE
    assert missing.relative == math.inf
    assert missing.to_json()["difference_percent"] is None
    json.dumps(found.to_json(), allow_nan=False)
    assert "from 0" in text(found)
    back = compare(side("b", times(1), **changes), [side("a", times(1))], metrics=[path])
    assert back.contests[0].differences[0].finding is Finding.BETTER
    assert back.contests[0].differences[0].relative == -1


def test_a_mean_without_its_median_shows_nothing(side: Sides) -> None:
    # eleven of twenty pairs are a little slower, the others ten times as fast
    path = "write.samples_acked"
    found = compare(side("a", [1000] * 20), [side("b", [999] * 11 + [10_000] * 9)], metrics=[path])
    (acked,) = found.contests[0].differences
    assert acked.p_corrected < 0.05
    assert acked.relative < 0
    assert acked.finding is Finding.NOTHING


# --- thresholds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "condition", "breached"),
    [
        (0.9, "samples_per_s < -5%", True),
        (0.97, "samples_per_s < -5%", False),
        (1.2, "samples_per_s < -5%", False),
        (1.2, "samples_per_s >= 19.9%", True),
        (0.9, "write.cpu_s_per_million_samples > 10 %", True),
        (0.9, "write.service_ms.p99 >= 0%", False),
    ],
)
def test_a_shown_difference_beyond_the_bound_breaches(
    side: Sides, factor: float, condition: str, breached: bool
) -> None:
    threshold = parsed(condition, percent=True)
    found = compare(side("a", times(1)), [side("b", times(factor))], thresholds=[threshold])
    assert found.breached is breached
    (judged,) = found.contests[0].thresholds
    assert (judged["expr"], judged["breached"]) == (condition, breached)
    for shown in (text(found), markdown(found)):
        assert ("threshold breached (exit code 4)" in shown) is breached
        assert ("threshold kept" in shown) is not breached


def test_a_large_difference_that_may_be_chance_breaches_nothing(side: Sides) -> None:
    wild = [round(1e6 * factor) for factor in (0.3, 0.4, 2.0, 0.5, 0.6, 1.9, 0.4, 0.7, 2.1, 0.5)]
    threshold = parsed("samples_per_s < -5%", percent=True)
    found = compare(
        side("a", [1_000_000] * 10), [side("b", wild)], metrics=[RATE], thresholds=[threshold]
    )
    assert found.contests[0].differences[0].relative < -0.4
    assert not found.breached


def test_a_threshold_that_cannot_be_breached_is_refused(side: Sides) -> None:
    one, other = side("a", times(1)[:6]), side("b", times(0.5)[:6])
    threshold = parsed("samples_per_s < -5%", percent=True)
    with pytest.raises(UsageError, match=r"--fail-if: could never be breached with 6 pair.* 9 "):
        compare(one, [other], thresholds=[threshold])
    assert not compare(one, [other], thresholds=[threshold], force=True).breached
    # with its metric alone, six are enough
    assert compare(one, [other], metrics=[RATE], thresholds=[threshold]).breached


# --- refusals, warnings --------------------------------------------------------------------------


def test_runs_that_are_not_alike_are_refused_unless_forced(side: Sides) -> None:
    one = side("a", times(1))
    other = side("b", times(0.9), config__n_streams=99, environment__hostname="there")
    with pytest.raises(UsageError) as refusal:
        compare(one, [other])
    said = str(refusal.value)
    assert said.startswith("BASELINE: the runs are not alike (or: --force): ")
    assert 'environment.hostname is "here" in ' in said
    assert '"there" in ' in said
    assert "config.n_streams is 4 in " in said
    found = compare(one, [other], force=True)
    assert len(found.unlike) == len(found.to_json()["unlike"]) == 2
    assert "not alike: config.n_streams is 4" in text(found)
    assert "not alike: config.n\\_streams is 4" in markdown(found)


def test_a_run_is_not_compared_with_itself(side: Sides) -> None:
    one = side("a", times(1))
    with pytest.raises(UsageError, match=r"CONTENDER: .* is in .* and in "):
        compare(one, [one.__class__("again", one.reports[:1])])


def test_metrics_without_a_value_are_left_out_or_refused(side: Sides) -> None:
    one = side("a", times(1), totals__read=None)
    other = side("b", times(1), totals__read={"skipped": True, "samples_per_s": 0.0})
    found = compare(one, [other])
    assert [d.path for d in found.contests[0].differences] == [
        path for path in DEFAULT_METRICS if not path.startswith("read.")
    ]
    with pytest.raises(UsageError, match=r"--metric: read.samples_per_s has no value in "):
        compare(one, [other], metrics=["read.samples_per_s"])
    part = side("c", times(1))
    found = compare(one, [part])
    assert "read.samples_per_s is left out: 10 run(s) have no value of it" in found.notes
    nothing = side("d", [1], totals__read=None, totals__write=None, totals__target=None)
    with pytest.raises(UsageError, match="no figure that all runs have a value of"):
        compare(nothing, [one])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "failed", "exit_code": 1}, "ended with the verdict failed"),
        ({"verdict": "unknown", "exit_code": 3}, "ended with the verdict unknown"),
        ({"exit_code": 3}, "ended with exit code 3"),
        ({"totals__write__limited_by": "generator"}, "limited by generator"),
        ({"totals__write__limited_by": "throttle"}, "limited by throttle"),
        ({"totals__write__limited_by": "rate_limit"}, "limited by rate_limit"),
        ({"totals__write__latency_distorted": True}, "latency_distorted"),
    ],
)
def test_doubtful_runs_are_told(side: Sides, changes: dict[str, Any], words: str) -> None:
    sound = side("a", times(1))
    assert compare(sound, [side("b", times(1))]).warnings == []
    found = compare(sound, [side("b", times(1), **changes)])
    (line,) = found.warnings
    assert "10 of 10 run(s) " in line
    assert words in line
    assert line in text(found, width=1000)
    assert found.to_json()["warnings"] == [line]


def test_kept_thresholds_and_unread_runs_are_sound(side: Sides) -> None:
    found = compare(side("a", times(1), exit_code=4), [side("b", times(1), verdict="not_checked")])
    assert found.warnings == []


def test_scattered_figures_are_told(side: Sides) -> None:
    scattered = [500_000, 1_000_000, 1_500_000, 2_000_000, 700_000]
    found = compare(side("a", times(1)), [side("b", scattered)], metrics=[RATE])
    (line,) = found.warnings
    assert line.endswith(
        "unstable, its runs differ in write.samples_per_s by 50 % (median deviation)"
    )


def test_runs_that_were_not_in_turn_are_told(side: Sides) -> None:
    one = side("a", times(1))
    after = side("b", times(1))
    late = one.__class__(
        "late",
        [
            report.__class__(
                report.path, {**report.plain, "started_at": "2027" + report.started_at[4:]}
            )
            for report in after.reports
        ],
    )
    assert compare(one, [after]).warnings == []
    for sides in ((one, late), (late, one)):
        (line,) = compare(sides[0], [sides[1]]).warnings
        assert line.startswith(f"all runs of {one.name} precede those of late: ")


def test_runs_of_one_side_on_two_targets_are_told(side: Sides) -> None:
    one, other = side("a", times(1)), side("b", times(1))
    reports = [*other.reports]
    plain = {**reports[0].plain, "target": {"product": "loki", "version": "3.1\n\x1b[31m"}}
    reports[0] = reports[0].__class__(reports[0].path, plain)
    (line,) = compare(one, [one.__class__("b", reports)]).warnings
    assert "its runs are of different targets: loki 3.1 \ufffd[31m; loki 3.0 http://x" in line


# --- how it is shown -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits(side: Sides, width: int) -> None:
    found = compare(side("a", times(1)), [side("b", times(0.9)), side("c", times(1.1))])
    shown = text(found, width)
    assert all(len(line) <= width for line in shown.splitlines())
    for path in DEFAULT_METRICS:
        assert path in shown


def test_the_markdown_is_a_table(side: Sides) -> None:
    found = compare(side("a|x", times(1)), [side("b", times(0.9))])
    lines = markdown(found).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 9
    assert {line.count("|") for line in rows} == {8}
    assert rows[2] == (
        "| ↑ write.samples_per_s | 100,500 ±2.0% | 90,450 ±2.0% | -10.0 % | -10.0 to -10.0 % |"
        " 0.018 | **worse** |"
    )
    assert rows[4].endswith("| 0.0 % | 0.0 to 0.0 % | 1 | no difference shown |")
    assert "a\\|x" in lines[0]


def test_the_json_has_all_of_it(side: Sides) -> None:
    baseline, contender = side("a", times(1)), side("b", times(0.9))
    threshold = parsed("samples_per_s < -5%", percent=True)
    found = compare(baseline, [contender], metrics=[RATE], thresholds=[threshold]).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["schema_version"], found["kind"], found["tests"]) == (1, "comparison", 1)
    assert len(found["baseline"]["reports"]) == 10
    assert found["baseline"]["target"] == "loki 3.0 http://x"
    (one,) = found["contenders"]
    assert one["thresholds"] == [
        {"expr": "samples_per_s < -5%", "value": pytest.approx(-10), "breached": True}
    ]
    (metric,) = one["metrics"]
    assert metric == {
        "metric": RATE,
        "better": "higher",
        "baseline": {"n": 10, "median": 100_500, "median_absolute_deviation": 2000},
        "contender": {"n": 10, "median": 90_450, "median_absolute_deviation": 1800},
        "difference_percent": pytest.approx(-10),
        "interval_percent": [pytest.approx(-10), pytest.approx(-10)],
        "p": 2 / 2**10,
        "p_is_exact": True,
        "p_corrected": 2 / 2**10,
        "verdict": "worse",
    }
