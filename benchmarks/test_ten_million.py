"""Ten million series in little memory: workers, coordinator and target together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from running import MemoryWatch, ended_well, memory_bytes, null_target, started
from servers import children

if TYPE_CHECKING:
    from conftest import Table


def test_ten_million_series(table: Table, tmp_path: Path) -> None:
    n_series = 100_000 if table.quick else 10_000_000
    with null_target(tmp_path) as url:
        arguments = (
            *("metrics", url, "--n-concurrent-streams", str(n_series), "--skip-read"),
            *("--n-entries-per-stream-fragment", "1", "--n-fragments-per-push-message", "5000"),
            *("--stop-write-after-n-fragments-per-stream", "1", "--n-workers", "2"),
        )
        with started(tmp_path, *arguments) as run, MemoryWatch(run) as watch:
            result = ended_well(run)
        (target,) = (
            pid
            for pid in children(os.getpid())
            if b"target" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        total = sum(watch.peaks.values()) + memory_bytes(target, "VmHWM")
    assert result.write["samples_acked"] == n_series
    assert len(watch.peaks) == 3
    table.add(f"{n_series:,} series: all processes' peaks", "<= 2", total / 1e9, 1.0, "GB")
