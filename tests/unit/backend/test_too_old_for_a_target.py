"""Samples that a target is sure to refuse as too old are refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from looker.backend.api import Target
from looker.backend.lag_window import refuse_if_too_old
from looker.backend.outcomes import Product
from looker.errors import UsageError
from looker.model.config import Mode, ReadApi
from servers import run_config


def target(product: Product, *, version: str = "1.0", **limits: str) -> Target:
    return Target(
        url="http://x",
        product=product,
        push_path="/push",
        query_path="/query",
        read_path=None,
        read_api=ReadApi.QUERY,
        version=version,
        revision=None,
        tenant=None,
        authorization=None,
        limits=limits,
    )


METRICS: dict[str, Any] = {"max_lag_s": 4000.0, "n_streams": 2}
LOGS: dict[str, Any] = {"mode": Mode.LOGS, "max_lag_s": 8000.0}
WEEKS: dict[str, Any] = {"mode": Mode.LOGS, "max_lag_s": 700_000.0, "skip_read": True}


@pytest.mark.parametrize(
    ("settings", "told", "words"),
    [
        (METRICS, target(Product.CORTEX), "samples up to 3600 s behind its newest one"),
        (METRICS, target(Product.MIMIR), "--max-lag-seconds 3630"),
        (
            {**METRICS, "max_lag_s": 9000.0},
            target(Product.CORTEX, out_of_order_time_window="2h"),
            "samples up to 7200 s behind",
        ),
        (LOGS, target(Product.LOKI), "does not return unflushed entries"),
        (WEEKS, target(Product.LOKI), "takes none older than 604800 s"),
        (LOGS, target(Product.LOKI, reject_old_samples_max_age="1h"), "none older than 3600 s"),
    ],
)
def test_what_is_sure_to_be_too_old_is_refused(
    settings: dict[str, Any], told: Target, words: str
) -> None:
    config = run_config("http://x", **settings)
    with pytest.raises(UsageError, match="what fits is at most") as refusal:
        refuse_if_too_old(config, told)
    assert words in str(refusal.value)
    assert "--force" in str(refusal.value)
    refuse_if_too_old(replace(config, force=True), told)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**METRICS, "max_lag_s": 3600.0}, target(Product.CORTEX)),
        # a single series is behind nobody
        ({**METRICS, "n_streams": 1}, target(Product.CORTEX)),
        (METRICS, target(Product.CORTEX, out_of_order_time_window="2h")),
        # who takes what is not known
        (METRICS, target(Product.UNKNOWN)),
        (METRICS, target(Product.VICTORIAMETRICS)),
        (METRICS, target(Product.PROMETHEUS, version="looker-0.1.0")),
        ({**LOGS, "max_lag_s": 7200.0}, target(Product.LOKI)),
        ({**LOGS, "skip_read": True}, target(Product.LOKI)),
        (WEEKS, target(Product.LOKI, reject_old_samples="false")),
    ],
)
def test_what_may_be_taken_is_not_refused(settings: dict[str, Any], told: Target) -> None:
    refuse_if_too_old(run_config("http://x", **settings), told)
