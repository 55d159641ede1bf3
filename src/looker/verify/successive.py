"""Successive answers to one question: what was once seen wrong stays seen, and no two may differ.

A sample may come later than it was asked for. Nothing else may change from one answer to the next:
a mismatch that a later answer does not show was seen by whoever asked first (*transient*), and a
sample that one answer had and a later one lacks shows that answers cannot be relied on
(*inconsistent*).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.model.mismatch import PLACE_DTYPE, Findings, MismatchExample, MismatchKind, least
from looker.verify.alignment import FOREIGN_STREAM
from looker.verify.places import MISSING, identity_of, keys, most, places_of, surplus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.verify.expectation import Expectation
    from looker.verify.pages import Page
    from looker.verify.proof import PageProof

_MAX_KEPT: Final = 8
"""So many answers are kept in full, to show what they had."""
_LAST_BIT: Final = 63
"""Answers from the 63rd on share a bit: their pauses double, so that there are never so many."""


class SuccessiveAnswers:
    """What all answers so far to the question of a page have shown.

    Each sample counts once per kind, however often answers change:

    - *transient*: a mismatch (but a missing sample) at one place, by kind, stream and time, that
      the last answer shows less often than one before it, counted by the difference. Where content
      is only summed up, also a sample whose content was another one before.
    - *inconsistent*: a sample that a whole answer lacks though one before it had it. It is not
      *missing* as well, if the last answer lacks it.
    """

    def __init__(self, page: Page, *, by_content: bool = False) -> None:
        """``by_content`` tells that proofs hold each sample's content where they say no more."""
        self._page = page
        self._by_content = by_content
        self._n = 0
        self._n_later = 0
        self._last: PageProof | None = None
        self._last_places = np.empty(0, PLACE_DTYPE)
        self._statements: Counter[str] = Counter()
        self._agree, self._lacked, self._last_whole = True, False, False
        self._earlier = np.empty(0, PLACE_DTYPE)
        self._examples: list[tuple[int, MismatchExample]] = []
        self._parsed: list[PageProof] = []
        n_samples = self._expectation.n_samples if by_content else 0
        self._digests = np.zeros(n_samples, np.int64)
        self._changed = np.zeros(n_samples, np.bool_)
        # which of the answers had a sample, a bit each
        self._had: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._gone: NDArray[np.bool_] = np.zeros(0, np.bool_)

    @property
    def _expectation(self) -> Expectation:
        return self._page.expectation

    @property
    def n(self) -> int:
        """The number of answers so far."""
        return self._n

    @property
    def wants_content(self) -> bool:
        """Whether the next answer's samples are to be known each by its own content."""
        return self._by_content and self._n > 0

    @property
    def unsettled(self) -> bool:
        """Whether something came late, and no two answers have agreed since."""
        return self._lacked and not self._agree

    def add(self, proof: PageProof, *, whole: bool) -> None:
        """Take an answer into account; one that is not ``whole`` does not tell what is lacking."""
        expectation, number = self._expectation, self._n
        if not len(self._had):
            self._had = np.zeros(expectation.n_samples, np.uint64)
            self._gone = np.zeros(expectation.n_samples, np.bool_)
        before, present = self._had > 0, self._present(proof)
        lacking = before & ~present
        if whole:
            self._gone |= lacking
        places = places_of(proof.findings)
        changed = self._note_content(proof, before & present)
        if self._last_whole:
            same = np.array_equal(self._had & self._bit(number - 1) > 0, present)
            if self._last is not None:
                same &= np.array_equal(self._last_places, places)
            self._agree = same and not changed
        self._last_whole = whole
        self._lacked |= whole and bool((places["kind"] == MISSING).any())
        self._had[present] |= self._bit(number)
        if self._last is not None:
            self._statements = least(self._statements + self._last.findings.statements)
            self._earlier = most(self._earlier, self._last_places)
        self._examples += [
            (number, example)
            for example in proof.findings.examples
            if example.kind is not MismatchKind.MISSING
        ][: proof.findings.max_examples]
        if len(self._parsed) < _MAX_KEPT:
            self._parsed.append(proof)
        self._last, self._last_places = proof, places
        self._n += 1

    def part(self, page: Page) -> SuccessiveAnswers:
        """Return what was seen of the samples of a part of the page, which is asked for by itself.

        What was seen of streams that are not of this run goes to the first part.
        """
        part = SuccessiveAnswers(page, by_content=self._by_content)
        if self._last is None:
            return part
        expectation = self._expectation
        streams = np.asarray(page.selection.streams)
        times_ns = expectation.timestamps_ns
        inside = (times_ns >= page.start_ns) & (times_ns < page.end_ns)
        inside &= np.isin(expectation.streams, streams)[expectation.piece_of]
        part._n, part._examples = self._n, list(self._examples)
        part._lacked, part._last_whole = self._lacked, self._last_whole
        part._had, part._gone = self._had[inside], self._gone[inside]
        if self._by_content:
            part._digests, part._changed = self._digests[inside], self._changed[inside]
        if streams[0] == self._page.selection.streams[0] and page.start_ns == self._page.start_ns:
            part._statements = self._statements + self._last.findings.statements
        seen = most(self._earlier, self._last_places)
        times = seen["time_ns"]
        own = np.isin(seen["stream"], streams)
        own |= (seen["stream"] < 0) & (streams[0] == self._page.selection.streams[0])
        part._earlier = seen[own & (times >= page.start_ns) & (times < page.end_ns)]
        return part

    @property
    def result(self) -> PageProof | None:
        """The last answer's proof, with what the others had otherwise; None without any answer."""
        if self._last is None:
            return None
        found = _copy(self._last.findings)
        found.statements = least(self._statements + found.statements)
        if self._n > 1:
            self._count_inconsistent(found)
            self._count_transient(found)
        found.n_missing_explained = min(
            found.n_missing_explained, found.counts[MismatchKind.MISSING]
        )
        return replace(self._last, findings=found)

    @property
    def result_so_far(self) -> PageProof | None:
        """The same where asking has not ended: what is missing might still have come."""
        proof = self.result
        if proof is not None:
            found = proof.findings
            found.counts[MismatchKind.MISSING] = found.n_missing_explained = 0
            found.examples = [one for one in found.examples if one.kind is not MismatchKind.MISSING]
        return proof

    def _present(self, proof: PageProof) -> NDArray[np.bool_]:
        """Return which of the page's samples came in an answer, bool (n,)."""
        expectation = self._expectation
        came = proof.came
        of_proof = np.ones(proof.expectation.n_samples, np.bool_) if came is None else came.at >= 0
        if proof.expectation is expectation:
            return of_proof
        present = np.zeros(expectation.n_samples, np.bool_)
        # a row has one piece in a page; what need not be there may not be in the proof
        known = np.isin(expectation.rows, proof.expectation.rows)
        present[known[expectation.piece_of]] = of_proof
        return present

    def _note_content(self, proof: PageProof, again: NDArray[np.bool_]) -> bool:
        """Note the content of samples; tell whether one of those that came ``again`` is another."""
        if not self._by_content or proof.came is None:
            return False
        at = proof.came.at
        came = np.flatnonzero(at >= 0)
        digests = np.zeros(len(at), np.int64)
        digests[came] = proof.came.samples.digests(at[came].astype(np.intp))
        differs = again & (digests != self._digests)
        self._changed |= differs
        self._digests[came] = digests[came]
        return bool(differs.any())

    def _bit(self, number: int) -> np.uint64:
        return np.uint64(1 << min(number, _LAST_BIT))

    def _count_inconsistent(self, found: Findings) -> None:
        gone = np.flatnonzero(self._gone)
        if not len(gone):
            return
        streams, times_ns = self._places_of(gone)
        lacked = self._last_places[self._last_places["kind"] == MISSING]
        also = np.isin(keys(streams, times_ns), keys(lacked["stream"], lacked["time_ns"]))
        found.counts[MismatchKind.MISSING] -= int(np.count_nonzero(also))
        found.examples = [
            one
            for one in found.examples
            if one.kind is not MismatchKind.MISSING
            or not ((streams == self._stream_of(one)) & (times_ns == one.timestamp_ns)).any()
        ]
        found.add(MismatchKind.INCONSISTENT, len(gone))
        for number in gone[: found.max_examples].tolist():
            self._keep(found, self._example(MismatchKind.INCONSISTENT, number))

    def _count_transient(self, found: Findings) -> None:
        gone, n_gone = surplus(self._earlier, self._last_places)
        found.add(MismatchKind.TRANSIENT, n_gone)
        for number, example in self._examples:
            if len(gone) and identity_of(example, self._stream_of(example)) in gone:
                later = self._later_text(example)
                self._keep(
                    found,
                    replace(
                        example,
                        kind=MismatchKind.TRANSIENT,
                        seen_as=example.kind,
                        received_later=later,
                        answers=f"answer {number + 1} of {self._n} showed it {example.kind},"
                        " the last one did not",
                    ),
                )
        changed = np.flatnonzero(self._changed)
        found.add(MismatchKind.TRANSIENT, len(changed))
        for number in changed[: found.max_examples].tolist():
            first = self._example(MismatchKind.TRANSIENT, number)
            later = self._later_text(first)
            self._keep(found, replace(first, seen_as=MismatchKind.CORRUPT, received_later=later))

    def _keep(self, found: Findings, example: MismatchExample) -> None:
        """Keep an example in front of those that say less."""
        found.examples = [example.marked(), *found.examples][: found.max_examples]

    def _places_of(self, samples: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        expectation = self._expectation
        streams = expectation.streams[expectation.piece_of[samples]].astype(np.int64)
        return streams, expectation.timestamps_ns[samples]

    def _example(self, kind: MismatchKind, number: int) -> MismatchExample:
        expectation = self._expectation
        piece = int(expectation.piece_of[number])
        stream, scheme = int(expectation.streams[piece]), expectation.content.scheme
        had = int(self._had[number])
        came = [str(i + 1) for i in range(min(self._n, _LAST_BIT + 1)) if had >> i & 1]
        return MismatchExample(
            kind=kind,
            stream=scheme.uniquename(stream),
            labels=scheme.labels(stream),
            cycle=scheme.born_in_cycle,
            fragment=int(expectation.fragments[piece]),
            position=int(expectation.sample_positions[number]),
            timestamp_ns=int(expectation.timestamps_ns[number]),
            expected=self._expected_text(number),
            received=self._text(number),
            answers=f"of {self._n} answers, number {', '.join(came)} had it, the others did not"
            if kind is MismatchKind.INCONSISTENT
            else f"of {self._n} answers, number {', '.join(came)} had it, with different contents",
        )

    def _expected_text(self, number: int) -> str | None:
        for proof in self._parsed:
            if proof.came is not None:
                return proof.came.samples.expected_text(self._expectation, number)
        return None

    def _text(self, number: int) -> str | None:
        """Return an expected sample's content in the first answer that is known to have it."""
        for proof in self._parsed:
            at = self._at(proof, number)
            if at >= 0 and proof.came is not None:
                return proof.came.samples.received_text(at)
        return None

    def _at(self, proof: PageProof, number: int) -> int:
        if proof.came is None or proof.expectation is not self._expectation:
            return -1
        return int(proof.came.at[number])

    def _later_text(self, example: MismatchExample) -> str | None:
        """Return what the last answer had where another one had the example; None for nothing."""
        stream = self._stream_of(example)
        if self._last is None or stream < 0 or example.timestamp_ns is None:
            return None
        expectation = self._last.expectation
        streams = expectation.streams[expectation.piece_of] == stream
        number = np.flatnonzero(streams & (expectation.timestamps_ns == example.timestamp_ns))
        if not len(number):
            return None
        came = self._last.came
        if came is None:
            return example.expected
        at = int(came.at[number[0]])
        return came.samples.received_text(at) if at >= 0 else None

    def _stream_of(self, example: MismatchExample) -> int:
        if example.stream == FOREIGN_STREAM:
            return -1
        stream = self._expectation.content.scheme.stream_of(example.stream)
        return -1 if stream is None else stream


def _copy(findings: Findings) -> Findings:
    return replace(
        findings,
        counts=dict(findings.counts),
        examples=list(findings.examples),
        added_labels=set(findings.added_labels),
        statements=findings.statements.copy(),
    )
