"""Cutting what was written into pages."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.verify.pages import PageLimits, Selection, pages, tile
from referee import ACKED, MAYBE, NS, REJECTED, History, Written

if TYPE_CHECKING:
    from looker.verify.pages import Page

Key = tuple[int, int, int]


@st.composite
def histories(draw: st.DrawFn, *, n_cycles: int = 1) -> History:
    """Fragments of up to four streams, without overlap within a stream; step 10 ns."""
    content = referee.make_content(n_samples=draw(st.integers(1, 6)), step_ns=10)
    span = content.n_samples * 10
    aligned = draw(st.booleans())
    gap = st.just(0) if aligned else st.integers(0, 120)
    written = []
    for stream in range(draw(st.integers(1, 4))):
        at = NS + draw(gap)
        for fragment in range(draw(st.integers(0, 5))):
            cycle = min(n_cycles - 1, fragment // 2)
            state = draw(st.sampled_from([ACKED, ACKED, MAYBE, REJECTED]))
            again = draw(st.booleans())
            written.append(Written(stream, fragment, at, state, cycle, again))
            at += span + draw(gap)
    return History(content, tuple(draw(st.permutations(written))))


def samples_of(history: History, one: Written) -> dict[Key, int]:
    """Return the times of a fragment's samples by (stream, fragment, position)."""
    return {
        (one.stream, one.fragment, position): one.start_ns + position * history.content.step_ns
        for position in range(history.content.n_samples)
    }


def pieces_of(page: Page) -> list[tuple[Key, int]]:
    expectation = page.expectation
    found = []
    for piece, count in enumerate(expectation.counts.tolist()):
        assert count > 0
        for n in range(count):
            position = int(expectation.positions[piece]) + n
            key = int(expectation.streams[piece]), int(expectation.fragments[piece]), position
            time_ns = int(expectation.start_ns[piece]) + n * expectation.content.step_ns
            found.append((key, time_ns))
    assert expectation.timestamps_ns.tolist() == [time_ns for _, time_ns in found]
    assert expectation.sample_positions.tolist() == [key[2] for key, _ in found]
    assert expectation.n_samples == len(found)
    return found


def assert_pages(history: History, found: list[Page], cycle: int) -> None:
    times: dict[Key, int] = {}
    for one in history.written:
        times |= samples_of(history, one)
    own = [
        time
        for one in history.written
        if one.cycle == cycle
        for time in samples_of(history, one).values()
    ]
    if not own:
        assert found == []
        return
    assert found[0].start_ns == min(own)
    assert found[-1].end_ns == max(own) + history.content.step_ns
    assert all(one.end_ns == other.start_ns for one, other in pairwise(found))
    assert all(page.start_ns < page.end_ns for page in found)
    seen: dict[Key, int] = {}
    for page in found:
        pieces = pieces_of(page)
        assert pieces == sorted(pieces, key=lambda piece: (piece[0][0], piece[1]))
        for key, time_ns in pieces:
            assert key not in seen
            assert page.start_ns <= time_ns < page.end_ns
            seen[key] = time_ns
        expectation = page.expectation
        for piece, row in enumerate(expectation.rows.tolist()):
            one = history.written[row]
            assert (one.stream, one.fragment) == (
                expectation.streams[piece],
                expectation.fragments[piece],
            )
            assert bool(expectation.required[piece]) == (one.state is ACKED)
            assert bool(expectation.counted[piece]) == (one.cycle == cycle)
            assert expectation.n_repeats[piece] == one.n_repeats
    first, end = found[0].start_ns, found[-1].end_ns
    assert seen == {key: time for key, time in times.items() if first <= time < end}


def assert_small(page: Page, max_samples: int) -> None:
    n_times = len(set(page.expectation.timestamps_ns.tolist()))
    assert page.expectation.n_samples <= max_samples or n_times == 1


@given(histories(), st.integers(1, 30))
def test_pages_hold_every_sample_once(history: History, max_samples: int) -> None:
    found = history.pages(max_samples)
    assert_pages(history, found, 0)
    for page in found:
        assert_small(page, max_samples)


@given(histories(n_cycles=3), st.integers(1, 30), st.integers(0, 2))
def test_streams_that_go_on_are_paged_cycle_by_cycle(
    history: History, max_samples: int, cycle: int
) -> None:
    assert_pages(history, history.pages(max_samples, cycle), cycle)


def n_times(page: Page) -> int:
    return len(set(page.expectation.timestamps_ns.tolist()))


@given(histories(n_cycles=2), st.integers(1, 30), st.integers(0, 1))
def test_halves_make_up_a_page(history: History, max_samples: int, cycle: int) -> None:
    for page in history.pages(max_samples, cycle):
        todo, atoms = [page], []
        while todo:
            one = todo.pop()
            halves = one.halves()
            if halves is None:
                atoms.append(one)
                continue
            first, second = halves
            streams = [set(half.expectation.streams.tolist()) for half in halves]
            if n_times(one) > 1:
                assert first.selection is second.selection is one.selection
                assert (first.start_ns, second.end_ns) == (one.start_ns, one.end_ns)
                assert first.end_ns == second.start_ns
            else:
                assert not streams[0] & streams[1]
                for half, numbers in zip(halves, streams, strict=True):
                    assert (half.start_ns, half.end_ns) == (one.start_ns, one.end_ns)
                    names = {referee.uniquename(history.content.scheme, n) for n in numbers}
                    found = half.selection.matcher[2].replace("[.]", ".").split("|")
                    assert names <= set(found)
                    assert len(found) == len(half.selection.streams)
            for half in halves:
                assert 0 < half.expectation.n_samples < one.expectation.n_samples
                assert all(half.start_ns <= time < half.end_ns for _, time in pieces_of(half))
            todo += halves
        assert {one.expectation.n_samples for one in atoms} == {min(1, page.expectation.n_samples)}
        whole = sorted(pieces_of(page))
        assert sorted(piece for one in atoms for piece in pieces_of(one)) == whole
        by_row = {
            (row, bool(required), bool(counted), bool(again))
            for one in atoms
            for row, required, counted, again in zip(
                one.expectation.rows,
                one.expectation.required,
                one.expectation.counted,
                one.expectation.n_repeats,
                strict=True,
            )
        }
        expectation = page.expectation
        assert by_row == set(
            zip(
                expectation.rows.tolist(),
                expectation.required.tolist(),
                expectation.counted.tolist(),
                expectation.n_repeats.tolist(),
                strict=True,
            )
        )


def test_halves_are_halves() -> None:
    (page,) = referee.history(n_streams=1, n_fragments=2, n_samples=5, step_ns=10).pages(100)
    halves = page.halves()
    assert halves is not None
    assert [half.expectation.n_samples for half in halves] == [5, 5]
    (page,) = referee.history(n_streams=6, n_fragments=1, n_samples=1).pages(100)
    halves = page.halves()
    assert halves is not None
    assert [half.expectation.streams.tolist() for half in halves] == [[0, 1, 2], [3, 4, 5]]


def test_earlier_cycles_are_expected_but_not_counted() -> None:
    content = referee.make_content(n_samples=4, step_ns=10)
    written = (
        Written(0, 0, NS, cycle=0),
        Written(0, 1, NS + 100, cycle=0),
        Written(1, 0, NS - 400, cycle=0),
        Written(1, 1, NS + 20, cycle=1),
        Written(1, 2, NS + 200, REJECTED, cycle=1),
    )
    (page,) = History(content, written).pages(100, cycle=1)
    assert (page.start_ns, page.end_ns) == (NS + 20, NS + 240)
    expectation = page.expectation
    assert expectation.streams.tolist() == [0, 0, 1, 1]
    assert expectation.fragments.tolist() == [0, 1, 1, 2]
    assert expectation.positions.tolist() == [2, 0, 0, 0]
    assert expectation.counts.tolist() == [2, 4, 4, 4]
    assert expectation.counted.tolist() == [False, False, True, True]
    assert expectation.required.tolist() == [True, True, True, False]
    assert expectation.rows.tolist() == [0, 1, 3, 4]


def test_a_fragment_is_cut_where_a_page_is_full() -> None:
    history = referee.history(n_streams=1, n_fragments=2, n_samples=5, step_ns=10)
    found = history.pages(4)
    assert [(page.start_ns - NS, page.end_ns - NS) for page in found] == [
        (0, 40),
        (40, 80),
        (80, 100),
    ]
    assert [page.expectation.counts.tolist() for page in found] == [[4], [1, 3], [2]]
    assert [page.expectation.positions.tolist() for page in found] == [[0], [4, 0], [3]]
    assert found[1].expectation.start_ns.tolist() == [NS + 40, NS + 50]


def test_row_numbers_are_the_callers() -> None:
    history = referee.history(n_streams=2, n_fragments=1)
    selection = Selection(("a", "=", "b"), range(2))
    numbers = np.array([40, 30])
    (page,) = pages(
        history.content, selection, history.rows(), numbers, 0, PageLimits(99, max_answer=99)
    )
    assert page.expectation.rows.tolist() == [40, 30]
    assert page.selection is selection


def test_nothing_in_a_cycle_makes_no_page() -> None:
    history = referee.history()
    assert history.pages(10, cycle=1) == []


def test_what_was_refused_is_asked_for_and_may_be_there() -> None:
    history = referee.history(n_streams=1, n_fragments=3, n_samples=5, step_ns=10)
    (page,) = history.changed(0, state=REJECTED).changed(2, state=REJECTED).pages(100)
    assert (page.start_ns - NS, page.end_ns - NS) == (0, 150)
    assert page.expectation.fragments.tolist() == [0, 1, 2]
    assert page.expectation.required.tolist() == [False, True, False]


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 30),
    st.integers(1, 25),
)
def test_tiles_are_as_full_as_they_may_be(
    starts: list[int], n_samples: int, step: int, max_samples: int
) -> None:
    starts.sort()
    times = sorted(start + k * step for start in starts for k in range(n_samples))
    cuts = tile(np.array(starts), n_samples, step, max_samples)
    assert cuts[0] == times[0]
    assert cuts[-1] == starts[-1] + n_samples * step
    assert cuts == sorted(set(cuts))
    sizes = [sum(begin <= time < end for time in times) for begin, end in pairwise(cuts)]
    assert sum(sizes) == len(times)
    for (begin, end), size in zip(pairwise(cuts), sizes, strict=True):
        assert size <= max_samples or len({t for t in times if begin <= t < end}) == 1
        # the next time would not have fitted
        more = sum(begin <= time <= end for time in times)
        assert end == cuts[-1] or more > max_samples


def test_selections() -> None:
    content = referee.make_content(n_streams=25, group_size=10, invocation_id="a.b-c")
    assert Selection.of_group(content, 1) == Selection(
        ("looker_group", "=", "a.b-c-0-g1"), range(10, 20)
    )
    assert Selection.of_group(content, 2) == Selection(
        ("looker_group", "=", "a.b-c-0-g2"), range(20, 25)
    )
    assert Selection.of_streams(content, [7]) == Selection(
        ("looker_uniquename", "=", "a.b-c-0-07"), (7,)
    )
    assert Selection.of_streams(content, [7, 21]) == Selection(
        ("looker_uniquename", "=~", "a[.]b-c-0-07|a[.]b-c-0-21"), (7, 21)
    )
