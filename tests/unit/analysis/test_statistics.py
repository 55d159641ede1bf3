"""The statistics of a comparison, against slow references, and by simulation."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looker.analysis import statistics
from looker.analysis.statistics import (
    MAX_EXACT_PAIRS,
    bootstrap_interval,
    holm,
    log_ratios,
    median_and_mad,
    n_pairs_needed,
    sign_flip_test,
    smallest_p,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# whole numbers: sums of them are exact, so that ties are ties in the reference too
DIFFERENCES = st.lists(st.integers(-1000, 1000), min_size=1, max_size=9)


def enumerated_p(differences: Sequence[int]) -> float:
    """Return the p-value by listing all flips."""
    seen = abs(sum(differences))
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(one >= seen for one in sums) / len(sums)


@given(DIFFERENCES)
def test_the_exact_test_counts_all_flips(differences: list[int]) -> None:
    found = sign_flip_test(np.array(differences, np.float64))
    assert found.exact
    assert found.p == enumerated_p(differences)


@given(DIFFERENCES, st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(differences: list[int], unit: float) -> None:
    found = sign_flip_test(unit * np.array(differences, np.float64))
    assert found.p == enumerated_p(differences)


def test_known_p_values() -> None:
    # all of one sign: only the choice seen and its mirror image are as far from zero
    for n in (1, 2, 5, 10, MAX_EXACT_PAIRS):
        assert sign_flip_test(np.linspace(1, 2, n)).p == 2 / 2**n
    assert sign_flip_test(np.zeros(6)).p == 1
    assert sign_flip_test(np.array([])).p == 1
    # the sums are 4, 6, -6 and -4: none is nearer to zero than the one seen
    assert sign_flip_test(np.array([5.0, -1.0])).p == 1
    # Darwin's maize, Fisher, The Design of Experiments (1935), section 21: the sums of 863 of 2**15
    # choices are 314 or more, and of as many -314 or less
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip_test(np.array(maize, np.float64)).p == 1726 / 2**15


def test_beyond_20_pairs_p_is_estimated_closely() -> None:
    random = np.random.default_rng(4)
    for mean in (0.0, 0.3, 0.6):
        differences = random.normal(mean, 1, MAX_EXACT_PAIRS)
        exact = sign_flip_test(differences).p
        bound = abs(differences.sum()) * (1 - 1e-12)
        estimated = statistics._estimated(differences, bound)
        error = 4 * math.sqrt(exact * (1 - exact) / statistics.N_FLIPS)
        assert abs(estimated - exact) <= error + 1 / statistics.N_FLIPS
    found = sign_flip_test(np.linspace(1, 2, 60))
    assert not found.exact
    assert found.p == 1 / (1 + statistics.N_FLIPS)
    assert sign_flip_test(np.zeros(60)).p == 1


SIDES = st.lists(
    st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=1, max_size=30
).map(np.array)


@given(SIDES, st.sampled_from([0.5, 0.8, 0.95, 0.99]))
@settings(max_examples=40)
def test_exchanging_the_sides_only_mirrors(sides: np.ndarray, confidence: float) -> None:
    forth, back = log_ratios(sides[:, 0], sides[:, 1]), log_ratios(sides[:, 1], sides[:, 0])
    assert forth is not None
    assert back is not None
    assert np.array_equal(forth, -back)
    assert sign_flip_test(forth) == sign_flip_test(back)
    one, other = bootstrap_interval(forth, confidence), bootstrap_interval(back, confidence)
    if len(sides) == 1:
        assert one is other is None
        return
    assert one is not None
    assert other is not None
    assert one == pytest.approx((-other[1], -other[0]), rel=1e-9, abs=1e-12)
    assert forth.min() <= one[0] <= one[1] <= forth.max()


def test_only_positive_figures_have_ratios() -> None:
    assert log_ratios(np.array([1.0, 0.0]), np.array([1.0, 2.0])) is None
    assert log_ratios(np.array([1.0, 1.0]), np.array([1.0, -2.0])) is None
    ratios = log_ratios(np.array([1.0, 8.0]), np.array([2.0, 2.0]))
    assert ratios == pytest.approx([math.log(2), -math.log(4)])


def test_median_and_deviation() -> None:
    # deviations from 3: 2, 1, 0, 1, 97
    assert median_and_mad(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == (3.0, 1.0)
    assert median_and_mad(np.array([7.0])) == (7.0, 0.0)


def slow_holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's correction as it is defined: a maximum over all that are not larger."""
    n = len(p_values)
    ranked = sorted((p, place) for place, p in enumerate(p_values))
    rank = {place: number for number, (_, place) in enumerate(ranked)}
    return [
        max(
            min(1.0, (n - rank[other]) * p_values[other])
            for other in range(n)
            if rank[other] <= rank[place]
        )
        for place in range(n)
    ]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert corrected == slow_holm(p_values)
    assert all(p <= one <= 1 for p, one in zip(p_values, corrected, strict=True))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.integers(1, 40), st.floats(0.001, 0.5))
def test_so_many_pairs_are_needed(n_tests: int, significance: float) -> None:
    n = n_pairs_needed(n_tests, significance)
    if n <= MAX_EXACT_PAIRS:
        assert smallest_p(n, n_tests) <= significance
    assert n == 1 or smallest_p(n - 1, n_tests) > significance


def test_what_few_pairs_can_reach() -> None:
    assert smallest_p(3, 1) == 0.25
    assert smallest_p(3, 8) == 1
    assert smallest_p(10, 8) == 8 * 2 / 1024
    assert n_pairs_needed(1, 0.05) == 6
    assert n_pairs_needed(8, 0.05) == 9
    # the bound is reached, not only promised
    one_sided = [sign_flip_test(np.linspace(1, 2, 9)).p] + 7 * [1.0]
    assert holm(one_sided)[0] == smallest_p(9, 8) <= 0.05


def n_false_alarms(n_comparisons: int, seed: int) -> int:
    """Return in how many comparisons of a target with itself some metric seems to differ.

    10 pairs and 8 metrics; the noise of a run is shared by its metrics in part, is skewed, and
    drifts from pair to pair.
    """
    random = np.random.default_rng(seed)
    n_alarms = 0
    for _ in range(n_comparisons):
        drift = random.normal(0, 0.2, (10, 1, 1))
        shared = random.normal(0, 0.05, (10, 2, 1))
        own = random.gamma(2, 0.03, (10, 2, 8))
        figures = 1000 * np.exp(drift + shared + own)
        p_values = []
        for metric in range(8):
            differences = log_ratios(figures[:, 0, metric], figures[:, 1, metric])
            assert differences is not None
            p_values.append(sign_flip_test(differences).p)
        n_alarms += min(holm(p_values)) <= 0.05
    return n_alarms


def test_no_difference_is_rarely_taken_for_one() -> None:
    assert n_false_alarms(400, seed=0) <= 0.05 * 400
    # and not by luck: of 3,000, no more than 5 % and three standard errors of it
    assert n_false_alarms(3000, seed=1) <= 0.05 * 3000 + 3 * math.sqrt(0.05 * 0.95 * 3000)


def test_a_difference_is_seen() -> None:
    random = np.random.default_rng(2)
    n_seen = 0
    for _ in range(200):
        differences = random.normal(math.log(0.95), 0.02, 10)
        n_seen += holm([sign_flip_test(differences).p] + 7 * [1.0])[0] <= 0.05
    # 5 % against noise of 2 %, ten pairs, one of eight metrics
    assert n_seen >= 190


@pytest.mark.parametrize(("n_pairs", "at_least"), [(6, 0.90), (10, 0.90), (20, 0.91)])
def test_the_interval_holds_the_median_about_as_often_as_it_says(
    n_pairs: int, at_least: float
) -> None:
    random = np.random.default_rng(3)
    n_held = 0
    for _ in range(300):
        interval = bootstrap_interval(random.normal(0.1, 0.05, n_pairs), 0.95)
        assert interval is not None
        n_held += interval[0] <= 0.1 <= interval[1]
    assert at_least * 300 <= n_held <= 0.985 * 300
