"""Wrong values and combinations are refused, and the option is named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.errors import ExitCode, UsageError
from looker.model.config import Mode, ReadApi, check, checked_retry, default_max_lag_s
from looker.model.retry import RetryPolicy
from referee import log_config

NAN, INF = math.nan, math.inf
YEAR_NS = 366 * 86_400 * 10**9

WRONG: list[tuple[str, dict[str, Any]]] = [
    *(("--n-concurrent-streams", {"n_streams": n}) for n in (0, -1, 100_000_001)),
    *(("--n-entries-per-stream-fragment", {"n_samples_per_fragment": n}) for n in (0, 10_000_001)),
    *(("--n-fragments-per-push-message", {"n_fragments_per_message": n}) for n in (0, 101)),
    (
        "--n-fragments-per-push-message",
        {"n_fragments_per_message": 1_000_001, "n_streams": 2_000_000},
    ),
    *(("--n-chars-per-msg", {"n_chars_per_line": n}) for n in (0, 19, 1_000_001)),
    *(
        ("--stop-write-after-n-fragments-per-stream", {"stop_after_n_fragments": n})
        for n in (0, None, 2**32)
    ),
    *(
        ("--stop-write-after-n-seconds", {"stop_after_n_seconds": s})
        for s in (0.0, -1.0, NAN, INF, 1e9)
    ),
    *(("--n-cycles", {"n_cycles": n}) for n in (-1, 2**32)),
    *(("--n-warm-up-cycles", {"n_warm_up_cycles": n}) for n in (-1, 10**6 + 1)),
    *(
        ("--change-streams-every-n-cycles", {"change_streams_every_n_cycles": n})
        for n in (-1, 2**32)
    ),
    *(("--read-n-streams-only", {"read_n_streams": n}) for n in (0, 101)),
    ("--read-n-streams-only", {"read_n_streams": 5, "skip_read": True}),
    *(("--max-concurrent-writes", {"max_concurrent_writes": n}) for n in (0, 1, 10_001)),
    *(("--max-concurrent-reads", {"max_concurrent_reads": n}) for n in (0, 1, 10_001)),
    *(("--n-workers", {"n_workers": n}) for n in (0, -1, 1025)),
    *(("--request-timeout-seconds", {"request_timeout_s": t}) for t in (0.0, -1.0, math.nan)),
    ("--n-workers", {"n_workers": 3, "n_streams": 2, "n_fragments_per_message": 1}),
    *(("--seed", {"seed": n}) for n in (-1, 2**64)),
    (
        "--n-entries-per-stream-fragment",
        {"n_samples_per_fragment": 10_000, "n_chars_per_line": 100_000, "step_ns": 1},
    ),
    *(
        ("--invocation-id", {"invocation_id": text})
        for text in ("", "a b", 'a"b', "a/b", "ä", "a\n", "x" * 101)
    ),
    *(
        ("URL", {"url": url})
        for url in (
            "",
            "localhost:3100",
            "ftp://host",
            "http://",
            "http:///path",
            "http://host/?a=b",
            "http://host/#x",
            "http://ho st",
            "HTTP:/host",
            "http://host\n",
        )
    ),
    *(("--tenant", {"tenant": text}) for text in ("", "a b", "a/b", "ä", "a\n", "x" * 151)),
    *(("--log-time-increment-ns", {"step_ns": n}) for n in (0, -5, YEAR_NS)),
    *(("--metrics-time-increment-ms", {"step_ns": n, "mode": Mode.METRICS}) for n in (0, YEAR_NS)),
    *(("--min-lag-seconds", {"min_lag_s": s}) for s in (-0.1, NAN, -INF)),
    *(("--max-lag-seconds", {"max_lag_s": s}) for s in (0.0, 29.0, 30.0, NAN, -INF)),
    ("--max-lag-seconds", {"n_samples_per_fragment": 4, "step_ns": 10**10, "max_lag_s": 119.9}),
    ("--max-lag-seconds", {"n_samples_per_fragment": 1, "min_lag_s": 120.0}),
    *(("--read-grace-seconds", {"read_grace_s": s}) for s in (-1.0, NAN, INF, 1e6)),
    *(
        ("--label", {"labels": ((name, "x"),)})
        for name in ("", "0a", "a-b", "a.b", "a\n", "looker_group", "looker_uniquename", "__name__")
    ),
    ("--label", {"labels": (("a", "x"), ("b", "x"), ("a", "y"))}),
    *(("--label", {"labels": (("a", value),)}) for value in ("", "x" * 1025, "x\ny", "\udcff")),
    *(
        ("--ignore-label", {"ignore_labels": (name,), "labels": (("a", "b"),)})
        for name in ("looker_group", "looker_uniquename", "__name__")
    ),
    *(("--read-api", {"read_api": api}) for api in (ReadApi.QUERY, ReadApi.REMOTE_READ)),
]


@pytest.mark.parametrize(("option", "changes"), WRONG)
def test_what_is_wrong_is_refused_by_its_name(option: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        check(replace(log_config(), **changes))
    assert caught.value.option == option
    assert str(caught.value).startswith(f"{option}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"url": None},
        *({"url": url} for url in ("https://h", "http://[::1]:3100/loki", "http://u:p@h:1/a/b/")),
        {"n_streams": 100_000_000},
        {"n_streams": 2, "n_fragments_per_message": 2},
        {"n_chars_per_line": 20},
        {"n_chars_per_line": 1_000_000},
        {"stop_after_n_fragments": None, "stop_after_n_seconds": 0.5},
        {"stop_after_n_seconds": 10.0},
        {"n_cycles": 0},
        {"change_streams_every_n_cycles": 3, "n_cycles": 10},
        {"read_n_streams": 1},
        {"read_n_streams": 100},
        {"skip_read": True},
        {"max_concurrent_writes": 2, "max_concurrent_reads": 2},
        {"n_workers": 10},
        {"seed": 0},
        {"seed": 2**64 - 1},
        {"invocation_id": "A-z_0.9"},
        {"tenant": "a|b-c_1!*'()."},
        {"step_ns": 1},
        {"min_lag_s": 0.0, "max_lag_s": 0.001},
        {"n_samples_per_fragment": 4, "step_ns": 10**10, "max_lag_s": 120.0},
        {"read_grace_s": 0.0},
        {"labels": (("_A9", 'a "b" \\c'), ("b", "\u20ac" * 341)), "ignore_labels": ("zone", "b")},
        {"mode": Mode.METRICS, "read_api": ReadApi.QUERY, "step_ns": 10**6},
        {"mode": Mode.METRICS, "read_api": ReadApi.REMOTE_READ, "step_ns": 10**6},
    ],
)
def test_what_is_good_is_accepted(changes: dict[str, Any]) -> None:
    check(replace(log_config(), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_lag_s": INF},  # int(inf) raises OverflowError later
        {"min_lag_s": 2e9, "max_lag_s": 3e9},  # times before 1970: not the encoder's five bytes
        {"n_samples_per_fragment": 1, "step_ns": 10**19},  # beyond int64
    ],
)
def test_times_beyond_what_can_be_encoded_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check(replace(log_config(), **changes))


def test_what_follows_from_a_configuration() -> None:
    config = replace(log_config(), change_streams_every_n_cycles=3)
    assert config.width_ns == 9000
    assert config.payload_bytes_per_fragment == 1000
    assert replace(config, mode=Mode.METRICS).payload_bytes_per_fragment == 160
    assert config.group_size == 6
    assert [config.generation_of(cycle) for cycle in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [config.born_in_cycle(generation) for generation in range(3)] == [0, 3, 6]
    config = replace(config, change_streams_every_n_cycles=0)
    assert {config.generation_of(cycle) for cycle in range(9)} == {0}
    assert config.born_in_cycle(0) == 0


@given(st.floats(0, 1e5), st.integers(0, 10**14))
def test_the_default_maximum_lag_is_always_accepted(min_lag_s: float, width_ns: int) -> None:
    lag = default_max_lag_s(min_lag_s, width_ns)
    assert lag == pytest.approx(max(120.0, 5 * width_ns / 1e9, min_lag_s + 3 * width_ns / 1e9))
    if lag > min_lag_s:
        config = replace(
            log_config(),
            n_samples_per_fragment=2,
            step_ns=max(1, width_ns),
            min_lag_s=min_lag_s,
            max_lag_s=max(lag, default_max_lag_s(min_lag_s, max(1, width_ns))),
        )
        check(config)


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        *(("--retry-post-deadline-seconds", (s, 3.0, 30.0, 0.5)) for s in (-1.0, NAN, INF)),
        *(("--retry-post-min-delay-seconds", (60.0, s, 30.0, 0.5)) for s in (-1.0, 0.0, NAN, INF)),
        *(("--retry-post-max-delay-seconds", (60.0, 3.0, s, 0.5)) for s in (-1.0, 2.9, NAN, INF)),
        *(("--retry-post-jitter", (60.0, 3.0, 30.0, j)) for j in (-0.1, 1.1, NAN)),
    ],
)
def test_wrong_retries_are_refused(option: str, arguments: tuple[float, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        checked_retry(*arguments)
    assert caught.value.option == option


def test_good_retries_are_accepted() -> None:
    assert checked_retry(0.0, 0.001, 0.001, 1.0) == RetryPolicy(0.0, 0.001, 0.001, 1.0)
    assert checked_retry(60.0, 3.0, 30.0, 0.0) == RetryPolicy(60.0, 3.0, 30.0, 0.0)


def test_the_last_cycle_is_the_last_measured_one() -> None:
    config = replace(log_config(), n_cycles=2, n_warm_up_cycles=3)
    assert [config.is_warm_up(cycle) for cycle in range(5)] == [True, True, True, False, False]
    assert [config.is_last(cycle) for cycle in range(5)] == [False, False, False, False, True]
    config = replace(config, n_cycles=0)
    assert not any(config.is_last(cycle) for cycle in range(10))
    assert [replace(config, n_cycles=1, n_warm_up_cycles=0).is_last(n) for n in (0, 1)] == [
        True
    ] * 2
