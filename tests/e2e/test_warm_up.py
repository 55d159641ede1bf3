"""Warm-up cycles: checked like the others, and not in the totals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from servers import PATIENCE_S, Run, embedded_target, looker

if TYPE_CHECKING:
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)
N_PUSHES: Final = 16
N_PER_CYCLE: Final = 80


@pytest.mark.parametrize("mode", ["logs", "metrics"])
@pytest.mark.parametrize("align", ["--align-phases", "--no-align-phases"])
def test_warm_up_cycles_come_first_and_are_apart(tmp_path: Path, mode: str, align: str) -> None:
    options = ("--n-warm-up-cycles", "2", "--n-cycles", "3", "--spot-check-every", "0.1")
    result = looker(tmp_path, mode, *SMALL, *options, "--n-workers", "2", align)
    assert result.code == 0, result.said
    report, unit = result.report, "entries" if mode == "logs" else "samples"
    assert [cycle["cycle"] for cycle in report["cycles"]] == list(range(5))
    assert [cycle["warm_up"] for cycle in report["cycles"]] == [True, True, False, False, False]
    assert report["config"]["n_warm_up_cycles"] == report["warm_up"]["cycles"] == 2
    for part, n_cycles in ((report["warm_up"], 2), (report["totals"], 3)):
        assert part["write"]["samples_acked"] == n_cycles * N_PER_CYCLE
        assert part["read"]["samples_validated"] == n_cycles * N_PER_CYCLE
    # 400 of them all
    assert f"passed: all 400 {unit} read back exactly as written" in result.stdout
    said = f"warm-up: 2 cycles, not in the figures of the others: 160 {unit} acknowledged, 160"
    assert said in " ".join(result.stdout.split())
    assert "cycle 1" not in result.stdout
    assert "cycle 4" in result.stdout


def test_a_mismatch_of_the_warm_up_fails_the_run(tmp_path: Path) -> None:
    # of 48 pushes in three cycles the 25th: in the second one
    fault = f"drop-fragment:every={N_PUSHES * 3 // 2 + 1}"
    options = ("--n-warm-up-cycles", "2", "--read-grace-seconds", "0")
    with embedded_target(tmp_path, "--fault", fault) as url:
        result = looker(
            tmp_path, "logs", url, *SMALL, *options, "--fail-if", "read.mismatches.missing > 0"
        )
    assert result.code == result.report["exit_code"] == 1, result.said
    assert result.report["verdict"] == "failed"
    assert [cycle["verdict"] for cycle in result.report["cycles"]] == ["passed", "failed", "passed"]
    assert result.report["warm_up"]["read"]["mismatches"]["missing"] == 5
    assert result.report["totals"]["read"]["mismatches"]["missing"] == 0
    assert [one["breached"] for one in result.report["thresholds"]] == [False]
    assert "cycle 1 (warm-up): 5 missing; the first of them:" in result.stdout
    assert "failed: 5 mismatch(es)" in result.stdout
    assert "160 entries acknowledged, 155 validated, 5 mismatch(es)" in " ".join(
        result.stdout.split()
    )


def test_a_refusal_in_the_warm_up_ends_the_run(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--max-memory-mb", "1") as url:
        shape = ("--n-chars-per-msg", "100000", "--n-warm-up-cycles", "1")
        result = looker(tmp_path, "logs", url, *SMALL, *shape, "--fail-if", "samples_acked > 0")
    assert result.code == 3, result.said
    assert result.report["warm_up"]["cycles"] == len(result.report["cycles"]) == 1
    assert result.report["totals"]["write"]["samples_acked"] == 0
    assert "but pushes failed (exit code 3): 507" in result.stdout


def test_an_interruption_within_the_warm_up(tmp_path: Path) -> None:
    options = ("--n-warm-up-cycles", "3", "--fail-if", "write.service_ms.p99 > 0")
    pace = ("--stop-write-after-n-seconds", "300", "--max-lag-seconds", "86400")
    with Run(
        tmp_path,
        *("logs", *SMALL, *options, *pace),
        *("--stop-write-after-n-fragments-per-stream", "1000000"),
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        run.send(signal.SIGINT)
        result = run.result()
    assert result.code == 130, result.said
    assert "Traceback" not in result.said
    assert result.report["totals"]["write"]["samples_acked"] == 0
    assert result.report["totals"]["read"] is None
    # none, if the worker heard of the end before it had begun
    assert result.report["warm_up"]["cycles"] <= 1
    assert result.report["series"]["measured_from_s"] is None
    assert re.search(r"warm-up: (1 cycle|0 cycles), not in the figures of", result.stdout)
    said = "threshold not judged (exit code 2): write.service_ms.p99 > 0; it has no value"
    assert said in result.stdout
    # and such reports can be compared
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({**result.report, "invocation_id": name}))
    compared = subprocess.run(
        [sys.executable, "-m", "looker", "compare", "a", "b"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert compared.returncode == 0, compared.stderr
    assert "Traceback" not in compared.stderr
    assert "write.samples_per_s" in compared.stdout
