"""Mismatches between what was written and what was read: kinds, counts, examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.model.secrecy import struck

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

DEFAULT_MAX_EXAMPLES: Final = 10
MAX_EXAMPLES: Final = 100
"""So many at most are kept of a page, and may be asked for."""
MAX_EXAMPLE_CHARS: Final = 2000
"""Longer content is shortened around the first difference: lines may have a million characters."""
ELLIPSIS: Final = "…"
_STRUCK_CHARS: Final = 4 * MAX_EXAMPLE_CHARS


MAX_STATEMENTS: Final = 20
"""So many different ones are told by their words."""
OTHER_STATEMENTS: Final = "(other words)"


class MismatchKind(StrEnum):
    """In what way an answer differs from what was written."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    OUT_OF_ORDER = "out_of_order"
    UNEXPECTED = "unexpected"
    WRONG_LABELS = "wrong_labels"
    TRANSIENT = "transient"
    INCONSISTENT = "inconsistent"


KINDS: Final = tuple(MismatchKind)
PLACE_DTYPE: Final = np.dtype([("kind", "u1"), ("stream", "i8"), ("time_ns", "i8")])
"""Where a mismatch was found: its kind's place in ``KINDS``, the stream's number (-1 for one that
is not of the run), and the sample's time (of wrong labels: that of the first sample under them)."""


@dataclass(frozen=True, slots=True)
class MismatchExample:
    """One mismatch in full, for a person to read.

    ``cycle`` is the one in whose read phase it was found. ``labels``, ``timestamp_ns``,
    ``fragment`` and ``position`` (of the sample in its fragment) are None where they are not known;
    ``expected`` and ``received`` are text, ``first_difference`` is the first character, counted
    from 0, in which they differ: for a line of a log also its byte.

    What answers to one question contradict each other in has ``answers``: which of them showed
    what, in words. Of a transient mismatch ``seen_as`` is the kind that was first seen, with
    ``received``; ``received_later`` is what the last answer had in its place.
    """

    kind: MismatchKind
    stream: str
    cycle: int
    fragment: int | None = None
    position: int | None = None
    timestamp_ns: int | None = None
    expected: str | None = None
    received: str | None = None
    labels: Mapping[str, str] | None = None
    first_difference: int | None = None
    seen_as: MismatchKind | None = None
    received_later: str | None = None
    answers: str | None = None

    def marked(self) -> MismatchExample:
        """Return the example with its first difference noted, and long content shortened.

        Secrets of the run are struck out of what was received: targets may repeat them.
        """
        received, at = self.received, None
        if self.expected is not None and received is not None:
            at = first_difference(self.expected, received)
        if received is not None and (plain := _struck_around(received, at or 0)) != received:
            received = plain
            at = None if self.expected is None else first_difference(self.expected, received)
        later = (
            None if self.received_later is None else _struck_around(self.received_later, at or 0)
        )
        return replace(
            self,
            first_difference=at,
            expected=shortened(self.expected, at or 0, MAX_EXAMPLE_CHARS),
            received=shortened(received, at or 0, MAX_EXAMPLE_CHARS),
            received_later=shortened(later, at or 0, MAX_EXAMPLE_CHARS),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the example as JSON-ready values."""
        labels = None if self.labels is None else dict(self.labels)
        moment = None if self.timestamp_ns is None else rfc3339_ns(self.timestamp_ns)
        return {**asdict(replace(self, labels=None)), "labels": labels, "timestamp": moment}


def least(statements: Counter[str]) -> Counter[str]:
    """Return the first of some statements by the alphabet, and the others as one.

    So the order in which counts are added does not show.
    """
    texts = sorted(statements.keys() - {OTHER_STATEMENTS})
    if len(texts) <= MAX_STATEMENTS:
        return statements
    kept = Counter({text: statements[text] for text in texts[:MAX_STATEMENTS]})
    kept[OTHER_STATEMENTS] = statements.total() - kept.total()
    return kept


def first_difference(expected: str, received: str) -> int | None:
    """Return the first position at which two texts differ, counted from 0; None where they do not.

    Where one is the beginning of the other, it is the length of the shorter one.
    """
    if expected == received:
        return None
    pairs = zip(expected, received, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def shortened(text: str | None, at: int, room: int) -> str | None:
    """Return ``text`` cut to ``room`` characters around position ``at``, ellipses included.

    Texts that are equal before ``at`` stay so, and are cut at the same place before it.
    """
    if text is None:
        return None
    begin = at - room // 2 if at > room * 2 // 3 else 0
    head = ELLIPSIS if begin else ""
    kept = text[begin : begin + room - len(head)]
    if begin + len(kept) < len(text):
        kept = kept[:-1] + ELLIPSIS
    return head + kept


def _struck_around(text: str, at: int) -> str:
    """Return a text without secrets as far around position ``at`` as it may be shown."""
    begin, end = max(0, at - _STRUCK_CHARS), at + _STRUCK_CHARS
    return text[:begin] + struck(text[begin:end]) + text[end:]


def rfc3339_ns(time_ns: int) -> str | None:
    """Return a time in UTC with nanoseconds; None where that is beyond the calendar."""
    seconds, nanos = divmod(time_ns, 10**9)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return f"{moment.replace(tzinfo=None).isoformat()}.{nanos:09d}Z"


@dataclass(slots=True)
class Findings:
    """What comparing answers has shown so far; adds up over pages.

    ``n_expected`` counts samples that must be there, ``n_validated`` those that came back exactly;
    both for the cycle that is read. At most ``max_examples`` examples are kept: of what is merged,
    the least of them. ``places`` (PLACE_DTYPE) are where one answer showed mismatches; they do not
    add up.

    ``statements`` counts what answers said of themselves, by their words;
    ``n_missing_explained`` are the missing samples of answers that said that they are not whole
    (``says_partial``).
    """

    n_expected: int = 0
    n_validated: int = 0
    n_optional_seen: int = 0
    retry_duplicates: int = 0
    counts: dict[MismatchKind, int] = field(default_factory=lambda: dict.fromkeys(MismatchKind, 0))
    examples: list[MismatchExample] = field(default_factory=list)
    added_labels: set[str] = field(default_factory=set)
    max_examples: int = MAX_EXAMPLES
    places: list[NDArray[Any]] = field(default_factory=list)
    statements: Counter[str] = field(default_factory=Counter)
    n_missing_explained: int = 0
    says_partial: bool = False

    def state(self, text: str) -> None:
        """Count what an answer says of itself."""
        self.statements = least(self.statements + Counter([text]))

    def told(self) -> list[dict[str, Any]]:
        """Return what answers said of themselves as JSON-ready values, the commonest first."""
        said = sorted(self.statements.items(), key=lambda one: (-one[1], one[0]))
        return [{"said": text, "answers": n} for text, n in said]

    def add_at(self, kind: MismatchKind, streams: ArrayLike, times_ns: ArrayLike) -> None:
        """Count mismatches of a kind, and note where they are: (n,) each."""
        found = np.empty(np.size(streams), PLACE_DTYPE)
        if not len(found):
            return
        found["kind"], found["stream"], found["time_ns"] = KINDS.index(kind), streams, times_ns
        self.places.append(found)
        self.add(kind, len(found))

    def add(self, kind: MismatchKind, n: int) -> None:
        """Count ``n`` mismatches of a kind."""
        self.counts[kind] += n

    def room(self) -> int:
        """Return how many more examples may be kept."""
        return max(0, self.max_examples - len(self.examples))

    def keep(self, example: MismatchExample) -> None:
        """Keep an example if there is room."""
        if self.room():
            self.examples.append(example.marked())

    @property
    def n_mismatches(self) -> int:
        """Number of mismatches of all kinds."""
        return sum(self.counts.values())

    def merge(self, other: Findings) -> None:
        """Add another page's findings."""
        self.max_examples = min(self.max_examples, other.max_examples)
        self.n_expected += other.n_expected
        self.n_validated += other.n_validated
        self.n_optional_seen += other.n_optional_seen
        self.retry_duplicates += other.retry_duplicates
        for kind, n in other.counts.items():
            self.counts[kind] += n
        self.examples = [*self.examples, *other.examples][: self.max_examples]
        self.added_labels |= other.added_labels
        self.statements = least(self.statements + other.statements)
        self.n_missing_explained += other.n_missing_explained
        self.says_partial = self.says_partial or other.says_partial
