"""The page tells of samples that were never acknowledged, and what the target said."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from looker.analysis.page.page import html
from page_reports import full_report, written

if TYPE_CHECKING:
    from pathlib import Path

IN_DOUBT: dict[str, Any] = {
    "totals__write__samples_in_doubt": 4321,
    "totals__write__samples_stored_per_s": 5000.0,
    "totals__write__responses_by_status": {"204": 9, "500": 12},
    "totals__write__reasons_by_status": {
        "500": [{"text": "deadline <exceeded>", "count": 12}],
        "401": [{"text": "", "count": 1}],
    },
    "totals__read__samples_indeterminate_found": 4000,
}


def page_of(directory: Path, report: dict[str, Any]) -> str:
    return html((written(directory, [copy.deepcopy(report)]),))[0]


def test_what_was_in_doubt_is_told_with_the_targets_words(tmp_path: Path) -> None:
    page = page_of(tmp_path / "some", full_report(**IN_DOUBT))
    assert "4,321" in page
    assert "sent and not acknowledged; 4,000 of them were found exact" in page
    assert "the target said, 500, 12 times: deadline &lt;exceeded&gt;" in page
    assert "(without a word)" in page


def test_a_run_without_doubts_says_nothing_of_them(tmp_path: Path) -> None:
    page = page_of(tmp_path / "none", full_report(totals__write__samples_in_doubt=0))
    assert "sent and not acknowledged" not in page
    # nor does a report of an older version
    assert "sent and not acknowledged" not in page_of(tmp_path / "older", full_report())


def test_without_reading_nothing_is_known(tmp_path: Path) -> None:
    page = page_of(tmp_path / "skipped", full_report(**IN_DOUBT, totals__read__skipped=True))
    assert "sent and not acknowledged; nothing was read back" in page
