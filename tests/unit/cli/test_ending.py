"""How commands end: exit code 1 is for mismatches alone, and every error is one line."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest

from looker.cli.ending import code_of, complain
from looker.cli.main import main
from looker.errors import ExitCode, InternalError, OutputError, TargetError, UsageError
from looker.model.verdict import gravest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.model.config import RunConfig

URL = "http://127.0.0.1:1"


def raising(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("--x", "is wrong"), 2),
        (TargetError("cannot be reached"), 3),
        (InternalError("a fault"), 70),
        (OutputError("cannot write"), 74),
        (KeyboardInterrupt(), 130),
        (ValueError("Invalid IPv6 URL"), 70),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 70),
        (OSError(errno.EMFILE, "Too many open files"), 70),
        (RecursionError(), 70),
        (MemoryError(), 70),
        (AssertionError("x\ny\x1b[31m"), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_field_case_22_every_error_has_a_code_of_its_own_and_one_line(
    capfd: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    assert code_of(raising(error)) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == (0 if code == 130 else 1)
    assert "\x1b" not in err


def test_an_unforeseen_error_says_where_it_comes_from(capfd: pytest.CaptureFixture[str]) -> None:
    def act() -> int:
        ExitCode(5)
        return 0

    assert code_of(act) == 70
    said = capfd.readouterr().err
    assert said.startswith("looker: unforeseen ValueError in cli/ending.py:")
    assert ": 5 is not a valid ExitCode (LOOKER_LOG_LEVEL=debug shows" in said
    assert code_of(raising(OSError(errno.EMFILE, "Too many open files"))) == 70
    assert "raise the limit of open files (ulimit -n)" in capfd.readouterr().err


def test_those_who_want_details_get_the_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKER_LOG_LEVEL", "debug")
    assert code_of(raising(ZeroDivisionError("x"))) == 70
    assert "Traceback (most recent call last)" in capfd.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_field_case_42_a_fault_within_a_command_is_70_not_1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The parser would end the process with exit code 1 where a pipe is broken."""

    def run(_config: RunConfig) -> ExitCode:
        raise error

    monkeypatch.setattr("looker.cli.run.run", run)
    with pytest.raises(SystemExit) as ended:
        main(["logs", URL])
    assert ended.value.code == 70
    assert capfd.readouterr().err.count("\n") == 1


def test_lost_output_is_graver_than_a_threshold_and_less_than_a_mismatch() -> None:
    assert gravest([ExitCode.THRESHOLD, ExitCode.OUTPUT]) is ExitCode.OUTPUT
    assert gravest([ExitCode.MISMATCH, ExitCode.OUTPUT]) is ExitCode.MISMATCH
    assert gravest([ExitCode.INTERRUPTED, ExitCode.OUTPUT]) is ExitCode.INTERRUPTED


def test_a_complaint_is_one_printable_line(capfd: pytest.CaptureFixture[str]) -> None:
    complain("a\nb\x1b]0;title\x07 \udcff é")
    sign = "\N{REPLACEMENT CHARACTER}"
    assert capfd.readouterr().err == f"looker: a b{sign}]0;title{sign} {sign} é\n"


NO_PLACE = {
    "too long": (f"{'x' * 300}.json", "File name too long"),
    "a directory": (".", "is a directory"),
    "no directory": ("nowhere/r.json", "there is no directory"),
    "behind a loop": ("loop/r.json", "loop"),
    "below a file": ("file/r.json", "there is no directory"),
}


@pytest.mark.parametrize("option", ["--report", "--ledger"])
@pytest.mark.parametrize("case", NO_PLACE)
def test_field_case_42_what_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    case: str,
    option: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    path, words = NO_PLACE[case]
    with pytest.raises(SystemExit) as ended:
        main(["logs", URL, option, path])
    err = capfd.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    assert err.startswith(f"looker: {option}: ")
    assert words in err or (option, case) == ("--ledger", "a directory")


@pytest.mark.parametrize("case", ["loop", "dangling"])
def test_field_case_42_a_report_by_a_link_that_leads_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "r.json")
    with pytest.raises(SystemExit) as ended:
        main(["logs", URL, "--report", str(tmp_path / case)])
    err = capfd.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    words = {"loop": "links", "dangling": f"there is no directory {tmp_path}/nowhere"}
    assert words[case] in err


def test_field_case_42_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["logs"], ["compare", "a", "b"], ["target"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = "looker: the working directory: is gone: change to one that is there\n"
        assert (ended.value.code, capfd.readouterr().err) == (2, said)


def test_a_report_of_the_longest_name_is_written(tmp_path: Path) -> None:
    from looker.engine.run_report import write_atomically  # noqa: PLC0415 - heavier than the rest

    path = tmp_path / ("é" * 125 + ".json")
    write_atomically(path, {"verdict": "passed"})
    assert json.loads(path.read_text()) == {"verdict": "passed"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("option", ["--config", "--bearer-token-file", "--ca-file"])
def test_a_report_does_not_replace_what_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    file, other = tmp_path / "file", tmp_path / "link"
    file.touch()
    other.symlink_to(file)
    with pytest.raises(SystemExit) as ended:
        main(["logs", URL, option, str(file), "--report", str(other)])
    err = capfd.readouterr().err
    assert ended.value.code == 2
    assert f"--report: {other} is {option}, too: give another file" in err
