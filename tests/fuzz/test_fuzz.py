"""Bounded fuzzing of every decoder: a few thousand cases of the driver's, and hypothesis' own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from drive import case, fuzz
from hypothesis import given
from hypothesis import strategies as st
from mutation import mutated
from surfaces import Surface, surfaces

SURFACES = {surface.name: surface for surface in surfaces()}


@pytest.fixture(params=SURFACES.values(), ids=SURFACES)
def surface(request: pytest.FixtureRequest) -> Surface:
    found: Surface = request.param
    return found


def test_what_cases_are_made_of_is_taken(surface: Surface) -> None:
    seeds = surface.seeds
    n_taken = sum(surface.check(seed) for seed in seeds)
    assert n_taken > 0
    if "answers" in surface.name and "preflight" not in surface.name:
        assert n_taken == len(seeds)


def test_a_case_is_played_again_as_it_was(surface: Surface) -> None:
    again = SURFACES[surface.name]
    assert [case(surface, 1, n) for n in range(50)] == [case(again, 1, n) for n in range(50)]
    assert len({case(surface, 1, n) for n in range(50)}) > 20


def test_mutated_bytes_have_no_finding(surface: Surface) -> None:
    found = fuzz(surface, seed=1, first=0, n_cases=300 * surface.weight)
    assert found["findings"] == {}, "\n".join(found["shown"])
    # neither is everything refused, nor anything taken
    assert 0 < found["taken"] <= found["n"]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_refused(raw: bytes) -> None:
    for surface in SURFACES.values():
        surface.check(raw)


@given(st.data())
def test_any_cut_and_any_byte_of_a_seed_is_a_value_or_refused(data: st.DataObject) -> None:
    for surface in SURFACES.values():
        seed = data.draw(st.sampled_from(surface.seeds))
        cut = data.draw(st.integers(0, len(seed)))
        surface.check(seed[:cut])
        if seed:
            at = data.draw(st.integers(0, len(seed) - 1))
            byte = data.draw(st.integers(0, 255))
            surface.check(seed[:at] + bytes([byte]) + seed[at + 1 :])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_value_or_refused(value: object) -> None:
    raw = json_bytes(value)
    for surface in SURFACES.values():
        surface.check(raw)
        surface.check(b'{"status":"success","data":{"resultType":"matrix","result":[%b]}}' % raw)
        surface.check(b'{"status":"success","data":{"resultType":"streams","result":[%b]}}' % raw)


def json_bytes(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def test_a_comparison_that_accepts_too_much_is_found() -> None:
    """The referee itself: an answer that is not the same, and is accepted, is a finding."""
    surface = SURFACES["matrix answers"]
    other = surface.seeds[0].replace(b'"-0.0', b'"-0.1')
    assert other != surface.seeds[0]
    compare = surface.check
    honest = compare._compare  # type: ignore[attr-defined]
    try:
        compare._compare = lambda _body: honest(surface.seeds[0])  # type: ignore[attr-defined]
        with pytest.raises(AssertionError, match="accepted what is not the same"):
            compare(other)
    finally:
        compare._compare = honest  # type: ignore[attr-defined]


def test_the_driver_counts_and_ends_well() -> None:
    driver = Path(__file__).with_name("drive.py")
    done = subprocess.run(
        [sys.executable, str(driver), "--cases", "2000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("1,99")
    assert "0 finding(s)" in done.stdout.splitlines()[-1]


def test_mutation_is_bounded() -> None:
    chance = random.Random(1)  # noqa: S311 - to be the same each time
    seeds = [b"x" * 60_000, b"[1]"]
    assert all(len(mutated(seeds[0], seeds, chance)) <= 1 << 16 for _ in range(40))
