"""What a predictor keeps between answers is used again for pages of any shape and order."""

from __future__ import annotations

import numpy as np
import pytest

import referee
from looker.verify.log_answer import LogAnswers
from looker.verify.log_prediction import _Walk
from looker.wire.loki_answer import RowForm
from referee import Elements, History

EVEN = referee.history(n_streams=4, n_samples=9)
RAGGED = EVEN.changed(1, cycle=1)


def inside(history: History, start_ns: int, end_ns: int) -> bytes:
    elements: Elements = [
        (own, [row for row in rows if start_ns <= row[0] < end_ns])
        for own, rows in history.elements()
    ]
    return referee.streams_response([one for one in elements if one[1]])


@pytest.mark.parametrize("history", [EVEN, RAGGED], ids=["even", "ragged"])
def test_pages_of_changing_sizes_stay_predicted(history: History) -> None:
    answers = LogAnswers(history.content)
    for max_samples in (5, 40, 7, 23, 3, 40, 5):
        for page in history.pages(max_samples):
            body = inside(history, page.start_ns, page.end_ns)
            proof = answers._predicted(body, page.expectation.required_only())
            fresh = LogAnswers(history.content)._predicted(body, page.expectation.required_only())
            assert proof is not None
            assert fresh is not None
            assert np.array_equal(proof.sums.values, fresh.sums.values)


@pytest.mark.parametrize("n_behind", [0, 2, 3, 9])
def test_words_end_where_the_line_does_whatever_stands_behind_it(n_behind: int) -> None:
    body = b"x0123456789abcy0123456789abc" + b"z" * n_behind
    row = RowForm(13, b"", frozenset())
    walk = _Walk(body, 0, row, None)  # type: ignore[arg-type]
    words = walk._gathered(np.array([1, 15]))
    line = [int.from_bytes(part, "little") for part in (b"01234567", b"89abc")]
    assert words.tolist() == [line, line]
