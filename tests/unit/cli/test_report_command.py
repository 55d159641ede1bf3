"""``looker report``: what it writes, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.page import page
from looker.cli.main import main
from page_reports import full_report, written

if TYPE_CHECKING:
    from pathlib import Path


def ended(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["report", *words])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return written(tmp_path / "runs", [full_report(), full_report(begin_s=30)])


def test_a_page_is_written_and_its_size_told(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.html"
    assert ended(str(reports), "--output", str(output)) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"{output}: 2 run(s), ")
    assert f"{output.stat().st_size / 1e6:.2f} MB" in told
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert output.stat().st_mode & 0o777 == 0o644
    # a page of its own is replaced
    assert ended(str(reports), "-o", str(output)) == 0


def test_the_default_name(reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(str(reports)) == 0
    assert (tmp_path / "looker-report.html").exists()


def test_another_file_is_not_overwritten(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "precious.html"
    output.write_text("<!DOCTYPE html><p>mine")
    assert ended(str(reports), "-o", str(output)) == 2
    assert "exists, and is no page of looker report (or: --force)" in capsys.readouterr().err
    assert output.read_text() == "<!DOCTYPE html><p>mine"
    assert ended(str(reports), "-o", str(output), "--force") == 0
    assert "looker report" in output.read_text()[:1000]


def test_an_output_that_cannot_be(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(str(reports), "-o", str(tmp_path)) == 2
    assert "is a directory" in capsys.readouterr().err
    assert ended(str(reports), "-o", str(tmp_path / "none" / "page.html")) == 2
    assert f"there is no directory {tmp_path}/none" in capsys.readouterr().err
    report = next(reports.rglob("*report.json"))
    assert ended(str(report), "-o", str(report), "--force") == 2
    assert f"--output: {report} is one of the reports" in capsys.readouterr().err


def test_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.report.json").write_text("{}")
    for words, said in (
        ((str(tmp_path),), "is no report of Looker's"),
        ((str(tmp_path / "none"),), "there is no file or directory"),
        ((str(tmp_path), str(tmp_path)), "the same one is given twice"),
    ):
        assert ended(*words, "-o", str(tmp_path / "page.html")) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_without_the_extra_one_line_says_what_to_install(
    missing: str,
    reports: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find = importlib.util.find_spec

    def found(name: str, *rest: Any) -> Any:
        return None if name == missing else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    if missing == "jinja2":
        monkeypatch.setitem(sys.modules, "jinja2", None)
    page.made_with.cache_clear()
    try:
        assert ended(str(reports), "-o", str(tmp_path / "page.html")) == 2
    finally:
        page.made_with.cache_clear()
    said = capsys.readouterr().err
    assert said == ("looker: looker report wants plotly and jinja2: pip install 'looker[report]'\n")


def test_nothing_of_it_is_imported_by_other_commands() -> None:
    code = (
        "import sys, looker.cli.main;"
        "print([name for name in sys.modules if name.startswith(('plotly', 'jinja2',"
        " 'looker.analysis'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_plotly_itself_is_never_imported(reports: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from looker.analysis.page.page import html;"
        f"html([Path({str(reports)!r})]); print('plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
