"""A bounded random choice of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from looker.model.fragment import LEDGER_DTYPE
from looker.verify.reservoir import Reservoir
from referee import ACKED, MAYBE, REJECTED


def make_rows(numbers: range) -> np.ndarray[Any, Any]:
    rows = np.zeros(len(numbers), LEDGER_DTYPE)
    rows["stream"], rows["state"] = list(numbers), ACKED
    return rows


def test_it_keeps_all_while_there_is_room_and_never_more() -> None:
    kept = Reservoir(100, np.random.default_rng(1))
    assert len(kept) == 0
    assert [len(part) for part in kept.choose(4)] == [0, 0]
    kept.add(make_rows(range(60)), 3)
    rows, generations = kept.choose(100)
    assert sorted(rows["stream"].tolist()) == list(range(60))
    assert set(generations.tolist()) == {3}
    for batch in range(50):
        kept.add(make_rows(range(60 + 70 * batch, 130 + 70 * batch)), 4)
        assert len(kept) == 100
    rows, generations = kept.choose(1000)
    assert len(set(rows["stream"].tolist())) == 100
    # each row keeps the generation that it came with
    assert ((rows["stream"] < 60) == (generations == 3)).all()


def test_only_acknowledged_rows_are_kept() -> None:
    kept = Reservoir(100, np.random.default_rng(1))
    rows = make_rows(range(40))
    rows["state"] = [0, ACKED, REJECTED, MAYBE] * 10
    kept.add(rows, 0)
    assert sorted(kept.choose(100)[0]["stream"].tolist()) == list(range(1, 40, 4))
    kept.add(make_rows(range(0)), 0)
    assert len(kept) == 10


def test_every_row_has_the_same_chance_whenever_it_came() -> None:
    """300 trials of 30 out of 300: a tenth of the rows is kept 900 times, give or take 4 sigma."""
    counts = np.zeros(300, np.int64)
    for trial in range(300):
        kept = Reservoir(30, np.random.default_rng(trial))
        for first in range(0, 300, 25):
            kept.add(make_rows(range(first, first + 25)), 0)
        counts[kept.choose(30)[0]["stream"]] += 1
    assert counts.sum() == 9000
    tenths = counts.reshape(10, 30).sum(axis=1)
    assert (abs(tenths - 900) < 4 * np.sqrt(900)).all()
