"""The page in a real browser: charts, filters, keyboard, themes, print; and that it asks nobody."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING

import pytest

from browser import Browser, Page, require_browser
from looker.analysis.page.page import html
from page_reports import failed_report, full_report, written, written_sweep
from servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_browser()
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes the page of some runs, once."""
    root = tmp_path_factory.mktemp("pages")

    def made(name: str) -> Path:
        page = root / f"{name}.html"
        if not page.exists():
            page.write_text(html(_runs(root / name, name))[0], encoding="utf-8")
        return page

    return made


def _runs(root: Path, name: str) -> list[Path]:
    if name == "one":
        return [written(root, [full_report()])]
    if name == "failed":
        return [written(root, [failed_report()])]
    if name == "sweep":
        return [written_sweep(root, [[1, 2], ["a", "b", "c"]], ["old", "new"])]
    old = [full_report(1000 * (at + 1), begin_s=40 * at) for at in range(3)]
    new = [full_report(900 * (at + 1), begin_s=40 * at + 20) for at in range(3)]
    new[2] = failed_report("x", started_at=new[2]["started_at"])
    return [written(root / "old", old), written(root / "new", new)]


def visible_rows(page: Page) -> list[str]:
    rows: list[str] = page.evaluate(
        "[...document.querySelectorAll('.runs tbody tr')].filter(row => row.checkVisibility())"
        ".map(row => row.cells[0].textContent)"
    )
    return rows


def plotted(page: Page) -> dict[str, list[int]]:
    """Return for each chart that is drawn the numbers of its traces' points."""
    found: dict[str, list[int]] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.plot')]"
        ".filter(plot => plot.querySelector('.main-svg'))"
        ".map(plot => [document.getElementById(plot.id + '-title').textContent,"
        " plot.data.map(trace => trace.x.length)]))"
    )
    return found


def chart_of(page: Page, title: str) -> str:
    """Return the id of the chart with a title, after scrolling to it."""
    found: str = page.evaluate(
        f"[...document.querySelectorAll('.chart')].find(chart =>"
        f" chart.querySelector('h3').textContent === {json.dumps(title)})"
        ".querySelector('.plot').id"
    )
    page.evaluate(f"document.getElementById('{found}').scrollIntoView({{block: 'center'}})")
    page.until(f"document.querySelector('#{found} .main-svg') !== null")
    return found


def focused(page: Page) -> str:
    told: str = page.evaluate(
        "(one => [one.tagName, one.type || '', one.className, one.textContent.slice(0, 40)]"
        ".join('|'))(document.activeElement)"
    )
    return told


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("one", "dark"), ("failed", "light"), ("sides", "light"), ("sweep", "dark")],
)
def test_every_chart_is_drawn_without_complaint_or_request(
    browser: Browser, pages: Callable[..., Path], name: str, scheme: str
) -> None:
    path = pages(name)
    with browser.page(path, scheme=scheme) as page:
        # of the runs, which all have the same charts, the first two
        page.evaluate(
            "document.querySelectorAll('#runs .fold:nth-of-type(n + 3)')"
            ".forEach(one => one.remove());"
            "document.querySelectorAll('details').forEach(one => { one.open = true; })"
        )
        page.draw_all()
        drawn = plotted(page)
        n_charts = page.evaluate("document.querySelectorAll('.plot').length")
        assert page.evaluate("document.querySelectorAll('.plot .main-svg').length") >= n_charts
        assert all(any(points) for points in drawn.values())
        # pictures of heat maps are written into the page by plotly
        assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]
        assert page.complaints == []
        # nothing is wider than the window
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        # the data of each chart is there as a table
        assert (
            page.evaluate(
                "[...document.querySelectorAll('.chart details')]"
                ".filter(one => !one.querySelector('tbody tr')).length"
            )
            == 0
        )


def test_charts_have_the_right_traces(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("one")) as page:
        page.draw_all()
        drawn = plotted(page)
    assert drawn["Samples per second"] == [8, 8]
    assert drawn["Push latency"] == [8, 8, 8]
    assert drawn["The target's CPU"] == [4]
    assert drawn["Rate by cycle"] == [2, 2]
    assert drawn["Samples by worker"] == [2, 2]
    assert len(drawn["Latency by percentile"]) == 3


def test_hovering_shows_exact_values(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("one")) as page:
        plot = chart_of(page, "Samples per second")
        x, y = page.evaluate(
            f"(() => {{ const plot = document.getElementById('{plot}');"
            " const box = plot.getBoundingClientRect(); const { xaxis, yaxis } = plot._fullLayout;"
            " return [box.x + xaxis._offset + xaxis.l2p(3), box.y + yaxis._offset"
            " + yaxis.l2p(2600)]; })()"
        )

        def hovered() -> str:
            # a hand is never quite still: a chart that has just come hears the second move
            page.move_to(x - 1, y)
            page.move_to(x, y)
            told: str = page.evaluate(f"document.querySelector('#{plot} .hoverlayer').textContent")
            return told

        text = wait_until(hovered, "the tooltip")
        # 40,000 samples in 20 s, and a tenth more in each second
        assert "written : 2,600/s" in text
        assert "validated : 0/s" in text
        assert page.complaints == []


def test_arrow_keys_go_from_point_to_point(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("one")) as page:
        plot = chart_of(page, "Push latency")
        page.evaluate(f"document.getElementById('{plot}').focus()")
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
            page.press(key)
        said = page.evaluate("document.getElementById('said').textContent")
        assert said == "p50: 1, 6; p99: 1, 18; highest: 1, 54"
        # of quick presses the last one is shown
        text = f"document.querySelector('#{plot} .hoverlayer').textContent"
        page.until(f"{text}.endsWith('p506 msp9918 mshighest54 ms')")
        page.press("End")
        assert "none" in page.evaluate("document.getElementById('said').textContent")
        page.press("Escape")
        page.until(f"document.querySelector('#{plot} .hoverlayer').textContent === ''")
        assert page.complaints == []


def test_the_filter_narrows_the_table(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sides")) as page:
        everything = visible_rows(page)
        assert everything == [f"{side}/{at}" for side in ("old", "new") for at in range(3)]
        page.evaluate("document.querySelector('.filter-text').focus()")
        page.write("new/1")
        assert visible_rows(page) == ["new/1"]
        assert page.evaluate("document.querySelector('.shown').textContent") == "1 of 6 runs"
        page.evaluate(
            "(() => { const text = document.querySelector('.filter-text'); text.value = '';"
            " text.dispatchEvent(new Event('input')); })()"
        )
        _choose(page, ".filters select", "✗ failed", place=2)
        assert visible_rows(page) == ["new/2"]
        _choose(page, ".filters select", "", place=2)
        _choose(page, ".filters select", "old", place=0)
        assert visible_rows(page) == everything[:3]
        assert page.complaints == []


def test_columns_are_sorted_by_key(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sides")) as page:
        page.evaluate(
            "[...document.querySelectorAll('.runs thead button')]"
            ".find(one => one.textContent === 'written, /s').focus()"
        )
        page.press("Enter")
        # 900 times n beside 1,000 times n, and one of 40,000
        ascending = ["new/0", "old/0", "new/1", "old/1", "old/2", "new/2"]
        assert visible_rows(page) == ascending
        sorts = "[...document.querySelectorAll('[aria-sort]')].map(one => one.ariaSort)"
        assert page.evaluate(sorts) == ["ascending"]
        page.press(" ")
        assert visible_rows(page) == ascending[::-1]
        assert page.evaluate(sorts) == ["descending"]
        assert page.evaluate("document.activeElement.textContent") == "written, /s"


def test_tab_reaches_everything(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sides")) as page:
        seen = []
        for _ in range(200):
            page.press("Tab")
            told = focused(page)
            if told.startswith("BODY") or (seen and told == seen[0]):
                break
            seen.append(told)
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", told
        kinds = [told.partition("|")[0] for told in seen]
        assert seen[0] == "A||skip|Skip to the content"
        assert "BUTTON|button||Dark theme" in seen
        n_shown = page.evaluate(
            "[...document.querySelectorAll('a, button, input, select, summary, .plot')]"
            ".filter(one => one.checkVisibility()).length"
        )
        reached = [told for told in seen if "|scroll|" not in told]
        assert len(reached) == n_shown
        for kind, least in (("INPUT", 1), ("SELECT", 3), ("SUMMARY", 10), ("DIV", 5)):
            assert kinds.count(kind) >= least, kind


def test_details_open_by_key_and_show_the_data(
    browser: Browser, pages: Callable[..., Path]
) -> None:
    with browser.page(pages("one")) as page:
        page.evaluate("document.querySelector('.chart details summary').focus()")
        page.press("Enter")
        rows = page.until(
            "[...document.querySelectorAll('.chart details[open] tr')]"
            ".map(row => [...row.cells].map(cell => cell.textContent)) || null"
        )
        assert rows[0] == [
            "time since the start, s",
            "written, samples/s",
            "validated, samples/s",
        ]
        assert rows[2] == ["1", "2,200", "0"]
        assert len(rows) == 9


def _background(page: Page) -> str:
    told: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return told


def _line_colour(page: Page, plot: str) -> str:
    told: str = page.evaluate(f"document.querySelector('#{plot} .js-line').style.stroke")
    return told


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(
    browser: Browser, pages: Callable[..., Path], scheme: str
) -> None:
    with browser.page(pages("one"), scheme=scheme) as page:
        plot = chart_of(page, "Samples per second")
        light = ("rgb(255, 255, 255)", "rgb(0, 114, 178)")
        dark = ("rgb(20, 23, 27)", "rgb(77, 166, 222)")
        first, second = (light, dark) if scheme == "light" else (dark, light)
        assert (_background(page), _line_colour(page, plot)) == first
        page.click("#theme")
        page.until(f"document.querySelector('#{plot} .js-line').style.stroke !== {first[1]!r}")
        assert (_background(page), _line_colour(page, plot)) == second
        assert page.complaints == []


def test_texts_have_enough_contrast(browser: Browser, pages: Callable[..., Path]) -> None:
    names = ("--text", "--dim", "--link", "--good", "--bad", "--warn")
    for scheme in ("light", "dark"):
        with browser.page(pages("one"), scheme=scheme) as page:
            colours = page.evaluate(
                f"{json.dumps([*names, '--ground', '--raised'])}.map(name =>"
                " getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
            )
        *texts, ground, raised = map(_luminance, colours)
        for name, text in zip(names, texts, strict=True):
            for behind in (ground, raised):
                # WCAG 2.2, success criterion 1.4.3
                low, high = sorted((text, behind))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, name)


def _luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_narrow_screen(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sides"), width=390, height=844) as page:
        page.draw_all()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        widths = page.evaluate(
            "[...document.querySelectorAll('.plot > .plot-container .main-svg')]"
            ".map(one => one.getBoundingClientRect().right)"
        )
        assert widths
        assert max(widths) <= 390
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=1000,
            height=844,
            deviceScaleFactor=1,
            mobile=False,
        )
        # drawn again for the new width
        page.until("document.querySelector('.plot .main-svg').getBoundingClientRect().width > 380")


def test_print_is_light_whole_and_without_controls(
    browser: Browser, pages: Callable[..., Path]
) -> None:
    with browser.page(pages("one"), scheme="dark") as page:
        # nothing was scrolled to: print draws what was never seen
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.send("Emulation.setEmulatedMedia", media="print", features=dark)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert _background(page) == "rgb(255, 255, 255)"
        shown = "[...document.querySelectorAll({})].filter(one => one.checkVisibility()).length"
        for selector in ("#theme", "nav", ".skip", ".as-table", "input", "select"):
            assert page.evaluate(shown.format(json.dumps(selector))) == 0, selector
        n_charts = page.evaluate("document.querySelectorAll('.plot').length")
        assert len(plotted(page)) == n_charts
        assert page.evaluate(
            "[...document.querySelectorAll('.main-svg')]"
            ".every(one => one.getBoundingClientRect().width <= 680)"
        )
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.send("Emulation.setEmulatedMedia", media="", features=dark)
        assert _background(page) == "rgb(20, 23, 27)"
        assert page.complaints == []


def test_the_browser_prints_it(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sides"), scheme="dark") as page:
        document = page.pdf()
        assert document.startswith(b"%PDF")
        n_pages = len(re.findall(rb"/Type\s*/Page\b", document))
        assert 3 <= n_pages <= 14
        assert page.complaints == []


def test_a_sweeps_charts_show_what_is_chosen(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("sweep")) as page:
        plot = chart_of(page, "new")
        # thousands of samples in 10 s, and 150 that the two repeats have on average
        assert page.evaluate(f"document.getElementById('{plot}').data[0].z") == [
            [215, 815],
            [415, 1015],
            [615, 1215],
        ]
        page.evaluate(f"document.querySelector('#{plot} ~ details summary').click()")
        table = (
            f"[...document.querySelectorAll('#{plot} ~ details tr')]"
            ".map(row => [...row.cells].map(cell => cell.textContent).join('|'))"
        )
        page.until(f"{table}.length === 4")
        assert page.evaluate(table)[1] == "a|215|815"
        _choose(page, "#sweep .choices select", "lines over alpha", place=1)
        page.until(f"document.getElementById('{plot}').data.length === 3")
        names = f"document.getElementById('{plot}').data.map(one => one.name)"
        assert page.evaluate(names) == ["beta=a", "beta=b", "beta=c"]
        assert page.evaluate(table)[1] == "1|215|415|615"
        _choose(page, "#sweep .choices select", "write.payload_mb_per_s, MB/s", place=0)
        assert page.evaluate("document.querySelector('#sweep .chosen').textContent") == (
            "write.payload_mb_per_s, MB/s, lines over alpha"
        )
        # runs are apart by point
        dots = chart_of(page, "Writing, run by run")
        texts = f"document.getElementById('{dots}').data.map(one => one.text.length)"
        first = page.evaluate(f"document.getElementById('{dots}').data[1].y")
        _choose(page, "#overview .choices select", "alpha=2,beta=a", place=0)
        page.until(f"document.getElementById('{dots}').data[1].y[0] !== {first[0]}")
        assert page.evaluate(texts) == [2, 2]
        assert page.complaints == []


def _choose(page: Page, selector: str, value: str, *, place: int) -> None:
    page.evaluate(
        f"(() => {{ const one = document.querySelectorAll({json.dumps(selector)})[{place}];"
        f" one.value = {json.dumps(value)};"
        " one.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )


def test_hostile_texts_stay_texts(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("failed")) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        page.draw_all()
        assert page.evaluate("document.querySelectorAll('script').length") == 3
        marks = page.evaluate("[...document.querySelectorAll('mark')].map(one => one.textContent)")
        assert marks == ["A", "B"]
        assert "<script>alert(1)</script>" in page.evaluate(
            "document.querySelector('.evidence h3').textContent"
        )
        assert page.complaints == []


def test_a_picture_of_the_page_is_not_blank(browser: Browser, pages: Callable[..., Path]) -> None:
    with browser.page(pages("one")) as page:
        picture = page.picture(whole=False)
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (1280, 900)
    assert len(picture) > 30_000
