"""Comparing answers page by page, with both proofs: regeneration and the checksum of sending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.errors import InternalError
from looker.generate.encoder import blocks
from looker.verify.block_sums import BlockSums
from looker.verify.expectation import Expectation
from looker.wire.checksum import words_of_lines, words_of_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.model.mismatch import Findings
    from looker.verify.alignment import Aligned, Samples


_REGENERATED: Final = 65_536
"""Samples that are regenerated at once."""


@dataclass(frozen=True, eq=False, slots=True)
class Came:
    """What came of the expected samples: the place of each in the answer, int64 (n,); -1: did not.

    ``samples`` are those of the answer.
    """

    at: NDArray[np.int64]
    samples: Samples


@dataclass(frozen=True, eq=False, slots=True)
class PageProof:
    """What one page contributes to the proof of its pieces.

    ``n_received`` is the number of samples in the answer, whatever they are.
    ``seen`` int64 (p,): samples that came back, exact or not; ``exact`` int64 (p,): those with the
    regenerated content; ``sums`` are the checksum's, of the bytes that came.
    ``came`` is None where all expected samples did, once each and in order.
    """

    expectation: Expectation
    findings: Findings
    n_received: int
    seen: NDArray[np.int64]
    exact: NDArray[np.int64]
    sums: BlockSums
    came: Came | None = None


def count_exact(expectation: Expectation, exact: NDArray[np.int64], findings: Findings) -> None:
    """Count the samples of the cycle that must be there, and those that came back exactly."""
    chosen = expectation.counted & expectation.required
    if chosen.all():
        findings.n_expected += expectation.n_samples
        findings.n_validated += int(exact.sum())
        return
    findings.n_expected += int(expectation.counts[chosen].sum())
    findings.n_validated += int(exact[chosen].sum())
    findings.n_optional_seen += int(exact[expectation.counted & ~expectation.required].sum())


def proof_of_all(expectation: Expectation, sums: BlockSums, findings: Findings) -> PageProof:
    """Return the proof of a page on which every expected sample came back exactly, in order."""
    count_exact(expectation, expectation.counts, findings)
    counts = expectation.counts
    n_received = expectation.n_samples
    return PageProof(expectation, findings, n_received, counts, counts, sums)


def proof_of_aligned(
    expectation: Expectation,
    aligned: Aligned,
    words: NDArray[np.uint64],
    findings: Findings,
    n_received: int,
    samples: Samples,
) -> PageProof:
    """Return the proof of a page of which some ``samples`` came.

    ``words`` (k, n_words) are the received ones in ``aligned``.
    """
    n_pieces = len(expectation.counts)
    pieces = expectation.piece_of[aligned.expected]
    seen = np.bincount(pieces, minlength=n_pieces).astype(np.int64)
    exact = np.bincount(pieces[aligned.exact], minlength=n_pieces).astype(np.int64)
    positions = expectation.sample_positions[aligned.expected]
    blocks, values = expectation.content.checksum().of_single(words, positions)
    sums = BlockSums(values, pieces, blocks)
    count_exact(expectation, exact, findings)
    at = np.full(expectation.n_samples, -1, np.int64)
    at[aligned.expected] = aligned.received
    return PageProof(expectation, findings, n_received, seen, exact, sums, Came(at, samples))


class ChecksumLedger:
    """Adds up the pages' checksums per fragment and compares them with those of sending."""

    def __init__(self, rows: NDArray[Any], content: Content) -> None:
        self._rows = rows
        self._content = content
        self._n_samples = content.n_samples
        self._checksum = content.checksum()
        self._sent = self._checksum.of_content(rows["checksum"], rows["start_ns"], content.step_ns)
        self._sums = np.zeros((len(rows), self._checksum.n_blocks), np.uint64)
        self._seen = np.zeros(len(rows), np.int64)
        self._exact = np.zeros(len(rows), np.int64)

    def add(self, proof: PageProof) -> None:
        """Add a page; every piece of a fragment may be added once."""
        at = proof.expectation.rows
        places = proof.sums.places(at, self._checksum.n_blocks)
        # of one axis: numpy is several times as fast
        np.add.at(self._sums.reshape(-1), places, proof.sums.values)
        np.add.at(self._seen, at, proof.seen)
        np.add.at(self._exact, at, proof.exact)

    def carry(self, earlier: ChecksumLedger) -> None:
        """Take over what was seen of those fragments that both have rows of."""
        mine, theirs = _keys(self._rows), _keys(earlier._rows)
        at = np.minimum(np.searchsorted(theirs, mine), max(0, len(theirs) - 1))
        known = np.flatnonzero(theirs[at] == mine) if len(theirs) else np.empty(0, np.intp)
        self._sums[known] += earlier._sums[at[known]]
        self._seen[known] += earlier._seen[at[known]]
        self._exact[known] += earlier._exact[at[known]]

    def sound(self) -> NDArray[np.bool_]:
        """Return which rows have come back whole, bool (n,)."""
        whole: NDArray[np.bool_] = self._seen == self._n_samples
        return whole

    def check(self, cycle: int | None) -> int:
        """Return how many fragments of a cycle (None: of all cycles) both proofs agree on.

        What came back with the checksum of sending, and yet not as regenerated, was changed in a
        way that the checksum does not see, if what is regenerated has that checksum as well: it is
        corrupt, as the comparison of the bytes has found, and proved by nothing.

        Raise InternalError where the proofs contradict each other otherwise: what came back is what
        was sent though it is not what is regenerated, or the other way round. That is no fault of
        the target.
        """
        complete = self._seen == self._n_samples
        as_sent = complete & (self._checksums() == self._sent)
        as_regenerated = complete & (self._exact == self._n_samples)
        unseen = np.flatnonzero(as_sent & ~as_regenerated)
        as_sent[unseen] = self._regenerated_sums(unseen) != self._sent[unseen]
        contradiction = as_sent != as_regenerated
        if contradiction.any():
            row = self._rows[np.flatnonzero(contradiction)[0]]
            raise InternalError(
                f"the two proofs contradict each other for {int(contradiction.sum())} fragment(s),"
                f" first stream {row['stream']}, fragment {row['fragment']}: Looker generated other"
                " content when it wrote than when it read"
            )
        if cycle is not None:
            as_sent &= self._rows["cycle"] == cycle
        return int(as_sent.sum())

    def _checksums(self) -> NDArray[np.uint64]:
        """Return the checksums of what came, right where all of a fragment did, uint64 (n,)."""
        return self._checksum.of_blocks(self._sums)

    def _regenerated_sums(self, numbers: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return the checksums of what is regenerated for some rows, uint64 (k,)."""
        content, checksum = self._content, self._checksum
        sums = np.zeros((len(numbers), checksum.n_blocks), np.uint64)
        for part, samples in blocks(len(numbers), self._n_samples, _REGENERATED):
            first, n = samples.start, samples.stop - samples.start
            pieces = Expectation.of_rows(content, self._rows[numbers[part]], first, n)
            every = slice(0, pieces.n_samples)
            if content.scheme.metrics:
                words = words_of_values(pieces.bits(every))
            else:
                words = words_of_lines(pieces.lines(every))
            checksum.add_rows(sums[part], words.reshape(len(pieces.counts), n, -1), samples)
        return checksum.of_blocks(sums)


def _keys(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number for each row, ascending where rows are sorted by stream and fragment."""
    keys: NDArray[np.uint64] = rows["stream"].astype(np.uint64) << np.uint64(32)
    keys |= rows["fragment"]
    return keys
