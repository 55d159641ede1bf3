"""``looker verify``: a run's ledger is read back later, whole or in part, as it is or damaged."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from looker.verify.ledger_format import BlockHead
from looker.verify.ledger_reader import LedgerFile
from looker.verify.ledger_writer import LedgerWriter, create
from servers import (
    PATIENCE_S,
    Prometheus,
    Run,
    children,
    embedded_target,
    is_running,
    looker,
    require_prometheus,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Rows = np.ndarray[Any, Any]

SMALL: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "50"),
    *("--stop-write-after-n-fragments-per-stream", "3", "--n-workers", "2"),
)
N_SAMPLES_PER_CYCLE: Final = 20 * 50 * 3


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "run.ledger"


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_run_is_verified_later(tmp_path: Path, target: str, ledger: Path, mode: str) -> None:
    cycles = ("--n-cycles", "3", "--change-streams-every-n-cycles", "2")
    written = looker(
        tmp_path, mode, target, *SMALL, *cycles, "--label", "env", "x y", "--ledger", str(ledger)
    )
    assert written.code == 0, written.said
    result = looker(tmp_path, "verify", str(ledger), "--n-workers", "1")
    assert result.code == 0, result.said
    report = result.report
    assert (report["mode"], report["verdict"], report["exit_code"]) == ("verify", "passed", 0)
    assert report["invocation_id"] == written.report["invocation_id"]
    assert result.reports[0].name == f"{report['invocation_id']}.verify.report.json"
    assert report["totals"]["write"] is None
    assert result.read["samples_expected"] == 3 * N_SAMPLES_PER_CYCLE
    assert result.read["samples_validated"] == 3 * N_SAMPLES_PER_CYCLE
    assert result.read["fragments_proved_by_checksum"] == 3 * 60
    # of two generations
    assert result.read["streams_selected"] == 40
    facts = report["ledger"]
    assert facts.pop("first_sample_at") < facts.pop("last_sample_at") < report["started_at"]
    assert facts == {
        "file": str(ledger),
        "mode": mode,
        "looker_version": report["looker_version"],
        "started_at": written.report["started_at"],
        "target": {
            "url": target,
            "product": written.report["target"]["product"],
            "version": written.report["target"]["version"],
            "embedded": False,
        },
        "cycles": 3,
        "generations": 2,
        "fragments": 180,
        "fragments_acknowledged": 180,
        "complete": True,
        "ignored_bytes": 0,
        "sample_fraction": 1.0,
        "sample_seed": None,
    }
    unit = "entries" if mode == "logs" else "samples"
    assert f"passed: all 9,000 {unit} read back exactly as written" in result.stdout
    assert "written:" not in result.stdout


def test_what_was_written_without_reading_is_verified(
    tmp_path: Path, target: str, ledger: Path
) -> None:
    written = looker(
        tmp_path, "logs", target, *SMALL, "--n-cycles", "2", "--skip-read", "--ledger", str(ledger)
    )
    assert (written.code, written.report["verdict"]) == (0, "not_checked")
    result = looker(tmp_path, "verify", str(ledger), target)
    assert result.code == 0, result.said
    assert result.read["samples_validated"] == 2 * N_SAMPLES_PER_CYCLE


def test_a_sample_of_the_streams(tmp_path: Path, target: str, ledger: Path) -> None:
    assert looker(tmp_path, "logs", target, *SMALL, "--ledger", str(ledger)).code == 0
    result = looker(
        tmp_path, "verify", str(ledger), "--sample-fraction", "0.3", "--sample-seed", "5"
    )
    assert result.code == 0, result.said
    assert result.read["streams_selected"] == 6
    assert result.read["samples_validated"] == 6 * 150
    assert result.report["ledger"]["sample_fraction"] == 0.3
    assert result.report["ledger"]["sample_seed"] == 5
    assert "all 900 entries read back exactly as written (of 3,000 that" in result.stdout


def test_a_target_that_has_lost_everything(tmp_path: Path, target: str, ledger: Path) -> None:
    assert looker(tmp_path, "metrics", target, *SMALL, "--ledger", str(ledger)).code == 0
    with embedded_target(tmp_path) as empty:
        result = looker(tmp_path, "verify", str(ledger), empty, "--read-grace-seconds", "0")
    assert result.code == 1, result.said
    assert result.report["verdict"] == "failed"
    assert result.read["mismatches"]["missing"] == N_SAMPLES_PER_CYCLE
    assert sum(result.read["mismatches"].values()) == N_SAMPLES_PER_CYCLE
    assert result.read["samples_validated"] == 0
    assert len(result.read["examples"]) == 10


def forged(ledger: Path, change: Callable[[Rows], Rows]) -> Path:
    """Return another ledger with the same header and other rows, all of them in one block."""
    known = LedgerFile(ledger)
    n_streams = known.header.config.n_streams
    (part,) = known.parts(0, (0, n_streams), group_size=n_streams, max_rows=10**6)
    rows = change(part.rows.copy())
    path = ledger.with_suffix(".forged")
    writer = LedgerWriter(path, create(path, known.header))
    writer.append(
        BlockHead.of_rows(rows, cycle=0, generation=0, worker=0, streams=(0, n_streams)), rows
    )
    for worker in range(2):
        writer.append(BlockHead.of_end(generation=0, worker=worker, streams=(0, n_streams)))
    writer.close()
    return path


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_what_the_ledger_does_not_know_of_shows(
    tmp_path: Path, target: str, ledger: Path, mode: str
) -> None:
    assert looker(tmp_path, mode, target, *SMALL, "--ledger", str(ledger)).code == 0
    # stream 7 without its second fragment
    other = forged(ledger, lambda rows: np.delete(rows, 3 * 7 + 1))
    result = looker(tmp_path, "verify", str(other), "--max-examples", "3")
    assert result.code == 1, result.said
    assert result.read["mismatches"]["unexpected"] == 50
    assert sum(result.read["mismatches"].values()) == 50
    assert result.read["samples_validated"] == N_SAMPLES_PER_CYCLE - 50
    examples = result.read["examples"]
    assert len(examples) == 3
    for example in examples:
        assert example["stream"].endswith("-07")
        assert example["query"]["url"].startswith(target)
    assert "cycle 0: 50 unexpected; the first of them:" in result.stdout


def test_other_checksums_are_lookers_own_fault(tmp_path: Path, target: str, ledger: Path) -> None:
    assert looker(tmp_path, "logs", target, *SMALL, "--ledger", str(ledger)).code == 0

    def flipped(rows: Rows) -> Rows:
        rows["checksum"][4] ^= 1
        return rows

    other = forged(ledger, flipped)
    result = looker(tmp_path, "verify", str(other))
    assert result.code == 70, result.said
    (fault,) = result.report["faults"]
    assert "the two proofs contradict each other for 1 fragment(s), first stream 1," in fault
    # the checksum alone cannot tell who is at fault; streams and times are as they should be
    result = looker(tmp_path, "verify", str(other), "--verify", "checksum")
    assert result.code == 1, result.said
    assert result.read["mismatches"]["corrupt"] == 50
    assert result.read["fragments_proved_by_checksum"] == 59
    result = looker(tmp_path, "verify", str(other), "--verify", "count")
    assert result.code == 0, result.said


def test_a_tenant_and_paths_may_be_others(tmp_path: Path, ledger: Path) -> None:
    with embedded_target(tmp_path, "--require-tenant") as url:
        tenant = ("--tenant", "team-a")
        assert looker(tmp_path, "logs", url, *SMALL, *tenant, "--ledger", str(ledger)).code == 0
        # that of the run is the default
        assert looker(tmp_path, "verify", str(ledger)).code == 0
        other = looker(
            tmp_path, "verify", str(ledger), "--tenant", "team-b", "--read-grace-seconds", "0"
        )
        assert other.code == 1, other.said
        assert other.read["mismatches"]["missing"] == N_SAMPLES_PER_CYCLE
        path = looker(tmp_path, "verify", str(ledger), "--query-path", "/none")
        assert path.code == 3, path.said
        assert path.report["verdict"] == "unknown"


# --- what cannot be ----------------------------------------------------------------------------


def test_an_existing_ledger_is_refused_before_anything_is_sent(
    tmp_path: Path, target: str, ledger: Path
) -> None:
    ledger.write_text("old")
    result = looker(tmp_path, "logs", target, *SMALL, "--ledger", str(ledger))
    assert result.code == 2
    assert result.stderr == f"looker: --ledger: {ledger} exists already: give another file\n"
    assert result.reports == []
    assert ledger.read_text() == "old"


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory of ledgers, one against an embedded target, and what is none."""
    directory = tmp_path_factory.mktemp("ledgers")
    embedded = looker(directory, "logs", *SMALL, "--ledger", str(directory / "embedded"))
    assert embedded.code == 0, embedded.said
    header = LedgerFile(directory / "embedded").header
    create(directory / "whole", replace(header, target={"url": "http://127.0.0.1:9"}))
    (directory / "foreign").write_text('{"schema_version": 1}\n' * 100)
    (directory / "cut").write_bytes((directory / "whole").read_bytes()[:100])
    return directory


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.ledger",), "FILE: cannot read none.ledger: No such file or directory"),
        ((".",), "FILE: cannot read .: Is a directory"),
        (("foreign",), "FILE: foreign is no ledger of Looker's"),
        (("cut",), "FILE: cut ends within its header"),
        (("whole", "--sample-fraction", "0"), "--sample-fraction: must be above 0"),
        (("whole", "--sample-fraction", "1.5"), "--sample-fraction: must be above 0"),
        (("whole", "--sample-seed", "-1"), "--sample-seed: must be from 0"),
        (("whole", "--verify", "off"), "--verify: must be content, checksum or count"),
        (("whole", "--n-workers", "99"), "--n-workers: 99 workers cannot share 20 group(s)"),
        (("whole", "--max-concurrent-reads", "0"), "--max-concurrent-reads: must be from 1"),
        (("whole", "--report", "none/x.json"), "--report: there is no directory /"),
        (("whole", "ftp://h"), "URL"),
        (("embedded",), "URL: embedded is of a run against its own embedded target"),
        ((), "Missing argument 'FILE'"),
    ],
)
def test_wrong_usage_is_one_line(ledgers: Path, arguments: tuple[str, ...], message: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "looker", "verify", *arguments],
        cwd=ledgers,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert told.returncode == 2, told.stderr
    (line,) = told.stderr.splitlines()
    assert line.startswith("looker: ")
    assert message in line


def test_a_ledger_without_fragments_shows_nothing(
    tmp_path: Path, target: str, ledger: Path
) -> None:
    assert looker(tmp_path, "logs", target, *SMALL, "--ledger", str(ledger)).code == 0
    begin = 32 + int.from_bytes(ledger.read_bytes()[12:16], "little")
    os.truncate(ledger, begin)
    result = looker(tmp_path, "verify", str(ledger))
    assert (result.code, result.report["verdict"]) == (3, "unknown"), result.said


# --- accidents ---------------------------------------------------------------------------------


def test_a_killed_run_leaves_what_it_had(tmp_path: Path, target: str, ledger: Path) -> None:
    """Its streams go on behind what the ledger knows: that is no mismatch."""
    endless = (
        *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5"),
        *("--n-workers", "2", "--stop-write-after-n-seconds", "1.5", "--n-cycles", "0"),
        *("--metrics-time-increment-ms", "1"),
    )
    with Run(tmp_path, "metrics", target, *endless, "--ledger", str(ledger)) as run:
        run.wait_for("cycle 2: write phase begins")
        time.sleep(0.7)
        everyone = [*children(run.pid), run.pid]
        run.send(signal.SIGKILL)
        wait_until(lambda: not any(is_running(pid) for pid in everyone[:-1]), "workers end")
    known = LedgerFile(ledger)
    assert known.n_cycles == 2
    assert not known.is_closed
    n_acked = known.n_acknowledged * 5
    assert n_acked > 0
    result = looker(tmp_path, "verify", str(ledger))
    assert result.code == 0, result.said
    assert result.read["samples_validated"] == n_acked
    assert result.report["ledger"]["complete"] is False
    assert "the run did not end in order" in result.stderr
    # the beginning of another block changes nothing
    size = ledger.stat().st_size
    with ledger.open("ab") as file:
        file.write(ledger.read_bytes()[-100:-1])
    torn = looker(tmp_path, "verify", str(ledger))
    assert torn.code == 0, torn.said
    assert torn.read["samples_validated"] == n_acked
    assert torn.report["ledger"]["ignored_bytes"] == 99
    assert "the last 99 bytes are no whole block and are ignored" in torn.stderr
    assert ledger.stat().st_size == size + 99
    # where a row is not what was written, the file is no evidence
    raw = bytearray(ledger.read_bytes())
    raw[int(known._rows["offset"][0]) + 5] ^= 1
    ledger.write_bytes(raw)
    damaged = looker(tmp_path, "verify", str(ledger))
    assert damaged.code == 2, damaged.said
    assert "is damaged: there is no whole block at byte" in damaged.stderr


def test_an_interrupted_run_is_verified(tmp_path: Path, target: str, ledger: Path) -> None:
    arguments = (*SMALL[:4], "--n-workers", "2", "--stop-write-after-n-seconds", "300")
    with Run(tmp_path, "logs", target, *arguments, "--ledger", str(ledger)) as run:
        run.wait_for("cycle 0: write phase begins")
        time.sleep(1.5)
        run.send(signal.SIGINT)
        interrupted = run.result()
    assert interrupted.code == 130, interrupted.said
    n_acked = interrupted.write["samples_acked"]
    assert n_acked > 0
    result = looker(tmp_path, "verify", str(ledger))
    assert result.code == 0, result.said
    assert result.report["ledger"]["complete"] is True
    assert result.read["samples_validated"] == n_acked


def test_a_full_disk_ends_the_run_with_its_verdict(
    tmp_path: Path, target: str, ledger: Path
) -> None:
    """A limit on the size of files stands in for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = (
        *("--n-concurrent-streams", "1000", "--n-entries-per-stream-fragment", "1"),
        *("--n-fragments-per-push-message", "100", "--n-workers", "2", "--n-cycles", "50"),
        *("--stop-write-after-n-fragments-per-stream", "2"),
    )
    # two cycles of 64 kB fit, and the report
    resource.setrlimit(resource.RLIMIT_FSIZE, (180_000, hard))
    try:
        run = Run(tmp_path, "metrics", target, *arguments, "--ledger", str(ledger))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with run:
        result = run.result()
    assert result.code == 70, result.said
    assert result.report["verdict"] == "passed"
    assert result.report["faults"] != []
    for fault in result.report["faults"]:
        assert "cannot write the ledger: File too large" in fault
        assert "its fragments from cycle 2 on are not in it" in fault
        assert fault in result.stderr
    assert [cycle["verdict"] for cycle in result.report["cycles"]] == ["passed"] * 3
    known = LedgerFile(ledger)
    assert not known.is_closed
    assert known.n_ignored_bytes == 0
    rows = known._rows
    n_known = int(rows["n_rows"].sum())
    assert 4000 <= n_known < 6000
    assert set(np.unique(rows["cycle"]).tolist()) <= {0, 1, 2}
    later = looker(tmp_path, "verify", str(ledger))
    assert later.code == 0, later.said
    assert later.read["samples_validated"] == n_known


# --- a real server -----------------------------------------------------------------------------


@pytest.mark.prometheus
def test_a_server_that_was_restarted_since(tmp_path: Path, ledger: Path) -> None:
    require_prometheus()
    with Prometheus(tmp_path) as server:
        written = looker(
            tmp_path, "metrics", server.url, *SMALL, "--n-cycles", "2", "--ledger", str(ledger)
        )
        assert written.code == 0, written.said
        server.end()
        down = looker(tmp_path, "verify", str(ledger))
        assert down.code == 3, down.said
        assert "cannot reach" in down.stderr
        server.start()
        for api in ("remote-read", "query"):
            result = looker(tmp_path, "verify", str(ledger), "--read-api", api)
            assert result.code == 0, result.said
            assert result.read["samples_validated"] == 2 * N_SAMPLES_PER_CYCLE
            assert result.read["fragments_proved_by_checksum"] == 2 * 60
