"""Watching what the target uses: a thread that asks its metrics page beside the run.

The coordinator only leaves marks where phases begin and end; it never waits for an answer, except
at the end of the run, and then for one at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from looker.backend.target_metrics import DEADLINE_S, MetricsPage
from looker.engine.messages import Phase
from looker.errors import TargetError
from looker.model.metric_selector import selector_of
from looker.model.target_usage import (
    PROCESS_METRICS,
    PhaseWork,
    TargetUsage,
    UsageSample,
    UsageSums,
    kept_metrics,
    measurable,
)
from looker.wire.metrics_text import summed

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.backend.api import Target
    from looker.clock import Clock
    from looker.model.config import RunConfig
    from looker.model.report import CycleReport

LOG = logging.getLogger(__name__)

_MAX_SHARE: Final = 5
_MAX_REST_S: Final = 0.25
"""After a page has been asked for, nothing is for four times as long as that took, or this long."""
_MAX_DOUBLINGS: Final = 6
"""A page that does not come is asked for ever more seldom, down to this power of two."""


class Page(Protocol):
    """What is asked."""

    shown_url: str

    async def read(self) -> bytes:
        """Return the page; TargetError where there is none."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a phase began, or, with what was done in it, ended."""

    phase: Phase
    cycle: int
    work: PhaseWork | None


class UsageWatch:
    """Asks from :meth:`start` on until :meth:`stop`; any thread may take a snapshot."""

    def __init__(
        self,
        config: RunConfig,
        page: Page,
        clock: Clock,
        *,
        started_ns: int,
        kept: tuple[str, ...] = (),
        stop_s: float = DEADLINE_S,
    ) -> None:
        """``kept`` are metrics to keep where they are there; ``started_ns`` is the run's begin."""
        self._config = config
        self._page = page
        self._clock = clock
        self._started_ns = started_ns
        self._stop_s = stop_s
        names = dict.fromkeys((*PROCESS_METRICS, *kept, *config.target_metrics))
        self._selectors = [selector_of(name) for name in names]
        # one who was told where to look is told that there is nothing
        self._level = logging.INFO if config.target_metrics_url is None else logging.WARNING
        self._sums = UsageSums(
            asked=[selector_of(name).text for name in config.target_metrics],
            first_cycle=config.n_warm_up_cycles,
        )
        self._lock = threading.Lock()
        self._marks: deque[_Mark] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._stopping = False
        self._n_failed_in_row = 0
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name="looker-usage", daemon=True)

    @classmethod
    def of(
        cls, config: RunConfig, target: Target, clock: Clock, started_ns: int
    ) -> UsageWatch | None:
        """Return what watches a run's target; None where that is switched off."""
        page = MetricsPage.of(config, target)
        if page is None:
            return None
        kept = kept_metrics(target.product.value)
        return cls(config, page, clock, started_ns=started_ns, kept=kept)

    def start(self) -> None:
        """Begin to ask."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def phase_began(self, cycle: int, phase: Phase) -> None:
        """Ask now: a phase begins."""
        self._leave(_Mark(phase, cycle, None))

    def phase_ended(self, report: CycleReport, phase: Phase) -> None:
        """Ask now: a phase of this cycle is over."""
        work = PhaseWork(report.write.samples_acked, report.write.payload_bytes_acked)
        if phase is Phase.READ:
            read = report.read
            work = PhaseWork() if read is None else PhaseWork(read.findings.n_validated)
        self._leave(_Mark(phase, report.cycle, work))

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for what is still to be known, unless ``at_once``, and end."""
        if not self._thread.is_alive():
            return
        self._stopping = True
        self._wake(self._news.set)
        if not at_once:
            self._thread.join(self._stop_s)
        self._wake(self._cancel)
        self._thread.join()

    def snapshot(self) -> TargetUsage:
        """Return what is known so far."""
        config, sums = self._config, self._sums
        with self._lock:
            n_generations = 0
            if sums.last_cycle is not None:
                # what a warm-up wrote was there before
                first = sums.first_cycle
                n_before = config.generation_of(first - 1) + 1 if first else 0
                n_generations = config.generation_of(sums.last_cycle) + 1 - n_before
            n_streams = config.n_streams * n_generations
            return TargetUsage(
                sums.figures(n_streams),
                {
                    "metrics_url": self._page.shown_url,
                    "n_scrapes": sums.n_scrapes,
                    "n_failed": sums.n_failed,
                    "error": sums.error,
                    "restarted": sums.restarted,
                    "dropped": sorted(sums.dropped),
                    "series": sums.course(self._started_ns),
                },
            )

    def _leave(self, mark: _Mark) -> None:
        self._marks.append(mark)
        self._wake(self._news.set)

    def _wake(self, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            # it may have ended meanwhile
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(callback)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _work(self) -> None:
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        asyncio.set_event_loop(loop)
        self._task = loop.create_task(self._watch())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(self._task)
        except Exception as error:
            # the run is not to end for want of these figures
            LOG.exception("what the target uses is not watched any more")
            with self._lock:
                self._sums.fail(f"a fault of Looker's own: {error!r}")
        finally:
            loop.run_until_complete(self._page.aclose())
            asyncio.set_event_loop(None)
            loop.close()
            with self._lock:
                self._settle(list(self._marks), None)
                self._sums.close()

    async def _watch(self) -> None:
        due_s = time.monotonic()
        while True:
            self._news.clear()
            stopping, marks = self._stopping, self._taken()
            if stopping and not marks:
                return
            begun_s = time.monotonic()
            if marks or begun_s >= due_s:
                await self._scrape(marks)
                pause_s = self._config.target_metrics_every_s * 2**self._n_failed_in_row
                due_s = begun_s + pause_s
                took_s = time.monotonic() - begun_s
                await asyncio.sleep(min((_MAX_SHARE - 1) * took_s, _MAX_REST_S))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s - begun_s):
                    await self._news.wait()

    def _taken(self) -> list[_Mark]:
        return [self._marks.popleft() for _ in range(len(self._marks))]

    async def _scrape(self, marks: list[_Mark]) -> None:
        """Ask once, for all these marks; without any, give way to one that comes meanwhile."""
        reading = asyncio.ensure_future(self._page.read())
        try:
            if not marks:
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({reading, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if not reading.done():
                    return
            page = await reading
            # not when it was asked for: a busy target reads its counters when it answers
            at_ns = self._clock.wall_ns()
            sums = summed(page, self._selectors)
            if not sums:
                raise TargetError(f"{self._page.shown_url}: the page has none of the metrics")  # noqa: TRY301
        except TargetError as error:
            self._note_failure(str(error), marks)
        except asyncio.CancelledError:
            with self._lock:
                self._settle(marks, None)
            raise
        else:
            self._n_failed_in_row = 0
            sample = UsageSample(at_ns, measurable(sums))
            self._note_dropped({name: sums[name] for name in sums.keys() - sample.values.keys()})
            with self._lock:
                self._settle(marks, sample)
                self._sums.add(sample)
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, TargetError):
                await reading

    def _note_dropped(self, values: dict[str, float]) -> None:
        """Say once of each metric that it has told a value that is dropped."""
        news = sorted(values.keys() - self._sums.dropped)
        if not news:
            return
        with self._lock:
            self._sums.dropped.update(news)
        told = ", ".join(f"{name} {values[name]:g}" for name in news)
        LOG.warning("what the target tells of its use is dropped, as it is no measure: %s", told)

    def _note_failure(self, error: str, marks: list[_Mark]) -> None:
        self._n_failed_in_row = min(self._n_failed_in_row + 1, _MAX_DOUBLINGS)
        with self._lock:
            first = self._sums.error is None
            self._sums.fail(error)
            self._settle(marks, None)
        if first:
            LOG.log(self._level, "what the target uses is not known: %s", error)

    def _settle(self, marks: list[_Mark], sample: UsageSample | None) -> None:
        """Let the phases at these marks begin and end with a sample."""
        if not self._config.align_phases:
            # each worker is in a phase of its own
            sample = None
        for mark in marks:
            if mark.work is None:
                self._sums.begin(mark.phase.value, mark.cycle, sample)
            else:
                self._sums.end(mark.phase.value, mark.cycle, sample, mark.work)
