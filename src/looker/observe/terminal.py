"""Where results are printed: nothing is ever cut, and only a terminal's lines are wrapped."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

_UNLIMITED: Final = 100_000
"""Columns of what is no terminal: whoever reads a pipe or a file wraps for themselves."""
_LEAST: Final = 20
_USUAL: Final = 80
_INDENT: Final = "  "


def console(*, stderr: bool = False) -> Console:
    """Return standard output, or error, to print results to."""
    made = Console(stderr=stderr, highlight=False, width=_USUAL)
    # not rich's own judgement: FORCE_COLOR is no terminal
    made.width = _width(stderr=stderr) if made.file.isatty() else _UNLIMITED
    return made


def _width(*, stderr: bool) -> int:
    """Return the columns of a terminal: what ``COLUMNS`` says, if that is a number."""
    said = os.environ.get("COLUMNS", "")
    if re.fullmatch("[0-9]{1,5}", said) and int(said):
        return max(_LEAST, int(said))
    try:
        columns = os.get_terminal_size(2 if stderr else 1).columns
    except OSError:
        columns = 0
    return max(_LEAST, columns or _USUAL)


def width_of(renderable: RenderableType, on: Console) -> int:
    """Return how many columns something takes where there is room for all of it."""
    options = on.options.update(width=_UNLIMITED, max_width=_UNLIMITED)
    return Measurement.get(on, options, renderable).maximum


def fits(renderable: RenderableType, on: Console) -> bool:
    """Tell whether something can be printed without wrapping a line."""
    return width_of(renderable, on) <= on.width


def one_below_the_other(
    records: Iterable[tuple[Text | None, Sequence[tuple[str, str | Text]]]],
) -> list[Text]:
    """Return records as lines: a title, if there is one, then each named figure on its own.

    For a terminal that is too narrow for a table: there it is cut nowhere.
    """
    lines = []
    for title, figures in records:
        if title is not None:
            title.overflow = "fold"
            lines.append(title)
        for name, figure in figures:
            line = Text(_INDENT if title is not None else "", overflow="fold")
            line.append(f"{name}: ", "dim")
            lines.append(line.append(figure))
    return lines
