"""The form of a ``query_range`` answer of Loki: frame, elements, rows.

An answer of a given element order and row form is predictable byte by byte, as label sets and
lines have one width. The form is learnt from an answer's first element, never assumed: servers add
labels and metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from looker.errors import DecodeError
from looker.model.labels import UNIQUENAME, LabelScheme
from looker.wire.columns import NumberedText
from looker.wire.named import Repeated, read_json, refuse_repeated
from looker.wire.statements import Statement, of_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESULT: Final = b'"result":['
_VALUES: Final = b',"values":['
_STATUSES: Final = ("success", "error")
"""An error may stand beside data: that is told, and the data are held against what was written."""
_MARK: Final = b'"0x9e3779b97f4a7c15"'
ROW_TEXT_AT: Final = 2 + 19 + 3
"""Where a line begins in its row: behind ``["``, the timestamp, and ``","``."""


@dataclass(frozen=True, slots=True)
class RowForm:
    """A row ``["<19 digits>","<line>"<extra>]`` and the comma or bracket behind it.

    ``metadata`` are the names in ``extra``.
    """

    n_chars: int
    extra: bytes
    metadata: frozenset[str] = frozenset()

    @property
    def width(self) -> int:
        """Bytes of a row with the byte behind it."""
        return ROW_TEXT_AT + self.n_chars + 1 + len(self.extra) + 2

    def template(self) -> NDArray[np.uint8]:
        """Return a row with zeros where timestamp and line go, and a comma behind it."""
        row = b'["' + b"0" * 19 + b'","' + b"0" * self.n_chars + b'"' + self.extra + b"],"
        return np.frombuffer(row, np.uint8)


@dataclass(frozen=True, slots=True)
class ElementForm:
    """What stands before the rows of an element, for any stream; and the form of the rows.

    ``added_to_head`` are the names of labels in the head that are not the stream's own.
    """

    head: NumberedText
    row: RowForm
    added_to_head: frozenset[str]

    @property
    def added_labels(self) -> frozenset[str]:
        """All names that the server added, in the head or in the rows."""
        return self.added_to_head | self.row.metadata


def result_begin(body: bytes) -> int:
    """Return where the first element of the result begins; -1 if there is no result."""
    at = body.find(_RESULT, 0, 4096)
    return at + len(_RESULT) if at >= 0 else -1


def statements_around(body: bytes, begin: int, end: int) -> tuple[Statement, ...] | None:
    """Return what an answer with the result ``body[begin:end]`` says of itself.

    None where what is around the result does not make a complete answer.
    """
    try:
        # a mark shows that it is this result that counts, and not a second one of that name
        frame = read_json(body[:begin] + _MARK + body[end:])
    except DecodeError:
        return None
    data = frame.get("data") if isinstance(frame, dict) else None
    whole = (
        isinstance(data, dict)
        and not isinstance(frame, Repeated)
        and not isinstance(data, Repeated)
        and frame.get("status") in _STATUSES
        and data.get("resultType") == "streams"
        and data.get("result") == [orjson.loads(_MARK)]
    )
    return of_frame(frame) if whole else None


def learn_form(
    body: bytes, begin: int, scheme: LabelScheme, n_chars: int, tolerated: frozenset[str]
) -> ElementForm | None:
    """Learn the form from the element at ``begin``; None where it has no form to predict from.

    ``tolerated`` are the names of labels and metadata that the target may add.
    """
    values_at = body.find(_VALUES, begin, begin + 65_536)
    if values_at < 0:
        return None
    head = body[begin : values_at + len(_VALUES)]
    labels = _labels_of(head)
    if labels is None:
        return None
    stream = scheme.stream_of(str(labels.get(UNIQUENAME)))
    if stream is None or not scheme.is_like(scheme.labels(stream), labels, tolerated):
        return None
    numbered = _numbered(head, scheme, stream)
    row = _learn_row(body, begin + len(head), n_chars, tolerated)
    if numbered is None or row is None:
        return None
    if not _holds_for_all(numbered, scheme, stream, tolerated):
        return None
    return ElementForm(numbered, row, frozenset(labels) - frozenset(scheme.labels(stream)))


def _labels_of(head: bytes) -> dict[str, Any] | None:
    """Return the labels that stand before an element's rows; None where they are not usual."""
    try:
        labels = read_json(head[len(b'{"stream":') : -len(_VALUES)])
    except DecodeError:
        return None
    usual = isinstance(labels, dict) and not isinstance(labels, Repeated)
    return labels if usual else None


def _numbered(head: bytes, scheme: LabelScheme, stream: int) -> NumberedText | None:
    unique = scheme.uniquename(stream).encode()
    group = scheme.group(stream // scheme.group_size).encode()
    parts: list[bytes | tuple[int, int]] = []
    rest = head
    for text, width, divisor in (
        (b'"' + group + b'"', scheme.group_digits, scheme.group_size),
        (b'"' + unique + b'"', scheme.stream_digits, 1),
    ):
        before, found, rest = rest.partition(text)
        if not found:
            return None
        parts += [before + text[: -1 - width], (width, divisor), b'"']
    return NumberedText([*parts, rest])


def _holds_for_all(
    numbered: NumberedText, scheme: LabelScheme, stream: int, tolerated: frozenset[str]
) -> bool:
    """Tell whether the head of another stream, of another group, is that stream's.

    It is not where the text of a number stands in the head a second time.
    """
    other = scheme.n_streams - 1 - stream
    head = numbered.render(np.array([other], np.uint32)).tobytes()
    labels = _labels_of(head)
    return labels is not None and scheme.is_like(scheme.labels(other), labels, tolerated)


def _learn_row(body: bytes, begin: int, n_chars: int, tolerated: frozenset[str]) -> RowForm | None:
    quote = begin + ROW_TEXT_AT + n_chars
    if body[quote : quote + 1] != b'"':
        return None
    end = body.find(b"]", quote, quote + 4096)
    if end < 0:
        return None
    extra = body[quote + 1 : end]
    names = extra_names(extra, tolerated)
    return None if names is None else RowForm(n_chars, extra, names)


def extra_names(extra: bytes, tolerated: frozenset[str]) -> frozenset[str] | None:
    """Return the names in what follows a row's line; None where not all is tolerated."""
    if not extra:
        return frozenset()
    try:
        values = read_json(b"[0" + extra + b"]")
    except DecodeError:
        return None
    if len(values) != 2 or not metadata_tolerated(values[1], tolerated):
        return None
    return frozenset(values[1].get("structuredMetadata", {}))


def metadata_tolerated(metadata: Any, tolerated: frozenset[str]) -> bool:
    """Tell whether a row's third value holds only what is tolerated."""
    if not isinstance(metadata, dict) or set(metadata) - {"structuredMetadata", "parsed"}:
        return False
    if metadata.get("parsed") or isinstance(metadata, Repeated):
        return False
    structured = metadata.get("structuredMetadata", {})
    usual = isinstance(structured, dict) and not isinstance(structured, Repeated)
    return usual and set(structured) <= tolerated


def entry_times(body: bytes) -> NDArray[np.int64]:
    """Return the time of each entry of an answer in ns, int64 (n,); DecodeError if it is none."""
    elements, _ = parse_streams(body)
    rows = chain.from_iterable(element["values"] for element in elements)
    try:
        return np.fromiter((int(row[0]) for row in rows), np.int64)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise DecodeError("an entry of the answer has no timestamp in nanoseconds") from error


def parse_streams(body: bytes) -> tuple[list[dict[str, Any]], tuple[Statement, ...]]:
    """Parse an answer in full: its elements, and what it says of itself.

    DecodeError where it is not one of streams.

    Label sets that have a name twice are `Repeated`.
    """
    answer = read_json(body)
    match answer:
        case {
            "status": "success" | "error",
            "data": {"resultType": "streams", "result": list(result)},
        }:
            refuse_repeated(answer, answer["data"])
        case _:
            raise DecodeError("the answer is not one of streams: " + repr(body[:200]))
    for element in result:
        match element:
            case {"stream": dict(), "values": list()}:
                refuse_repeated(element)
            case _:
                raise DecodeError("an element of the answer has no stream or no values")
    return result, of_frame(answer)
