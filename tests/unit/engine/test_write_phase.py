"""Writers of a write phase: who gets which message, and how they come to their end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from looker.backend.attempts import Pauses
from looker.backend.client import PushResult
from looker.clock import SystemClock
from looker.engine.source import MessageSource
from looker.engine.write_phase import WritePhase
from looker.generate.content import Content
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Coupling, Population
from looker.model.config import Compressability, Mode
from looker.model.fragment import FragmentState
from looker.model.labels import LabelScheme
from looker.verify.ledger import Ledger
from servers import run_config

MS = 1_000_000
NS = 1_000_000_000
N_STREAMS = 8


class FakeClient:
    """Acknowledges each push after ``pause_s``; never while ``held``."""

    def __init__(self, pause_s: float, *, held: bool = False) -> None:
        self._pause_s = pause_s
        self._held = held
        self.under_way = self.most_under_way = self.n_pushes = 0
        self.first_came = asyncio.Event()
        self.push_pauses = Pauses()

    async def push(self, body: memoryview, n_samples: int, *, again: bool = False) -> PushResult:
        assert len(body) > 0
        assert n_samples == 2
        self.under_way += 1
        self.n_pushes += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.first_came.set()
        result = PushResult(FragmentState.ACKNOWLEDGED, n_attempts=1, n_copies=1)
        try:
            await (asyncio.Event().wait() if self._held else asyncio.sleep(self._pause_s))
        except asyncio.CancelledError:
            result.state, result.unresolved = FragmentState.INDETERMINATE, True
        self.under_way -= 1
        return result


class Running:
    """A write phase of 8 series, a fragment in each message, and its ledger."""

    def __init__(
        self, client: FakeClient, n_writers: int, n_fragments: int | None, **settings: Any
    ) -> None:
        clock = SystemClock()
        scheme = LabelScheme("test", 0, N_STREAMS, 100, metrics=True)
        self.ledger = Ledger()
        self.stop, self.end = asyncio.Event(), asyncio.Event()
        self.phase = WritePhase(
            config=run_config(
                None,
                mode=Mode.METRICS,
                n_streams=N_STREAMS,
                n_samples_per_fragment=2,
                step_ns=MS,
                stop_after_n_fragments=n_fragments,
                **settings,
            ),
            client=cast("Any", client),
            population=Population(
                seed=1,
                generation=0,
                first=0,
                n=N_STREAMS,
                coupling=Coupling(2, MS, NS, 100 * NS, MS),
                now_ns=clock.wall_ns(),
            ),
            encoder=MetricEncoder(Content(1, 0, scheme, 1, Compressability.MIN, 2, MS)),
            ledger=self.ledger,
            cycle=0,
            n_writers=n_writers,
            clock=clock,
            stop=self.stop,
            end=self.end,
        )

    def states(self) -> dict[int, int]:
        """Return how many fragments there are of each state, those never sent left out."""
        found, counts = np.unique(self.ledger.rows_of(0, N_STREAMS)["state"], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("n_writers", [1, 3, 8, 100])
def test_every_message_is_pushed_once_by_as_many_writers_as_can_be(n_writers: int) -> None:
    async def main() -> None:
        client = FakeClient(0.002)
        running = Running(client, n_writers, 25)
        report = await running.phase.run()
        assert client.n_pushes == report.pushes_acked == N_STREAMS * 25
        assert running.states() == {FragmentState.ACKNOWLEDGED: N_STREAMS * 25}
        # a stream's next fragment waits for the one before it
        assert client.most_under_way == min(n_writers, N_STREAMS)
        # with fewer writers than streams there may always have been something to send
        assert report.starved_s > 0 or n_writers < N_STREAMS
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize("n_writers", [20, 500])
def test_an_answer_does_not_wake_all_that_have_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, n_writers: int
) -> None:
    n_asked = 0
    take = MessageSource.take

    def counted(source: MessageSource) -> Any:
        nonlocal n_asked
        n_asked += 1
        return take(source)

    monkeypatch.setattr(MessageSource, "take", counted)

    async def main() -> None:
        client = FakeClient(0.001)
        await Running(client, n_writers, 50).phase.run()
        # each writer asks at first; each push is followed by a question of its writer, one for
        # the others, and as many when the next message has been made
        assert n_asked <= n_writers + 6 * client.n_pushes

    asyncio.run(main())


@pytest.mark.parametrize("n_writers", [2, 50])
def test_the_end_of_a_phase_ends_all_writers(n_writers: int) -> None:
    async def main() -> None:
        client = FakeClient(0.005)
        running = Running(client, n_writers, None, stop_after_n_seconds=None)
        task = asyncio.ensure_future(running.phase.run())
        await client.first_came.wait()
        running.end.set()
        async with asyncio.timeout(10):
            report = await task
        # what was under way is still answered for
        assert report.pushes_acked == client.n_pushes > 0
        assert running.states() == {FragmentState.ACKNOWLEDGED: client.n_pushes}

    asyncio.run(main())


def test_a_run_that_stops_gives_up_pushes_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("looker.engine.write_phase._IN_FLIGHT_GRACE_S", 0.05)

    async def main() -> None:
        client = FakeClient(0, held=True)
        running = Running(client, 50, None)
        task = asyncio.ensure_future(running.phase.run())
        await client.first_came.wait()
        running.stop.set()
        async with asyncio.timeout(10):
            report = await task
        assert report.pushes_acked == 0
        assert report.pushes_unresolved == client.n_pushes > 0
        assert running.states() == {FragmentState.INDETERMINATE: client.n_pushes}

    asyncio.run(main())


def test_a_fault_of_the_generator_ends_the_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Population, "pick", fail)

    async def main() -> None:
        async with asyncio.timeout(10):
            with pytest.raises(ZeroDivisionError):
                await Running(FakeClient(0), 50, 5).phase.run()

    asyncio.run(main())
    assert not [one for one in threading.enumerate() if one.name == "looker-generator"]
