"""The write phase of one worker: writers push what the generator thread makes ready."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.engine.disorderly import Disorderly
from looker.engine.source import MessageSource
from looker.engine.writer_times import WriterTimes
from looker.generate.mixer import mix64
from looker.model.config import NS_PER_MS
from looker.model.fragment import FragmentState
from looker.model.lag_window import says_too_old, way_out
from looker.model.report import PhaseTimes, WriteReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from looker.backend.client import Client, PushResult
    from looker.clock import Clock
    from looker.engine.source import Message
    from looker.generate.disorder import Disorder
    from looker.generate.encoder import Encoder
    from looker.generate.population import Population
    from looker.model.config import RunConfig
    from looker.verify.ledger import Ledger

_DELAY_PROBE_S: Final = 0.05
_IN_FLIGHT_GRACE_S: Final = 5.0


class WritePhase:
    """Runs until the stop criterion is met, the target refuses for good, or ``stop`` is set."""

    def __init__(
        self,
        *,
        config: RunConfig,
        client: Client,
        population: Population,
        encoder: Encoder,
        ledger: Ledger | None,
        cycle: int,
        n_writers: int,
        clock: Clock,
        stop: asyncio.Event,
        end: asyncio.Event,
        acked_ns: NDArray[np.int64] | None = None,
        disorder: Disorder | None = None,
    ) -> None:
        """``stop`` ends the run, ``end`` this phase only.

        ``acked_ns`` is given when each of the population's streams is acknowledged (monotonic).
        """
        self._config = config
        self._client = client
        self._population = population
        self._encoder = encoder
        self._ledger = ledger
        self._cycle = cycle
        self._n_writers = n_writers
        self._clock = clock
        self._stop = stop
        self._end = end
        self._acked_ns = acked_ns
        self._idle: list[asyncio.Future[Message | None]] = []
        self._report = WriteReport()
        self._disorderly: Disorderly | None = None
        if disorder is not None:
            n_samples = config.n_samples_per_fragment
            self._disorderly = Disorderly(disorder, population, n_samples, self._report)
        self._source: MessageSource | None = None
        self._times: WriterTimes | None = None
        self._begun_ns = 0
        self._cpu_begun_s = 0.0
        self._loop_cpu_begun_s = 0.0

    def snapshot(self) -> WriteReport:
        """Return the report as far as it is; the same object each time."""
        report, source, times = self._report, self._source, self._times
        if source is not None and times is not None:
            now_ns = self._clock.monotonic_ns()
            elapsed_ns = now_ns - self._begun_ns
            # wall time may jump: only its beginning counts
            report.times.finished_ns = report.times.started_ns + elapsed_ns
            report.cpu_s = time.process_time() - self._cpu_begun_s
            # the event loop's thread is the one that asks
            report.loop_cpu_s = time.thread_time() - self._loop_cpu_begun_s
            report.workers_s = elapsed_ns / 1e9
            report.writers_s = report.workers_s * self._n_writers
            report.generating_s = max(0.0, report.workers_s - source.idle_ns / 1e9)
            times.fill(report, now_ns)
            report.forward_leaps = source.forward_leaps
            report.wall_went_back_s = source.wall_went_back_ns / 1e9
        return report

    async def run(self) -> WriteReport:
        """Write, and return what became of it."""
        config = self._config
        loop = asyncio.get_running_loop()
        self._population.begin_cycle(config.stop_after_n_fragments)
        source = MessageSource(
            population=self._population,
            encoder=self._encoder,
            ledger=self._ledger,
            cycle=self._cycle,
            n_fragments_per_message=config.n_fragments_per_message,
            body_bytes_estimate=config.payload_bytes_per_fragment * config.n_fragments_per_message,
            n_writers=self._n_writers,
            batch_deadline_ns=int(config.batch_deadline_ms * NS_PER_MS),
            clock=self._clock,
            wake=lambda: _call_soon(loop, self._hand_out),
        )
        self._report.times = PhaseTimes(self._clock.wall_ns())
        self._begun_ns, self._cpu_begun_s = self._clock.monotonic_ns(), time.process_time()
        self._loop_cpu_begun_s = time.thread_time()
        self._source = source
        n_surplus = max(0, self._n_writers - self._population.n)
        self._times = WriterTimes(source, self._client.push_pauses, self._clock, n_surplus)
        source.start()
        writers = [
            asyncio.create_task(self._write(source, self._times)) for _ in range(self._n_writers)
        ]
        watchers = [
            asyncio.ensure_future(self._watch_stop(source, writers)),
            asyncio.ensure_future(self._probe_delay()),
        ]
        try:
            await asyncio.gather(*writers)
        finally:
            for task in (*watchers, *writers):
                task.cancel()
            source.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*watchers, *writers, return_exceptions=True)
            await loop.run_in_executor(None, source.join)
        report = self.snapshot()
        # its columns are not needed while others read
        self._source = None
        return report

    async def _write(self, source: MessageSource, times: WriterTimes) -> None:
        loop = asyncio.get_running_loop()
        while (message := await self._next(source, times)) is not None:
            times.sending.begin(self._clock.monotonic_ns())
            await self._deliver(message, source)
            times.sending.end(self._clock.monotonic_ns())
            source.resolve(message)
            if self._idle:
                # those that waited for this one may go now: the first by this writer itself
                loop.call_soon(self._hand_out)
            if self._report.refusal is not None and not self._config.allow_rejected:
                source.stop()
        times.ended.begin(self._clock.monotonic_ns())

    async def _next(self, source: MessageSource, times: WriterTimes) -> Message | None:
        """Return the next message, as soon as there is one; None if none will come."""
        message = source.take()
        if message is not None or source.exhausted:
            return message
        waiting: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        times.begin_waiting()
        message = await waiting
        times.end_waiting()
        return message

    def _hand_out(self) -> None:
        """Give each message that is ready to one idle writer; end all if none will come.

        To wake them all, for one of them to find something, cost as much as half a push where they
        were 200.
        """
        source, idle = self._source, self._idle
        while source is not None and idle:
            if idle[-1].done():
                # its writer was cancelled
                idle.pop()
                continue
            message = source.take()
            if message is None and not source.exhausted:
                return
            idle.pop().set_result(message)

    async def _deliver(
        self, message: Message, source: MessageSource, *, divided: bool = False, n_copies: int = 0
    ) -> None:
        """Push a message; one that can never fit is divided, and its parts are pushed in turn.

        By the share that the target names; but parts that were to fit, and did not, are halved.
        ``n_copies`` of it may be there already.
        """
        n_fragments = len(message)
        n_samples = n_fragments * self._config.n_samples_per_fragment
        # a part was sent before, with the whole
        result = await self._client.push(message.body, n_samples, again=divided)
        self._record_attempts(result)
        n_copies += result.n_copies
        if not result.too_large or n_fragments == 1:
            n_copies += await self._send_again(message, result)
            self._record(message, result, n_copies)
            return
        self._report.pushes_divided += 1
        share = min(
            0.5 if divided or result.fitting is None else result.fitting,
            (n_fragments - 1) / n_fragments,
        )
        fitting = max(1, int(n_fragments * share))
        source.limit_fragments(fitting)
        for part in message.divided(fitting):
            n_part_samples = len(part) * self._config.n_samples_per_fragment
            if self._report.refusal is not None and not self._config.allow_rejected:
                # not as a part, but with the whole it was sent
                part.settle(result.state, n_copies=n_copies)
                self._report.samples_in_doubt += n_part_samples
                continue
            await self._deliver(part, source, divided=True, n_copies=n_copies)

    def _record_attempts(self, result: PushResult) -> None:
        report = self._report
        report.wire_bytes_sent += result.wire_bytes
        report.pushes_retried += result.n_attempts - 1
        result.record(report)

    async def _send_again(self, message: Message, result: PushResult) -> int:
        """Send a message again if that is to be done on purpose; return how many copies it left."""
        disorderly = self._disorderly
        if disorderly is None or not disorderly.note(message.streams, result.state):
            return 0
        n_samples = len(message) * self._config.n_samples_per_fragment
        again = await self._client.push(message.body, n_samples, again=True)
        self._record_attempts(again)
        disorderly.note_duplicate(n_samples, again)
        return again.n_copies

    def _record(self, message: Message, result: PushResult, n_copies: int) -> None:
        report, n_fragments = self._report, len(message)
        message.settle(result.state, n_copies=n_copies)
        report.fragments_pushed += n_fragments
        report.push.record_us(result.total_ns // 1000)
        if result.state is FragmentState.ACKNOWLEDGED:
            report.pushes_acked += 1
            report.samples_acked += n_fragments * self._config.n_samples_per_fragment
            report.payload_bytes_acked += n_fragments * self._config.payload_bytes_per_fragment
            if self._acked_ns is not None:
                at = message.streams - np.uint32(self._population.first)
                self._acked_ns[at] = self._clock.monotonic_ns()
            report.lag.record_us((self._clock.wall_ns() - message.newest_ns) // 1000)
            return
        if result.state is not FragmentState.UNSENT:
            report.samples_in_doubt += n_fragments * self._config.n_samples_per_fragment
        was_stored = result.state is FragmentState.INDETERMINATE and not result.unresolved
        if was_stored:
            report.pushes_indeterminate += 1
        elif result.unresolved:
            report.pushes_unresolved += 1
        else:
            report.pushes_rejected += 1
        if report.refusal is None and not was_stored:
            reason = result.refusal
            if result.too_large:
                reason = f"{reason}; {self._advice(message, result.fitting)}"
            if reason is None:
                reason = f"given up after {result.n_attempts} attempt(s): {result.last_reason}"
            if says_too_old(reason) and self._config.start_time_ns is None:
                reason = f"{reason}; {way_out(self._config)}"
            report.refusal = reason

    def _advice(self, message: Message, fitting: float | None) -> str:
        """Name the largest value that fits at any time, for a message of one fragment."""
        n_samples = self._config.n_samples_per_fragment
        if fitting is None:
            return "one fragment is too large: lower --n-entries-per-stream-fragment"
        # these entries may have had short timestamps; others will have long ones
        encoder = self._encoder
        n_bytes = message.n_bytes * fitting - encoder.fixed_bytes
        largest = int(n_bytes / encoder.sample_bytes)
        largest = min(largest, int(n_samples * fitting))
        if largest >= 1:
            return f"the largest --n-entries-per-stream-fragment that fits is {largest}"
        return "not even one entry fits: lower --n-chars-per-msg"

    async def _watch_stop(self, source: MessageSource, writers: list[asyncio.Task[None]]) -> None:
        """End the phase in time, or when told to; then give requests in flight some seconds."""
        ends = [asyncio.ensure_future(event.wait()) for event in (self._stop, self._end)]
        try:
            await asyncio.wait(
                ends,
                timeout=self._time_limit_s(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            source.stop()
            # retries may still take their time, unless the whole run is to end
            await self._stop.wait()
            await asyncio.sleep(_IN_FLIGHT_GRACE_S)
            for writer in writers:
                writer.cancel()
        finally:
            for waiting in ends:
                waiting.cancel()

    def _time_limit_s(self) -> float | None:
        """Return the time limit of this cycle: the same on all workers."""
        config = self._config
        if config.stop_after_n_seconds is None:
            return None
        chance = mix64(mix64(config.seed) + self._cycle) / 2**64
        return config.stop_after_n_seconds + config.stop_after_n_seconds_jitter * (2 * chance - 1)

    async def _probe_delay(self) -> None:
        """Measure how late the event loop is."""
        while True:
            begun = self._clock.monotonic_ns()
            await asyncio.sleep(_DELAY_PROBE_S)
            late_ns = self._clock.monotonic_ns() - begun - int(_DELAY_PROBE_S * 1e9)
            self._report.loop_delay.record_us(max(0, late_ns) // 1000)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback)
