"""How long a sweep will take."""

from __future__ import annotations

import pytest

from looker.sweep.time_left import TimeLeft, spoken
from sweeps import plan_for


def test_a_run_takes_what_its_point_usually_takes() -> None:
    runs = plan_for("a", "b", repeats=3).runs
    of_a = [run for run in runs if run.target.name == "a"]
    of_b = [run for run in runs if run.target.name == "b"]
    left = TimeLeft()
    assert left.of(runs) is None
    for duration_s in (10.0, 12.0, 100.0):
        left.add(of_a[0], duration_s)
    assert left.of(of_a[1:]) == 24.0
    assert left.of(of_b) == 36.0
    left.add(of_b[0], 2.0)
    assert left.of(of_b) == 6.0
    assert left.of([]) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations_are_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
