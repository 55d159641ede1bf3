"""The words of a target, by status of its answers: which came how often."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXTS: Final = 10
"""Of each status, so many different texts are kept: the shortest."""
MAX_STATUSES: Final = 32
"""Of so many statuses: those that come first by their names."""
MAX_SHOWN: Final = 3
_MAX_CHARS: Final = 300
_LABEL_SET: Final = re.compile(r"\{[^{}]*=\\?\"[^{}]*(\}|$)")
_IDENTIFIER: Final = re.compile(r"\b(?=[a-zA-Z-]*\d)[0-9a-fA-F-]{8,}\b")
_NUMBER: Final = re.compile(r"\d[\d.,:TZ+-]*")


@dataclass(frozen=True, slots=True)
class Said:
    """How often a text came, and one instance of it."""

    count: int
    text: str

    def plus(self, other: Said) -> Said:
        """Return both together; the least text stands for all, so that order does not show."""
        return Said(self.count + other.count, min(self.text, other.text))


@dataclass(slots=True)
class Reasons:
    """What a target said, by status; for failures without an answer by their name.

    Texts that differ in numbers, identifiers and label sets only are one. Merging is associative
    and commutative: which texts are kept does not depend on what came first.
    """

    by_status: dict[str, dict[str, Said]] = field(default_factory=dict)

    def note(self, status: str, text: str) -> None:
        """Count one answer."""
        self._add(status, {_folded(text): Said(1, text[:_MAX_CHARS])})

    def merge(self, other: Reasons) -> None:
        """Add another's."""
        for status, texts in other.by_status.items():
            self._add(status, texts)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the commonest texts of each status as JSON-ready values, the commonest first."""
        return {
            status: [
                {"text": said.text, "count": said.count}
                for said in _commonest(texts.values())[:MAX_SHOWN]
            ]
            for status, texts in sorted(self.by_status.items())
        }

    def _add(self, status: str, texts: dict[str, Said]) -> None:
        mine = dict(self.by_status.get(status, {}))
        for folded, said in texts.items():
            known = mine.get(folded)
            mine[folded] = said if known is None else known.plus(said)
        if len(mine) > MAX_TEXTS:
            kept = sorted(mine, key=lambda folded: (len(folded), folded))[:MAX_TEXTS]
            mine = {folded: mine[folded] for folded in kept}
        self.by_status[status] = mine
        if len(self.by_status) > MAX_STATUSES:
            del self.by_status[max(self.by_status)]


def _commonest(texts: Iterable[Said]) -> list[Said]:
    return sorted(texts, key=lambda said: (-said.count, said.text))


@lru_cache(256)
def _folded(text: str) -> str:
    """Return a text without what changes from one answer to the next."""
    text = _LABEL_SET.sub("{}", text)
    return _NUMBER.sub("0", _IDENTIFIER.sub("0", text))[:_MAX_CHARS]
