"""Asking again within the grace period: with growing pauses, and past caches."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

import referee
from looker.clock import SystemClock
from looker.engine.page_reader import PageReader
from looker.model.report import ReadReport
from looker.verify.log_answer import LogAnswers
from looker.verify.pages import PageLimits

if TYPE_CHECKING:
    from looker.backend.attempts import Attempts
    from looker.model.query import RangeQuery
    from looker.verify.proof import PageProof

HISTORY = referee.history()


class Late:
    """Answers without the last sample until it has been asked often enough."""

    def __init__(self, n_late: int) -> None:
        self.asked: list[RangeQuery] = []
        self._n_late = n_late

    async def fetch(self, query: RangeQuery, attempts: Attempts, *, divisible: bool) -> bytes:
        assert not divisible
        self.asked.append(query)
        attempts.n_attempts += 1
        attempts.service_ns.append(1000)
        elements = HISTORY.elements()
        if len(self.asked) <= self._n_late:
            elements[2][1].pop()
        return referee.streams_response(elements)


@pytest.mark.parametrize("n_late", [0, 1, 3])
def test_only_repeats_are_fresh(monkeypatch: pytest.MonkeyPatch, n_late: int) -> None:
    pauses: list[float] = []

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)

    client, report = Late(n_late), ReadReport()
    answers = LogAnswers(HISTORY.content)

    async def read() -> Any:
        monkeypatch.setattr("looker.engine.page_reader.asyncio.sleep", note)
        with ThreadPoolExecutor(1) as executor:
            reader = PageReader(
                client=cast("Any", client),
                compare=lambda body, page, _full: answers.compare(body, page.expectation),
                executor=executor,
                limits=PageLimits(1000, 1000),
                answer_bytes=lambda _: 1 << 20,
                grace_s=60.0,
                clock=SystemClock(),
                stop=asyncio.Event(),
                report=report,
            )
            proofs: list[PageProof] = []
            await reader.read(HISTORY.page(), proofs)
            return proofs

    (proof,) = asyncio.run(read())
    assert proof.findings.n_mismatches == 0
    # what came late is asked for once more, at once
    n_asked = n_late + 2 if n_late else 1
    assert [query.fresh for query in client.asked] == [False] + [True] * (n_asked - 1)
    assert pauses == [0.25, 0.5, 1.0][:n_late]
    assert report.queries == n_asked
