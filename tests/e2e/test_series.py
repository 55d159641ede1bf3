"""The series in the report of real runs: its sums are the totals."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from servers import embedded_target, looker, run_config, run_engine

if TYPE_CHECKING:
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "10"),
    *("--stop-write-after-n-fragments-per-stream", "5", "--n-workers", "2"),
)
WRITE: Final = (
    "samples_acked",
    "payload_bytes_acked",
    "wire_bytes_sent",
    "pushes_acked",
    "pushes_retried",
)


def assert_adds_up(report: dict[str, Any]) -> None:
    series = report["series"]
    for side, parts in (("write", WRITE), ("read", ("samples_validated", "queries"))):
        sums = [report[name][side] for name in ("totals", "warm_up") if report[name] is not None]
        for name in parts:
            assert sum(series[side][name]) == sum(part[name] for part in sums), name
        longest = [ms for ms in series[side]["service_ms_max"] if ms is not None]
        assert max(longest) == max(part["service_ms"]["max"] for part in sums)
        for column in series[side].values():
            assert len(column) == series["n_buckets"]
    for name in ("rate_limited_s", "throttled_s"):
        total = sum(cycle["write"][name] for cycle in report["cycles"])
        # to a millisecond, per worker and phase
        n_phases = len(report["cycles"]) * report["config"]["n_workers"]
        assert sum(series["write"][name]) == pytest.approx(total, abs=0.001 * n_phases)
    begin, end = (report[name] for name in ("started_at", "finished_at"))
    assert begin <= series["started_at"] <= report["cycles"][0]["write"]["started_at"]
    run_s = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    assert 1 <= series["n_buckets"] <= run_s / series["bucket_s"] + 1


@pytest.mark.parametrize("mode", ["logs", "metrics"])
@pytest.mark.parametrize("align", ["--align-phases", "--no-align-phases"])
def test_the_sums_are_the_totals(tmp_path: Path, mode: str, align: str) -> None:
    result = looker(tmp_path, mode, *SMALL, "--n-cycles", "3", align)
    assert result.code == 0, result.said
    series = result.report["series"]
    assert sum(series["write"]["samples_acked"]) == 3 * 20 * 10 * 5
    assert sum(series["read"]["samples_validated"]) == 3 * 20 * 10 * 5
    assert series["read"]["mismatches"] == [0] * series["n_buckets"]
    per_sample = 100 if mode == "logs" else 16
    validated = sum(series["read"]["payload_bytes_validated"])
    assert validated == sum(series["write"]["payload_bytes_acked"]) == 3000 * per_sample
    assert series["measured_from_s"] == 0
    assert_adds_up(result.report)


def test_the_warm_up_is_in_it(tmp_path: Path) -> None:
    options = ("--n-warm-up-cycles", "1", "--stop-write-after-n-seconds", "1.5")
    # time alone ends a phase, and what is written may take minutes of the streams' time
    pace = ("--stop-write-after-n-fragments-per-stream", "100000", "--max-lag-seconds", "86400")
    shape = ("--n-fragments-per-push-message", "1", "--max-concurrent-writes", "2")
    result = looker(tmp_path, "logs", *SMALL, *options, *pace, *shape)
    assert result.code == 0, result.said
    series = result.report["series"]
    assert series["n_buckets"] >= 3
    assert series["measured_from_s"] >= 1.5
    n_early = sum(series["write"]["samples_acked"][: int(series["measured_from_s"])])
    assert 0 < n_early <= result.report["warm_up"]["write"]["samples_acked"]
    assert_adds_up(result.report)


def test_nothing_read_and_nothing_written(tmp_path: Path) -> None:
    ledger = tmp_path / "run.ledger"
    with embedded_target(tmp_path) as url:
        keep = ("--report", str(tmp_path / "w"), "--ledger", str(ledger), "--n-cycles", "2")
        warm_up = ("--n-warm-up-cycles", "1", "--skip-read")
        written = looker(tmp_path, "metrics", url, *SMALL, *keep, *warm_up)
        assert written.code == 0, written.said
        verified = looker(tmp_path, "verify", str(ledger), url)
    assert verified.code == 0, verified.said
    report = verified.report
    assert report["warm_up"] is None
    assert report["series"]["write"] is None
    assert sum(report["series"]["read"]["samples_validated"]) == 3 * 20 * 10 * 5
    assert sum(report["series"]["read"]["queries"]) == report["totals"]["read"]["queries"]
    assert report["totals"]["read"]["samples_expected"] == 3 * 20 * 10 * 5
    assert [cycle["warm_up"] for cycle in report["cycles"]] == [False]


def test_reports_in_one_process_add_up_too(tmp_path: Path) -> None:
    with embedded_target(tmp_path) as url:
        config = run_config(url, n_cycles=2, n_workers=2, skip_read=True)
        found = run_engine(config).to_json()
    assert found["series"]["read"] is None
    assert sum(found["series"]["write"]["samples_acked"]) == 2 * 4 * 5 * 2
