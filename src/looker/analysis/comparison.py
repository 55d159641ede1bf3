"""Comparing the repeats of a baseline with those of contenders, figure by figure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.analysis.likeness import named, unlike
from looker.analysis.metrics import DEFAULT_METRICS, Better, better
from looker.analysis.refusals import concerns, unequal
from looker.analysis.sides import ALL_POINTS, CONTENDER
from looker.analysis.soundness import order_warning, spread_warning, target_of, warnings_of
from looker.analysis.statistics import (
    MAX_EXACT_PAIRS,
    N_FLIPS,
    bootstrap_interval,
    holm,
    log_ratios,
    median_and_mad,
    n_pairs_needed,
    sign_flip_test,
    smallest_p,
)
from looker.errors import UsageError
from looker.model.confidence import DEFAULT_CONFIDENCE
from looker.model.figures import figure_of
from looker.model.threshold import OPTION
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from looker.analysis.reports import Side
    from looker.analysis.sides import Match
    from looker.analysis.statistics import SignFlip
    from looker.model.threshold import Threshold

    Column = dict[str, NDArray[np.float64]]
    """One side's values of each figure, float64[n], by path."""

COMPARISON_SCHEMA_VERSION: Final = 1
_ROUNDING: Final = 1e-12


class Finding(StrEnum):
    """What has been shown of a figure."""

    BETTER = "better"
    WORSE = "worse"
    HIGHER = "higher"
    """Higher, of a figure that is better neither way; as is ``lower``."""
    LOWER = "lower"
    NOTHING = "no difference shown"
    UNEQUAL = "not comparable"
    """Better as a number, but the sides had unlike parts of their load refused."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One side's values of a figure: their number, median and median absolute deviation."""

    n: int
    median: float
    mad: float

    @property
    def spread(self) -> float | None:
        """The deviation relative to the median; None where that is 0."""
        return self.mad / abs(self.median) if self.median else None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"n": self.n, "median": self.median, "median_absolute_deviation": self.mad}


@dataclass(frozen=True, slots=True)
class Difference:
    """Contender against baseline in one figure.

    ``relative`` is the median of the pairs' relative differences, infinite where the baseline is 0;
    ``interval`` its bootstrap interval, None where there is none.
    """

    path: str
    baseline: Summary
    contender: Summary
    relative: float
    interval: tuple[float, float] | None
    test: SignFlip
    p_corrected: float
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; what is infinite is null."""
        interval = self.interval
        way = better(self.path)
        return {
            "metric": self.path,
            "better": None if way is None else way.value,
            "baseline": self.baseline.to_json(),
            "contender": self.contender.to_json(),
            "difference_percent": _percent(self.relative),
            "interval_percent": None if interval is None else [_percent(end) for end in interval],
            "p": self.test.p,
            "p_is_exact": self.test.exact,
            "p_corrected": self.p_corrected,
            "verdict": self.finding.value,
        }


@dataclass(frozen=True, slots=True)
class Contest:
    """One contender against a baseline, at one point of a sweep if there are several.

    ``thresholds`` are as in a run's report; ``unequal`` tells of what share of the load was
    refused, retried or in doubt on one side more than on the other.
    """

    baseline: Side
    side: Side
    point: str | None
    n_pairs: int
    differences: Sequence[Difference]
    thresholds: Sequence[dict[str, Any]]
    unequal: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            **_side_json(self.side),
            "point": self.point,
            "baseline": _side_json(self.baseline),
            "n_pairs": self.n_pairs,
            "metrics": [difference.to_json() for difference in self.differences],
            "unequal": list(self.unequal),
            "thresholds": list(self.thresholds),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contests: of contenders with a baseline, of all points together and of each.

    ``n_tests`` is the number of tests that p is corrected for: those of one point. ``unlike`` names
    what differs in runs that were compared nevertheless; ``notes`` say what the numbers of repeats
    and of tests allow, ``warnings`` what makes the figures doubtful.
    """

    confidence: float
    contests: Sequence[Contest]
    n_tests: int
    unlike: Sequence[str]
    notes: Sequence[str]
    warnings: Sequence[str]

    @property
    def baseline(self) -> Side:
        """The baseline of the first contest: of all points, if there are several."""
        return self.contests[0].baseline

    @property
    def unequal(self) -> list[str]:
        """What of the load was refused, retried or in doubt on one side more than on the other."""
        return list(dict.fromkeys(line for contest in self.contests for line in contest.unequal))

    @property
    def breached(self) -> bool:
        """Whether a contender breaches a threshold."""
        return any(one["breached"] for contest in self.contests for one in contest.thresholds)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "schema_version": COMPARISON_SCHEMA_VERSION,
            "kind": "comparison",
            "looker_version": __version__,
            "confidence": self.confidence,
            "tests": self.n_tests,
            "baseline": _side_json(self.baseline),
            "contenders": [contest.to_json() for contest in self.contests],
            "unlike": list(self.unlike),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def compare(
    matches: Sequence[Match],
    *,
    notes: Sequence[str] = (),
    metrics: Sequence[str] = (),
    thresholds: Sequence[Threshold] = (),
    confidence: float = DEFAULT_CONFIDENCE,
    force: bool = False,
) -> Comparison:
    """Compare; ``metrics`` are whole paths, or none for the usual ones; ``notes`` come along.

    The tests of each point are corrected for their own number; thresholds are for all points
    together, where there are several. UsageError, unless ``force``, where a run is unfinished, the
    runs are not alike, or a threshold could never be breached; and always where a metric that is
    asked for has no value.
    """
    points = list(dict.fromkeys(match.point for match in matches))
    groups = [[match for match in matches if match.point == point] for point in points]
    if not force:
        _refuse_unfinished(matches)
    unalike = list(dict.fromkeys(line for group in groups for line in _unlike(group)))
    if unalike and not force:
        raise UsageError("BASELINE", f"the runs are not alike (or: --force): {named(unalike)}")
    wanted = dict.fromkeys([*metrics, *(threshold.path for threshold in thresholds)])
    paths = list(wanted if metrics else dict.fromkeys([*DEFAULT_METRICS, *wanted]))
    sides = [side for match in matches for side in (match.baseline, match.contender)]
    columns, left_out = _columns(sides, paths, wanted)
    paths = list(columns[0])
    n_tests = len(paths) * max(map(len, groups))
    _refuse_futile(groups[0], thresholds, n_tests, 1 - confidence, force=force)
    # the first group is that of all points
    by_match = {
        id(match): pair
        for match, pair in zip(matches, zip(columns[::2], columns[1::2], strict=True), strict=True)
    }
    contests = [
        contest
        for number, group in enumerate(groups)
        for contest in _contests(
            group,
            [by_match[id(match)] for match in group],
            () if number else thresholds,
            confidence,
        )
    ]
    told = [*notes, *left_out, *_notes(contests, n_tests, 1 - confidence)]
    if len(groups) > 1:
        told.append(
            f"p is corrected within each point: of {len(groups) - 1} points at which nothing"
            f" differs, each raises a false alarm with a chance of up to {1 - confidence:.2g}"
        )
    return Comparison(confidence, contests, n_tests, unalike, told, _warnings(contests))


def _refuse_unfinished(matches: Sequence[Match]) -> None:
    """Refuse runs that were killed, or still go on."""
    for match in matches:
        for side, option in ((match.baseline, "BASELINE"), (match.contender, CONTENDER)):
            for report in side.reports:
                if not report.is_finished:
                    raise UsageError(
                        option,
                        f"{report.path} is of a run that is unfinished: it was killed, or goes on"
                        " (or: --force)",
                    )


def _unlike(group: Sequence[Match]) -> list[str]:
    """Return in what the runs of one point differ."""
    _refuse_twice(group)
    if group[0].point == ALL_POINTS:
        # its runs differ in what was swept, and each point is looked at by itself
        return []
    return unlike(_distinct(side for match in group for side in (match.baseline, match.contender)))


def _distinct(sides: Iterable[Side]) -> list[Side]:
    return list({id(side): side for side in sides}.values())


def _refuse_futile(
    group: Sequence[Match],
    thresholds: Sequence[Threshold],
    n_tests: int,
    significance: float,
    *,
    force: bool,
) -> None:
    """Refuse thresholds that so few pairs could never breach."""
    n_pairs = min(_n_pairs(match) for match in group)
    if thresholds and smallest_p(n_pairs, n_tests) > significance + _ROUNDING and not force:
        raise UsageError(
            OPTION,
            f"could never be breached with {n_pairs} pair(s) of runs and {n_tests} test(s):"
            f" {n_pairs_needed(n_tests, significance)} pairs are needed, or fewer metrics"
            " (or: --force)",
        )


def _n_pairs(match: Match) -> int:
    return min(len(match.baseline.reports), len(match.contender.reports))


def _contests(
    group: Sequence[Match],
    columns: Sequence[tuple[Column, Column]],
    thresholds: Sequence[Threshold],
    confidence: float,
) -> list[Contest]:
    """Return the contests of one point; their tests are corrected together."""
    paths = list(columns[0][0])
    tests = [
        sign_flip_test(_pair_differences(mine[path], theirs[path])[0])
        for mine, theirs in columns
        for path in paths
    ]
    corrected = iter(zip(tests, holm([test.p for test in tests]), strict=True))
    contests = []
    for match, (mine, theirs) in zip(group, columns, strict=True):
        lines = unequal(match.baseline, match.contender)
        differences = [
            _withheld(
                _difference(path, mine[path], theirs[path], next(corrected), confidence), lines
            )
            for path in paths
        ]
        contests.append(
            Contest(
                match.baseline,
                match.contender,
                match.point,
                _n_pairs(match),
                differences,
                _judged(thresholds, differences),
                [line for of_phase in lines.values() for line in of_phase],
            )
        )
    return contests


def _refuse_twice(group: Sequence[Match]) -> None:
    """Refuse a run that counts twice, also as a copy of its report: it is no repeat of itself."""
    # of a sweep, each contender has a baseline of its own: the runs that both have
    roles: list[tuple[int, Side]] = [(0, match.baseline) for match in group]
    roles += [(number, match.contender) for number, match in enumerate(group, 1)]
    place: dict[Path, tuple[int, Side]] = {}
    runs: dict[tuple[str, str], Path] = {}
    for role, side in roles:
        for report in side.reports:
            path = report.path.resolve()
            before, other = place.setdefault(path, (role, side))
            if before != role:
                raise UsageError(CONTENDER, f"{report.path} is in {other.name} and in {side.name}")
            same = runs.setdefault((str(report.plain["invocation_id"]), report.started_at), path)
            if same != path:
                raise UsageError(CONTENDER, f"{report.path} is of the same run as {same}")


def _columns(
    sides: Sequence[Side], paths: Sequence[str], wanted: dict[str, None]
) -> tuple[list[Column], list[str]]:
    """Return each side's values by path, float64[n], and notes on what is left out.

    UsageError where something that is wanted has no value in some run, or nothing is left.
    """
    columns: list[Column] = [{} for _ in sides]
    notes = []
    for path in paths:
        values = [[figure_of(run.totals, path) for run in side.reports] for side in sides]
        without = [
            run.path
            for side, found in zip(sides, values, strict=True)
            for run, value in zip(side.reports, found, strict=True)
            if value is None
        ]
        if without and path in wanted:
            raise UsageError("--metric", f"{path} has no value in {without[0]}")
        if not without:
            for column, found in zip(columns, values, strict=True):
                column[path] = np.array(found, np.float64)
        elif len(without) < sum(map(len, values)):
            notes.append(f"{path} is left out: {len(without)} run(s) have no value of it")
    if not columns[0]:
        raise UsageError("BASELINE", "there is no figure that all runs have a value of")
    return columns, notes


def _pair_differences(
    baseline: NDArray[np.float64], contender: NDArray[np.float64]
) -> tuple[NDArray[np.float64], bool]:
    """Return the differences of the pairs, and whether they are logarithms of ratios."""
    n_pairs = min(len(baseline), len(contender))
    ratios = log_ratios(baseline[:n_pairs], contender[:n_pairs])
    if ratios is not None:
        return ratios, True
    return contender[:n_pairs] - baseline[:n_pairs], False


def _difference(
    path: str,
    baseline: NDArray[np.float64],
    contender: NDArray[np.float64],
    tested: tuple[SignFlip, float],
    confidence: float,
) -> Difference:
    differences, are_ratios = _pair_differences(baseline, contender)
    middle = float(np.median(differences))
    interval = bootstrap_interval(differences, confidence)
    base = 0.0 if are_ratios else float(np.median(baseline[: len(differences)]))

    def relative(difference: float) -> float:
        if are_ratios:
            return math.expm1(difference)
        if base:
            return difference / abs(base)
        return math.copysign(math.inf, difference) if difference else 0.0

    test, p_corrected = tested
    # where few large differences outweigh many small ones, mean and median may disagree
    agrees = middle * float(differences.sum()) > 0
    is_shown = p_corrected <= 1 - confidence + _ROUNDING and agrees
    return Difference(
        path,
        Summary(len(baseline), *median_and_mad(baseline)),
        Summary(len(contender), *median_and_mad(contender)),
        relative(middle),
        None if interval is None else (relative(interval[0]), relative(interval[1])),
        test,
        p_corrected,
        _finding(path, middle) if is_shown else Finding.NOTHING,
    )


def _withheld(difference: Difference, lines: Mapping[str, list[str]]) -> Difference:
    """Do not call better what had another part of its load refused."""
    if difference.finding is Finding.BETTER and concerns(difference.path, lines):
        return replace(difference, finding=Finding.UNEQUAL)
    return difference


def _finding(path: str, difference: float) -> Finding:
    way = better(path)
    if way is None:
        return Finding.HIGHER if difference > 0 else Finding.LOWER
    return Finding.BETTER if (difference > 0) is (way is Better.HIGHER) else Finding.WORSE


def _judged(
    thresholds: Sequence[Threshold], differences: Sequence[Difference]
) -> list[dict[str, Any]]:
    """Return what the conditions have come to: only a difference that is shown breaches one."""
    by_path = {difference.path: difference for difference in differences}
    found = []
    for threshold in thresholds:
        difference = by_path[threshold.path]
        is_shown = difference.finding is not Finding.NOTHING
        breached = is_shown and threshold.holds(100 * difference.relative)
        value = _percent(difference.relative)
        found.append({"expr": threshold.expr, "value": value, "breached": breached})
    return found


def _notes(contests: Sequence[Contest], n_tests: int, significance: float) -> list[str]:
    """Return what the numbers of runs and tests allow."""
    notes = []
    needed = n_pairs_needed(n_tests, significance)
    percent = f"{100 * (1 - significance):g} %"
    for n_pairs in sorted({contest.n_pairs for contest in contests}):
        least = smallest_p(n_pairs, n_tests)
        said = (
            f"{n_pairs} pair(s), {n_tests} test(s): no p below {least:.2g} can come out,"
            f" after correction"
        )
        if least <= significance + _ROUNDING:
            notes.append(f"{said}; {percent} certainty wants {needed} pairs")
        else:
            notes.append(
                f"{said}, so no difference can be shown: {percent} certainty wants {needed} pairs,"
                f" or, with a single metric, {n_pairs_needed(1, significance)}"
            )
        if n_pairs > MAX_EXACT_PAIRS:
            notes.append(f"{n_pairs} pairs: p is estimated, from {N_FLIPS:,} random flips")
    for contest in contests:
        sides = (contest.baseline, contest.side)
        larger = max(sides, key=lambda side: len(side.reports))
        extra = len(larger.reports) - contest.n_pairs
        if extra:
            notes.append(
                f"{larger.name}: the last {extra} run(s) have no counterpart: they are in the"
                " median, not in difference and test"
            )
    return notes


def _warnings(contests: Sequence[Contest]) -> list[str]:
    lines: list[str | None] = []
    for contest in contests:
        for side, spreads in (
            (contest.baseline, [(one.path, one.baseline.spread) for one in contest.differences]),
            (contest.side, [(one.path, one.contender.spread) for one in contest.differences]),
        ):
            if contest.point != ALL_POINTS:
                # the runs of all points are each point's, and points differ
                lines += [*warnings_of(side), spread_warning(side, spreads)]
        if contest.point in (None, ALL_POINTS):
            lines.append(order_warning(contest.baseline, contest.side))
    return list(dict.fromkeys(line for line in lines if line is not None))


def _percent(relative: float) -> float | None:
    return 100 * relative if math.isfinite(relative) else None


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "target": target_of(side.reports[0]),
        "reports": [str(report.path) for report in side.reports],
    }
