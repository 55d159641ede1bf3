"""Sums of fragments that have several blocks, or unlike pieces, from answers cut anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import referee
from looker.model.mismatch import MismatchKind
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers
from looker.verify.proof import ChecksumLedger
from looker.wire.checksum_of_format_2 import ChecksumOfFormat2
from referee import MAYBE, MS, Elements, History

LONG = referee.history(n_streams=2, n_chars=20_000, n_samples=15)
"""Six lines make up a block: three blocks in a fragment."""
UNLIKE = LONG.changed(3, state=MAYBE).changed(1, cycle=1)


def proved(history: History, max_samples: int, *, full: bool) -> int:
    """Read page by page, predicted or aligned; return how many fragments are proved."""
    ledger = ChecksumLedger(history.rows(), history.content)
    answers = LogAnswers(history.content)
    elements = history.elements()
    for page in history.pages(max_samples):
        inside: Elements = [
            (own, [row for row in rows if page.start_ns <= row[0] < page.end_ns])
            for own, rows in elements
        ]
        body = referee.streams_response([one for one in inside if one[1]])
        if full:
            ledger.add(answers._aligned(body, page.expectation))
        else:
            proof = answers._predicted(body, page.expectation.required_only())
            assert proof is not None
            ledger.add(proof)
    return ledger.check(None)


@pytest.mark.parametrize("full", [False, True], ids=["predicted", "aligned"])
@pytest.mark.parametrize("max_samples", [7, 40])
def test_long_fragments_are_proved_however_pages_cut_them(max_samples: int, full: bool) -> None:
    assert LONG.content.checksum().n_blocks == 3
    assert proved(LONG, max_samples, full=full) == 4


@pytest.mark.parametrize("full", [False, True], ids=["predicted", "aligned"])
def test_streams_with_unlike_pieces_are_proved(full: bool) -> None:
    assert proved(UNLIKE, 40, full=full) == 3


@pytest.mark.parametrize("at", [0, 14])
def test_a_swap_across_blocks_is_not_as_sent(at: int) -> None:
    elements = LONG.elements()
    rows = elements[1][1]
    other = (at + 7) % 15
    rows[at], rows[other] = (rows[at][0], rows[other][1]), (rows[other][0], rows[at][1])
    ledger = ChecksumLedger(LONG.rows(), LONG.content)
    answers = LogAnswers(LONG.content)
    ledger.add(answers.compare(referee.streams_response(elements), LONG.page().expectation))
    as_sent = ledger._checksums() == LONG.rows()["checksum"]
    assert as_sent.tolist() == [number != 2 for number in range(4)]
    assert ledger.check(0) == 3


FORMER = referee.history(metrics=True)
FORMER = replace(FORMER, content=replace(FORMER.content, summed_by=ChecksumOfFormat2))


def test_a_change_that_a_checksum_does_not_see_is_no_fault_of_lookers() -> None:
    """Field case 38: the comparison of the bytes decides; they are corrupt, and not proved."""
    content, rows = FORMER.content, FORMER.rows()
    checksum = content.checksum()
    values = [[bits for _, bits in FORMER.samples(one)] for one in FORMER.written]
    sums = np.zeros((len(rows), 1), np.uint64)
    checksum.add_rows(sums, np.array(values, np.uint64)[..., None], slice(0, content.n_samples))
    # a ledger of format 2 holds them with what the times add
    nothing = np.zeros(len(rows), np.uint64)
    rows["checksum"] = sums[:, 0] - checksum.of_content(nothing, rows["start_ns"], content.step_ns)
    elements: Elements = [
        (own, [(time, bits ^ 1 << 63) for time, bits in samples])
        for own, samples in FORMER.elements()
    ]
    page = FORMER.page()
    body = referee.matrix_response(elements)
    proof = QueryAnswers().compare(body, page.expectation, page.start_ns // MS)
    ledger = ChecksumLedger(rows, content)
    ledger.add(proof)
    assert (ledger._checksums() == ledger._sent).all()
    assert ledger.check(0) == 0
    assert proof.findings.counts[MismatchKind.CORRUPT] == 24
