"""Directories of sweeps that never ran."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from looker.sweep.definition import Definition, SweepTarget
from looker.sweep.plan import Plan, SweepRun, plan_of
from looker.sweep.store import REPORT_FILE, Record, SweepStore, shown_options
from run_reports import plain_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def plan_for(
    *names: str, matrix: dict[str, list[Any]] | None = None, repeats: int = 2, **more: Any
) -> Plan:
    targets = [SweepTarget(name, {"url": f"http://{name}"}) for name in names]
    return plan_of(Definition({"mode": "logs"}, matrix or {}, targets, repeats, **more))


def record_of(run: SweepRun, **changes: Any) -> Record:
    return Record(
        **{
            "target": run.target.name,
            "point": run.point.name,
            "repeat": run.repeat,
            "swept": run.point.options,
            "options": shown_options(run),
            "exit_code": 0,
            "error": None,
            "started_at": "2026-01-31T12:00:00.000000Z",
            "finished_at": "2026-01-31T12:00:10.000000Z",
            "duration_s": 10.0,
            **changes,
        }
    )


def finish(store: SweepStore, run: SweepRun, report: dict[str, Any] | None, **changes: Any) -> Path:
    """Let a run have come to a report, or to none."""
    place = store.begin(run)
    if report is not None:
        if "config" in report:
            report = {**report, "config": {**report["config"], "seed": run.seed}}
        (place / REPORT_FILE).write_text(json.dumps(report))
    return store.finish(run, record_of(run, **changes))


def swept(
    root: Path,
    plan: Plan,
    samples: Callable[[SweepRun], int | None],
    **changes: Callable[[SweepRun], Any],
) -> SweepStore:
    """Let all runs have written so many samples in 10 s; None: the run failed."""
    store = SweepStore(root)
    root.mkdir(exist_ok=True)
    store.write_plan(plan)
    for number, run in enumerate(plan.runs):
        n_samples = samples(run)
        values = {name: value(run) for name, value in changes.items()}
        if n_samples is None:
            finish(store, run, None, exit_code=3, error="it was refused")
        else:
            finish(store, run, plain_report(n_samples, begin_s=20 * number, **values))
    return store
