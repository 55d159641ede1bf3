"""Time from acknowledged to visible: which fragments are watched, and what is counted when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import referee
from looker.engine.visibility import Visibility
from looker.model.report import ReadReport
from looker.verify.log_answer import LogAnswers
from looker.verify.pages import Page
from referee import MAYBE, Elements, History

if TYPE_CHECKING:
    from looker.verify.proof import PageProof

# three streams of two fragments of four entries
HISTORY = referee.history()
MS = 1_000_000


def visibility(history: History, acked_ns: list[int]) -> tuple[Visibility, ReadReport]:
    report = ReadReport()
    found = Visibility(
        history.rows(),
        cycle=0,
        n_samples=history.content.n_samples,
        acked_ns=np.array(acked_ns, np.int64),
        first_stream=0,
        report=report,
    )
    return found, report


def proof_of(history: History, page: Page, *without: tuple[int, int]) -> PageProof:
    """Return the proof of a page whose answer lacks some samples: (stream, sample)."""
    elements: Elements = [
        (
            own,
            [
                row
                for number, row in enumerate(rows)
                if (stream, number) not in without and page.start_ns <= row[0] < page.end_ns
            ],
        )
        for stream, (own, rows) in enumerate(history.elements())
    ]
    body = referee.streams_response(elements)
    return LogAnswers(history.content).compare(body, page.expectation)


def values_ms(report: ReadReport, name: str) -> list[float]:
    histogram = getattr(report, name)
    return [histogram.n, pytest.approx(histogram.mean_us / 1000, rel=0.01)]


def test_what_is_there_at_once_has_an_upper_bound_only() -> None:
    whole, report = visibility(HISTORY, [10 * MS, 20 * MS, 30 * MS])
    page = HISTORY.page()
    whole.of_page().note(proof_of(HISTORY, page), 100 * MS, 110 * MS)
    assert report.streams_visible_at_first_ask == 3
    assert values_ms(report, "first_ask_after") == [3, 80]
    assert report.visible_after.n == 0


def test_what_comes_later_is_timed_until_it_has_come() -> None:
    whole, report = visibility(HISTORY, [10 * MS, 20 * MS, 30 * MS])
    page = HISTORY.page()
    watch = whole.of_page()
    # the last samples of streams 1 and 2, and an earlier one of stream 0
    missing = [(1, 7), (2, 7), (0, 3)]
    watch.note(proof_of(HISTORY, page, *missing), 100 * MS, 110 * MS)
    assert report.streams_visible_at_first_ask == 1
    watch.note(proof_of(HISTORY, page, *missing[1:]), 400 * MS, 420 * MS)
    assert values_ms(report, "visible_after") == [1, 400]
    watch.note(proof_of(HISTORY, page, missing[2]), 900 * MS, 930 * MS)
    assert values_ms(report, "visible_after") == [2, (400 + 900) / 2]
    watch.note(proof_of(HISTORY, page), 1900 * MS, 1930 * MS)
    assert report.visible_after.n == 2
    assert report.streams_visible_at_first_ask == 1
    assert report.first_ask_after.n == 3


def test_a_fragment_on_two_pages_is_watched_on_the_later_one() -> None:
    whole, report = visibility(HISTORY, [10 * MS] * 3)
    span_ns = HISTORY.content.step_ns
    page = HISTORY.page()
    last_ns = page.end_ns - 2 * span_ns
    for start_ns, end_ns in ((page.start_ns, last_ns), (last_ns, page.end_ns)):
        part = Page(page.selection, start_ns, end_ns, page.expectation.between(start_ns, end_ns))
        whole.of_page().note(proof_of(HISTORY, part), 100 * MS, 110 * MS)
        assert report.streams_visible_at_first_ask == (0 if end_ns == last_ns else 3)


def test_what_was_not_acknowledged_is_not_watched() -> None:
    # stream 1, fragment 1: then its fragment 0 is the newest
    history = HISTORY.changed(3, state=MAYBE)
    whole, report = visibility(history, [10 * MS, 20 * MS, 30 * MS])
    page = history.page()
    watch = whole.of_page()
    watch.note(proof_of(history, page, (1, 3)), 100 * MS, 110 * MS)
    assert report.streams_visible_at_first_ask == 2
    watch.note(proof_of(history, page), 200 * MS, 220 * MS)
    assert values_ms(report, "visible_after") == [1, 200]
