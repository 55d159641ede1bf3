"""Whether what is missing may not have been flushed yet: that holds soon after a run only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from looker.cli.verify import _is_recent


@pytest.mark.parametrize(
    ("age", "recent"),
    [(timedelta(0), True), (timedelta(hours=23), True), (timedelta(hours=25), False)],
)
def test_a_run_is_recent_for_a_day(age: timedelta, recent: bool) -> None:
    began = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
    assert _is_recent(began) is recent


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T00:00:00"])
def test_what_is_no_time_is_not_recent(text: str) -> None:
    assert _is_recent(text) is False
