"""Loki's HTTP API: push and query_range, answered as Loki answers them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

import looker
from looker.errors import DecodeError
from looker.target.answers import (
    NANOS,
    TEXT,
    Answer,
    RefusedError,
    Request,
    decimal_ns,
    duration_ms,
    plain_error,
    rfc3339_ns,
)
from looker.target.loki_json import render
from looker.target.matchers import SelectorError, parse_stream_selector, quote
from looker.wire.decode import LogColumns, decode_push_request
from looker.wire.snappy import decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from looker.clock import Clock
    from looker.target.loki_store import LokiStore

MAX_UNCOMPRESSED_BYTES = 5000 << 20
_FLAGS_HEADER = "x-loki-response-encoding-flags"
_CATEGORIZE = "categorize-labels"
_DEFAULT_LIMIT = 100
_DEFAULT_SINCE_MS = 3_600_000


class LokiApi:
    """The routes of Loki; ``routes`` maps a path to (methods, what answers)."""

    def __init__(self, store: LokiStore, clock: Clock, max_entries_limit: int) -> None:
        self._store = store
        self._clock = clock
        self._max_entries_limit = max_entries_limit
        self.routes: dict[str, tuple[frozenset[str], Callable[[Request], Answer]]] = {
            "/loki/api/v1/push": (frozenset({"POST"}), self.push),
            "/loki/api/v1/query_range": (frozenset({"GET", "POST"}), self.query_range),
            "/loki/api/v1/status/buildinfo": (frozenset({"GET"}), buildinfo),
            "/ready": (frozenset({"GET"}), ready),
        }

    def push(self, request: Request) -> Answer:
        """Store a push, or nothing of it."""
        columns = _decode(request)
        if len(columns.counts) == 0:
            return plain_error(422, "error at least one valid stream is required for ingestion")
        if columns.n_metadata:
            return plain_error(400, "looker target: structured metadata is not supported")
        try:
            self._store.push(request.tenant, columns)
        except SelectorError as error:
            text = str(error)
            if text.startswith("syntax error"):
                text = f"error parsing labels: 1:{error.column}: parse error: {text}"
            return plain_error(400, text)
        return Answer(204)

    def query_range(self, request: Request) -> Answer:
        """Answer a log query: a stream selector, nothing more."""
        parameters = request.parameters
        try:
            matchers = parse_stream_selector(parameters.get("query", ""))
            stop_ns = _time_ns(parameters, "end", self._clock.wall_ns())
            since_ms = duration_ms(parameters.get("since", "1h"))
            since_ns = (_DEFAULT_SINCE_MS if since_ms is None else since_ms) * 1_000_000
            start_ns = _time_ns(parameters, "start", stop_ns - since_ns)
            limit = self._signed_limit(parameters)
        except SelectorError as error:
            text = str(error)
            place = f"at line 1, col {error.column}" if text.startswith("syntax error") else ""
            return _query_error(f"parse error {place}: {text}")
        except ValueError as error:
            return _query_error(str(error))
        if start_ns > stop_ns:
            return _query_error("end timestamp must not be before or equal to start time")
        page = self._store.query(request.tenant, matchers, start_ns, stop_ns, limit)
        flags = request.headers.get(_FLAGS_HEADER, "").replace(" ", "").split(",")
        body = render(page, categorize=_CATEGORIZE in flags)
        return Answer(200, body, "application/json; charset=UTF-8")

    def _signed_limit(self, parameters: Mapping[str, str]) -> int:
        """Parse limit and direction: the limit, negative for backward; ValueError."""
        direction = (parameters.get("direction", "") or "backward").lower()
        if direction not in {"forward", "backward"}:
            raise ValueError(f"invalid direction '{direction}'")
        limit = int(parameters.get("limit", "") or _DEFAULT_LIMIT)
        if limit <= 0:
            raise ValueError("limit must be a positive value")
        if limit > self._max_entries_limit:
            raise ValueError(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query "
                f"({limit} > {self._max_entries_limit})"
            )
        return limit if direction == "forward" else -limit


def _decode(request: Request) -> LogColumns:
    """Decode a push as its headers say; RefusedError with Loki's texts."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    encoding = request.headers.get("content-encoding", "")
    if not content_type:
        raise RefusedError(plain_error(400, "mime: no media type"))
    if encoding not in {"", "snappy"}:
        raise RefusedError(plain_error(400, f"Content-Encoding {quote(encoding)} not supported"))
    try:
        if content_type == "application/json":
            return _decode_json(request.body)
        body = decompress(request.body, MAX_UNCOMPRESSED_BYTES)
    except DecodeError as error:
        prefix = "" if content_type == "application/json" else "snappy: corrupt input: "
        raise RefusedError(plain_error(400, f"{prefix}{error}")) from None
    try:
        return decode_push_request(body)
    except DecodeError as error:
        raise RefusedError(plain_error(400, str(error))) from None


def ready(_request: Request) -> Answer:
    """Say that requests are served."""
    return Answer(200, b"ready\n", TEXT)


def buildinfo(_request: Request) -> Answer:
    """Say which version this is, in Loki's flat form."""
    return Answer(200, orjson.dumps(build()), "application/json")


def build() -> dict[str, str]:
    """Describe this build with the fields that all these servers have."""
    return {
        "version": f"looker-{looker.__version__}",
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }


def _query_error(message: str) -> Answer:
    return plain_error(400, message, end="")


def _time_ns(parameters: Mapping[str, str], name: str, default: int) -> int:
    """Parse a time: nanoseconds, seconds (up to 10 digits), decimal seconds or RFC 3339."""
    text = parameters.get(name, "")
    if not text:
        return default
    if re.fullmatch(r"-?\d+", text):
        return int(text) * NANOS if len(text) <= 10 else int(text)
    ns = decimal_ns(text) if "." in text or "e" in text else None
    ns = rfc3339_ns(text) if ns is None else ns
    if ns is None:
        raise ValueError(
            f"could not parse '{name}' parameter: parsing time \"{text}\" as "
            '"2006-01-02T15:04:05.999999999Z07:00"'
        )
    return ns


def _decode_json(body: bytes | bytearray) -> LogColumns:
    """Take the columns out of a JSON push; DecodeError for another form."""
    labels, lines, counts, stamps, n_metadata = [], [], [], [], 0
    try:
        for stream in orjson.loads(body)["streams"]:
            pairs = ", ".join(f"{name}={quote(value)}" for name, value in stream["stream"].items())
            labels.append(b"{" + pairs.encode() + b"}")
            counts.append(len(stream["values"]))
            for ns, line, *metadata in stream["values"]:
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
