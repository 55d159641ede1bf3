"""Prometheus' and Cortex' JSON answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from looker.target.loki_json import escape_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from looker.target.matchers import Labels
    from looker.target.series_store import Samples


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


def plain_text(value: float) -> str:
    """Write a float as Cortex does: never with an exponent."""
    if not math.isfinite(value) or value == 0:
        return float_text(value)
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def value_texts(bits: NDArray[np.uint64], write: Callable[[float], str] = float_text) -> list[str]:
    """Write many float64 bit patterns; n items."""
    if len(bits) == 0:
        return []
    values = bits.view(np.float64)
    joined = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    # The shortest text ends in ".0" only where the value is whole.
    texts = (joined[1:-1] + ",").replace(".0,", ",")[:-1].split(",")
    if "e" in joined or "null" in joined:
        return [
            write(value) if "e" in text or text == "null" else text
            for text, value in zip(texts, values.tolist(), strict=True)
        ]
    return texts


def time_text(ms: int) -> str:
    """Write milliseconds as seconds, with three decimals only where they are not zero."""
    sign, (seconds, rest) = ("-" if ms < 0 else ""), divmod(abs(ms), 1000)
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


def trimmed_time_text(ms: int) -> str:
    """Write milliseconds as seconds with no more decimals than they need, as Cortex does."""
    text = time_text(ms)
    return text.rstrip("0") if "." in text else text


@dataclass(frozen=True)
class Style:
    """How a server writes numbers in its JSON."""

    time: Callable[[int], str] = time_text
    value: Callable[[float], str] = float_text


PROMETHEUS = Style()
CORTEX = Style(trimmed_time_text, plain_text)


def string_json(text: str) -> str:
    """Write a string as Go does."""
    return f'"{escape_html(text.encode())}"'


def labels_json(labels: Labels) -> str:
    """Write labels as an object."""
    return "{" + ",".join(f'"{name}":{string_json(value)}' for name, value in labels) + "}"


def _metric(labels: Labels) -> str:
    return f'{{"metric":{labels_json(labels)},'


def _envelope(kind: str, elements: Iterable[str]) -> bytes:
    joined = ",".join(elements)
    return (f'{{"status":"success","data":{{"resultType":"{kind}","result":[{joined}]}}}}').encode()


def matrix(samples: Samples, style: Style = PROMETHEUS) -> bytes:
    """Write a matrix of all samples."""
    stamps = map(style.time, samples.times_ms.tolist())
    values = value_texts(samples.value_bits, style.value)
    points = [f'[{t},"{v}"]' for t, v in zip(stamps, values, strict=True)]
    elements, at = [], 0
    for labels, n in zip(samples.labels, samples.counts.tolist(), strict=True):
        elements.append(f'{_metric(labels)}"values":[{",".join(points[at : at + n])}]}}')
        at += n
    return _envelope("matrix", elements)


def vector(samples: Samples, at_ms: int, style: Style = PROMETHEUS) -> bytes:
    """Write a vector of one sample per series, all stamped with the query's time."""
    time = style.time(at_ms)
    values = value_texts(samples.value_bits, style.value)
    return _envelope(
        "vector",
        (
            f'{_metric(labels)}"value":[{time},"{value}"]}}'
            for labels, value in zip(samples.labels, values, strict=True)
        ),
    )


def scalar(value: float, at_ms: int, style: Style = PROMETHEUS) -> bytes:
    """Write the value of a number that was asked for."""
    return (
        '{"status":"success","data":{"resultType":"scalar","result":'
        f'[{style.time(at_ms)},"{style.value(value)}"]}}}}'
    ).encode()


def error_json(kind: str, message: str) -> bytes:
    """Write an error as the API's envelope."""
    body: dict[str, Any] = {"status": "error", "errorType": kind, "error": message}
    return orjson.dumps(body)
