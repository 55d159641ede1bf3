"""A comparison on terminals of any width, and in a pipe: no figure is ever cut."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from looker.analysis.comparison import compare
from looker.analysis.comparison_table import show
from looker.analysis.sides import Match

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.analysis.reports import Side


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 132, 200, 100_000])
def test_field_case_26_no_figure_is_cut(side: Callable[..., Side], width: int) -> None:
    sides = [side(name, [1_152_634_120 + 10_000_000 * n for n in range(8)]) for name in "ab"]
    found = compare([Match(*sides)])
    text = io.StringIO()
    show(found, Console(file=text, width=width, highlight=False))
    lines = text.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in text.getvalue()
    assert text.getvalue().count("118,763,412 ±1.7%") == 4
    (line,) = (line for line in lines if line.startswith("↑ write.samples_per_s"))
    if width >= 132:
        assert line.split()[2:6] == ["118,763,412", "±1.7%", "118,763,412", "±1.7%"]
    elif width >= 80:
        assert line == "↑ write.samples_per_s: no difference shown (1)"
        figures = lines[lines.index(line) + 1].split()
        assert figures[:4] == ["118,763,412", "±1.7%", "118,763,412", "±1.7%"]
    else:
        at = lines.index(line)
        assert lines[at + 1 : at + 3] == [
            "  baseline: 118,763,412 ±1.7%",
            "  contender: 118,763,412 ±1.7%",
        ]
    for difference in found.contests[0].differences:
        assert any(difference.path in line for line in lines)


def test_field_case_56_names_are_not_obeyed_by_a_terminal(side: Callable[..., Side]) -> None:
    sides = [side(f"{name}\x1b[2J", [1000], target__version="3\x9b") for name in "ab"]
    text = io.StringIO()
    show(compare([Match(*sides)]), Console(file=text, width=200, highlight=False))
    assert all(line.isprintable() for line in text.getvalue().splitlines())
