"""Mismatches for a terminal: where, what was expected and received, and how to look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.text import Text

from looker.model.labels import selector_text
from looker.model.mismatch import MismatchKind, first_difference, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

_INDENT: Final = "    "
_LEAST_ROOM: Final = 20
_MAX_CYCLES: Final = 10
"""Of further cycles only their number is told."""
_HEAD_WIDTH: Final = len(f"{_INDENT}expected: ")


def show_examples(report: Mapping[str, Any], console: Console) -> None:
    """Print the examples of a report's (schema version 1) cycles, the first ones that have some.

    Lines that are to be copied are not wrapped: the terminal does that by itself.
    """
    # that of the run, where its ledger is read back
    mode = report.get("ledger", report)["mode"]
    found_in = (
        (f"cycle {cycle['cycle']}{_kind(cycle)}{beside}", cycle[name])
        for cycle in report["cycles"]
        for name, beside in (("read", ""), ("spot_check", ", spot checks"))
        if cycle.get(name) is not None
    )
    n_shown = n_more = 0
    for title, read in found_in:
        found = {kind: n for kind, n in read["mismatches"].items() if n}
        if n_shown == _MAX_CYCLES:
            n_more += bool(found)
            continue
        if found:
            n_shown += 1
            counts = ", ".join(f"{n:,} {kind}" for kind, n in found.items())
            first = "; the first of them:" if read["examples"] else ""
            console.print(Text(f"\n{title}: {counts}{first}"))
        for example in read["examples"]:
            for line, wrapped in _lines(example, mode, console.width):
                console.print(line, soft_wrap=not wrapped)
    if n_more:
        console.print(Text(f"\nmismatches of {n_more:,} more cycles: see the report"))


def _kind(cycle: Mapping[str, Any]) -> str:
    return " (warm-up)" if cycle.get("warm_up") else ""


def _lines(example: Mapping[str, Any], mode: str, width: int) -> Iterator[tuple[Text, bool]]:
    """Yield the lines about one example, and whether each is to be wrapped."""
    title = f"  {example['kind']}: {visible(example['stream'])}"
    yield Text(title, style="bold", overflow="fold"), True
    if example["labels"]:
        yield Text(_INDENT + visible(selector_text(example["labels"])), overflow="fold"), True
    place = f"cycle {example['cycle']}"
    if example["fragment"] is not None:
        place += f", fragment {example['fragment']}"
    if example["position"] is not None:
        place += f", sample {example['position']}"
    if example["timestamp_ns"] is not None:
        place += f", time {example['timestamp_ns']} ns"
    if example["timestamp"] is not None:
        place += f" = {example['timestamp']}"
    yield Text(_INDENT + place, overflow="fold"), True
    if example.get("answers"):
        yield Text(_INDENT + visible(example["answers"]), overflow="fold"), True
    is_line = mode == "logs" and example["kind"] != MismatchKind.WRONG_LABELS
    for line in _contents(example, "byte" if is_line else "character", width):
        yield line, True
    query = example.get("query")
    for name in ("url", "curl", "logcli"):
        if query is not None and query[name] is not None:
            text = f"{name}: {query[name]}" if name == "url" else query[name]
            yield Text(_INDENT + visible(text), style="dim"), False


def _contents(example: Mapping[str, Any], unit: str, width: int) -> Iterator[Text]:
    expected, received = example["expected"], example["received"]
    head = _HEAD_WIDTH
    room = max(_LEAST_ROOM, width - head)
    at = None
    if expected is not None and received is not None:
        at = first_difference(expected, received)
    short = [shortened(text, at or 0, room) for text in (expected, received)]
    for side, text in zip(("expected", "received"), short, strict=True):
        if text is not None:
            yield Text(f"{_INDENT}{side}: {visible(text)}", overflow="fold")
    mark = None
    if short[0] is not None and short[1] is not None:
        mark = first_difference(short[0], short[1])
    if mark is not None and short[0] is not None:
        column = cell_len(visible(short[0][:mark]))
        note = f"{unit} {example['first_difference']}"
        if column + len(note) + 2 <= room:
            pointer = " " * column + f"^ {note}"
        else:
            pointer = f"{note} ^".rjust(column + 1)
        yield Text(" " * head + pointer, style="bold red", overflow="fold")
    yield from _later(example, room)


def _later(example: Mapping[str, Any], room: int) -> Iterator[Text]:
    later = shortened(example.get("received_later"), 0, room)
    if later is not None:
        yield Text(f"{_INDENT}later: {visible(later)}", overflow="fold")


def visible(text: str) -> str:
    """Return a text in which what a terminal cannot show, or would obey, is a dot."""
    return "".join(char if char.isprintable() else "·" for char in text)
