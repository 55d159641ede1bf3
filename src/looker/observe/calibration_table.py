"""A calibration as a table for a terminal: where the time goes, and what comes of it."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from looker.model.calibration import WRITE_STAGES, Stage
from looker.model.config import Mode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from looker.model.calibration import Calibration, LoadCeiling, Measured

_NAMES: Final = {
    Stage.GENERATE: "generate and encode",
    Stage.COMPRESS: "compress",
    Stage.PUSH: "push",
    Stage.VALIDATE: "validate",
}
_BAR_CHARS: Final = 10
_NAME_CHARS: Final = 43
"""Names, shares and paddings."""
_COLUMN_CHARS: Final = 13
_DIM: Final = "dim"


def show(calibration: Calibration, console: Console | None = None) -> None:
    """Print what was measured."""
    console = console or Console(highlight=False)
    host = calibration.environment
    cores = f"{host['n_usable_cores']} usable cores"
    title = " · ".join(
        part for part in ("calibration of this host", host["cpu_model"], cores) if part
    )
    parts: list[RenderableType] = [Text(title, style="italic", overflow="fold")]
    for load in calibration.loads:
        parts += _load(load, console.width)
    console.print(Group(*parts))


def _load(load: LoadCeiling, width: int) -> list[RenderableType]:
    n_columns = max(1, (width - _NAME_CHARS) // _COLUMN_CHARS)
    # the largest numbers of workers, and one worker to compare with
    shown = load.measured[-n_columns:]
    if n_columns > 1 and len(load.measured) > n_columns:
        shown = (load.measured[0], *shown[1:])
    return [
        Text(""),
        _shape(load),
        Text(""),
        _table(load, shown),
        Text(""),
        _summary(load),
        *([_notes(load)] if load.notes() else []),
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


def _table(load: LoadCeiling, shown: tuple[Measured, ...]) -> Table:
    best = load.best
    table = Table(show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(f"{load.unit}/s", no_wrap=True, header_style=_DIM)
    table.add_column("share of CPU", no_wrap=True, header_style=_DIM)
    for one in shown:
        name = f"{one.n_workers} worker{'s' if one.n_workers > 1 else ''}"
        table.add_column(name, justify="right", no_wrap=True, header_style="bold")
    for stage in Stage:
        costliest = stage is best.costliest
        table.add_row(
            Text(_NAMES[stage], style="yellow" if costliest else ""),
            _bar(best.share(stage), "yellow" if costliest else "cyan"),
            *(rounded(one.samples_per_s(stage)) for one in shown),
        )
    table.add_section()
    table.add_row(
        Text("written, all stages at once", style="bold"),
        "",
        *(
            Text(rounded(one.write.samples_per_s), style="bold green" if one is best else "")
            for one in shown
        ),
    )
    rows = (
        ("  payload MB/s", [rounded(one.payload_mb_per_s) for one in shown]),
        ("  wire MB/s", [rounded(one.wire_mb_per_s) for one in shown]),
        ("  cores busy: workers", [f"{one.cores_busy:.1f}" for one in shown]),
        ("  cores busy: null target", [f"{one.target_cores_busy:.1f}" for one in shown]),
    )
    for name, cells in rows:
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
    workers = f"with {best.n_workers} worker{'s' if best.n_workers > 1 else ''}"
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
