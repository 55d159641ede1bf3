"""What is compared with what: points and repeats of sweeps are pairs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from rich.console import Console

from looker.analysis.comparison import Finding, compare
from looker.analysis.comparison_table import markdown, show
from looker.analysis.sides import ALL_POINTS, read_matches
from looker.errors import UsageError
from looker.model.threshold import parsed
from run_reports import plain_report
from sweeps import plan_for, swept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.analysis.sides import Match
    from looker.sweep.plan import SweepRun

RATE: Final = "write.samples_per_s"
MATRIX: Final[dict[str, list[Any]]] = {"n_workers": [1, 2]}
NOISE: Final = (1000, 1040, 980, 1010, 1070, 990, 1020, 1030, 960, 1000)


def n_samples(match: Match) -> list[tuple[int, int]]:
    return [
        (one.totals["write"]["samples_acked"], other.totals["write"]["samples_acked"])
        for one, other in zip(match.baseline.reports, match.contender.reports, strict=True)
    ]


def of_run(run: SweepRun) -> int:
    """Return a number that tells which run it is of."""
    target = "abc".index(run.target.name)
    return 1 + 1000 * target + 100 * run.point.options.get("n_workers", 0) + run.repeat


def workers(run: SweepRun) -> int:
    return int(run.point.options["n_workers"])


def test_repeats_are_pairs_though_some_failed(tmp_path: Path) -> None:
    lost = {("a", 2), ("b", 3), ("b", 4)}
    plan = plan_for("a", "b", repeats=5)
    swept(
        tmp_path,
        plan,
        lambda run: None if (run.target.name, run.repeat) in lost else of_run(run),
    )
    found = read_matches(tmp_path, [])
    (match,) = found.matches
    assert match.point is None
    assert n_samples(match) == [(2, 1002), (6, 1006)]
    why = "it was refused"
    assert found.notes == [
        f"{tmp_path}/a: 1 run(s) failed and are left out: base/2: it was refused",
        f"{tmp_path}/b: 2 run(s) failed and are left out: base/3: {why}; base/4: {why}",
        "base: 3 run(s) are left out: the other side has no sound run of that repeat",
    ]
    assert read_matches(tmp_path / "a", [tmp_path / "b"]) == found


def test_each_point_is_a_match_and_so_are_all(tmp_path: Path) -> None:
    plan = plan_for("a", "b", "c", matrix=MATRIX, repeats=2)
    swept(tmp_path, plan, of_run, config__n_workers=workers)
    found = read_matches(tmp_path, [])
    assert [(match.contender.name, match.point) for match in found.matches] == [
        (f"{tmp_path}/b", ALL_POINTS),
        (f"{tmp_path}/b/n_workers=1", "n_workers=1"),
        (f"{tmp_path}/b/n_workers=2", "n_workers=2"),
        (f"{tmp_path}/c", ALL_POINTS),
        (f"{tmp_path}/c/n_workers=1", "n_workers=1"),
        (f"{tmp_path}/c/n_workers=2", "n_workers=2"),
    ]
    assert n_samples(found.matches[0]) == [
        (102, 1102),
        (103, 1103),
        (202, 1202),
        (203, 1203),
    ]
    assert n_samples(found.matches[5]) == [(202, 2202), (203, 2203)]
    assert found.notes == []


def test_points_of_one_target_can_be_compared(tmp_path: Path) -> None:
    swept(tmp_path, plan_for("a", matrix=MATRIX), of_run, config__n_workers=workers)
    one, two = (tmp_path / "a" / f"n_workers={n}" for n in (1, 2))
    (match,) = read_matches(one, [two]).matches
    assert n_samples(match) == [(102, 202), (103, 203)]
    with pytest.raises(UsageError, match=r"not alike .*config.n_workers is 1 in .*, 2 in "):
        compare([match])
    assert compare([match], force=True).contests[0].n_pairs == 2
    # one point against the same point of another sweep's only target
    swept(tmp_path / "x", plan_for("a", matrix=MATRIX), of_run, config__n_workers=workers)
    (match,) = read_matches(two, [tmp_path / "x"]).matches
    assert n_samples(match) == [(202, 202), (203, 203)]
    found = read_matches(tmp_path, [tmp_path / "x"]).matches
    assert [match.point for match in found] == [ALL_POINTS, "n_workers=1", "n_workers=2"]


def test_what_is_of_no_sweep_is_read_as_ever(tmp_path: Path) -> None:
    swept(tmp_path / "s", plan_for("a"), of_run)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/1.report.json").write_text(json.dumps(plain_report(7)))
    (match,) = read_matches(tmp_path / "x", [tmp_path / "s" / "a"]).matches
    assert [len(side.reports) for side in (match.baseline, match.contender)] == [1, 2]
    (match,) = read_matches(tmp_path / "s/a/base/1/report.json", [tmp_path / "x"]).matches
    assert n_samples(match) == [(2, 7)]


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    plan = plan_for("a", "b")
    swept(tmp_path / "two", plan, lambda run: None if run.target.name == "b" else 1)
    swept(tmp_path / "one", plan_for("a"), of_run)
    for arguments, words in (
        ((tmp_path / "one", []), "BASELINE: the sweep .* has one target"),
        ((tmp_path, []), "CONTENDER: is wanting"),
        ((tmp_path / "two", [tmp_path / "one"]), "BASELINE: the sweep .* has several targets"),
        ((tmp_path / "one", [tmp_path / "two"]), "CONTENDER: the sweep .*two/a, .*two/b"),
        ((tmp_path / "two", []), "have no point and repeat that both ran"),
        ((tmp_path / "none", [tmp_path / "one"]), "BASELINE: there is no file or directory"),
    ):
        with pytest.raises(UsageError, match=words):
            read_matches(*arguments)


@pytest.fixture
def slower(tmp_path: Path) -> Callable[..., list[Match]]:
    """Return matches of a sweep in which b is slower at one point, at all, or at none."""

    def made(factors: dict[int, float]) -> list[Match]:
        def samples(run: SweepRun) -> int:
            n = 1000 * NOISE[run.repeat - 1] * workers(run)
            if run.target.name == "b":
                # a little of everything, as real runs have it
                n = round(n * factors[workers(run)] * (1 + 0.001 * (run.repeat % 3 - 1)))
            return n

        plan = plan_for("a", "b", matrix=MATRIX, repeats=10)
        swept(tmp_path, plan, samples, config__n_workers=workers)
        return list(read_matches(tmp_path, []).matches)

    return made


@pytest.mark.parametrize(
    ("factors", "findings"),
    [
        ({1: 1.0, 2: 1.0}, [Finding.NOTHING] * 3),
        ({1: 0.9, 2: 0.9}, [Finding.WORSE] * 3),
        ({1: 1.0, 2: 0.9}, [Finding.WORSE, Finding.NOTHING, Finding.WORSE]),
    ],
)
def test_a_slower_target_is_found_at_the_points_where_it_is(
    slower: Callable[..., list[Match]], factors: dict[int, float], findings: list[Finding]
) -> None:
    found = compare(slower(factors), metrics=[RATE])
    assert [contest.differences[0].finding for contest in found.contests] == findings
    assert [contest.n_pairs for contest in found.contests] == [20, 10, 10]
    assert found.n_tests == 1
    assert any("p is corrected within each point: of 2 points" in note for note in found.notes)
    assert found.warnings == []


def test_thresholds_are_for_all_points_together(slower: Callable[..., list[Match]]) -> None:
    threshold = parsed("samples_per_s < -5%", percent=True)
    found = compare(slower({1: 0.9, 2: 0.9}), metrics=[RATE], thresholds=[threshold])
    assert found.breached
    assert [len(contest.thresholds) for contest in found.contests] == [1, 0, 0]


def test_points_are_shown_one_after_the_other(slower: Callable[..., list[Match]]) -> None:
    found = compare(slower({1: 1.0, 2: 0.9}), metrics=[RATE])
    console = Console(file=io.StringIO(), width=160, highlight=False)
    show(found, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("contender: ") == 1
    heads = [line for line in shown.splitlines() if line.endswith(("points", "=1", "=2"))]
    assert [head.rpartition("/")[2] for head in heads] == [
        "b, all points",
        "n_workers=1",
        "n_workers=2",
    ]
    assert markdown(found).count("\n### ") == 3
    plain = found.to_json()
    assert [one["point"] for one in plain["contenders"]] == [
        ALL_POINTS,
        "n_workers=1",
        "n_workers=2",
    ]
    assert len(plain["contenders"][1]["baseline"]["reports"]) == 10


def test_warnings_are_of_points(tmp_path: Path) -> None:
    plan = plan_for("a", "b", matrix=MATRIX, repeats=1)
    swept(
        tmp_path,
        plan,
        of_run,
        config__n_workers=workers,
        totals__write__limited_by=lambda run: "generator" if workers(run) == 1 else "target",
    )
    warnings = compare(read_matches(tmp_path, []).matches).warnings
    assert [line.partition(":")[0] for line in warnings] == [
        f"{tmp_path}/{target}/n_workers=1" for target in "ab"
    ]
