"""The generator thread: every fragment once, and a stream's fragments one after the other."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from looker.clock import SystemClock
from looker.engine.source import MessageSource
from looker.generate.content import Content
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Coupling, Population
from looker.model.config import Compressability
from looker.model.labels import LabelScheme

if TYPE_CHECKING:
    from looker.engine.source import Message

NS = 1_000_000_000
PATIENCE_S = 30.0


class Started:
    """A source of ``n_streams`` series with samples 1 ms apart, and a thread that generates."""

    def __init__(self, n_streams: int, n_fragments: int | None, per_message: int) -> None:
        clock = SystemClock()
        self.news = threading.Event()
        coupling = Coupling(2, 1_000_000, 1 * NS, 100 * NS, 1_000_000)
        self.population = Population(
            seed=1, generation=0, first=7, n=n_streams, coupling=coupling, now_ns=clock.wall_ns()
        )
        scheme = LabelScheme("test", 0, n_streams + 7, 100, metrics=True)
        content = Content(1, 0, scheme, 1, Compressability.MIN, 2, 1_000_000)
        self.source = MessageSource(
            population=self.population,
            encoder=MetricEncoder(content),
            ledger=None,
            cycle=0,
            n_fragments_per_message=per_message,
            body_bytes_estimate=per_message * 32,
            n_writers=4,
            clock=clock,
            wake=self.news.set,
        )
        self.population.begin_cycle(n_fragments)
        self.source.start()

    def next(self) -> Message | None:
        """Return the next message as a writer would; None at the end, or if none can come."""
        while True:
            message = self.source.take()
            if message is not None or self.source.exhausted:
                return message
            self.news.clear()
            message = self.source.take()
            if message is not None:
                return message
            if not self.news.wait(0.2):
                return None


@pytest.mark.parametrize(
    ("n_streams", "n_fragments", "per_message"), [(1, 40, 1), (5, 30, 2), (300, 6, 7), (64, 9, 64)]
)
def test_streams_go_on_when_their_fragments_are_answered(
    n_streams: int, n_fragments: int, per_message: int
) -> None:
    started = Started(n_streams, n_fragments, per_message)
    chance = random.Random(n_streams)  # noqa: S311 - no secret
    under_way: list[Message] = []
    counts = np.zeros(n_streams, int)
    newest: dict[int, int] = {}
    while True:
        message = None if len(under_way) > 5 else started.next()
        if message is None:
            if not under_way:
                assert started.source.exhausted
                break
            started.source.resolve(under_way.pop(chance.randrange(len(under_way))))
            continue
        index = message.streams - 7
        for other in under_way:
            assert not np.isin(message.streams, other.streams).any()
        assert len(np.unique(index)) == len(index) == len(message) <= per_message
        counts[index] += 1
        # messages are generated in the order of their numbers
        for stream in index.tolist():
            assert newest.get(stream, -1) < message.number
            newest[stream] = message.number
        under_way.append(message)
    started.source.join()
    assert counts.tolist() == [n_fragments] * n_streams


def test_nothing_is_handed_out_after_the_stop() -> None:
    started = Started(100, None, 1)
    assert started.next() is not None
    started.source.stop()
    assert started.source.take() is None
    started.source.join()
    assert started.source.exhausted
    assert started.source.take() is None


def test_a_fault_of_the_thread_is_raised_where_it_is_joined() -> None:
    started = Started(1, 1, 1)
    assert started.next() is not None
    broken = Started(1, None, 1)
    broken.population.resolve = None  # type: ignore[assignment]
    first = broken.next()
    assert first is not None
    broken.source.resolve(first)
    with pytest.raises(TypeError):
        broken.source.join()
    started.source.stop()
    started.source.join()
