"""Which refusals of a query mean that a smaller question would be answered.

The messages are those of running servers where there were some (Prometheus 2.42, Cortex 1.21,
Loki 3.x), else of their sources: Mimir, Thanos, VictoriaMetrics. Limits are counted in series,
or in what grows with the time that is asked for: samples, chunks, bytes, the range itself.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Divide(Enum):
    """By what a question is to be made smaller first."""

    BY_TIME = "time"
    BY_STREAMS = "streams"


_TOO_LONG_REQUEST: Final = frozenset({413, 414, 431})
"""What is asked for is too long, not what would be answered: it grows with the streams' names."""
_BY_STREAMS: Final = re.compile(
    rb"max(imum)?[- ]number[- ]of[- ](unique[- ])?(time[- ]?)?(series|streams)"
    rb"|(series|streams)[- ]limit|(series|streams)-per-query|query[_-](max[_-])?series"
    rb"|matching[ -]time[ -]?series[ -]exceeds|max-?unique-?timeseries|too many (time ?)?series"
    rb"|max_query_series|limits?\.max-?(unique-)?series",
    re.IGNORECASE,
)
_BY_TIME: Final = re.compile(
    rb"samples? limit|too many samples|max-?samples-?per|cannot select more than"
    rb"|chunks? limit|number of chunks|chunks-per-query|chunks-bytes|(chunks?|data|response) size"
    rb"|estimated-memory|memory-?per-?query|memory consumption|not enough memory"
    rb"|too many (bytes|chunks|points|data)|message (larger|bigger) than max"
    rb"|(time range|query length|range length) exceeds|(total-)?query-length"
    rb"|err-mimir-max-[a-z-]*query|limit [0-9.e+]+ violated|bytes (read|limit)[^.]*exceed"
    rb"|exceed[a-z]* [a-z ]*bytes limit|response (is )?too (large|big|long)|result too large",
    re.IGNORECASE,
)
_WORDS_BYTES: Final = 4096


def size_refusal(status: int, body: bytes) -> Divide | None:
    """Return how to divide a question that was refused for its size; None for other answers."""
    if status < 400:
        return None
    if status in _TOO_LONG_REQUEST:
        return Divide.BY_STREAMS
    words = body[:_WORDS_BYTES]
    if _BY_STREAMS.search(words):
        return Divide.BY_STREAMS
    return Divide.BY_TIME if _BY_TIME.search(words) else None
