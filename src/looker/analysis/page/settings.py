"""Environment and configuration: one table, in which values that differ between runs are marked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from looker.analysis.page.blocks import Block, Cell, Table, Text
from looker.analysis.page.wording import NONE, count
from looker.observe.examples import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from looker.analysis.page.runs import Run

MAX_COLUMNS: Final = 9
_MAX_VALUES: Final = 3
_MAX_CHARS: Final = 300
_TOP: Final = ("looker_version", "mode", "invocation_id", "started_at", "finished_at", "exit_code")
_PARTS: Final = ("target", "environment", "ledger", "config")


def settings_of(runs: Sequence[Run]) -> list[Block]:
    """Return the table: a column for each run, of many runs for each side."""
    columns = _columns(runs)
    flat = [[dict(_leaves_of(run)) for run in group] for _, group in columns]
    names = dict.fromkeys(name for group in flat for one in group for name in one)
    rows = []
    n_differing = 0
    for name in names:
        found = [list(dict.fromkeys(one.get(name, NONE) for one in group)) for group in flat]
        differs = len({value for values in found for value in values}) > 1
        n_differing += differs
        tone = "differs" if differs else ""
        cells = [Cell(_said(values), tone=tone) for values in found]
        if len(runs) > 1:
            cells.insert(0, Cell("≠" if differs else "", tone=tone))
        rows.append([Cell(name), *cells])
    heads = ["setting", *(["differs"] if len(runs) > 1 else []), *(name for name, _ in columns)]
    blocks: list[Block] = []
    if len(runs) > 1:
        said = f"{count(n_differing)} of {count(len(names))} differ between the runs, marked ≠."
        blocks.append(Text(said))
    return [*blocks, Table("Environment and configuration", heads, rows, titled=True)]


def _columns(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Return the columns' names and the runs of each."""
    if len(runs) == 1:
        return [("value", list(runs))]
    if len(runs) <= MAX_COLUMNS // 2:
        return [(run.name, [run]) for run in runs]
    by_side: dict[str, list[Run]] = {}
    for run in runs:
        by_side.setdefault(run.side, []).append(run)
    if len(by_side) > MAX_COLUMNS:
        return [("all runs", list(runs))]
    return list(by_side.items())


def _said(values: Sequence[str]) -> str:
    shown = "; ".join(values[:_MAX_VALUES])
    more = len(values) - _MAX_VALUES
    return f"{shown}; and {count(more)} more" if more > 0 else shown


def _leaves_of(run: Run) -> Iterator[tuple[str, str]]:
    plain = run.plain
    for name in _TOP:
        yield from _leaves(name, plain.get(name))
    for name in _PARTS:
        if plain.get(name) is not None:
            yield from _leaves(name, plain[name])


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        inner: Mapping[str, object] = value
        for key, one in inner.items():
            yield from _leaves(f"{name}.{key}", one)
        return
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # a name of the file's as well
    yield (
        visible(name)[:_MAX_CHARS],
        visible(said if len(said) <= _MAX_CHARS else f"{said[:_MAX_CHARS]}…"),
    )
