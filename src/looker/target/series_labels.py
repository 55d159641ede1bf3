"""Label sets of series as protobuf fields: parsed, written, and brought into one form."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from looker.errors import DecodeError
from looker.target.effort import expect
from looker.wire.layout import mask_labels

if TYPE_CHECKING:
    from looker.target.matchers import Labels


_PARSE_S = 2e-7  # of each byte of a label blob, roughly


class DuplicateLabelError(DecodeError):
    """A label set has a name twice."""

    def __init__(self, name: str) -> None:
        super().__init__("label name is not unique")
        self.name = name


def canonical(blobs: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Pair each blob with its canonical form: sorted by name, none empty.

    Blobs that differ from a canonical one in values of equal lengths only are canonical too,
    which is seen for all of them at once.
    """
    by_size: dict[int, list[bytes]] = {}
    for blob in blobs:
        by_size.setdefault(len(blob), []).append(blob)
    pairs = []
    for size, group in by_size.items():
        model = encode(parse(group[0]))
        marked = mask_labels(model, names=True)
        if size == 0 or len(model) != size or marked is None or marked[1] != size:
            pairs += [(blob, encode(parse(blob))) for blob in group]
            continue
        joined = b"".join(group)
        _require_utf8(joined)
        rows = np.frombuffer(joined, np.uint8).reshape(-1, size)
        differs = (rows ^ np.frombuffer(model, np.uint8)) & np.frombuffer(marked[0], np.uint8)
        others: list[bool] = np.any(differs, axis=1).tolist()
        pairs += [
            (blob, encode(parse(blob)) if other else blob)
            for blob, other in zip(group, others, strict=True)
        ]
    return pairs


def _require_utf8(joined: bytes) -> None:
    """Raise DecodeError unless the strings in ``joined`` are UTF-8.

    Tags and lengths below 128 stand between them, so all can be looked at as one.
    """
    try:
        joined.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"not a valid label set: {error}") from error


def parse(blob: bytes) -> Labels:
    """Decode a label blob: sorted, without empty values; DecodeError for a name given twice.

    EffortError where it is too long to be done at once.
    """
    expect(_PARSE_S * len(blob))
    from google.protobuf.message import DecodeError as ProtobufError  # noqa: PLC0415

    from looker.wire.proto.prometheus_pb2 import TimeSeries  # noqa: PLC0415

    try:
        labels = TimeSeries.FromString(blob).labels
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a valid label set: {error}") from error
    pairs = tuple(sorted((label.name, label.value) for label in labels if label.value))
    for (name, _), (following, _) in pairwise(pairs):
        if name == following:
            raise DuplicateLabelError(name)
    return pairs


def encode(labels: Labels) -> bytes:
    """Encode labels as the fields of a TimeSeries."""
    from looker.wire.proto.prometheus_pb2 import Label, TimeSeries  # noqa: PLC0415

    fields = [Label(name=name, value=value) for name, value in labels]
    encoded: bytes = TimeSeries(labels=fields).SerializeToString()
    return encoded
