from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.model.retry import RetryPolicy, parse_retry_after

if TYPE_CHECKING:
    from random import Random

NOW_S = 1_700_000_000.25

uniforms = st.floats(0, 1)
attempts = st.integers(0, 5_000)
policies = st.builds(
    lambda delays, deadline, jitter: RetryPolicy(deadline, min(delays), max(delays), jitter),
    st.tuples(st.floats(0, 1e300), st.floats(0, 1e300)),
    st.floats(0, 1e6),
    st.floats(0, 1),
)


def test_defaults() -> None:
    assert RetryPolicy() == RetryPolicy(
        deadline_s=420.0, min_delay_s=3.0, max_delay_s=30.0, jitter=0.5
    )


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy()
    assert [policy.delay_s(attempt, 0.0) for attempt in range(6)] == [3, 6, 12, 24, 30, 30]
    assert [policy.delay_s(attempt, 1.0) for attempt in range(6)] == [1.5, 3, 6, 12, 15, 15]
    assert policy.delay_s(10**9, 0.0) == 30


def test_jitter_goes_from_none_to_full() -> None:
    assert RetryPolicy(jitter=0).delay_s(1, 0.7) == 6
    assert RetryPolicy(jitter=1).delay_s(1, 0.75) == 1.5


@given(policies, attempts, uniforms)
def test_a_delay_stays_within_its_bounds(policy: RetryPolicy, attempt: int, uniform: float) -> None:
    delay_s = policy.delay_s(attempt, uniform)
    assert 0 <= delay_s <= policy.max_delay_s
    assert delay_s >= policy.min_delay_s * (1 - policy.jitter)


@given(policies, attempts, uniforms)
def test_a_later_attempt_never_waits_less(
    policy: RetryPolicy, attempt: int, uniform: float
) -> None:
    assert policy.delay_s(attempt, uniform) <= policy.delay_s(attempt + 1, uniform)


@given(policies, attempts, uniforms, st.floats(0, 1e9))
def test_retry_after_is_a_lower_bound(
    policy: RetryPolicy, attempt: int, uniform: float, retry_after_s: float
) -> None:
    delay_s = policy.delay_s(attempt, uniform, retry_after_s)
    assert delay_s == max(retry_after_s, policy.delay_s(attempt, uniform))


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline_s": -1.0},
        {"deadline_s": math.inf},
        {"deadline_s": math.nan},
        {"min_delay_s": -1.0},
        {"min_delay_s": 31.0},
        {"min_delay_s": math.nan},
        {"max_delay_s": math.inf},
        {"max_delay_s": math.nan},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": math.nan},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


def test_a_delay_of_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="attempt"):
        RetryPolicy().delay_s(-1, 0.0)
    for uniform in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="uniform"):
            RetryPolicy().delay_s(0, uniform)


def test_it_gives_up_when_the_next_attempt_would_be_late() -> None:
    policy = RetryPolicy(deadline_s=100)
    assert not policy.gives_up(90, 10)
    assert policy.gives_up(90, 10.1)
    assert policy.gives_up(101, 0)


@given(st.floats(0, 1e4), st.floats(0.1, 10), st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_all_waits_together_end_before_the_deadline(
    deadline_s: float, min_delay_s: float, jitter: float, random: Random
) -> None:
    policy = RetryPolicy(deadline_s, min_delay_s, 10 * min_delay_s, jitter)
    elapsed_s, attempt = 0.0, 0
    while not policy.gives_up(elapsed_s, delay_s := policy.delay_s(attempt, random.random())):
        elapsed_s += delay_s
        attempt += 1
    assert elapsed_s <= deadline_s < elapsed_s + policy.max_delay_s
    assert attempt <= deadline_s / (min_delay_s * (1 - jitter)) + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("-0", 0.0),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("0x10", None),
        ("1_000", None),
        ("٣", None),
        ("5 s", None),
        ("9" * 400, None),
        ("soon", None),
        ("1 2 3", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 9.75),
        ("Tuesday, 14-Nov-23 22:13:30 GMT", 9.75),
        ("Tue Nov 14 22:13:30 2023", 9.75),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 34 Nov 2023 22:13:10 GMT", None),
        ("Tue, 14 Abc 2023 22:13:10 GMT", None),
        ("Tue, 14 Nov 2023 22:99:10 GMT", None),
        ("Tue, 14 Nov 0000 22:00:10 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:30 +0200", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW_S) == seconds


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)), st.floats(0, 1e11))  # noqa: DTZ001 - hypothesis wants them naive
def test_every_http_date_is_understood(naive: datetime, now_s: float) -> None:
    date = naive.replace(microsecond=0, tzinfo=UTC)
    expected = max(0.0, date.timestamp() - now_s)
    assert parse_retry_after(format_datetime(date, usegmt=True), now_s) == expected
    assert parse_retry_after(date.strftime("%a %b %e %H:%M:%S %Y"), now_s) == expected


@given(
    st.text()
    | st.from_regex(r"\A-?[0-9.]+\Z")
    | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|[A-Z][a-z]{2}) [0-9]{4} [0-9:]{8} GMT\Z")
    | st.from_regex(r"\A[A-Z][a-z]{2} (Jan|Feb) [ 0-9][0-9] [0-9]{2}(:[0-9]{2}){2} [0-9]{4}\Z"),
    st.floats(-1e12, 1e12),
)
def test_whatever_a_server_sends_is_a_wait_or_nothing(value: str, now_s: float) -> None:
    seconds = parse_retry_after(value, now_s)
    assert seconds is None or 0 <= seconds < math.inf
