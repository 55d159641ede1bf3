"""Which streams or series a selector means: an inverted index over label pairs."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from looker.target.effort import check, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from looker.target.matchers import Labels, Matcher

    Key = tuple[tuple[str, str, str], ...]

LABEL_BYTES = 8  # a label of one more stream
PAIR_BYTES = 400  # the Python objects of a value that a name did not have before
NAME_BYTES = 400  # the Python objects of a name
_CACHED_BYTES = 8_000_000
_SELECTION_BYTES = 500


class _Posting:
    """A label pair, kept once, and the numbers of the label sets that have it."""

    __slots__ = ("numbers", "pair")

    def __init__(self, pair: tuple[str, str]) -> None:
        self.pair = pair
        self.numbers = array("q")


class LabelIndex:
    """Label sets by number, searched by matchers; numbers are given in the order of ``add``."""

    def __init__(self, sort_key: Callable[[Labels], object]) -> None:
        self.labels: list[Labels] = []
        self._sort_key = sort_key
        self._postings: dict[str, dict[str, _Posting]] = {}
        self._selections: dict[Key, tuple[int, NDArray[np.int64]]] = {}
        self._cached_bytes = 0

    def cost(self, label_sets: Iterable[Labels]) -> int:
        """Return the bytes that new label sets will take here, the texts of labels aside."""
        total = 0
        fresh: set[str] = set()
        for labels in checked(label_sets):
            total += LABEL_BYTES * len(labels)
            for name, value in labels:
                postings = self._postings.get(name)
                if postings is None:
                    total += PAIR_BYTES + (0 if name in fresh else NAME_BYTES)
                    fresh.add(name)
                elif value not in postings:
                    total += PAIR_BYTES
        return total

    def add(self, labels: Labels) -> int:
        """Index a new label set; returns its number."""
        number = len(self.labels)
        pairs = []
        for pair in labels:
            name, value = pair
            postings = self._postings.get(name)
            if postings is None:
                postings = self._postings[name] = {}
            posting = postings.get(value)
            if posting is None:
                posting = postings[value] = _Posting(pair)
            posting.numbers.append(number)
            pairs.append(posting.pair)
        self.labels.append(tuple(pairs))
        return number

    def select(self, matchers: Sequence[Matcher]) -> NDArray[np.int64]:
        """Find the numbers of all label sets that fulfil every matcher, in their sort order.

        EffortError where that takes too long.
        """
        key = tuple((one.name, one.operator, one.value) for one in checked(matchers))
        known = self._selections.get(key)
        if known is not None and known[0] == len(self.labels):
            return known[1]
        found = self._narrow(tuple(matchers))
        found.sort(key=self._keyed)  # type: ignore[arg-type]
        numbers = np.array(found, np.int64)
        self._keep(key, numbers)
        return numbers

    def _keyed(self, number: int) -> object:
        check()
        return self._sort_key(self.labels[number])

    def _keep(self, key: Key, numbers: NDArray[np.int64]) -> None:
        """Remember a selection, as far as there is room."""
        n_bytes = numbers.nbytes + sum(_SELECTION_BYTES + 4 * len(value) for _, _, value in key)
        if n_bytes > _CACHED_BYTES // 4:
            return
        if self._cached_bytes + n_bytes > _CACHED_BYTES:
            self._selections.clear()
            self._cached_bytes = 0
        self._selections[key] = (len(self.labels), numbers)
        self._cached_bytes += n_bytes

    def _narrow(self, matchers: tuple[Matcher, ...]) -> list[int]:
        """Take the smallest set that one matcher allows, and filter it by the others."""
        # A matcher that an absent label fulfils says nothing about what is in the index.
        exact = [m for m in matchers if m.operator == "=" and m.value]
        chosen: Matcher | None = None
        if exact:
            chosen = min(exact, key=lambda m: len(self._of(m.name, m.value)))
            numbers = list(self._of(chosen.name, chosen.value))
        else:
            chosen = next((m for m in checked(matchers) if not m.matches("")), None)
            numbers = self._allowed(chosen) if chosen else list(range(len(self.labels)))
        for matcher in checked(matchers):
            if not numbers:
                break
            if matcher is not chosen:
                numbers = self._filtered(numbers, matcher)
        return numbers

    def _filtered(self, numbers: list[int], matcher: Matcher) -> list[int]:
        """Keep the label sets that fulfil a matcher; each value is matched once."""
        verdicts: dict[str, bool] = {}
        kept = []
        for number in checked(numbers):
            value = self._value(number, matcher.name)
            verdict = verdicts.get(value)
            if verdict is None:
                verdict = verdicts[value] = matcher.matches(value)
            if verdict:
                kept.append(number)
        return kept

    def _of(self, name: str, value: str) -> Sequence[int]:
        posting = self._postings.get(name, {}).get(value)
        return () if posting is None else posting.numbers

    def _allowed(self, matcher: Matcher) -> list[int]:
        values = self._postings.get(matcher.name, {})
        listed = matcher.alternatives
        if listed is not None:
            return [n for value in checked(listed) for n in self._of(matcher.name, value)]
        return [
            n
            for value, posting in checked(values.items())
            if matcher.matches(value)
            for n in posting.numbers
        ]

    def _value(self, number: int, name: str) -> str:
        """Return a label's value; labels are in the order of their names."""
        labels = self.labels[number]
        at = bisect_left(labels, (name,))
        return labels[at][1] if at < len(labels) and labels[at][0] == name else ""
