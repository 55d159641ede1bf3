"""What a sweep can show is said before its night is spent: field case 23."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.comparison import compare
from looker.analysis.foresight import Foresight, foreseen
from looker.analysis.sides import read_matches
from servers import run_config
from sweeps import plan_for, swept

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("foresight", "is_enough", "said"),
    [
        (
            Foresight(5, 1, 1, 9),
            False,
            (
                "5 repeats cannot show any difference with 95 % certainty: 9 metrics want 9; for a"
                " single metric (compare --metric) 6 are wanted"
            ),
        ),
        (
            Foresight(7, 2, 3, 9),
            False,
            (
                "7 repeats cannot show any difference with 95 % certainty at a single point:"
                " 9 metrics of 3 targets against the first one want 11; all 2 points together, 14"
                " pairs, can; for a single metric (compare --metric) 6 are enough"
            ),
        ),
        (
            Foresight(1, 2, 1, 2),
            False,
            (
                "1 repeat cannot show any difference with 95 % certainty at a single point:"
                " 2 metrics want 7; all 2 points together, 2 pairs, cannot either; for a single"
                " metric (compare --metric) 6 are wanted"
            ),
        ),
        (
            Foresight(10, 1, 1, 9),
            True,
            "10 repeats can show a difference with 95 % certainty: 9 are the fewest for 9 metrics",
        ),
    ],
)
def test_what_repeats_can_show(foresight: Foresight, is_enough: bool, said: str) -> None:
    assert (foresight.is_enough, foresight.told()) == (is_enough, said)


@pytest.mark.parametrize(
    ("changes", "n_metrics"),
    [
        ({}, 9),
        ({"skip_read": True}, 7),
        ({"target_metrics_url": "off"}, 7),
        ({"skip_read": True, "target_metrics_url": "off"}, 5),
    ],
)
def test_metrics_that_no_run_has_are_not_counted(changes: dict[str, Any], n_metrics: int) -> None:
    configs = [run_config(None), run_config(None, **changes)]
    found = foreseen(configs, n_repeats=3, n_points=1, n_targets=2)
    assert (found.n_metrics, found.n_contenders) == (n_metrics, 1)
    assert foreseen(configs, n_repeats=3, n_points=1, n_targets=1).n_contenders == 1


@pytest.mark.parametrize("n_repeats", [8, 9])
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_compare_says_the_same_afterwards(tmp_path: Path, n_repeats: int, names: str) -> None:
    plan = plan_for(*names, repeats=n_repeats)
    swept(tmp_path, plan, lambda run: 100 + 50 * (run.target.name == "b") + run.repeat)
    matches = read_matches(tmp_path, ())
    found = compare(matches.matches, notes=matches.notes)
    n_metrics = len(found.contests[0].differences)
    before = Foresight(n_repeats, 1, len(names) - 1, n_metrics)
    assert found.n_tests == before.n_tests
    told = " ".join(found.notes)
    assert f"95 % certainty wants {before.n_pairs_wanted} pairs" in told
    assert ("no difference can be shown" in told) is not before.is_enough
