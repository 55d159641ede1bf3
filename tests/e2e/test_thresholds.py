"""``--fail-if`` on a run: refused before anything is sent, breached, kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from servers import looker

if TYPE_CHECKING:
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)
# an URL that is never asked
URL: Final = "http://127.0.0.1:1"


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_breach_is_exit_code_4_and_a_kept_one_is_not(tmp_path: Path, mode: str) -> None:
    conditions = ("read.mismatches.missing > 0", "write.samples_acked == 80", "queries < 1")
    options = [word for one in conditions for word in ("--fail-if", one)]
    result = looker(tmp_path, mode, *SMALL, *options)
    assert result.code == 4, result.said
    assert result.report["exit_code"] == 4
    assert result.report["verdict"] == "passed"
    n_queries = result.read["queries"]
    assert result.report["thresholds"] == [
        {"expr": conditions[0], "value": 0, "breached": False},
        {"expr": conditions[1], "value": 80, "breached": True},
        {"expr": conditions[2], "value": n_queries, "breached": False},
    ]
    said = result.stdout.splitlines()
    assert "threshold kept: not read.mismatches.missing > 0; it is 0" in said
    assert "threshold breached (exit code 4): write.samples_acked == 80; it is 80" in said
    assert f"threshold kept: not queries < 1; it is {n_queries}" in said


def test_the_environment_and_a_file_give_conditions_too(tmp_path: Path) -> None:
    name = "LOOKER_FAIL_IF"
    result = looker(tmp_path, "logs", *SMALL, **{name: "samples_acked<80 pushes_acked<16"})
    assert result.code == 0, result.said
    assert [one["breached"] for one in result.report["thresholds"]] == [False, False]
    file = tmp_path / "looker.toml"
    file.write_text('fail_if = ["samples_acked <= 80"]\n')
    assert looker(tmp_path, "logs", *SMALL, "--config", str(file)).code == 4


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("write.sample_per_s < 5", "is write.samples_per_s meant?"),
        ("write.samples_per_s < fast", "is no condition"),
        ("write.samples_per_s < 5%", "no percentage"),
        ("read.mismatches.missing > 0", "nothing is read"),
        ("spot_check.queries > 0", "there are no spot checks"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_sent(
    tmp_path: Path, condition: str, words: str
) -> None:
    result = looker(tmp_path, "logs", URL, *SMALL, "--skip-read", "--fail-if", condition)
    assert result.code == 2, result.said
    (line,) = result.stderr.splitlines()
    assert line.startswith("looker: --fail-if: ")
    assert words in line
    assert result.reports == []
