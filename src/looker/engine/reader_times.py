"""Where the time of one worker's readers goes: each moment of each of them is of one kind."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from looker.backend.attempts import Pauses
from looker.model.elapsed import Elapsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from looker.clock import Clock
    from looker.model.limit import ReadTimeSpent
    from looker.model.report import ReadReport


class ReaderTimes:
    """Sums over all readers of a read phase, exact while they are at it.

    A reader asks (a query is under way, or it waits to ask again: ``pauses``), gives what is
    missing time to appear, or has ended; all other time is Looker's own: planning pages, comparing
    answers, waiting for the thread that compares.
    """

    def __init__(self, clock: Clock) -> None:
        self.pauses = Pauses()
        self.asking = Elapsed()
        self.grace = Elapsed()
        self.ended = Elapsed()
        self._clock = clock

    @contextlib.contextmanager
    def spent(self, kind: Elapsed) -> Iterator[None]:
        """Let one reader's time count to a kind."""
        kind.begin(self._clock.monotonic_ns())
        try:
            yield
        finally:
            kind.end(self._clock.monotonic_ns())

    def fill(
        self, report: ReadReport, earlier: ReadTimeSpent, now_ns: int, readers_ns: int
    ) -> None:
        """Set a report's times to ``earlier`` and what they are now, of ``readers_ns`` in all.

        Differences are of whole nanoseconds, so that no time ever falls.
        """
        limited_ns, retrying_ns = self.pauses.rate_limited.at(now_ns), self.pauses.retry.at(now_ns)
        asking_ns, grace_ns = self.asking.at(now_ns), self.grace.at(now_ns)
        ended_ns = self.ended.at(now_ns)
        own_ns = max(0, readers_ns - asking_ns - grace_ns - ended_ns)
        report.requesting_s = earlier.requesting_s + (asking_ns - limited_ns - retrying_ns) / 1e9
        report.rate_limited_s = earlier.rate_limited_s + limited_ns / 1e9
        report.retry_paused_s = earlier.retry_paused_s + retrying_ns / 1e9
        report.looker_s = earlier.looker_s + own_ns / 1e9
        report.grace_paused_s = earlier.grace_paused_s + grace_ns / 1e9
        report.tail_s = earlier.tail_s + ended_ns / 1e9
        report.readers_s = earlier.readers_s + readers_ns / 1e9
