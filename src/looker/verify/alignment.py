"""Aligning received samples with expected ones, where an answer is not byte for byte as predicted.

Samples are identified by stream and timestamp, which are unique among what was written: the time
increment is never zero, and a stream's fragments never overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from looker.model.mismatch import MismatchExample, MismatchKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.model.mismatch import Findings
    from looker.verify.expectation import Expectation


@dataclass(frozen=True, eq=False, slots=True)
class Received:
    """Samples of an answer in its order: stream number (or -1), element of the answer, time.

    ``streams`` int64 (r,), ``elements`` int64 (r,) ascending, ``timestamps_ns`` int64 (r,).
    """

    streams: NDArray[np.int64]
    elements: NDArray[np.int64]
    timestamps_ns: NDArray[np.int64]


class Samples(Protocol):
    """The content of received samples, and how it compares with what is expected."""

    def equal(
        self, expectation: Expectation, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Tell for each pair (k,) whether the content is the same, bit by bit."""
        ...

    def sums(
        self, timestamps_ns: NDArray[np.int64], received: NDArray[np.intp]
    ) -> NDArray[np.uint64]:
        """Return the checksum's inner sums of received samples (k,)."""
        ...

    def received_text(self, received: int) -> str:
        """Return the content of a received sample as text."""
        ...

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        """Return the content of an expected sample as text."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Aligned:
    """The expected samples that came back, once each: indices (k,), and which were exact."""

    expected: NDArray[np.intp]
    received: NDArray[np.intp]
    exact: NDArray[np.bool_]


def align(
    expectation: Expectation, received: Received, samples: Samples, findings: Findings
) -> Aligned:
    """Pair received samples with expected ones and count all that does not fit."""
    explain = _Explainer(expectation, received, samples, findings)
    times = np.unique(expectation.timestamps_ns)
    n_times = len(times)
    streams = np.unique(expectation.streams)
    stream_rank = np.searchsorted(streams, expectation.streams)[expectation.piece_of]
    expected_key = stream_rank * n_times + np.searchsorted(times, expectation.timestamps_ns)

    time_rank = np.searchsorted(times, received.timestamps_ns)
    rank = np.searchsorted(streams, received.streams)
    known = (time_rank < n_times) & (rank < len(streams))
    known[known] &= times[time_rank[known]] == received.timestamps_ns[known]
    known[known] &= streams[rank[known]] == received.streams[known]
    key = np.where(known, rank * n_times + time_rank, -1)
    at = np.minimum(np.searchsorted(expected_key, key), max(0, len(expected_key) - 1))
    found = known & (len(expected_key) > 0)
    found[found] &= expected_key[at[found]] == key[found]
    explain.unpaired(MismatchKind.UNEXPECTED, np.flatnonzero(~found))

    pairs_received = np.flatnonzero(found)
    pairs_expected = at[pairs_received]
    same = samples.equal(expectation, pairs_expected, pairs_received)
    # per expected sample: first the exact ones, in the order of the answer
    order = np.lexsort((pairs_received, ~same, pairs_expected))
    pairs_received, pairs_expected, same = (
        pairs_received[order],
        pairs_expected[order],
        same[order],
    )
    first = np.ones(len(pairs_expected), np.bool_)
    first[1:] = pairs_expected[1:] != pairs_expected[:-1]
    again = ~first
    repeat = again & expectation.sent_again[expectation.piece_of[pairs_expected]] & same
    findings.retry_duplicates += int(np.count_nonzero(repeat))
    duplicate = again & same & ~repeat
    explain.pairs(MismatchKind.DUPLICATE, pairs_expected[duplicate], pairs_received[duplicate])
    explain.unpaired(MismatchKind.UNEXPECTED, pairs_received[again & ~same])
    corrupt = first & ~same
    explain.pairs(MismatchKind.CORRUPT, pairs_expected[corrupt], pairs_received[corrupt])

    seen = np.zeros(expectation.n_samples, np.bool_)
    seen[pairs_expected] = True
    required = expectation.required[expectation.piece_of]
    explain.missing(np.flatnonzero(required & ~seen))
    explain.unpaired(MismatchKind.OUT_OF_ORDER, _out_of_order(received))
    return Aligned(pairs_expected[first], pairs_received[first], same[first])


def _out_of_order(received: Received) -> NDArray[np.intp]:
    if not len(received.timestamps_ns):
        return np.empty(0, np.intp)
    _, rank = np.unique(received.timestamps_ns, return_inverse=True)
    # ranks of later elements are above those of all earlier ones
    value = received.elements * len(rank) + rank
    return np.flatnonzero(value < np.maximum.accumulate(value))


class _Explainer:
    """Counts mismatches and keeps the first examples."""

    def __init__(
        self,
        expectation: Expectation,
        received: Received,
        samples: Samples,
        findings: Findings,
    ) -> None:
        self._expectation = expectation
        self._received = received
        self._samples = samples
        self._findings = findings

    def unpaired(self, kind: MismatchKind, received: NDArray[np.intp]) -> None:
        """Count received samples that have no place."""
        self._findings.add(kind, len(received))
        for number in received[: self._findings.room()].tolist():
            stream = int(self._received.streams[number])
            self._keep(
                kind,
                stream=self._name(stream) if stream >= 0 else "(not a stream of this run)",
                timestamp_ns=int(self._received.timestamps_ns[number]),
                received=self._samples.received_text(number),
            )

    def pairs(
        self, kind: MismatchKind, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> None:
        """Count received samples that differ from, or repeat, an expected one."""
        self._findings.add(kind, len(expected))
        chosen = zip(expected[: self._findings.room()].tolist(), received.tolist(), strict=False)
        for number, got in chosen:
            self._keep_expected(kind, number, self._samples.received_text(got))

    def missing(self, expected: NDArray[np.intp]) -> None:
        """Count expected samples that did not come."""
        self._findings.add(MismatchKind.MISSING, len(expected))
        for number in expected[: self._findings.room()].tolist():
            self._keep_expected(MismatchKind.MISSING, number, None)

    def _name(self, stream: int) -> str:
        return self._expectation.content.scheme.uniquename(stream)

    def _keep_expected(self, kind: MismatchKind, number: int, received: str | None) -> None:
        expectation = self._expectation
        piece = int(expectation.piece_of[number])
        self._keep(
            kind,
            stream=self._name(int(expectation.streams[piece])),
            fragment=int(expectation.fragments[piece]),
            position=int(expectation.sample_positions[number]),
            timestamp_ns=int(expectation.timestamps_ns[number]),
            expected=self._samples.expected_text(expectation, number),
            received=received,
        )

    def _keep(
        self,
        kind: MismatchKind,
        *,
        stream: str,
        timestamp_ns: int,
        fragment: int | None = None,
        position: int | None = None,
        expected: str | None = None,
        received: str | None = None,
    ) -> None:
        self._findings.keep(
            MismatchExample(
                kind=kind,
                stream=stream,
                cycle=self._expectation.content.scheme.born_in_cycle,
                fragment=fragment,
                position=position,
                timestamp_ns=timestamp_ns,
                expected=expected,
                received=received,
            )
        )
