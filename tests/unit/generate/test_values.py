"""Metric values: what every server can keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.generate.mixer import fragment_keys
from looker.generate.values import ValueContent
from looker.model.config import Compressability

EVERY = list(Compressability)
words = st.integers(0, 2**64 - 1)


def made(compressability: Compressability, per_fragment: int = 10) -> np.ndarray:
    """Return 200,000 values of fragments of some samples each."""
    numbers = np.arange(200_000 // per_fragment, dtype=np.uint32)
    keys = fragment_keys(5, 0, np.zeros_like(numbers), numbers)
    return ValueContent(compressability).bits(keys, slice(0, per_fragment)).reshape(-1)


@given(
    st.lists(st.tuples(words, st.integers(0, 10**7)), min_size=1, max_size=30),
    st.sampled_from(Compressability),
)
def test_values_are_the_referees(
    places: list[tuple[int, int]], compressability: Compressability
) -> None:
    keys = np.array([key for key, _ in places], np.uint64)
    bits = ValueContent(compressability).bits_at(keys, np.array([at for _, at in places]))
    assert bits.dtype == np.uint64
    assert bits.tolist() == [referee.key_bits(*place, compressability) for place in places]


@pytest.mark.parametrize("compressability", EVERY)
@pytest.mark.parametrize("raw", [0, 1, 1 << 63, 2**64 - 1, 2**63 - 1, 0x7FF << 52])
def test_extreme_keys_give_ordinary_numbers(raw: int, compressability: Compressability) -> None:
    keys = np.array([raw], np.uint64)
    values = ValueContent(compressability).bits(keys, slice(0, 1000)).view(np.float64)
    assert (np.abs(values) >= 2.0**-15).all()
    assert (np.abs(values) < 2.0).all()


@pytest.mark.parametrize("per_fragment", [1, 10, 20_000])
def test_min_spends_all_bits_of_the_mantissa(per_fragment: int) -> None:
    bits = made(Compressability.MIN, per_fragment)
    values = bits.view(np.float64)
    assert np.isfinite(values).all()
    assert (np.abs(values) >= 2.0**-15).all()
    assert (np.abs(values) < 2.0).all()
    for bit in (*range(52), 63):
        share = float(((bits >> np.uint64(bit)) & np.uint64(1)).mean())
        assert abs(share - 0.5) < 0.006, bit
    assert len(np.unique(bits)) == 200_000
    exponents = np.bincount(((bits >> np.uint64(52)) & np.uint64(0xF)).astype(np.int64))
    assert len(exponents) == 16
    assert float(((exponents - 12_500.0) ** 2 / 12_500.0).sum()) < 45  # 15 degrees of freedom


def test_medium_leaves_the_low_half_empty() -> None:
    bits = made(Compressability.MEDIUM)
    assert not (bits & np.uint64(0xFFFF_FFFF)).any()
    full = made(Compressability.MIN)
    assert np.array_equal(bits >> np.uint64(32), full >> np.uint64(32))


def test_max_is_one() -> None:
    bits = made(Compressability.MAX)
    assert bits.shape == (200_000,)
    assert (bits.view(np.float64) == 1.0).all()
