"""How many workers are measured, and how the time is divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.engine import calibration
from looker.engine.calibration import _Budget, worker_counts


@pytest.mark.parametrize(
    ("n_most", "expected"),
    [
        (1, [1]),
        (2, [1, 2]),
        (4, [1, 2, 3, 4]),
        (8, [1, 2, 4, 8]),
        (64, [1, 4, 16, 64]),
        (5, [1, 2, 3, 5]),
    ],
)
def test_worker_counts(n_most: int, expected: list[int]) -> None:
    assert worker_counts(n_most) == expected


@given(st.integers(1, 1024), st.integers(2, 6))
def test_worker_counts_rise_from_one_to_all(n_most: int, n_columns: int) -> None:
    counts = worker_counts(n_most, n_columns)
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (1, n_most)
    assert len(counts) <= n_columns


class Time:
    """A clock for the budget."""

    now_s = 50.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(calibration, "time", time)
    return time


def test_the_time_that_is_left_is_divided_evenly(time: Time) -> None:
    budget = _Budget(30.0, n_steps=4, n_starts=2)
    # two starts, of a second each as long as nobody knows better
    assert budget.next_s() == pytest.approx(28 / 4)
    time.now_s += 4
    budget.started(4.0)
    assert budget.next_s() == pytest.approx((26 - 4) / 3)
    budget.started(2.0)
    assert budget.next_s() == pytest.approx(26 / 2)


def test_a_measurement_has_a_least_time(time: Time) -> None:
    budget = _Budget(1.0, n_steps=2, n_starts=2)
    assert budget.next_s() == calibration._LEAST_S
    time.now_s += 100
    assert budget.next_s() == calibration._LEAST_S
    assert budget.next_s() == calibration._LEAST_S
