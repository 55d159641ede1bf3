"""Reports of runs that were killed, or still go on: never taken for what a run has shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.comparison import compare
from looker.analysis.page.page import html
from looker.analysis.sides import Match
from looker.engine.run_report import RunReport, WorkerRecord
from looker.errors import UsageError
from looker.model.config import VerifyMode
from looker.model.report import ReadReport
from page_reports import full_report
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.analysis.reports import Side

KILLED: dict[str, Any] = {"finished": False, "verdict": "unknown", "exit_code": None}


def test_field_case_40_a_comparison_refuses_it(side: Callable[..., Side]) -> None:
    whole, killed = side("a", [1000]), side("b", [1000], **KILLED)
    with pytest.raises(UsageError, match=r"^CONTENDER: .*/b/.* is of a run that is unfinished"):
        compare([Match(whole, killed)])
    with pytest.raises(UsageError, match=r"^BASELINE: .*/b/.* is of a run that is unfinished"):
        compare([Match(killed, whole)])
    found = compare([Match(whole, killed)], force=True)
    (said,) = (line for line in found.warnings if "UNFINISHED" in line)
    assert said == (
        f"{killed.name}: 1 of 1 run(s) UNFINISHED: killed, or still going on: its figures are those"
        " of its cycles so far, and its verdict is none"
    )


def test_a_report_of_an_earlier_version_counts_as_finished(side: Callable[..., Side]) -> None:
    found = compare([Match(side("a", [1000]), side("b", [1000]))])
    assert not [line for line in found.warnings if "UNFINISHED" in line]


def test_field_case_40_the_page_says_so(tmp_path: Path) -> None:
    (tmp_path / "killed.json").write_text(json.dumps({**full_report(), **KILLED}))
    page, _ = html([tmp_path / "killed.json"])
    assert "UNFINISHED: killed, or still going on" in page


@pytest.mark.parametrize(
    ("n_lost", "verify", "verdicts", "exit_code"),
    [
        (0, VerifyMode.CONTENT, ("unknown", "passed"), 0),
        # what was found stays found
        (1, VerifyMode.CONTENT, ("failed", "failed"), 1),
        (0, VerifyMode.OFF, ("unknown", "not_checked"), 0),
    ],
)
def test_field_case_40_until_a_run_is_over_its_report_says_so(
    n_lost: int, verify: VerifyMode, verdicts: tuple[str, str], exit_code: int
) -> None:
    is_off = verify is VerifyMode.OFF
    config = run_config(None, n_cycles=0, verify=verify, skip_read=is_off)
    report = RunReport(config, None, {}, 1)
    report.workers = {0: WorkerRecord(0)}
    part = report.part(0, 0)
    part.write.samples_acked = part.write.pushes_acked = 5
    part.read = ReadReport(skipped=is_off)
    part.read.findings.n_expected, part.read.findings.n_validated = 5, 5 - n_lost
    part.read.findings.counts["missing"] = n_lost
    plain = report.to_json()
    assert (plain["finished"], plain["verdict"], plain["exit_code"]) == (False, verdicts[0], None)
    report.finished = True
    plain = report.to_json()
    assert (plain["finished"], plain["verdict"]) == (True, verdicts[1])
    assert plain["exit_code"] == exit_code
