"""The cycles of a run, and the shares of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.analysis.page.blocks import Block, Cell, Chart, Charts, Fold, Table, Text
from looker.analysis.page.charts import Line, bars, lines
from looker.analysis.page.lookup import at, branches, number, text
from looker.analysis.page.overview import VERDICTS, n_mismatches, tone_of, unit_of
from looker.analysis.page.wording import NONE, count, si, three_digits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from looker.analysis.page.runs import Run

MAX_ROWS: Final = 200
MAX_BARS: Final = 40
_MAX_POINTS: Final = 1000
_PHASES: Final = (("written", "write.samples_per_s"), ("validated", "read.samples_per_s"))


def cycles_of(run: Run) -> list[Block]:
    """Return the charts and the table of the cycles; nothing where there is only one."""
    cycles = branches(run.plain, "cycles")
    if len(cycles) < 2:
        return []
    unit = unit_of(run)
    charts = [
        _by_cycle(cycles, "Rate by cycle", _PHASES, f"{unit}/s", "/s"),
        _by_cycle(
            cycles,
            "Latency p99 by cycle",
            (("push", "write.service_ms.p99"), ("query", "read.service_ms.p99")),
            "ms",
            " ms",
        ),
    ]
    blocks: list[Block] = [Charts([chart for chart in charts if chart is not None])]
    return [*blocks, Fold("All cycles as a table", _cycle_table(cycles, unit))]


def _by_cycle(
    cycles: Sequence[Mapping[str, object]],
    title: str,
    columns: Sequence[tuple[str, str]],
    y_title: str,
    unit: str,
) -> Chart | None:
    found = [(name, [number(cycle, path) for cycle in cycles]) for name, path in columns]
    found = [(name, values) for name, values in found if any(values)]
    if not found:
        return None
    if len(cycles) <= MAX_BARS:
        names = [_name(cycle) for cycle in cycles]
        figure = bars(names, found, "cycle", y_title, unit)
        return Chart(title, _about(cycles), figure)
    step = -(-len(cycles) // _MAX_POINTS)
    places = [number(cycle, "cycle") for cycle in cycles[::step]]
    drawn = [
        Line(name, places, values[::step], look, look, unit)
        for look, (name, values) in enumerate(found)
    ]
    said = _about(cycles) + (f" Every {step}th cycle is shown." if step > 1 else "")
    return Chart(title, said, lines(drawn, "cycle", y_title))


def _about(cycles: Sequence[Mapping[str, object]]) -> str:
    n_warm_up = sum(cycle.get("warm_up") is True for cycle in cycles)
    said = "Each phase by itself."
    return f"{said} The first {count(n_warm_up)} cycle(s) are warm-up." if n_warm_up else said


def _cycle_table(cycles: Sequence[Mapping[str, object]], unit: str) -> list[Block]:
    heads = [
        "cycle",
        "verdict",
        f"{unit} written",
        "s",
        "written, /s",
        "MB/s",
        "push p50, ms",
        "push p99, ms",
        "read, /s",
        "query p99, ms",
        "mismatches",
        "limited by",
    ]
    blocks: list[Block] = []
    if len(cycles) > MAX_ROWS:
        blocks.append(Text(f"The newest {MAX_ROWS} of {count(len(cycles))} cycles."))
    rows = []
    for cycle in cycles[-MAX_ROWS:]:
        verdict = text(cycle, "verdict") or NONE
        wrong = n_mismatches(at(cycle, "read"))
        rows.append(
            [
                Cell(f"{_name(cycle)}{' (warm-up)' * (cycle.get('warm_up') is True)}"),
                Cell(VERDICTS.get(verdict, verdict), tone=tone_of(verdict)),
                Cell(count(number(cycle, "write.samples_acked"))),
                Cell(three_digits(number(cycle, "write.duration_s"))),
                Cell(si(number(cycle, "write.samples_per_s"))),
                Cell(three_digits(number(cycle, "write.payload_mb_per_s"))),
                Cell(three_digits(number(cycle, "write.service_ms.p50"))),
                Cell(three_digits(number(cycle, "write.service_ms.p99"))),
                Cell(si(number(cycle, "read.samples_per_s"))),
                Cell(three_digits(number(cycle, "read.service_ms.p99"))),
                Cell(count(wrong), tone="verdict-failed" if wrong else ""),
                Cell(text(cycle, "write.limited_by") or NONE),
            ]
        )
    table = Table("Cycles", heads, rows, frozenset({0, *range(2, len(heads) - 1)}))
    return [*blocks, table]


def _name(cycle: Mapping[str, object]) -> str:
    return count(number(cycle, "cycle"))


_SHARES: Final = (
    (
        "Samples by worker",
        "samples",
        (("written", "samples_acked"), ("validated", "samples_validated")),
    ),
    ("CPU time by worker", "s", (("writing", "write_cpu_s"), ("reading", "read_cpu_s"))),
    ("Requests by worker", "requests", (("pushes", "pushes_acked"), ("queries", "queries"))),
)
_PATHS: Final = {
    "samples_acked": "write.samples_acked",
    "samples_validated": "read.samples_validated",
    "write_cpu_s": "write.cpu_s",
    "read_cpu_s": "read.cpu_s",
    "pushes_acked": "write.pushes_acked",
    "queries": "read.queries",
}


def workers_of(run: Run) -> list[Block]:
    """Return how the load was shared among the workers; nothing where there was only one."""
    sums: dict[float, dict[str, float]] = {}
    for cycle in branches(run.plain, "cycles"):
        if cycle.get("warm_up") is True:
            continue
        for worker in branches(cycle, "workers"):
            place = number(worker, "worker")
            if place is None:
                continue
            mine = sums.setdefault(place, dict.fromkeys(_PATHS, 0.0))
            for name, path in _PATHS.items():
                mine[name] += number(worker, path) or 0.0
    if len(sums) < 2:
        return []
    ranked = sorted(sums)
    charts = []
    for title, y_title, names in _SHARES:
        columns = [(said, [sums[place][name] for place in ranked]) for said, name in names]
        columns = [(said, values) for said, values in columns if any(values)]
        if columns:
            figure = bars([count(place) for place in ranked], columns, "worker", y_title)
            charts.append(Chart(title, _evenness(columns), figure))
    return [Charts(charts)]


def _evenness(columns: Sequence[tuple[str, Sequence[float]]]) -> str:
    parts = [
        f"{name}: the most that one has is {100 * max(values) * len(values) / sum(values):.0f} % of"
        " the mean"
        for name, values in columns
        if sum(values) > 0
    ]
    return f"{'; '.join(parts)}.".capitalize()
