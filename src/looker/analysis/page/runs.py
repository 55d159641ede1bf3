"""The runs of a page, and what each is called."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from looker.analysis.page.gather import stem
from looker.analysis.soundness import target_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from looker.analysis.reports import Report, Side


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a short name that no other one has, the side that it belongs to, its report."""

    name: str
    side: str
    report: Report

    @property
    def plain(self) -> Mapping[str, Any]:
        """The report as it is in the file."""
        return self.report.plain

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
    return [
        Run(name if counts[name] == 1 else str(report.path), side.name, report)
        for (side, report), name in zip(found, names, strict=True)
    ]
