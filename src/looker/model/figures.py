"""The figures of a report's totals by their dotted paths, like ``write.service_ms.p99``."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from looker.model.histogram import Histogram, LatencySummary
from looker.model.report import ReadReport, SpotCheckReport, WriteReport
from looker.model.target_usage import FIGURES, OF_A_METRIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Report = TypeVar("_Report", WriteReport, ReadReport, SpotCheckReport)
PARTS: Final = ("write", "read", "spot_check", "target")
_STATUS: Final = re.compile(r"(?:write|read)\.responses_by_status\.(.+)")
"""Answers by status: any status may stand behind it."""
_METRIC: Final = re.compile(rf"target\.metrics\.(.+)\.({'|'.join(OF_A_METRIC)})")
"""A metric of the target's own, by its name or selector, in which there may be dots."""
OF_EVENTS: Final = frozenset({"visible_after_ms", "refused_service_ms"})
"""Latencies of something that need not happen: where it did not, that is no lack of a value."""

_LIKELY: Final = (
    "write.samples_per_s",
    "write.service_ms.p99",
    "write.service_ms",
    "write.push_ms",
    "read.service_ms.p99",
    "read.service_ms",
    "read.samples_per_s",
    "read.mismatches",
    "read.visible_after_ms",
    "target",
    "write",
    "read",
)
"""What is most often meant comes first."""
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "latency": ("service_ms", "push_ms", "visible_after_ms"),
    "latency_ms": ("service_ms", "push_ms", "visible_after_ms"),
    "throughput": ("samples_per_s", "payload_mb_per_s"),
    "rate": ("samples_per_s", "payload_mb_per_s"),
    "errors": ("pushes_rejected", "pushes_indeterminate", "pushes_unresolved"),
    "failed": ("pushes_rejected", "pushes_indeterminate", "pushes_unresolved"),
    "refused": ("pushes_rejected", "duplicates_refused"),
    "retries": ("pushes_retried",),
    "lost": ("missing",),
    "cpu": ("cpu_s", "cpu_s_per_million_samples", "write_cpu_s_per_gb"),
    "memory": ("rss_bytes_max", "rss_bytes_end", "rss_bytes_per_stream"),
    "rss": ("rss_bytes_max", "rss_bytes_end", "rss_bytes_per_stream"),
    "average": ("mean",),
    "avg": ("mean",),
    "median": ("p50",),
    "p95": ("p90", "p99"),
    "p999": ("p99_9",),
}
"""Words that others use, and the report's own."""
_NEAR: Final = 0.75
_SUMMARY: Final = tuple(one.name for one in fields(LatencySummary) if one.name != "histogram")
_USUAL: Final = "p99"


@cache
def figure_paths() -> tuple[str, ...]:
    """Return the paths of all figures, in the order of the report."""
    read = ReadReport()
    filled = (
        _filled(WriteReport()).to_json(read),
        _filled(read).to_json(),
        _filled(SpotCheckReport()).to_json(),
    )
    parts = zip(PARTS, filled, strict=False)
    paths = tuple(path for part, report in parts for path in _leaves(part, report))
    return (*paths, *(f"target.{name}" for name in FIGURES))


def metric_of(path: str) -> str | None:
    """Return the name of the target's own metric that a whole path speaks of; None if of none."""
    match = _METRIC.fullmatch(path)
    return None if match is None else match[1]


def _filled(report: _Report) -> _Report:
    """Give a report one value of each latency, so that none is null."""
    for spec in fields(report):
        value = getattr(report, spec.name)
        if isinstance(value, Histogram):
            value.record_us(1)
    return report


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
        if _STATUS.fullmatch(whole):
            return whole
    likely, is_of_summaries = _without_summaries(_likely(path))
    said = likely[0] if len(likely) == 1 else f"one of these: {', '.join(likely)}"
    if is_of_summaries:
        said += f" (or {', '.join(one for one in _SUMMARY if one != _USUAL)} instead of {_USUAL})"
    raise ValueError(f"{path} is no figure of the report; is {said} meant?")


def _without_summaries(paths: list[str]) -> tuple[list[str], bool]:
    """Return paths, those of latencies of which each summary is there only by the usual one."""
    whole = {
        begin
        for begin in (path.rpartition(".")[0] for path in paths)
        if all(f"{begin}.{one}" in paths for one in _SUMMARY)
    }
    kept = [
        path
        for path in paths
        if path.rpartition(".")[0] not in whole or path.endswith(f".{_USUAL}")
    ]
    return kept, bool(whole)


def _likely(path: str) -> list[str]:
    """Return the figures that may be meant, the likeliest first; at least one.

    Those whose names have all the words of ``path`` in their order, as they are, by another name
    or misspelt; where there are none, the nearest in spelling.
    """
    known = figure_paths()
    vocabulary = list(dict.fromkeys(word for name in known for word in name.split(".")))
    given = re.sub(r"\bp99[._]9\b", "p99_9", path).lower().split(".")
    words = [_words_meant(word, vocabulary) for word in given if word]
    found = [name for name in known if words and _has_in_order(name.split("."), words)]
    if not found:
        # a path without its part is as near as the whole one
        names = {name: name for name in known}
        for name in known:
            names.setdefault(name.partition(".")[2], name)
        near = difflib.get_close_matches(path, names, 1, cutoff=0.0)
        return [names[name] for name in near]

    def rank(name: str) -> int:
        # with the same beginning, as they stand in the report
        return next((n for n, begin in enumerate(_LIKELY) if name.startswith(begin)), len(_LIKELY))

    return sorted(found, key=rank)


def _words_meant(word: str, vocabulary: list[str]) -> tuple[str, ...]:
    """Return the words of figures' names that a word may stand for; none, if it is like no one."""
    if word in vocabulary:
        return (word,)
    if word in _SYNONYMS:
        return _SYNONYMS[word]
    near = difflib.get_close_matches(word, vocabulary, 1, cutoff=_NEAR)
    return tuple(near or (name for name in vocabulary if len(word) > 2 and word in name))


def _has_in_order(name: list[str], words: list[tuple[str, ...]]) -> bool:
    rest = iter(name)
    return all(any(part in meant for part in rest) for meant in words)


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
    status = _STATUS.fullmatch(path)
    if status is not None and isinstance(counts, dict):
        return float(counts.get(status[1], 0))
    metric = _METRIC.fullmatch(path)
    for key in ("metrics", *metric.groups()) if metric is not None else rest.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def has_evidence(totals: Mapping[str, Any], path: str) -> bool:
    """Tell whether the part of a report that a figure is of comes from anything that was done.

    Where no push came to an end, or nothing had to come back, a count of 0 says nothing.
    """
    part = path.partition(".")[0]
    counts = totals.get(part)
    if part == "target" or counts is None:
        return counts is not None
    if part == "write":
        return any(
            value
            for key, value in counts.items()
            if key == "samples_acked" or (key.startswith("pushes_") and isinstance(value, int))
        )
    return bool(counts.get("samples_expected")) or any(counts.get("mismatches", {}).values())


def is_of_events(path: str) -> bool:
    """Tell whether a figure has no value where what it is of did not happen, and need not."""
    return not OF_EVENTS.isdisjoint(path.split("."))
