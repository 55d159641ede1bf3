"""A sweep's results in a few lines for a terminal: medians of each point on each target."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from looker.observe import terminal
from looker.sweep.store import read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console, JustifyMethod

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
    console = terminal.console() if console is None else console
    facts = read_facts(root)
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {
        (target, point): [] for point in facts.points for target in facts.targets
    }
    for row in rows:
        by_place[row["target"], row["point"]].append(row)
    figures = [
        (name, title) for name, title in _FIGURES if any(row.get(name) is not None for row in rows)
    ]
    columns: list[tuple[str, JustifyMethod]] = [("target", "left"), ("runs", "right")]
    columns += [(title, "right") for _, title in figures]
    if facts.swept:
        console.print(Text(f"by {', '.join(facts.swept)}", style="italic", overflow="fold"))
        columns.insert(0, ("point", "left"))
    table: list[list[str | Text]] = []
    for (target, point), found in by_place.items():
        sound = [row for row in found if row["error"] is None]
        n_failed = len(found) - len(sound)
        runs = Text(f"{len(sound)}")
        if n_failed:
            runs.append(f" +{n_failed} failed", "red")
        cells = [_number([row.get(name) for row in sound]) for name, _ in figures]
        swept = [", ".join(map(str, facts.points[point].values()))] if facts.swept else []
        table.append([*swept, target, runs, *cells])
    for one in terminal.laid_out(columns, table, console, n_keys=len(columns) - len(figures) - 1):
        console.print(one)


def _number(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    number = median(there)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
