"""What a comparison of repeated runs rests on; pure functions of columns of figures.

Repeats of two sides are pairs, in the order in which they ran: what both of a pair suffer from
(a host that is slow for an hour) cancels out. All random numbers have a fixed seed, so the same
figures always give the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_EXACT_PAIRS: Final = 20
"""Up to so many pairs all 2**n flips are counted; beyond, a random sample of them."""
N_FLIPS: Final = 99_999
N_RESAMPLES: Final = 10_000
_SEED: Final = 1
_BLOCK: Final = 1 << 20
_TIE: Final = 1e-12
"""Sums this close, relative to the sum of magnitudes, differ by rounding only."""


@dataclass(frozen=True, slots=True)
class SignFlip:
    """The p-value of a sign-flip test; ``exact`` if all flips were counted."""

    p: float
    exact: bool


def median_and_mad(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and the median absolute deviation from it, of at least one value."""
    median = float(np.median(values))
    return median, float(np.median(np.abs(values - median)))


def log_ratios(
    baseline: NDArray[np.float64], contender: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return log(contender / baseline) of each pair, float64[n]; None where a value is not > 0.

    Logarithms make "twice" and "half" differences of one size, so that exchanging the sides only
    changes signs.
    """
    if min(baseline.min(), contender.min()) <= 0:
        return None
    return np.log(contender) - np.log(baseline)


def sign_flip_test(differences: NDArray[np.float64]) -> SignFlip:
    """Test that the differences of pairs, float64[n], are symmetric about zero; two-sided.

    If the sides do not differ, each pair could as well have come out the other way round: p is the
    share of all 2**n choices of signs whose sum is at least as far from zero as the one seen
    (Fisher 1935; Good, Permutation Tests, 2000). Beyond 20 pairs it is estimated from 99,999
    random choices and the one seen, (1 + hits) / (1 + choices): a p-value in its own right, and
    never 0 (Phipson and Smyth 2010).
    """
    n_pairs = len(differences)
    if not n_pairs:
        return SignFlip(1.0, exact=True)
    bound = abs(float(differences.sum())) - _TIE * float(np.abs(differences).sum())
    if n_pairs > MAX_EXACT_PAIRS:
        return SignFlip(_estimated(differences, bound), exact=False)
    # the first sign stays: the other half of the choices are mirror images
    sums = differences[:1].copy()
    for difference in differences[1:]:
        sums = np.concatenate((sums + difference, sums - difference))
    return SignFlip(float(np.mean(np.abs(sums) >= bound)), exact=True)


def _estimated(differences: NDArray[np.float64], bound: float) -> float:
    random = np.random.default_rng(_SEED)
    n_rows = max(1, _BLOCK // len(differences))
    n_hits = 0
    for begin in range(0, N_FLIPS, n_rows):
        shape = (min(n_rows, N_FLIPS - begin), len(differences))
        flips = random.integers(0, 2, shape, dtype=np.int8)
        sums = (2.0 * flips - 1.0) @ differences
        n_hits += int(np.count_nonzero(np.abs(sums) >= bound))
    return (1 + n_hits) / (1 + N_FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number, in the same order (Holm 1979).

    The chance that any of them falls to a bound or below though none of the sides differ is at
    most that bound, however the figures depend on each other.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    ascending = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def bootstrap_interval(
    differences: NDArray[np.float64], confidence: float
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the median of float64[n] (Efron 1979).

    None with less than two values. Exchanging the sides mirrors it. The median of few values
    cannot be bounded with much certainty: that of n lies between the smallest and the largest
    with a chance of 1 - 2/2**n.
    """
    n_values = len(differences)
    if n_values < 2:
        return None
    random = np.random.default_rng(_SEED)
    n_rows = max(1, _BLOCK // n_values)
    medians = np.concatenate(
        [
            np.median(
                differences[
                    random.integers(0, n_values, (min(n_rows, N_RESAMPLES - row), n_values))
                ],
                axis=1,
            )
            for row in range(0, N_RESAMPLES, n_rows)
        ]
    )
    low, high = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def smallest_p(n_pairs: int, n_tests: int) -> float:
    """Return the smallest corrected p-value that so many pairs can reach in one of the tests."""
    alone = 2 * 2.0**-n_pairs if n_pairs <= MAX_EXACT_PAIRS else 1 / (1 + N_FLIPS)
    return min(1.0, alone * n_tests)


def n_pairs_needed(n_tests: int, significance: float) -> int:
    """Return the smallest number of pairs with which one of the tests can show a difference."""
    return next(n for n in count(1) if n_tests * 2 * 2.0**-n <= significance)
