"""Noticing, before anything is written, that samples would be too old for the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.backend.out_of_order import seconds_of, told_window_s
from looker.backend.outcomes import Product
from looker.errors import UsageError
from looker.model.config import MAX_LOG_AGE_S, Mode
from looker.model.lag_window import HEAD_WINDOW_S, spread_s, way_out
from looker.model.url import redacted

if TYPE_CHECKING:
    from looker.backend.api import Target
    from looker.model.config import RunConfig

_HEADS = frozenset({Product.PROMETHEUS, Product.CORTEX, Product.MIMIR})


def refuse_if_too_old(config: RunConfig, target: Target) -> None:
    """Raise UsageError where the target is sure to refuse some of the samples, or to lose sight.

    Not with ``force``; nor of Looker's own targets, which take what they are told to.
    """
    own = target.embedded or (target.version or "").startswith("looker-")
    if config.force or config.start_time_ns is not None or own:
        return
    if config.mode is Mode.LOGS:
        if target.product is Product.LOKI:
            _check_loki(config, target)
    elif target.product in _HEADS:
        _check_head(config, target)


def _check_head(config: RunConfig, target: Target) -> None:
    # a single series has nobody to be behind
    if config.n_streams == 1 or spread_s(config) <= HEAD_WINDOW_S:
        return
    block_s = seconds_of(target.limits.get("storage.tsdb.min-block-duration", "2h"))
    window_s = max((block_s or 0.0) / 2, told_window_s(config, target) or 0.0)
    if window_s and spread_s(config) > window_s:
        raise UsageError(
            _option(config),
            f"series would be up to {spread_s(config):g} s behind each other, and"
            f" {redacted(target.url)} takes samples up to {window_s:g} s behind its newest one"
            f" ('out of bounds'): {way_out(config, window_s)} (or: --force)",
        )


def _check_loki(config: RunConfig, target: Target) -> None:
    rejects = target.limits.get("reject_old_samples", "true") != "false"
    oldest_s = seconds_of(target.limits.get("reject_old_samples_max_age", "1w")) or 0.0
    if rejects and 0 < oldest_s < config.max_lag_s:
        raise UsageError(
            _option(config),
            f"entries would be up to {config.max_lag_s:g} s old, and {redacted(target.url)} takes"
            f" none older than {oldest_s:g} s: {way_out(config, oldest_s - config.min_lag_s)}"
            " (or: --force)",
        )
    if config.max_lag_s > MAX_LOG_AGE_S and config.asks_queries:
        raise UsageError(
            _option(config),
            f"entries would be up to {config.max_lag_s:g} s old, and Loki does not return"
            " unflushed entries older than some 2.6 h:"
            f" {way_out(config, MAX_LOG_AGE_S - config.min_lag_s)} (or: --skip-read, --force)",
        )


def _option(config: RunConfig) -> str:
    is_logs = config.mode is Mode.LOGS
    return "--log-time-increment-ns" if is_logs else "--metrics-time-increment-ms"
