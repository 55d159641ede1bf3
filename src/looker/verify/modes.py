"""Weaker and cheaper ways to check what came back than regenerating it.

``checksum`` holds the checksums of the received bytes against those of sending, per fragment;
``count`` looks at streams and timestamps only. In both, order, number and labels are checked as
ever: by predicting all of an answer but its content, and where that fails by parsing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.model.config import NS_PER_MS, VerifyMode
from looker.model.fragment import FragmentState
from looker.model.mismatch import Findings, MismatchExample, MismatchKind
from looker.verify.alignment import Received, align
from looker.verify.identity import stream_of
from looker.verify.log_answer import Entries, LogAnswers
from looker.verify.log_prediction import LogPredictor
from looker.verify.metric_answer import FloatSamples, QueryAnswers, RemoteReadAnswers, parse_labels
from looker.verify.proof import ChecksumLedger, PageProof, proof_of_aligned, proof_of_all
from looker.verify.read_prediction import predicted_sums
from looker.wire.decode import decode_read_response
from looker.wire.prometheus_json import parse_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.verify.alignment import Samples
    from looker.verify.expectation import Expectation


@dataclass(frozen=True, eq=False, slots=True)
class _Unregenerated:
    """Samples whose content is not held against what is regenerated.

    With ``by_sum`` two samples of one stream and time are the same if their checksums are: the
    first that came stands for its time. Without it, any two are.
    """

    samples: Samples
    by_sum: bool

    def equal(
        self, expectation: Expectation, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        same = np.ones(len(expected), np.bool_)
        if not self.by_sum or not len(expected):
            return same
        sums = self.sums(expectation.timestamps_ns[expected], received)
        order = np.lexsort((received, expected))
        begins = np.diff(expected[order], prepend=-1) != 0
        first = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        same[order] = sums[order] == sums[first]
        return same

    def sums(
        self, timestamps_ns: NDArray[np.int64], received: NDArray[np.intp]
    ) -> NDArray[np.uint64]:
        if not self.by_sum:
            return np.zeros(len(received), np.uint64)
        return self.samples.sums(timestamps_ns, received)

    def received_text(self, received: int) -> str:
        return self.samples.received_text(received)

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        return self.samples.expected_text(expectation, expected)


def _judge(
    mode: VerifyMode,
    expectation: Expectation,
    received: Received,
    samples: Samples,
    findings: Findings,
) -> PageProof:
    by_sum = mode is VerifyMode.CHECKSUM
    judged = _Unregenerated(samples, by_sum)
    aligned = align(expectation, received, judged, findings)
    sums = judged.sums(expectation.timestamps_ns[aligned.expected], aligned.received)
    n_received = len(received.timestamps_ns)
    proof = proof_of_aligned(expectation, aligned, sums, findings, n_received)
    return _undecided(proof) if by_sum else proof


def _undecided(proof: PageProof) -> PageProof:
    """Validate nothing yet: only whole fragments can be judged, when all their pages have come."""
    proof.findings.n_validated = proof.findings.n_optional_seen = 0
    return proof


class UnregeneratedLogs(LogAnswers):
    """Checks the answers to the queries of one generation's logs, in a weaker mode."""

    def __init__(self, mode: VerifyMode, content: Content, ignored: frozenset[str]) -> None:
        super().__init__(content, ignored)
        self._mode = mode
        self._predictor = LogPredictor(content, self._extras, regenerate=False)

    def compare(self, body: bytes, expectation: Expectation) -> PageProof:
        """Check a ``query_range`` answer; DecodeError if it is not one."""
        required = expectation.required_only()
        proof = self._predicted(body, required) if required.n_samples else None
        if proof is not None:
            return _undecided(proof) if self._mode is VerifyMode.CHECKSUM else proof
        findings = Findings()
        entries = Entries.parse(body, expectation, self._tolerated, findings)
        return _judge(self._mode, expectation, entries.received, entries, findings)


class UnregeneratedReads(RemoteReadAnswers):
    """Checks remote read's uncompressed answers, in a weaker mode."""

    def __init__(
        self,
        mode: VerifyMode,
        content: Content,
        ignored: frozenset[str],
        external_labels: tuple[tuple[str, str], ...],
    ) -> None:
        super().__init__(content, ignored, external_labels)
        self._mode = mode

    def compare(self, body: bytes, expectation: Expectation) -> PageProof:
        """Check an answer; DecodeError if it is not one."""
        required = expectation.required_only()
        proof = self._predicted(body, required) if required.n_samples else None
        if proof is not None:
            return _undecided(proof) if self._mode is VerifyMode.CHECKSUM else proof
        labels, counts, times, bits = [], [], [], []
        for result in decode_read_response(body):
            labels += [parse_labels(blob) for blob in result.label_blobs()]
            counts.append(result.counts)
            times.append(result.timestamps_ms)
            bits.append(result.value_bits)
        columns = (
            np.concatenate([np.empty(0, np.int64), *counts]),
            np.concatenate([np.empty(0, np.int64), *times]),
            np.concatenate([np.empty(0, np.uint64), *bits]),
        )
        return _judge_floats(self._mode, expectation, labels, columns, self._tolerated)

    def _predicted(self, body: bytes, expectation: Expectation) -> PageProof | None:
        sums = predicted_sums(body, expectation, self._labels, regenerate=False)
        if sums is None:
            return None
        return proof_of_all(expectation, sums, Findings(added_labels=set(self._added)))


class UnregeneratedQueries(QueryAnswers):
    """Checks the query API's answers to range selectors, in a weaker mode."""

    def __init__(self, mode: VerifyMode, ignored: frozenset[str]) -> None:
        super().__init__(ignored)
        self._mode = mode

    def compare(self, body: bytes, expectation: Expectation, begin_ms: int) -> PageProof:
        """Check an answer; DecodeError if it is not one. ``begin_ms`` as in the full check."""
        matrix = parse_matrix(body)
        inside = matrix.timestamps_ms != begin_ms - 1
        series = np.repeat(np.arange(len(matrix.counts)), matrix.counts)[inside]
        counts = np.bincount(series, minlength=len(matrix.counts)).astype(np.int64)
        columns = (counts, matrix.timestamps_ms[inside], matrix.bits[inside])
        return _judge_floats(self._mode, expectation, matrix.metrics, columns, self._tolerated)


def _judge_floats(
    mode: VerifyMode,
    expectation: Expectation,
    labels: Sequence[Mapping[str, str]],
    columns: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]],
    tolerated: frozenset[str],
) -> PageProof:
    """Judge series: (samples per series, timestamps in ms, bits), in the order of the answer."""
    counts, timestamps_ms, bits = columns
    findings = Findings()
    scheme = expectation.content.scheme
    streams = [stream_of(own, scheme, tolerated, findings) for own in labels]
    received = Received(
        np.repeat(np.array(streams, np.int64), counts),
        np.repeat(np.arange(len(labels), dtype=np.int64), counts),
        np.clip(timestamps_ms, -(2**43), 2**43) * NS_PER_MS,  # within int64
        labels,
    )
    return _judge(mode, expectation, received, FloatSamples(bits), findings)


class SumsOfSending(ChecksumLedger):
    """The pages' checksums per fragment, as the only proof of content."""

    def __init__(self, rows: NDArray[Any], content: Content) -> None:
        super().__init__(rows, content.n_samples)
        self._content = content
        self.findings = Findings()

    def check(self, cycle: int | None) -> int:
        """Return how many fragments of a cycle have come back as they were sent.

        ``findings`` then holds their samples as validated, and those of whole fragments with
        another checksum as corrupt: which of them is at fault is not known.
        """
        rows, found = self._rows, self.findings
        complete = self._seen == self._n_samples
        as_sent = complete & (self._sums == rows["checksum"])
        required = rows["state"] == FragmentState.ACKNOWLEDGED
        of_cycle = np.ones(len(rows), np.bool_) if cycle is None else rows["cycle"] == cycle
        n_proved = int((as_sent & of_cycle).sum())
        found.n_validated += int((as_sent & of_cycle & required).sum()) * self._n_samples
        found.n_optional_seen += int((as_sent & ~required).sum()) * self._n_samples
        corrupt = np.flatnonzero(complete & ~as_sent)
        found.add(MismatchKind.CORRUPT, len(corrupt) * self._n_samples)
        scheme = self._content.scheme
        for number in corrupt[: found.room()].tolist():
            row = rows[number]
            found.keep(
                MismatchExample(
                    kind=MismatchKind.CORRUPT,
                    stream=scheme.uniquename(int(row["stream"])),
                    labels=scheme.labels(int(row["stream"])),
                    cycle=int(row["cycle"]),
                    fragment=int(row["fragment"]),
                    timestamp_ns=int(row["start_ns"]),
                    expected=f"checksum 0x{int(row['checksum']):016x}",
                    received=f"checksum 0x{int(self._sums[number]):016x}",
                )
            )
        return n_proved


class Nothing(ChecksumLedger):
    """Where checksums are not looked at: no fragment is proved by them."""

    def check(self, cycle: int | None) -> int:  # noqa: ARG002 - as the others
        """Return 0."""
        return 0


def ledger_for(mode: VerifyMode, rows: NDArray[Any], content: Content) -> ChecksumLedger:
    """Return what adds up the pages' proofs of ledger rows in a mode."""
    if mode is VerifyMode.CHECKSUM:
        return SumsOfSending(rows, content)
    if mode is VerifyMode.COUNT:
        return Nothing(rows, content.n_samples)
    return ChecksumLedger(rows, content.n_samples)
