"""The scripts run, and print tables whose figures are figures."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import plan_for, swept

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


def test_false_alarms_are_counted(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret is made of it
    swept(tmp_path, plan_for("a", "b", repeats=12), lambda _run: chance.randint(900, 1100))
    words = [str(tmp_path), "--pairs", "10", "--repetitions", "20"]
    result = subprocess.run(
        [sys.executable, str(HERE / "false_alarms.py"), *words],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = re.search(
        r"12 pairs recorded; 20 comparisons of 10 pairs:\n"
        r"no difference in any of (\d+) figures: (\d+) \(",
        result.stdout,
    )
    assert found is not None, result.stdout
    assert int(found[1]) >= 8
    # by its promise 19 of 20 in the long run; fewer than 15 have a chance of one in 3,000
    assert int(found[2]) >= 15
