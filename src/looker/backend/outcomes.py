"""What an answer to a push means, by status and message.

The messages are those of running servers: Loki 3.x, Cortex 1.21, Prometheus 2.42 and 3.9; those of
Mimir, Thanos and VictoriaMetrics by their sources. Words count more than the status, which
gateways change.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from looker.backend.contradiction import contradicts
from looker.backend.sizes import fitting_share, is_too_large
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
    VICTORIAMETRICS = "victoriametrics"
    UNKNOWN = "unknown"
    """Speaks one of the protocols, and does not tell what it is: nothing else is known of it."""


_ACKNOWLEDGED: Final = Classified(Outcome.ACKNOWLEDGED)
_MAX_WORDS: Final = 500
_ACKNOWLEDGING: Final = frozenset({200, 202, 204})
"""With 202 gateways answer that queue what they take; Cortex and Mimir where they drop it, and say
so."""
_FOR_GOOD: Final = frozenset({401, 403, 404, 405, 406, 411, 414, 415, 422, 431, 501, 505, 507})
_STORED_BEFORE: Final = (
    "out of order",
    "out-of-order",
    "duplicate sample for timestamp",
    "duplicate-timestamp",
    "too far behind",
    "too old sample",
    "alreadyexists",
    "already exists",
)
_RATE_LIMIT: Final = (
    "ingestion rate limit",
    "request rate limit",
    "tenant-max-ingestion-rate",
    "tenant-max-request-rate",
    "distributor-max-ingestion-rate",
)
"""Told before anything is stored."""
_IN_AN_INGESTER: Final = ("ingester-max-ingestion-rate", "ingester exceeded")
_SLOW_DOWN: Final = re.compile(
    r"rate[ _-]?limit|too many requests|throttl|slow ?down|reduce your request rate"
)
_STREAM_LIMIT: Final = (
    "maximum active stream limit exceeded",
    "per-user series limit",
    "per-metric series limit",
    "max-series-per-user",
    "max-series-per-metric",
    "max-active-series",
)
_LABEL_SETS: Final = re.compile(r"(?<=.)\{[^{}]*=\\?\"[^{}]*(\}|$)")
"""They are of this run's making: their words mean nothing."""
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

    ``ambiguous`` tells that the same bytes were sent before, so that they may be stored;
    ``n_samples`` how many samples were sent; ``limits`` what the target tells of its limits.
    """
    if status in _ACKNOWLEDGING and not body:
        return _ACKNOWLEDGED
    told = body[:2000].decode("utf-8", "replace").strip()
    words = one_line(told, _MAX_WORDS)
    reason = f"{status} {words}".strip()[:_MAX_WORDS]
    if status in _ACKNOWLEDGING and not contradicts(body):
        return Classified(Outcome.ACKNOWLEDGED, words=words)
    text = _LABEL_SETS.sub("{}", told)
    said = text.lower()
    if _says(said, _STREAM_LIMIT):
        return Classified(Outcome.REFUSED_PART, reason + _advice(text), words=words)
    if status == 429 or _SLOW_DOWN.search(said) is not None:
        found = _too_many(said, text, reason, n_samples, limits or {})
        return replace(found, retry_after_s=retry_after_s, words=words)
    if status >= 400 and (status == 413 or is_too_large(text)):
        fitting = fitting_share(text)
        return Classified(Outcome.TOO_LARGE, reason, fitting=fitting, words=words)
    if ambiguous and 400 <= status < 500 and _was_stored_before(status, said):
        outcome = Outcome.REPEATED
    elif status == 408 or (status >= 500 and status not in _FOR_GOOD):
        outcome = Outcome.TRANSIENT
    elif status in _FOR_GOOD or (status == 400 and product is Product.PROMETHEUS):
        # Prometheus' appender rolls the whole request back
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.REFUSED_PART
    if status < 400:
        reason += _no_acknowledgement(status)
    return Classified(outcome, reason + _advice(text), retry_after_s, words=words)


def _no_acknowledgement(status: int) -> str:
    """Return why an answer that is no refusal is no acknowledgement either."""
    if status in _ACKNOWLEDGING:
        return "; an answer with these words is no acknowledgement"
    return "; this status is no acknowledgement: 200, 202 and 204 are"


def _advice(text: str) -> str:
    """Return what to do about a limit, to be put behind the target's words."""
    if (line := _LINE_TOO_LONG.search(text)) is not None:
        return f"; the largest --n-chars-per-msg that fits is {line[1]}"
    if _says(text.lower(), _STREAM_LIMIT):
        return "; lower --n-concurrent-streams, or wait until the target forgets idle streams"
    return ""


def _was_stored_before(status: int, said: str) -> bool:
    """Whether a refusal of what was sent before says that the target has it.

    Thanos answers 409 then; its words may be lost on the way.
    """
    return _says(said, _STORED_BEFORE) or (status == 409 and (not said or "conflict" in said))


def _too_many(
    said: str, text: str, reason: str, n_samples: int, limits: Mapping[str, str]
) -> Classified:
    if not _says(said, _RATE_LIMIT) or _says(said, _IN_AN_INGESTER):
        # as Loki's limit per stream: part of the request is stored
        return Classified(Outcome.TRANSIENT, reason, limited=True)
    amount, burst, known = _amount_and_burst(text, n_samples, limits)
    if burst and amount > burst:
        fitting = burst / amount
        if known:
            return Classified(Outcome.TOO_LARGE, reason, fitting=fitting)
        return Classified(Outcome.RATE_LIMITED, reason, fitting=fitting, suspect=True, limited=True)
    return Classified(Outcome.RATE_LIMITED, reason, limited=True)


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


def _says(said: str, phrases: Iterable[str]) -> bool:
    return any(phrase in said for phrase in phrases)


def _number(text: str | None) -> float | None:
    """Return a number that may be meant: not negative, and no more than 64 bits hold."""
    try:
        number = 0.0 if text is None else float(text)
    except ValueError:
        return None
    return number if text is not None and 0 <= number <= _MAX_NUMBER else None
