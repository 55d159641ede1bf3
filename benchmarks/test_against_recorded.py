"""Against what other tools were recorded to do on the same kind of machine.

The recorded figures are of CPU-bound runs on a two-core machine; they are not measured here.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from running import null_target, own_target, run_looker

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Table

ORIGINAL_ENTRIES_PER_S: Final = 98_000
"""The original Looker (Node.js 20): 12,000 entries of 90 characters per push, one core busy."""
XK6_LOKI_MB_PER_CPU_S: Final = 11.7
"""xk6-loki (k6 of mid 2026): 4 virtual users, batches of 0.8 to 1 MB."""
CORTEXTOOL_SAMPLES_PER_CPU_S: Final = 650_000
"""cortextool loadgen: 5,000 samples per request."""
ORIGINAL_CYCLE_CPU_S: Final = 17.6
"""The original Looker: 1,020,000 entries of 90 characters, written, read back and compared."""
_ROUNDS: Final = 3


def per_cpu_s(
    table: Table, tmp_path: Path, figure: str, *arguments: str, n_fragments: int
) -> float:
    """Return a figure of the write report per CPU second of the worker: the median of runs."""
    found = []
    with null_target(tmp_path) as url:
        for _ in range(1 if table.quick else _ROUNDS):
            fragments = str(1 if table.quick else n_fragments)
            words = ("--stop-write-after-n-fragments-per-stream", fragments, "--skip-read")
            write = run_looker(tmp_path, arguments[0], url, *arguments[1:], *words).write
            found.append(write[figure] / write["cpu_s"])
    return statistics.median(found)


def test_entries_against_the_original(table: Table, tmp_path: Path) -> None:
    arguments = (
        *("logs", "--n-concurrent-streams", "100", "--n-entries-per-stream-fragment", "12000"),
        *("--n-chars-per-msg", "90"),
    )
    measured = per_cpu_s(table, tmp_path, "samples_acked", *arguments, n_fragments=8)
    row = table.add(
        "log entries pushed per CPU second / original (recorded)",
        ">= 25",
        measured,
        ORIGINAL_ENTRIES_PER_S,
        "/s",
    )
    assert row.ratio > 0


def test_payload_against_xk6_loki(table: Table, tmp_path: Path) -> None:
    arguments = ("logs", "--n-concurrent-streams", "100", "--n-entries-per-stream-fragment", "8500")
    measured = per_cpu_s(table, tmp_path, "payload_bytes_acked", *arguments, n_fragments=8)
    row = table.add(
        "log payload per CPU second / xk6-loki (recorded)",
        ">= 15",
        measured / 1e6,
        XK6_LOKI_MB_PER_CPU_S,
        "MB",
    )
    assert row.ratio > 0


def test_samples_against_cortextool(table: Table, tmp_path: Path) -> None:
    arguments = (
        *("metrics", "--n-concurrent-streams", "50000", "--n-entries-per-stream-fragment", "5"),
        *("--n-fragments-per-push-message", "5000"),
    )
    measured = per_cpu_s(table, tmp_path, "samples_acked", *arguments, n_fragments=80)
    row = table.add(
        "metric samples per CPU second / cortextool (recorded)",
        ">= 15",
        measured,
        CORTEXTOOL_SAMPLES_PER_CPU_S,
        "/s",
    )
    assert row.ratio > 0


def test_validated_cycle_against_the_original(table: Table, tmp_path: Path) -> None:
    n_streams = 10 if table.quick else 102
    found = []
    for _ in range(1 if table.quick else _ROUNDS):
        with own_target(tmp_path) as url:
            arguments = (
                *("logs", url, "--n-concurrent-streams", str(n_streams)),
                *("--n-entries-per-stream-fragment", "1000", "--n-chars-per-msg", "90"),
                *("--stop-write-after-n-fragments-per-stream", "10"),
            )
            result = run_looker(tmp_path, *arguments)
        assert result.read["samples_validated"] == n_streams * 10_000
        found.append(result.write["cpu_s"] + result.read["cpu_s"])
    reference = ORIGINAL_CYCLE_CPU_S * n_streams / 102
    row = table.add(
        f"{n_streams * 10_000:,} entries validated / original (recorded)",
        "<= 0.05",
        statistics.median(found),
        reference,
        "CPU s",
    )
    assert row.ratio > 0
