"""Lies in answers to queries: how a server, a gateway or a cache may alter what was stored.

An answer is taken apart into elements (label pairs, and rows of a time and a content), altered, and
put together again. `LIES` are the alterations by name; each strikes one sample or label set, so
that counts are known. A time is the answer's own, in ns (Loki) or ms; a content is a line, or a
value as text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from looker.wire.proto import prometheus_pb2
from looker.wire.snappy import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FOREIGN_NAME: Final = "nobody-0-0"
UNIQUENAME: Final = "looker_uniquename"


@dataclass
class Element:
    """A stream or series of an answer: label pairs as they come, and [time, content, …] rows."""

    labels: list[tuple[str, str]]
    rows: list[list[Any]] = field(default_factory=list)


Lie = "Callable[[list[Element]], None]"


def corrupt(elements: list[Element]) -> None:
    """Change one sample's content: the last but one of the first element."""
    row = elements[0].rows[-2]
    row[1] = _other(row[1])


def flipped_signs(elements: list[Element]) -> None:
    """Negate all values (of metrics)."""
    for element in elements:
        for row in element.rows:
            row[1] = row[1].removeprefix("-") if row[1].startswith("-") else f"-{row[1]}"


def unexpected(elements: list[Element]) -> None:
    """Add a sample between two others of the first element, one unit of time before the last."""
    rows = elements[0].rows
    rows.insert(-1, [rows[-1][0] - 1, *rows[-1][1:]])


def duplicate(elements: list[Element]) -> None:
    """Show the last sample of the first element twice."""
    elements[0].rows.append(list(elements[0].rows[-1]))


def out_of_order(elements: list[Element]) -> None:
    """Exchange the last two samples of the first element."""
    rows = elements[0].rows
    rows[-2], rows[-1] = rows[-1], rows[-2]


def foreign(elements: list[Element]) -> None:
    """Add a stream of one sample that is not of the run."""
    labels = [(name, FOREIGN_NAME if name == UNIQUENAME else v) for name, v in elements[0].labels]
    elements.append(Element(labels, [list(elements[0].rows[-1])]))


def wrong_label(elements: list[Element]) -> None:
    """Change the value of a label of the first element."""
    labels = elements[0].labels
    at = next(i for i, (name, _) in enumerate(labels) if name != UNIQUENAME)
    labels[at] = (labels[at][0], labels[at][1] + "x")


def label_twice(elements: list[Element]) -> None:
    """Name a label of the first element twice: with a wrong value, then with the right one."""
    labels = elements[0].labels
    at = next(i for i, (name, _) in enumerate(labels) if name != UNIQUENAME)
    labels.insert(at, (labels[at][0], "wrong"))


def lacking(elements: list[Element]) -> None:
    """Leave out the last sample of the last element of several samples."""
    next(element for element in reversed(elements) if len(element.rows) > 1).rows.pop()


def empty(elements: list[Element]) -> None:
    """Leave everything out."""
    elements.clear()


LIES: Final[Mapping[str, tuple[Callable[[list[Element]], None], str]]] = {
    "corrupt": (corrupt, "corrupt"),
    "unexpected": (unexpected, "unexpected"),
    "duplicate": (duplicate, "duplicate"),
    "out_of_order": (out_of_order, "out_of_order"),
    "foreign": (foreign, "unexpected"),
    "wrong_label": (wrong_label, "wrong_labels"),
    "label_twice": (label_twice, "wrong_labels"),
}
"""Lies that are one mismatch each, and its kind (content is not looked at with ``count``)."""


def _other(content: str) -> str:
    try:
        return repr(float(content) * 2)
    except ValueError:
        return content[:-1] + ("~" if content[-1] != "~" else "}")


class Codec(Protocol):
    """Takes an answer apart and puts it together."""

    def decode(self, body: bytes) -> list[Element]:
        """Return the elements of an answer."""
        ...

    def encode(self, elements: list[Element], body: bytes, says: Mapping[str, Any]) -> bytes:
        """Return an answer as ``body`` with other elements, which ``says`` more of itself."""
        ...


class _Json:
    def __init__(self, labels: str, unit: Callable[[Any], int], back: Callable[[int], Any]) -> None:
        self._labels, self._unit, self._back = labels, unit, back

    def decode(self, body: bytes) -> list[Element]:
        return [
            Element(
                list(one[self._labels].items()),
                [[self._unit(row[0]), *row[1:]] for row in one["values"]],
            )
            for one in json.loads(body)["data"]["result"]
        ]

    def encode(self, elements: list[Element], body: bytes, says: Mapping[str, Any]) -> bytes:
        frame = json.loads(body)
        texts = []
        for one in elements:
            labels = ",".join(f"{_json(name)}:{_json(value)}" for name, value in one.labels)
            rows = [[self._back(row[0]), *row[1:]] for row in one.rows]
            texts.append(f'{{"{self._labels}":{{{labels}}},"values":{_json(rows)}}}')
        frame["data"]["result"] = "RESULT"
        # what an answer says of itself stands before its data
        text = _json({"status": frame["status"], **says, **frame, **_status(says)})
        return text.replace('"RESULT"', f"[{','.join(texts)}]").encode()


class _RemoteRead:
    def decode(self, body: bytes) -> list[Element]:
        message = prometheus_pb2.ReadResponse.FromString(body)
        return [
            Element(
                [(label.name, label.value) for label in series.labels],
                [[sample.timestamp, repr(sample.value)] for sample in series.samples],
            )
            for result in message.results
            for series in result.timeseries
        ]

    def encode(self, elements: list[Element], _body: bytes, says: Mapping[str, Any]) -> bytes:
        assert not says, "remote read says nothing of itself"
        result = prometheus_pb2.QueryResult()
        for one in elements:
            series = result.timeseries.add()
            for name, value in one.labels:
                series.labels.add(name=name, value=value)
            for row in one.rows:
                series.samples.add(timestamp=row[0], value=float(row[1]))
        return bytes(prometheus_pb2.ReadResponse(results=[result]).SerializeToString())


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _status(says: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"status": says["status"]} if "status" in says else {}


LOGS: Final[Codec] = _Json("stream", int, str)
QUERY: Final[Codec] = _Json("metric", lambda s: round(s * 1000), lambda ms: ms / 1000)
REMOTE_READ: Final[Codec] = _RemoteRead()


def lie(codec: Codec, body: bytes, lies: Sequence[Any], **says: Any) -> bytes:
    """Return an answer with alterations, and with what it is to say of itself."""
    elements = codec.decode(body)
    for alter in lies:
        alter(elements)
    return codec.encode(elements, body, says)


def packed_lie(body: bytes, lies: Sequence[Any]) -> bytes:
    """Return an answer of remote read, as it comes over the wire, with alterations."""
    return compress(lie(REMOTE_READ, decompress(body, 1 << 30), lies))
