"""Remote read: the samples of series as protobuf, each query one result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from looker.errors import DecodeError
from looker.target import xor_chunks
from looker.target.answers import Answer, plain_error
from looker.target.bodies import lend_for_protobuf, uncompressed
from looker.target.effort import checked
from looker.target.matchers import Matcher, validated
from looker.target.memory import LoanError
from looker.target.patterns import PatternError
from looker.target.series_labels import encode
from looker.wire.columns import varint, varint_words
from looker.wire.proto.prometheus_pb2 import ReadRequest
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from looker.target.answers import Request
    from looker.target.config import TargetConfig
    from looker.target.damage import AnswerDamage
    from looker.target.memory import Loan
    from looker.target.series_store import Samples, SeriesStore

MAX_UNCOMPRESSED_BYTES = 1 << 31
_OPERATORS: tuple[Literal["=", "!=", "=~", "!~"], ...] = ("=", "!=", "=~", "!~")
_STREAMED = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
_STAMP_BYTES = 6  # varint of milliseconds between 2004 and 2109
_LEAST_STAMP, _STAMP_LIMIT = 1 << 35, 1 << 42
_SAMPLE_BYTES = 12 + _STAMP_BYTES
_TAKEN_BYTES = 150  # of each sample, in columns and in all copies of its encoding
_MESSAGE_BYTES = 300  # of each sample of a series that the protobuf library encodes


class RemoteRead:
    """Answers remote reads: as samples, or as chunks where Prometheus would."""

    def __init__(
        self, store: SeriesStore, config: TargetConfig, damage: AnswerDamage | None = None
    ) -> None:
        self._store = store
        self._damage = damage
        self._external = config.external_labels
        self._verbose = config.product == "looker"
        self._streams = config.product == "prometheus"
        # Cortex does not say that the body is compressed.
        encoded = {"Content-Encoding": "snappy"}
        self._headers = {} if config.product == "cortex" else encoded

    def read(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            with self._store.budget.loan() as loan:
                return self._answer(request, loan)
        except DecodeError as error:
            return plain_error(400, str(error) if self._verbose else "snappy: corrupt input")
        except (ProtobufError, UnicodeDecodeError, PatternError, IndexError) as error:
            return plain_error(400, str(error))
        except LoanError as error:
            return plain_error(
                400, f"exceeded sample limit ({error.lendable_bytes // _TAKEN_BYTES})"
            )

    def _answer(self, request: Request, loan: Loan) -> Answer:
        body = uncompressed(request.body, MAX_UNCOMPRESSED_BYTES, loan)
        lend_for_protobuf(body, loan)
        message = ReadRequest.FromString(body)
        found = []
        for query in checked(message.queries):
            samples = self._query(request.tenant, query)
            loan.more(_answer_bytes(samples))
            found.append(samples)
        if self._damage is not None:
            cache_control = request.headers.get("cache-control", "")
            found = [self._damage.samples(one, cache_control) for one in found]
        accepted = list(message.accepted_response_types)
        if self._streams and accepted[:1] == [ReadRequest.STREAMED_XOR_CHUNKS]:
            body = b"".join(xor_chunks.frames(one, i) for i, one in enumerate(found))
            return Answer(200, body, _STREAMED)
        body = bytes(compress(b"".join(query_result(samples) for samples in found)))
        return Answer(200, body, "application/x-protobuf", self._headers)

    def _query(self, tenant: str, query: Any) -> Samples:
        matchers = validated(
            [Matcher(m.name, _OPERATORS[m.type], m.value) for m in checked(query.matchers)]
        )
        external = dict(self._external)
        # What asks for an external label means the series that do not have it themselves.
        inner = [
            Matcher(m.name, "=", "") if m.operator == "=" and external.get(m.name) == m.value else m
            for m in matchers
        ]
        samples = self._store.query(
            tenant, inner, query.start_timestamp_ms, query.end_timestamp_ms + 1
        )
        return self._named(samples) if external else samples

    def _named(self, samples: Samples) -> Samples:
        """Add the external labels to series that do not have them."""
        labels = [
            tuple(sorted((dict(self._external) | dict(own)).items())) for own in samples.labels
        ]
        return replace(samples, labels=labels, blobs=[encode(own) for own in labels])


def _answer_bytes(samples: Samples) -> int:
    """Return what samples and the answer that is made of them take, at most."""
    n_bytes = _TAKEN_BYTES * len(samples.times_ms) + sum(6 * len(blob) for blob in samples.blobs)
    return n_bytes + _MESSAGE_BYTES * int(samples.counts.max(initial=0))


def query_result(samples: Samples) -> bytes:
    """Encode the samples as one QueryResult field of a ReadResponse, the field's tag included."""
    plain = (
        bool((samples.value_bits != 0).all())
        and bool((samples.times_ms >= _LEAST_STAMP).all())
        and bool((samples.times_ms < _STAMP_LIMIT).all())
    )
    parts = _plain_series(samples) if plain else _any_series(samples)
    length = sum(map(len, parts))
    return b"".join([b"\x0a", varint(length), *parts])


def _plain_series(samples: Samples) -> list[bytes | memoryview]:
    """Encode series whose samples all have the same length."""
    rows = np.empty((len(samples.times_ms), _SAMPLE_BYTES), np.uint8)
    rows[:, :3] = (0x12, _SAMPLE_BYTES - 2, 0x09)
    rows[:, 3:11] = samples.value_bits.astype("<u8").view(np.uint8).reshape(-1, 8)
    rows[:, 11] = 0x10
    stamps = varint_words(samples.times_ms, _STAMP_BYTES).astype("<u8").view(np.uint8)
    rows[:, 12:] = stamps.reshape(-1, 8)[:, :_STAMP_BYTES]
    flat = rows.reshape(-1).data
    parts: list[bytes | memoryview] = []
    at = 0
    for blob, n in zip(samples.blobs, samples.counts.tolist(), strict=True):
        size = n * _SAMPLE_BYTES
        parts += (b"\x0a" + varint(len(blob) + size) + blob, flat[at : at + size])
        at += size
    return parts


def _any_series(samples: Samples) -> list[bytes | memoryview]:
    """Encode series whatever their samples are, by the protobuf library."""
    from looker.wire.proto.prometheus_pb2 import Sample, TimeSeries  # noqa: PLC0415

    stamps, values = samples.times_ms.tolist(), samples.value_bits.view(np.float64).tolist()
    parts: list[bytes | memoryview] = []
    at = 0
    for blob, n in zip(samples.blobs, samples.counts.tolist(), strict=True):
        points = zip(values[at : at + n], stamps[at : at + n], strict=True)
        series = TimeSeries(samples=[Sample(value=v, timestamp=t) for v, t in points])
        content = blob + series.SerializeToString()
        parts.append(b"\x0a" + varint(len(content)) + content)
        at += n
    return parts
