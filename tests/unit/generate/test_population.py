"""Streams follow wall time; each rule against a plain reimplementation of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.generate.mixer import stream_keys
from looker.generate.population import MAX_OUTSTANDING, Coupling, Population

if TYPE_CHECKING:
    from looker.generate.population import Picked

S = 10**9
MS = 10**6
NOW = 1_700_000_000 * S

LOGS = Coupling(n_samples=10, step_ns=1000, min_lag_ns=30 * S, max_lag_ns=120 * S, tick_ns=1)
METRICS = Coupling(n_samples=5, step_ns=250 * MS, min_lag_ns=3 * S, max_lag_ns=20 * S, tick_ns=MS)


def population(
    coupling: Coupling = LOGS, n: int = 10, now_ns: int = NOW, first: int = 0, **changed: int
) -> Population:
    keys = {"seed": 3, "generation": 0, **changed}
    return Population(first=first, n=n, coupling=coupling, now_ns=now_ns, **keys)


def fragments(picked: Picked | None) -> list[tuple[int, int, int]]:
    if picked is None:
        return []
    batch = picked.batch
    columns = batch.streams.tolist(), batch.fragments.tolist(), batch.start_ns.tolist()
    return list(zip(*columns, strict=True))


def settle(streams: Population, picked: Picked | None) -> None:
    assert picked is not None
    streams.resolve(picked.batch.streams)


def at_rest(streams: Population, next_ns: int) -> Population:
    """Give every stream the same next timestamp."""
    streams.next_ns[:] = next_ns
    return streams


# -- start


@st.composite
def couplings(draw: st.DrawFn) -> Coupling:
    tick = draw(st.sampled_from([1, MS]))
    step = draw(st.integers(1, 2000)) * (tick if tick > 1 else draw(st.sampled_from([1, MS])))
    n_samples = draw(st.integers(1, 50))
    min_lag = draw(st.integers(0, 60 * S))
    slack = draw(st.integers(1, 90 * S))
    max_lag = min_lag + 3 * (n_samples - 1) * step + slack
    return Coupling(n_samples, step, min_lag, max_lag, tick)


@given(couplings(), st.integers(0, 10**6), st.integers(0, 2**64 - 1))
def test_starts_lie_between_the_lags(coupling: Coupling, offset: int, seed: int) -> None:
    now = NOW + offset
    streams = population(coupling, 50, now, seed=seed)
    newest_of_first = streams.next_ns + coupling.width_ns
    assert (newest_of_first <= now - coupling.min_lag_ns).all()
    assert (streams.next_ns >= now - coupling.max_lag_ns - coupling.step_ns).all()
    assert (streams.next_ns % coupling.tick_ns == 0).all()
    # neither throttled at once, nor limited in number
    picked = streams.pick(50, now)
    assert len(fragments(picked)) == 50


@given(couplings().filter(lambda coupling: coupling.tick_ns == 1), st.integers(0, 2**64 - 1))
def test_no_stream_leaps_at_its_start(coupling: Coupling, seed: int) -> None:
    picked = population(coupling, 50, NOW, seed=seed).pick(50, NOW)
    assert picked is not None
    assert picked.n_leaps == 0


def test_no_series_leaps_at_its_start() -> None:
    now = NOW + 1
    picked = population(METRICS, 200_000, now).pick(200_000, now)
    assert picked is not None
    assert picked.n_leaps == 0


def test_starts_are_uniform_over_the_whole_range() -> None:
    streams = population(LOGS, 100_000)
    oldest = NOW - LOGS.max_lag_ns + LOGS.step_ns
    newest = NOW - LOGS.min_lag_ns - LOGS.width_ns
    shares = (streams.next_ns - oldest) / (newest - oldest)
    counts = np.histogram(shares, 10, (0, 1))[0]
    assert counts.sum() == 100_000
    assert float(((counts - 10_000.0) ** 2 / 10_000.0).sum()) < 35


def test_starts_depend_on_seed_generation_and_stream_but_not_on_the_worker() -> None:
    whole = population(n=10).next_ns.tolist()
    assert population(n=4, first=3).next_ns.tolist() == whole[3:7]
    assert len(set(whole)) == 10
    assert not set(population(n=10, seed=4).next_ns.tolist()) & set(whole)
    assert not set(population(n=10, generation=1).next_ns.tolist()) & set(whole)
    keys = stream_keys(3, 0, np.arange(10))
    assert LOGS.starts(NOW, keys).tolist() != whole


# -- throttle and leap


@pytest.mark.parametrize("coupling", [LOGS, METRICS])
def test_throttle_holds_until_exactly_the_minimum_lag(coupling: Coupling) -> None:
    start = NOW - coupling.min_lag_ns - coupling.width_ns
    streams = at_rest(population(coupling, 3), start)
    assert streams.pick(3, NOW - 1) is None
    assert streams.next_ready_ns(NOW - 1) == NOW
    assert fragments(streams.pick(3, NOW)) == [(0, 0, start), (1, 0, start), (2, 0, start)]


@pytest.mark.parametrize("coupling", [LOGS, METRICS])
def test_leap_fires_only_when_the_newest_sample_is_older_than_the_maximum_lag(
    coupling: Coupling,
) -> None:
    newest = NOW - coupling.max_lag_ns
    streams = at_rest(population(coupling, 2), newest + coupling.step_ns)
    newest_ns = streams.next_ns - coupling.step_ns
    assert (NOW - newest_ns[:2]).tolist() == [coupling.max_lag_ns] * 2
    picked = streams.pick(1, NOW)
    assert picked is not None
    assert (picked.n_leaps, picked.batch.start_ns.tolist()) == (0, [newest + coupling.step_ns])
    picked = streams.pick(1, NOW + 1)
    assert picked is not None
    last = int(picked.batch.start_ns[0]) + coupling.width_ns
    assert picked.n_leaps == 1
    assert 0 <= NOW + 1 - coupling.min_lag_ns - last < coupling.tick_ns
    assert last % coupling.tick_ns == 0


def test_a_stream_goes_on_where_it_ended() -> None:
    streams = at_rest(population(n=1), NOW - 60 * S)
    assert fragments(streams.pick(1, NOW)) == [(0, 0, NOW - 60 * S)]
    assert fragments(streams.pick(1, NOW)) == [(0, 1, NOW - 60 * S + 10 * 1000)]


# -- taking turns and limits


def test_streams_take_turns() -> None:
    streams = population(n=7)
    order = []
    for _ in range(14):
        picked = streams.pick(1, NOW)
        order += [stream for stream, _, _ in fragments(picked)]
        settle(streams, picked)
    assert order == [*range(7), *range(7)]


def test_turns_go_on_across_the_end() -> None:
    streams = population(n=7)
    assert [x[0] for x in fragments(streams.pick(5, NOW))] == [0, 1, 2, 3, 4]
    assert [x[0] for x in fragments(streams.pick(5, NOW))] == [5, 6, 0, 1, 2]
    assert [x[0] for x in fragments(streams.pick(50, NOW))] == [3, 4, 5, 6]
    assert streams.pick(50, NOW) is None


def test_many_streams_are_scanned_in_parts() -> None:
    n = 150_000
    streams = population(n=n)
    streams.begin_cycle(1)
    seen: list[int] = []
    for wanted in (60_000, 60_000, 60_000):
        seen += [x[0] for x in fragments(streams.pick(wanted, NOW))]
    assert seen == list(range(n))
    assert streams.exhausted()


def test_outstanding_fragments_are_limited_until_answered_for() -> None:
    streams = population(n=3, first=100)
    for number in range(MAX_OUTSTANDING):
        assert [x[:2] for x in fragments(streams.pick(9, NOW))] == [
            (100, number),
            (101, number),
            (102, number),
        ]
    assert streams.pick(9, NOW) is None
    assert streams.next_ready_ns(NOW) is None
    streams.resolve(np.array([101], np.uint32))
    assert streams.next_ready_ns(NOW) is not None
    assert [x[:2] for x in fragments(streams.pick(9, NOW))] == [(101, MAX_OUTSTANDING)]
    assert MAX_OUTSTANDING == 2


def test_a_cycle_has_a_limit_and_the_next_one_goes_on() -> None:
    streams = population(n=2)
    for cycle in range(3):
        streams.begin_cycle(3)
        for number in range(3 * cycle, 3 * cycle + 3):
            assert not streams.exhausted()
            picked = streams.pick(5, NOW)
            assert [x[:2] for x in fragments(picked)] == [(0, number), (1, number)]
            settle(streams, picked)
        assert streams.exhausted()
        assert streams.pick(5, NOW) is None
        assert streams.next_ready_ns(NOW) is None


def test_without_a_limit_no_cycle_is_exhausted() -> None:
    streams = population(n=2)
    streams.begin_cycle(None)
    for _ in range(20):
        settle(streams, streams.pick(2, NOW))
    assert not streams.exhausted()
    assert streams.n_fragments.tolist() == [20, 20]


def test_a_new_cycle_forgets_what_was_outstanding() -> None:
    streams = population(n=2)
    streams.begin_cycle(None)
    streams.pick(2, NOW)
    streams.pick(1, NOW)
    streams.begin_cycle(None)
    assert [x[0] for x in fragments(streams.pick(2, NOW))] == [0, 1]
    assert len(fragments(streams.pick(2, NOW))) == 2


def test_the_largest_limit_holds_in_every_cycle() -> None:
    streams = population(n=1)
    for _ in range(2):
        streams.begin_cycle(2**32 - 1)
        assert not streams.exhausted()
        settle(streams, streams.pick(1, NOW))


# -- all of it, against a plain reimplementation


@dataclass
class SlowStream:
    next_ns: int
    n_fragments: int = 0
    outstanding: int = 0
    limit: int | None = None
    times: list[int] = field(default_factory=list)

    def start(self, coupling: Coupling, now: int) -> int:
        newest = self.next_ns - coupling.step_ns
        if now - newest <= coupling.max_lag_ns:
            return self.next_ns
        leapt = now - coupling.min_lag_ns - (coupling.n_samples - 1) * coupling.step_ns
        return max(self.next_ns, leapt // coupling.tick_ns * coupling.tick_ns)

    def ready_ns(self, coupling: Coupling, now: int) -> int:
        last = self.start(coupling, now) + (coupling.n_samples - 1) * coupling.step_ns
        return last + coupling.min_lag_ns

    def open(self) -> bool:
        return self.outstanding < 2 and (self.limit is None or self.n_fragments < self.limit)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.integers(1, 12)),
        st.tuples(st.just("resolve"), st.integers(0, 2**30)),
        st.tuples(st.just("advance"), st.sampled_from([1, MS, 100 * MS, S, 30 * S, 300 * S])),
        st.tuples(st.just("wait"), st.just(0)),
        st.tuples(st.just("cycle"), st.integers(0, 4)),
    ),
    min_size=5,
    max_size=60,
)


@given(couplings(), st.integers(0, 10**6), st.integers(1, 9), actions)
def test_any_course_of_events(  # noqa: C901 - a plain model beside the real one
    coupling: Coupling, offset: int, n: int, course: list[tuple[str, int]]
) -> None:
    now = NOW + offset
    streams = population(coupling, n, now, first=20)
    slow = {20 + i: SlowStream(start) for i, start in enumerate(streams.next_ns.tolist())}
    unresolved: list[int] = []
    for action, amount in course:
        if action == "advance":
            now += amount
        elif action == "resolve" and unresolved:
            stream = unresolved.pop(amount % len(unresolved))
            slow[stream].outstanding -= 1
            streams.resolve(np.array([stream], np.uint32))
        elif action == "cycle":
            limit = amount or None
            streams.begin_cycle(limit)
            unresolved.clear()
            for one in slow.values():
                one.outstanding = 0
                one.limit = None if limit is None else one.n_fragments + limit
        ready = {stream: one.ready_ns(coupling, now) for stream, one in slow.items() if one.open()}
        assert streams.next_ready_ns(now) == min(ready.values(), default=None)
        if action == "wait" and ready:
            now = max(now, min(ready.values()))
        assert streams.exhausted() == all(
            one.limit is not None and one.n_fragments >= one.limit for one in slow.values()
        )
        if action == "pick":
            before = {stream: one.n_fragments for stream, one in slow.items()}
            able = {
                stream
                for stream, one in slow.items()
                if one.open() and one.ready_ns(coupling, now) <= now
            }
            picked = streams.pick(amount, now)
            found = fragments(picked)
            assert len(found) == min(amount, len(able))
            assert len({stream for stream, _, _ in found}) == len(found)
            n_leaps = 0
            for stream, fragment, start in found:
                one = slow[stream]
                assert stream in able
                assert fragment == before[stream]
                assert start == one.start(coupling, now)
                n_leaps += start != one.next_ns
                one.times += [start + k * coupling.step_ns for k in range(coupling.n_samples)]
                assert now - one.times[-1] >= coupling.min_lag_ns
                one.next_ns = one.times[-1] + coupling.step_ns
                one.n_fragments += 1
                one.outstanding += 1
                unresolved.append(stream)
            if picked is not None:
                assert picked.n_leaps == n_leaps
                assert (picked.batch.n_samples, picked.batch.step_ns) == (
                    coupling.n_samples,
                    coupling.step_ns,
                )
    for one in slow.values():
        assert one.times == sorted(set(one.times))
        assert all(time % coupling.tick_ns == 0 for time in one.times)


@given(st.integers(2, 12), st.lists(st.integers(1, 15), min_size=1, max_size=40))
def test_no_stream_gets_ahead_of_another(n: int, wanted: list[int]) -> None:
    coupling = replace(LOGS, step_ns=1)
    streams = population(coupling, n)
    for amount in wanted:
        settle(streams, streams.pick(amount, NOW))
        numbers = streams.n_fragments.tolist()
        assert max(numbers) - min(numbers) <= 1


@pytest.mark.parametrize("tick_ns", [1, 1_000_000])
@pytest.mark.parametrize("fixed", [None, 5 * 10**9])
def test_ready_is_what_ready_at_says(tick_ns: int, fixed: int | None) -> None:
    coupling = Coupling(5, tick_ns, 30 * 10**9, 120 * 10**9, tick_ns, fixed)
    now_ns = 1_795_475_977_300_000_123
    offsets = np.random.default_rng(1).integers(-200 * 10**9, 10 * 10**9, 10_000)
    edge = -coupling.min_lag_ns - coupling.width_ns
    offsets = np.concatenate([offsets, [edge - 1, edge, edge + 1, -coupling.max_lag_ns]])
    next_ns = now_ns + offsets - offsets % tick_ns
    expected = coupling.ready_at(next_ns, now_ns) <= now_ns
    assert coupling.ready(next_ns, now_ns).tolist() == expected.tolist()
    assert expected.any()
    assert expected.all() == (fixed is not None)
