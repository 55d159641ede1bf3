"""Where time went, what that says, and what is advised."""

from __future__ import annotations

import pytest

from looker.model.limit import LimitedBy, ReadTimeSpent, TimeSpent, generator_advice
from looker.model.report import ReadReport, WriteReport


def test_time_spent_is_summed_over_reports_and_differs_between_two_times() -> None:
    names = TimeSpent.names()
    one = WriteReport(**{name: float(number) for number, name in enumerate(names, 1)})  # type: ignore[arg-type]
    total = TimeSpent.of([one, one])
    assert [getattr(total, name) for name in names] == [2.0 * n for n in range(1, len(names) + 1)]
    assert total.since(TimeSpent.of([one])) == TimeSpent.of([one])
    assert TimeSpent.of([]) == TimeSpent()


def test_shares_are_parts_of_all_the_time_and_add_up() -> None:
    spent = TimeSpent(
        writers_s=200.0,
        requesting_s=100.0,
        rate_limited_s=10.0,
        retry_paused_s=20.0,
        starved_throttle_s=4.0,
        starved_generator_s=6.0,
        batching_s=8.0,
        batching_throttled_s=8.0,
        starved_streams_s=12.0,
        tail_s=16.0,
    )
    assert spent.shares == pytest.approx(
        {
            "target": 0.5,
            "rate_limit": 0.05,
            "retry": 0.1,
            "throttle": 0.02,
            "generator": 0.03,
            "batch_deadline": 0.04,
            "streams": 0.06,
            "tail": 0.08,
            "other": 0.12,
        }
    )
    assert sum(spent.shares.values()) == pytest.approx(1.0)
    assert set(TimeSpent().shares.values()) == {0.0}


# of 100 s of 10 writers
ALL = {"writers_s": 1000.0, "workers_s": 100.0, "cpu_s": 20.0, "loop_cpu_s": 10.0}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"requesting_s": 1000.0}, LimitedBy.TARGET),
        ({"requesting_s": 700.0}, LimitedBy.TARGET),
        # what nobody was seen to wait for, nobody waited for
        ({}, LimitedBy.MIXED),
        ({"requesting_s": 690.0}, LimitedBy.MIXED),
        # of the time with something to send, a tenth
        ({"requesting_s": 890.0, "rate_limited_s": 110.0}, LimitedBy.RATE_LIMIT),
        ({"requesting_s": 910.0, "rate_limited_s": 90.0}, LimitedBy.TARGET),
        ({"requesting_s": 8.0, "rate_limited_s": 2.0, "tail_s": 990.0}, LimitedBy.RATE_LIMIT),
        ({"requesting_s": 890.0, "retry_paused_s": 110.0}, LimitedBy.RETRY),
        ({"requesting_s": 910.0, "retry_paused_s": 90.0}, LimitedBy.TARGET),
        (
            {"requesting_s": 700.0, "rate_limited_s": 120.0, "retry_paused_s": 180.0},
            LimitedBy.RETRY,
        ),
        (
            {"requesting_s": 100.0, "rate_limited_s": 100.0, "starved_throttle_s": 800.0},
            LimitedBy.RATE_LIMIT,
        ),
        ({"requesting_s": 170.0, "starved_throttle_s": 830.0}, LimitedBy.THROTTLE),
        ({"requesting_s": 690.0, "starved_throttle_s": 310.0}, LimitedBy.THROTTLE),
        ({"requesting_s": 710.0, "starved_throttle_s": 290.0}, LimitedBy.TARGET),
        ({"requesting_s": 490.0, "starved_generator_s": 510.0}, LimitedBy.GENERATOR),
        ({"requesting_s": 510.0, "starved_generator_s": 490.0}, LimitedBy.MIXED),
        # the larger of two
        (
            {"requesting_s": 50.0, "starved_generator_s": 510.0, "starved_throttle_s": 440.0},
            LimitedBy.GENERATOR,
        ),
        (
            {"requesting_s": 100.0, "starved_generator_s": 450.0, "starved_throttle_s": 450.0},
            LimitedBy.THROTTLE,
        ),
        # the deadline holds back what wall time would allow
        ({"requesting_s": 100.0, "batching_s": 900.0}, LimitedBy.BATCH_DEADLINE),
        (
            {"requesting_s": 100.0, "batching_s": 900.0, "batching_throttled_s": 850.0},
            LimitedBy.THROTTLE,
        ),
        # four of a hundred writers have something to do, and wait for the target
        ({"requesting_s": 40.0, "starved_streams_s": 960.0}, LimitedBy.STREAMS),
        ({"requesting_s": 600.0, "starved_streams_s": 400.0}, LimitedBy.TARGET),
        (
            {"requesting_s": 15.0, "starved_throttle_s": 25.0, "starved_streams_s": 960.0},
            LimitedBy.THROTTLE,
        ),
        # a writer that is through tells nothing
        ({"requesting_s": 100.0, "tail_s": 900.0}, LimitedBy.TARGET),
        ({"tail_s": 1000.0}, LimitedBy.MIXED),
        # writers have messages, but the event loop has no time for more of them
        ({"requesting_s": 990.0, "cpu_s": 75.0, "loop_cpu_s": 55.0}, LimitedBy.GENERATOR),
        ({"requesting_s": 990.0, "cpu_s": 75.0, "loop_cpu_s": 45.0}, LimitedBy.TARGET),
        ({"requesting_s": 990.0, "cpu_s": 65.0, "loop_cpu_s": 55.0}, LimitedBy.TARGET),
    ],
)
def test_a_word_is_said_where_its_share_reaches_its_bound(
    figures: dict[str, float], expected: LimitedBy
) -> None:
    assert TimeSpent(**{**ALL, **figures}).limited_by is expected
    report = WriteReport(**{**ALL, **figures})  # type: ignore[arg-type]
    assert report.limited_by is expected
    plain = report.to_json()
    assert plain["limited_by"] == expected.value
    assert plain["limited_by_shares"]["target"] == figures.get("requesting_s", 0) / 1000


def test_a_few_milliseconds_of_busy_cores_are_start_up() -> None:
    figures = {name: value / 1000 for name, value in ALL.items()}
    figures |= {"cpu_s": 0.1, "loop_cpu_s": 0.1, "requesting_s": 0.9}
    assert TimeSpent(**figures).limited_by is LimitedBy.TARGET


def test_where_there_was_no_time_nothing_is_said() -> None:
    assert TimeSpent().limited_by is None
    assert ReadTimeSpent().limited_by is None
    assert WriteReport().to_json()["limited_by"] is None
    assert ReadReport(skipped=True).to_json()["limited_by"] is None


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"requesting_s": 80.0, "looker_s": 20.0}, LimitedBy.TARGET),
        ({"requesting_s": 60.0, "looker_s": 40.0}, LimitedBy.MIXED),
        ({"requesting_s": 40.0, "looker_s": 60.0}, LimitedBy.LOOKER),
        ({"requesting_s": 40.0, "grace_paused_s": 60.0}, LimitedBy.GRACE),
        ({"requesting_s": 20.0, "rate_limited_s": 10.0, "looker_s": 70.0}, LimitedBy.RATE_LIMIT),
        ({"requesting_s": 20.0, "retry_paused_s": 10.0, "looker_s": 70.0}, LimitedBy.RETRY),
        ({"requesting_s": 8.0, "looker_s": 2.0, "tail_s": 90.0}, LimitedBy.TARGET),
    ],
)
def test_reading_has_a_limit_of_its_own(figures: dict[str, float], expected: LimitedBy) -> None:
    report = ReadReport(readers_s=100.0, **figures)  # type: ignore[arg-type]
    plain = report.to_json()
    assert plain["limited_by"] == expected.value
    assert plain["limited_by_shares"]["target"] == pytest.approx(figures["requesting_s"] / 100)
    assert sum(plain["limited_by_shares"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("n_workers", "n_samples", "expected", "unexpected"),
    [
        (1, 5, ["--n-workers up to 4", "--n-fragments-per-push-message"], ["more cores"]),
        (4, 5, ["more cores", "--n-entries-per-stream-fragment"], ["--n-workers"]),
        (4, 10_000, ["more cores"], ["--n-workers", "--n-entries", "--n-fragments"]),
        (1, 10_000, ["--n-workers up to 4"], ["more cores", "--n-entries", "--n-fragments"]),
    ],
)
def test_the_advice_is_what_is_left_to_do(
    n_workers: int, n_samples: int, expected: list[str], unexpected: list[str]
) -> None:
    advice = generator_advice(
        mode="metrics", n_workers=n_workers, n_cores=4, n_samples=n_samples, n_fragments=1
    )
    assert all(words in advice for words in [*expected, "`looker calibrate metrics`"])
    assert not any(words in advice for words in unexpected)
