"""Pushing and querying with retries: from bytes to an outcome."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import httpx

from looker.backend.api import ANSWERED, AnswerSizeError, Pushed
from looker.backend.attempts import Attempts, Pauses
from looker.backend.exchange import AnswerTooLargeError
from looker.backend.read_refusals import size_refusal
from looker.backend.transport import possibly_stored
from looker.errors import TargetError
from looker.model.fragment import FragmentState
from looker.model.outcome import Classified, Outcome
from looker.model.retry import RetryPolicy, parse_retry_after
from looker.model.words import one_line
from looker.wire.statements import of_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.backend.api import Api, Request
    from looker.backend.transport import Answer, Transport
    from looker.clock import Clock
    from looker.model.query import RangeQuery

REQUEST_TIMEOUT_S: Final = 60.0
MAX_PUSH_ANSWER_BYTES: Final = 1 << 20
"""All writers may hold one at the same time; only the first words of it matter."""
READ_RETRY: Final = RetryPolicy(deadline_s=60.0, min_delay_s=0.5, max_delay_s=5.0, jitter=0.5)
_ENTRIES_LIMIT: Final = re.compile(rb"max_entries_limit_per_query \(\d+ > (\d{1,18})\)")
_REFUSED_TOKENS: Final = frozenset({401, 403})
_RATE_LIMITED_READS: Final = frozenset({429, 529})
_UNANSWERED_READS: Final = frozenset({408, 500, 502, 503, 504}) | _RATE_LIMITED_READS


class EntriesLimitError(TargetError):
    """The target allows fewer entries in one answer than were asked for: ``allowed``."""

    def __init__(self, message: str, allowed: int) -> None:
        super().__init__(message)
        self.allowed = allowed


@dataclass(slots=True)
class PushResult(Attempts):
    """How a push ended, over all its attempts; times in nanoseconds.

    ``state`` is UNSENT where no byte was sent. ``unresolved`` tells that no answer says what became
    of it; ``refusal`` is the target's reason where it refused for good, so that going on is
    pointless; ``too_large`` that a smaller message may do, and ``fitting`` which share of this one
    would. ``n_copies`` counts the attempts that a copy in the target may be put down to.
    """

    state: FragmentState = FragmentState.UNSENT
    n_copies: int = 0
    unresolved: bool = False
    refusal: str | None = None
    too_large: bool = False
    fitting: float | None = None
    last_reason: str = ""
    total_ns: int = 0
    wire_bytes: int = 0


class Client:
    """Sends pushes and queries to one target; ``stop`` ends waiting for another attempt.

    ``push_pauses`` is the time between the attempts of all its pushes.
    """

    def __init__(
        self,
        transport: Transport,
        api: Api,
        retry: RetryPolicy,
        clock: Clock,
        stop: asyncio.Event,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._transport = transport
        self._api = api
        self._retry = retry
        self._read_retry = replace(READ_RETRY, deadline_s=min(60.0, retry.deadline_s))
        self._clock = clock
        self._stop = stop
        self._request_timeout_s = request_timeout_s
        self.push_pauses = Pauses()

    async def push(self, body: memoryview, n_samples: int, *, again: bool = False) -> PushResult:
        """Push a compressed body of ``n_samples`` until its outcome is known.

        Or until the retry deadline is over, or the run is stopped. ``again`` tells that these bytes
        were sent before, so that the target may have them already.
        """
        result = PushResult(pauses=self.push_pauses)
        begun = self._clock.monotonic_ns()
        request = self._api.push(body)
        sent, ambiguous, suspect = again, False, False
        try:
            while True:
                classified = await self._attempt(request, result, n_samples, again=sent)
                if classified.suspect and suspect and not ambiguous:
                    # after a pause as long as any bucket takes to fill
                    classified = replace(classified, outcome=Outcome.TOO_LARGE)
                suspect = classified.suspect
                result.n_copies += classified.outcome.may_leave_copy
                if self._is_final(classified, result, ambiguous=ambiguous):
                    break
                sent = sent or classified.outcome.was_sent or result.n_copies > 0
                ambiguous = ambiguous or classified.outcome is Outcome.TRANSIENT
                delay_s = self._retry.delay_s(
                    result.n_attempts - 1,
                    random.random(),  # noqa: S311 - jitter is no secret
                    classified.retry_after_s,
                )
                elapsed_s = (self._clock.monotonic_ns() - begun) / 1e9
                if self._retry.gives_up(elapsed_s, delay_s) or not await self._wait(
                    delay_s, result.pauses, limited=classified.limited
                ):
                    result.state = _given_up(sent=sent, ambiguous=ambiguous)
                    result.unresolved = ambiguous
                    break
        except asyncio.CancelledError:
            # given up in flight: whatever was sent may be stored
            result.state, result.unresolved = FragmentState.INDETERMINATE, True
            result.n_copies += 1
        result.total_ns = self._clock.monotonic_ns() - begun
        return result

    async def fetch(self, query: RangeQuery, attempts: Attempts, *, divisible: bool) -> bytes:
        """Return the body of the answer to a query; TargetError if there is none in time.

        Notes in ``attempts`` what each attempt came to. AnswerSizeError where the target refuses a
        question for its size; and where a smaller question could be asked (``divisible``) and the
        answer seems to be too large. EntriesLimitError where the target allows fewer entries.
        """
        request = self._api.query(query)
        begun = self._clock.monotonic_ns()
        while True:
            attempts.n_attempts += 1
            limited = False
            try:
                answer = await self._send(request, query.max_answer_bytes, attempts.note_stale)
                attempts.responses[str(answer.status)] += 1
                accepted = answer.status in ANSWERED
                times_ns = attempts.service_ns if accepted else attempts.refused_service_ns
                times_ns.append(answer.service_ns)
                if not accepted:
                    attempts.words.append((str(answer.status), one_line(answer.body, 500)))
                limit = _ENTRIES_LIMIT.search(answer.body) if answer.status == 400 else None
                if limit is not None:
                    raise EntriesLimitError(one_line(answer.body, 300), int(limit[1]))
                divide = size_refusal(answer.status, answer.body)
                if divide is not None:
                    words = one_line(answer.body, 300)
                    raise AnswerSizeError(
                        f"a query was refused for its size with {answer.status}: {words}", divide
                    )
                if answer.status not in _UNANSWERED_READS:
                    attempts.said = of_response(answer.status, answer.headers)
                    return self._api.body(answer, query.max_answer_bytes)
                reason = f"{answer.status} {one_line(answer.body, 200)}".strip()
                retry_after_s = self._retry_after_s(answer)
                too_large = answer.status == 500
                limited = answer.status in _RATE_LIMITED_READS
            except AnswerTooLargeError as error:
                attempts.note_failure(type(error).__name__, one_line(str(error), 500))
                raise AnswerSizeError(f"the answer to a query is too large: {error}") from error
            except httpx.TransportError as error:
                attempts.note_failure(type(error).__name__, one_line(str(error), 500))
                reason, retry_after_s = _describe(error), None
                # Loki hangs or resets where an answer exceeds its gRPC limit
                too_large = possibly_stored(error)
            if too_large and divisible:
                raise AnswerSizeError(f"a query got no answer: {reason}")
            n_asked = attempts.n_attempts
            delay_s = self._read_retry.delay_s(n_asked - 1, random.random(), retry_after_s)  # noqa: S311 - as above
            elapsed_s = (self._clock.monotonic_ns() - begun) / 1e9
            if self._read_retry.gives_up(elapsed_s, delay_s) or self._stop.is_set():
                raise TargetError(f"a query got no answer after {n_asked} attempt(s): {reason}")
            await self._wait(delay_s, attempts.pauses, limited=limited)

    async def _attempt(
        self, request: Request, result: PushResult, n_samples: int, *, again: bool
    ) -> Classified:
        body = request.body or b""
        result.n_attempts += 1
        result.wire_bytes += len(body)

        def note_stale(answer: Answer) -> None:
            nonlocal again
            result.note_stale(answer)
            result.wire_bytes += len(body)
            # whoever refuses may have stored before
            result.n_copies += 1
            again = True

        try:
            answer = await self._send(request, MAX_PUSH_ANSWER_BYTES, note_stale)
        except httpx.TransportError as error:
            result.note_failure(type(error).__name__, one_line(str(error), 500))
            result.last_reason = _describe(error)
            sent = possibly_stored(error)
            return Classified(Outcome.TRANSIENT if sent else Outcome.NOT_SENT, result.last_reason)
        result.responses[str(answer.status)] += 1
        pushed = Pushed(body, n_samples, again, self._retry_after_s(answer))
        classified = self._api.classify(answer, pushed)
        accepted = classified.outcome is Outcome.ACKNOWLEDGED
        times_ns = result.service_ns if accepted else result.refused_service_ns
        times_ns.append(answer.service_ns)
        if classified.words or not accepted:
            result.words.append((str(answer.status), classified.words))
        result.last_reason = classified.reason
        return classified

    def _is_final(self, classified: Classified, result: PushResult, *, ambiguous: bool) -> bool:
        match classified.outcome:
            case Outcome.ACKNOWLEDGED:
                result.state = FragmentState.ACKNOWLEDGED
            case Outcome.REPEATED:
                result.state = FragmentState.INDETERMINATE
            case Outcome.TOO_LARGE | Outcome.REFUSED:
                result.state = _given_up(sent=True, ambiguous=ambiguous)
                result.unresolved = ambiguous
                result.refusal = classified.reason
                result.too_large = classified.outcome is Outcome.TOO_LARGE
                result.fitting = classified.fitting
            case Outcome.REFUSED_PART:
                result.state = FragmentState.INDETERMINATE
                result.unresolved = True
                result.refusal = classified.reason
            case _:
                return False
        return True

    async def _send(
        self, request: Request, max_answer_bytes: int, stale: Callable[[Answer], None]
    ) -> Answer:
        """Send a request; once more where its token was refused and has been replaced meanwhile.

        The refusal of the old token is given to ``stale``.
        """
        while True:
            headers = self._api.authorized(request.headers)
            answer = await self._transport.send(
                request.method,
                request.url,
                headers=headers,
                body=request.body,
                deadline_s=self._request_timeout_s,
                max_answer_bytes=max_answer_bytes,
            )
            if answer.status not in _REFUSED_TOKENS or not self._api.has_renewed(headers):
                return answer
            stale(answer)

    def _retry_after_s(self, answer: Answer) -> float | None:
        if answer.status < 400:
            return None
        value = answer.headers.get("Retry-After")
        return None if value is None else parse_retry_after(value, self._clock.wall_ns() / 1e9)

    async def _wait(self, delay_s: float, pauses: Pauses, *, limited: bool) -> bool:
        """Wait for the next attempt; return whether there is to be one."""
        pause = pauses.after(limited=limited)
        pause.begin(self._clock.monotonic_ns())
        try:
            await self._sleep(delay_s)
        finally:
            pause.end(self._clock.monotonic_ns())
        return not self._stop.is_set()

    async def _sleep(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stop.wait()
        except TimeoutError:
            return


def _given_up(*, sent: bool, ambiguous: bool) -> FragmentState:
    """Return what is known of a push without an acknowledgement.

    ``ambiguous`` tells that an attempt had no answer that settles it.
    """
    if not sent:
        return FragmentState.UNSENT
    return FragmentState.INDETERMINATE if ambiguous else FragmentState.REJECTED


def _describe(error: httpx.TransportError) -> str:
    return one_line(f"{type(error).__name__}: {error}", 500).rstrip(": ")
