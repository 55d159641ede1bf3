"""A sweep: each figure as a heat map over two options, or as lines over one."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from looker.analysis.metrics import DEFAULT_METRICS, Better, better
from looker.analysis.page.blocks import (
    Block,
    Cell,
    Chart,
    Choices,
    Fold,
    Heading,
    Listing,
    Table,
    Text,
)
from looker.analysis.page.charts import Line, exact, heat, lines
from looker.analysis.page.lookup import number
from looker.analysis.page.overview import n_mismatches
from looker.analysis.page.wording import count, three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from looker.analysis.page.blocks import Figure
    from looker.analysis.page.gather import Sweep, SweptRun

MAX_LINES: Final = 14
MAX_TARGETS: Final = 8
MAX_CELLS: Final = 2000
_MAX_ROWS: Final = 400
_MAX_FAILED: Final = 20
_METRICS: Final = tuple(
    dict.fromkeys(("write.samples_per_s", "write.payload_mb_per_s", *DEFAULT_METRICS))
)
_UNITS: Final = (
    ("samples_per_s", "samples/s"),
    ("payload_mb_per_s", "MB/s"),
    ("service_ms", "ms"),
    ("push_ms", "ms"),
    ("cpu_s", "s"),
    ("rss_bytes", "bytes"),
)
_HEAT: Final = "heat map"

Point = tuple[str, ...]
"""The values of the swept options, as JSON, in the options' order."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """The values of one figure, of all repeats, by target and point."""

    path: str
    values: Mapping[tuple[str, Point], Sequence[float]]

    def median(self, target: str, point: Point) -> float | None:
        found = self.values.get((target, point))
        return statistics.median(found) if found else None

    @property
    def title(self) -> str:
        unit = next((unit for part, unit in _UNITS if part in self.path), "")
        return f"{self.path}, {unit}" if unit else self.path


@dataclass(frozen=True, slots=True)
class _Axes:
    """What was swept: the options with several values, and these in order."""

    targets: Sequence[str]
    options: Sequence[str]
    values: Sequence[Sequence[str]]
    points: Sequence[Point]


def swept(sweep: Sweep) -> list[Block]:
    """Return the section of one sweep: charts to choose from, all medians, what failed."""
    blocks: list[Block] = [Heading(sweep.name)]
    axes = _axes(sweep)
    grids = [grid for path in _METRICS if (grid := _grid(sweep, axes, path)) is not None]
    if grids and axes.options:
        n_repeats = len({run.repeat for run in sweep.runs})
        told = (
            f"Medians over up to {n_repeats} repeat(s); bars reach from the lowest to the highest."
        )
        blocks += [Text(told), *_choices(axes, grids)]
    if grids:
        blocks.append(Fold("All medians as a table", _table(sweep, axes, grids)))
    if sweep.failed:
        shown = list(sweep.failed[:_MAX_FAILED])
        more = len(sweep.failed) - len(shown)
        title = f"{count(len(sweep.failed))} run(s) failed and are left out"
        shown += [f"and {count(more)} more"] if more else []
        blocks.append(Listing(title, shown, "error"))
    return blocks


def _axes(sweep: Sweep) -> _Axes:
    targets = list(dict.fromkeys(run.target for run in sweep.runs))
    by_option = {
        option: _ordered({_value(run, option) for run in sweep.runs}) for option in sweep.swept
    }
    options = [option for option, values in by_option.items() if len(values) > 1]
    points = dict.fromkeys(_point(run, options) for run in sweep.runs)
    return _Axes(targets, options, [by_option[option] for option in options], list(points))


def _value(run: SweptRun, option: str) -> str:
    value = run.swept.get(option)
    return value if isinstance(value, str) else json.dumps(value)


def _point(run: SweptRun, options: Iterable[str]) -> Point:
    return tuple(_value(run, option) for option in options)


def _ordered(values: Iterable[str]) -> list[str]:
    """Return values in the order of numbers, and texts behind them."""

    def key(value: str) -> tuple[int, float, str]:
        try:
            return 0, float(value), value
        except ValueError:
            return 1, 0.0, value

    return sorted(values, key=key)


def _grid(sweep: Sweep, axes: _Axes, path: str) -> _Grid | None:
    values: dict[tuple[str, Point], list[float]] = {}
    for run in sweep.runs:
        value = number(run.report.plain, f"totals.{path}")
        if value is not None:
            values.setdefault((run.target, _point(run, axes.options)), []).append(value)
    return _Grid(path, values) if values else None


def _choices(axes: _Axes, grids: Sequence[_Grid]) -> list[Block]:
    """Return charts of which the reader chooses what they show, and over which option."""
    targets = axes.targets[:MAX_TARGETS]
    views: list[tuple[str, Callable[[_Grid, str], Figure]]] = []
    if len(axes.options) == 2 and len(axes.values[0]) * len(axes.values[1]) <= MAX_CELLS:
        views.append((_HEAT, lambda grid, target: _heat(axes, grid, target)))
    for place, option in enumerate(axes.options):
        views.append((f"lines over {option}", _lines_over(axes, place)))
    # with a single option, the targets are lines of one chart
    charts = targets if len(axes.options) > 1 else [""]
    names = [grid.title for grid in grids]
    figures = [
        {
            f"{row},{column}": view(grid, chart)
            for row, grid in enumerate(grids)
            for column, (_, view) in enumerate(views)
        }
        for chart in charts
    ]
    shown = [
        Chart(chart or "All targets", _says(axes), variants["0,0"], variants=variants)
        for chart, variants in zip(charts, figures, strict=True)
    ]
    blocks: list[Block] = [
        Choices((("Figure", names), ("View", [name for name, _ in views])), shown)
    ]
    more = len(axes.targets) - len(targets)
    if more > 0 and len(axes.options) > 1:
        blocks.append(Text(f"{count(more)} more targets are in the table only."))
    return blocks


def _says(axes: _Axes) -> str:
    return f"Swept: {', '.join(axes.options)}. All targets' charts have the same scale."


def _heat(axes: _Axes, grid: _Grid, target: str) -> Figure:
    columns, rows = axes.values
    values = [[grid.median(target, (column, row)) for column in columns] for row in rows]
    figure = heat(columns, rows, values, (axes.options[0], axes.options[1], grid.title))
    every = [statistics.median(found) for found in grid.values.values()]
    figure["data"][0] |= {"zmin": min(every), "zmax": max(every)}
    if better(grid.path) is Better.LOWER:
        # what is good is bright
        figure["data"][0]["reversescale"] = True
    return figure


def _lines_over(axes: _Axes, place: int) -> Callable[[_Grid, str], Figure]:
    """Return what draws a figure over one option: a line for each combination of the others."""

    def drawn(grid: _Grid, target: str) -> Figure:
        named: dict[str, tuple[str, Point]] = {}
        for one in [target] if target else axes.targets:
            for point in axes.points:
                others = point[:place] + point[place + 1 :]
                options = [*axes.options[:place], *axes.options[place + 1 :]]
                said = ", ".join(
                    f"{option}={value}" for option, value in zip(options, others, strict=True)
                )
                named.setdefault(said if target else one, (one, point))
        names = _ordered(named) if target else list(named)
        found = []
        for look, name in enumerate(names[:MAX_LINES]):
            one, point = named[name]
            along = [
                grid.values.get((one, (*point[:place], value, *point[place + 1 :])))
                for value in axes.values[place]
            ]
            found.append((Line(name, [], [], look, look // 7), along))
        figure = lines([line for line, _ in found], axes.options[place], grid.title, markers=True)
        for trace, (_, along) in zip(figure["data"], found, strict=True):
            _fill(trace, axes.values[place], along)
        highest = max(max(values) for values in grid.values.values())
        figure["layout"]["xaxis"] |= {"type": "category"}
        figure["layout"]["yaxis"] |= _axis_to(highest)
        return figure

    return drawn


def _fill(
    trace: dict[str, Any], values: Sequence[str], along: Sequence[Sequence[float] | None]
) -> None:
    """Give a trace its medians, and bars from the lowest to the highest of the repeats."""
    middles = [statistics.median(found) if found else None for found in along]
    spans = [
        (None, None) if not found or middle is None else (max(found) - middle, middle - min(found))
        for found, middle in zip(along, middles, strict=True)
    ]
    trace["x"] = list(values)
    trace["y"] = exact(middles)
    trace["error_y"] = {
        "type": "data",
        "symmetric": False,
        "array": exact([above for above, _ in spans]),
        "arrayminus": exact([below for _, below in spans]),
        "thickness": 1.5,
        "width": 4,
    }


def _axis_to(highest: float) -> dict[str, Any]:
    if highest <= 0:
        return {}
    return {"range": [0, 1.05 * highest], "tickformat": ",.3~s" if highest >= 5000 else ",~r"}


def _table(sweep: Sweep, axes: _Axes, grids: Sequence[_Grid]) -> list[Block]:
    heads = ["target", *axes.options, "runs", "mismatches", *(grid.title for grid in grids)]
    counts: dict[tuple[str, Point], int] = {}
    wrong: dict[tuple[str, Point], float] = {}
    for run in sweep.runs:
        key = run.target, _point(run, axes.options)
        counts[key] = counts.get(key, 0) + 1
        found = n_mismatches(run.report.totals.get("read"))
        if found is not None:
            wrong[key] = wrong.get(key, 0.0) + found
    rows = [
        [
            Cell(target),
            *(Cell(value) for value in point),
            Cell(count(n_runs)),
            Cell(
                count(wrong.get((target, point))),
                tone="verdict-failed" if wrong.get((target, point)) else "",
            ),
            *(Cell(three_digits(grid.median(target, point))) for grid in grids),
        ]
        for (target, point), n_runs in list(counts.items())[:_MAX_ROWS]
    ]
    more = len(counts) - len(rows)
    told: list[Block] = [Text(f"{count(more)} more are not shown.")] if more else []
    numeric = frozenset(range(1, len(heads)))
    return [*told, Table(f"Medians of {sweep.name}", heads, rows, numeric)]
