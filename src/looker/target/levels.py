"""Loki's discovery of log levels: what ``detected_level`` it gives to a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from looker.target.effort import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.target.matchers import Labels

UNKNOWN: Final = "unknown"
_FIELDS: Final = (
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
)
_SPELLINGS: Final = {
    "trace": "trace",
    "trc": "trace",
    "debug": "debug",
    "dbg": "debug",
    "info": "info",
    "inf": "info",
    "information": "info",
    "warn": "warn",
    "wrn": "warn",
    "warning": "warn",
    "error": "error",
    "err": "error",
    "critical": "critical",
    "fatal": "fatal",
}
# Bare words count in lower or in upper case only; the first level that has one is taken.
_WORDS: Final = (
    ("info", ("info",)),
    ("error", ("err:", "[err]", "[error]")),
    ("warn", ("warn:", "[warn]", "warning")),
    ("critical", ("critical:", "[critical]")),
    ("debug", ("debug",)),
)
_BARE: Final = tuple(
    (level, re.compile("|".join(re.escape(form) for w in words for form in (w, w.upper()))))
    for level, words in _WORDS
)
# A name without a value is a match too, so that no text is looked at twice.
_PAIR: Final = re.compile(r'([^\s="]++)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?')
# Whatever can give a level has one of these in it, in some case.
_TRIGGERS: Final = (b"info", b"err", b"warn", b"critical", b"debug", b"level", b"lvl", b"severity")


def of_labels(labels: Labels) -> str | None:
    """Return the level that a stream's labels name; None if none of them does."""
    values = dict(labels)
    for name in _FIELDS:
        if name in values:
            return _SPELLINGS.get(values[name].lower(), values[name])
    return None


def of_line(line: str) -> str:
    """Return the level of one line."""
    found: str | None = None
    bare = line.strip()
    if bare.startswith("{") and bare.endswith("}"):
        found = _in_json(bare)
    elif "=" in line:
        found = _in_logfmt(line)
    known = _SPELLINGS.get(found.lower()) if found else None
    if known is not None:
        return known
    return next((level for level, pattern in _BARE if pattern.search(line)), UNKNOWN)


def of_lines(lines: Sequence[bytes]) -> list[str]:
    """Return the level of each line; only lines that may have one are looked at by themselves."""
    levels = [UNKNOWN] * len(lines)
    joined = b"\n".join(lines).lower()
    starts = np.cumsum([0] + [len(line) + 1 for line in lines[:-1]]) if lines else np.zeros(0)
    candidates: set[int] = set()
    for trigger in _TRIGGERS:
        at = joined.find(trigger)
        while at >= 0:
            number = int(np.searchsorted(starts, at, "right")) - 1
            candidates.add(number)
            stop = int(starts[number]) + len(lines[number])
            at = joined.find(trigger, stop)
    for number in candidates:
        levels[number] = of_line(lines[number].decode(errors="replace"))
    return levels


def _in_logfmt(line: str) -> str | None:
    """Return the value of the foremost level field among ``name=value`` pairs."""
    best, found = len(_FIELDS), None
    for pair in checked(_PAIR.finditer(line)):
        name, value = pair.groups()
        if value is None:
            continue
        lowered = name.lower()
        rank = next((i for i, one in enumerate(_FIELDS) if one.lower() == lowered), best)
        if rank < best:
            best, found = rank, value.strip('"')
    return found


def _in_json(line: str) -> str | None:
    """Return the first level field of an object, those within it included."""
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return _search(parsed, 2) if isinstance(parsed, dict) else None


def _search(node: dict[str, Any], depth: int) -> str | None:
    for name, value in node.items():
        if isinstance(value, str) and name in _FIELDS:
            return value
        if isinstance(value, dict) and depth > 1:
            found = _search(value, depth - 1)
            if found is not None:
                return found
    return None
