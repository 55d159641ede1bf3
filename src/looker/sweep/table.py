"""One table of all runs of a sweep, for pandas, DuckDB and SQL: ``results.sqlite``."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import orjson

from looker.errors import LookerError
from looker.model.figures import figure_of, figure_paths
from looker.sweep.definition import TABLE_FILE
from looker.sweep.store import REPORT_FILE, finished_runs, read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from looker.sweep.store import Record

TABLE: Final = "runs"
_FIRST: Final = (
    "target",
    "point",
    "repeat",
    "exit_code",
    "error",
    "verdict",
    "started_at",
    "finished_at",
    "duration_s",
    "looker_version",
    "product",
    "version",
    "revision",
    "report",
)
_SWEPT: Final = "option_"
_TARGET_METRICS: Final = "target_metrics_"


def column_of(path: str) -> str:
    """Return the column of a figure: its path with underscores, ``write_service_ms_p99``."""
    return path.replace(".", "_")


class ResultsTable:
    """Writes the table of a sweep's directory; reports that it has seen are not read again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[Path, tuple[str, dict[str, Any]]] = {}

    def write(self) -> Path:
        """Write all runs that are over; LookerError where that fails.

        The file is replaced, so who reads it has a whole one.
        """
        rows = self.rows()
        names = list(
            dict.fromkeys(
                [
                    *_FIRST,
                    *(_SWEPT + name for name in read_facts(self._root).swept),
                    *map(column_of, figure_paths()),
                    *sorted({name for row in rows for name in row}),
                ]
            )
        )
        path = self._root / TABLE_FILE
        temporary = path.with_name(f".{path.name}.new")
        try:
            temporary.unlink(missing_ok=True)
            _write(temporary, names, rows)
            temporary.replace(path)
        except (OSError, sqlite3.Error) as error:
            temporary.unlink(missing_ok=True)
            raise LookerError(f"cannot write {path}: {error}") from error
        return path

    def rows(self) -> list[dict[str, Any]]:
        """Return all runs that are over, by target, point and repeat: values by column."""
        facts = read_facts(self._root)
        return [self._row(place, record) for place, record in finished_runs(self._root, facts)]

    def _row(self, place: Path, record: Record) -> dict[str, Any]:
        # a failed run may be run again, in the same place
        seen = self._seen.get(place)
        if seen is None or seen[0] != record.started_at:
            seen = (record.started_at, dict(_cells(self._root, place, record)))
            self._seen[place] = seen
        return seen[1]


def _cells(root: Path, place: Path, record: Record) -> Iterator[tuple[str, Any]]:
    """Yield a run's columns and values."""
    for name in ("target", "point", "repeat", "exit_code", "error", "duration_s"):
        yield name, getattr(record, name)
    yield from (("started_at", record.started_at), ("finished_at", record.finished_at))
    for name, value in record.swept.items():
        yield _SWEPT + name, value
    path = place / REPORT_FILE
    try:
        report = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return
    if not isinstance(report, dict):
        return
    yield "report", str(path.relative_to(root))
    for name in ("verdict", "looker_version"):
        yield name, report.get(name)
    target = _table(report, "target")
    for name in ("product", "version", "revision"):
        yield name, target.get(name)
    totals = _table(report, "totals")
    sums = {part: _table(totals, part) for part in totals}
    for figure in figure_paths():
        yield column_of(figure), figure_of(sums, figure)
    for name, values in _table(_table(totals, "target"), "metrics").items():
        for which, value in (values if isinstance(values, dict) else {}).items():
            # of the target's own metrics
            yield f"{_TARGET_METRICS}{name}_{which}", value


def _table(plain: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table within a report, empty where it is none: it may be of another version."""
    value = plain.get(name)
    return value if isinstance(value, dict) else {}


def _write(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    columns = ", ".join(_quoted(name) for name in names)
    marks = ", ".join("?" * len(names))
    database = sqlite3.connect(path)
    try:
        with database:
            database.execute(f"CREATE TABLE {TABLE} ({columns})")
            database.executemany(
                f"INSERT INTO {TABLE} VALUES ({marks})",  # noqa: S608 - only marks
                [[_plain(row.get(name)) for name in names] for row in rows],
            )
    finally:
        database.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(value)
    if isinstance(value, int):
        # as far as SQLite goes
        return int(value) if abs(value) < 1 << 63 else float(value)
    return value
