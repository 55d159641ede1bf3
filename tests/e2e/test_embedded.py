"""Looker against its own target: as a run without a URL, and as a server of its own."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from servers import Run, embedded_target, is_running, kill_quietly, looker, spawned, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "10"),
    *("--n-workers", "1"),
)
N_ALL: Final = 20 * 10 * 10  # 10 fragments, as it comes


def rows(table: str) -> dict[str, list[str]]:
    """Return the printed table: the cells of each row, by its name."""
    found = {}
    for line in table.splitlines():
        name, *cells = re.split(" *[│┃] *", line)
        if cells:
            found[name.strip()] = [cell.strip() for cell in cells]
    return found


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_run_without_a_url_passes_and_shows_a_table(tmp_path: Path, mode: str) -> None:
    result = looker(tmp_path, mode, *SMALL, "--n-workers", "2")
    assert result.code == 0, result.said
    report = result.report
    assert report["verdict"] == "passed"
    assert report["config"]["url"] is None
    assert report["target"]["embedded"] is True
    assert result.write["samples_acked"] == N_ALL
    assert result.write["pushes_retried"] == result.write["pushes_indeterminate"] == 0
    assert result.read["samples_expected"] == result.read["samples_validated"] == N_ALL
    assert result.read["fragments_proved_by_checksum"] == 200
    unit = "entries" if mode == "logs" else "samples"
    shown = rows(result.stdout)
    assert shown[""] == ["cycle 0"]
    assert shown[f"written: {unit} acknowledged"] == ["2,000"]
    assert shown["pushes acknowledged"] == ["200"]
    assert shown[f"read: {unit} validated"] == shown[f"{unit} expected"] == ["2,000"]
    assert shown["streams"] == ["20"]
    assert shown["mismatches"] == ["0"]
    assert shown["queries"] == [str(result.read["queries"])]
    assert f"passed: all 2,000 {unit} read back exactly as written" in result.stdout
    assert result.stdout.startswith(f"{mode} · {report['invocation_id']} · embedded target")
    assert "· 2 workers" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stderr


def test_the_table_has_a_column_for_each_cycle_and_the_total(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", *SMALL, "--n-cycles", "3")
    assert result.code == 0, result.said
    shown = rows(result.stdout)
    assert shown[""] == ["cycle 0", "cycle 1", "cycle 2", "total"]
    assert shown["written: entries acknowledged"] == ["2,000", "2,000", "2,000", "6,000"]
    assert shown["read: entries validated"] == ["2,000", "2,000", "2,000", "6,000"]


def test_field_case_26_what_is_no_terminal_gets_whole_lines(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", *SMALL, "--n-cycles", "12", COLUMNS="60")
    assert result.code == 0, result.said
    assert rows(result.stdout)[""] == [*(f"cycle {n}" for n in range(2, 12)), "total"]
    assert rows(result.stdout)["written: entries acknowledged"][-1] == "24,000"
    assert "passed: all 24,000 entries" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "options",
    [
        ("logs", "--compressability", "max", "--n-chars-per-msg", "20"),
        ("logs", "--compressability", "medium", "--n-fragments-per-push-message", "20"),
        ("logs", "--log-time-increment-ns", "1000000", "--n-chars-per-msg", "1000"),
        ("logs", "--no-include-time-in-msg", "--n-chars-per-msg", "1"),
        ("logs", "--label", "team", "a b", "--label", "zone", "ü"),
        ("logs", "--log-start-time", "2001-01-01T00:00:00Z", "--force"),
        ("metrics", "--compressability", "max"),
        ("metrics", "--compressability", "medium", "--read-api", "query"),
        ("metrics", "--metrics-time-increment-ms", "10", "--label", "a", '"\\'),
        ("metrics", "--change-streams-every-n-cycles", "1", "--n-cycles", "2"),
    ],
    ids=" ".join,
)
def test_every_way_of_writing_reads_back(tmp_path: Path, options: tuple[str, ...]) -> None:
    mode, *further = options
    result = looker(tmp_path, mode, *further, *SMALL)
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    for cycle in result.report["cycles"]:
        assert cycle["read"]["samples_validated"] == N_ALL


PROVED: Final = {
    "content": "read back exactly as written",
    "checksum": "each fragment has the checksum of what was sent (content was not regenerated)",
    "count": "read back by number and time; their content was not checked",
}


@pytest.mark.parametrize("options", [("logs",), ("metrics",), ("metrics", "--read-api", "query")])
@pytest.mark.parametrize("how", PROVED)
def test_the_verdict_says_what_was_proved(
    tmp_path: Path, options: tuple[str, ...], how: str
) -> None:
    result = looker(tmp_path, *options, *SMALL, "--verify", how, "--n-cycles", "2")
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    parts = [*result.report["cycles"], result.report["totals"]]
    for read in (part["read"] for part in parts):
        assert read["verify"] == how
        assert read["mismatches"] == dict.fromkeys(read["mismatches"], 0)
    assert result.report["totals"]["read"]["samples_validated"] == 2 * N_ALL
    n_proved = result.report["totals"]["read"]["fragments_proved_by_checksum"]
    assert n_proved == (0 if how == "count" else 400)
    said = " ".join(result.stdout.split())
    assert PROVED[how] in said
    assert sum(text in said for text in PROVED.values()) == 1


def test_off_reads_nothing_and_contradicts_a_check(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", *SMALL, "--verify", "off")
    assert result.code == 0, result.said
    assert result.report["verdict"] == "not_checked"
    assert result.report["checked"] == "nothing"
    assert result.report["config"]["skip_read"] is True
    assert result.read["verify"] == "off"
    assert looker(tmp_path, "logs", *SMALL, "--verify", "off", "--skip-read").code == 0
    result = looker(tmp_path, "logs", *SMALL, "--verify", "count", "--skip-read")
    assert result.code == 2
    assert "--verify: count contradicts --skip-read" in " ".join(result.stderr.split())


def test_the_null_mode_takes_everything_and_keeps_nothing(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--mode", "null") as url:
        for mode in ("logs", "metrics"):
            result = looker(tmp_path, mode, url, *SMALL, "--skip-read")
            assert result.code == 0, result.said
            assert result.report["verdict"] == "not_checked"
            assert result.write["samples_acked"] == N_ALL
            assert sum(result.write["responses_by_status"].values()) == 200
        # and whoever does read sees that it was not kept
        result = looker(tmp_path, "logs", url, *SMALL, "--read-grace-seconds", "0")
    assert result.code == 1, result.said
    assert result.read["mismatches"]["missing"] == N_ALL
    assert len(result.read["examples"]) == 10
    assert "2,000 missing" in result.stdout


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_full_target_ends_the_write_phase_and_keeps_what_it_took(
    tmp_path: Path, mode: str
) -> None:
    with embedded_target(tmp_path, "--max-memory-mb", "1") as url:
        result = looker(
            tmp_path,
            *(mode, url, "--n-concurrent-streams", "20", "--n-workers", "2"),
            *("--n-entries-per-stream-fragment", "100", "--stop-write-after-n-seconds", "60"),
        )
    assert result.code == 3, result.said
    write, read = result.write, result.read
    assert write["duration_s"] < 30
    assert write["refusal"].startswith("507 ")
    assert "memory limit of 1 MB" in write["refusal"]
    assert "memory limit of 1 MB" in " ".join(result.stdout.split())
    # nothing of what was refused was kept, all of what was taken is
    assert 1 <= write["pushes_rejected"] <= 20
    assert write["pushes_retried"] == 0
    assert write["pushes_acked"] * 100 == write["samples_acked"] > 0
    assert write["payload_bytes_acked"] < 1_100_000
    assert result.report["verdict"] == "passed"
    assert read["samples_expected"] == read["samples_validated"] == write["samples_acked"]


@pytest.mark.parametrize("boundary", ["closed", "open"])
def test_both_meanings_of_a_range_are_read_alike(tmp_path: Path, boundary: str) -> None:
    with embedded_target(tmp_path, "--range-boundary", boundary) as url:
        result = looker(tmp_path, "metrics", url, *SMALL, "--read-api", "query")
    assert result.code == 0, result.said
    assert result.read["samples_validated"] == N_ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_target_command_serves_until_it_is_told_to_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Run(tmp_path, "target", "--port", "0") as run:
        run.wait_for("target (memory) listens at http://127.0.0.1:")
        run.send(number)
        result = run.result()
    assert result.code == 0, result.said
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path) -> None:
    with embedded_target(tmp_path) as url:
        port = url.rpartition(":")[2]
        result = looker(tmp_path, "target", "--port", port)
    assert result.code == 3, result.said
    assert result.stderr.splitlines()[-1].startswith(f"looker: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in result.stderr


def test_an_embedded_target_that_dies_ends_the_run(tmp_path: Path) -> None:
    with Run(
        tmp_path,
        *("logs", *SMALL, "--stop-write-after-n-seconds", "300"),
        *("--retry-post-deadline-seconds", "1", "--retry-post-min-delay-seconds", "0.1"),
        "--skip-read",
    ) as run:
        run.wait_for("cycle 0: write phase begins")
        # the target was started before the worker
        target, _worker = spawned(run.pid)
        kill_quietly(target)
        wait_until(lambda: not is_running(target), "the target is gone")
        result = run.result()
    assert result.code == 3, result.said
    assert "Connect" in result.write["refusal"] or "Error" in result.write["refusal"]
    assert result.report["faults"] == []


def test_reports_of_both_kinds_of_target_are_alike(tmp_path: Path) -> None:
    inside = looker(tmp_path, "logs", *SMALL)
    with embedded_target(tmp_path) as url:
        outside = looker(tmp_path, "logs", url, *SMALL)
    assert inside.code == outside.code == 0

    def keys(value: Any) -> Any:
        return {key: keys(part) for key, part in value.items()} if isinstance(value, dict) else 0

    for part in ("config", "target", "totals"):
        assert keys(inside.report[part]) == keys(outside.report[part])
