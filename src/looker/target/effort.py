"""How long one request may be worked on: a limit that loops of unknown length look at."""

from __future__ import annotations

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
    """The deadline of the request that a thread is at, by its CPU time; None without one."""

    cpu_s: float | None = None
    at_once = False


_deadline = _Deadline()


class Limited:
    """Lets what this thread does in a block take so many seconds of CPU time; 0 is no limit.

    Its CPU time: on a busy host the same requests are answered as on an idle one. ``at_once``
    tells that what takes longer is begun anew where it holds nobody up.
    """

    __slots__ = ("_at_once", "_seconds")

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._at_once = at_once

    def __enter__(self) -> None:
        """Begin to count."""
        _deadline.cpu_s = time.thread_time() + self._seconds if self._seconds else None
        _deadline.at_once = self._at_once

    def __exit__(self, *error: object) -> None:
        """Count no more."""
        _deadline.cpu_s = None
        _deadline.at_once = False


def check() -> None:
    """Raise EffortError if the time is over."""
    if _deadline.cpu_s is not None and time.thread_time() > _deadline.cpu_s:
        raise EffortError


def expect(seconds: float) -> None:
    """Raise EffortError if something is to be done at once that takes so long by itself.

    It may take longer than a request may: what it does once is of use to all that follow.
    """
    if seconds < _NEGLIGIBLE_S:
        return
    limit_s = _deadline.cpu_s
    if _deadline.at_once and limit_s is not None and time.thread_time() + seconds > limit_s:
        raise EffortError


def checked(items: Iterable[T]) -> Iterator[T]:
    """Go through items, and look at the clock now and then; EffortError."""
    for number, item in enumerate(items):
        if number % _EVERY == 0:
            check()
        yield item
