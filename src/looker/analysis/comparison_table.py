"""A comparison for a terminal, and as Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rich.text import Text

from looker.analysis.comparison import Finding
from looker.analysis.metrics import Better, better
from looker.analysis.sides import ALL_POINTS
from looker.analysis.soundness import target_of
from looker.model.words import printable
from looker.observe import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, JustifyMethod, RenderableType

    from looker.analysis.comparison import Comparison, Contest, Difference, Summary
    from looker.analysis.reports import Side

_ARROWS: Final = {Better.HIGHER: "↑", Better.LOWER: "↓", None: " "}
_STYLES: Final = {
    Finding.BETTER: "bold green",
    Finding.WORSE: "bold red",
    Finding.HIGHER: "bold yellow",
    Finding.LOWER: "bold yellow",
    Finding.NOTHING: "dim",
    Finding.UNEQUAL: "bold yellow",
}
_LEGEND: Final = (
    "↑ higher is better, ↓ lower is better; ± median absolute deviation; difference: median over"
    " pairs of runs; p: sign-flip test, corrected (Holm) for {n_tests} test(s)"
)
_NONE: Final = "-"


def show(comparison: Comparison, console: Console | None = None) -> None:
    """Print a comparison."""
    console = terminal.console() if console is None else console
    for line in _heads(comparison):
        console.print(Text(printable(line), style="italic", overflow="fold"))
    for contest in comparison.contests:
        if len(comparison.contests) > 1:
            title = printable(f"\n{_title(contest)}")
            console.print(Text(title, style="bold", overflow="fold"))
        console.print()
        for one in _laid_out(comparison, contest, console):
            console.print(one)
    console.print()
    legend = _LEGEND.format(n_tests=comparison.n_tests)
    console.print(Text(legend, style="dim"))
    for note in comparison.notes:
        console.print(Text(printable(note), style="dim", overflow="fold"))
    for line in _unequal(comparison):
        console.print(Text(printable(line), style="bold red", overflow="fold"))
    for line in _doubts(comparison):
        console.print(Text(printable(line), style="yellow", overflow="fold"))
    for line, breached in _thresholds(comparison):
        style = "bold red" if breached else "dim"
        console.print(Text(printable(line), style=style, overflow="fold"))


def markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    lines = [f"- {_escaped(line)}" for line in _heads(comparison)]
    for contest in comparison.contests:
        if len(comparison.contests) > 1:
            lines += ["", f"### {_escaped(_title(contest))}"]
        titles = _titles(comparison)
        lines += [
            "",
            f"| {' | '.join(titles)} |",
            f"| --- |{' ---: |' * (len(titles) - 2)} --- |",
        ]
        for difference in contest.differences:
            cells = _cells(difference)
            if difference.finding is not Finding.NOTHING:
                cells[-1] = f"**{cells[-1]}**"
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", _LEGEND.format(n_tests=comparison.n_tests), ""]
    lines += [f"- {_escaped(note)}" for note in comparison.notes]
    lines += [f"- **{_escaped(line)}**" for line in _unequal(comparison)]
    lines += [f"- **{_escaped(line)}**" for line in _doubts(comparison)]
    lines += [
        f"- {f'**{_escaped(line)}**' if breached else _escaped(line)}"
        for line, breached in _thresholds(comparison)
    ]
    return "\n".join(lines) + "\n"


def _heads(comparison: Comparison) -> Iterator[str]:
    yield f"baseline: {_runs(comparison.baseline)}"
    for contest in comparison.contests:
        if contest.point in (None, ALL_POINTS):
            yield f"contender: {_runs(contest.side)}"


def _title(contest: Contest) -> str:
    if contest.point is None:
        return contest.side.name
    if contest.point == ALL_POINTS:
        return f"{contest.side.name}, {ALL_POINTS}"
    # a point's directory names the target as well
    return contest.side.name


def _runs(side: Side) -> str:
    n_runs = len(side.reports)
    runs = f"{n_runs} run{'s' if n_runs > 1 else ''}"
    return f"{side.name} · {runs} · {target_of(side.reports[0])}"


def _laid_out(
    comparison: Comparison, contest: Contest, console: Console
) -> Sequence[RenderableType]:
    metric, baseline, contender, difference, interval, p, verdict = _titles(comparison)
    columns: list[tuple[str, JustifyMethod]] = [
        (metric, "left"),
        (baseline, "right"),
        (contender, "right"),
        (f"{difference} ({interval})", "right"),
        (f"{verdict} ({p})", "left"),
    ]
    return terminal.laid_out(columns, list(map(_row, contest.differences)), console, n_last=1)


def _row(one: Difference) -> list[str | Text]:
    metric, baseline, contender, difference, interval, p, verdict = _cells(one)
    return [
        metric,
        baseline,
        contender,
        difference if one.interval is None else f"{difference} ({interval})",
        Text(f"{verdict} ({p})", style=_STYLES[one.finding]),
    ]


def _titles(comparison: Comparison) -> list[str]:
    interval = f"{100 * comparison.confidence:g} % interval"
    return ["metric", "baseline", "contender", "difference", interval, "p", "verdict"]


def _cells(difference: Difference) -> list[str]:
    interval = difference.interval
    return [
        f"{_ARROWS[better(difference.path)]} {difference.path}",
        _summary(difference.baseline),
        _summary(difference.contender),
        _percent(difference.relative),
        _NONE if interval is None else _interval(*interval),
        f"{difference.p_corrected:.2g}",
        difference.finding.value,
    ]


def _summary(summary: Summary) -> str:
    number = summary.median
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    if summary.n == 1 or summary.spread is None:
        return text
    return f"{text} ±{100 * summary.spread:.1f}%"


def _percent(relative: float) -> str:
    if not math.isfinite(relative):
        return "from 0"
    # what rounds to nothing has no sign
    text = f"{100 * relative:+.1f}"
    return f"{'0.0' if float(text) == 0 else text} %"


def _interval(low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return _NONE
    return f"{_percent(low).removesuffix(' %')} to {_percent(high)}"


def _unequal(comparison: Comparison) -> Iterator[str]:
    for line in comparison.unequal:
        yield f"UNEQUAL LOADS: {line}; the contender is not called better"


def _doubts(comparison: Comparison) -> Iterator[str]:
    for line in comparison.unlike:
        yield f"not alike: {line}"
    for line in comparison.warnings:
        yield f"warning: {line}"


def _thresholds(comparison: Comparison) -> Iterator[tuple[str, bool]]:
    for contest in comparison.contests:
        for threshold in contest.thresholds:
            value = threshold["value"]
            said = "from 0" if value is None else _percent(value / 100)
            about = f"{threshold['expr']}; {contest.side.name} differs by {said}"
            if threshold["breached"]:
                yield f"threshold breached (exit code 4): {about}", True
            elif contest.unequal:
                yield f"threshold kept, BUT THE LOADS ARE UNEQUAL: not shown that {about}", True
            else:
                yield f"threshold kept: not shown that {about}", False


def _escaped(text: str) -> str:
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
