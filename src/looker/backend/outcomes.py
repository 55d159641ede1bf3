"""What an answer to a push means, by status and message.

The messages are those of running servers: Loki 3.x, Cortex 1.21, Prometheus 2.42.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from looker.model.outcome import Classified, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable


class Product(StrEnum):
    """What kind of server a target is; each has its own rules of what is atomic."""

    LOKI = "loki"
    PROMETHEUS = "prometheus"
    CORTEX = "cortex"


_FOR_GOOD: Final = frozenset({401, 403, 404, 405, 406, 411, 413, 414, 415, 422, 431, 501, 505, 507})
_STORED_BEFORE: Final = (
    "out of order",
    "out-of-order",
    "duplicate sample for timestamp",
    "too far behind",
)
_RATE_LIMIT: Final = ("ingestion rate limit",)
_STREAM_LIMIT: Final = (
    "maximum active stream limit exceeded",
    "per-user series limit",
    "per-metric series limit",
)
_TOO_LARGE: Final = ("received message larger than max", "trying to send message larger than max")


def classify(
    product: Product, status: int, body: bytes, *, retry_after_s: float | None, ambiguous: bool
) -> Classified:
    """Return what an answer means.

    ``ambiguous`` tells that an earlier attempt to send the same bytes may have stored them.
    """
    text = body[:2000].decode("utf-8", "replace").strip()
    reason = f"{status} {' '.join(text.split())}".strip()[:500]
    if status in (200, 202, 204):
        return Classified(Outcome.ACKNOWLEDGED)
    if status == 429:
        return Classified(_too_many(text), reason, retry_after_s)
    if status == 400:
        return Classified(_bad_request(product, text, ambiguous=ambiguous), reason)
    if _says(text, _TOO_LARGE) or status in _FOR_GOOD or 200 <= status < 400:
        return Classified(Outcome.REFUSED, reason)
    if status == 408 or status >= 500:
        return Classified(Outcome.TRANSIENT, reason, retry_after_s)
    return Classified(Outcome.REFUSED_PART, reason)


def _too_many(text: str) -> Outcome:
    if _says(text, _RATE_LIMIT):
        # Loki and Cortex decide this before they store anything
        return Outcome.RATE_LIMITED
    if _says(text, _STREAM_LIMIT):
        return Outcome.REFUSED_PART
    return Outcome.TRANSIENT


def _bad_request(product: Product, text: str, *, ambiguous: bool) -> Outcome:
    if ambiguous and _says(text, _STORED_BEFORE):
        return Outcome.REPEATED
    if product is Product.PROMETHEUS:
        # its appender rolls the whole request back
        return Outcome.REFUSED
    return Outcome.REFUSED_PART


def _says(text: str, phrases: Iterable[str]) -> bool:
    lowered = text.lower()
    return any(phrase in lowered for phrase in phrases)
