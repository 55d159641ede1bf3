"""Messages that wait for more fragments, up to a deadline."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from looker.clock import SystemClock
from looker.engine.source import Cause, MessageSource
from looker.generate.content import Content
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Coupling, Population
from looker.model.config import Compressability
from looker.model.labels import LabelScheme
from servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from looker.engine.source import Message

NS = 1_000_000_000
MS = 1_000_000
HOUR_NS = 3600 * NS


class Batched:
    """A source of series of a sample each, ``step_ms`` apart, ``per_message`` in a message."""

    def __init__(
        self,
        n_streams: int,
        per_message: int,
        deadline_ns: int,
        *,
        n_fragments: int | None = None,
        step_ms: int = 1,
        max_lag_s: int = 100,
    ) -> None:
        self.clock = SystemClock()
        self.news = threading.Event()
        coupling = Coupling(1, step_ms * MS, NS, max_lag_s * NS, MS)
        self.population = Population(
            seed=1,
            generation=0,
            first=0,
            n=n_streams,
            coupling=coupling,
            now_ns=self.clock.wall_ns(),
        )
        scheme = LabelScheme("test", 0, n_streams, 100, metrics=True)
        content = Content(1, 0, scheme, 1, Compressability.MIN, 1, step_ms * MS)
        self.source = MessageSource(
            population=self.population,
            encoder=MetricEncoder(content),
            ledger=None,
            cycle=0,
            n_fragments_per_message=per_message,
            body_bytes_estimate=per_message * 16,
            n_writers=4,
            clock=self.clock,
            wake=self.news.set,
            batch_deadline_ns=deadline_ns,
        )
        self.population.begin_cycle(n_fragments)
        self.source.start()

    def messages(self) -> Iterator[Message]:
        """Yield messages, each answered for before the next one is taken."""
        while True:
            message = self.source.take()
            if message is None:
                if self.source.exhausted:
                    self.source.join()
                    return
                self.news.wait(0.01)
                self.news.clear()
                continue
            yield message
            self.source.resolve(message)

    def waited_for(self, cause: Cause) -> int:
        return self.source.spent_ns(self.clock.monotonic_ns())[cause]


@pytest.mark.parametrize("n_fragments", [1, 7])
def test_what_no_more_can_come_for_is_sent_at_once(n_fragments: int) -> None:
    batched = Batched(25, 10, HOUR_NS, n_fragments=n_fragments)
    sizes = [len(message) for message in batched.messages()]
    assert sum(sizes) == 25 * n_fragments
    # all full but the last one
    assert sizes[:-1] == [10] * (len(sizes) - 1)
    assert sizes[-1] == 25 * n_fragments % 10 or 10


def test_a_worker_with_fewer_streams_than_a_message_holds_does_not_wait() -> None:
    batched = Batched(3, 10, HOUR_NS)
    for n, message in enumerate(batched.messages()):
        assert len(message) == 3
        if n == 20:
            batched.source.stop()
    batched.source.join()


def test_field_case_36_messages_are_full_though_streams_are_ready_one_by_one() -> None:
    # a series is ready again every 200 ms: ten of them make a message in 20 ms on average
    batched = Batched(100, 10, HOUR_NS, step_ms=200, max_lag_s=2)
    sizes = []
    for message in batched.messages():
        sizes.append(len(message))
        if len(sizes) == 60:
            batched.source.stop()
    batched.source.join()
    assert set(sizes[:60]) == {10}
    assert batched.waited_for(Cause.FILLING_THROTTLED) > 0
    assert batched.waited_for(Cause.FILLING) == 0


def test_without_a_deadline_what_is_ready_goes() -> None:
    batched = Batched(100, 10, 0, step_ms=200, max_lag_s=2)
    sizes = []
    for message in batched.messages():
        sizes.append(len(message))
        if len(sizes) == 300:
            batched.source.stop()
    batched.source.join()
    assert np.mean(sizes) < 10
    assert batched.waited_for(Cause.FILLING_THROTTLED) == 0


def test_after_the_deadline_a_message_goes_as_it_is() -> None:
    # of five series all but two have two fragments under way, after two full messages
    batched = Batched(5, 4, 50 * MS, n_fragments=3)
    population = batched.population
    wait_until(lambda: int(population.outstanding.sum()) == 10, "the rest, after the deadline")
    assert batched.waited_for(Cause.FILLING) >= 49 * MS
    assert batched.waited_for(Cause.FILLING_THROTTLED) == 0
    assert [len(message) for message in batched.messages()][:3] == [4, 4, 2]


def test_the_end_ends_the_wait() -> None:
    batched = Batched(10, 8, HOUR_NS, step_ms=100_000, max_lag_s=301)
    wait_until(
        lambda: batched.waited_for(Cause.FILLING_THROTTLED) or batched.waited_for(Cause.THROTTLED),
        "waiting for wall time",
    )
    batched.source.stop()
    batched.source.join()
    assert batched.source.exhausted


def test_the_outlook_is_that_of_a_look_at_each_stream() -> None:
    clock = SystemClock()
    now_ns = clock.wall_ns()
    population = Population(
        seed=3,
        generation=0,
        first=0,
        n=500,
        coupling=Coupling(1, 100 * MS, NS, 2 * NS, MS),
        now_ns=now_ns,
    )
    population.begin_cycle(2)
    # all of them one sample on: some are ready, others are not yet
    assert population.pick(500, now_ns) is not None
    ready_ns = np.sort(population.coupling.ready_at(population.next_ns, now_ns))
    for n_wanted in (1, 7, 500):
        outlook = population.outlook(n_wanted, now_ns)
        assert outlook.n_ready == np.count_nonzero(ready_ns <= now_ns)
        assert outlook.enough_ns == ready_ns[n_wanted - 1]
        assert outlook.n_unfinished == 500
    assert population.outlook(501, now_ns).enough_ns is None
    assert population.outlook(1, now_ns).enough_ns == population.next_ready_ns(now_ns)
