"""Metric values: what every server can keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.generate.mixer import sample_hashes
from looker.generate.values import value_bits
from looker.model.config import Compressability

EVERY = list(Compressability)


def hashes() -> np.ndarray:
    return sample_hashes(np.uint64(5) + np.zeros(1, np.uint64), np.arange(200_000, dtype=np.uint64))


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30), st.sampled_from(Compressability)
)
def test_values_are_the_referees(raw: list[int], compressability: Compressability) -> None:
    bits = value_bits(np.array(raw, np.uint64), compressability)
    assert bits.dtype == np.uint64
    assert bits.tolist() == [referee.hash_bits(one, compressability) for one in raw]


@pytest.mark.parametrize("compressability", EVERY)
@pytest.mark.parametrize("raw", [0, 1, 1 << 63, 2**64 - 1, 2**63 - 1, 0x7FF << 52])
def test_extreme_hashes_give_ordinary_numbers(raw: int, compressability: Compressability) -> None:
    (value,) = value_bits(np.array([raw], np.uint64), compressability).view(np.float64).tolist()
    assert 2.0**-15 <= abs(value) < 2.0


def test_min_spends_all_bits_of_the_mantissa() -> None:
    bits = value_bits(hashes(), Compressability.MIN)
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
    bits = value_bits(hashes(), Compressability.MEDIUM)
    assert not (bits & np.uint64(0xFFFF_FFFF)).any()
    full = value_bits(hashes(), Compressability.MIN)
    assert np.array_equal(bits >> np.uint64(32), full >> np.uint64(32))


def test_max_is_one() -> None:
    bits = value_bits(hashes().reshape(2, -1), Compressability.MAX)
    assert bits.shape == (2, 100_000)
    assert (bits.view(np.float64) == 1.0).all()
