"""Two proofs: what is regenerated, and the checksum of what was sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import referee
from looker.errors import ExitCode, InternalError
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import RemoteReadAnswers
from looker.verify.proof import ChecksumLedger, PageProof
from referee import MAYBE, History


@pytest.fixture(params=["logs", "metrics"])
def history(request: pytest.FixtureRequest) -> History:
    return referee.history(metrics=request.param == "metrics")


def prove(
    history: History, elements: referee.Elements, max_samples: int = 10**9
) -> list[PageProof]:
    metrics = history.content.scheme.metrics
    proofs = []
    for page in history.pages(max_samples):
        part = [
            (own, [one for one in samples if page.start_ns <= one[0] < page.end_ns])
            for own, samples in elements
        ]
        part = [element for element in part if element[1]]
        if metrics:
            answers: Any = RemoteReadAnswers(history.content)
            body = referee.read_response(part)
        else:
            answers, body = LogAnswers(history.content), referee.streams_response(part)
        proofs.append(answers.compare(body, page.expectation))
    return proofs


def check(
    history: History,
    proofs: list[PageProof],
    rows: np.ndarray[Any, Any] | None = None,
    cycle: int = 0,
) -> int:
    ledger = ChecksumLedger(history.rows() if rows is None else rows, history.content)
    for proof in proofs:
        ledger.add(proof)
    return ledger.check(cycle)


@pytest.mark.parametrize("max_samples", [1, 3, 5, 8, 100])
def test_pages_add_up_to_the_checksum_of_sending(history: History, max_samples: int) -> None:
    proofs = prove(history, history.elements(), max_samples)
    assert len(proofs) >= min(8, 24 // max_samples)
    assert check(history, proofs) == 6
    # one page less: its fragments are not proved, and nothing contradicts
    assert check(history, proofs[1:]) < 6
    assert check(history, []) == 0


def test_sums_are_the_referees(history: History) -> None:
    (proof,) = prove(history, history.elements())
    by_row = referee.sums_by_row(proof)
    assert [by_row[row, 0] for row in range(6)] == history.rows()["checksum"].tolist()


def test_only_fragments_of_the_cycle_are_counted(history: History) -> None:
    proofs = prove(history, history.elements())
    rows = history.rows()
    rows["cycle"][:2] = 1
    assert check(history, proofs, rows, cycle=0) == 4
    assert check(history, proofs, rows, cycle=1) == 2
    assert check(history, proofs, rows, cycle=2) == 0


def test_an_indeterminate_fragment_that_came_whole_is_proved(history: History) -> None:
    history = history.changed(2, state=MAYBE)
    assert check(history, prove(history, history.elements())) == 5
    assert check(history, prove(history, history.elements(optional=True))) == 6


def test_other_content_when_sending_is_a_contradiction(history: History) -> None:
    proofs = prove(history, history.elements())
    rows = history.rows()
    rows["checksum"][3] ^= 1
    with pytest.raises(
        InternalError, match=r"1 fragment\(s\), first stream 1, fragment 1"
    ) as caught:
        check(history, proofs, rows)
    assert caught.value.exit_code is ExitCode.INTERNAL


def test_what_was_sent_came_back_but_is_not_what_is_regenerated(history: History) -> None:
    elements = history.elements()
    time_ns, value = elements[0][1][5]
    elements[0][1][5] = (time_ns, value ^ 4 if isinstance(value, int) else value[:-1] + "~")
    proofs = prove(history, elements)
    assert check(history, proofs) == 5  # the target's fault: corrupt, and not what was sent
    rows = history.rows()
    rows["checksum"][1] = referee.checksum(elements[0][1][4:])
    with pytest.raises(InternalError, match="first stream 0, fragment 1"):
        check(history, proofs, rows)


def test_a_contradiction_in_an_incomplete_fragment_is_none(history: History) -> None:
    elements = history.elements()
    del elements[0][1][5]
    rows = history.rows()
    rows["checksum"][1] ^= 1
    assert check(history, prove(history, elements), rows) == 5


def test_fragments_across_a_bound_are_proved_by_both_sides(history: History) -> None:
    """What the first window has seen of them is carried into the second."""
    proofs = prove(history, history.elements(), 3)
    whole = history.rows()
    first = ChecksumLedger(whole, history.content)
    # the later window has rows of its own, and of some fragments only
    kept = [1, 2, 4, 5]
    second = ChecksumLedger(whole[kept], history.content)
    for proof in proofs[: len(proofs) // 2]:
        first.add(proof)
    proved_before = first.check(None)
    second.carry(first)
    for proof in proofs[len(proofs) // 2 :]:
        at = proof.expectation.rows
        keep = np.isin(at, kept)
        renamed = replace(proof.expectation.of(keep), rows=np.searchsorted(kept, at[keep]))
        second.add(
            PageProof(
                renamed,
                proof.findings,
                proof.n_received,
                proof.seen[keep],
                proof.exact[keep],
                replace(proof.sums, values=proof.sums.values[keep]),
            )
        )
    assert 0 < proved_before < 6
    assert second.check(None) == 4
    ChecksumLedger(whole[:0], history.content).carry(first)
    empty = ChecksumLedger(whole[kept], history.content)
    empty.carry(ChecksumLedger(whole[:0], history.content))
    assert empty.check(None) == 0


def test_all_cycles_may_be_counted(history: History) -> None:
    rows = history.rows()
    rows["cycle"][:2] = 1
    ledger = ChecksumLedger(rows, history.content)
    for proof in prove(history, history.elements()):
        ledger.add(proof)
    assert (ledger.check(None), ledger.check(0), ledger.check(1)) == (6, 4, 2)
