"""What both APIs share: answers, parameters and times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Routes = dict[str, tuple[frozenset[str], Callable[["Request"], "Answer"]]]

GET = frozenset({"GET"})
POST = frozenset({"POST"})
GET_OR_POST = GET | POST
TEXT = "text/plain; charset=utf-8"
NANOS = 1_000_000_000
_LATEST = 1 << 62
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))"
)
_DURATION = re.compile(r"(\d{1,18})(ms|[smhdwy])")
_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}


@dataclass(frozen=True)
class Request:
    """One request: header names in lower case, parameters of the address and of a form body.

    ``matches`` are the values of ``match[]`` and ``match``, which may be given several times.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    parameters: Mapping[str, str]
    body: bytes | bytearray | memoryview
    tenant: str
    matches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Status, body and headers of an answer.

    With ``drop_after_s`` nothing is sent: the connection is closed after so many seconds, or
    reset where that is 0. It is sent after ``delay_s`` seconds.
    """

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_after_s: float | None = None
    delay_s: float = 0.0


class RefusedError(Exception):
    """A request that ends with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def plain_error(status: int, message: str, end: str = "\n") -> Answer:
    """Answer as Go's http.Error does; Loki's queries leave the line's ``end`` away."""
    body = (message + end).encode()
    return Answer(status, body, TEXT, {"X-Content-Type-Options": "nosniff"})


def rfc3339_ns(text: str) -> int | None:
    """Parse an RFC 3339 time to nanoseconds; None if it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    zone = UTC
    try:
        if sign:
            shift = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(shift if sign == "+" else -shift)
        at = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)
    except ValueError:
        return None
    seconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return seconds * NANOS + int((fraction or "").ljust(9, "0"))


def decimal_ns(text: str) -> int | None:
    """Parse decimal seconds to nanoseconds; None if it is no finite number."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    return int(seconds * NANOS) if seconds.is_finite() and abs(seconds) < 10**12 else None


def within(time: int) -> int:
    """Return a time, or the end of those that a column can hold; half of what int64 can."""
    return max(-_LATEST, min(time, _LATEST))


def duration_ms(text: str) -> int | None:
    """Parse a duration such as ``1h30m``, its units in falling order; None if it is none."""
    total, at, last = 0, 0, 1 << 62
    for part in _DURATION.finditer(text):
        unit = _UNITS_MS[part.group(2)]
        if part.start() != at or unit >= last:
            return None
        total, at, last = total + int(part.group(1)) * unit, part.end(), unit
    return total if at == len(text) and at else None
