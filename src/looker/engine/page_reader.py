"""Reading one page: asking, comparing, asking again, asking for less."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from looker.backend.api import AnswerSizeError
from looker.backend.client import EntriesLimitError
from looker.model.mismatch import MismatchKind
from looker.model.query import RangeQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.engine.visibility import Visibility
    from looker.model.report import ReadReport
    from looker.verify.pages import Page, PageLimits
    from looker.verify.proof import PageProof

_FIRST_GRACE_PAUSE_S: Final = 0.25
_MAX_LOWERINGS: Final = 16
"""A target that names a lower limit each time it is asked would never be done."""
_SMALLEST_SHARE: Final = 16
"""A page that gets no answer is halved down to this share of the largest page."""


class PageReader:
    """Reads pages from one target, and counts queries and times into a report."""

    def __init__(
        self,
        *,
        client: Client,
        compare: Callable[[bytes, Page], PageProof],
        executor: Executor,
        limits: PageLimits,
        answer_bytes: Callable[[Page], int],
        grace_s: float,
        clock: Clock,
        stop: asyncio.Event,
        report: ReadReport,
        visibility: Visibility | None = None,
        fresh: bool | None = None,
    ) -> None:
        """``answer_bytes`` tells how long an answer to a page may be: longer ones are not read.

        ``fresh`` tells whether to ask past any cache; None: only where something is missing.
        """
        self._client = client
        self._compare = compare
        self._executor = executor
        self._limits = limits
        self._answer_bytes = answer_bytes
        self._n_lowerings = 0
        self._grace_ns = int(grace_s * 1e9)
        self._clock = clock
        self._stop = stop
        self._report = report
        self._visibility = visibility
        self._fresh = fresh

    async def read(self, page: Page) -> list[PageProof]:
        """Read a page, in parts where the target wants that; TargetError if it gives no answer.

        A page is parted where it is larger than the limit (samples that share a time cannot be
        parted by time), where its answer is too large for the target, and where its answer is as
        long as the target allows, so that there may be more.
        """
        if page.expectation.n_samples > self._limits.max_samples:
            halves = page.halves()
            if halves is not None:
                return await self._read_all(halves)
        asked = self._limits.max_answer
        try:
            proof = await self._read_whole(page)
        except EntriesLimitError as error:
            if not 1 <= error.allowed < asked or self._n_lowerings > _MAX_LOWERINGS:
                raise
            if error.allowed < self._limits.max_answer:
                self._n_lowerings += 1
                self._limits = self._limits.lowered(error.allowed)
            return await self.read(page)
        except AnswerSizeError:
            halves = page.halves()
            if halves is None:
                raise
            return await self._read_all(halves)
        if proof.n_received >= self._limits.max_answer:
            halves = page.halves()
            if halves is not None:
                return await self._read_all(halves)
        return [proof]

    async def _read_all(self, parts: Iterator[Page] | list[Page]) -> list[PageProof]:
        proofs = []
        for part in parts:
            proofs += await self.read(part)
        return proofs

    async def _read_whole(self, page: Page) -> PageProof:
        """Read a page; what is missing is asked for again until the grace period is over."""
        loop = asyncio.get_running_loop()
        deadline_ns = self._clock.monotonic_ns() + self._grace_ns
        pause_s = _FIRST_GRACE_PAUSE_S
        fresh = bool(self._fresh)
        watch = None if self._visibility is None else self._visibility.of_page()
        divisible = page.expectation.n_samples > self._limits.max_samples // _SMALLEST_SHARE
        while True:
            query = RangeQuery(
                page.selection.matcher,
                page.start_ns,
                page.end_ns,
                self._limits.max_answer,
                fresh=fresh,
                max_answer_bytes=self._answer_bytes(page),
            )
            service_ns: list[int] = []
            asked_ns = self._clock.monotonic_ns()
            try:
                body = await self._client.fetch(query, service_ns, divisible=divisible)
            finally:
                self._report.queries += len(service_ns)
                for duration_ns in service_ns:
                    self._report.service.record_us(duration_ns // 1000)
            answered_ns = self._clock.monotonic_ns()
            proof = await loop.run_in_executor(self._executor, self._compare, body, page)
            if proof.n_received >= self._limits.max_answer:
                # perhaps not the whole answer: what is missing may be in the rest
                return proof
            if watch is not None:
                watch.note(proof, asked_ns, answered_ns)
            remaining_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            missing = proof.findings.counts[MismatchKind.MISSING]
            if not missing or remaining_s <= 0 or self._stop.is_set():
                return proof
            await asyncio.sleep(min(pause_s, remaining_s))
            pause_s *= 2
            fresh = self._fresh is not False
