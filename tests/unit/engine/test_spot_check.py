"""Spot checks against a client that answers as a faithful server, or as one that has lost some."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

import referee
from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.clock import SystemClock
from looker.engine.spot_check import FRAGMENTS_PER_CHECK, SpotChecks
from looker.errors import InternalError, TargetError
from looker.generate.content import Content
from looker.generate.encoder import EncodedBatch
from looker.model.config import ReadApi
from looker.model.verdict import Verdict
from looker.verify.ledger import Ledger
from referee import NS, Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.backend.attempts import Attempts
    from looker.backend.client import Client
    from looker.model.query import RangeQuery
    from looker.model.report import SpotCheckReport

CONFIG = replace(
    referee.log_config(),
    n_streams=12,
    n_samples_per_fragment=4,
    n_chars_per_line=45,
    step_ns=1000,
    change_streams_every_n_cycles=1,
    read_grace_s=0.0,
)
TARGET = Target("http://h", Product.LOKI, "/p", "/q", None, ReadApi.AUTO, None, None, None)


def fragments(streams: range, fragment: int) -> list[Written]:
    return [Written(stream, fragment, NS + 10_000 * fragment + stream) for stream in streams]


def rows_of(generation: int, written: list[Written]) -> np.ndarray[Any, Any]:
    return referee.History(Content.of(CONFIG, generation), tuple(written)).rows()


class FakeClient:
    """Answers queries from what was written, by generation; may lose some."""

    def __init__(self, written: dict[int, list[Written]]) -> None:
        self._written = written
        self.queries: list[RangeQuery] = []
        self.loses: Callable[[RangeQuery], bool] = lambda _query: False
        self.error: TargetError | None = None

    async def fetch(self, query: RangeQuery, attempts: Attempts, *, divisible: bool) -> bytes:
        self.queries.append(query)
        attempts.n_attempts += 1
        attempts.service_ns.append(1_000_000)
        if self.error is not None:
            raise self.error
        elements = []
        for generation, written in self._written.items():
            content = Content.of(CONFIG, generation)
            for one in written:
                if query.matcher[2] != content.scheme.uniquename(one.stream):
                    continue
                samples = referee.fragment_samples(content, one.stream, one.fragment, one.start_ns)
                inside = [pair for pair in samples if query.start_ns <= pair[0] < query.end_ns]
                if inside and not self.loses(query):
                    elements.append((referee.labels(content.scheme, one.stream), inside))
        return referee.streams_response(elements)


class Watched:
    """Spot checks, and what they have told."""

    def __init__(self, client: FakeClient) -> None:
        self.stop = asyncio.Event()
        self.told: list[tuple[int, SpotCheckReport]] = []
        self.checks = SpotChecks(
            config=CONFIG,
            target=TARGET,
            client=cast("Client", client),
            clock=SystemClock(),
            stop=self.stop,
            every_s=0.001,
            tell=self._tell,
            seed=1,
        )
        self.n_wanted = 0

    def _tell(self, cycle: int, report: SpotCheckReport) -> None:
        self.told.append((cycle, report))
        if len(self.told) == self.n_wanted:
            self.checks.end()

    async def after(self, n_checks: int) -> SpotCheckReport:
        self.n_wanted = n_checks
        await self.checks.run()
        return self.told[-1][1]


def test_older_and_recent_fragments_are_read_by_turns_past_the_cache() -> None:
    old, recent = fragments(range(12), 0), fragments(range(6), 1)
    client = FakeClient({0: old, 1: recent})

    async def scenario() -> None:
        watched = Watched(client)
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows_of(0, old))
        ledger = Ledger()
        batch = referee.make_batch(
            Content.of(CONFIG, 1), list(range(6)), [1] * 6, [one.start_ns for one in recent]
        )
        sums = rows_of(1, recent)["checksum"]
        encoded = EncodedBatch(batch, np.empty(0, np.uint8), np.zeros(7, np.int64), sums)
        ledger.append(encoded, 1).settle(slice(0, 6), referee.ACKED, n_copies=1)
        watched.checks.enter(1, 1, ledger)
        report = await watched.after(4)
        n = 4 * FRAGMENTS_PER_CHECK
        assert [cycle for cycle, _ in watched.told] == [1] * 4
        assert (report.checks, report.checks_uncached) == (4, 2)
        assert (report.fragments, report.queries, report.fragments_proved) == (n, n, n)
        assert referee.summary(report.findings) == {"n_expected": 4 * n, "n_validated": 4 * n}
        assert report.verdict is Verdict.PASSED
        assert report.service.n == n

    asyncio.run(scenario())
    per_check = [
        client.queries[at : at + FRAGMENTS_PER_CHECK]
        for at in range(0, len(client.queries), FRAGMENTS_PER_CHECK)
    ]
    assert [{query.fresh for query in check} for check in per_check] == [
        {False},
        {True},
        {False},
        {True},
    ]
    for check in per_check:
        # half of each; a query is for one fragment of one stream
        prefixes = [query.matcher[2].rsplit("-", 1)[0] for query in check]
        assert sorted(prefixes) == ["looker-1-0"] * 4 + ["looker-1-1"] * 4
        assert {query.end_ns - query.start_ns for query in check} == {4000}
        # half from the past are different ones
        assert len({query.matcher[2] for query in check if "-1-0-" in query.matcher[2]}) == 4


def test_what_a_cache_hides_is_missing_though_it_is_there() -> None:
    old = fragments(range(12), 0)
    client = FakeClient({0: old})
    client.loses = lambda query: not query.fresh

    async def scenario() -> None:
        watched = Watched(client)
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows_of(0, old))
        report = await watched.after(2)
        # without recent ones, half a check
        assert (report.fragments, report.queries) == (8, 8)
        assert referee.summary(report.findings) == {
            "missing": 16,
            "n_expected": 32,
            "n_validated": 16,
        }
        assert report.n_mismatches_uncached == 0
        assert report.verdict is Verdict.FAILED

    asyncio.run(scenario())


def test_a_cycle_reports_for_itself() -> None:
    old = fragments(range(12), 0)

    async def scenario() -> None:
        watched = Watched(FakeClient({0: old}))
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows_of(0, old))
        first = await watched.after(1)
        watched.checks.enter(1, 0, Ledger())
        watched.checks._over.clear()
        second = await watched.after(2)
        assert [cycle for cycle, _ in watched.told] == [0, 1]
        assert (first.checks, first.checks_uncached) == (1, 0)
        assert (second.checks, second.checks_uncached) == (1, 1)

    asyncio.run(scenario())


def test_a_target_that_does_not_answer_leaves_it_unknown() -> None:
    old = fragments(range(12), 0)
    client = FakeClient({0: old})
    client.error = TargetError("no answer")

    async def scenario() -> None:
        watched = Watched(client)
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows_of(0, old))
        report = await watched.after(1)
        assert (report.error, report.verdict) == ("no answer", Verdict.UNKNOWN)
        assert report.findings.n_mismatches == 0

    asyncio.run(scenario())


def test_a_check_that_is_under_way_when_the_run_is_stopped_is_dropped() -> None:
    old = fragments(range(12), 0)
    client = FakeClient({0: old})

    async def scenario() -> None:
        watched = Watched(client)

        def lose_and_stop(_query: RangeQuery) -> bool:
            watched.stop.set()
            return True

        client.loses = lose_and_stop
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows_of(0, old))
        await watched.checks.run()
        assert watched.told == []

    asyncio.run(scenario())
    assert len(client.queries) == 1


def test_proofs_that_contradict_each_other_are_lookers_own_fault() -> None:
    old = fragments(range(12), 0)
    rows = rows_of(0, old)
    rows["checksum"] += np.uint64(1)

    async def scenario() -> None:
        watched = Watched(FakeClient({0: old}))
        watched.checks.enter(0, 0, Ledger())
        watched.checks.take(rows)
        with pytest.raises(InternalError, match="contradict"):
            await watched.checks.run()

    asyncio.run(scenario())


def test_without_fragments_nothing_is_asked() -> None:
    client = FakeClient({})

    async def scenario() -> None:
        watched = Watched(client)
        watched.checks.enter(0, 0, Ledger())
        task = asyncio.create_task(watched.checks.run())
        await asyncio.sleep(0.05)
        watched.checks.end()
        await task
        assert watched.told == []

    asyncio.run(scenario())
    assert client.queries == []
