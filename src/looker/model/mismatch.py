"""Mismatches between what was written and what was read: kinds, counts, examples."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

DEFAULT_MAX_EXAMPLES: Final = 10


class MismatchKind(StrEnum):
    """In what way an answer differs from what was written."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    OUT_OF_ORDER = "out_of_order"
    UNEXPECTED = "unexpected"
    WRONG_LABELS = "wrong_labels"


@dataclass(frozen=True, slots=True)
class MismatchExample:
    """One mismatch in full, for a person to read.

    ``timestamp_ns``, ``fragment`` and ``position`` (of the sample in its fragment) are None where
    they are not known; ``expected`` and ``received`` are text.
    """

    kind: MismatchKind
    stream: str
    cycle: int
    fragment: int | None = None
    position: int | None = None
    timestamp_ns: int | None = None
    expected: str | None = None
    received: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the example as JSON-ready values."""
        return asdict(self)


@dataclass(slots=True)
class Findings:
    """What comparing answers has shown so far; adds up over pages.

    ``n_expected`` counts samples that must be there, ``n_validated`` those that came back exactly;
    both for the cycle that is read.
    """

    n_expected: int = 0
    n_validated: int = 0
    n_optional_seen: int = 0
    retry_duplicates: int = 0
    counts: dict[MismatchKind, int] = field(default_factory=lambda: dict.fromkeys(MismatchKind, 0))
    examples: list[MismatchExample] = field(default_factory=list)
    added_labels: set[str] = field(default_factory=set)

    def add(self, kind: MismatchKind, n: int) -> None:
        """Count ``n`` mismatches of a kind."""
        self.counts[kind] += n

    def room(self, max_examples: int = DEFAULT_MAX_EXAMPLES) -> int:
        """Return how many more examples may be kept."""
        return max(0, max_examples - len(self.examples))

    def keep(self, example: MismatchExample) -> None:
        """Keep an example if there is room."""
        if self.room():
            self.examples.append(example)

    @property
    def n_mismatches(self) -> int:
        """Number of mismatches of all kinds."""
        return sum(self.counts.values())

    def merge(self, other: Findings, max_examples: int = DEFAULT_MAX_EXAMPLES) -> None:
        """Add another page's findings."""
        self.n_expected += other.n_expected
        self.n_validated += other.n_validated
        self.n_optional_seen += other.n_optional_seen
        self.retry_duplicates += other.retry_duplicates
        for kind, n in other.counts.items():
            self.counts[kind] += n
        self.examples += other.examples[: self.room(max_examples)]
        self.added_labels |= other.added_labels
