"""Loki's push requests: from body and headers to columns."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from looker.errors import DecodeError
from looker.target.answers import RefusedError, plain_error
from looker.target.bodies import lend_for_json, lend_for_protobuf, uncompressed
from looker.target.effort import check, checked
from looker.target.matchers import quote
from looker.wire.decode import LogColumns, decode_push_request

if TYPE_CHECKING:
    from looker.target.answers import Request
    from looker.target.memory import Loan

    Body = bytes | bytearray | memoryview

MAX_UNCOMPRESSED_BYTES = 5000 << 20
_PART_BYTES = 1 << 20
_WBITS = {"gzip": 31, "deflate": -15}


def decode(request: Request, loan: Loan) -> LogColumns:
    """Decode a push as its headers say; RefusedError with Loki's texts, LoanError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    encoding = request.headers.get("content-encoding", "")
    if not content_type:
        raise RefusedError(plain_error(400, "mime: no media type"))
    if encoding not in {"", "snappy", *_WBITS}:
        raise RefusedError(plain_error(400, f"Content-Encoding {quote(encoding)} not supported"))
    content = _inflate(request.body, encoding, loan) if encoding in _WBITS else request.body
    try:
        if content_type == "application/json":
            lend_for_json(content, loan)
            return _decode_json(content)
        body = uncompressed(content, MAX_UNCOMPRESSED_BYTES, loan)
    except DecodeError as error:
        prefix = "" if content_type == "application/json" else "snappy: corrupt input: "
        raise RefusedError(plain_error(400, f"{prefix}{error}")) from None
    lend_for_protobuf(body, loan)
    try:
        return decode_push_request(body)
    except DecodeError as error:
        raise RefusedError(plain_error(400, str(error))) from None


def _inflate(body: Body, encoding: str, loan: Loan) -> bytearray:
    """Undo a Content-Encoding around the body; RefusedError, LoanError."""
    inflater = zlib.decompressobj(_WBITS[encoding])
    content, rest = bytearray(), body
    try:
        while rest and not inflater.eof:
            # a part of it, and what the array sets aside as it grows
            loan.more(_PART_BYTES + _PART_BYTES // 4)
            content += inflater.decompress(rest, _PART_BYTES)
            rest = inflater.unconsumed_tail
            check()
            if len(content) > MAX_UNCOMPRESSED_BYTES:
                raise RefusedError(plain_error(413, "request body too large"))
    except zlib.error:
        raise RefusedError(plain_error(400, f"{encoding}: invalid header")) from None
    if not inflater.eof:
        raise RefusedError(plain_error(400, "unexpected EOF"))
    return content


def _decode_json(body: Body) -> LogColumns:
    """Take the columns out of a JSON push; DecodeError for another form."""
    labels, lines, counts, stamps, n_metadata = [], [], [], [], 0
    try:
        for stream in checked(orjson.loads(body)["streams"]):
            pairs = ", ".join(f"{name}={quote(value)}" for name, value in stream["stream"].items())
            labels.append(b"{" + pairs.encode() + b"}")
            counts.append(len(stream["values"]))
            for ns, line, *metadata in checked(stream["values"]):
                stamps.append(int(_text(ns)))
                lines.append(_text(line).encode())
                n_metadata += sum(map(len, metadata))
        times = np.array(stamps, np.int64)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DecodeError(f"loghttp.PushRequest: {error!r}") from error
    parts = [*labels, *lines]
    sizes = np.array([len(part) for part in parts], np.int64)
    offsets = np.cumsum(sizes) - sizes
    n = len(labels)
    return LogColumns(
        np.frombuffer(b"".join(parts), np.uint8),
        offsets[:n],
        sizes[:n],
        np.array(counts, np.int64),
        times,
        offsets[n:],
        sizes[n:],
        n_metadata,
    )


def _text(value: Any) -> str:
    """Insist on a string: Loki refuses times given as numbers."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {value!r}")
    return value
