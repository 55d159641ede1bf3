"""What an answer to a query says of itself: warnings, partial flags, errors beside data.

Servers that gather an answer from several places answer with what they have: VictoriaMetrics'
cluster says ``"isPartial":true``; Thanos, Prometheus, Cortex, Mimir and Loki give ``warnings``;
some give an ``error`` beside the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_STATEMENTS: Final = 20
_MAX_CHARS: Final = 300
_USUAL: Final = frozenset({"status", "data", "resultType", "result", "encodingFlags", "stats"})
"""What every answer has, so that nothing is lost by not looking."""
_PARTIAL: Final = {
    "ispartial": "VictoriaMetrics",
    "partial": None,
    "partialdata": None,
    "partialresponse": "Thanos",
    "incomplete": None,
    "truncated": None,
    "limited": None,
}
_WARNINGS: Final = frozenset({"warning", "warnings"})
_ERRORS: Final = frozenset({"error", "errors"})
_NOTES: Final = frozenset({"info", "infos"})
_DENIALS: Final = frozenset({"", "0", "false", "no", "none", "null"})
_HEADER_WORDS: Final = frozenset(
    {"warning", "warnings", "partial", "incomplete", "truncated", "limited"}
)
_STATUSES: Final = {203: "Non-Authoritative Information", 206: "Partial Content"}


@dataclass(frozen=True, slots=True)
class Statement:
    """Words of an answer about itself; ``explains`` that something may be missing from it."""

    text: str
    explains: bool = True


def of_frame(answer: Mapping[str, Any]) -> tuple[Statement, ...]:
    """Return what a parsed JSON answer says of itself, outside of its result."""
    found = list(_of_object(answer))
    data = answer.get("data")
    if isinstance(data, dict):
        found += _of_object(data)
    if answer.get("status") == "error" and not any(one.text.startswith("error") for one in found):
        found.append(Statement("status: error"))
    return tuple(dict.fromkeys(found))[:_MAX_STATEMENTS]


def of_response(status: int, headers: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what an answer's status and headers say of it."""
    found = [Statement(f"status {status} {_STATUSES[status]}")] if status in _STATUSES else []
    for name, value in headers.items():
        if _is_statement(name) and value.strip().lower() not in _DENIALS:
            found.append(Statement(_text(f"header {name}", value)))
    return tuple(found)[:_MAX_STATEMENTS]


@lru_cache(256)
def _is_statement(header: str) -> bool:
    return bool(_HEADER_WORDS & set(re.split("[^a-z]+", header.lower())))


def _of_object(values: Mapping[str, Any]) -> Iterator[Statement]:
    kind = values.get("errorType")
    for name, value in [one for one in values.items() if one[0] not in _USUAL]:
        plain = re.sub("[^a-z]", "", name.lower())
        if not value or (isinstance(value, str) and value.strip().lower() in _DENIALS):
            continue
        if plain in _PARTIAL:
            product = _PARTIAL[plain]
            told = f"{name} ({product})" if product else name
            yield Statement(_text(told, value))
        elif plain in _WARNINGS:
            for one in value if isinstance(value, list) else [value]:
                yield Statement(_text("warning", one))
        elif plain in _ERRORS:
            yield Statement(_text(f"error ({kind})" if kind else "error", value))
        elif plain == "errortype" and not values.get("error"):
            yield Statement(_text("error", value))
        elif plain in _NOTES:
            for one in value if isinstance(value, list) else [value]:
                yield Statement(_text("info", one), explains=False)


def _text(name: str, value: Any) -> str:
    said = value if isinstance(value, str) else orjson.dumps(value)
    return f"{one_line(name, 60)}: {one_line(said, _MAX_CHARS)}"
