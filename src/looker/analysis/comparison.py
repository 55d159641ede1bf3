"""Comparing the repeats of a baseline with those of contenders, figure by figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.analysis.likeness import named, unlike
from looker.analysis.metrics import DEFAULT_METRICS, Better, better
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
from looker.model.figures import figure_of
from looker.model.threshold import OPTION
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from looker.analysis.reports import Side
    from looker.analysis.statistics import SignFlip
    from looker.model.threshold import Threshold

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
    """One contender against the baseline; ``thresholds`` as in a run's report."""

    side: Side
    n_pairs: int
    differences: Sequence[Difference]
    thresholds: Sequence[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            **_side_json(self.side),
            "n_pairs": self.n_pairs,
            "metrics": [difference.to_json() for difference in self.differences],
            "thresholds": list(self.thresholds),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline and its contenders.

    ``unlike`` names what differs in runs that were compared nevertheless; ``notes`` say what the
    numbers of repeats and of tests allow, ``warnings`` what makes the figures doubtful.
    """

    confidence: float
    baseline: Side
    contests: Sequence[Contest]
    n_tests: int
    unlike: Sequence[str]
    notes: Sequence[str]
    warnings: Sequence[str]

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
    baseline: Side,
    contenders: Sequence[Side],
    *,
    metrics: Sequence[str] = (),
    thresholds: Sequence[Threshold] = (),
    confidence: float = 0.95,
    force: bool = False,
) -> Comparison:
    """Compare; ``metrics`` are whole paths, or none for the usual ones.

    UsageError where the runs are not alike, or a threshold could never be breached, unless
    ``force``; and where a metric that is asked for has no value.
    """
    _refuse_twice(baseline, contenders)
    unalike = unlike([baseline, *contenders])
    if unalike and not force:
        raise UsageError("BASELINE", f"the runs are not alike (or: --force): {named(unalike)}")
    wanted = dict.fromkeys([*metrics, *(threshold.path for threshold in thresholds)])
    paths = list(wanted if metrics else dict.fromkeys([*DEFAULT_METRICS, *wanted]))
    columns, notes = _columns([baseline, *contenders], paths, wanted)
    paths = list(columns[0])
    n_pairs = [min(len(baseline.reports), len(side.reports)) for side in contenders]
    n_tests = len(paths) * len(contenders)
    significance = 1 - confidence
    can_show = [smallest_p(n, n_tests) <= significance + _ROUNDING for n in n_pairs]
    if thresholds and not all(can_show) and not force:
        raise UsageError(
            OPTION,
            f"could never be breached with {min(n_pairs)} pair(s) of runs and {n_tests} test(s):"
            f" {n_pairs_needed(n_tests, significance)} pairs are needed, or fewer metrics"
            " (or: --force)",
        )
    tests = [
        sign_flip_test(_pair_differences(columns[0][path], column[path])[0])
        for column in columns[1:]
        for path in paths
    ]
    corrected = iter(zip(tests, holm([test.p for test in tests]), strict=True))
    contests = []
    for side, column, n in zip(contenders, columns[1:], n_pairs, strict=True):
        differences = [
            _difference(path, columns[0][path], column[path], next(corrected), confidence)
            for path in paths
        ]
        contests.append(Contest(side, n, differences, _judged(thresholds, differences)))
    notes += _notes(baseline, contests, n_tests, significance)
    return Comparison(
        confidence,
        baseline,
        contests,
        n_tests,
        unalike,
        notes,
        _warnings(baseline, contests),
    )


def _refuse_twice(baseline: Side, contenders: Sequence[Side]) -> None:
    place = {report.path.resolve(): baseline for report in baseline.reports}
    for side in contenders:
        for report in side.reports:
            other = place.setdefault(report.path.resolve(), side)
            if other is not side:
                raise UsageError(
                    "CONTENDER", f"{report.path} is in {other.name} and in {side.name}"
                )


def _columns(
    sides: Sequence[Side], paths: Sequence[str], wanted: dict[str, None]
) -> tuple[list[dict[str, NDArray[np.float64]]], list[str]]:
    """Return each side's values by path, float64[n], and notes on what is left out.

    UsageError where something that is wanted has no value in some run, or nothing is left.
    """
    columns: list[dict[str, NDArray[np.float64]]] = [{} for _ in sides]
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


def _notes(
    baseline: Side, contests: Sequence[Contest], n_tests: int, significance: float
) -> list[str]:
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
        sides = (baseline, contest.side)
        larger = max(sides, key=lambda side: len(side.reports))
        extra = len(larger.reports) - contest.n_pairs
        if extra:
            notes.append(
                f"{larger.name}: the last {extra} run(s) have no counterpart: they are in the"
                " median, not in difference and test"
            )
    return notes


def _warnings(baseline: Side, contests: Sequence[Contest]) -> list[str]:
    lines = [
        *warnings_of(baseline),
        spread_warning(
            baseline, [(one.path, one.baseline.spread) for one in contests[0].differences]
        ),
    ]
    for contest in contests:
        lines += warnings_of(contest.side)
        spreads = [(one.path, one.contender.spread) for one in contest.differences]
        lines += [spread_warning(contest.side, spreads), order_warning(baseline, contest.side)]
    return [line for line in lines if line is not None]


def _percent(relative: float) -> float | None:
    return 100 * relative if math.isfinite(relative) else None


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "target": target_of(side.reports[0]),
        "reports": [str(report.path) for report in side.reports],
    }
