"""Comparing remote read's and the query API's answers with what was written."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from looker.errors import DecodeError
from looker.model.config import NS_PER_MS
from looker.model.mismatch import Findings
from looker.verify.alignment import Received, align
from looker.verify.identity import stream_of
from looker.verify.proof import PageProof, proof_of_aligned, proof_of_all
from looker.verify.read_prediction import predicted_sums, sums_of_columns
from looker.wire.checksum import time_sums, value_sums
from looker.wire.decode import decode_read_response
from looker.wire.prometheus import series_labels
from looker.wire.prometheus_json import parse_matrix
from looker.wire.proto import prometheus_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.verify.expectation import Expectation


class RemoteReadAnswers:
    """Compares remote read's uncompressed answers (of samples) for one generation's series.

    The answer is predicted as a whole: series in the order of their labels, each with its samples
    in the order of time. Another layout only costs the slower way.
    """

    def __init__(
        self,
        content: Content,
        ignored: frozenset[str] = frozenset(),
        external_labels: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """``ignored`` are labels that the target may add.

        ``external_labels`` (name, value) are those that Prometheus adds to each series in remote
        read, except where a series has the name already.
        """
        scheme = content.scheme
        own = scheme.labels(0)
        added = tuple(label for label in external_labels if label[0] not in own)
        self._labels = series_labels(replace(scheme, extra=(*scheme.extra, *added)))
        self._added = frozenset(name for name, _ in added)
        self._tolerated = ignored | self._added

    def compare(self, body: bytes, expectation: Expectation) -> PageProof:
        """Compare an answer; DecodeError if it is not one."""
        required = expectation.required_only()
        if required.n_samples:
            proof = self._predicted(body, required)
            if proof is not None:
                return proof
        return self._aligned(body, expectation)

    def _predicted(self, body: bytes, expectation: Expectation) -> PageProof | None:
        sums = predicted_sums(body, expectation, self._labels)
        if sums is None:
            return None
        return proof_of_all(expectation, sums, Findings(added_labels=set(self._added)))

    def _aligned(self, body: bytes, expectation: Expectation) -> PageProof:
        results = decode_read_response(body)
        if len(results) > 1:
            raise DecodeError(f"an answer to one query has {len(results)} results")
        labels: list[dict[str, str]] = []
        for result in results:
            labels += [parse_labels(blob) for blob in result.label_blobs()]
        empty: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        counts = np.concatenate([result.counts for result in results] or empty)
        times = np.concatenate([result.timestamps_ms for result in results] or empty)
        bits = np.concatenate([result.value_bits for result in results] or [np.empty(0, np.uint64)])
        return _compare_columns(expectation, labels, counts, times, bits, self._tolerated)


class QueryAnswers:
    """Compares the query API's answers to range selectors for one generation's series."""

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        """``ignored`` are labels that the target may add."""
        self._tolerated = ignored

    def compare(self, body: bytes, expectation: Expectation, begin_ms: int) -> PageProof:
        """Compare an answer; DecodeError if it is not one.

        ``begin_ms`` is the first millisecond that was asked for: servers before Prometheus 3
        also return the sample at the open end of the range, one millisecond before it.
        """
        matrix = parse_matrix(body)
        inside = matrix.timestamps_ms != begin_ms - 1
        series = np.repeat(np.arange(len(matrix.counts)), matrix.counts)[inside]
        counts = np.bincount(series, minlength=len(matrix.counts)).astype(np.int64)
        return _compare_columns(
            expectation,
            matrix.metrics,
            counts,
            matrix.timestamps_ms[inside],
            matrix.bits[inside],
            self._tolerated,
        )


def parse_labels(blob: bytes) -> dict[str, str]:
    """Return the labels in the fields of a series; DecodeError where they are none."""
    try:
        series = prometheus_pb2.TimeSeries.FromString(blob)
    except ProtobufError as error:
        raise DecodeError(f"the labels of a series cannot be read: {error}") from error
    return {label.name: label.value for label in series.labels}


def _compare_columns(
    expectation: Expectation,
    labels: list[dict[str, str]],
    counts: NDArray[np.int64],
    timestamps_ms: NDArray[np.int64],
    bits: NDArray[np.uint64],
    tolerated: frozenset[str],
) -> PageProof:
    findings = Findings()
    scheme = expectation.content.scheme
    streams = np.array([stream_of(own, scheme, tolerated, findings) for own in labels], np.int64)
    required = expectation.required_only()
    if required.n_samples:
        exact = sums_of_columns(required, streams, counts, timestamps_ms, bits)
        if exact is not None:
            return proof_of_all(required, exact, findings)
    received = Received(
        np.repeat(streams, counts),
        np.repeat(np.arange(len(labels), dtype=np.int64), counts),
        np.clip(timestamps_ms, -(2**43), 2**43) * NS_PER_MS,  # within int64
        labels,
    )
    samples = FloatSamples(bits)
    aligned = align(expectation, received, samples, findings)
    sums = samples.sums(expectation.timestamps_ns[aligned.expected], aligned.received)
    return proof_of_aligned(expectation, aligned, sums, findings, len(bits))


@dataclass(frozen=True, eq=False, slots=True)
class FloatSamples:
    """The values of received samples as bit patterns, uint64 (r,)."""

    bits: NDArray[np.uint64]

    def equal(
        self, expectation: Expectation, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Tell for each pair (k,) whether the content is the same, bit by bit."""
        same: NDArray[np.bool_] = expectation.bits(expected) == self.bits[received]
        return same

    def sums(
        self, timestamps_ns: NDArray[np.int64], received: NDArray[np.intp]
    ) -> NDArray[np.uint64]:
        """Return the checksum's inner sums of received samples (k,)."""
        return value_sums(self.bits[received]) + time_sums(timestamps_ns)

    def received_text(self, received: int) -> str:
        """Return the content of a received sample as text."""
        return _float_text(int(self.bits[received]))

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        """Return the content of an expected sample as text."""
        return _float_text(int(expectation.bits(np.array([expected]))[0]))


def _float_text(bits: int) -> str:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return f"0x{bits:016x} ({value!r})"
