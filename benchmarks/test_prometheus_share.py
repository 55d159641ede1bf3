"""Looker's CPU against that of a real Prometheus which it writes to at its limit."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from running import cpu_s, run_looker
from servers import Prometheus, require_prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Table


def test_share_of_prometheus(table: Table, tmp_path: Path) -> None:
    require_prometheus()
    n_fragments = 1 if table.quick else 30
    measured, reference = [], []
    for round_number in range(1 if table.quick else 3):
        directory = tmp_path / str(round_number)
        directory.mkdir()
        with Prometheus(directory) as server:
            pid = server._process.pid
            before = cpu_s(pid)
            write = run_looker(
                tmp_path,
                *("metrics", server.url, "--n-concurrent-streams", "20000", "--skip-read"),
                *("--n-entries-per-stream-fragment", "5"),
                *("--n-fragments-per-push-message", "5000"),
                *("--stop-write-after-n-fragments-per-stream", str(n_fragments)),
            ).write
            reference.append(cpu_s(pid) - before)
        assert write["samples_acked"] == 20_000 * 5 * n_fragments
        measured.append(write["cpu_s"])
    row = table.add(
        "writing to Prometheus: Looker's CPU / Prometheus'",
        "<= 0.065",
        statistics.median(measured),
        max(0.01, statistics.median(reference)),
        "CPU s",
    )
    assert row.ratio > 0
