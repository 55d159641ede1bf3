"""Memory of one worker per active series, everything written being read back."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from running import MemoryWatch, ended_well, own_target, started

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Table

_FEW = 50_000
"""Enough to have as much in flight, and in the buffers of reading, as with many."""


def sizes_bytes(tmp_path: Path, n_series: int) -> tuple[float, int]:
    """Return the worker's resident size: the median of the whole cycle, and the peak."""
    with own_target(tmp_path, "--max-memory-mb", "8000") as url:
        arguments = (
            *("metrics", url, "--n-concurrent-streams", str(n_series)),
            *("--n-entries-per-stream-fragment", "5", "--n-fragments-per-push-message", "5000"),
            *("--stop-write-after-n-fragments-per-stream", "2"),
            # so that a small run has as much in flight as a large one
            *("--max-concurrent-writes", "2", "--max-concurrent-reads", "2"),
        )
        with started(tmp_path, *arguments) as run, MemoryWatch(run) as watch:
            run.wait_for("write phase begins")
            n_before = len(watch.resident)
            result = ended_well(run)
        assert result.read["samples_validated"] == n_series * 2 * 5
    steady = statistics.median(size for _, size in watch.resident[n_before:])
    return steady, max(size for pid, size in watch.peaks.items() if pid != run.pid)


def test_memory_per_series(table: Table, tmp_path: Path) -> None:
    n_many = 100_000 if table.quick else 1_000_000
    few, many = sizes_bytes(tmp_path, _FEW), sizes_bytes(tmp_path, n_many)
    for index, name, goal in ((0, "steady", "<= 110"), (1, "peak", "<= 200")):
        per_series = (many[index] - few[index]) / (n_many - _FEW)
        table.add(f"bytes per series, {name}, {n_many:,} series", goal, per_series, 1.0, "bytes")
    assert many[1] > few[1]
