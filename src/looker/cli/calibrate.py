"""One calibration from checked configurations: measuring, table, JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from looker.cli.run import configure_log
from looker.clock import SystemClock
from looker.engine.calibration import calibrate
from looker.engine.run_report import write_atomically
from looker.interruption import end_in_order
from looker.observe.calibration_table import show
from looker.observe.environment import environment
from looker.observe.report_place import is_standard_output
from looker.observe.terminal import console

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
    end_in_order()
    found = calibrate(loads, seconds, environment=dict(environment()), clock=SystemClock())
    if report is not None:
        write_atomically(report, found.to_json())
    is_alone = report is not None and is_standard_output(report)
    if not as_json:
        show(found, console(stderr=is_alone))
    elif not is_alone:
        typer.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
