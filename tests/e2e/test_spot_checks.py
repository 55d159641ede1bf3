"""Spot checks while a run goes on: against a faithful target, and one that loses what is older."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from looker.wire.proto import prometheus_pb2
from looker.wire.snappy import compress
from servers import (
    Answer,
    Proxy,
    SilentView,
    embedded_target,
    looker,
    run_config,
    run_engine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from looker.model.run_state import RunState
    from servers import Forward

RUN: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-seconds", "2", "--n-workers", "2", "--spot-check-every", "0.2"),
)
NOTHING: Final = {
    "logs": b'{"status":"success","data":{"resultType":"streams","result":[]}}',
    "metrics": bytes(
        compress(
            prometheus_pb2.ReadResponse(results=[prometheus_pb2.QueryResult()]).SerializeToString()
        )
    ),
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_older_fragments_are_still_there(tmp_path: Path, target: str, mode: str) -> None:
    cycles = ("--n-cycles", "3", "--change-streams-every-n-cycles", "1")
    result = looker(tmp_path, mode, target, *RUN, *cycles)
    assert result.code == 0, result.said
    report = result.report
    assert len(report["cycles"]) == 3
    for cycle in [*report["cycles"], report["totals"]]:
        checked = cycle["spot_check"]
        assert checked["verdict"] == "passed"
        assert checked["checks"] > checked["checks_uncached"] > 0
        assert checked["samples_expected"] == checked["samples_validated"]
        assert checked["samples_validated"] == 5 * checked["fragments"] > 0
        assert checked["fragments_proved_by_checksum"] == checked["fragments"]
        assert checked["queries"] == checked["fragments"]
        assert sum(checked["mismatches"].values()) == 0
    total = sum(cycle["spot_check"]["fragments"] for cycle in report["cycles"])
    assert report["totals"]["spot_check"]["fragments"] == total
    for cycle in report["cycles"]:
        parts = [worker["spot_check"]["checks"] for worker in cycle["workers"]]
        assert sum(parts) == cycle["spot_check"]["checks"]
    assert "spot checks:" in result.stdout


class Watching(SilentView):
    state: RunState

    def progress(self, state: RunState, cycle: int) -> None:
        self.state = state


def test_who_watches_the_run_sees_them(target: str) -> None:
    view = Watching()
    config = run_config(
        target,
        n_cycles=2,
        stop_after_n_fragments=None,
        stop_after_n_seconds=1.0,
        spot_check_every_s=0.1,
    )
    report = run_engine(config, view=view)
    found = report.totals().spot_check
    assert found is not None
    assert found.checks > 2
    watched = [check for worker in view.state.snapshot() for check in worker.spot_checks]
    assert sum(check.checks for check in watched) == found.checks
    n_validated = sum(check.findings.n_validated for check in watched)
    assert n_validated == found.findings.n_validated > 0
    assert [worker.n_cycles for worker in view.state.snapshot()] == [2] * config.n_workers


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_what_is_lost_while_writing_shows_at_once(tmp_path: Path, target: str, mode: str) -> None:
    kind = "application/json" if mode == "logs" else "application/x-protobuf"

    async def forgetful(_number: int, _forward: Forward) -> Answer:
        return Answer(200, NOTHING[mode], {"Content-Type": kind})

    with Proxy(target, read=forgetful) as proxy:
        result = looker(tmp_path, mode, proxy.url, *RUN, "--skip-read", "--read-grace-seconds", "0")
    assert result.code == 1, result.said
    assert result.read["skipped"] is True
    assert result.report["verdict"] == "failed"
    checked = result.report["totals"]["spot_check"]
    assert checked["samples_validated"] == 0
    assert checked["mismatches"]["missing"] == checked["samples_expected"] > 0
    assert 0 < checked["mismatches_uncached"] < checked["mismatches"]["missing"]
    assert "cycle 0, spot checks: " in result.stdout
    assert "spot check in cycle 0:" in result.stderr


def test_they_do_not_stand_for_reading_back(tmp_path: Path, target: str) -> None:
    result = looker(tmp_path, "logs", target, *RUN, "--skip-read")
    assert result.code == 0, result.said
    assert result.report["verdict"] == "not_checked"
    assert result.report["totals"]["spot_check"]["verdict"] == "passed"


def test_a_pause_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    result = looker(tmp_path, "logs", target, *RUN[:-1], "0")
    assert result.code == 2
    assert result.stderr == "looker: --spot-check-every: must be at least 0.1 s, not 0\n"
