"""The table of all runs, as SQL, pandas and DuckDB read it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from looker.errors import LookerError
from looker.model.figures import figure_paths
from looker.sweep.table import ResultsTable, column_of
from sweeps import finish, plan_for, swept

if TYPE_CHECKING:
    from pathlib import Path


def rows(root: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(root / "results.sqlite")) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM runs ORDER BY target, point, repeat")
        return [dict(row) for row in found]


def test_columns_are_told_apart() -> None:
    names = [column_of(path) for path in figure_paths()]
    assert len(set(names)) == len(names)
    assert "write_service_ms_p99" in names


def test_each_run_is_a_row(tmp_path: Path) -> None:
    plan = plan_for("a", "b", matrix={"n_workers": [1, 2], "label": [{"x": "y"}]})
    swept(
        tmp_path,
        plan,
        lambda run: None if run.place.parts[0] == "b" and run.repeat == 2 else 100 * run.repeat,
    )
    ResultsTable(tmp_path).write()
    found = rows(tmp_path)
    assert len(found) == 8
    first = found[0]
    assert (first["target"], first["repeat"], first["exit_code"], first["error"]) == (
        *("a", 1, 0),
        None,
    )
    assert (first["option_n_workers"], first["option_label"]) == (1, '{"x": "y"}')
    assert (first["product"], first["version"], first["verdict"]) == ("loki", "3.0", "passed")
    assert first["write_samples_per_s"] == 10.0
    assert first["read_mismatches_missing"] == 0
    assert first["spot_check_checks"] is None
    assert (tmp_path / first["report"]).is_file()
    failed = [row for row in found if row["error"] is not None]
    assert [(row["target"], row["repeat"], row["exit_code"]) for row in failed] == [("b", 2, 3)] * 2
    assert {row["write_samples_per_s"] for row in failed} == {None}
    assert {column_of(path) for path in figure_paths()} <= first.keys()


def test_metrics_of_the_target_are_columns(tmp_path: Path) -> None:
    target = {"metrics": {"head_series": {"start": 1, "end": 5, "max": 7}}}
    plan = plan_for("a", repeats=1)
    swept(tmp_path, plan, lambda _run: 1, totals__target=lambda _run: target)
    ResultsTable(tmp_path).write()
    assert rows(tmp_path)[0]["target_metrics_head_series_max"] == 7


def test_a_run_that_is_run_again_has_its_new_row(tmp_path: Path) -> None:
    plan = plan_for("a", repeats=1)
    store = swept(tmp_path, plan, lambda _run: None)
    table = ResultsTable(tmp_path)
    table.write()
    assert rows(tmp_path)[0]["error"] == "it was refused"
    finish(store, plan.runs[0], None, exit_code=1, started_at="2026-02-01T00:00:00.000000Z")
    table.write()
    (row,) = rows(tmp_path)
    assert (row["error"], row["exit_code"]) == (None, 1)


def test_the_same_runs_make_the_same_table(tmp_path: Path) -> None:
    plan = plan_for("a", "b", repeats=3)
    store = swept(tmp_path, plan, lambda run: 10 * run.repeat)
    ResultsTable(tmp_path).write()
    before = rows(tmp_path)
    (tmp_path / "results.sqlite").unlink()
    assert store.root == tmp_path
    ResultsTable(tmp_path).write()
    assert rows(tmp_path) == before


def test_a_table_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    swept(tmp_path, plan_for("a", repeats=1), lambda _run: 1)
    (tmp_path / "results.sqlite").mkdir()
    (tmp_path / "results.sqlite" / "x").write_text("")
    with pytest.raises(LookerError, match=r"cannot write .*results.sqlite"):
        ResultsTable(tmp_path).write()
    assert not list(tmp_path.glob(".results*"))
