"""The scripts run, and print tables whose figures are figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (
            ["stages.py", "--mode", "logs", "--rounds", "2"],
            ["logs: one push of 1,000 entries", "logs: one validated answer of "],
        ),
        (
            ["growth.py", "--mode", "logs", "--quick"],
            [
                "logs: streams; ",
                "logs: characters per line; ",
                "logs: entries per fragment; ",
                "logs: fragments per message; ",
                "logs: workers; ",
            ],
        ),
    ],
    ids=["stages", "growth"],
)
def test_a_script_prints_its_tables(words: list[str], titles: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, str(HERE / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    found = [line.strip("*") for line in lines if line.startswith("**")]
    assert len(found) == len(titles)
    for title, expected in zip(found, titles, strict=True):
        assert title.startswith(expected)
    cells = [line.strip("|").split("|")[1:] for line in lines if line.startswith("| ")]
    figures = [cell.strip(" *%").replace(",", "") for row in cells for cell in row]
    assert sum(figure.replace(".", "", 1).isdigit() for figure in figures) >= 10
