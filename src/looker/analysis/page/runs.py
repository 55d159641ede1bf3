"""The runs of a page, and what each is called."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from looker.analysis.page.gather import stem
from looker.analysis.soundness import target_of
from looker.sweep.store import is_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from looker.analysis.reports import Report, Side

_NO_POINT: Final = "of no sweep"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a short name that no other one has, the side that it belongs to, its report."""

    name: str
    side: str
    report: Report
    point: str = ""
    """That of its sweep; empty where all runs of the page have the same, or none."""

    @property
    def plain(self) -> Mapping[str, Any]:
        """The report as it is in the file."""
        return self.report.plain

    @property
    def name_in_point(self) -> str:
        """What it is called among the runs of its point."""
        return self.name.replace(f"{self.point}/", "", 1) if self.point else self.name

    @property
    def target(self) -> str:
        """What it wrote to, in a few words."""
        return target_of(self.report)


def runs_of(sides: Sequence[Side]) -> list[Run]:
    """Return all runs, side by side, in the order in which those of a side ran."""
    found = [(side, report) for side in sides for report in side.reports]
    whole = [report.path.absolute() for _, report in found]
    common = os.path.commonpath([path.parent for path in whole])
    names = [stem(str(path.relative_to(common))) for path in whole]
    counts = Counter(names)
    points = [_point_of(path) for path in whole]
    if len(set(points)) == 1:
        points = [""] * len(points)
    return [
        Run(name if counts[name] == 1 else str(report.path), side.name, report, point)
        for (side, report), name, point in zip(found, names, points, strict=True)
    ]


def points_of(runs: Sequence[Run]) -> list[str]:
    """Return the points of sweeps that the runs are of, in their order; one where they are alike.

    What was swept makes runs differ, so those of different points are not shown as repeats.
    """
    return list(dict.fromkeys(run.point for run in runs))


def _point_of(path: Path) -> str:
    """Return the point of a sweep that a report is of; empty where it is of no sweep."""
    # <sweep>/<target>/<point>/<repeat>/report.json
    above = path.parents
    return above[1].name if len(above) > 3 and is_sweep(above[3]) else _NO_POINT
