"""Where results are printed: nothing is ever cut, and only a terminal's lines are wrapped."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import JustifyMethod, RenderableType

_UNLIMITED: Final = 100_000
"""Columns of what is no terminal: whoever reads a pipe or a file wraps for themselves."""
_LEAST: Final = 20
_USUAL: Final = 80
_LINES: Final = 25
_INDENT: Final = "  "


def console(*, stderr: bool = False) -> Console:
    """Return standard output, or error, to print results to."""
    # with a height as well, rich asks neither the environment nor the terminal
    made = Console(stderr=stderr, highlight=False, width=_USUAL, height=_LINES)
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


def laid_out(
    columns: Sequence[tuple[str, JustifyMethod]],
    rows: Sequence[Sequence[str | Text]],
    on: Console,
    *,
    n_keys: int = 1,
    n_last: int = 0,
) -> Sequence[RenderableType]:
    """Return rows as a table, or where its lines would be wrapped, in another way.

    ``columns`` are heads and how their cells are aligned; the first ``n_keys`` cells of a row say
    what it is about. In a narrow terminal they and the ``n_last`` ones have a line of their own
    above the others; in a very narrow one every cell has.
    """
    table = Table(show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for head, justify in columns:
        table.add_column(head, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if fits(table, on):
        return [table]
    n_rest = len(columns) - n_last
    titles = [Text(" · ").join(map(_as_text, row[:n_keys])) for row in rows]
    heads, *figures = _aligned(columns[n_keys:n_rest], [row[n_keys:n_rest] for row in rows])
    lines = [heads]
    for title, row, line in zip(titles, rows, figures, strict=True):
        lines += [Text(": ").join([title, *map(_as_text, row[n_rest:])]), line]
    if all(line.cell_len <= on.width for line in lines):
        return lines
    names = [head for head, _ in columns]
    return one_below_the_other(
        (title, list(zip(names, row, strict=True))[n_keys:])
        for title, row in zip(titles, rows, strict=True)
    )


def _aligned(
    columns: Sequence[tuple[str, JustifyMethod]], rows: Sequence[Sequence[str | Text]]
) -> list[Text]:
    """Return heads and rows as lines, one column below the other."""
    cells = [[Text(head, "bold") for head, _ in columns], *(list(map(_as_text, r)) for r in rows)]
    widths = [max(row[n].cell_len for row in cells) for n in range(len(columns))]
    lines = []
    for row in cells:
        line = Text()
        for cell, width, (_, justify) in zip(row, widths, columns, strict=True):
            room = " " * (width - cell.cell_len)
            line.append(_INDENT)
            line.append(Text.assemble(room, cell) if justify == "right" else cell + room)
        lines.append(line)
    return lines


def _as_text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


def one_below_the_other(
    records: Iterable[tuple[Text, Sequence[tuple[str, str | Text]]]],
) -> list[Text]:
    """Return records as lines: a title, then each named figure on its own.

    For a terminal that is too narrow for a table: there it is cut nowhere.
    """
    lines = []
    for title, figures in records:
        title.overflow = "fold"
        lines.append(title)
        for name, figure in figures:
            line = Text(_INDENT, overflow="fold").append(f"{name}: ", "dim")
            lines.append(line.append(_as_text(figure)))
    return lines
