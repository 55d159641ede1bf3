"""Points and their names, the order of runs, and their seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.sweep.definition import Definition, Order, SweepTarget
from looker.sweep.plan import Point, plan_of, points_of

TARGETS: Final = [SweepTarget(name, {"url": f"http://{name}", "n": 1}) for name in "abc"]
SMALL: Final = Definition(
    {"mode": "logs", "n": 0, "x": 5}, {"k": [1, 2], "m": ["u", "v"]}, TARGETS[:2], repeats=2
)


def test_points_are_all_combinations_the_last_option_changing_fastest() -> None:
    assert points_of(SMALL) == [
        Point("k=1,m=u", {"k": 1, "m": "u"}),
        Point("k=1,m=v", {"k": 1, "m": "v"}),
        Point("k=2,m=u", {"k": 2, "m": "u"}),
        Point("k=2,m=v", {"k": 2, "m": "v"}),
    ]
    assert points_of(replace(SMALL, matrix={})) == [Point("base", {})]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False], ["k=true", "k=false"]),
        ([1.5, 2], ["k=1.5", "k=2"]),
        ([["x > 1", "y"], ["z"]], ["k=x_1+y", "k=z"]),
        ([{"env": "a", "n": "b"}], ["k=env.a+n.b"]),
        # names that would be one directory, or none, or too long
        (["a/b", "a b", "c"], ["k=a_b", "k=a_b~2", "k=c"]),
        (["../../x"], ["k=.._.._x"]),
        (["y" * 300], ["point-8e385b207f6f"]),
    ],
)
def test_names_of_points_are_those_of_directories(values: list[Any], names: list[str]) -> None:
    assert [point.name for point in points_of(replace(SMALL, matrix={"k": values}))] == names


def test_names_of_points_hold_no_secret() -> None:
    """Field case 54."""
    for url in ("http://me:sec/ret#@a", "me:secret@a", "http://me:secret@a"):
        matrix = {"url": [url, "http://you@a", "http://b"]}
        names = [point.name for point in points_of(replace(SMALL, matrix=matrix))]
        assert names[2] == "url=http_b"
        assert not any("ret" in name or "me" in name for name in names)


def test_targets_take_turns_forth_and_back() -> None:
    order = [(run.repeat, run.point.name, run.target.name) for run in plan_of(SMALL).runs]
    points = ["k=1,m=u", "k=1,m=v", "k=2,m=u", "k=2,m=v"]
    assert order == [
        *((1, point, target) for point in points for target in "ab"),
        *((2, point, target) for point in points for target in "ba"),
    ]


def test_options_of_a_point_beat_those_of_a_target_and_these_the_base() -> None:
    run = plan_of(SMALL).runs[1]
    assert run.options == {
        "mode": "logs",
        "x": 5,
        "n": 1,
        "url": "http://b",
        "k": 1,
        "m": "u",
    }
    assert str(run.place) == "b/k=1,m=u/1"


@given(
    n_targets=st.integers(1, 3),
    n_values=st.integers(1, 4),
    repeats=st.integers(1, 5),
    order=st.sampled_from(Order),
    seed=st.integers(0, 2**64),
)
def test_every_plan_is_balanced(
    n_targets: int, n_values: int, repeats: int, order: Order, seed: int
) -> None:
    definition = Definition(
        {}, {"k": list(range(n_values))}, TARGETS[:n_targets], repeats, order, seed
    )
    runs = plan_of(definition).runs
    assert set(Counter(run.place for run in runs).values()) == {1}
    assert len(runs) == n_targets * n_values * repeats
    # whatever repeat is cut off, those before it are whole
    assert [run.repeat for run in runs] == sorted(run.repeat for run in runs)
    # each target is given the same content
    by_content: dict[tuple[str, int], set[int]] = {}
    for run in runs:
        by_content.setdefault((run.point.name, run.repeat), set()).add(run.seed)
    assert {len(seeds) for seeds in by_content.values()} == {1}
    assert len({run.seed for run in runs}) == n_values * repeats
    assert all(0 <= run.seed < 2**53 for run in runs)
    # more repeats later do not change what has been
    longer = plan_of(replace(definition, repeats=repeats + 1)).runs
    assert longer[: len(runs)] == runs


def test_a_random_order_depends_on_the_seed_alone() -> None:
    many = replace(SMALL, order=Order.RANDOM, repeats=8)
    places = [run.place for run in plan_of(many).runs]
    assert places == [run.place for run in plan_of(many).runs]
    assert places != [run.place for run in plan_of(replace(many, seed=2)).runs]
    assert places != [run.place for run in plan_of(replace(many, order=Order.INTERLEAVED)).runs]
