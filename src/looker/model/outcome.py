"""What an answer to a push means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What is known after one attempt to push a message."""

    ACKNOWLEDGED = "acknowledged"
    RATE_LIMITED = "rate_limited"
    """A rate limiter said so, before anything was stored; the same bytes are sent again."""
    TRANSIENT = "transient"
    """Perhaps stored, in part or whole; the same bytes are sent again."""
    NOT_SENT = "not_sent"
    """No byte reached the target; the same bytes are sent again."""
    REPEATED = "repeated"
    """The target has newer or equal samples: the answer to a repeat of what it has stored."""
    TOO_LARGE = "too_large"
    """The message can never fit as it is, parts of it may."""
    REFUSED = "refused"
    """Refused as it is, for good, by a target that then stores nothing of it."""
    REFUSED_PART = "refused_part"
    """No acknowledgement, for good; the target may have stored it, in part or whole."""

    @property
    def was_sent(self) -> bool:
        """Whether the target, or who stands before it, may have got any of it.

        Then it may be stored, whatever the answer was: it may be the answer to a repeat that
        somebody in between made.
        """
        return self is not Outcome.NOT_SENT

    @property
    def may_leave_copy(self) -> bool:
        """Whether a copy in the target may be put down to this attempt.

        Not to one that a rate limiter turned away: of these there are too many in some runs.
        """
        return self not in _LEAVES_NONE


_LEAVES_NONE: Final = frozenset({Outcome.NOT_SENT, Outcome.RATE_LIMITED})


@dataclass(frozen=True, slots=True)
class Classified:
    """An outcome, the reason in the target's words, and how long it asks to wait (s).

    ``words`` are the target's alone, one line. ``limited`` tells that a rate limit is what is
    waited for. ``fitting`` is the share of the message that would fit, where the target's words
    tell. ``suspect`` marks a rate-limited message that is larger than any burst is likely to be.
    """

    outcome: Outcome
    reason: str = ""
    retry_after_s: float | None = None
    fitting: float | None = None
    suspect: bool = False
    words: str = ""
    limited: bool = False
