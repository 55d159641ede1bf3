"""The command ``looker sweep``: a matrix of options on several targets, repeated, in turn."""

from pathlib import Path
from typing import Annotated

import typer


def sweep_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What to run, in TOML: see docs/sweep.md.", show_default=False
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Directory of the results; what is done in it already is not done again.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and show the plan; run nothing.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what has failed before.")
    ] = False,
    log_level: Annotated[
        str, typer.Option(help="Least level of log lines: debug, info, warning or error.")
    ] = "info",
) -> None:
    """Read the file, check every run of it, and run what is not done yet."""
    from looker.cli.run import configure_log  # noqa: PLC0415 - only a sweep needs all this
    from looker.cli.sweep import show_plan, sweep  # noqa: PLC0415
    from looker.interruption import end_in_order  # noqa: PLC0415

    end_in_order()
    configure_log(log_level)
    if dry_run:
        show_plan(file, out)
        return
    raise typer.Exit(int(sweep(file, out, again=retry_failed)))
