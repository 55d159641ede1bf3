"""Samples that are too old for a target: said before the run, or behind the target's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servers import Prometheus, embedded_target, looker, shared_prometheus

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["shared_prometheus"]

ARGUMENTS = ("--metrics-time-increment-ms", "15000", "--n-concurrent-streams", "50")
WAY_OUT = (
    "what fits is at most --metrics-time-increment-ms 1454 with 500 samples in a fragment, or"
    " --n-entries-per-stream-fragment 49 with --metrics-time-increment-ms 15000"
)


@pytest.mark.prometheus
def test_field_case_31_is_said_before_the_run(tmp_path: Path, prometheus: Prometheus) -> None:
    result = looker(tmp_path, "metrics", prometheus.url, *ARGUMENTS)
    assert result.code == 2, result.said
    words = " ".join(result.stderr.split())
    assert WAY_OUT in words
    assert "takes samples up to 3600 s behind its newest one" in words
    # what is named there works
    fits = looker(
        tmp_path,
        *("metrics", prometheus.url, *ARGUMENTS, "--n-entries-per-stream-fragment", "49"),
        *("--stop-write-after-n-fragments-per-stream", "1"),
    )
    assert fits.code == 0, fits.said


def test_field_case_31_is_said_behind_the_words_of_the_target(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "prometheus") as url:
        result = looker(tmp_path, "metrics", url, *ARGUMENTS)
    assert result.code == 3, result.said
    refusal = result.write["refusal"]
    assert "out of bounds" in refusal
    assert refusal.endswith(WAY_OUT)
    assert WAY_OUT in " ".join(result.stdout.split())
