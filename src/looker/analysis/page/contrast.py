"""Sides compared with each other: differences with their intervals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from looker.analysis.comparison import Finding, compare
from looker.analysis.metrics import Better, better
from looker.analysis.page.blocks import Block, Cell, Chart, Fold, Heading, Listing, Table, Text
from looker.analysis.page.charts import BLUE, GREY, ORANGE, PALETTE, VERMILLION, Interval, forest
from looker.analysis.page.wording import NONE, count, percent, three_digits
from looker.analysis.sides import ALL_POINTS
from looker.errors import UsageError

if TYPE_CHECKING:
    from looker.analysis.comparison import Comparison, Contest, Difference, Summary
    from looker.analysis.page.gather import Gathered

MAX_CONTESTS: Final = 40
MAX_WARNINGS: Final = 8
"""More of them are folded away, as they would hide what follows."""
_ABSURD: Final = 1e9
_ARROWS: Final = {Better.HIGHER: "↑", Better.LOWER: "↓", None: ""}
_LOOKS: Final = {
    Finding.BETTER: (PALETTE.index(BLUE), 3),
    Finding.WORSE: (PALETTE.index(VERMILLION), 5),
    Finding.HIGHER: (PALETTE.index(ORANGE), 2),
    Finding.LOWER: (PALETTE.index(ORANGE), 2),
    Finding.NOTHING: (PALETTE.index(GREY), 0),
    Finding.UNEQUAL: (PALETTE.index(ORANGE), 2),
}
"""Colour and symbol of a finding: up for better, down for worse, a circle where none is shown."""
_TONES: Final = {Finding.BETTER: "better", Finding.WORSE: "worse"}


def contrast(gathered: Gathered) -> list[Block]:
    """Return the comparison of the first side with each other; nothing for a single one."""
    if gathered.not_compared is not None:
        return [Text(f"The sides are not compared: {gathered.not_compared}.")]
    if gathered.matches is None:
        return []
    try:
        comparison = compare(gathered.matches.matches, notes=gathered.matches.notes, force=True)
    except UsageError as error:
        # what differs is shown, not refused; this is what cannot be compared at all
        return [Text(f"The sides are not compared: {str(error).partition(': ')[2]}.")]
    blocks: list[Block] = [
        Text(
            f"Baseline: {comparison.baseline.name} ({len(comparison.baseline.reports)} run(s))."
            " Differences are medians over pairs of runs, in percent of the baseline, with"
            f" {100 * comparison.confidence:g} % bootstrap intervals; a difference counts as shown"
            f" by its sign-flip test, corrected for {comparison.n_tests} tests."
        )
    ]
    if comparison.unlike:
        title = "The runs are not alike, so a difference may have another cause"
        blocks.append(Listing(title, comparison.unlike, "warning"))
    shown = comparison.contests[:MAX_CONTESTS]
    for contest in shown:
        name = _name(contest)
        chart = _chart(comparison, contest)
        if contest.point in (None, ALL_POINTS):
            blocks += [Heading(name), chart]
        else:
            blocks.append(Fold(name, [chart], "note", _in_short(contest)))
    more = len(comparison.contests) - len(shown)
    if more:
        blocks.append(Text(f"{count(more)} more are not shown: see looker compare."))
    return [*blocks, *_doubts(comparison)]


def _doubts(comparison: Comparison) -> list[Block]:
    """Return what to know before the differences are believed."""
    blocks: list[Block] = []
    if comparison.unequal:
        title = "Unequal loads: the contender is not called better"
        blocks.append(Listing(title, comparison.unequal, "warning"))
    if comparison.warnings:
        warnings = Listing("Warnings", comparison.warnings, "warning")
        several = f"{count(len(comparison.warnings))} warnings"
        is_short = len(comparison.warnings) <= MAX_WARNINGS
        blocks.append(warnings if is_short else Fold(several, [warnings], tone="warn"))
    if comparison.notes:
        blocks.append(Listing("What these numbers of runs can show", comparison.notes))
    return blocks


def _name(contest: Contest) -> str:
    """Return who is compared with whom, and at which point of a sweep."""
    point = contest.point
    if point is None:
        return f"{contest.side.name} against {contest.baseline.name}"
    sides = (contest.side.name, contest.baseline.name)
    mine, theirs = (name.removesuffix(f"/{point}") for name in sides)
    return f"{point}: {mine} against {theirs}"


def _in_short(contest: Contest) -> str:
    counts = Counter(one.finding for one in contest.differences)
    counts.pop(Finding.NOTHING, None)
    return ", ".join(f"{n} {finding}" for finding, n in counts.items()) or Finding.NOTHING


def _chart(comparison: Comparison, contest: Contest) -> Chart:
    finite = [one for one in contest.differences if _is_shown(one.relative)]
    figure = forest([_row(one) for one in finite], "difference from the baseline, %")
    shown = [one for one in contest.differences if one.finding is not Finding.NOTHING]
    said = "; ".join(f"{one.path} {_percent(one)} ({one.finding})" for one in shown)
    says = (
        f"Shown: {said}."
        if shown
        else "No difference is shown: that is no proof that there is none."
    )
    legend = (
        " ▲ better, ▼ worse, ◆ neither way, ● no difference shown; ↑ more is better, ↓ less is"
        " better."
    )
    title = f"Differences, {contest.n_pairs} pair(s) of runs"
    return Chart(title, says + legend, figure, _table(comparison, contest), wide=True)


def _is_shown(relative: float) -> bool:
    """Whether a difference is a number of percent: from 0 it is infinite, or absurd."""
    return abs(relative) < _ABSURD


def _percent(one: Difference) -> str:
    return percent(100 * one.relative) if _is_shown(one.relative) else "from 0"


def _row(one: Difference) -> Interval:
    look, symbol = _LOOKS[one.finding]
    interval = one.interval
    ends: tuple[float | None, float | None] = (None, None)
    if interval is not None and all(map(_is_shown, interval)):
        ends = (100 * interval[0], 100 * interval[1])
    note = (
        f"{percent(100 * one.relative)} {_interval(one)}, p = {one.p_corrected:.2g}: {one.finding}"
    )
    name = f"{one.path} {_ARROWS[better(one.path)]} {percent(100 * one.relative)}"
    return Interval(name, 100 * one.relative, *ends, look, symbol, note)


def _table(comparison: Comparison, contest: Contest) -> Table:
    heads = [
        "figure",
        "baseline",
        "contender",
        "difference",
        f"{100 * comparison.confidence:g} % interval",
        "p, corrected",
        "finding",
    ]
    rows = [
        [
            Cell(f"{one.path} {_ARROWS[better(one.path)]}".rstrip()),
            Cell(_summary(one.baseline)),
            Cell(_summary(one.contender)),
            Cell(_percent(one)),
            Cell(_interval(one)),
            Cell(f"{one.p_corrected:.2g}"),
            Cell(one.finding.value, tone=_TONES.get(one.finding, "")),
        ]
        for one in contest.differences
    ]
    caption = f"{contest.side.name} against {contest.baseline.name}: medians ± median deviation"
    return Table(caption, heads, rows, frozenset({1, 2, 3, 4, 5}))


def _summary(summary: Summary) -> str:
    spread = "" if summary.spread is None else f" ± {100 * summary.spread:.1f} %"
    return f"{three_digits(summary.median)}{spread}"


def _interval(one: Difference) -> str:
    if one.interval is None:
        return NONE
    low, high = (percent(100 * end) if _is_shown(end) else "∞" for end in one.interval)
    return f"{low} to {high}"
