"""What to know before the figures of a comparison are believed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from looker.errors import ExitCode
from looker.model.limit import NOT_THE_TARGET
from looker.model.verdict import Verdict
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from looker.analysis.reports import Report, Side

MAX_SPREAD: Final = 0.1
"""A median absolute deviation above this part of the median is worth a warning."""
_MAX_CHARS: Final = 200
_SOUND: Final = (Verdict.PASSED, Verdict.NOT_CHECKED)
_NO_FAULT: Final = (ExitCode.PASSED, ExitCode.THRESHOLD)


def warnings_of(side: Side) -> list[str]:
    """Return what makes one side's figures doubtful."""
    n_runs = len(side.reports)
    counts = Counter(fault for report in side.reports for fault in set(_faults(report)))
    lines = [f"{side.name}: {n} of {n_runs} run(s) {fault}" for fault, n in sorted(counts.items())]
    targets = dict.fromkeys(target_of(report) for report in side.reports)
    if len(targets) > 1:
        lines.append(f"{side.name}: its runs are of different targets: {'; '.join(targets)}")
    return lines


def _faults(report: Report) -> Iterator[str]:
    plain = report.plain
    if not report.is_finished:
        yield (
            "UNFINISHED: killed, or still going on: its figures are those of its cycles so far,"
            " and its verdict is none"
        )
    elif plain["verdict"] not in _SOUND:
        yield f"ended with the verdict {one_line(str(plain['verdict']), _MAX_CHARS)}"
    elif plain["exit_code"] not in _NO_FAULT:
        yield f"ended with exit code {plain['exit_code']}"
    if plain.get("stood_still_s"):
        yield "stood still for a while, stopped or with the machine asleep (stood_still_s)"
    if isinstance(plain.get("error"), str):
        yield f"never began: {one_line(plain['error'], _MAX_CHARS)}"
    write = report.totals.get("write") or {}
    if write.get("limited_by") in NOT_THE_TARGET:
        yield f"limited by {write['limited_by']}: their throughput is not the target's capacity"
    read = report.totals.get("read") or {}
    if read.get("limited_by") in NOT_THE_TARGET:
        yield (
            f"limited in reading by {read['limited_by']}: their reading throughput is not the"
            " target's capacity"
        )
    if write.get("latency_distorted"):
        yield "with latencies distorted by Looker's own event loop (latency_distorted)"


def spread_warning(side: Side, spreads: Iterable[tuple[str, float | None]]) -> str | None:
    """Return which metrics of a side scatter, by their path and relative spread; None if none."""
    large = dict.fromkeys(
        f"{path} by {100 * spread:.0f} %"
        for path, spread in spreads
        if spread is not None and spread > MAX_SPREAD
    )
    if not large:
        return None
    return f"{side.name}: unstable, its runs differ in {', '.join(large)} (median deviation)"


def order_warning(baseline: Side, contender: Side) -> str | None:
    """Return a line where one side's runs all precede the other's, and are several."""
    sides: Sequence[Side] = (baseline, contender)
    if min(len(side.reports) for side in sides) < 2:
        return None
    first, second = sorted(sides, key=lambda side: side.reports[0].started_at)
    if first.reports[-1].started_at >= second.reports[0].started_at:
        return None
    return (
        f"all runs of {first.name} precede those of {second.name}: what changed meanwhile on host"
        " or network looks like a difference; run the two in turn"
    )


def target_of(report: Report) -> str:
    """Return what a run wrote to, in a few words."""
    target = report.plain["target"]
    # an embedded target is another one each time, at another port
    keys = ("version",) if target.get("embedded") else ("product", "version", "url")
    words = [str(target[key]) for key in keys if target.get(key)]
    if target.get("embedded"):
        words.insert(0, "embedded target")
    return one_line(" ".join(words), _MAX_CHARS)
