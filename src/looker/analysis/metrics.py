"""Which figures of a report are compared, and which way each of them is better."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from looker.model.target_usage import FIGURES


class Better(StrEnum):
    """Which way a figure is better."""

    HIGHER = "higher"
    LOWER = "lower"


DEFAULT_METRICS: Final = (
    "write.samples_per_s",
    "write.service_ms.p50",
    "write.service_ms.p99",
    "write.push_ms.p99",
    "write.cpu_s_per_million_samples",
    "read.samples_per_s",
    "read.service_ms.p99",
    "target.write_cpu_s_per_gb",
    "target.rss_bytes_max",
)
"""Each further one makes a difference harder to show: see Holm's correction."""

_HIGHER: Final = frozenset(
    {
        "samples_per_s",
        "samples_stored_per_s",
        "samples_stored",
        "payload_mb_per_s",
        "samples_acked",
        "payload_bytes_acked",
        "pushes_acked",
        "samples_validated",
        "fragments_proved_by_checksum",
        "streams_visible_at_first_ask",
    }
)
_LOWER: Final = frozenset(
    {
        "duration_s",
        "cpu_s",
        "loop_cpu_s",
        "cpu_s_per_million_samples",
        "rate_limited_s",
        "throttled_s",
        "starved_s",
        "queries_retried",
        "refused_service_ms",
        "generating_s",
        "wall_went_back_s",
        "samples_in_doubt",
        "pushes_retried",
        "pushes_divided",
        "pushes_rejected",
        "pushes_indeterminate",
        "pushes_unresolved",
        "forward_leaps",
        "service_ms",
        "push_ms",
        "loop_delay_ms",
        "visible_after_ms",
        "mismatches",
        "mismatches_uncached",
        "missing_explained",
        "retry_duplicates",
        "streams_awaited",
        "wire_bytes_sent",
        "queries",
        *FIGURES,
    }
)


def better(path: str) -> Better | None:
    """Return which way a figure is better, by its whole path; None where that is a matter of view.

    The number of samples expected is neither good nor bad, say.
    """
    figure = path.split(".")[1]
    if figure in _HIGHER:
        return Better.HIGHER
    return Better.LOWER if figure in _LOWER else None
