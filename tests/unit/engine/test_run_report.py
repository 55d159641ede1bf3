"""The report of a run with many cycles: bounded, and still complete in its totals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.engine import run_report
from looker.engine.run_report import RunReport, WorkerRecord, pieces_of, write_atomically
from looker.errors import LookerError
from looker.model.config import ReadApi
from looker.model.mismatch import MismatchKind
from looker.model.report import PhaseTimes, ReadReport
from looker.model.url import redacted
from servers import run_config

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


def report(n_cycles: int, *, archived: bool, n_warm_up_cycles: int = 0) -> RunReport:
    target = Target(
        "http://127.0.0.1:1", Product.PROMETHEUS, "/w", "/q", None, ReadApi.QUERY, "1", None, None
    )
    config = run_config(
        None, n_cycles=0, seed=5, invocation_id="x", n_warm_up_cycles=n_warm_up_cycles
    )
    whole = RunReport(config, target, {}, SECOND, finished=True)
    whole.workers = {number: WorkerRecord(number, pid=10 + number) for number in range(2)}
    for cycle in range(n_cycles):
        for worker in range(2):
            part = whole.part(worker, cycle)
            begin = (1 + 10 * cycle) * SECOND
            part.write.times = PhaseTimes(begin, begin + 2 * SECOND)
            part.write.samples_acked = 100 + cycle
            part.write.pushes_acked = 1
            part.write.service.record_us(1000 + cycle)
            part.read = ReadReport()
            part.read.times = PhaseTimes(begin + 3 * SECOND, begin + 4 * SECOND)
            part.read.findings.n_expected = part.read.findings.n_validated = 100 + cycle
        if archived:
            whole.archive_before(cycle)
    return whole


def test_archiving_changes_nothing_within_its_bounds() -> None:
    assert report(60, archived=True).to_json() == report(60, archived=False).to_json()


def test_beyond_its_bounds_only_the_totals_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_report, "MAX_ARCHIVED_PARTS", 20)
    whole = report(100, archived=True)
    found, complete = whole.to_json(), report(100, archived=False).to_json()
    assert found["totals"] == complete["totals"]
    assert found["totals"]["write"]["samples_acked"] == sum(2 * (100 + n) for n in range(100))
    assert found["totals"]["write"]["duration_s"] == 200
    numbers = [cycle["cycle"] for cycle in found["cycles"]]
    assert numbers == list(range(100))
    with_workers = [cycle["cycle"] for cycle in found["cycles"] if cycle["workers"]]
    assert with_workers == list(range(with_workers[0], 100))
    assert len(with_workers) < 40
    assert (found["verdict"], found["exit_code"]) == ("passed", 0)


def test_a_missing_part_is_no_pass() -> None:
    whole = report(3, archived=False)
    del whole.workers[1].cycles[2]
    found = whole.to_json()
    assert [cycle["verdict"] for cycle in found["cycles"]] == ["passed", "passed", "unknown"]
    assert (found["verdict"], found["exit_code"]) == ("unknown", 3)


def with_thresholds(*conditions: str) -> RunReport:
    whole = report(2, archived=False)
    whole.config = replace(whole.config, fail_if=conditions)
    return whole


def test_thresholds_are_of_the_totals_of_all_cycles() -> None:
    # 2 workers, 100 and 101 samples, in two phases of 2 s
    conditions = (
        "write.samples_per_s < 100.5",
        "samples_per_s <= 100.5",
        "read.mismatches.missing > 0",
        "spot_check.checks == 0",
        "write.responses_by_status.429 != 0",
    )
    whole = with_thresholds(*conditions)
    assert whole.to_json()["thresholds"] == [
        {"expr": conditions[0], "value": 100.5, "breached": False},
        {"expr": conditions[1], "value": 100.5, "breached": True},
        {"expr": conditions[2], "value": 0, "breached": False},
        {"expr": conditions[3], "value": None, "breached": None},
        {"expr": conditions[4], "value": 0, "breached": False},
    ]
    assert whole.exit_code == whole.to_json()["exit_code"] == 4
    # a gate that cannot close is an error
    open_gate = with_thresholds(conditions[0], conditions[3])
    assert open_gate.exit_code == open_gate.to_json()["exit_code"] == 2
    kept = with_thresholds(conditions[0])
    assert kept.exit_code == kept.to_json()["exit_code"] == 0
    assert report(2, archived=False).to_json()["thresholds"] == []


def test_a_breach_is_the_least_of_all_faults() -> None:
    condition = "write.samples_acked > 0"
    whole = with_thresholds(condition)
    assert whole.exit_code == 4
    whole.workers[0].cycles[0].write.pushes_rejected = 1
    assert whole.exit_code == 3
    whole.interrupted = True
    assert whole.exit_code == 130
    whole.faults = ["a worker died"]
    assert whole.exit_code == 70
    read = whole.workers[0].cycles[0].read
    assert read is not None
    read.findings.counts[MismatchKind.MISSING] += 1
    assert whole.exit_code == whole.to_json()["exit_code"] == 1
    assert whole.to_json()["thresholds"][0]["breached"] is True


@pytest.mark.parametrize("archived", [False, True])
def test_the_warm_up_is_apart_from_the_totals(*, archived: bool) -> None:
    found = report(60, archived=archived, n_warm_up_cycles=20).to_json()
    assert [cycle["warm_up"] for cycle in found["cycles"]] == [True] * 20 + [False] * 40
    for part, cycles in ((found["warm_up"], range(20)), (found["totals"], range(20, 60))):
        n_samples = sum(2 * (100 + n) for n in cycles)
        assert part["write"]["samples_acked"] == part["read"]["samples_validated"] == n_samples
        assert part["write"]["duration_s"] == 2 * len(cycles)
        assert part["write"]["service_ms"]["max"] == (1000 + cycles[-1]) / 1000
        assert part["spot_check"] is None
    assert found["warm_up"]["cycles"] == 20
    assert report(2, archived=False).to_json()["warm_up"] is None


def test_what_is_wrong_in_the_warm_up_counts() -> None:
    condition = "read.mismatches.missing > 0"
    whole = report(4, archived=True, n_warm_up_cycles=2)
    whole.config = replace(whole.config, fail_if=(condition,))
    assert (whole.verdict, whole.exit_code) == ("passed", 0)
    whole.workers[0].cycles[1].write.pushes_unresolved = 1
    assert whole.exit_code == whole.to_json()["exit_code"] == 3
    read = whole.workers[1].cycles[1].read
    assert read is not None
    read.findings.counts[MismatchKind.MISSING] += 1
    assert whole.verdict == whole.to_json()["verdict"] == "failed"
    assert whole.exit_code == whole.to_json()["exit_code"] == 1
    # the condition is of the measured cycles
    assert whole.to_json()["thresholds"] == [{"expr": condition, "value": 0, "breached": False}]
    assert whole.to_json()["warm_up"]["read"]["mismatches"]["missing"] == 1


def test_a_run_that_ends_within_its_warm_up_has_totals_of_nothing() -> None:
    conditions = ("read.samples_validated < 1", "write.service_ms.p99 > 0", "pushes_acked > 9")
    whole = report(2, archived=False, n_warm_up_cycles=5)
    whole.config = replace(whole.config, fail_if=conditions)
    whole.interrupted = True
    found = whole.to_json()
    assert (found["verdict"], found["exit_code"]) == ("passed", 130)
    assert found["totals"]["write"]["samples_acked"] == 0
    assert found["totals"]["write"]["service_ms"]["p99"] is None
    assert found["totals"]["read"] is None
    assert [one["value"] for one in found["thresholds"]] == [None, None, 0]
    assert not any(one["breached"] for one in found["thresholds"])
    assert found["warm_up"]["cycles"] == 2
    assert found["warm_up"]["write"]["samples_acked"] == 402
    assert found["series"]["measured_from_s"] is None


def test_lists_of_the_series_are_lines_of_the_file() -> None:
    whole = report(2, archived=False)
    whole.series.begin(SECOND, 0)
    for number in range(3):
        whole.series.hear(0, number, whole.workers[0].cycles[0].write, (2 * number + 2) * SECOND)
    found = whole.to_json()
    text = "".join(pieces_of(found))
    # tuples are lists in JSON
    assert json.loads(text) == json.loads(json.dumps(found))
    assert list(json.loads(text)) == list(found)
    assert '\n      "samples_acked": [50,50,50,50,50,50],\n' in text
    assert text.startswith('{\n  "schema_version": 1,\n')
    assert text.endswith("}\n")


def test_a_password_does_not_reach_the_report() -> None:
    assert redacted("http://me:secret@host:1/p") == "http://***@host:1/p"
    assert redacted("http://host:1/p") == "http://host:1/p"


def test_the_file_has_all_cycles_those_that_are_archived_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    whole, none = report(40, archived=True), report(0, archived=False)
    write_atomically(path, whole.told())
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(whole.to_json()))
    assert list(json.loads(text)) == list(whole.to_json())
    assert sum(line.startswith('    {"cycle":') for line in text.splitlines()) == 40 - 17
    assert text.count('\n      "cycle": ') == 17
    write_atomically(path, none.told())
    assert json.loads(path.read_text(encoding="utf-8"))["cycles"] == []


def test_the_file_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_atomically(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_atomically(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(LookerError, match="cannot write the report"):
        write_atomically(tmp_path / "none" / "r.json", {"a": 1})
