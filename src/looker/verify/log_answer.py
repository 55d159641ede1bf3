"""Comparing Loki's answers with what was written.

First the whole answer is predicted and compared, byte by byte. Only where it differs is it parsed
and aligned entry by entry.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.errors import DecodeError
from looker.model.config import VerifyMode
from looker.model.labels import LOKI_ADDS
from looker.model.mismatch import Findings, MismatchExample, MismatchKind
from looker.model.words import one_line
from looker.verify.alignment import FOREIGN_STREAM, Received
from looker.verify.identity import first_times, stream_of
from looker.verify.judging import judge, note_statements, undecided
from looker.verify.log_prediction import Extras, LogPredictor
from looker.verify.proof import PageProof, proof_of_all
from looker.wire.checksum import words_of_lines
from looker.wire.loki_answer import (
    ElementForm,
    learn_form,
    metadata_tolerated,
    parse_streams,
    result_begin,
    statements_around,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.model.labels import LabelScheme
    from looker.verify.expectation import Expectation
    from looker.wire.statements import Statement


_NO_METADATA: Final = "metadata {}"
_DIGITS: Final = re.compile("-?[0-9]{1,19}")


class LogAnswers:
    """Compares the answers to the queries of one generation's logs."""

    def __init__(
        self,
        content: Content,
        ignored: frozenset[str] = frozenset(),
        mode: VerifyMode = VerifyMode.CONTENT,
    ) -> None:
        """``ignored`` are further labels that the target may add."""
        self._content = content
        self._mode = mode
        self._tolerated = LOKI_ADDS | ignored
        self._form: ElementForm | None = None
        self._extras = Extras(self._tolerated)
        regenerate = mode is VerifyMode.CONTENT
        self._predictor = LogPredictor(content, self._extras, regenerate=regenerate)

    def compare(
        self,
        body: bytes,
        expectation: Expectation,
        *,
        in_full: bool = False,
        backward: bool = False,
    ) -> PageProof:
        """Compare a ``query_range`` answer; DecodeError if it is not one.

        ``in_full`` wants each sample's own content, where the mode does not regenerate it.
        ``backward`` tells that the newest entries were asked for first.
        """
        if backward:
            return self._aligned(body, expectation, backward=True)
        for likely in () if in_full else expectation.likely():
            proof = self._predicted(body, likely)
            if proof is not None:
                return undecided(self._mode, proof)
        return self._aligned(body, expectation)

    def _predicted(self, body: bytes, expectation: Expectation) -> PageProof | None:
        begin = result_begin(body)
        if begin < 0:
            return None
        known = self._form
        if known is not None:
            proof = self._as_formed(body, begin, expectation, known)
            if proof is not None:
                return proof
        scheme = self._content.scheme
        form = learn_form(body, begin, scheme, self._content.n_chars, self._tolerated)
        if form is None:
            return None
        if known is not None and np.array_equal(form.head.template, known.head.template):
            # nothing new, as rows of other forms were looked for
            return None
        return self._as_formed(body, begin, expectation, form)

    def _as_formed(
        self, body: bytes, begin: int, expectation: Expectation, form: ElementForm
    ) -> PageProof | None:
        found = self._predictor.compare(body, begin, expectation, form)
        said = None if found is None else statements_around(body, begin, found.end)
        if found is None or said is None:
            return None
        self._form, added = form, set(form.added_labels)
        if found.odd:
            added = self._additions(form, expectation.n_samples, found.odd)
        findings = Findings(added_labels=added)
        note_statements(findings, said)
        return proof_of_all(expectation, found.sums, findings)

    def _additions(self, form: ElementForm, n_rows: int, odd: Counter[bytes]) -> set[str]:
        """Return the names of what was added; predict for the next answer what most rows have."""
        rows_of = odd | Counter({form.row.extra: n_rows - odd.total()})
        names = {extra: self._extras.names(extra) or frozenset() for extra in rows_of}
        usual = max(rows_of, key=lambda extra: rows_of[extra])
        if usual != form.row.extra:
            self._form = replace(form, row=replace(form.row, extra=usual, metadata=names[usual]))
        return set(form.added_to_head.union(*names.values()))

    def _aligned(
        self, body: bytes, expectation: Expectation, *, backward: bool = False
    ) -> PageProof:
        findings = Findings()
        entries = Entries.parse(body, expectation, self._tolerated, findings, backward=backward)
        proof = judge(self._mode, expectation, entries.received, entries, findings)
        note_statements(findings, entries.said)
        return proof


@dataclass(frozen=True, eq=False, slots=True)
class Entries:
    """The entries of a parsed answer: lines of the right length as columns, and all as text."""

    received: Received
    text: list[str]
    lines: NDArray[np.uint8]
    fits: NDArray[np.bool_]
    said: tuple[Statement, ...] = ()

    @classmethod
    def parse(
        cls,
        body: bytes,
        expectation: Expectation,
        tolerated: frozenset[str],
        findings: Findings,
        *,
        backward: bool = False,
    ) -> Entries:
        """Take the columns out of an answer; DecodeError where it is not one of entries.

        Of an answer with the newest first (``backward``), they are the other way round.
        """
        elements, statements = parse_streams(body)
        if backward:
            for element in elements:
                element["values"].reverse()
        scheme = expectation.content.scheme
        counts = np.fromiter((len(element["values"]) for element in elements), np.int64)
        values = list(chain.from_iterable(element["values"] for element in elements))
        try:
            _check_rows(values)
            times = np.fromiter((int(value[0]) for value in values), np.int64, len(values))
            text = [value[1] for value in values]
            encoded = [line.encode("utf-8", "surrogatepass") for line in text]
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            said = one_line(str(error), 200)
            raise DecodeError(f"an entry of the answer is not [timestamp, line]: {said}") from error
        firsts_ns = first_times(counts, times)
        streams = [
            stream_of(element["stream"], scheme, tolerated, findings, first_ns)
            for element, first_ns in zip(elements, firsts_ns, strict=True)
        ]
        owners = np.repeat(np.array(streams, np.int64), counts)
        _check_metadata(values, scheme, tolerated, findings, owners, times)
        n_chars = expectation.content.n_chars
        fits = np.fromiter(map(len, encoded), np.int64, len(encoded)) == n_chars
        joined = b"".join(line for line, fit in zip(encoded, fits, strict=True) if fit)
        lines = np.zeros((len(encoded), n_chars), np.uint8)
        lines[fits] = np.frombuffer(joined, np.uint8).reshape(-1, n_chars)
        received = Received(
            owners,
            np.repeat(np.arange(len(elements), dtype=np.int64), counts),
            times,
            [element["stream"] for element in elements],
        )
        return cls(received, text, lines, fits, statements)

    def equal(
        self, expectation: Expectation, expected: NDArray[np.intp], received: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Tell for each pair (k,) whether the content is the same, bit by bit."""
        same: NDArray[np.bool_] = (expectation.lines(expected) == self.lines[received]).all(axis=1)
        return same & self.fits[received]

    def words(self, received: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return received samples as words, uint64 (k, n_words)."""
        return words_of_lines(self.lines[received])

    def digests(self, received: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return a number for the content of each received sample (k,): the same for the same."""
        text = self.text
        return np.fromiter((hash(text[i]) for i in received.tolist()), np.int64, len(received))

    def received_text(self, received: int) -> str:
        """Return the content of a received sample as text."""
        return self.text[received]

    def expected_text(self, expectation: Expectation, expected: int) -> str:
        """Return the content of an expected sample as text."""
        return expectation.lines(np.array([expected])).tobytes().decode("ascii")


def _check_rows(values: list[Any]) -> None:
    """Raise ValueError or TypeError where a row is not [digits, line] or [digits, line, object].

    int() alone would take numbers, spaces and underscores as well.
    """
    if not {*map(type, values)} <= {list} or not {*map(len, values)} <= {2, 3}:
        raise ValueError("a row is something else")
    if not all(_DIGITS.fullmatch(value[0]) for value in values):
        raise ValueError("a timestamp is not in nanoseconds")


def _check_metadata(
    values: list[Any],
    scheme: LabelScheme,
    tolerated: frozenset[str],
    findings: Findings,
    streams: NDArray[np.int64],
    times_ns: NDArray[np.int64],
) -> None:
    """Count entries that came with metadata which nobody wrote."""
    strange = [
        number
        for number, value in enumerate(values)
        if len(value) > 2 and not metadata_tolerated(value[2], tolerated)
    ]
    findings.add_at(MismatchKind.UNEXPECTED, streams[strange], times_ns[strange])
    for number in strange[: findings.room()]:
        stream = int(streams[number])
        findings.keep(
            MismatchExample(
                kind=MismatchKind.UNEXPECTED,
                stream=scheme.uniquename(stream) if stream >= 0 else FOREIGN_STREAM,
                cycle=scheme.born_in_cycle,
                labels=scheme.labels(stream) if stream >= 0 else None,
                timestamp_ns=int(times_ns[number]),
                expected=_NO_METADATA,
                received="metadata " + json.dumps(values[number][2], sort_keys=True),
            )
        )
    for value in values:
        if len(value) > 2 and value[2] and metadata_tolerated(value[2], tolerated):
            findings.added_labels.update(value[2].get("structuredMetadata", {}))
            break
