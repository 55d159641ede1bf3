"""Aligning received samples with expected ones, where an answer is not byte for byte as predicted.

Samples are identified by stream and timestamp, which are unique among what was written: the time
increment is never zero, and a stream's fragments never overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from looker.model.fragment import MAX_REPEATS
from looker.model.mismatch import MismatchExample, MismatchKind
from looker.verify.identity import foreign_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from looker.model.mismatch import Findings
    from looker.verify.expectation import Expectation


FOREIGN_STREAM: Final = "(not a stream of this run)"


@dataclass(frozen=True, eq=False, slots=True)
class Received:
    """Samples of an answer in its order: stream number (or -1), element of the answer, time.

    ``streams`` int64 (r,), ``elements`` int64 (r,) ascending, ``timestamps_ns`` int64 (r,).
    ``labels`` are the elements' label sets, to show whose samples were not expected.
    """

    streams: NDArray[np.int64]
    elements: NDArray[np.int64]
    timestamps_ns: NDArray[np.int64]
    labels: Sequence[Mapping[str, Any]] = ()


class Samples(Protocol):
    """The content of received samples, and how it compares with what is expected."""

    def equal(
        self, expectation: Expectation, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Tell for each pair (k,) whether the content is the same, bit by bit."""
        ...

    def words(self, received: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return received samples as words for the checksum, uint64 (k, n_words)."""
        ...

    def digests(self, received: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return a number for the content of each received sample (k,): the same for the same."""
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
    repeat = again & same & _may_repeat(expectation, pairs_expected, first)
    findings.retry_duplicates += int(np.count_nonzero(repeat))
    duplicate = again & same & ~repeat
    explain.pairs(MismatchKind.DUPLICATE, pairs_expected[duplicate], pairs_received[duplicate])
    changed = again & ~same
    explain.unpaired(
        MismatchKind.UNEXPECTED, pairs_received[changed], beside=pairs_expected[changed]
    )
    corrupt = first & ~same
    explain.pairs(MismatchKind.CORRUPT, pairs_expected[corrupt], pairs_received[corrupt])

    seen = np.zeros(expectation.n_samples, np.bool_)
    seen[pairs_expected] = True
    required = expectation.required[expectation.piece_of]
    explain.missing(np.flatnonzero(required & ~seen))
    late = _out_of_order(received)
    explain.unpaired(MismatchKind.OUT_OF_ORDER, late, beside=np.where(found[late], at[late], -1))
    return Aligned(pairs_expected[first], pairs_received[first], same[first])


def _may_repeat(
    expectation: Expectation, pairs_expected: NDArray[np.intp], first: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which pairs are no more copies of a sample than its pushes may have left."""
    n_repeats = expectation.n_repeats[expectation.piece_of[pairs_expected]]
    numbers = np.arange(len(pairs_expected))
    n_before = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    allowed: NDArray[np.bool_] = (n_before <= n_repeats) | (n_repeats == MAX_REPEATS)
    return allowed


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
        self._scheme = expectation.content.scheme
        self._received = received
        self._samples = samples
        self._findings = findings

    def unpaired(
        self,
        kind: MismatchKind,
        received: NDArray[np.intp],
        beside: NDArray[np.intp] | None = None,
    ) -> None:
        """Count received samples that have no place.

        ``beside`` are the expected samples of the same streams and times; -1 where there is none.
        """
        came = self._received
        self._findings.add_at(kind, came.streams[received], came.timestamps_ns[received])
        for index, number in enumerate(received[: self._findings.room()].tolist()):
            text = self._samples.received_text(number)
            if beside is not None and beside[index] >= 0:
                self._keep_expected(kind, int(beside[index]), text)
                continue
            stream = int(self._received.streams[number])
            labels: Mapping[str, str] | None = None
            if stream >= 0:
                labels = self._scheme.labels(stream)
            elif self._received.labels:
                foreign = self._received.labels[int(self._received.elements[number])]
                labels = foreign_labels(foreign)
            self._findings.keep(
                MismatchExample(
                    kind=kind,
                    stream=self._scheme.uniquename(stream) if stream >= 0 else FOREIGN_STREAM,
                    labels=labels,
                    cycle=self._scheme.born_in_cycle,
                    timestamp_ns=int(self._received.timestamps_ns[number]),
                    received=text,
                )
            )

    def pairs(
        self, kind: MismatchKind, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> None:
        """Count received samples that differ from, or repeat, an expected one."""
        self._add_expected(kind, expected)
        chosen = zip(expected[: self._findings.room()].tolist(), received.tolist(), strict=False)
        for number, got in chosen:
            self._keep_expected(kind, number, self._samples.received_text(got))

    def missing(self, expected: NDArray[np.intp]) -> None:
        """Count expected samples that did not come."""
        self._add_expected(MismatchKind.MISSING, expected)
        for number in expected[: self._findings.room()].tolist():
            self._keep_expected(MismatchKind.MISSING, number, None)

    def _add_expected(self, kind: MismatchKind, expected: NDArray[np.intp]) -> None:
        if not len(expected):
            return
        expectation = self._expectation
        streams = expectation.streams[expectation.piece_of[expected]]
        self._findings.add_at(kind, streams, expectation.timestamps_ns[expected])

    def _keep_expected(self, kind: MismatchKind, number: int, received: str | None) -> None:
        expectation = self._expectation
        piece = int(expectation.piece_of[number])
        stream = int(expectation.streams[piece])
        self._findings.keep(
            MismatchExample(
                kind=kind,
                stream=self._scheme.uniquename(stream),
                labels=self._scheme.labels(stream),
                cycle=self._scheme.born_in_cycle,
                fragment=int(expectation.fragments[piece]),
                position=int(expectation.sample_positions[number]),
                timestamp_ns=int(expectation.timestamps_ns[number]),
                expected=self._samples.expected_text(expectation, number),
                received=received,
            )
        )
