"""Refusals of messages that are too large: in whose words, and which share of one would fit."""

from __future__ import annotations

import re
from typing import Final

_N: Final = r"\d{1,19}"
_ACTUAL_AND_LIMIT: Final = (
    # gRPC; Cortex, Loki and Mimir themselves
    re.compile(rf"message larger than max \((?P<actual>{_N}) vs\.? (?P<limit>{_N})\)"),
    # Mimir
    re.compile(
        rf"(?:size(?: of (?P<actual>{_N}) bytes)? is )?larger than (?:the|its) allowed limit of"
        rf" (?P<limit>{_N}) bytes"
    ),
    # a series as a whole: a fragment is one
    re.compile(rf"larger tha[nt] the maximum allowed size of (?P<limit>{_N}) bytes"),
    # Prometheus
    re.compile(rf"(?:size|body|request|message) exceeds the (?P<limit>{_N}) bytes? limit"),
    # VictoriaMetrics
    re.compile(
        rf"maxInsertRequestSize=(?P<limit>{_N})`?(?: bytes)?(?:; got (?P<actual>{_N}) bytes)?"
    ),
)
_WORDS: Final = re.compile(
    r"(?:request|message|body|payload|entity|content|content length|packet)(?: \w+)?"
    r" (?:is |was )?too (?:large|big|long)"
    r"|too (?:large|big) (?:(?:un)?packed |push |write )?(?:request|message|body|payload)"
    r"|(?:message|request|item)-size\b"
    r"|(?:content[ -]length|body|payload|request size|message size) (?:\w+ )?exceed",
    re.IGNORECASE,
)
_COMPRESSED: Final = re.compile(r"request body|too big packed|\bcompressed", re.IGNORECASE)
_MAX_NUMBER: Final = 2**63


def is_too_large(text: str) -> bool:
    """Tell whether a refusal's words are about the size of the message."""
    if any(pattern.search(text) is not None for pattern in _ACTUAL_AND_LIMIT):
        return True
    return _WORDS.search(text) is not None


def fitting_share(text: str, *, n_bytes: int = 0, n_wire_bytes: int = 0) -> float | None:
    """Return the share of a message that fits, by the target's words; None where they do not tell.

    Many name the limit alone: the message has ``n_bytes``, compressed ``n_wire_bytes`` (0: not
    known).
    """
    for pattern in _ACTUAL_AND_LIMIT:
        found = pattern.search(text)
        if found is None:
            continue
        numbers = found.groupdict()
        limit = int(numbers["limit"])
        if numbers.get("actual") is not None:
            actual = int(numbers["actual"])
        elif limit < n_wire_bytes and _COMPRESSED.search(text) is not None:
            actual = n_wire_bytes
        else:
            actual = n_bytes
        return limit / actual if limit < actual <= _MAX_NUMBER else None
    return None
