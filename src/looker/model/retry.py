"""When a failed push is tried again: a pure function of what happened so far."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC

_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]*)?")
# The three forms of RFC 9110 §5.6.7; parsedate_to_datetime alone makes a date of "1 2 3" as well.
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]+, [0-9]{2}[ -][A-Z][a-z]{2}[ -]([0-9]{4}|[0-9]{2}) [0-9]{2}(:[0-9]{2}){2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}(:[0-9]{2}){2} [0-9]{4}"
)
# Any min_delay_s has long reached any max_delay_s then; 2.0 ** 1024 would raise OverflowError.
_MAX_DOUBLINGS = 1000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff between ``min_delay_s`` and ``max_delay_s``, until ``deadline_s``.

    ``deadline_s`` is counted from the beginning of the first attempt; ``jitter`` is the fraction
    (0 to 1) of a delay that is left to chance.
    """

    deadline_s: float = 420.0
    min_delay_s: float = 3.0
    max_delay_s: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Raise ValueError where the numbers make no policy."""
        if not 0 <= self.deadline_s < math.inf:
            raise ValueError(f"deadline_s must be finite and not negative, not {self.deadline_s}")
        if not 0 <= self.min_delay_s <= self.max_delay_s < math.inf:
            raise ValueError(
                "0 <= min_delay_s <= max_delay_s must hold, "
                f"not {self.min_delay_s} and {self.max_delay_s}"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, not {self.jitter}")

    def delay_s(self, attempt: int, uniform: float, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after failed attempt number ``attempt`` (0 is the first).

        min(max_delay, min_delay·2^attempt)·(1 - jitter·uniform): jitter only shortens, so that
        max_delay_s stays the longest wait; 0.5 is the "equal" and 1 the "full jitter" of Brooker,
        "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full spreading retries best.

        ``uniform`` is a random number from 0 to 1. What the server asks for by ``retry_after_s`` is
        never undercut, however long it is.
        """
        if attempt < 0:
            raise ValueError(f"attempt must not be negative, not {attempt}")
        if not 0 <= uniform <= 1:
            raise ValueError(f"uniform must be between 0 and 1, not {uniform}")
        ceiling = min(self.max_delay_s, self.min_delay_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))
        delay = ceiling * (1 - self.jitter * uniform)
        return delay if retry_after_s is None else max(delay, retry_after_s)

    def gives_up(self, elapsed_s: float, delay_s: float) -> bool:
        """Whether an attempt ``delay_s`` from now would begin after the deadline."""
        return elapsed_s + delay_s > self.deadline_s


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Return the seconds from now (``now_s``, since the Unix epoch) that a Retry-After asks for.

    Both forms of RFC 9110 §10.2.3, and decimals, which some servers send. What lies in the past is
    0; None where there is no such header or it cannot be understood.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif _HTTP_DATE.fullmatch(text):
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - seldom needed, and large

        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        # The form without a zone is UTC too; read as local time it would be hours off.
        seconds = date.replace(tzinfo=UTC).timestamp() - now_s
    else:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
