"""Runs of different points of a sweep are no repeats of each other: field case 24."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.page.apart import MAX_POINTS
from looker.analysis.page.blocks import Cards, Choices, RunTable, Section, Text
from looker.analysis.page.gather import gather
from looker.analysis.page.overview import single, verdict_of
from looker.analysis.page.page import html, sections_of
from looker.analysis.page.runs import runs_of
from looker.analysis.reports import read_side
from looker.model.histogram import Histogram
from page_reports import full_report, written, written_sweep

if TYPE_CHECKING:
    from pathlib import Path

POINTS = ["alpha=1", "alpha=2"]


def section(sections: list[Section], name: str) -> Section:
    return next(one for one in sections if one.anchor == name)


def choices_of(one: Section) -> dict[str, Any]:
    """Return the charts of which a point is chosen, by title."""
    (block,) = (block for block in one.blocks if isinstance(block, Choices))
    ((name, points),) = block.selectors
    assert name == "Point"
    return {chart.title: (list(points), chart) for chart in block.charts}


@pytest.mark.parametrize("several_paths", [False, True])
def test_charts_of_runs_are_apart_by_point(tmp_path: Path, several_paths: bool) -> None:
    root = written_sweep(tmp_path / "sweep", [[1, 2]], ["old", "new"], repeats=3)
    paths = [root / "old", root / "new"] if several_paths else [root]
    runs, sections = sections_of(gather(paths))
    assert {run.point for run in runs} == set(POINTS)
    for name, title, is_one_per_run in (
        ("overview", "Writing, run by run", False),
        ("latency", "Push latency by percentile, all runs of a side together", False),
        ("time", "Samples written per second", True),
    ):
        points, chart = choices_of(section(sections, name))[title]
        assert points == POINTS
        assert sorted(chart.variants) == ["0", "1"]
        assert chart.figure == chart.variants["0"]
        for place, point in enumerate(points):
            mine = [run for run in runs if run.point == point]
            traces = chart.variants[str(place)]["data"]
            if is_one_per_run:
                assert len(traces) == len(mine)
            else:
                assert len(traces) == 2
            told = [text for trace in traces for text in trace.get("text", [])]
            if name == "overview":
                assert sorted(told) == sorted(
                    f"{run.side}/{n}" for run in mine for n in [run.name[-1]]
                )
            assert not any(POINTS[1 - place] in text for text in told)
    (table,) = (one for one in section(sections, "overview").blocks if isinstance(one, RunTable))
    assert table.facets["point"] == [run.point for run in runs]
    assert "point" in table.table.columns


def test_values_of_a_points_runs_alone_are_merged(tmp_path: Path) -> None:
    root = written_sweep(tmp_path / "sweep", [[1, 2]], ["old", "new"], repeats=3)
    runs, sections = sections_of(gather([root]))
    _, chart = choices_of(section(sections, "latency"))[
        "Push latency by percentile, all runs of a side together"
    ]
    for place, point in enumerate(POINTS):
        for trace in chart.variants[str(place)]["data"]:
            side = trace["name"].partition(" ")[0]
            mine = [run for run in runs if (run.point, run.side) == (point, side)]
            encoded = [run.plain["totals"]["write"]["service_ms"]["histogram"] for run in mine]
            n = sum(Histogram.from_base64(one).n for one in encoded)
            assert n > 0
            assert trace["name"] == f"{side} (n = {n:,})"


def test_repeats_without_a_sweep_are_shown_as_ever(tmp_path: Path) -> None:
    old = written(tmp_path / "old", [full_report(1000 + at, begin_s=40 * at) for at in range(3)])
    new = written(tmp_path / "new", [full_report(900, begin_s=20 + 40 * at) for at in range(3)])
    root = written_sweep(tmp_path / "sweep", [[1]], ["one"], repeats=3)
    for paths in ([old, new], [root]):
        runs, sections = sections_of(gather(paths))
        assert {run.point for run in runs} == {""}
        assert not any(
            isinstance(block, Choices)
            for name in ("overview", "latency", "time")
            for block in section(sections, name).blocks
        )


def test_a_point_that_only_some_runs_tell_of_has_an_empty_chart(tmp_path: Path) -> None:
    root = written_sweep(tmp_path / "sweep", [[1, 2]], ["old"], repeats=2)
    side = written(tmp_path / "other", [{**full_report(10, begin_s=900), "series": None}])
    runs, sections = sections_of(gather([root, side]))
    assert {run.point for run in runs} == {*POINTS, "of no sweep"}
    points, chart = choices_of(section(sections, "time"))["Samples written per second"]
    assert chart.variants[str(points.index("of no sweep"))]["data"] == []
    assert html([root, side])[1] == len(runs)


def test_very_many_points_are_told_and_stay_small(tmp_path: Path) -> None:
    root = written_sweep(tmp_path / "sweep", [list(range(60))], ["old", "new"], repeats=2)
    page, _ = html([root])
    assert len(page) < 4_900_000 + 4_000_000
    _, sections = sections_of(gather([root]))
    told = [one.text for one in section(sections, "overview").blocks if isinstance(one, Text)]
    assert f"{60 - MAX_POINTS} more points are in the table only." in told


def test_a_run_that_is_not_over_says_so(tmp_path: Path) -> None:
    place = written(tmp_path / "one", [{**full_report(10), "finished": False}])
    other = written(tmp_path / "two", [full_report(10)])
    _, sections = sections_of(gather([place, other]))
    (cards,) = (one for one in section(sections, "overview").blocks if isinstance(one, Cards))
    told_of = [(card.name, card.value) for card in cards.cards]
    assert told_of[1:] == [("✓ passed", "1"), ("… unfinished", "1")]
    side = read_side(place, "PATH")
    (run,) = runs_of([side])
    assert verdict_of(run) == "… unfinished (passed so far)"
    said = [one.text for one in single(run, [side]).blocks if isinstance(one, Text)]
    assert any("killed" in one or "unfinished" in one for one in said), said


def test_a_run_that_never_began_shows_why_and_no_figures(tmp_path: Path) -> None:
    plain = {**full_report(10), "verdict": "unknown", "error": "cannot reach http://a"}
    side = read_side(written(tmp_path / "one", [plain]), "PATH")
    (run,) = runs_of([side])
    blocks = single(run, [side]).blocks
    (cards,) = (one for one in blocks if isinstance(one, Cards))
    assert [card.name for card in cards.cards] == ["Verdict"]
    assert "nothing was written" in cards.cards[0].more
    said = [one.text for one in blocks if isinstance(one, Text)]
    assert any("cannot reach http://a" in one for one in said)
    assert not any(one.startswith("Checked") for one in said)
