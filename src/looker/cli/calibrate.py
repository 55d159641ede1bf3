"""One calibration from checked configurations: measuring, table, JSON."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import typer

from looker.cli.run import configure_log
from looker.clock import SystemClock
from looker.engine.calibration import calibrate
from looker.engine.run_report import write_atomically
from looker.observe.calibration_table import show
from looker.observe.environment import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from looker.model.config import RunConfig


def calibrate_and_show(
    loads: Sequence[Sequence[RunConfig]],
    seconds: float,
    *,
    as_json: bool,
    report: Path | None,
    log_level: str,
) -> None:
    """Measure, print the table or the JSON, and write the report."""
    configure_log(log_level)
    # as Ctrl-C: in order, with nothing left behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = calibrate(loads, seconds, environment=dict(environment()), clock=SystemClock())
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        show(found)
    if report is not None:
        write_atomically(report, found.to_json())
