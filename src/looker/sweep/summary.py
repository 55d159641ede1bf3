"""A sweep's results in a few lines for a terminal: medians of each point on each target."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from looker.sweep.store import read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FIGURES: Final = (
    ("write_samples_per_s", "written/s"),
    ("write_service_ms_p50", "p50 ms"),
    ("write_service_ms_p99", "p99 ms"),
    ("read_samples_per_s", "read/s"),
    ("target_write_cpu_s_per_gb", "target CPU s/GB"),
)


def show_summary(
    root: Path, rows: Sequence[Mapping[str, Any]], console: Console | None = None
) -> None:
    """Print the medians over the sound runs, and how many there are of those that are over.

    ``rows`` are those of the table of all runs.
    """
    console = console or Console(highlight=False)
    facts = read_facts(root)
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {
        (target, point): [] for point in facts.points for target in facts.targets
    }
    for row in rows:
        by_place[row["target"], row["point"]].append(row)
    figures = [
        (name, title) for name, title in _FIGURES if any(row.get(name) is not None for row in rows)
    ]
    table = Table(show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    if facts.swept:
        console.print(Text(f"by {', '.join(facts.swept)}", style="italic", overflow="fold"))
        table.add_column("point", overflow="fold")
    table.add_column("target", no_wrap=True)
    table.add_column("runs", justify="right")
    for _, title in figures:
        table.add_column(title, justify="right")
    for (target, point), found in by_place.items():
        sound = [row for row in found if row["error"] is None]
        n_failed = len(found) - len(sound)
        runs = Text(f"{len(sound)}")
        if n_failed:
            runs.append(f" +{n_failed} failed", "red")
        cells = [_number([row.get(name) for row in sound]) for name, _ in figures]
        swept = [", ".join(map(str, facts.points[point].values()))] if facts.swept else []
        table.add_row(*swept, target, runs, *cells)
    console.print(table)


def _number(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    number = median(there)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
