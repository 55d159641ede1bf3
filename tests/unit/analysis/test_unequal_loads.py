"""Sides that had unlike parts of their load refused are told apart, and none is called better."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from looker.analysis import comparison
from looker.analysis.comparison import Comparison, Finding
from looker.analysis.comparison_table import markdown, show
from looker.analysis.sides import Match
from looker.model.threshold import parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.analysis.reports import Side

    Sides = Callable[..., Side]

RATE = "write.samples_per_s"
READ_RATE = "read.samples_per_s"
NOISE = [1000, 1040, 980, 1010, 1070, 990, 1020, 1030, 960, 1000]


def runs(factor: float) -> list[int]:
    return [round(1000 * n * factor) for n in NOISE]


def compared(baseline: Side, contender: Side, **settings: Any) -> Comparison:
    return comparison.compare([Match(baseline, contender)], **settings)


def findings(found: Comparison) -> dict[str, Finding]:
    return {one.path: one.finding for one in found.contests[0].differences}


def text(found: Comparison) -> str:
    console = Console(file=io.StringIO(), width=1000, highlight=False)
    show(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"totals__write__responses_by_status": {"204": 80, "429": 15, "ReadTimeout": 5}},
            "20 % of attempts to push were refused or failed in {b}, 0 % in {a}",
        ),
        (
            {"totals__write__pushes_acked": 90, "totals__write__pushes_retried": 18},
            "20 % of pushes were retried in {b}, 0 % in {a}",
        ),
        (
            {"totals__write__pushes_acked": 90, "totals__write__pushes_rejected": 10},
            "10 % of pushes were rejected in {b}, 0 % in {a}",
        ),
        (
            {"totals__write__samples_in_doubt": 1_000_000},
            "of samples were in doubt in {b}, 0 % in {a}",
        ),
    ],
)
def test_a_contender_that_had_its_load_refused_is_not_better(
    side: Sides, changes: dict[str, Any], words: str
) -> None:
    shape = {
        "totals__write__responses_by_status": {"204": 100},
        "totals__write__pushes_acked": 100,
        "totals__write__pushes_retried": 0,
        "totals__write__pushes_rejected": 0,
    }
    shape |= {"totals__write__samples_in_doubt": 0}
    baseline = side("a", runs(1), **shape)
    contender = side("b", runs(1.5), **{**shape, **changes})
    found = compared(baseline, contender)
    words = words.format(a=baseline.name, b=contender.name)
    assert findings(found)[RATE] is Finding.UNEQUAL
    # reading is another matter
    assert findings(found)[READ_RATE] is Finding.BETTER
    assert any(words in line for line in found.unequal)
    for shown in (text(found), markdown(found)):
        assert "UNEQUAL LOADS" in shown
        assert "not comparable" in shown
    (contest,) = found.to_json()["contenders"]
    assert contest["unequal"] == found.unequal
    verdicts = {one["metric"]: one["verdict"] for one in contest["metrics"]}
    assert verdicts[RATE] == "not comparable"
    # as little as a percentage point may be chance
    equal = compared(baseline, side("c", runs(1.5), **shape))
    assert equal.unequal == []
    assert findings(equal)[RATE] is Finding.BETTER
    assert "UNEQUAL" not in text(equal)


def test_it_may_still_be_worse(side: Sides) -> None:
    statuses = "totals__write__responses_by_status"
    baseline = side("a", runs(1), **{statuses: {"204": 100}})
    found = compared(baseline, side("b", runs(0.5), **{statuses: {"204": 50, "503": 50}}))
    assert findings(found)[RATE] is Finding.WORSE
    assert len(found.unequal) == 1


def test_refused_queries_concern_reading(side: Sides) -> None:
    statuses = "totals__read__responses_by_status"
    baseline = side("a", runs(1), **{statuses: {"200": 100}})
    contender = side("b", runs(1.5), **{statuses: {"200": 100, "429": 95}})
    found = compared(baseline, contender)
    assert findings(found)[READ_RATE] is Finding.UNEQUAL
    assert findings(found)[RATE] is Finding.BETTER
    (line,) = found.unequal
    words = "48.7 % of attempts to query were refused or failed in"
    assert line.startswith(f"{words} {contender.name}, 0 % in {baseline.name}")


def test_a_gate_that_is_kept_says_that_the_loads_are_unequal(side: Sides) -> None:
    statuses = "totals__write__responses_by_status"
    baseline = side("a", runs(1), **{statuses: {"204": 100}})
    gate = parsed("samples_per_s < -5%", percent=True)
    unequal = compared(
        baseline, side("b", runs(1.5), **{statuses: {"204": 60, "503": 40}}), thresholds=[gate]
    )
    assert not unequal.breached
    assert "threshold kept, BUT THE LOADS ARE UNEQUAL" in text(unequal)
    equal = compared(baseline, side("c", runs(1.5), **{statuses: {"204": 60}}), thresholds=[gate])
    assert "threshold kept: not shown" in text(equal)


def test_a_figure_that_counts_refusals_may_be_better(side: Sides) -> None:
    path = "write.pushes_retried"
    shape = {"totals__write__pushes_acked": 100}
    many = side("a", runs(1), **shape, totals__write__pushes_retried=50)
    few = side("b", runs(1), **shape, totals__write__pushes_retried=5)
    found = compared(many, few, metrics=[path, RATE])
    assert findings(found)[path] is Finding.BETTER
    assert found.unequal
