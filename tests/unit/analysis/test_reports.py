"""Which files are reports of runs, and which runs are alike."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.likeness import FREE, WHETHER, named, unlike
from looker.analysis.reports import Report, Side, read_report, read_side
from looker.errors import UsageError
from looker.model.config import RunConfig
from run_reports import plain_report

if TYPE_CHECKING:
    from pathlib import Path

WRONG: dict[str, Any] = {
    "is no report of Looker's": [1, 2],
    "is of schema version 2: this Looker reads 1": {**plain_report(1), "schema_version": 2},
    "is a calibration: give reports of runs": {"schema_version": 1, "kind": "calibration"},
    "totals is missing or of another type": {**plain_report(1), "totals": None},
    "config is missing or of another type": {**plain_report(1), "config": []},
    "totals.read is of another type": {**plain_report(1), "totals": {"read": 3}},
    "totals.target is of another type": {**plain_report(1), "totals": {"target": []}},
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_no_report_of_a_run_is_said(tmp_path: Path, words: str) -> None:
    path = tmp_path / "x.report.json"
    path.write_text(json.dumps(WRONG[words]))
    for argument in (path, tmp_path):
        with pytest.raises(UsageError) as refusal:
            read_side(argument, "BASELINE")
        assert str(refusal.value).startswith(f"BASELINE: {path} ")
        assert words in str(refusal.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BASELINE: there is no file or directory"):
        read_side(tmp_path / "none", "BASELINE")
    with pytest.raises(UsageError, match=r"there is no \*report.json in the directory"):
        read_side(tmp_path, "BASELINE")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no \*report.json"):
        read_side(tmp_path, "BASELINE")
    torn = tmp_path / "report.json"
    torn.write_text(json.dumps(plain_report(1))[:-9])
    with pytest.raises(UsageError, match="is not JSON, or not all of it"):
        read_report(torn, "CONTENDER")
    torn.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not JSON"):
        read_report(torn, "CONTENDER")


def test_a_side_is_all_reports_in_the_order_of_the_runs(tmp_path: Path) -> None:
    for name, begin_s in (("c", 5), ("a", 90), ("deep/er/b", 30)):
        path = tmp_path / f"{name}.report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain_report(1, begin_s=begin_s)))
    (tmp_path / "notes.json").write_text("{")
    found = read_side(tmp_path, "BASELINE")
    assert [report.path.name[0] for report in found.reports] == ["c", "b", "a"]
    (one,) = read_side(tmp_path / "a.report.json", "BASELINE").reports
    assert one.path.name == "a.report.json"


def sides(tmp_path: Path, *runs: dict[str, Any]) -> list[Side]:
    return [Side(f"s{n}", [Report(tmp_path / str(n), plain)]) for n, plain in enumerate(runs)]


def test_names_and_places_of_runs_may_differ(tmp_path: Path) -> None:
    other = plain_report(7, begin_s=99, invocation_id="y", target__product="mimir")
    for name in FREE:
        other["config"][name] = "other"
    assert unlike(sides(tmp_path, plain_report(1), other)) == []
    # nor does the place of a ledger matter, but whether there is one does
    ledgers = [plain_report(1, config__ledger=name) for name in ("a", "b", None)]
    assert unlike(sides(tmp_path, *ledgers[:2])) == []
    assert unlike(sides(tmp_path, *ledgers)) == [
        'config.ledger is "given" in s0, "given" in s1, null in s2'
    ]


def test_settings_that_may_differ_are_settings() -> None:
    assert {spec.name for spec in fields(RunConfig)} >= FREE | WHETHER


@pytest.mark.parametrize("name", sorted({spec.name for spec in fields(RunConfig)} - FREE - WHETHER))
def test_any_other_setting_must_be_the_same(tmp_path: Path, name: str) -> None:
    before = plain_report(1)
    after = plain_report(1, **{f"config__{name}": "other"})
    (line,) = unlike(sides(tmp_path, before, after))[:1]
    assert line.startswith(f"config.{name}")
    assert '"other" in s1' in " ".join(unlike(sides(tmp_path, before, after)))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mode": "metrics"}, 'mode is "logs" in s0, "metrics" in s1'),
        ({"looker_version": "0.2"}, 'looker_version is "0.1.0" in s0, "0.2" in s1'),
        (
            {"environment__hostname": "there"},
            'environment.hostname is "here" in s0, "there" in s1',
        ),
        (
            {"environment__versions__numpy": None},
            'environment.versions.numpy is "2.4" in s0, null in s1',
        ),
    ],
)
def test_host_and_mode_must_be_the_same(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    assert unlike(sides(tmp_path, plain_report(1), plain_report(1, **change))) == [line]


def test_repeats_of_one_side_must_be_alike_too(tmp_path: Path) -> None:
    runs = [plain_report(1), plain_report(1, config__n_streams=7)]
    del runs[1]["config"]["n_cycles"]
    one = Side("a", [Report(tmp_path, plain) for plain in runs])
    lines = unlike([one, Side("b", one.reports[:1])])
    n_streams, n_cycles = (runs[0]["config"][name] for name in ("n_streams", "n_cycles"))
    assert sorted(lines) == [
        f"config.n_cycles is {n_cycles} and absent in a, {n_cycles} in b",
        f"config.n_streams is {n_streams} and 7 in a, {n_streams} in b",
    ]


def test_reading_back_is_compared_with_its_like(tmp_path: Path) -> None:
    runs = [plain_report(1, mode="verify", ledger={"mode": mode}) for mode in ("logs", "metrics")]
    assert unlike(sides(tmp_path, *runs)) == ['ledger.mode is "logs" in s0, "metrics" in s1']


def test_long_lists_are_cut() -> None:
    assert named(["a", "b"]) == "a; b"
    assert named(list("abcdefgh")) == "a; b; c; d; e; f; and 2 more"
