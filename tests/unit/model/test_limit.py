"""Where time went, what that says, and what is advised."""

from __future__ import annotations

from dataclasses import fields

import pytest

from looker.model.limit import LimitedBy, TimeSpent, generator_advice
from looker.model.report import WriteReport

BUSY = {"writers_s": 100.0, "workers_s": 10.0, "cpu_s": 7.5, "generating_s": 7.5}


def test_time_spent_is_summed_over_reports_and_differs_between_two_times() -> None:
    names = [spec.name for spec in fields(TimeSpent)]
    one = WriteReport(**{name: float(number) for number, name in enumerate(names, 1)})  # type: ignore[arg-type]
    total = TimeSpent.of([one, one])
    assert [getattr(total, name) for name in names] == [2.0 * n for n in range(1, len(names) + 1)]
    assert total.since(TimeSpent.of([one])) == TimeSpent.of([one])
    assert TimeSpent.of([]) == TimeSpent()


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        # writers have messages, but the event loop has no time for more of them
        ({"loop_cpu_s": 5.5}, LimitedBy.GENERATOR),
        ({"loop_cpu_s": 4.5}, LimitedBy.TARGET),
        ({"loop_cpu_s": 5.5, "cpu_s": 6.5}, LimitedBy.TARGET),
        # writers wait for messages, which are made all the time, however little CPU there is
        ({"starved_s": 51.0, "cpu_s": 1.0}, LimitedBy.GENERATOR),
        ({"starved_s": 51.0}, LimitedBy.GENERATOR),
        ({"starved_s": 49.0}, LimitedBy.TARGET),
        # no message is made, as its streams wait for answers
        ({"starved_s": 99.0, "generating_s": 6.5}, LimitedBy.TARGET),
        # what the user or the target has limited comes first
        ({"loop_cpu_s": 5.5, "rate_limited_s": 11.0}, LimitedBy.RATE_LIMIT),
        ({"loop_cpu_s": 5.5, "throttled_s": 3.5}, LimitedBy.THROTTLE),
    ],
)
def test_looker_is_the_limit_where_it_starves_its_writers_or_its_event_loop(
    figures: dict[str, float], expected: LimitedBy
) -> None:
    assert TimeSpent(**{**BUSY, **figures}).limited_by is expected
    assert WriteReport(**{**BUSY, **figures}).limited_by is expected  # type: ignore[arg-type]


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
