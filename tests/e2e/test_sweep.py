"""``looker sweep`` as a user runs it: results, failures, interruption and resuming."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from servers import Run, children, free_port, is_running, looker, wait_until

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
SMALL: Final = """
repeats = 2
[base]
mode = "logs"
n_concurrent_streams = 4
n_entries_per_stream_fragment = 10
stop_write_after_n_fragments_per_stream = 3
"""


def swept(tmp_path: Path, text: str) -> tuple[Path, Path]:
    """Return a sweep's file and directory."""
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    return file, tmp_path / "out"


def served(name: str, port: int) -> str:
    return f"""
[[targets]]
name = "{name}"
url = "http://127.0.0.1:{port}"
serve = "{sys.executable} -m looker target --port {port}"
"""


def rows(out: Path, columns: str = "target, point, repeat, exit_code, error") -> list[Any]:
    with closing(sqlite3.connect(out / "results.sqlite")) as database:
        return list(database.execute(f"SELECT {columns} FROM runs"))  # noqa: S608


def test_a_sweep_and_what_becomes_of_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    text = (
        f"{SMALL}[matrix]\nn_workers = [1, 2]\n{served('first', port)}[[targets]]\nname = 'own'\n"
    )
    file, out = swept(tmp_path, text)
    plan = looker(tmp_path, "sweep", str(file), "--out", str(out), "--dry-run")
    assert plan.code == 0, plan.said
    assert "8 runs, 0 of them done; nothing was run" in plan.stdout
    assert (
        "looker logs --n-concurrent-streams=4 --n-entries-per-stream-fragment=10"
        f" --stop-write-after-n-fragments-per-stream=3 --n-workers=2 http://127.0.0.1:{port}"
    ) in plan.stdout
    assert not out.exists()

    done = looker(tmp_path, "sweep", str(file), "--out", str(out))
    assert done.code == 0, done.said
    assert "8 of 8: first/n_workers=2/2: passed" in done.stderr
    assert re.search(r"1 of 8: first/n_workers=1/1: passed, [\d.]+ s; .* left", done.stderr)
    assert rows(out) == [
        (target, f"n_workers={n}", repeat, 0, None)
        for target in ("first", "own")
        for n in (1, 2)
        for repeat in (1, 2)
    ]
    assert set(rows(out, "write_samples_acked, read_samples_validated, verdict, product")) == {
        (120, 120, "passed", "loki")
    }
    reports = sorted(out.glob("*/*/*/report.json"))
    assert len(reports) == 8
    embedded = {path: json.loads(path.read_text())["target"]["embedded"] for path in reports}
    assert {path.parts[-4]: value for path, value in embedded.items()} == {
        "first": False,
        "own": True,
    }
    # the same content for both targets, another one in each repeat and point
    seeds = {path: json.loads(path.read_text())["config"]["seed"] for path in reports}
    assert len(set(seeds.values())) == 4
    assert seeds[reports[0]] == seeds[reports[4]]
    assert not any(path.name.startswith(".") for path in (out / "own/n_workers=1").iterdir())

    # nothing is done twice
    again = looker(tmp_path, "sweep", str(file), "--out", str(out))
    assert again.code == 0, again.said
    assert "passed" not in again.stderr
    found = looker(tmp_path, "compare", str(out), "--format", "json")
    assert found.code == 0, found.said
    contests = json.loads(found.stdout)["contenders"]
    assert [(one["point"], one["n_pairs"]) for one in contests] == [
        ("all points", 4),
        ("n_workers=1", 2),
        ("n_workers=2", 2),
    ]
    check_documented_ways_to_read(tmp_path, monkeypatch)


def check_documented_ways_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples of the documentation, where there is a directory ``out``."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "sweep.md").read_text().partition("## Reading the results")[2]
    (pandas,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (duckdb,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    (jq,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for code in (pandas, f"import duckdb\nprint(duckdb.sql({duckdb!r}).fetchall())"):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert re.search(r"\d+\.\d+", ran.stdout)
    if shutil.which("jq") is None and not os.environ.get("LOOKER_REQUIRE_REAL_SERVERS"):
        return
    ran = subprocess.run(["sh", "-c", jq], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split("\t") for line in ran.stdout.splitlines()]
    assert len(lines) == 8
    assert lines[0][0] == "out/first/n_workers=1/1/report.json"
    assert float(lines[0][2]) > 0


def test_what_fails_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    port = free_port()
    text = f"""{SMALL}
[[targets]]
name = "dead"
url = "http://127.0.0.1:{port}"
[[targets]]
name = "own"
[[targets]]
name = "broken"
url = "http://127.0.0.1:{port}"
start = "echo no such version >&2; exit 7"
"""
    file, out = swept(tmp_path, text)
    done = looker(tmp_path, "sweep", str(file), "--out", str(out))
    assert done.code == 3, done.said
    found = {(target, repeat): (code, error) for target, _, repeat, code, error in rows(out)}
    assert found["own", 1] == found["own", 2] == (0, None)
    code, error = found["dead", 2]
    assert code == 3
    assert error.startswith(f"cannot reach http://127.0.0.1:{port}: ")
    code, error = found["broken", 1]
    assert code is None
    assert error.endswith("ended with exit code 7: no such version")
    assert "own" in done.stdout
    assert "2 failed" in done.stdout
    found = looker(tmp_path, "compare", str(out))
    assert found.code == 2
    assert "no point and repeat that both ran" in found.stderr


def end_of(run: Run, number: signal.Signals) -> list[int]:
    """End a sweep in the middle of a run; return the processes that it had."""
    run.wait_for("1 of 4")
    (child,) = wait_until(
        lambda: [pid for pid in children(run.pid) if children(pid)], "a run has workers"
    )
    pids = [*children(run.pid), *children(child)]
    run.send(number)
    return pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_sweep_is_taken_up_again(tmp_path: Path, number: signal.Signals) -> None:
    text = SMALL.replace(
        "stop_write_after_n_fragments_per_stream = 3",
        "stop_write_after_n_seconds = 2\nlog_time_increment_ns = 50_000_000\n"
        "min_lag_seconds = 0.5\nmax_lag_seconds = 2.5",
    )
    file, out = swept(tmp_path, text + served("a", free_port()) + served("b", free_port()))
    with Run(tmp_path, "sweep", str(file), "--out", str(out)) as run:
        pids = end_of(run, number)
        code = run.result().code
    assert code == (130 if number == signal.SIGINT else -9)
    left = [path for path in out.glob("*/*/.*") if path.name in (".1", ".2")]
    assert len(left) == 1
    first = (out / "a/base/1/run.json").read_text()

    # at once: what is left of the killed one is waited for
    done = looker(tmp_path, "sweep", str(file), "--out", str(out))
    assert done.code == 0, done.said
    assert not any(map(is_running, pids))
    assert (out / "a/base/1/run.json").read_text() == first
    assert rows(out) == [(target, "base", n, 0, None) for target in "ab" for n in (1, 2)]
    assert len(list(out.rglob("report.json"))) == 4
    assert done.stderr.count("passed") == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[base]\nmode = 'logs'\nn_worker = 2", "unknown key n_worker; is n_workers meant?"),
        ("[base]\nmode = 'logs'\nn_workers = 0", "point base: --n-workers: must be from 1 to"),
        (
            "[base]\nmode = 'logs'\nn_workers = 'two'",
            "point base: --n-workers: must be a whole number, not 'two'",
        ),
        ("[base]\nmode = 'logs'\nskip_read = 3", "--skip-read: must be true or false, not 3"),
        ("[base]\nmode = 'logs'\nverify = 'some'", "'some' is not one of"),
        (
            "[base]\nmode = 'metrics'\n[matrix]\nlog_time_increment_ns = [1, 2]",
            "target embedded, point log_time_increment_ns=1: --log-time-increment-ns: is for logs",
        ),
        (
            "[base]\nmode = 'logs'\n[[targets]]\nname = 'a'\nurl = 'ftp://x'",
            "target a, point base: ",
        ),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_code_2(tmp_path: Path, text: str, words: str) -> None:
    file, out = swept(tmp_path, text)
    for more in ((), ("--dry-run",)):
        result = looker(tmp_path, "sweep", str(file), "--out", str(out), *more)
        assert result.code == 2, result.said
        (line,) = result.stderr.splitlines()
        assert words in line
        assert not out.exists()


def test_the_environment_has_no_say(tmp_path: Path) -> None:
    file, out = swept(tmp_path, SMALL.replace("repeats = 2", "repeats = 1"))
    done = looker(
        tmp_path,
        "sweep",
        str(file),
        "--out",
        str(out),
        LOOKER_N_CONCURRENT_STREAMS="999",
        LOOKER_N_CHARS_PER_MSG="200",
    )
    assert done.code == 0, done.said
    assert "LOOKER_N_CHARS_PER_MSG is not used: a sweep's options stand in its file" in done.stderr
    config = json.loads((out / "embedded/base/1/report.json").read_text())["config"]
    assert (config["n_streams"], config["n_chars_per_line"]) == (4, 100)


def test_a_password_is_in_no_file_and_no_process_title(tmp_path: Path) -> None:
    port = free_port()
    text = SMALL + served("a", port).replace("://127", "://me:opensesame@127")
    file, out = swept(tmp_path, text)
    titles: set[bytes] = set()
    with Run(tmp_path, "sweep", str(file), "--out", str(out)) as run:
        while run._process.poll() is None:
            for pid in children(run.pid):
                try:
                    titles.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue
        result = run.result()
    assert result.code == 0, result.said
    assert len(titles) >= 2
    assert not any(b"opensesame" in title for title in titles)
    texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert len(texts) >= 9
    assert not any(b"opensesame" in content for content in texts)
    assert "opensesame" not in result.said


SWEEPS: Final = [*ROOT.glob("benchmarks/sweeps/*.toml"), *DOCS.glob("examples/*/*.toml")]


@pytest.mark.parametrize("file", sorted(SWEEPS), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_sweeps_of_benchmarks_and_examples_are_sound(tmp_path: Path, file: Path) -> None:
    plan = looker(tmp_path, "sweep", str(file), "--out", "out", "--dry-run")
    assert plan.code == 0, plan.said
    assert re.search(r"^\d+ runs, 0 of them done; nothing was run$", plan.stdout, re.MULTILINE)
