"""A calibration as a table for a terminal: where the time goes, and what comes of it."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from looker.model.calibration import WRITE_STAGES, Stage
from looker.model.config import Mode
from looker.observe import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from looker.model.calibration import Calibration, LoadCeiling, Measured

_NAMES: Final = {
    Stage.GENERATE: "generate and encode",
    Stage.COMPRESS: "compress",
    Stage.PUSH: "push",
    Stage.VALIDATE: "validate",
}
_BAR_CHARS: Final = 10
_WRITTEN: Final = "written, all stages at once"
_DIM: Final = "dim"


def show(calibration: Calibration, console: Console | None = None) -> None:
    """Print what was measured."""
    console = terminal.console() if console is None else console
    host = calibration.environment
    cores = f"{host['n_usable_cores']} usable cores"
    title = " · ".join(
        part for part in ("calibration of this host", host["cpu_model"], cores) if part
    )
    parts: list[RenderableType] = [Text(title, style="italic", overflow="fold")]
    for load in calibration.loads:
        parts += _load(load, console)
    console.print(Group(*parts))


def _load(load: LoadCeiling, console: Console) -> list[RenderableType]:
    return [
        Text(""),
        _shape(load),
        Text(""),
        *_figures(load, console),
        Text(""),
        _summary(load),
        *([_notes(load)] if load.notes() else []),
    ]


def _figures(load: LoadCeiling, console: Console) -> Sequence[RenderableType]:
    """Return a table of as many numbers of workers as there is room for.

    The largest ones, and one worker to compare with; where there is no room for one, its figures
    one below the other.
    """
    shown = load.measured
    while True:
        table = _table(load, shown)
        if terminal.fits(table, console):
            return [table]
        if len(shown) == 1:
            return terminal.one_below_the_other(
                [(Text(_workers(shown[0]), "bold"), [(n, c[0]) for n, c in _rows(shown)])]
            )
        shown = (shown[0], *shown[2:]) if len(shown) > 2 else shown[-1:]


def _workers(one: Measured) -> str:
    return f"{one.n_workers} worker{'s' if one.n_workers > 1 else ''}"


def _rows(shown: Sequence[Measured]) -> list[tuple[str, list[str]]]:
    """Return what was measured, by name, for each number of workers."""
    return [
        *((_NAMES[stage], [rounded(one.samples_per_s(stage)) for one in shown]) for stage in Stage),
        (_WRITTEN, [rounded(one.write.samples_per_s) for one in shown]),
        ("  payload MB/s", [rounded(one.payload_mb_per_s) for one in shown]),
        ("  wire MB/s", [rounded(one.wire_mb_per_s) for one in shown]),
        ("  cores busy: workers", [f"{one.cores_busy:.1f}" for one in shown]),
        ("  cores busy: null target", [f"{one.target_cores_busy:.1f}" for one in shown]),
    ]


def _shape(load: LoadCeiling) -> Text:
    config = load.config
    is_logs = config.mode is Mode.LOGS
    n_fragments = config.n_fragments_per_message
    return Text.assemble(
        (config.mode.value, "bold"),
        f": {config.n_streams:,} {'streams' if is_logs else 'series'}; a push holds"
        f" {n_fragments:,} fragment{'s' if n_fragments > 1 else ''} of"
        f" {config.n_samples_per_fragment:,} {load.unit}",
        f" of {config.n_chars_per_line:,} characters" if is_logs else "",
        f"; compressability {config.compressability.value}",
        overflow="fold",
    )


def _table(load: LoadCeiling, shown: Sequence[Measured]) -> Table:
    best = load.best
    table = Table(show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(f"{load.unit}/s", no_wrap=True, header_style=_DIM)
    table.add_column("share of CPU", no_wrap=True, header_style=_DIM)
    for one in shown:
        table.add_column(_workers(one), justify="right", no_wrap=True, header_style="bold")
    rows = _rows(shown)
    for stage, (name, cells) in zip(Stage, rows, strict=False):
        costliest = stage is best.costliest
        table.add_row(
            Text(name, style="yellow" if costliest else ""),
            _bar(best.share(stage), "yellow" if costliest else "cyan"),
            *cells,
        )
    table.add_section()
    (name, cells), *further = rows[len(Stage) :]
    styles = ["bold green" if one is best else "" for one in shown]
    table.add_row(
        Text(name, style="bold"),
        "",
        *(Text(cell, style=style) for cell, style in zip(cells, styles, strict=True)),
    )
    for name, cells in further:
        table.add_row(Text(name, style=_DIM), "", *cells)
    return table


def _bar(share: float, style: str) -> Text:
    n_full = round(share * _BAR_CHARS)
    return Text.assemble(
        (f"{100 * share:3.0f} % ", style),
        ("█" * n_full, style),
        ("·" * (_BAR_CHARS - n_full), _DIM),
    )


def _summary(load: LoadCeiling) -> Table:
    best = load.best
    of_writing = sum(best.share(stage) for stage in WRITE_STAGES)
    share = 100 * best.share(best.costliest) / of_writing if of_writing else 0.0
    workers = f"with {_workers(best)}"
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    grid.add_row(
        "largest load",
        Text.assemble(
            # what others take away, a quiet host would offer on top
            "at least " if load.disturbed else "",
            (
                f"{rounded(best.write.samples_per_s)} {load.unit}/s",
                "bold yellow" if load.disturbed else "bold green",
            ),
            f", {rounded(best.payload_mb_per_s)} MB/s of payload,"
            f" {rounded(best.wire_mb_per_s)} MB/s on the wire, {workers}",
        ),
    )
    grid.add_row(
        "bottleneck",
        Text.assemble(
            (_NAMES[best.costliest], "bold yellow"), f", {share:.0f} % of the CPU of writing"
        ),
    )
    grid.add_row(
        "reading back",
        f"{rounded(best.samples_per_s(Stage.VALIDATE))} {load.unit}/s validated {workers},"
        " transfer not counted",
    )
    return grid


def _notes(load: LoadCeiling) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold", style="yellow")
    for note in load.notes():
        grid.add_row("•", note)
    return grid


def rounded(number: float) -> str:
    """Return a number with three significant digits: more of them would be noise."""
    if number <= 0:
        return "0"
    digits = 2 - floor(log10(number))
    return f"{round(number, digits):,.{max(0, digits)}f}"
