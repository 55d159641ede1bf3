"""Latency by percentile, from the histograms of a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from looker.analysis.page.blocks import Chart, Figure
from looker.analysis.page.charts import Line, lines
from looker.analysis.page.lookup import text
from looker.analysis.page.wording import count
from looker.model.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from looker.analysis.page.runs import Run

MAX_HISTOGRAMS: Final = 14
"""So many lines can be told apart, by colour and dash."""
_PER_DECADE: Final = 16
_OF_RUN: Final = (
    ("push, one attempt", "totals.write.service_ms"),
    ("push, retries included", "totals.write.push_ms"),
    ("query", "totals.read.service_ms"),
    ("spot check's query", "totals.spot_check.service_ms"),
)


def of_run(run: Run) -> list[Chart]:
    """Return a run's latencies, one chart, or none where nothing was measured."""
    found = [(name, _histogram(run.plain, path)) for name, path in _OF_RUN]
    chart = _chart("Latency by percentile", found)
    return [] if chart is None else [chart]


def of_runs(runs: Sequence[Run]) -> list[Chart]:
    """Return latencies of several runs: merged for each side, where there are several sides."""
    sides = list(dict.fromkeys(run.side for run in runs))
    charts = []
    for title, path in (("Push", "totals.write.service_ms"), ("Query", "totals.read.service_ms")):
        if 1 < len(sides) <= MAX_HISTOGRAMS:
            found = [
                (side, _merged([run for run in runs if run.side == side], path)) for side in sides
            ]
            said = f"{title} latency by percentile, all runs of a side together"
        else:
            shown = runs[:MAX_HISTOGRAMS]
            found = [(run.name_in_point, _histogram(run.plain, path)) for run in shown]
            more = len(runs) - len(found)
            said = f"{title} latency by percentile" + (
                f" (without {count(more)} more runs)" * (more > 0)
            )
        chart = _chart(said, found)
        if chart is not None:
            charts.append(chart)
    return charts


def _merged(runs: Sequence[Run], path: str) -> Histogram | None:
    """Return all runs' values as one: percentiles cannot be averaged, histograms add up."""
    found = [_histogram(run.plain, path) for run in runs]
    known = [one for one in found if one is not None]
    return Histogram.merged(known) if known else None


def _histogram(plain: Mapping[str, object], path: str) -> Histogram | None:
    encoded = text(plain, f"{path}.histogram")
    if encoded is None:
        return None
    try:
        histogram = Histogram.from_base64(encoded)
    except ValueError:
        return None
    return histogram if histogram.n else None


def _chart(title: str, found: Sequence[tuple[str, Histogram | None]]) -> Chart | None:
    known = [(name, histogram) for name, histogram in found if histogram is not None]
    if not known:
        return None
    n_most = max(histogram.n for _, histogram in known)
    drawn = []
    for place, (name, histogram) in enumerate(known):
        # few lines may lie upon each other; of many, seven colours have four dashes
        dash = place if len(known) <= 4 else place // 7
        rarities = list(_rarities(histogram.n))
        values: list[float | None] = [
            histogram.percentile_us(100 - 100 / rarity) / 1000 for rarity in rarities
        ]
        line = Line(f"{name} (n = {count(histogram.n)})", rarities, values, place, dash, " ms")
        drawn.append(line)
    figure = lines(drawn, "percentile", "ms", log=True)
    _percentile_axis(figure, n_most)
    says = (
        "How long the fastest p percent took, at most. Each step to the right is a tenth as many"
        " requests; lines end at the slowest one."
    )
    return Chart(title, says, figure)


def _rarities(n: int) -> Iterator[float]:
    """Yield 1/(1 - p), evenly in the logarithm, to that of the largest of n values."""
    step = 0
    while (rarity := 10 ** (step / _PER_DECADE)) < n:
        yield rarity
        step += 1
    yield float(n)


def _percentile_axis(figure: Figure, n: int) -> None:
    """Make the axis of 1/(1 - p) logarithmic, and name its ticks by p in percent."""
    ticks: list[tuple[float, str]] = [(1, "0"), (2, "50"), (10, "90")]
    decade = 2
    while 10**decade <= 10 * n and decade <= 9:
        nines = f"99.{'9' * (decade - 2)}".rstrip(".")
        ticks.append((10**decade, nines))
        decade += 1
    figure["layout"]["xaxis"] |= {
        "type": "log",
        "tickmode": "array",
        "tickvals": [value for value, _ in ticks],
        "ticktext": [name for _, name in ticks],
        "title": {"text": "percentile of requests, %"},
        "unifiedhovertitle": {"text": "one in %{x:,.3~r} takes longer"},
    }
    for trace in figure["data"]:
        trace["hovertemplate"] = f"%{{customdata}}: {trace['hovertemplate']}"
        trace["customdata"] = [_percentile(rarity) for rarity in trace["x"]]


def _percentile(rarity: float) -> str:
    """Return p of 1/(1 - p) in words, with as many digits as tell it from its neighbours."""
    n_digits = max(1, math.ceil(math.log10(rarity)))
    return f"p{100 - 100 / rarity:.{n_digits}f}" if rarity > 1 else "p0"
