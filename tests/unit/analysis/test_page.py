"""The page: what it shows, that nothing from a report is more than text, that it stays small."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.analysis.page.gather import gather
from looker.analysis.page.page import MAX_DETAILED, html, script_json, sections_of
from looker.errors import UsageError
from page_reports import HOSTILE, failed_report, full_report, latency, written, written_sweep
from run_reports import plain_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MADE_WITH_BYTES = 4_900_000
"""Scripts and styles of every page: what is above this is of the runs."""


class Parsed(HTMLParser):
    """A page as a strict enough parser sees it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._in: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._in.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._in[-1:] == ["script"]:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = attributes, before + data
        elif self._in[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def charts(self) -> dict[str, Any]:
        (plain,) = (code for attributes, code in self.scripts if attributes.get("type"))
        found: dict[str, Any] = json.loads(plain)
        return found

    def figures(self) -> Iterator[dict[str, Any]]:
        yield from self.charts["figures"].values()
        for variants in self.charts["variants"].values():
            yield from variants.values()

    def values(self, name: str) -> list[str | None]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def page_of(*paths: Path) -> Parsed:
    return Parsed(html(paths)[0])


def titles(*paths: Path) -> list[str]:
    return [section.title for section in sections_of(gather(paths))[1]]


def check_figures(parsed: Parsed) -> None:
    """Every attribute of every figure is one that plotly knows, with a value that it takes."""
    for figure in parsed.figures():
        go.Figure(figure)


def test_a_full_report_has_every_section(tmp_path: Path) -> None:
    path = written(tmp_path / "one", [failed_report("x")])
    assert titles(path) == [
        "Verdict and key figures",
        "Thresholds, faults",
        "Mismatches",
        "Over time",
        "Latency",
        "Cycles",
        "Workers",
        "Environment and configuration",
    ]
    parsed = page_of(path)
    check_figures(parsed)
    # over time: 2 rates, 2 latencies, held back, retries, lag, CPU, memory; then 1, 2 and 3
    assert len(parsed.charts["figures"]) == 9 + 1 + 2 + 3
    for said in ("✗ failed", "40,000 entries", "60.0 s/GB", "300 MB", "byte 5, counted from 0"):
        assert said in parsed.text


def test_what_a_report_has_nothing_of_is_left_out(tmp_path: Path) -> None:
    report = plain_report(1000)
    assert titles(written(tmp_path / "one", [report])) == [
        "Verdict and key figures",
        "Over time",
        "Latency",
        "Environment and configuration",
    ]
    parsed = page_of(tmp_path / "one")
    assert "The report has no time series" in parsed.text


def test_a_ledger_that_was_read_back(tmp_path: Path) -> None:
    report = full_report(
        mode="verify", totals__write=None, series__write=None, ledger={"mode": "metrics"}
    )
    for cycle in report["cycles"]:
        for part in (cycle, *cycle["workers"]):
            part["write"] = None
    parsed = page_of(written(tmp_path / "one", [report]))
    check_figures(parsed)
    assert "of 40,000 samples validated" in parsed.text
    assert "Written" not in parsed.text
    assert "Query latency" in parsed.text


def test_targets_of_a_sweep_are_sides(tmp_path: Path) -> None:
    root = written_sweep(tmp_path / "sweep", [[1, 2]], ["old", "new"], repeats=3)
    parsed = page_of(root / "new", root / "old")
    assert "all points: old against new" in parsed.text
    assert "alpha=2: old against new" in parsed.text


def test_sides_are_compared(tmp_path: Path) -> None:
    old = written(tmp_path / "old", [full_report(1000 + at, begin_s=40 * at) for at in range(9)])
    new = [full_report(900 + at, begin_s=40 * at + 20) for at in range(9)]
    parsed = page_of(old, written(tmp_path / "new", new))
    check_figures(parsed)
    assert "new against old" in parsed.text
    assert "write.samples_per_s \N{MINUS SIGN}10.0 % (worse)" in parsed.text
    (forest,) = (one for one in parsed.figures() if "error_x" in one["data"][0])
    trace = forest["data"][0]
    row = next(at for at, name in enumerate(trace["y"]) if name.startswith("write.samples_per_s"))
    assert trace["x"][row] == pytest.approx(-9.96, abs=0.05)
    assert trace["x"][row] - trace["error_x"]["arrayminus"][row] >= -10.0
    # the configuration's table marks what differs
    assert "differ between the runs, marked ≠" in parsed.text


def test_runs_that_are_not_alike_are_shown_with_what_differs(tmp_path: Path) -> None:
    old = written(tmp_path / "old", [full_report(1000)])
    new = written(tmp_path / "new", [full_report(900, begin_s=30, config__n_workers=7)])
    assert "config.n_workers is 1 in old, 7 in new" in page_of(old, new).text


def test_too_many_sides_are_no_repeats(tmp_path: Path) -> None:
    paths = [written(tmp_path / str(at), [full_report(1000, begin_s=at)]) for at in range(12)]
    assert "12 sides are too many to compare" in page_of(*paths).text


@pytest.mark.parametrize(
    ("values", "n_charts", "n_views"),
    [([[1, 20, 3]], 1, 1), ([[1, 2], ["a", "b", "c"]], 2, 3)],
)
def test_a_sweep(
    tmp_path: Path, values: Sequence[Sequence[Any]], n_charts: int, n_views: int
) -> None:
    root = written_sweep(tmp_path / "sweep", values, ["old", "new"])
    parsed = page_of(root)
    check_figures(parsed)
    # the others are of runs, apart by point
    variants = {name: one for name, one in parsed.charts["variants"].items() if "0,0" in one}
    assert len(variants) == n_charts
    for one in variants.values():
        views = {key.partition(",")[2] for key in one}
        assert views == {str(at) for at in range(n_views)}
    assert "1 run(s) failed and are left out" in parsed.text
    assert "the target was away" in parsed.text
    assert "new against old" in parsed.text
    first = next(iter(variants.values()))["0,0"]["data"]
    if n_charts == 1:
        # one line per target, over values in the order of numbers
        assert [trace["name"] for trace in first] == ["old", "new"]
        assert first[1]["x"] == ["1", "3", "20"]
        assert first[1]["y"] == [pytest.approx(n / 10) for n in (2150, 6150, 4150)]
    else:
        assert first[0]["x"] == ["1", "2"]
        assert first[0]["y"] == ["a", "b", "c"]
        # rows are those of the second option; the first point of the first target lost a repeat
        assert first[0]["z"][0] == [pytest.approx(110.0), pytest.approx(415.0)]


def test_nothing_from_a_report_is_more_than_text(tmp_path: Path) -> None:
    harmless, hostile = (
        written(tmp_path / name, [failed_report(text), failed_report(text, config__n_workers=4)])
        for name, text in (("harmless", "harmless"), ("hostile", HOSTILE))
    )
    plain, parsed = page_of(harmless), page_of(hostile)
    assert parsed.tags == plain.tags
    assert [(tag, name) for tag, name, _ in parsed.attributes] == [
        (tag, name) for tag, name, _ in plain.attributes
    ]
    check_figures(parsed)
    assert "{{ 7*7 }}" in parsed.text
    page = html([hostile])[0]
    for sign in ("\x00", "\x1b", "\u202e", "\u2028"):
        assert sign not in page


@given(st.text())
def test_json_in_a_script_element_stays_there(text: str) -> None:
    said = script_json({text: [text]})
    assert json.loads(said) == {text: [text]}
    assert not set("<>&\u2028\u2029") & set(said)


def test_the_page_asks_nobody_and_runs_only_its_own_scripts(tmp_path: Path) -> None:
    parsed = page_of(written(tmp_path / "one", [failed_report()]))
    outward = {"src", "srcset", "action", "background", "data"}
    assert not outward & {name for _, name, _ in parsed.attributes}
    links = [value or "" for tag, name, value in parsed.attributes if name == "href"]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    (policy,) = (value for value in parsed.values("content") if value and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    hashes = set(re.findall(r"'sha256-[^']+'", policy))
    codes = [code for attributes, code in parsed.scripts if not attributes.get("type")]
    assert hashes == {
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for code in codes
    }
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_every_chart_has_a_name_a_description_and_its_data(tmp_path: Path) -> None:
    sides = [
        written(tmp_path / name, [full_report(1000 + at, begin_s=at) for at in range(3)])
        for name in ("old", "new")
    ]
    parsed = page_of(*sides)
    ids = set(parsed.values("id"))
    assert len(ids) == len(parsed.values("id"))
    for name in ("aria-labelledby", "aria-describedby"):
        assert set(parsed.values(name)) <= ids
    n_charts = len(parsed.charts["figures"])
    assert parsed.values("class").count("plot") == n_charts
    assert parsed.values("class").count("as-table") == n_charts


def test_a_thousand_runs_stay_small(tmp_path: Path) -> None:
    long = full_report()
    n = 600
    long["series"] |= {"n_buckets": n}
    for part in ("write", "read"):
        long["series"][part] = {name: list(range(n)) for name in long["series"][part]}
    reports = [
        {**long, "started_at": f"2026-01-{1 + at // 40:02}T12:00:{at % 60:02}Z"}
        for at in range(1000)
    ]
    page, n_runs = html([written(tmp_path / "many", reports)])
    assert n_runs == 1000
    assert len(page.encode()) - MADE_WITH_BYTES < 3_000_000
    parsed = Parsed(page)
    assert f"{MAX_DETAILED} of 1,000 runs" in parsed.text
    assert parsed.values("data-facets").count(None) == 0
    assert len(parsed.values("data-facets")) == 1000


def test_runs_that_did_not_pass_are_shown_first(tmp_path: Path) -> None:
    reports = [full_report(begin_s=at) for at in range(30)]
    reports[29] = failed_report("x", started_at="2026-01-31T13:00:00Z")
    _, sections = sections_of(gather([written(tmp_path / "runs", reports)]))
    (details,) = (section for section in sections if section.anchor == "runs")
    folds = [block for block in details.blocks if block.kind == "fold"]
    assert folds[0].summary == "29"  # type: ignore[union-attr]
    assert len(folds) == MAX_DETAILED


def test_of_a_page_of_two_the_same_may_not_be_given(tmp_path: Path) -> None:
    path = written(tmp_path / "one", [full_report()])
    with pytest.raises(UsageError, match="PATH: the same one is given twice"):
        gather([path, tmp_path / "one" / ".." / "one"])


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*path, key))


_FULL = failed_report("x", totals__read__error="why")
# what reading a report insists on is of the right type already
_FIRM = {
    *[("schema_version",), ("looker_version",), ("invocation_id",), ("mode",), ("verdict",)],
    *[("exit_code",), ("started_at",), ("config",), ("environment",), ("target",), ("totals",)],
    *[
        ("totals", "write"),
        ("totals", "read"),
        ("totals", "spot_check"),
        ("totals", "target"),
        ("kind",),
    ],
}
_PLACES = [place for place in _places(_FULL) if place not in _FIRM]
_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.just(10**400),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.floats(-1e300, 1e300) | st.text("ab"), max_size=9),
    st.just(latency([])),
)


@given(st.lists(st.tuples(st.sampled_from(_PLACES), _ANYTHING), max_size=6))
def test_whatever_a_report_holds_there_is_a_page(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    report = copy.deepcopy(_FULL)
    for place, value in changes:
        at: Any = report
        for step in place[:-1]:
            at = at.get(step) if isinstance(at, dict) else at
        if isinstance(at, dict):
            at[place[-1]] = value
    directory = tmp_path_factory.mktemp("any")
    text = json.dumps([report]).replace("NaN", "null").replace("-Infinity", "null")
    (report,) = json.loads(text.replace("Infinity", "null"))
    try:
        # no figure has what JSON has not: making the page would raise
        page, n_runs = html([written(directory, [report, full_report(begin_s=30)])])
    except UsageError as error:
        # orjson refuses integers of any length
        assert "is not JSON" in str(error)  # noqa: PT017
        return
    assert n_runs == 2
    assert page.endswith("</html>")
