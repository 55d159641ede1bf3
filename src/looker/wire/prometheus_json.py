"""Matrix answers of the Prometheus query API as columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from looker.errors import DecodeError
from looker.model.words import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LARGEST_ROUNDING_MS: Final = 0.004
"""What lies between two doubles below 2**33 s, twice, in milliseconds."""


@dataclass(frozen=True, eq=False, slots=True)
class Matrix:
    """Series of a matrix: label sets (s), and their samples one after the other.

    ``counts`` int64 (s,); ``timestamps_ms`` int64 (n,); ``bits`` uint64 (n,): the floats' bit
    patterns.
    """

    metrics: list[dict[str, str]]
    counts: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    bits: NDArray[np.uint64]


def parse_matrix(body: bytes) -> Matrix:
    """Parse a successful matrix answer; DecodeError where it is something else.

    Values are parsed, never compared as text: servers write the same float in different ways.
    Seconds with three decimals are below 2**53 / 1000, so that rounding a thousandfold of the
    nearest double gives the exact millisecond.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"the answer is not JSON: {error}") from error
    match answer:
        case {"status": "success", "data": {"resultType": "matrix", "result": list(result)}}:
            pass
        case _:
            raise DecodeError("the answer is not a matrix: " + repr(body[:200]))
    try:
        metrics: list[dict[str, Any]] = [element["metric"] for element in result]
        counts = np.fromiter((len(element["values"]) for element in result), np.int64)
        pairs = list(chain.from_iterable(element["values"] for element in result))
        flat = list(chain.from_iterable(pairs))
        _check_samples(pairs, flat)
        seconds = np.array(flat[0::2], np.float64)
        values = np.fromiter(map(float, flat[1::2]), np.float64, len(flat) // 2)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = one_line(repr(error), 200)
        raise DecodeError(f"a series of the answer has another form: {said}") from error
    if not (np.abs(seconds) < 2**33).all():
        raise DecodeError("a timestamp of the answer is not in this age")
    if not all(isinstance(metric, dict) for metric in metrics):
        raise DecodeError("a series of the answer has no labels")
    milliseconds = seconds * 1000
    timestamps = np.rint(milliseconds).astype(np.int64)
    if not (np.abs(milliseconds - timestamps) < _LARGEST_ROUNDING_MS).all():
        raise DecodeError("a timestamp of the answer is not in whole milliseconds")
    return Matrix(metrics, counts, timestamps, values.view(np.uint64))


def _check_samples(pairs: list[Any], flat: list[Any]) -> None:
    """Raise ValueError or TypeError where a sample is not [number, "number"].

    numpy and float() alone would take strings for numbers, numbers for strings, and underscores.
    """
    if not {*map(type, pairs)} <= {list} or not {*map(len, pairs)} <= {2}:
        raise ValueError("a sample is not [timestamp, value]")
    if not {*map(type, flat[0::2])} <= {int, float}:
        raise ValueError("a timestamp is not a number")
    text = "".join(flat[1::2])
    if not text.isascii() or "_" in text or not text.isprintable() or " " in text:
        raise ValueError("a value is not a number")
