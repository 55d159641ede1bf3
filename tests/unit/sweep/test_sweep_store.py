"""A sweep's directory: what is whole is there, what is foreign is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from looker.errors import LookerError, UsageError
from looker.sweep import store as store_module
from looker.sweep.store import (
    RUN_FILE,
    SWEEP_FILE,
    SweepStore,
    finished_runs,
    is_sweep,
    log_tail,
    read_facts,
    read_record,
)
from sweeps import finish, plan_for, record_of, swept

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    plan = plan_for("b", "a", matrix={"n_workers": [2, 10]}, repeats=11)
    store = swept(tmp_path, plan, lambda _run: 10)
    assert is_sweep(tmp_path)
    facts = read_facts(tmp_path)
    assert facts.targets == ["b", "a"]
    assert facts.swept == ["n_workers"]
    assert facts.points == {"n_workers=2": {"n_workers": 2}, "n_workers=10": {"n_workers": 10}}
    found = finished_runs(tmp_path, facts)
    assert [(record.target, record.point, record.repeat) for _, record in found] == [
        (target, point, repeat)
        for target in "ba"
        for point in ("n_workers=2", "n_workers=10")
        for repeat in range(1, 12)
    ]
    assert len(found) == len(plan.runs)
    assert read_record(store.place(plan.runs[0])) == record_of(plan.runs[0])


def test_a_run_is_not_there_before_all_of_it_is(tmp_path: Path) -> None:
    plan = plan_for("a")
    store, run = SweepStore(tmp_path), plan.runs[0]
    store.write_plan(plan)
    place = store.begin(run)
    (place / "report.json").write_text("{}")
    assert not store.is_done(run)
    assert not list(tmp_path.glob("*/*/[0-9]*"))
    assert finished_runs(tmp_path, read_facts(tmp_path)) == []
    # what a killed sweep left is gone with the next try
    (place / "half").write_text("x")
    assert list(store.begin(run).iterdir()) == []
    done = store.finish(run, record_of(run))
    assert store.is_done(run)
    assert [path.name for path in done.iterdir()] == [RUN_FILE]
    assert not place.exists()
    # run again, it replaces what there was
    finish(store, run, {"x": 1}, exit_code=1)
    assert read_record(done).exit_code == 1
    assert sorted(path.name for path in done.iterdir()) == ["report.json", RUN_FILE]


def test_two_sweeps_do_not_work_in_one_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_WAIT_S", 0.2)
    with (
        SweepStore(tmp_path / "x").locked(),
        pytest.raises(UsageError, match="another sweep is at work in"),
        SweepStore(tmp_path / "x").locked(),
    ):
        pass
    with SweepStore(tmp_path / "x").locked():
        pass


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="cannot write in"),
        SweepStore(tmp_path / "file" / "x").locked(),
    ):
        pass
    with pytest.raises(UsageError, match="is no directory"):
        SweepStore(tmp_path / "file").refuse_if_foreign(plan_for("a"))


def test_what_is_not_of_the_sweep_is_refused(tmp_path: Path) -> None:
    plan = plan_for("a", matrix={"n_workers": [1, 2]})
    SweepStore(tmp_path / "none").refuse_if_foreign(plan)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds thesis.tex but no sweep"):
        SweepStore(tmp_path).refuse_if_foreign(plan)
    store = swept(tmp_path / "sweep", plan, lambda _run: 10)
    store.refuse_if_foreign(plan)
    # more of the same is welcome
    store.refuse_if_foreign(plan_for("a", "b", matrix={"n_workers": [2, 1, 3]}, repeats=5))
    for other, words in (
        (plan_for("b", matrix={"n_workers": [1, 2]}), "is no run of this sweep"),
        (plan_for("a", matrix={"n_workers": [1]}), "is no run of this sweep"),
        (plan_for("a", matrix={"n_workers": [1, 2]}, repeats=1), "is no run of this sweep"),
        (plan_for("a", matrix={"n_workers": [1, 2]}, seed=2), "was run with seed = "),
    ):
        with pytest.raises(UsageError, match=words):
            store.refuse_if_foreign(other)
    base = {**plan.definition.base, "skip_read": True}
    changed = plan_for("a", matrix={"n_workers": [1, 2]})
    object.__setattr__(changed.runs[0], "options", {**changed.runs[0].options, **base})
    with pytest.raises(UsageError, match="was run with skip_read = null, not true"):
        store.refuse_if_foreign(changed)


def test_no_secret_is_kept(tmp_path: Path) -> None:
    plan = plan_for("user:secret@a")
    object.__setattr__(plan.definition.targets[0], "name", "a")
    swept(tmp_path, plan, lambda _run: 10)
    texts = [path.read_text() for path in tmp_path.rglob("*.json") if path.name != "report.json"]
    assert len(texts) == 3
    assert all("secret" not in text and "***@a" in text for text in texts)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind": "sweep"}', '{"kind": "x", "schema_version": 1}']
)
def test_a_file_that_is_no_sweep_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / SWEEP_FILE).write_text(text)
    with pytest.raises(UsageError) as refusal:
        read_facts(tmp_path)
    assert str(tmp_path / SWEEP_FILE) in str(refusal.value)
    (tmp_path / RUN_FILE).write_text("[1]")
    with pytest.raises(UsageError):
        read_record(tmp_path)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    plan = plan_for("a")
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(LookerError, match=r"^cannot write in .*: "):
        SweepStore(tmp_path).begin(plan.runs[0])
    with pytest.raises(LookerError, match=r"^cannot write .*sweep.json: "):
        SweepStore(tmp_path / "nowhere").write_plan(plan)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n two \n\n", "two"),
        ("", None),
        ("\n \n", None),
        ("x" * 100_000, "x" * 300),
        ("a\n" * 100_000 + "end", "end"),
    ],
)
def test_the_last_words_of_a_log(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    assert log_tail(path) == said
    assert log_tail(tmp_path / "none") is None


def test_a_plan_says_what_it_is_made_of(tmp_path: Path) -> None:
    swept(tmp_path, plan_for("a", matrix={"n_workers": [1]}), lambda _run: 1)
    plain = json.loads((tmp_path / SWEEP_FILE).read_text())
    assert plain["base"] == {"mode": "logs"}
    assert (plain["repeats"], plain["order"], plain["seed"]) == (2, "interleaved", 1)
    assert plain["targets"] == [{"name": "a", "options": {"url": "http://a"}}]
