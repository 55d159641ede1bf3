"""How far behind its newest sample a server takes samples, and which options keep within that.

The streams of a run are spread over ``max_lag_s - min_lag_s`` before now.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from looker.model.config import NS_PER_MS, NS_PER_S, Mode, default_max_lag_s

if TYPE_CHECKING:
    from looker.model.config import RunConfig

HEAD_WINDOW_S: Final = 3600.0
"""Prometheus' head, and that of Cortex and Mimir: half of a block's two hours; also Loki's for
entries behind their stream's newest one."""
_TOO_OLD: Final = re.compile(r"out[ -]of[ -]bounds|too[ -]old|too far behind", re.IGNORECASE)


def says_too_old(reason: str) -> bool:
    """Tell whether a refusal speaks of samples that are too far behind."""
    return _TOO_OLD.search(reason) is not None


def spread_s(config: RunConfig) -> float:
    """Return how far behind the newest sample of all streams another one's oldest may be."""
    return config.max_lag_s - config.min_lag_s


def way_out(config: RunConfig, window_s: float = HEAD_WINDOW_S) -> str:
    """Return which values keep the samples of all streams within a window."""
    wide = spread_s(config) > window_s
    largest_lag_s = window_s + config.min_lag_s if wide else config.max_lag_s / 2
    width_s = config.width_ns / NS_PER_S
    by_default = default_max_lag_s(config.min_lag_s, config.width_ns)
    # there must be room for three fragments, and the default is five
    widest_s = (largest_lag_s - config.min_lag_s) / 3
    ways = []
    if wide and config.max_lag_s == by_default:
        ways += _narrower(config, min(largest_lag_s / 5, widest_s))
    if width_s <= widest_s:
        ways.append(f"--max-lag-seconds {largest_lag_s:.0f}")
    return f"what fits is at most {', or '.join(ways or _narrower(config, widest_s))}"


def _narrower(config: RunConfig, width_s: float) -> list[str]:
    """Return the largest increment, and the largest fragment, that make one no wider."""
    is_logs = config.mode is Mode.LOGS
    unit_ns = 1 if is_logs else NS_PER_MS
    option, samples = (
        ("--log-time-increment-ns", "entries")
        if is_logs
        else ("--metrics-time-increment-ms", "samples")
    )
    n_samples, step = config.n_samples_per_fragment, config.step_ns // unit_ns
    width = int(width_s * NS_PER_S) // unit_ns
    largest_step = width // max(1, n_samples - 1)
    ways = []
    if largest_step >= 1:
        ways.append(f"{option} {largest_step} with {n_samples} {samples} in a fragment")
    ways.append(f"--n-entries-per-stream-fragment {width // step + 1} with {option} {step}")
    return ways
