"""Resuming a sweep whose file has changed, or whose directory is damaged: field cases 57, 42."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from looker.clock import ManualClock
from looker.errors import ExitCode, UsageError
from looker.sweep.definition import Definition, SweepTarget
from looker.sweep.plan import Plan, plan_of
from looker.sweep.runner import Sweep
from looker.sweep.store import REPORT_FILE, RUN_FILE, SWEEP_FILE, SweepStore, read_facts
from looker.sweep.table import ResultsTable
from run_reports import plain_report
from servers import run_config
from sweeps import plan_for, record_of, swept

if TYPE_CHECKING:
    from pathlib import Path

    from looker.sweep.plan import SweepRun
    from looker.sweep.store import Record

SERVE = "server --password hunter2"
URL = "http://me:secret@a"


def plan(repeats: int = 2, **changes: Any) -> Plan:
    target = SweepTarget("a", {"url": URL}, serve=SERVE, reset="rm -rf data")
    target = replace(target, **changes)
    return plan_of(Definition({"mode": "logs"}, {}, [target], repeats))


def done(root: Path, error: str | None = None) -> None:
    """Let all runs of the plan have been done, each with the fingerprints of what made it."""
    store = swept(root, plan(), lambda _run: 10)
    for run in plan().runs:
        record = record_of(run, setup=store.setup_of(run), error=error)
        plain = {name: getattr(record, name) for name in Record_fields(record)}
        (store.place(run) / RUN_FILE).write_text(json.dumps(plain))


def Record_fields(record: Record) -> list[str]:  # noqa: N802 - of that class
    return list(record.__slots__)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serve": "server --wal-compression --password hunter2"}, "another serve command"),
        ({"serve": None, "start": SERVE}, "another start command"),
        ({"reset": None}, "another reset command"),
        ({"stop": "killall server"}, "another stop command"),
        ({"options": {"url": "http://you:secret@a"}}, "another user in url"),
        ({"options": {"url": "http://b"}}, 'was run with url = "http://***@a", not "http://b"'),
        ({"options": {"url": URL, "tenant": "x"}}, 'was run with tenant = null, not "x"'),
    ],
)
def test_another_way_to_run_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """Field case 57."""
    done(tmp_path)
    with pytest.raises(UsageError) as refusal:
        SweepStore(tmp_path).refuse_if_foreign(plan(**changes))
    said = str(refusal.value)
    assert words in said
    assert said.endswith("give another directory")
    assert "secret" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"repeats": 5},
        {"ready_url": "http://a/health", "ready_timeout_s": 5.0},
        # a password may be renewed
        {"options": {"url": "http://me:other@a"}},
    ],
)
def test_what_says_nothing_of_the_results_may_change(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    done(tmp_path)
    SweepStore(tmp_path).refuse_if_foreign(plan(**changes))


def test_a_command_that_failed_may_be_mended(tmp_path: Path) -> None:
    done(tmp_path, error="the server ended with exit code 127")
    mended = plan(serve="server --password hunter2 --config right.yaml")
    with pytest.raises(UsageError, match="or --retry-failed, as it has failed"):
        SweepStore(tmp_path).refuse_if_foreign(mended)
    SweepStore(tmp_path).refuse_if_foreign(mended, again=True)


def test_another_version_of_looker_is_told_beforehand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done(tmp_path)
    SweepStore(tmp_path).refuse_if_foreign(plan())
    assert not caplog.records
    facts = json.loads((tmp_path / SWEEP_FILE).read_text())
    (tmp_path / SWEEP_FILE).write_text(json.dumps({**facts, "looker_version": "0.0.7"}))
    SweepStore(tmp_path).refuse_if_foreign(plan())
    (said,) = [record.getMessage() for record in caplog.records]
    assert "was begun by Looker 0.0.7, and this is " in said


def test_fingerprints_hold_no_secret_and_differ_between_sweeps(tmp_path: Path) -> None:
    for name in ("one", "other"):
        done(tmp_path / name)
    texts = {
        path: path.read_text() for path in tmp_path.rglob("*.json") if path.name != REPORT_FILE
    }
    assert len(texts) == 6
    assert not any("hunter2" in text or "secret" in text for text in texts.values())
    kept = [json.loads(text)["setup"] for path, text in texts.items() if path.name == RUN_FILE]
    assert [sorted(one) for one in kept] == [["reset", "serve", "user_of_url"]] * 4
    assert len({one["serve"] for one in kept}) == 2
    # it is the sweep's own as long as that goes on
    store = SweepStore(tmp_path / "one")
    before = json.loads((tmp_path / "one" / SWEEP_FILE).read_text())["salt"]
    store.write_plan(plan(repeats=5))
    assert json.loads((tmp_path / "one" / SWEEP_FILE).read_text())["salt"] == before


def test_more_values_leave_names_of_points_as_they_are() -> None:
    def names(*values: object) -> list[str]:
        return [point.name for point in plan_for("a", matrix={"k": [*values]}).points]

    before = names("x" * 300, "a/b", "a:b")
    assert names("x" * 300, "a/b", "a:b", "a?b", 7)[:3] == before
    assert len({*before, *names("y" * 300)}) == 4


# --- damage ------------------------------------------------------------------------------------


class NoView:
    """Shows nothing."""

    def began(self, *_: object) -> None:
        pass

    def ended(self, *_: object) -> None:
        pass


class Ended:
    """A run that has written its report and passed."""

    def wait(self, _timeout_s: float) -> int:
        return 0

    def interrupt(self) -> None:
        raise AssertionError

    kill = interrupt


def resumed(root: Path, whole: Plan) -> tuple[list[str], ExitCode]:
    """Resume a sweep; return which runs it has done, and its exit code."""
    did: list[str] = []

    def config_of(run: SweepRun, report: Path) -> Any:
        did.append(str(run.place))
        report.write_text(json.dumps(plain_report(10, config__seed=run.seed)))
        return run_config(None)

    store = SweepStore(root)
    store.refuse_if_foreign(whole)
    sweep = Sweep(
        whole,
        store,
        ManualClock(),
        config_of=config_of,
        launch=lambda _config, _log: Ended(),
        view=NoView(),
        again=lambda _run: False,
    )
    return did, sweep.run()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (REPORT_FILE, None),
        (REPORT_FILE, ""),
        (REPORT_FILE, "cut"),
        (REPORT_FILE, "[1, 2]"),
        (REPORT_FILE, '{"schema_version": 1, "kind": "comparison"}'),
        (REPORT_FILE, '{"schema_version": 1, "config": {}, "target": null, "totals": {}}'),
        (REPORT_FILE, "foreign"),
        (REPORT_FILE, "unfinished"),
        (RUN_FILE, ""),
        (RUN_FILE, "[]"),
        (RUN_FILE, '{"target": 1}'),
        (RUN_FILE, "wrong types"),
    ],
)
def test_a_run_whose_files_are_damaged_is_done_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, text: str | None
) -> None:
    """Field case 42."""
    whole = plan_for("a", repeats=3)
    store = swept(tmp_path, whole, lambda _run: 10)
    path = store.place(whole.runs[1]) / file
    plain = json.loads(path.read_text())
    match text:
        case None:
            path.unlink()
        case "cut":
            path.write_text(path.read_text()[:-200])
        case "foreign":
            path.write_text(json.dumps({**plain, "config": {**plain["config"], "seed": 1}}))
        case "unfinished":
            path.write_text(json.dumps({**plain, "finished": False}))
        case "wrong types":
            path.write_text(json.dumps({**plain, "duration_s": "10"}))
        case _:
            path.write_text(text)
    assert resumed(tmp_path, whole) == (["a/base/2"], ExitCode.PASSED)
    (said,) = [one.getMessage() for one in caplog.records if "again" in one.getMessage()]
    assert said.startswith(str(path))
    assert said.endswith(": the run is done again")
    assert "\n" not in said
    assert resumed(tmp_path, whole) == ([], ExitCode.PASSED)


@pytest.mark.parametrize(
    "name", ["../../x", "", ".", 5, None, "a\0b"], ids=["up", "empty", "dot", "5", "none", "nul"]
)
def test_a_directory_that_says_nonsense_of_itself_is_refused(tmp_path: Path, name: Any) -> None:
    swept(tmp_path, plan_for("a"), lambda _run: 10)
    plain = json.loads((tmp_path / SWEEP_FILE).read_text())
    for kind in ("targets", "points"):
        changed = {**plain, kind: [{**plain[kind][0], "name": name}]}
        (tmp_path / SWEEP_FILE).write_text(json.dumps(changed))
        with pytest.raises(UsageError, match="is no whole file of a sweep"):
            read_facts(tmp_path)


def test_a_table_is_made_of_whatever_lies_there(tmp_path: Path) -> None:
    whole = plan_for("a", repeats=3)
    store = swept(tmp_path, whole, lambda _run: 10)
    shapes: list[object] = [
        [],
        {"target": None, "totals": {"write": {"samples_acked": 1 << 80}, "read": 3}},
        {"target": [], "totals": {"target": {"metrics": {"m": 1, "n": {"max": 1 << 70}}}}},
    ]
    for run, shape in zip(whole.runs, shapes, strict=True):
        (store.place(run) / REPORT_FILE).write_text(json.dumps(shape))
    table = ResultsTable(tmp_path)
    table.write()
    rows = table.rows()
    assert [row.get("write_samples_acked") for row in rows] == [None, float(1 << 80), None]
    assert rows[2]["target_metrics_n_max"] == 1 << 70
