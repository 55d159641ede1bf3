"""Reading one page: asking, comparing, asking again, asking for less."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from looker.backend.api import AnswerSizeError
from looker.backend.attempts import Attempts
from looker.backend.client import EntriesLimitError
from looker.backend.read_refusals import Divide
from looker.engine.reader_times import ReaderTimes
from looker.errors import TargetError
from looker.model.mismatch import MismatchKind
from looker.model.query import RangeQuery
from looker.verify.judging import note_statements
from looker.verify.successive import SuccessiveAnswers

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.engine.visibility import Visibility
    from looker.model.report import ReadReport
    from looker.verify.pages import Page, PageLimits
    from looker.verify.proof import PageProof

    Comparison = Callable[[bytes, Page, bool], PageProof]
    """Compares a body with a page; the flag wants the content of each sample."""

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
        compare: Comparison,
        executor: Executor,
        limits: PageLimits,
        answer_bytes: Callable[[Page], int],
        grace_s: float,
        clock: Clock,
        stop: asyncio.Event,
        report: ReadReport,
        visibility: Visibility | None = None,
        fresh: bool | None = None,
        by_content: bool = False,
        times: ReaderTimes | None = None,
    ) -> None:
        """``answer_bytes`` tells how long an answer to a page may be: longer ones are not read.

        ``fresh`` tells whether to ask past any cache; None: only where something is missing.
        ``by_content`` is for proofs that only sum contents up (`SuccessiveAnswers`).
        ``times`` is where the readers' time counts.
        """
        self._client = client
        self._compare = compare
        self._executor = executor
        self._limits = limits
        self._answer_bytes = answer_bytes
        self._n_lowerings = 0
        self._largest_answered = (0, 0)
        self._grace_ns = int(grace_s * 1e9)
        self._clock = clock
        self._stop = stop
        self._report = report
        self._visibility = visibility
        self._fresh = fresh
        self._by_content = by_content
        self._times = times or ReaderTimes(clock)

    async def read(
        self, page: Page, proofs: list[PageProof], seen: SuccessiveAnswers | None = None
    ) -> None:
        """Read a page, in parts where the target wants that, and add to ``proofs``.

        TargetError if it gives no answer; what was seen before that is added all the same.

        A page is parted where it is larger than the limit (samples that share a time cannot be
        parted by time), where its answer is too large for the target, and where its answer is as
        long as the target allows, so that there may be more. ``seen`` are answers of before.
        """
        if seen is None:
            seen = SuccessiveAnswers(page, by_content=self._by_content)
        halves = self._too_large(page)
        if halves is None:
            try:
                proof = await self._read_lowering(page, seen)
            except AnswerSizeError as error:
                halves = self._divided(page, error)
                if halves is None:
                    self._keep(seen, proofs)
                    raise AnswerSizeError(f"{error}; {self._what_fits(page)}") from error
            except TargetError:
                self._keep(seen, proofs)
                raise
            else:
                self._note_answered(page)
                if proof.n_received >= self._limits.max_answer:
                    halves = page.halves()
                if halves is None:
                    proofs.append(proof)
        for half in halves or ():
            await self.read(half, proofs, seen.part(half))

    def _too_large(self, page: Page) -> list[Page] | None:
        """Return the halves of a page that is larger than what the target is known to answer."""
        if page.expectation.n_samples > self._limits.max_samples:
            return page.halves()
        if len(page.selection.streams) > self._limits.max_streams:
            return page.halves_by_streams()
        return None

    def _divided(self, page: Page, error: AnswerSizeError) -> list[Page] | None:
        """Return the halves of a page that got no answer because of its size; learn from that."""
        by_streams = error.divide is Divide.BY_STREAMS
        halves = page.halves(by_streams=by_streams)
        if error.divide is not None and halves is not None:
            by_streams = len(halves[0].selection.streams) < len(page.selection.streams)
            self._limits = self._limits.below(page, by_streams=by_streams)
        return halves

    def _note_answered(self, page: Page) -> None:
        size = page.expectation.n_samples, len(page.selection.streams)
        self._largest_answered = max(self._largest_answered, size)

    def _what_fits(self, page: Page) -> str:
        """Return what may be said where the smallest page is too large for the target."""
        n_samples, n_streams = page.expectation.n_samples, len(page.selection.streams)
        said = f"a page of {n_samples} sample(s) of {n_streams} stream(s) cannot be divided"
        n_samples, n_streams = self._largest_answered
        if not n_streams:
            return f"{said}, and none was answered"
        return f"{said}; the largest that was answered: {n_samples} sample(s) of {n_streams}"

    @property
    def limits(self) -> PageLimits:
        """How large pages may be, by what the target has refused so far."""
        return self._limits

    async def _read_lowering(self, page: Page, seen: SuccessiveAnswers) -> PageProof:
        """Read a page, asking for less at once where the target names such a limit."""
        while True:
            asked = self._limits.max_answer
            try:
                return await self._read_whole(page, seen)
            except EntriesLimitError as error:
                if not 1 <= error.allowed < asked or self._n_lowerings > _MAX_LOWERINGS:
                    raise
                if error.allowed < self._limits.max_answer:
                    self._n_lowerings += 1
                    self._limits = self._limits.lowered(error.allowed)
                if page.expectation.n_samples > self._limits.max_samples:
                    raise AnswerSizeError(str(error)) from error

    def _keep(self, seen: SuccessiveAnswers, proofs: list[PageProof]) -> None:
        """Keep what answers have shown before one did not come."""
        proof = seen.result_so_far
        if proof is not None:
            proofs.append(proof)

    async def _read_whole(self, page: Page, seen: SuccessiveAnswers) -> PageProof:
        """Read a page; what is missing is asked for again until the grace period is over.

        What came late is asked for once more, until two answers agree.
        """
        deadline_ns = self._clock.monotonic_ns() + self._grace_ns
        pause_s = _FIRST_GRACE_PAUSE_S
        fresh = bool(self._fresh)
        watch = None if self._visibility is None else self._visibility.of_page()
        confirmed = False
        while True:
            asked_ns = self._clock.monotonic_ns()
            proof = await self.ask(page, fresh=fresh, in_full=seen.wants_content)
            answered_ns = self._clock.monotonic_ns()
            missing = proof.findings.counts[MismatchKind.MISSING]
            # perhaps not the whole answer: what is missing may be in the rest
            cut = proof.n_received >= self._limits.max_answer
            if watch is not None and not cut:
                watch.note(proof, asked_ns, answered_ns)
            if not missing and not cut and not seen.n:
                return proof
            seen.add(proof, whole=not (cut or proof.findings.says_partial))
            remaining_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            if cut or not (missing or seen.unsettled):
                return seen.result or proof
            if self._stop.is_set():
                return seen.result_so_far or proof
            if not missing and not confirmed:
                # asked for at once, and even where the time is over
                confirmed = True
                continue
            if remaining_s <= 0:
                return seen.result or proof
            with self._times.spent(self._times.grace):
                await asyncio.sleep(min(pause_s, remaining_s))
            pause_s *= 2
            fresh = self._fresh is not False

    async def ask(self, page: Page, *, fresh: bool = False, in_full: bool = False) -> PageProof:
        """Ask for a page once, and compare the answer."""
        query = RangeQuery(
            page.selection.matcher,
            page.start_ns,
            page.end_ns,
            page.limit or self._limits.max_answer,
            fresh=fresh,
            backward=page.backward,
            max_answer_bytes=self._answer_bytes(page),
        )
        divisible = page.expectation.n_samples > self._limits.max_samples // _SMALLEST_SHARE
        attempts = Attempts(pauses=self._times.pauses)
        try:
            with self._times.spent(self._times.asking):
                body = await self._client.fetch(query, attempts, divisible=divisible)
        finally:
            self._record(attempts)
        run, compare = asyncio.get_running_loop().run_in_executor, self._compare
        proof = await run(self._executor, compare, body, page, in_full)
        if self._by_content and not in_full and proof.n_received >= self._limits.max_answer:
            # it will be asked for in parts, and held against them
            in_full = True
            proof = await run(self._executor, compare, body, page, in_full)
        note_statements(proof.findings, attempts.said)
        return proof

    def _record(self, attempts: Attempts) -> None:
        report = self._report
        report.queries += attempts.n_answers
        report.queries_retried += attempts.n_attempts - 1
        attempts.record(report)
