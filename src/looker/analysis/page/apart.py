"""Charts of several runs, apart by point of a sweep: the reader chooses which one they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.analysis.page.blocks import Block, Chart, Charts, Choices, Text
from looker.analysis.page.charts import lines
from looker.analysis.page.runs import points_of
from looker.analysis.page.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from looker.analysis.page.blocks import Figure
    from looker.analysis.page.runs import Run

MAX_POINTS: Final = 40
"""So many points have charts of their own; the table has all runs."""
_SAID: Final = "Runs of different points are not repeats of each other: each point by itself."


def by_point(
    runs: Sequence[Run], charts_of: Callable[[Sequence[Run]], Sequence[Chart]]
) -> list[Block]:
    """Return the charts of the runs, for each point those of its runs alone."""
    points = points_of(runs)
    if len(points) == 1:
        charts = charts_of(runs)
        return [Charts(charts)] if charts else []
    shown = points[:MAX_POINTS]
    found = [
        {chart.title: chart for chart in charts_of([run for run in runs if run.point == point])}
        for point in shown
    ]
    first: dict[str, Chart] = {}
    for titled in found:
        for title, chart in titled.items():
            first.setdefault(title, chart)
    if not first:
        return []
    blocks: list[Block] = [Text(_SAID)]
    if len(points) > len(shown):
        blocks.append(Text(f"{count(len(points) - len(shown))} more points are in the table only."))
    apart = []
    for title, chart in first.items():
        variants = {
            str(place): titled[title].figure if title in titled else _nothing(chart.figure)
            for place, titled in enumerate(found)
        }
        apart.append(Chart(title, chart.says, variants["0"], variants=variants))
    return [*blocks, Choices((("Point", shown),), apart)]


def _nothing(like: Figure) -> Figure:
    """Return a chart without data, with the titles of another one's axes."""
    titles = [like["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    return lines([], titles[0], titles[1])
