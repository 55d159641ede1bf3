"""Which streams or series a selector means: an inverted index over label pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from looker.target.matchers import Labels, Matcher

_CACHED_SELECTIONS = 1024


class LabelIndex:
    """Label sets by number, searched by matchers; numbers are given in the order of ``add``."""

    def __init__(self, sort_key: Callable[[Labels], object]) -> None:
        self.labels: list[Labels] = []
        self._sort_key = sort_key
        self._numbers: dict[str, dict[str, list[int]]] = {}
        self._selections: dict[tuple[Matcher, ...], tuple[int, NDArray[np.int64]]] = {}

    def add(self, labels: Labels) -> int:
        """Index a new label set; returns its number."""
        number = len(self.labels)
        self.labels.append(labels)
        for name, value in labels:
            self._numbers.setdefault(name, {}).setdefault(value, []).append(number)
        return number

    def select(self, matchers: Sequence[Matcher]) -> NDArray[np.int64]:
        """Find the numbers of all label sets that fulfil every matcher, in their sort order."""
        key = tuple(matchers)
        known = self._selections.get(key)
        if known is not None and known[0] == len(self.labels):
            return known[1]
        found = self._narrow(key)
        found.sort(key=lambda number: self._sort_key(self.labels[number]))  # type: ignore[arg-type, return-value]
        numbers = np.array(found, np.int64)
        if len(self._selections) >= _CACHED_SELECTIONS:
            self._selections.clear()
        self._selections[key] = (len(self.labels), numbers)
        return numbers

    def _narrow(self, matchers: tuple[Matcher, ...]) -> list[int]:
        """Take the smallest set that one matcher allows, and filter it by the others."""
        # A matcher that an absent label fulfils says nothing about what is in the index.
        exact = [m for m in matchers if m.operator == "=" and m.value]
        chosen: Matcher | None = None
        if exact:
            chosen = min(exact, key=lambda m: len(self._of(m.name, m.value)))
            numbers = list(self._of(chosen.name, chosen.value))
        else:
            chosen = next((m for m in matchers if not m.matches("")), None)
            numbers = self._allowed(chosen) if chosen else list(range(len(self.labels)))
        for matcher in matchers:
            if matcher is not chosen:
                numbers = [n for n in numbers if matcher.matches(self._value(n, matcher.name))]
        return numbers

    def _of(self, name: str, value: str) -> list[int]:
        return self._numbers.get(name, {}).get(value, [])

    def _allowed(self, matcher: Matcher) -> list[int]:
        values = self._numbers.get(matcher.name, {})
        return [n for value, numbers in values.items() if matcher.matches(value) for n in numbers]

    def _value(self, number: int, name: str) -> str:
        return next((value for key, value in self.labels[number] if key == name), "")
