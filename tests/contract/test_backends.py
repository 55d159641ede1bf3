"""What every backend keeps to, on the embedded target: Loki, remote read, the query API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from looker.backend.api import api_for
from looker.backend.attempts import Attempts
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.read_phase import comparison
from looker.errors import DecodeError, TargetError
from looker.generate.content import Content
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.model.config import Mode, ReadApi
from looker.model.fragment import FragmentBatch, FragmentState
from looker.model.query import RangeQuery
from looker.model.retry import RetryPolicy
from looker.target.config import TargetConfig
from looker.target.server import serving
from looker.verify.ledger import Ledger
from looker.verify.pages import PageLimits, Selection, pages
from looker.wire.snappy import compress
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.model.config import RunConfig
    from looker.verify.pages import Page
    from looker.verify.proof import PageProof

N_STREAMS, N_SAMPLES = 5, 8
MS = 1_000_000
START = 1_795_475_977_000_000_000


@dataclass(frozen=True)
class Kind:
    mode: Mode
    read_api: ReadApi
    boundary: Any = None


KINDS = {
    "loki": Kind(Mode.LOGS, ReadApi.AUTO),
    "remote-read": Kind(Mode.METRICS, ReadApi.REMOTE_READ),
    "query-closed": Kind(Mode.METRICS, ReadApi.QUERY, "closed"),
    "query-left-open": Kind(Mode.METRICS, ReadApi.QUERY, "open"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


class Backend:
    """One generation of streams, and a client to write and read them with."""

    def __init__(self, url: str, kind: Kind, **changes: Any) -> None:
        config: RunConfig = replace(
            run_config(url, mode=kind.mode),
            **{
                "n_streams": N_STREAMS,
                "n_samples_per_fragment": N_SAMPLES,
                "step_ns": 10 * MS,
                "read_api": kind.read_api,
                **changes,
            },
        )
        self.target = discover(config, url)
        self.api = api_for(self.target)
        self.content = Content.of(config, 0)
        compare = comparison(config, self.target, self.content)
        self.compare: Callable[[bytes, Page], PageProof] = lambda body, page: compare(
            body, page, False
        )
        encode = LogEncoder if kind.mode is Mode.LOGS else MetricEncoder
        numbers = np.arange(N_STREAMS, dtype=np.uint32)
        starts = START + numbers.astype(np.int64) * MS
        batch = FragmentBatch(numbers, np.zeros_like(numbers), starts, N_SAMPLES, 10 * MS)
        self.encoded = encode(self.content).encode(batch)
        self.ledger = Ledger()

    def run(self, *works: Any) -> list[Any]:
        """Do the works, functions of a client, one after the other."""

        async def go() -> list[Any]:
            async with Transport(max_connections=2) as transport:
                retry = RetryPolicy(0.2, 0.01, 0.05, 0)
                client = Client(transport, self.api, retry, SystemClock(), asyncio.Event())
                return [await work(client) for work in works]

        return asyncio.run(go())

    def push(self, client: Client) -> Any:
        body = compress(self.encoded.buffer.data)
        return client.push(body, N_STREAMS * N_SAMPLES)

    @cached_property
    def page(self) -> Page:
        rows = self.ledger.append(self.encoded, 0)
        rows.settle(slice(0, N_STREAMS), FragmentState.ACKNOWLEDGED, n_copies=1)
        found = self.ledger.rows_of(0, N_STREAMS)
        selection = Selection.of_streams(self.content, list(range(N_STREAMS)))
        (page,) = pages(
            self.content, selection, found, np.arange(len(found)), 0, PageLimits(1000, 5000)
        )
        return page

    def fetch(self, start_ns: int, end_ns: int) -> Any:
        matcher = self.page.selection.matcher
        query = RangeQuery(matcher, start_ns, end_ns, 5000, fresh=True)
        return lambda client: client.fetch(query, Attempts(), divisible=False)


def test_what_is_pushed_comes_back(kind: Kind) -> None:
    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        backend = Backend(server.url, kind)
        page = backend.page
        pushed, body = backend.run(backend.push, backend.fetch(page.start_ns, page.end_ns))
    assert (pushed.state, pushed.n_attempts) == (FragmentState.ACKNOWLEDGED, 1)
    proof = backend.compare(body, page)
    assert (proof.findings.n_expected, proof.findings.n_validated) == (40, 40)
    assert proof.findings.n_mismatches == 0
    assert proof.n_received == 40


@pytest.mark.parametrize(("begin_ms", "end_ms", "n"), [(0, 75, 40), (10, 14, 4), (10, 15, 5)])
def test_a_range_has_its_start_and_not_its_end(
    kind: Kind, begin_ms: int, end_ms: int, n: int
) -> None:
    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        backend = Backend(server.url, kind)
        whole = backend.page
        begin, end = START + begin_ms * MS, START + end_ms * MS
        _, body = backend.run(backend.push, backend.fetch(begin, end))
    part = replace(
        whole, start_ns=begin, end_ns=end, expectation=whole.expectation.between(begin, end)
    )
    findings = backend.compare(body, part).findings
    assert (findings.n_expected, findings.n_validated, findings.n_mismatches) == (n, n, 0)


def test_an_empty_range_is_an_answer(kind: Kind) -> None:
    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        backend = Backend(server.url, kind)
        (body,) = backend.run(backend.fetch(START, START + MS))
    findings = backend.compare(body, backend.page).findings
    assert (findings.n_expected, findings.n_validated, findings.n_mismatches) == (40, 0, 40)


def test_tenants_do_not_see_each_other(kind: Kind) -> None:
    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        one = Backend(server.url, kind, tenant="one")
        two = Backend(server.url, kind, tenant="two")
        (pushed,) = one.run(one.push)
        assert pushed.state is FragmentState.ACKNOWLEDGED
        page = one.page
        (seen,) = one.run(one.fetch(page.start_ns, page.end_ns))
        (unseen,) = two.run(two.fetch(page.start_ns, page.end_ns))
    assert one.compare(seen, page).findings.n_validated == 40
    assert two.compare(unseen, page).findings.n_validated == 0


def test_a_target_that_is_gone(kind: Kind) -> None:
    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        backend = Backend(server.url, kind)
    (pushed,) = backend.run(backend.push)
    # no byte of it was sent
    assert pushed.state is FragmentState.UNSENT
    assert not pushed.unresolved
    assert set(pushed.responses) == {"ConnectError"}
    with pytest.raises(TargetError, match="ConnectError"):
        backend.run(backend.fetch(START, START + MS))


def test_answers_of_another_form_are_errors_of_the_target(kind: Kind) -> None:
    def damage(path: str, _request: bytes, status: int, body: bytes) -> tuple[int, bytes]:
        asked = path.partition("?")[0].endswith(("/query_range", "/query", "/read"))
        return (status, body[: len(body) // 2]) if asked else (status, body)

    with serving(TargetConfig(range_boundary=kind.boundary)) as server:
        backend = Backend(server.url, kind)
        (pushed,) = backend.run(backend.push)
    assert pushed.state is FragmentState.ACKNOWLEDGED
    with serving(TargetConfig(range_boundary=kind.boundary), interceptor=damage) as server:
        backend = Backend(server.url, replace(kind))
        page = backend.page
        backend.run(backend.push)
        with pytest.raises(DecodeError):
            backend.compare(backend.run(backend.fetch(page.start_ns, page.end_ns))[0], page)
