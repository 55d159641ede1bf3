"""Plotly figures as plain JSON: lines, bars, intervals, heat maps.

Texts, grids and backgrounds have no colour here: the page gives them that of its theme, and maps
the colours of ``PALETTE`` to brighter ones where it is dark (``page.js``).
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from looker.observe.examples import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.analysis.page.blocks import Figure

BLUE: Final = "#0072b2"
VERMILLION: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#a8527f"
ORANGE: Final = "#b87d00"
SKY: Final = "#3a93c9"
GREY: Final = "#737373"
PALETTE: Final = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
"""Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), darkened where they are too light for
lines on white; told apart with every form of colour blindness."""
DASHES: Final = ("solid", "dash", "dot", "dashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star")

EXACT: Final = ",.12~r"
"""How tooltips show values, in d3's words: all digits that there are."""

_MARGIN: Final = {"l": 64, "r": 16, "t": 36, "b": 48}
_HEIGHT: Final = 300
_ROW: Final = 34
_MAX_NAME_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart; ``look`` chooses colour, and dash where ``dash`` is not given."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    look: int = 0
    dash: int = 0
    unit: str = ""


def shown(text: str) -> str:
    """Return a text as plotly must have it, which reads some HTML in all of them."""
    return html.escape(visible(text), quote=False)


def label(text: str) -> str:
    """Return a name as plotly must have it; a long one is cut."""
    cut = text if len(text) <= _MAX_NAME_CHARS else f"…{text[1 - _MAX_NAME_CHARS :]}"
    return shown(cut)


def lines(
    wanted: Sequence[Line],
    x_title: str,
    y_title: str,
    *,
    log: bool = False,
    markers: bool = False,
) -> Figure:
    """Return lines over a common axis; one that is linear begins at 0."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if markers or _has_loner(line.y) else "lines",
            "name": label(line.name),
            "x": exact(line.x),
            "y": exact(line.y),
            "line": {
                "color": PALETTE[line.look % len(PALETTE)],
                "dash": DASHES[line.dash % len(DASHES)],
                "width": 2,
            },
            "marker": {"size": 6, "symbol": SYMBOLS[line.look % len(SYMBOLS)]},
            "hovertemplate": f"%{{y:{EXACT}}}{shown(line.unit)}",
        }
        for line in wanted
    ]
    layout = _layout(x_title, y_title, legend=len(traces) > 1)
    layout["hovermode"] = "x unified"
    if log:
        layout["yaxis"] |= log_axis([y for line in wanted for y in line.y])
    else:
        layout["yaxis"] |= linear_axis([y for line in wanted for y in line.y])
    return {"data": traces, "layout": layout}


def bars(
    names: Sequence[str],
    columns: Sequence[tuple[str, Sequence[float | None]]],
    x_title: str,
    y_title: str,
    unit: str = "",
) -> Figure:
    """Return grouped bars: for each name one of every column."""
    traces = [
        {
            "type": "bar",
            "name": label(name),
            "x": [label(one) for one in names],
            "y": exact(values),
            "marker": {"color": PALETTE[place % len(PALETTE)]},
            "hovertemplate": f"%{{y:{EXACT}}}{shown(unit)}",
        }
        for place, (name, values) in enumerate(columns)
    ]
    layout = _layout(x_title, y_title, legend=len(traces) > 1)
    layout |= {"hovermode": "x unified", "barmode": "group", "bargap": 0.35}
    layout["xaxis"]["type"] = "category"
    layout["yaxis"] |= linear_axis([value for _, values in columns for value in values])
    return {"data": traces, "layout": layout}


@dataclass(frozen=True, slots=True)
class Interval:
    """A row of a forest plot, in percent; ``look`` is a colour of the palette."""

    name: str
    middle: float
    low: float | None
    high: float | None
    look: int
    symbol: int
    note: str


def forest(rows: Sequence[Interval], x_title: str) -> Figure:
    """Return intervals one below the other, the first one on top, and a line at 0."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "difference",
        "x": [row.middle for row in rows],
        "y": [label(row.name) for row in rows],
        "marker": {
            "size": 11,
            "color": [PALETTE[row.look] for row in rows],
            "symbol": [SYMBOLS[row.symbol] for row in rows],
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [None if row.high is None else row.high - row.middle for row in rows],
            "arrayminus": [None if row.low is None else row.middle - row.low for row in rows],
            "color": GREY,
            "thickness": 2,
            "width": 5,
        },
        "customdata": [shown(row.note) for row in rows],
        "hovertemplate": "%{y}<br>%{customdata}<extra></extra>",
    }
    layout = _layout(x_title, "", legend=False)
    layout["hovermode"] = "closest"
    layout["height"] = _ROW * len(rows) + 90
    layout["margin"] = _MARGIN | {"t": 12}
    layout["yaxis"] |= {"autorange": "reversed", "type": "category", "automargin": True}
    layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2, "ticksuffix": " %"}
    return {"data": [trace], "layout": layout}


def heat(
    columns: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[float | None]],
    titles: tuple[str, str, str],
) -> Figure:
    """Return a heat map, its values written into the cells; titles: of x, of y, of the values."""
    x_title, y_title, z_title = titles
    trace = {
        "type": "heatmap",
        "name": shown(z_title),
        "x": [label(one) for one in columns],
        "y": [label(one) for one in rows],
        "z": [list(row) for row in values],
        "texttemplate": "%{z:.3~s}",
        # dark to light, its lightness rising evenly with every form of colour blindness
        "colorscale": "Cividis",
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"thickness": 12, "tickformat": "~s"},
        "hovertemplate": (
            f"{shown(x_title)} %{{x}}<br>{shown(y_title)} %{{y}}<br>"
            f"{shown(z_title)} %{{z:{EXACT}}}<extra></extra>"
        ),
    }
    layout = _layout(x_title, y_title, legend=False)
    layout["hovermode"] = "closest"
    layout["margin"] = _MARGIN | {"t": 12}
    layout["height"] = max(_HEIGHT, 44 * len(rows) + 90)
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"type": "category", "automargin": True, "showgrid": False}
    return {"data": [trace], "layout": layout}


def shaded(figure: Figure, end: float, name: str) -> Figure:
    """Return the figure with its part from 0 to ``end`` shaded, and named."""
    layout = figure["layout"]
    layout["shapes"] = [
        {
            "type": "rect",
            "x0": 0,
            "x1": end,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": GREY,
            "opacity": 0.14,
            "layer": "below",
            "line": {"width": 0},
        }
    ]
    layout["annotations"] = [
        {
            "x": 0,
            "y": 1,
            "xref": "paper",
            "yref": "paper",
            "text": shown(name),
            "font": {"size": 10},
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "top",
        }
    ]
    return figure


def _layout(x_title: str, y_title: str, *, legend: bool) -> dict[str, Any]:
    return {
        "height": _HEIGHT,
        "margin": dict(_MARGIN if legend else _MARGIN | {"t": 16}),
        "showlegend": legend,
        # above the plot, so that it never takes the width of a narrow one
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {
            "title": {"text": shown(x_title)},
            "automargin": True,
            "zeroline": False,
            # room between the labels of the two axes
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
        },
        "yaxis": {
            "title": {"text": shown(y_title), "standoff": 10},
            "automargin": True,
            "zeroline": False,
        },
    }


def _has_loner(values: Sequence[float | None]) -> bool:
    """Whether a value has no neighbour that a line could lead to: it wants a mark to be seen."""
    padded = [None, *values, None]
    return any(
        one is not None and before is None and after is None
        for before, one, after in zip(padded, padded[1:], padded[2:], strict=False)
    )


def exact(values: Sequence[float | None]) -> list[float | None]:
    """Return the values as the page keeps them: seven digits, whole numbers in full.

    What is not finite is no value: JSON has none such.
    """
    return [
        None
        if value is None or not math.isfinite(value)
        else int(value)
        if value == int(value)
        else float(f"{value:.7g}")
        for value in values
    ]


def linear_axis(values: Sequence[float | None]) -> dict[str, Any]:
    """Return an axis from 0 on; only thousands and more have an SI prefix, no milli or micro."""
    highest = max((value for value in values if value is not None), default=0.0)
    return {"rangemode": "tozero", "tickformat": ",.3~s" if highest >= 5000 else ",~r"}


def log_axis(values: Sequence[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at 1, 2 and 5, which are written in full."""
    positive = [value for value in values if value is not None and value > 0]
    spread = max(positive) / min(positive) if positive else 1.0
    # more ticks than that would overlap
    return {"type": "log", "dtick": "D2" if spread < 1000 else 1, "tickformat": ",~r"}
