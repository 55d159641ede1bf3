"""Reports as a comparison reads them: one run each, and the repeats of one side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from looker.errors import UsageError
from looker.files import read_file
from looker.model.figures import PARTS
from looker.model.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import UnionType

_NAMES: Final = "*report.json"
_FORM: Final[Mapping[str, type | UnionType]] = {
    "looker_version": str,
    "invocation_id": str,
    "mode": str,
    "verdict": str,
    "exit_code": int | None,
    "started_at": str,
    "config": dict,
    "environment": dict,
    "target": dict,
    "totals": dict,
}
"""What a comparison needs of a report."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run: its file, and the report as it is there."""

    path: Path
    plain: Mapping[str, Any]

    @property
    def started_at(self) -> str:
        """When the run began, RFC 3339 in UTC: as text in order of time."""
        return str(self.plain["started_at"])

    @property
    def is_finished(self) -> bool:
        """Whether the run was over; those of earlier versions do not tell, and count as such."""
        return self.plain.get("finished") is not False

    @property
    def totals(self) -> Mapping[str, Any]:
        """All cycles: ``write``, ``read``, ``spot_check``, ``target``; each of them may be None."""
        totals: Mapping[str, Any] = self.plain["totals"]
        return totals


@dataclass(frozen=True, slots=True)
class Side:
    """The repeats of one side, at least one, in the order in which they ran."""

    name: str
    reports: Sequence[Report]


def read_side(argument: Path, option: str) -> Side:
    """Return the runs of a report, or of a directory in which they are, at any depth.

    UsageError, naming ``option``, where a file is no report of a run.
    """
    if not argument.exists():
        raise UsageError(option, f"there is no file or directory {argument}")
    paths = [argument]
    if argument.is_dir():
        paths = sorted(path for path in argument.rglob(_NAMES) if path.is_file())
        if not paths:
            raise UsageError(option, f"there is no {_NAMES} in the directory {argument}")
    reports = [read_report(path, option) for path in paths]
    return Side(str(argument), sorted(reports, key=lambda report: report.started_at))


def read_report(path: Path, option: str) -> Report:
    """Return the report in a file; UsageError, naming ``option``, if it is none."""
    try:
        plain = orjson.loads(read_file(path))
    except OSError as error:
        raise UsageError(option, f"cannot read {path}: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(option, f"{path} is not JSON, or not all of it: {error}") from error
    wrong = _what_is_wrong(plain)
    if wrong is not None:
        raise UsageError(option, f"{path} {wrong}")
    return Report(path, plain)


def _what_is_wrong(plain: object) -> str | None:
    if not isinstance(plain, dict) or "schema_version" not in plain:
        return "is no report of Looker's"
    if plain["schema_version"] != SCHEMA_VERSION:
        return (
            f"is of schema version {plain['schema_version']!r}: this Looker reads {SCHEMA_VERSION}"
        )
    kind = plain.get("kind")
    if kind is not None:
        return f"is a {kind}: give reports of runs"
    for key, kind in _FORM.items():
        if key not in plain or not isinstance(plain[key], kind):
            return f"is no whole report of a run: {key} is missing or of another type"
    for part in PARTS:
        if not isinstance(plain["totals"].get(part), dict | None):
            return f"is no whole report of a run: totals.{part} is of another type"
    return None
