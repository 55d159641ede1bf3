"""Comparing remote read's and the query API's answers with what was written."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from looker.errors import DecodeError
from looker.model.config import NS_PER_MS, VerifyMode
from looker.model.labels import METRICS_ADD
from looker.model.mismatch import Findings
from looker.verify.alignment import Received
from looker.verify.identity import first_times, stream_of
from looker.verify.judging import judge, note_statements, undecided
from looker.verify.proof import PageProof, proof_of_all
from looker.verify.read_prediction import predicted_sums, sums_of_columns
from looker.wire.checksum import words_of_values
from looker.wire.decode import decode_read_response
from looker.wire.named import named
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
        mode: VerifyMode = VerifyMode.CONTENT,
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
        self._tolerated = METRICS_ADD | ignored | self._added
        self._mode = mode

    def compare(self, body: bytes, expectation: Expectation, *, in_full: bool = False) -> PageProof:
        """Compare an answer; DecodeError if it is not one.

        ``in_full`` wants each sample's own content, where the mode does not regenerate it.
        """
        for likely in () if in_full else expectation.likely():
            proof = self._predicted(body, likely)
            if proof is not None:
                return undecided(self._mode, proof)
        return self._aligned(body, expectation, in_full=in_full)

    def _predicted(self, body: bytes, expectation: Expectation) -> PageProof | None:
        regenerate = self._mode is VerifyMode.CONTENT
        sums = predicted_sums(body, expectation, self._labels, regenerate=regenerate)
        if sums is None:
            return None
        return proof_of_all(expectation, sums, Findings(added_labels=set(self._added)))

    def _aligned(
        self, body: bytes, expectation: Expectation, *, in_full: bool = False
    ) -> PageProof:
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
        columns = (counts, times, bits)
        return _compare_columns(
            self._mode, expectation, labels, columns, self._tolerated, in_full=in_full
        )


class QueryAnswers:
    """Compares the query API's answers to range selectors for one generation's series."""

    def __init__(
        self, ignored: frozenset[str] = frozenset(), mode: VerifyMode = VerifyMode.CONTENT
    ) -> None:
        """``ignored`` are labels that the target may add."""
        self._tolerated = METRICS_ADD | ignored
        self._mode = mode

    def compare(
        self, body: bytes, expectation: Expectation, begin_ms: int, *, in_full: bool = False
    ) -> PageProof:
        """Compare an answer; DecodeError if it is not one.

        ``begin_ms`` is the first millisecond that was asked for: servers before Prometheus 3
        also return the sample at the open end of the range, one millisecond before it.
        ``in_full`` as for remote read.
        """
        matrix = parse_matrix(body)
        inside = matrix.timestamps_ms != begin_ms - 1
        series = np.repeat(np.arange(len(matrix.counts)), matrix.counts)[inside]
        counts = np.bincount(series, minlength=len(matrix.counts)).astype(np.int64)
        columns = (counts, matrix.timestamps_ms[inside], matrix.bits[inside])
        proof = _compare_columns(
            self._mode, expectation, matrix.metrics, columns, self._tolerated, in_full=in_full
        )
        note_statements(proof.findings, matrix.said)
        return proof


def parse_labels(blob: bytes) -> dict[str, str]:
    """Return the labels in the fields of a series; DecodeError where they are none.

    They are `Repeated` where a name comes twice.
    """
    try:
        series = prometheus_pb2.TimeSeries.FromString(blob)
    except ProtobufError as error:
        raise DecodeError(f"the labels of a series cannot be read: {error}") from error
    return named([(label.name, label.value) for label in series.labels])


def _compare_columns(
    mode: VerifyMode,
    expectation: Expectation,
    labels: list[dict[str, str]],
    columns: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]],
    tolerated: frozenset[str],
    *,
    in_full: bool,
) -> PageProof:
    """Compare series: (samples per series, timestamps in ms, bits), in the order of the answer."""
    counts, timestamps_ms, bits = columns
    findings = Findings()
    scheme = expectation.content.scheme
    times_ns = np.clip(timestamps_ms, -(2**43), 2**43) * NS_PER_MS  # within int64
    firsts_ns = first_times(counts, times_ns)
    streams = np.array(
        [
            stream_of(own, scheme, tolerated, findings, first_ns)
            for own, first_ns in zip(labels, firsts_ns, strict=True)
        ],
        np.int64,
    )
    regenerate = mode is VerifyMode.CONTENT
    for likely in () if in_full else expectation.likely():
        exact = sums_of_columns(likely, streams, counts, timestamps_ms, bits, regenerate=regenerate)
        if exact is not None:
            return undecided(mode, proof_of_all(likely, exact, findings))
    received = Received(
        np.repeat(streams, counts),
        np.repeat(np.arange(len(labels), dtype=np.int64), counts),
        times_ns,
        labels,
    )
    return judge(mode, expectation, received, FloatSamples(bits), findings)


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

    def words(self, received: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return received samples as words, uint64 (k, 1)."""
        return words_of_values(self.bits[received])

    def digests(self, received: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return a number for the content of each received sample (k,): the same for the same."""
        return self.bits[received].view(np.int64)

    def received_text(self, received: int) -> str:
        """Return the content of a received sample as text."""
        return _float_text(int(self.bits[received]))

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        """Return the content of an expected sample as text."""
        return _float_text(int(expectation.bits(np.array([expected]))[0]))


def _float_text(bits: int) -> str:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return f"0x{bits:016x} ({value!r})"
