"""What the page's charts and words are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.page import latency, over_time, parts, wording
from looker.analysis.page.charts import EXACT, Line, exact, label, linear_axis, lines, log_axis
from looker.analysis.page.findings import mismatches_of
from looker.analysis.page.lookup import column, number
from looker.analysis.page.overview import all_mismatches
from looker.analysis.page.runs import runs_of
from looker.analysis.reports import Report, Side
from page_reports import failed_report, full_report, series
from page_reports import latency as latency_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.analysis.page.blocks import Chart
    from looker.analysis.page.runs import Run

MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    def made(plain: dict[str, Any], side: str = "side", name: str = "one") -> Run:
        (found,) = runs_of([Side(side, [Report(tmp_path / f"{name}.report.json", plain)])])
        return found

    return made


def charts_of(blocks: Any) -> dict[str, Chart]:
    return {
        chart.title: chart for block in blocks if block.kind == "charts" for chart in block.charts
    }


def trace(chart: Chart, name: str) -> dict[str, Any]:
    (found,) = (one for one in chart.figure["data"] if one["name"] == name)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (0.00012, "0.00012"),
        (0.5, "0.500"),
        (9.876, "9.88"),
        (9.9999, "10.0"),
        (12.34, "12.3"),
        (999.4, "999"),
        (1234567.8, "1,234,568"),
        (-2.5, f"{MINUS}2.50"),
        (None, "\N{EN DASH}"),
    ],
)
def test_numbers_have_three_digits(value: float | None, said: str) -> None:
    assert wording.three_digits(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 /s"), (999, "999 /s"), (999.9, "1.00 k/s"), (1.2345e6, "1.23 M/s"), (7e13, "70.0 T/s")],
)
def test_si_prefixes(value: float, said: str) -> None:
    assert wording.si(value, "/s") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.25, "0.250 s"), (119, "119 s"), (150, "2 min 30 s"), (7260, "2 h 01 min")],
)
def test_time_spans(value: float, said: str) -> None:
    assert wording.seconds(value) == said


def test_only_finite_numbers_are_numbers() -> None:
    tree = {"a": {"b": 1.5, "c": True, "d": "1", "e": float("nan"), "f": 10**400}}
    found = [number(tree, f"a.{key}") for key in "bcdefg"]
    assert found == [1.5, None, None, None, None, None]
    assert column({"x": [1, None, "2", False]}, "x") == [1.0, None, None, None]
    assert column({"x": 1}, "x") is None


def test_figures_keep_whole_numbers_and_seven_digits() -> None:
    assert exact([1234567890123, 1 / 3, None, 2.0]) == [1234567890123, 0.3333333, None, 2]
    assert EXACT == ",.12~r"


def test_what_is_not_finite_is_no_value() -> None:
    assert exact([float("inf"), float("nan"), 1.0]) == [None, None, 1]


def test_names_are_text_to_plotly() -> None:
    assert label("<b>&\x00</b>") == "&lt;b&gt;&amp;·&lt;/b&gt;"
    assert label("x" * 50) == f"…{'x' * 39}"


def test_axes_have_readable_ticks() -> None:
    assert linear_axis([0.2, None])["tickformat"] == ",~r"
    assert linear_axis([1e6])["tickformat"] == ",.3~s"
    assert log_axis([1, 50])["dtick"] == "D2"
    assert log_axis([1, 1e6])["dtick"] == 1


def test_a_value_without_neighbours_has_a_mark() -> None:
    def mode(values: list[float | None]) -> str:
        figure = lines([Line("one", [0.0, 1.0, 2.0], values)], "x", "y")
        return str(figure["data"][0]["mode"])

    assert mode([1.0, 2.0, None]) == "lines"
    assert mode([1.0, None, 2.0]) == "lines+markers"


def test_rates_and_latencies_over_time(run: Callable[..., Run]) -> None:
    plain = full_report(20_000)
    plain["series"] |= {"bucket_s": 2.0, "n_buckets": 9}  # one more than there are values
    charts = charts_of(over_time.of_run(run(plain)))
    written = trace(charts["Samples per second"], "written")
    assert written["x"] == [2 * at for at in range(9)]
    assert written["y"] == [500, 550, 600, 650, 0, 0, 0, 0, None]
    assert trace(charts["Bytes per second"], "sent, compressed")["y"][0] == pytest.approx(0.045)
    assert trace(charts["Push latency"], "p99")["y"][:5] == [15, 18, 21, 24, None]
    writers = charts["What writers did"]
    assert trace(writers, "rate limited")["y"][1] == pytest.approx(0.25)
    assert trace(writers, "request under way")["y"][0] == pytest.approx(0.5)
    assert len(writers.figure["data"]) == 2, "nothing was throttled"
    assert "Mismatches over time" not in charts
    layout = charts["Samples per second"].figure["layout"]
    assert layout["shapes"][0]["x1"] == 2.0
    assert layout["xaxis"]["range"] == [0, 18]


def test_long_series_are_thinned_out() -> None:
    n = over_time.MAX_POINTS * 3 - 1
    plain = {"series": {**series(), "n_buckets": n, "bucket_s": 0.5, "measured_from_s": None}}
    plain["series"]["write"] = {
        "samples_acked": list(range(n)),
        "service_ms_max": [float(at % 7) for at in range(n)],
    }
    line = over_time.timeline(plain)
    assert line is not None
    assert line.merged == 3
    rates = line.rate("write.samples_acked")
    assert rates is not None
    assert len(rates) == len(line.at) == over_time.MAX_POINTS
    assert rates[1] == (3 + 4 + 5) / 1.5
    # the last one has fewer buckets
    assert rates[-1] == (n - 2 + n - 1) / 1.0
    assert sum(rate * 1.5 for rate in rates[:-1] if rate) + rates[-1] * 1.0 == sum(range(n))  # type: ignore[operator]
    assert line.level("write.service_ms_max")[:3] == [2.0, 5.0, 6.0]  # type: ignore[index]
    assert line.rate("write.queries") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"series": None},
        {"series__bucket_s": 0},
        {"series__bucket_s": -1.0},
        {"series__n_buckets": 0},
        {"series__n_buckets": 1e12},
        {"series__n_buckets": "many"},
    ],
)
def test_a_series_that_is_none(changes: dict[str, Any], run: Callable[..., Run]) -> None:
    blocks = over_time.of_run(run(full_report(**changes)))
    assert blocks[0].kind == "text"
    # what the target used is known by other means
    assert set(charts_of(blocks)) == {"The target's CPU", "The target's memory"}


def test_the_targets_own_use(run: Callable[..., Run]) -> None:
    charts = charts_of(over_time.of_run(run(full_report())))
    used = trace(charts["The target's CPU"], "CPU")
    # the series begins a second after the run; between the third and the fourth scrape the
    # process was begun anew
    assert used["x"] == [0.5, 2.5, 4.5, 6.5]
    assert used["y"] == [1.5, 1.5, None, 1.0]
    held = trace(charts["The target's memory"], "resident memory")
    assert held["x"] == [-0.5, 1.5, 3.5, 5.5, 7.5]
    assert held["y"][2] == 300_000_000


def test_runs_over_time_have_one_axis(tmp_path: Path) -> None:
    slow = full_report()
    slow["series"]["bucket_s"] = 100.0
    sides = [
        Side(name, [Report(tmp_path / name / "1.report.json", plain)])
        for name, plain in (("fast", full_report()), ("slow", slow))
    ]
    charts = charts_of(over_time.of_runs(runs_of(sides)))
    figure = charts["Samples written per second"].figure
    assert figure["layout"]["xaxis"]["title"]["text"] == "time since each run's start, min"
    assert [one["name"] for one in figure["data"]] == ["fast/1", "slow/1"]
    assert figure["data"][0]["x"][-1] == pytest.approx(7 / 60, rel=1e-6)
    assert figure["data"][1]["x"][-1] == pytest.approx(700 / 60, rel=1e-6)
    assert len({one["line"]["color"] for one in figure["data"]}) == 2


def test_latency_by_percentile(run: Callable[..., Run]) -> None:
    plain = full_report()
    plain["totals"]["write"]["service_ms"] = latency_of([1000 * at for at in range(1, 1001)])
    (chart,) = latency.of_run(run(plain))
    attempts = chart.figure["data"][0]
    assert attempts["name"] == "push, one attempt (n = 1,000)"
    by_name = dict(zip(attempts["customdata"], attempts["y"], strict=True))
    assert by_name["p0"] == 1.0
    assert by_name["p90.0"] == pytest.approx(900, rel=2e-3)
    assert by_name["p99.00"] == pytest.approx(990, rel=2e-3)
    assert by_name["p99.900"] == pytest.approx(1000, rel=2e-3)
    assert attempts["hovertemplate"] == "%{customdata}: %{y:,.12~r} ms"
    assert attempts["x"][-1] == 1000
    assert attempts["y"] == sorted(attempts["y"])
    axis = chart.figure["layout"]["xaxis"]
    ticks = dict(zip(axis["ticktext"], axis["tickvals"], strict=True))
    assert ticks | {} == {"0": 1, "50": 2, "90": 10, "99": 100, "99.9": 1000, "99.99": 10000}


def test_latencies_of_a_sides_runs_are_merged(tmp_path: Path) -> None:
    def report(number: int, values_us: list[int]) -> Report:
        plain = full_report()
        plain["totals"]["write"]["service_ms"] = latency_of(values_us)
        return Report(tmp_path / f"{number}.report.json", plain)

    sides = [
        Side("old", [report(1, [1000] * 90), report(2, [9000] * 10)]),
        Side("new", [report(3, [5000] * 10)]),
    ]
    push, _ = latency.of_runs(runs_of(sides))
    old, new = push.figure["data"]
    assert old["name"] == "old (n = 100)"
    assert old["y"][0] == 1.0
    assert old["y"][-1] == pytest.approx(9.0, rel=2e-3)
    assert new["y"] == [pytest.approx(5.0, rel=2e-3)] * len(new["y"])


def test_mismatches_of_the_warm_up_are_shown(run: Callable[..., Run]) -> None:
    plain = full_report(verdict="failed")
    read = failed_report("x")["totals"]["read"]
    plain["warm_up"] = {"cycles": 1, "write": None, "read": read, "spot_check": None}
    assert all_mismatches(plain) == 3
    blocks = mismatches_of(run(plain))
    assert [block.kind for block in blocks] == ["table", "text", "evidence"]
    assert [cell.text for cell in blocks[0].rows[0]][:2] == ["corrupt", "3"]  # type: ignore[union-attr]


def test_workers_shares_are_without_the_warm_up(run: Callable[..., Run]) -> None:
    plain = full_report(40_000)
    plain["cycles"][0]["warm_up"] = True
    charts = charts_of(parts.workers_of(run(plain)))
    written = trace(charts["Samples by worker"], "written")
    assert (written["x"], written["y"]) == (["0", "1"], [5000, 15000])
    assert charts["Samples by worker"].says.startswith("Written: the most that one has is 150 %")
    rates = charts_of(parts.cycles_of(run(plain)))["Rate by cycle"]
    assert "The first 1 cycle(s) are warm-up." in rates.says


def test_the_first_difference_is_marked(run: Callable[..., Run]) -> None:
    blocks = mismatches_of(run(failed_report("\x07")))
    (evidence,) = (block for block in blocks if block.kind == "evidence")
    sides = {name: (one.before, one.marked, one.after) for name, one in evidence.sides}  # type: ignore[union-attr]
    assert sides == {"expected": ("same·", "A", "-rest"), "received": ("same·", "B", "-rest")}


def test_a_line_that_is_cut_short_has_a_mark_too(run: Callable[..., Run]) -> None:
    plain = failed_report("x")
    (example,) = plain["totals"]["read"]["examples"]
    example |= {"expected": "abc", "received": "ab"}
    (evidence,) = (block for block in mismatches_of(run(plain)) if block.kind == "evidence")
    sides = {name: (one.before, one.marked) for name, one in evidence.sides}  # type: ignore[union-attr]
    assert sides == {"expected": ("ab", "c"), "received": ("ab", "␃")}


def test_field_case_25_no_rate_is_told_of_a_span_that_is_too_short(run: Callable[..., Run]) -> None:
    plain = full_report(20_000)
    # one core all the time; at 2 s a phase ends and another one begins, 10 ms apart
    plain["target_usage"]["series"] = {
        "at_s": [0.0, 1.0, 2.0, 2.01, 3.0, 4.0],
        "cpu_s": [0.0, 1.0, 2.0, 2.0, 3.0, 4.0],
        "rss_bytes": [1e8] * 6,
    }
    cores = trace(charts_of(over_time.of_run(run(plain)))["The target's CPU"], "CPU")
    assert cores["y"] == pytest.approx([1.0, 1.0, 1.0, 1.0])
