"""Thousands of short cycles: memory stays flat, and the report has them all."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from looker.errors import ExitCode
from servers import Run, spawned, wait_until

SHORT: Final = (
    *("--n-concurrent-streams", "1", "--n-entries-per-stream-fragment", "1", "--n-workers", "1"),
    *("--stop-write-after-n-fragments-per-stream", "1", "--metrics-time-increment-ms", "1"),
)
N_CYCLES: Final = 2000
FLAT_FROM: Final = 500
FLAT_BYTES: Final = 4_000_000
"""A tenth of what the coordinator grew by in 1,500 cycles while it held their reports."""
LONG_S: Final = 600.0


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(pid)


@pytest.mark.timeout(2 * LONG_S)
def test_memory_is_flat_over_2000_cycles(tmp_path: Path) -> None:
    """Field case 33: coordinator, worker and embedded target; all cycles are in the report."""
    with Run(tmp_path, "metrics", *SHORT, "--n-cycles", "0") as run:

        def sizes_after(cycle: int) -> dict[int, int]:
            said = f"cycle {cycle}: passed"
            wait_until(lambda: said in run.text("stderr"), said, LONG_S)
            return {pid: resident(pid) for pid in (run.pid, *spawned(run.pid))}

        early = sizes_after(FLAT_FROM)
        late = sizes_after(N_CYCLES)
        run.send(signal.SIGINT)
        result = run.result(LONG_S)
    assert len(early) == 3
    growth = {pid: late[pid] - size for pid, size in early.items()}
    assert max(growth.values()) < FLAT_BYTES, growth
    assert result.code == ExitCode.INTERRUPTED, result.said
    numbers = [cycle["cycle"] for cycle in result.report["cycles"]]
    assert numbers[: N_CYCLES + 1] == list(range(N_CYCLES + 1))
    whole = [cycle for cycle in result.report["cycles"] if cycle["verdict"] == "passed"]
    assert len(whole) > N_CYCLES
    n_acked = sum(cycle["write"]["samples_acked"] for cycle in result.report["cycles"])
    assert result.report["totals"]["write"]["samples_acked"] == n_acked
    # a table of the newest few cycles and the total
    heads = [line for line in result.stdout.splitlines() if "cycle" in line and "total" in line]
    assert len(heads) == 1
    assert 2 <= heads[0].count("cycle") <= 10
