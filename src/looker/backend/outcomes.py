"""What an answer to a push means, by status and message.

The messages are those of running servers: Loki 3.x, Cortex 1.21, Prometheus 2.42; Mimir's by its
documentation.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from looker.model.outcome import Classified, Outcome
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Product(StrEnum):
    """What kind of server a target is; each has its own rules of what is atomic."""

    LOKI = "loki"
    PROMETHEUS = "prometheus"
    CORTEX = "cortex"
    MIMIR = "mimir"


_ACKNOWLEDGED: Final = Classified(Outcome.ACKNOWLEDGED)
_FOR_GOOD: Final = frozenset({401, 403, 404, 405, 406, 411, 414, 415, 422, 431, 501, 505, 507})
_STORED_BEFORE: Final = (
    "out of order",
    "out-of-order",
    "duplicate sample for timestamp",
    "duplicate-timestamp",
    "too far behind",
)
_RATE_LIMIT: Final = ("ingestion rate limit",)
_STREAM_LIMIT: Final = (
    "maximum active stream limit exceeded",
    "per-user series limit",
    "per-metric series limit",
    "max-series-per-user",
    "max-series-per-metric",
)
_MESSAGE_TOO_LARGE: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")
_LOKI_RATE: Final = re.compile(r"limit: (\d+) bytes/sec\).*totaling '(\d+)' bytes", re.DOTALL)
_CORTEX_RATE: Final = re.compile(r"rate limit \(([\d.e+]+)\) exceeded while adding (\d+) samples")
_MIMIR_RATE: Final = re.compile(r"set to ([\d.]+) items/s with a maximum allowed burst of (\d+)")
# burst over rate, as Loki (6 MB, 4 MB/s) and Cortex (50,000, 25,000/s) come
_LOKI_BURST: Final = 1.5
_CORTEX_BURST: Final = 2.0
_MIB: Final = 1 << 20
_MAX_NUMBER: Final = 2.0**63
_LINE_TOO_LONG: Final = re.compile(r"max entry size '(\d{1,18})' bytes exceeded")


def classify(
    product: Product,
    status: int,
    body: bytes,
    *,
    retry_after_s: float | None,
    ambiguous: bool,
    n_samples: int = 0,
    limits: Mapping[str, str] | None = None,
) -> Classified:
    """Return what an answer means.

    ``ambiguous`` tells that an earlier attempt to send the same bytes may have stored them;
    ``n_samples`` how many samples were sent; ``limits`` what the target tells of its limits.
    """
    if status in (200, 202, 204):
        return _ACKNOWLEDGED
    text = body[:2000].decode("utf-8", "replace").strip()
    reason = f"{status} {one_line(text, 500)}".strip()[:500]
    if status == 429:
        return _too_many(text, reason, retry_after_s, n_samples, limits or {})
    sizes = _MESSAGE_TOO_LARGE.search(text)
    if sizes is not None or status == 413:
        fitting = None if sizes is None else _share(sizes[2], sizes[1])
        return Classified(Outcome.TOO_LARGE, reason, fitting=fitting)
    if status == 400:
        outcome = _bad_request(product, text, ambiguous=ambiguous)
    elif status in _FOR_GOOD or 200 <= status < 400:
        outcome = Outcome.REFUSED
    elif status == 408 or status >= 500:
        outcome = Outcome.TRANSIENT
    else:
        outcome = Outcome.REFUSED_PART
    return Classified(outcome, reason + _advice(text), retry_after_s)


def _advice(text: str) -> str:
    """Return what to do about a limit, to be put behind the target's words."""
    if (line := _LINE_TOO_LONG.search(text)) is not None:
        return f"; the largest --n-chars-per-msg that fits is {line[1]}"
    if _says(text, _STREAM_LIMIT):
        return "; lower --n-concurrent-streams, or wait until the target forgets idle streams"
    return ""


def _too_many(
    text: str,
    reason: str,
    retry_after_s: float | None,
    n_samples: int,
    limits: Mapping[str, str],
) -> Classified:
    if not _says(text, _RATE_LIMIT):
        if _says(text, _STREAM_LIMIT):
            return Classified(Outcome.REFUSED_PART, reason + _advice(text))
        # Loki's limit per stream: part of the request is stored
        return Classified(Outcome.TRANSIENT, reason, retry_after_s)
    # Loki and Cortex decide this before they store anything
    amount, burst, known = _amount_and_burst(text, n_samples, limits)
    if burst and amount > burst:
        fitting = burst / amount
        if known:
            return Classified(Outcome.TOO_LARGE, reason, fitting=fitting)
        return Classified(
            Outcome.RATE_LIMITED, reason, retry_after_s, fitting=fitting, suspect=True
        )
    return Classified(Outcome.RATE_LIMITED, reason, retry_after_s)


def _amount_and_burst(
    text: str, n_samples: int, limits: Mapping[str, str]
) -> tuple[float, float, bool]:
    """Return what was sent, the largest burst, in one unit, and whether the burst is known."""
    if (loki := _LOKI_RATE.search(text)) is not None:
        burst = _number(limits.get("ingestion_burst_size_mb"))
        amount, rate = _number(loki[2]), _number(loki[1])
        if amount is not None and burst is not None:
            return amount, burst * _MIB, True
        if amount is not None and rate is not None:
            return amount, rate * _LOKI_BURST, False
    elif (cortex := _CORTEX_RATE.search(text)) is not None:
        burst = _number(limits.get("ingestion_burst_size"))
        amount, rate = _number(cortex[2]), _number(cortex[1])
        if amount is not None and burst is not None:
            return amount, burst, True
        if amount is not None and rate is not None:
            return amount, rate * _CORTEX_BURST, False
    elif (mimir := _MIMIR_RATE.search(text)) is not None:
        burst = _number(mimir[2])
        if burst is not None:
            return float(n_samples), burst, True
    return 0.0, 0.0, False


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


def _number(text: str | None) -> float | None:
    """Return a number that may be meant: not negative, and no more than 64 bits hold."""
    try:
        number = 0.0 if text is None else float(text)
    except ValueError:
        return None
    return number if text is not None and 0 <= number <= _MAX_NUMBER else None


def _share(part: str, whole: str) -> float | None:
    smaller, larger = _number(part), _number(whole)
    if smaller is None or larger is None or smaller >= larger:
        return None
    return smaller / larger
