"""``looker compare`` on reports of real runs, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from run_reports import plain_report
from servers import PATIENCE_S, embedded_target, looker

if TYPE_CHECKING:
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)


def compare(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looker", "compare", *arguments],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_two_runs_are_compared_and_two_unlike_ones_are_not(tmp_path: Path) -> None:
    with embedded_target(tmp_path) as url:
        for name, streams in (("a", "8"), ("b", "8"), ("c", "4")):
            path = tmp_path / name / "report.json"
            path.parent.mkdir()
            options = (*SMALL, "--n-concurrent-streams", streams, "--report", str(path))
            result = looker(tmp_path, "logs", url, *options)
            assert result.code == 0, result.said
    found = compare(tmp_path, "a", "b/report.json")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("baseline: a · 1 run · ")
    assert found.stdout.count("no difference shown") == 9
    assert "1 pair(s), 9 test(s)" in found.stdout
    found = compare(tmp_path, "a", "b", "--format", "json")
    plain = json.loads(found.stdout)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in "ab"]
    first, second = (report["totals"]["write"]["samples_per_s"] for report in reports)
    metric = plain["contenders"][0]["metrics"][0]
    assert metric["metric"] == "write.samples_per_s"
    assert (metric["baseline"]["median"], metric["contender"]["median"]) == (first, second)
    assert metric["difference_percent"] == pytest.approx(100 * (second / first - 1))
    assert metric["verdict"] == "no difference shown"
    found = compare(tmp_path, "a", "c")
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith("looker: BASELINE: the runs are not alike (or: --force): ")
    assert "config.n_streams is 8 in a, 4 in c" in line
    found = compare(tmp_path, "a", "c", "--force", "--format", "markdown")
    assert found.returncode == 0
    assert "**not alike: config.n\\_streams is 8 in a, 4 in c**" in found.stdout


@pytest.fixture
def repeats(tmp_path: Path) -> Path:
    """Six runs of each side, in turn; the second one has a tenth less throughput."""
    for number in range(6):
        for side, factor in enumerate((1.0, 0.9)):
            directory = tmp_path / "ab"[side] / f"repeat-{number}"
            directory.mkdir(parents=True)
            plain = plain_report(
                round((1_000_000 + 1000 * number) * factor), begin_s=20 * (2 * number + side)
            )
            (directory / "report.json").write_text(json.dumps(plain))
    return tmp_path


def test_a_breach_is_exit_code_4(repeats: Path) -> None:
    options = ("--metric", "write.samples_per_s", "--fail-if")
    found = compare(repeats, "a", "b", *options, "samples_per_s < -5%")
    assert found.returncode == 4, found.stderr
    assert "worse" in found.stdout
    assert "threshold breached (exit code 4): samples_per_s < -5%; b differs by" in found.stdout
    found = compare(repeats, "a", "b", *options, "samples_per_s < -15%")
    assert found.returncode == 0, found.stderr
    found = compare(repeats, "b", "a", *options, "samples_per_s < -5%")
    assert found.returncode == 0
    assert "better" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("a none", "CONTENDER: there is no file or directory none"),
        ("a a", "CONTENDER: a/repeat-0/report.json is in a and in a"),
        ("a link", "CONTENDER: link/repeat-0/report.json is in a and in link"),
        ("b a/repeat-1 a", "CONTENDER: a/repeat-1/report.json is in a/repeat-1 and in a"),
        ("a b --metric write.sample_per_s", "--metric: write.sample_per_s is no figure"),
        ("a b --metric spot_check.queries", "--metric: spot_check.queries has no value in a"),
        ("a b --confidence 1", "--confidence: must be from 0.5 to 0.999, not 1"),
        ("a b --confidence nan", "--confidence: must be a number, not 'nan'"),
        ("a b --fail-if samples_per_s<-5", "--fail-if: 'samples_per_s<-5': a difference is in"),
        ("a b --fail-if samples_per_s<-5%", "--fail-if: could never be breached with 6 pair(s)"),
        ("a b --format pdf", "'pdf' is not one of"),
        ("a", "only a sweep of several targets is compared alone"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(
    repeats: Path, arguments: str, words: str
) -> None:
    (repeats / "link").symlink_to("a")
    found = compare(repeats, *arguments.split())
    assert found.returncode == 2, found.stdout
    (line,) = found.stderr.splitlines()
    assert words in line
