"""One question to a target: which streams, from when to when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from looker.model.matchers import Matcher, selector

MAX_ANSWER_BYTES: Final = 256 << 20
"""No answer may be longer, whatever was asked for."""


@dataclass(frozen=True, slots=True)
class RangeQuery:
    """Ask for the samples of the streams that ``matcher`` selects in ``[start_ns, end_ns)``.

    ``matcher`` is (label, operator, value). At most ``limit`` samples come back (logs), the oldest
    or, ``backward``, the newest first. ``fresh``
    asks past any cache of results. An answer of more than ``max_answer_bytes`` is not read.
    """

    matcher: Matcher
    start_ns: int
    end_ns: int
    limit: int
    fresh: bool = False
    backward: bool = False
    max_answer_bytes: int = MAX_ANSWER_BYTES

    def selector(self, also: tuple[Matcher, ...] = ()) -> str:
        """Return the matcher, and those that all queries have, as LogQL and PromQL write them."""
        return selector((self.matcher, *also))
