"""Ctrl-Z and fg of a whole run: field case 43."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING

from servers import Run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_that_is_stopped_and_goes_on_counts_only_the_time_in_which_it_ran(
    tmp_path: Path,
) -> None:
    with Run(
        tmp_path,
        *("logs", "--n-concurrent-streams", "4", "--n-workers", "1"),
        *("--n-entries-per-stream-fragment", "5", "--log-time-increment-ns", "1000000"),
        *("--stop-write-after-n-seconds", "4", "--request-timeout-seconds", "2"),
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        time.sleep(0.5)
        os.killpg(run.pid, signal.SIGSTOP)
        time.sleep(8.0)
        os.killpg(run.pid, signal.SIGCONT)
        result = run.result()
    assert result.code == 0, result.said
    report = result.report
    assert report["faults"] == []
    assert report["stood_still_s"] >= 8.0
    assert "the run stood still for " in result.stderr
    # nobody's time ran out meanwhile
    assert result.write["pushes_retried"] == 0
    begun, ended = (datetime.fromisoformat(report[name]) for name in ("started_at", "finished_at"))
    took_s = (ended - begun).total_seconds()
    assert result.write["duration_s"] + report["stood_still_s"] < took_s
