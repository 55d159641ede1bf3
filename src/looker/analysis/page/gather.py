"""What a page is about: the runs of reports, of directories of them, and of sweeps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from looker.analysis.reports import Report, Side, read_report, read_side
from looker.analysis.sides import Match, Matches, part_of, read_matches
from looker.errors import UsageError
from looker.sweep.store import REPORT_FILE, finished_runs, is_sweep, read_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from looker.sweep.store import Record

OPTION: Final = "PATH"
MAX_SIDES: Final = 9
"""So many are compared with each other; more are no repeats of few things."""
_ENDING: Final = "report.json"


@dataclass(frozen=True, slots=True)
class SweptRun:
    """A run of a sweep that has a result: its target, its place in the matrix, its report."""

    target: str
    point: str
    swept: Mapping[str, Any]
    repeat: int
    report: Report


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep: its targets in order, the options that were swept, and what came of its runs."""

    name: str
    targets: Sequence[str]
    swept: Sequence[str]
    runs: Sequence[SweptRun]
    failed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Sides of runs, what is compared with what (or why nothing is), and sweeps."""

    sides: Sequence[Side]
    matches: Matches | None = None
    not_compared: str | None = None
    sweeps: Sequence[Sweep] = field(default_factory=tuple)


def gather(paths: Sequence[Path]) -> Gathered:
    """Read everything; UsageError where a path has no runs, or is given twice."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError(OPTION, "the same one is given twice")
    sides: list[Side] = []
    sweeps = []
    for path in paths:
        if is_sweep(path):
            sweep = _read_sweep(path)
            sweeps.append(sweep)
            sides += _sides_of(sweep, path)
        else:
            sides.append(read_side(path, OPTION))
    if not sides:
        raise UsageError(OPTION, f"{paths[0]} has no run with a result yet")
    short = _short_names([Path(side.name) for side in sides])
    named = [Side(name, side.reports) for name, side in zip(short, sides, strict=True)]
    matches, reason = _matches(paths, named)
    return Gathered(named, matches, reason, sweeps)


def _read_sweep(path: Path) -> Sweep:
    facts = read_facts(path)
    runs, failed = [], []
    for place, record in finished_runs(path, facts):
        if record.error is None:
            report = read_report(place / REPORT_FILE, OPTION)
            runs.append(SweptRun(record.target, record.point, record.swept, record.repeat, report))
        else:
            failed.append(_said(record))
    return Sweep(path.name, facts.targets, facts.swept, runs, failed)


def _said(record: Record) -> str:
    return f"{record.target}/{record.point}/{record.repeat}: {record.error}"


def _sides_of(sweep: Sweep, path: Path) -> list[Side]:
    """Return the targets that have runs."""
    sides = []
    for target in sweep.targets:
        reports = [run.report for run in sweep.runs if run.target == target]
        if reports:
            ranked = sorted(reports, key=lambda report: report.started_at)
            sides.append(Side(str(path / target), ranked))
    return sides


def _matches(paths: Sequence[Path], sides: Sequence[Side]) -> tuple[Matches | None, str | None]:
    """Return what is to be compared, or why that cannot be; neither for a single side."""
    if len(sides) < 2:
        return None, None
    if max(len(sides), len(paths)) > MAX_SIDES:
        return None, (
            f"{len(sides):,} sides are too many to compare: give directories of repeats, at most"
            f" {MAX_SIDES}"
        )
    try:
        if len(paths) == 1 or any(part_of(path, OPTION) is not None for path in paths):
            return _renamed(read_matches(paths[0], paths[1:])), None
    except UsageError as error:
        return None, str(error).partition(": ")[2]
    return Matches([Match(sides[0], side) for side in sides[1:]]), None


def _renamed(found: Matches) -> Matches:
    """Return the matches of sweeps with sides named as short as the page names them."""
    sides = {
        id(side): side for match in found.matches for side in (match.baseline, match.contender)
    }
    names = _short_names([Path(side.name) for side in sides.values()])
    renamed = {
        key: Side(name, side.reports)
        for (key, side), name in zip(sides.items(), names, strict=True)
    }
    matches = [
        Match(renamed[id(match.baseline)], renamed[id(match.contender)], match.point)
        for match in found.matches
    ]
    return Matches(matches, found.notes)


def _short_names(paths: Iterable[Path]) -> list[str]:
    """Return the paths from the directory on that is common to all."""
    whole = [path.absolute() for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    return [stem(str(path.relative_to(common))) for path in whole]


def stem(path: str) -> str:
    """Return a path without what every report's name ends in."""
    return path.removesuffix(_ENDING).rstrip("./-") or Path(path).name
