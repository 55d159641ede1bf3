"""Where a run's result goes: a pipe, a full disk, nowhere; the report alone, or without a run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.cli.main import main
from run_reports import plain_report
from servers import PATIENCE_S, embedded_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL: Final = (
    "--n-concurrent-streams 8 --n-entries-per-stream-fragment 5"
    " --stop-write-after-n-fragments-per-stream 2 --n-workers 1"
)
URL: Final = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def shell(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which ``looker`` is the command line."""
    looker = f'looker() {{ "{sys.executable}" -m looker "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{looker}; {script}"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def only_report(directory: Path) -> dict[str, Any]:
    (path,) = directory.glob("*report.json")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (">/dev/full", "cannot write the output: No space left on device"),
        (">&- <&-", "cannot write the output: Bad file descriptor"),
        ("| head -0; exit ${PIPESTATUS[0]}", "cannot write the output: Broken pipe"),
        (">&- 2>&-", ""),
    ],
)
def test_field_case_22_output_that_cannot_be_written_is_no_mismatch(
    tmp_path: Path, target: str, where: str, words: str
) -> None:
    found = shell(tmp_path, f"looker logs {target} {SMALL} {where}")
    assert found.returncode == 74, found.stderr
    assert words in found.stderr
    assert "Traceback" not in found.stderr
    assert "Exception" not in found.stderr
    assert found.stdout == ""
    report = only_report(tmp_path)
    assert (report["verdict"], report["exit_code"]) == ("passed", 0)


@pytest.mark.parametrize(
    "command",
    ["--version", "logs --help", "compare a b", "compare a b --format json", "report a -o -"],
)
def test_field_case_22_of_every_command(tmp_path: Path, command: str) -> None:
    for side, name in enumerate("ab"):
        plain = plain_report(1000, begin_s=20 * side, invocation_id=name)
        (tmp_path / name).write_text(json.dumps(plain))
    found = shell(tmp_path, f"looker {command} >/dev/full")
    assert found.returncode == 74, found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("looker: ")
    assert "No space left on device" in found.stderr


def test_field_case_42_output_in_ascii(tmp_path: Path) -> None:
    for side, name in enumerate("ab"):
        plain = plain_report(1000, begin_s=20 * side, invocation_id=name, target__version="ü")
        (tmp_path / name).write_text(json.dumps(plain))
    found = shell(tmp_path, "PYTHONIOENCODING=ascii LC_ALL=C looker compare a b")
    assert found.returncode == 0, found.stderr
    assert found.stdout.isascii()
    assert "^ write.samples_per_s" in found.stdout
    assert r"loki \xfc http://x" in found.stdout


def test_field_case_42_too_few_open_files(tmp_path: Path) -> None:
    found = shell(tmp_path, f"ulimit -n 12; looker logs {SMALL}")
    assert found.returncode == 70, found.stderr
    assert "Traceback" not in found.stderr
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("looker: ")]
    assert "Too many open files: raise the limit of open files (ulimit -n)" in line
    report = only_report(tmp_path)
    assert (report["exit_code"], report["verdict"], report["finished"]) == (70, "unknown", True)
    assert "Too many open files" in report["faults"][0]


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_field_case_27_a_report_on_standard_output_is_alone_there(
    tmp_path: Path, target: str, path: str
) -> None:
    found = shell(tmp_path, f"looker logs {target} {SMALL} --n-cycles 2 --report {path}")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["verdict"] == "passed"
    # the table is on standard error
    assert "passed: all 160 entries read back exactly as written" in found.stderr
    assert not list(tmp_path.iterdir())


def test_field_case_27_standard_output_by_its_file_s_name(tmp_path: Path, target: str) -> None:
    found = shell(tmp_path, f"looker logs {target} {SMALL} --report out.json >out.json")
    assert found.returncode == 0, found.stderr
    assert only_json(tmp_path / "out.json")["verdict"] == "passed"
    assert "passed: all 80 entries" in found.stderr


def only_json(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return plain


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_field_case_28_an_unreachable_target_leaves_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([mode, URL, "--fail-if", "samples_per_s < 5"])
    assert ended.value.code == 3
    report = only_report(tmp_path)
    assert (report["verdict"], report["exit_code"], report["finished"]) == ("unknown", 3, True)
    assert report["error"].startswith(f"cannot reach {URL}: ")
    assert f"looker: {report['error']}\n" in capfd.readouterr().err
    assert report["target"] == {
        **dict.fromkeys(("product", "version", "revision", "clock_skew_s")),
        "url": URL,
        "embedded": False,
        "adds": [],
        "limits": {},
    }
    assert (report["cycles"], report["faults"], report["interrupted"]) == ([], [], False)
    assert report["totals"]["write"]["samples_acked"] == 0
    assert report["totals"]["read"] is None
    assert report["thresholds"] == [
        {"expr": "samples_per_s < 5", "value": 0.0, "breached": None},
    ]
    # what is refused before it has begun leaves none
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    with pytest.raises(SystemExit) as ended:
        main([mode, URL, "--n-workers", "0"])
    assert ended.value.code == 2
    assert not list((tmp_path / "again").iterdir())


def test_field_case_28_a_report_without_a_target_can_be_compared_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        with pytest.raises(SystemExit):
            main(["logs", URL, "--report", name])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["compare", "a", "b"])
    out, err = capfd.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert f"baseline: a · 1 run · {URL}" in out
    assert "warning: a: 1 of 1 run(s) ended with the verdict unknown" in out
    assert f"warning: a: 1 of 1 run(s) never began: cannot reach {URL}" in out
    with pytest.raises(SystemExit) as ended:
        main(["report", "a", "b", "-o", "page.html"])
    assert ended.value.code == 0
    assert "cannot reach http://127.0.0.1:1" in (tmp_path / "page.html").read_text()
