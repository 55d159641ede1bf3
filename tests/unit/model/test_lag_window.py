"""Which increments, fragments and lags keep samples within what a server takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from looker.model.config import NS_PER_MS, Mode, default_max_lag_s
from looker.model.lag_window import HEAD_WINDOW_S, says_too_old, spread_s, way_out
from servers import run_config


def test_field_case_31_what_fits_is_named() -> None:
    step_ns = 15_000 * NS_PER_MS
    config = run_config(
        "http://x",
        n_samples_per_fragment=500,
        step_ns=step_ns,
        max_lag_s=default_max_lag_s(30.0, 499 * step_ns),
    )
    assert spread_s(config) > HEAD_WINDOW_S
    assert way_out(config) == (
        "what fits is at most --metrics-time-increment-ms 1454 with 500 samples in a fragment, or"
        " --n-entries-per-stream-fragment 49 with --metrics-time-increment-ms 15000"
    )
    # what is named fits, and one more does not
    for changes, fits in (
        ({"step_ns": 1454 * NS_PER_MS}, True),
        ({"step_ns": 1456 * NS_PER_MS}, False),
        ({"n_samples_per_fragment": 49}, True),
        ({"n_samples_per_fragment": 50}, False),
    ):
        other = replace(config, **changes)
        other = replace(other, max_lag_s=default_max_lag_s(30.0, other.width_ns))
        assert (spread_s(other) <= HEAD_WINDOW_S) is fits


def test_a_lag_that_was_given_is_lowered() -> None:
    config = run_config("http://x", max_lag_s=7200.0)
    assert way_out(config) == "what fits is at most --max-lag-seconds 3630"
    logs = replace(config, mode=Mode.LOGS, step_ns=10**9, n_samples_per_fragment=10_000)
    assert way_out(logs) == (
        "what fits is at most --log-time-increment-ns 120012001 with 10000 entries in a fragment,"
        " or --n-entries-per-stream-fragment 1201 with --log-time-increment-ns 1000000000"
    )


def test_where_the_lag_can_be_lowered_by_itself_it_is_named_too() -> None:
    step_ns = 10_000 * NS_PER_MS
    config = run_config(
        "http://x",
        n_samples_per_fragment=101,
        step_ns=step_ns,
        max_lag_s=default_max_lag_s(30.0, 100 * step_ns),
    )
    assert way_out(config).endswith("or --max-lag-seconds 3630")


@pytest.mark.parametrize(
    "reason",
    [
        "400 out of bounds",
        "400 user=x: err: out of bounds. timestamp=2026-01-01T00:00:00Z, series={}",
        "400 entry for stream '{}' has timestamp too old: 2026",
        "400 entry too far behind, oldest acceptable timestamp is: 2026",
        "400 its timestamp is too old (err-mimir-sample-timestamp-too-old)",
    ],
)
def test_words_of_servers_for_what_is_too_old(reason: str) -> None:
    assert says_too_old(reason)
    assert not says_too_old("400 duplicate sample for timestamp; 429 ingestion rate limit")
