"""What attempts to ask a target came to, and how long was waited between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from looker.model.elapsed import Elapsed

if TYPE_CHECKING:
    from looker.backend.transport import Answer
    from looker.model.report import ReadReport, WriteReport
    from looker.wire.statements import Statement


@dataclass(slots=True)
class Pauses:
    """Time between attempts, over all who wait: after a rate limit, and after other failures."""

    rate_limited: Elapsed = field(default_factory=Elapsed)
    retry: Elapsed = field(default_factory=Elapsed)

    def after(self, *, limited: bool) -> Elapsed:
        """Return the time to which a pause counts."""
        return self.rate_limited if limited else self.retry


@dataclass(slots=True, kw_only=True)
class Attempts:
    """The attempts of one push or query, service times in nanoseconds.

    Only what the target has accepted is service: the time of an answer that refused is kept apart.
    ``responses`` counts the answers by status; what got none, by the name of its failure.
    """

    n_attempts: int = 0
    responses: Counter[str] = field(default_factory=Counter)
    service_ns: list[int] = field(default_factory=list)
    refused_service_ns: list[int] = field(default_factory=list)
    words: list[tuple[str, str]] = field(default_factory=list)
    """Of each attempt that came with some, or was not accepted: the status, or the name of a
    failure, and what was said."""
    pauses: Pauses = field(default_factory=Pauses)
    """Where the time between attempts counts; it may be shared with others."""
    said: tuple[Statement, ...] = ()
    """What the last answer's status and headers say of it."""

    def note_stale(self, answer: Answer) -> None:
        """Note an attempt whose token was refused, and another one with the token that came."""
        self.responses[str(answer.status)] += 1
        self.n_attempts += 1

    def note_failure(self, name: str, words: str) -> None:
        """Note an attempt that got no answer."""
        self.responses[name] += 1
        self.words.append((name, words))

    def record(self, report: WriteReport | ReadReport) -> None:
        """Add the answers, what they said and how long they took, to the report of a phase."""
        report.responses_by_status.update(self.responses)
        for status, words in self.words:
            report.reasons.note(status, words)
        for duration_ns in self.service_ns:
            report.service.record_us(duration_ns // 1000)
        for duration_ns in self.refused_service_ns:
            report.refused_service.record_us(duration_ns // 1000)

    @property
    def n_answers(self) -> int:
        """Attempts that were answered."""
        return len(self.service_ns) + len(self.refused_service_ns)
