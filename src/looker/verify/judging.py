"""Judging a parsed answer by a mode: which contents count as the same, and what is validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from looker.model.config import VerifyMode
from looker.model.mismatch import MismatchKind
from looker.verify.alignment import align
from looker.verify.proof import PageProof, proof_of_aligned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from looker.model.mismatch import Findings
    from looker.verify.alignment import Received, Samples
    from looker.verify.expectation import Expectation
    from looker.wire.statements import Statement


def judge(
    mode: VerifyMode,
    expectation: Expectation,
    received: Received,
    samples: Samples,
    findings: Findings,
) -> PageProof:
    """Align the samples of an answer, and return what that proves in a mode."""
    judged: Samples = samples
    if mode is not VerifyMode.CONTENT:
        judged = _Unregenerated(samples, by_sum=mode is VerifyMode.CHECKSUM)
    aligned = align(expectation, received, judged, findings)
    words = judged.words(aligned.received)
    n_received = len(received.timestamps_ns)
    proof = proof_of_aligned(expectation, aligned, words, findings, n_received, judged)
    return undecided(mode, proof)


def note_statements(findings: Findings, said: Iterable[Statement]) -> None:
    """Note what an answer says of itself, and that this may explain what is missing from it."""
    for one in said:
        findings.state(one.text)
        if one.explains:
            findings.n_missing_explained = findings.counts[MismatchKind.MISSING]
            findings.says_partial = True


def undecided(mode: VerifyMode, proof: PageProof) -> PageProof:
    """Validate nothing by checksum yet: only whole fragments can be judged, when all has come."""
    if mode is VerifyMode.CHECKSUM:
        proof.findings.n_validated = proof.findings.n_optional_seen = 0
    return proof


@dataclass(frozen=True, eq=False, slots=True)
class _Unregenerated:
    """Samples whose content is not held against what is regenerated.

    With ``by_sum`` two samples of one stream and time are the same if their content is: the first
    that came stands for its time. Without it, any two are.
    """

    samples: Samples
    by_sum: bool

    def equal(
        self,
        expectation: Expectation,  # noqa: ARG002 - as the others
        expected: NDArray[np.intp],
        received: NDArray[np.intp],
    ) -> NDArray[np.bool_]:
        same = np.ones(len(expected), np.bool_)
        if not self.by_sum or not len(expected):
            return same
        words = self.words(received)
        order = np.lexsort((received, expected))
        begins = np.diff(expected[order], prepend=-1) != 0
        first = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        same[order] = (words[order] == words[first]).all(axis=1)
        return same

    def words(self, received: NDArray[np.intp]) -> NDArray[np.uint64]:
        return self.samples.words(received)

    def digests(self, received: NDArray[np.intp]) -> NDArray[np.int64]:
        return self.samples.digests(received)

    def received_text(self, received: int) -> str:
        return self.samples.received_text(received)

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        return self.samples.expected_text(expectation, expected)
