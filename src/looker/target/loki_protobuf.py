"""Loki's protobuf answers (``Accept: application/vnd.google.protobuf``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.target.matchers import label_string
from looker.wire import records
from looker.wire.columns import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.target.loki_store import Page

CONTENT_TYPE: Final = "application/vnd.google.protobuf"
_NANOS = 1_000_000_000


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varint(len(content)) + content


def render_protobuf(page: Page, levels: Sequence[str], signed_limit: int) -> bytes:
    """Write a query's answer; ``levels`` are the rows' levels to show, if any.

    A negative limit stands for the backward direction. The statistics are left empty.
    """
    from looker.wire.proto.loki_pb2 import Stream  # noqa: PLC0415

    lines = records.slices(page.lines, page.offsets, page.lengths)
    times = page.times.tolist()
    streams, at = [], 0
    for labels, n in zip(page.labels, page.counts.tolist(), strict=True):
        stream = Stream(labels=label_string(labels))
        for i in range(at, at + n):
            entry = stream.entries.add(line=lines[i].decode(errors="replace"))
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(times[i], _NANOS)
            if levels:
                entry.structured_metadata.add(name="detected_level", value=levels[i])
        streams.append(_field(0x12, stream.SerializeToString()))
        at += n
    result = _field(0x0A, b"streams") + b"".join(streams)
    direction = b"\x28\x01" if signed_limit < 0 else b""
    answer = (
        _field(0x0A, b"success")
        + _field(0x12, result)
        + direction
        + b"\x30" + varint(abs(signed_limit))
        + b"\x38\x01"
        + _field(0x42, b"")
    )  # fmt: skip
    return _field(0x0A, b"") + _field(0x32, answer)
