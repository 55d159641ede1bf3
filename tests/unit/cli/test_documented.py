"""Every option is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from looker.cli.main import app

DOCS = Path(__file__).parents[3] / "docs"
group: Any = typer.main.get_command(app)


@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("logs", "usage.md"),
        ("metrics", "usage.md"),
        ("calibrate", "performance.md"),
        ("verify", "verify.md"),
        ("compare", "compare.md"),
        ("report", "html_report.md"),
        ("sweep", "sweep.md"),
        ("target", "target.md"),
    ],
)
def test_every_option_is_documented(command: str, page: str) -> None:
    text = (DOCS / page).read_text()
    documented = set(re.findall(r"`(--[a-z-]+)", text))
    options = {
        name
        for parameter in group.commands[command].params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    }
    assert options - documented == set()


@pytest.mark.parametrize(
    ("page", "commands"),
    [
        ("usage.md", ("logs", "metrics")),
        ("verify.md", ("verify", "logs")),
        ("compare.md", ("compare",)),
        ("html_report.md", ("report",)),
        ("sweep.md", ("sweep",)),
    ],
)
def test_no_other_option_is_documented(page: str, commands: tuple[str, ...]) -> None:
    text = (DOCS / page).read_text()
    options = {
        name
        for command in commands
        for parameter in group.commands[command].params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(re.findall(r"`(--[a-z-]+)", text)) - options == set()
