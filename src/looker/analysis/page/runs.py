"""The runs of a page: which there are, and what each is called."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from looker.analysis.reports import Report, Side
from looker.analysis.soundness import target_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDING = "report.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a short name that no other one has, the side that it belongs to, its report."""

    name: str
    side: str
    report: Report

    @property
    def plain(self) -> dict[str, object]:
        """The report as it is in the file."""
        return dict(self.report.plain)

    @property
    def target(self) -> str:
        """What it wrote to, in a few words."""
        return target_of(self.report)


def named_sides(sides: Sequence[Side]) -> list[Side]:
    """Return the sides under names without the directories that all have in common."""
    if len(sides) < 2:
        return list(sides)
    names = _short([Path(side.name) for side in sides])
    # the same path given twice, or a name that cutting has made equal to another
    counts = Counter(names)
    return [
        Side(side.name if counts[name] > 1 else name, side.reports)
        for side, name in zip(sides, names, strict=True)
    ]


def runs_of(sides: Sequence[Side]) -> list[Run]:
    """Return all runs, side by side, in the order in which those of a side ran."""
    found = [(side, report) for side in sides for report in side.reports]
    names = _short([report.path for _, report in found])
    counts = Counter(names)
    return [
        Run(name if name and counts[name] == 1 else str(report.path), side.name, report)
        for (side, report), name in zip(found, names, strict=True)
    ]


def _short(paths: Sequence[Path]) -> list[str]:
    """Return the paths from the directory on that is common to all."""
    whole = [path.absolute() for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    return [_stem(str(path.relative_to(common))) for path in whole]


def _stem(path: str) -> str:
    """Return a path without what every report's name ends in."""
    stem = path.removesuffix(_ENDING).rstrip("./-")
    return stem or Path(path).name
