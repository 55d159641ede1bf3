"""What an answer to a push means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What is known after one attempt to push a message."""

    ACKNOWLEDGED = "acknowledged"
    RATE_LIMITED = "rate_limited"
    """Nothing was stored; the same bytes may be sent later."""
    TRANSIENT = "transient"
    """Perhaps stored, in part or whole; the same bytes are sent again."""
    NOT_SENT = "not_sent"
    """No byte reached the target; the same bytes are sent again."""
    REPEATED = "repeated"
    """The target has newer or equal samples: the answer to a repeat of what it has stored."""
    TOO_LARGE = "too_large"
    """The message can never fit as it is, parts of it may; nothing was stored."""
    REFUSED = "refused"
    """Refused as it is, for good; nothing was stored."""
    REFUSED_PART = "refused_part"
    """Refused for good, and perhaps stored in part."""

    @property
    def may_have_stored(self) -> bool:
        """Whether this attempt may have left a copy, of a part at least."""
        return self in _MAY_HAVE_STORED


_MAY_HAVE_STORED: Final = frozenset(
    {Outcome.ACKNOWLEDGED, Outcome.TRANSIENT, Outcome.REPEATED, Outcome.REFUSED_PART}
)


@dataclass(frozen=True, slots=True)
class Classified:
    """An outcome, the reason in the target's words, and how long it asks to wait (s).

    ``fitting`` is the share of the message that would fit, where the target's words tell.
    ``suspect`` marks a rate-limited message that is larger than any burst is likely to be.
    """

    outcome: Outcome
    reason: str = ""
    retry_after_s: float | None = None
    fitting: float | None = None
    suspect: bool = False
