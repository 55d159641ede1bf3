"""How long one request may be worked on: a limit that loops of unknown length look at."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    T = TypeVar("T")

_EVERY = 256  # steps between two looks at the clock
_NEGLIGIBLE_S = 0.001


class EffortError(Exception):
    """The time is over."""


class _Deadline(threading.local):
    """How long a thread may be at its request: seconds, and CPU time; None where not yet known."""

    seconds: float = 0.0
    cpu_s: float | None = None
    at_once = False


_deadline = _Deadline()


class Limited:
    """Lets what this thread does in a block take so many seconds of CPU time; 0 is no limit.

    Its CPU time: on a busy host the same requests are answered as on an idle one. The time begins
    with the first look at the clock, so that what is done before costs none. ``at_once`` tells that
    what takes longer is begun anew where it holds nobody up.
    """

    __slots__ = ("_at_once", "_seconds")

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._at_once = at_once

    def __enter__(self) -> None:
        """Begin to count."""
        _deadline.seconds, _deadline.at_once = self._seconds, self._at_once

    def __exit__(self, *error: object) -> None:
        """Count no more."""
        _deadline.seconds, _deadline.cpu_s, _deadline.at_once = 0.0, None, False


def _left_s() -> float:
    """Return how much time is left."""
    if not _deadline.seconds:
        return math.inf
    now_s = time.thread_time()
    if _deadline.cpu_s is None:
        _deadline.cpu_s = now_s + _deadline.seconds
    return _deadline.cpu_s - now_s


def check() -> None:
    """Raise EffortError if the time is over."""
    if _left_s() < 0:
        raise EffortError


def expect(seconds: float) -> None:
    """Raise EffortError if something is to be done at once that takes so long by itself.

    It may take longer than a request may: what it does once is of use to all that follow.
    """
    if seconds > _NEGLIGIBLE_S and _deadline.at_once and seconds > _left_s():
        raise EffortError


def checked(items: Iterable[T]) -> Iterator[T]:
    """Go through items, and look at the clock now and then; EffortError."""
    for number, item in enumerate(items, 1):
        if number % _EVERY == 0:
            check()
        yield item
