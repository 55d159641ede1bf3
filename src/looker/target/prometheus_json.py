"""Prometheus' JSON answers and remote read's protobuf ones."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from looker.target.loki_json import escape_html
from looker.wire.columns import varint, varint_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from looker.target.matchers import Labels
    from looker.target.series_store import Samples

_STAMP_BYTES = 6  # varint of milliseconds between 2004 and 2109
_LEAST_STAMP, _STAMP_LIMIT = 1 << 35, 1 << 42
_SAMPLE_BYTES = 12 + _STAMP_BYTES


def float_text(value: float) -> str:
    """Write a float as Prometheus does: the shortest text that reads back the same."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        text = f"{Decimal(shortest):f}"
        return text.removesuffix(".0")
    sign, digits, exponent = Decimal(shortest).as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - not so only for NaN and infinities
    figures = "".join(map(str, digits)).rstrip("0")
    power = exponent + len(digits) - 1
    mantissa = figures[0] + ("." + figures[1:] if len(figures) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def value_texts(bits: NDArray[np.uint64]) -> list[str]:
    """Write many float64 bit patterns; n items."""
    if len(bits) == 0:
        return []
    values = bits.view(np.float64)
    joined = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    # The shortest text ends in ".0" only where the value is whole.
    texts = (joined[1:-1] + ",").replace(".0,", ",")[:-1].split(",")
    if "e" in joined or "null" in joined:
        return [
            float_text(value) if "e" in text or text == "null" else text
            for text, value in zip(texts, values.tolist(), strict=True)
        ]
    return texts


def time_text(ms: int) -> str:
    """Write milliseconds as seconds, with three decimals only where they are not zero."""
    sign, (seconds, rest) = ("-" if ms < 0 else ""), divmod(abs(ms), 1000)
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


def _metric(labels: Labels) -> str:
    pairs = (f'"{name}":"{escape_html(value.encode())}"' for name, value in labels)
    return '{"metric":{' + ",".join(pairs) + "},"


def _envelope(kind: str, elements: Iterable[str]) -> bytes:
    joined = ",".join(elements)
    return (f'{{"status":"success","data":{{"resultType":"{kind}","result":[{joined}]}}}}').encode()


def matrix(samples: Samples) -> bytes:
    """Write a matrix of all samples."""
    stamps = map(time_text, samples.times_ms.tolist())
    values = value_texts(samples.value_bits)
    points = [f'[{t},"{v}"]' for t, v in zip(stamps, values, strict=True)]
    elements, at = [], 0
    for labels, n in zip(samples.labels, samples.counts.tolist(), strict=True):
        elements.append(f'{_metric(labels)}"values":[{",".join(points[at : at + n])}]}}')
        at += n
    return _envelope("matrix", elements)


def vector(samples: Samples, at_ms: int) -> bytes:
    """Write a vector of one sample per series, all stamped with the query's time."""
    time = time_text(at_ms)
    values = value_texts(samples.value_bits)
    return _envelope(
        "vector",
        (
            f'{_metric(labels)}"value":[{time},"{value}"]}}'
            for labels, value in zip(samples.labels, values, strict=True)
        ),
    )


def error_json(kind: str, message: str) -> bytes:
    """Write an error as the API's envelope."""
    body: dict[str, Any] = {"status": "error", "errorType": kind, "error": message}
    return orjson.dumps(body)


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
