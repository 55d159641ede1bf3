"""Choosing a fraction of the streams."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.engine.verify_run import sample


@given(st.integers(1, 300), st.integers(1, 40), st.floats(0.001, 0.999), st.integers(0, 2**64 - 1))
def test_the_share_is_right_and_does_not_depend_on_the_workers(
    n_streams: int, size: int, fraction: float, seed: int
) -> None:
    content = referee.make_content(n_streams=n_streams, group_size=size)
    choose = sample(content, fraction, seed)
    assert choose is not None
    chosen = choose(0, n_streams).tolist()
    assert len(chosen) == math.ceil(fraction * n_streams) >= 1
    assert chosen == sorted(set(chosen))
    assert chosen[-1] < n_streams
    middle = n_streams // size // 2 * size
    parts = [choose(*part).tolist() for part in ((0, middle), (middle, n_streams)) if part[1]]
    assert [stream for part in parts for stream in part] == chosen


def test_all_streams_need_no_choice() -> None:
    assert sample(referee.make_content(), 1.0, 1) is None


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_seeds_and_generations_choose_differently(fraction: float) -> None:
    def chosen(seed: int, generation: int) -> set[int]:
        content = referee.make_content(n_streams=1000, group_size=100, generation=generation)
        choose = sample(content, fraction, seed)
        assert choose is not None
        return set(choose(0, 1000).tolist())

    one = chosen(1, 0)
    assert chosen(1, 0) == one
    for other in (chosen(2, 0), chosen(1, 1)):
        # by chance, a fraction of a fraction is in both
        assert abs(len(one & other) - 1000 * fraction**2) < 5 * np.sqrt(1000 * fraction**2)
