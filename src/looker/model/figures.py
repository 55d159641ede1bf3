"""The figures of a report's totals by their dotted paths, like ``write.service_ms.p99``."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from looker.model.histogram import Histogram
from looker.model.report import ReadReport, SpotCheckReport, WriteReport
from looker.model.target_usage import FIGURES, OF_A_METRIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS: Final = ("write", "read", "spot_check", "target")
_STATUS: Final = "write.responses_by_status."
"""Answers by status: any status may stand behind it."""
_METRIC: Final = re.compile(rf"target\.metrics\.(.+)\.({'|'.join(OF_A_METRIC)})")
"""A metric of the target's own, by its name or selector, in which there may be dots."""


@cache
def figure_paths() -> tuple[str, ...]:
    """Return the paths of all figures, in the order of the report."""
    filled = (_filled(WriteReport()), _filled(ReadReport()), _filled(SpotCheckReport()))
    parts = zip(PARTS, filled, strict=False)
    paths = tuple(path for part, report in parts for path in _leaves(part, report))
    return (*paths, *(f"target.{name}" for name in FIGURES))


def metric_of(path: str) -> str | None:
    """Return the name of the target's own metric that a whole path speaks of; None if of none."""
    match = _METRIC.fullmatch(path)
    return None if match is None else match[1]


def _filled(report: WriteReport | ReadReport | SpotCheckReport) -> dict[str, Any]:
    """Return a report in which no latency is null for want of a value."""
    for spec in fields(report):
        value = getattr(report, spec.name)
        if isinstance(value, Histogram):
            value.record_us(1)
    return report.to_json()


def _leaves(path: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def resolved(path: str) -> str:
    """Return the whole path; ValueError, with the nearest right one, for one that is not known.

    Without ``write``, ``read``, ``spot_check`` or ``target`` the first of them that has the figure
    is meant.
    """
    known = figure_paths()
    for whole in (path, *(f"{part}.{path}" for part in PARTS)):
        if whole in known or metric_of(whole) is not None:
            return whole
        if whole.startswith(_STATUS) and whole != _STATUS:
            return whole
    # a path without its part is as near as the whole one
    names = {name: name for name in known}
    for name in known:
        names.setdefault(name.partition(".")[2], name)
    (near,) = difflib.get_close_matches(path, names, 1, cutoff=0.0)
    raise ValueError(f"{path} is no figure of the report; is {names[near]} meant?")


def figure_of(totals: Mapping[str, Any], path: str) -> float | None:
    """Return a figure of a report's totals by its whole path; None where it has no value.

    What was skipped, or never begun, has none; nor has a latency of which there is no instance. A
    status that never came was answered 0 times.
    """
    part, _, rest = path.partition(".")
    value: Any = totals.get(part)
    if value is None or value.get("skipped"):
        return None
    counts = value.get("responses_by_status")
    if path.startswith(_STATUS) and isinstance(counts, dict):
        return float(counts.get(path.removeprefix(_STATUS), 0))
    metric = _METRIC.fullmatch(path)
    for key in ("metrics", *metric.groups()) if metric is not None else rest.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
