"""Deliberate disorder: what is chosen, and where streams go on, against plain words of the rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.generate.disorder import Disorder
from looker.generate.population import Coupling, Population

S, MS = 10**9, 10**6
NOW = 1_700_000_000 * S
SPAN = 10 * MS
LOGS = Coupling(n_samples=10, step_ns=MS, min_lag_ns=30 * S, max_lag_ns=120 * S, tick_ns=1)
MASK = 2**64 - 1


def chance(seed: int, generation: int, stream: int, number: int) -> float:
    """Return the chance of a pair or fragment, step by step in Python's integers."""
    base = referee.mix((referee.mix(seed) + generation * 0xD1B54A32D192ED03) & MASK)
    key = referee.mix(((stream << 32 | number) + base) & MASK)
    return (referee.mix(key) >> 11) / 2**53


fractions = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])


@given(st.integers(0, 2**64 - 1), st.integers(0, 50), fractions, fractions)
def test_choices_are_a_pure_function(
    seed: int, generation: int, out_of_order: float, duplicate: float
) -> None:
    disorder = Disorder(seed, generation, out_of_order, duplicate)
    streams = np.repeat(np.arange(4, dtype=np.uint32), 6)
    fragments = np.tile(np.arange(6, dtype=np.uint32), 4)
    late, again = disorder.late(streams, fragments), disorder.repeated(streams, fragments)
    alone = [
        disorder.late(streams[at : at + 1], fragments[at : at + 1])[0] for at in range(len(streams))
    ]
    assert late.tolist() == alone
    pairs_of = list(zip(streams.tolist(), fragments.tolist(), strict=True))
    assert late.tolist() == [
        fragment % 2 == 1 and chance(seed, generation + 2**42, stream, fragment // 2) < out_of_order
        for stream, fragment in pairs_of
    ]
    assert again.tolist() == [
        chance(seed, generation + 2**43, stream, fragment) < duplicate
        for stream, fragment in pairs_of
    ]
    pairs = disorder.swapped(streams, fragments).reshape(4, 3, 2)
    assert (pairs[..., 0] == pairs[..., 1]).all()
    assert not late.reshape(4, 3, 2)[..., 0].any()
    assert (late.reshape(4, 3, 2)[..., 1] == pairs[..., 1]).all()
    for fraction, found in ((out_of_order, pairs), (duplicate, again)):
        if fraction in (0.0, 1.0):
            assert found.all() == found.any() == bool(fraction)


def test_choices_are_as_frequent_as_asked_for_and_independent() -> None:
    disorder = Disorder(7, 1, 0.25, 0.25)
    streams = np.arange(100_000, dtype=np.uint32)
    fragments = np.full(100_000, 3, np.uint32)
    late, again = disorder.late(streams, fragments), disorder.repeated(streams, fragments)
    # four standard deviations
    assert abs(late.mean() - 0.25) < 0.0055
    assert abs(again.mean() - 0.25) < 0.0055
    assert abs((late & again).mean() - 0.0625) < 0.0031
    other = Disorder(7, 2, 0.25, 0.25).late(streams, fragments)
    assert abs((late & other).mean() - 0.0625) < 0.0031


def written(
    fraction: float, n_fragments: int, coupling: Coupling = LOGS, per_cycle: int | None = None
) -> dict[int, list[tuple[int, int]]]:
    """Write with a clock that jumps to when a stream is ready: (fragment, start) by stream."""
    disorder = Disorder(3, 0, fraction)
    streams = Population(
        seed=3, generation=0, first=5, n=20, coupling=coupling, now_ns=NOW, disorder=disorder
    )
    found: dict[int, list[tuple[int, int]]] = {}
    now_ns, left = NOW, n_fragments
    while left > 0:
        streams.begin_cycle(per_cycle or n_fragments)
        left -= per_cycle or n_fragments
        while not streams.exhausted():
            picked = streams.pick(7, now_ns)
            if picked is None:
                ready_ns = streams.next_ready_ns(now_ns)
                assert ready_ns is not None
                assert ready_ns > now_ns
                now_ns = ready_ns
                continue
            batch = picked.batch
            # throttled like any other
            newest_ns = batch.start_ns + coupling.width_ns
            assert coupling.fixed_start_ns or (newest_ns + coupling.min_lag_ns <= now_ns).all()
            for stream, fragment, start in zip(
                batch.streams.tolist(),
                batch.fragments.tolist(),
                batch.start_ns.tolist(),
                strict=True,
            ):
                found.setdefault(stream, []).append((fragment, start))
            streams.resolve(batch.streams)
    return found


@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("per_cycle", [None, 1, 2])
def test_pairs_change_places_and_nothing_else(fraction: float, per_cycle: int | None) -> None:
    usual = written(0.0, 6, per_cycle=per_cycle)
    found = written(fraction, 6, per_cycle=per_cycle)
    disorder = Disorder(3, 0, fraction)
    n_swapped = 0
    for stream, rows in found.items():
        assert [fragment for fragment, _ in rows] == list(range(6))
        starts = [start for _, start in rows]
        # the same places, without gaps
        assert sorted(starts) == [start for _, start in usual[stream]]
        assert all(after - before == SPAN for before, after in pairwise(sorted(starts)))
        for pair in range(3):
            one, other = starts[2 * pair : 2 * pair + 2]
            is_swapped = bool(
                disorder.swapped(np.array([stream], np.uint32), np.array([2 * pair], np.uint32))[0]
            )
            assert (one > other) == is_swapped
            assert abs(one - other) == SPAN
            n_swapped += is_swapped
    assert n_swapped == {0.0: 0, 1.0: 60}.get(fraction, n_swapped)
    assert 0 < n_swapped < 60 or fraction != 0.4


def test_late_streams_leap_but_places_that_are_kept_do_not() -> None:
    disorder = Disorder(3, 0, 1.0)
    streams = Population(
        seed=3, generation=0, first=0, n=1, coupling=LOGS, now_ns=NOW, disorder=disorder
    )
    starts: list[int] = []
    leaps = []
    # a minute passes between fragments, but before the fourth an hour
    now_ns = NOW
    for wait_s in (0, 60, 600, 3600, 60):
        now_ns += wait_s * S
        picked = streams.pick(1, now_ns)
        assert picked is not None
        starts += picked.batch.start_ns.tolist()
        leaps.append(picked.n_leaps)
        streams.resolve(picked.batch.streams)
    assert leaps == [0, 0, 1, 0, 1]
    assert starts[1] == starts[0] - SPAN
    # its pair's newest sample is at the minimum lag
    assert starts[2] + LOGS.width_ns == NOW + 660 * S - LOGS.min_lag_ns
    assert starts[3] == starts[2] - SPAN
    assert starts[4] > starts[2]


def test_a_fixed_start_is_swapped_too() -> None:
    coupling = Coupling(10, MS, 0, 0, 1, fixed_start_ns=NOW)
    found = written(1.0, 4, coupling)
    assert set(map(tuple, ([start - NOW for _, start in rows] for rows in found.values()))) == {
        (SPAN, 0, 3 * SPAN, 2 * SPAN)
    }
