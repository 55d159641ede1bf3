"""Where the time of one worker's writers goes: each moment of each of them is of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.engine.source import Cause
from looker.model.elapsed import Elapsed

if TYPE_CHECKING:
    from looker.backend.attempts import Pauses
    from looker.clock import Clock
    from looker.engine.source import MessageSource
    from looker.model.report import WriteReport


class WriterTimes:
    """Sums over all writers of a write phase, exact while they are at it.

    A writer sends (a request is under way, or it waits to send again), waits for a message, or has
    ended. Why it waits, what the generator thread is at tells; but ``n_surplus`` writers, which are
    more than there are streams, wait for a stream at any time.
    """

    def __init__(
        self, source: MessageSource, pauses: Pauses, clock: Clock, n_surplus: int = 0
    ) -> None:
        self.sending = Elapsed()
        self.ended = Elapsed()
        self._source = source
        self._pauses = pauses
        self._clock = clock
        self._waiting = [Elapsed() for _ in Cause]
        self._n_waiting = 0
        self._n_surplus = n_surplus
        self._surplus = Elapsed()
        now_ns = clock.monotonic_ns()
        self._limited_before_ns = pauses.rate_limited.at(now_ns)
        self._retrying_before_ns = pauses.retry.at(now_ns)

    def begin_waiting(self) -> None:
        """One more writer waits for a message."""
        self._n_waiting += 1
        if self._n_waiting <= self._n_surplus:
            self._surplus.begin(self._clock.monotonic_ns())
            return
        for waiting, spent_ns in zip(self._waiting, self._spent_ns(), strict=True):
            waiting.begin(spent_ns)

    def end_waiting(self) -> None:
        """One of those that waited has one, or has ended."""
        self._n_waiting -= 1
        if self._n_waiting < self._n_surplus:
            self._surplus.end(self._clock.monotonic_ns())
            return
        for waiting, spent_ns in zip(self._waiting, self._spent_ns(), strict=True):
            waiting.end(spent_ns)

    def fill(self, report: WriteReport, now_ns: int) -> None:
        """Set a report's times to what they are now."""
        spent_ns = self._source.spent_ns(now_ns)
        waited_s = [
            waiting.at(cause_ns) / 1e9
            for waiting, cause_ns in zip(self._waiting, spent_ns, strict=True)
        ]
        limited_ns = self._pauses.rate_limited.at(now_ns) - self._limited_before_ns
        retrying_ns = self._pauses.retry.at(now_ns) - self._retrying_before_ns
        report.rate_limited_s, report.retry_paused_s = limited_ns / 1e9, retrying_ns / 1e9
        report.requesting_s = (self.sending.at(now_ns) - limited_ns - retrying_ns) / 1e9
        report.starved_generator_s = waited_s[Cause.GENERATING]
        report.starved_throttle_s = waited_s[Cause.THROTTLED]
        report.starved_streams_s = waited_s[Cause.STREAMS] + self._surplus.at(now_ns) / 1e9
        report.batching_throttled_s = waited_s[Cause.FILLING_THROTTLED]
        report.batching_s = waited_s[Cause.FILLING] + report.batching_throttled_s
        report.tail_s = waited_s[Cause.ENDED] + self.ended.at(now_ns) / 1e9
        report.throttled_s = spent_ns[Cause.THROTTLED] / 1e9

    def _spent_ns(self) -> tuple[int, ...]:
        return self._source.spent_ns(self._clock.monotonic_ns())
