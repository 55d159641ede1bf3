"""Matrix answers of the Prometheus query API as columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from looker.errors import DecodeError
from looker.model.words import one_line
from looker.wire.named import Repeated, read_json, refuse_repeated
from looker.wire.statements import Statement, of_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray


_VALUES: Final = b',"values":['
_QUOTE, _COMMA, _OPEN, _CLOSE, _SPACE = b'",[] '
_BLANKS: Final = (b" ", b"\t", b"\n", b"\r")
_OTHERS: Final = (b"u", b"l", b'"', b"{")
"""What constants, strings and objects have, and numbers do not."""
_MAX_SECONDS: Final = 2**33
_LARGEST_ROUNDING_MS: Final = 0.004
"""What lies between two doubles below 2**33 s, twice, in milliseconds."""


@dataclass(frozen=True, eq=False, slots=True)
class Matrix:
    """Series of a matrix: label sets (s), and their samples one after the other.

    ``counts`` int64 (s,); ``timestamps_ms`` int64 (n,); ``bits`` uint64 (n,): the floats' bit
    patterns. ``said`` is what the answer says of itself.
    """

    metrics: list[dict[str, str]]
    counts: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    bits: NDArray[np.uint64]
    said: tuple[Statement, ...] = ()


def parse_matrix(body: bytes) -> Matrix:
    """Parse a successful matrix answer; DecodeError where it is something else.

    Values are parsed, never compared as text: servers write the same float in different ways.
    Seconds with three decimals are below 2**53 / 1000, so that rounding a thousandfold of the
    nearest double gives the exact millisecond.
    """
    parted = _without_samples(body)
    found = None if parted is None else _parse_numbers(*parted)
    if found is not None:
        return found
    answer = _read_samples(body, parted)
    match answer:
        case {
            "status": "success" | "error",
            "data": {"resultType": "matrix", "result": list(result)},
        }:
            refuse_repeated(answer, answer["data"], *result)
        case _:
            raise DecodeError("the answer is not a matrix: " + repr(body[:200]))
    try:
        metrics: list[dict[str, str]] = [element["metric"] for element in result]
        counts = np.fromiter((len(element["values"]) for element in result), np.int64)
        pairs = list(chain.from_iterable(element["values"] for element in result))
        flat = list(chain.from_iterable(pairs))
        _check_samples(pairs, flat)
        seconds = np.array(flat[0::2], np.float64)
        values = np.fromiter(map(float, flat[1::2]), np.float64, len(flat) // 2)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = one_line(repr(error), 200)
        raise DecodeError(f"a series of the answer has another form: {said}") from error
    if not (np.abs(seconds) < _MAX_SECONDS).all():
        raise DecodeError("a timestamp of the answer is not in this age")
    if not all(isinstance(metric, dict) for metric in metrics):
        raise DecodeError("a series of the answer has no labels")
    timestamps = _whole_milliseconds(seconds)
    if timestamps is None:
        raise DecodeError("a timestamp of the answer is not in whole milliseconds")
    return Matrix(metrics, counts, timestamps, values.view(np.uint64), of_frame(answer))


def _whole_milliseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64] | None:
    milliseconds = seconds * 1000
    timestamps = np.rint(milliseconds).astype(np.int64)
    whole = (np.abs(milliseconds - timestamps) < _LARGEST_ROUNDING_MS).all()
    return timestamps if whole else None


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


def _without_samples(body: bytes) -> tuple[list[bytes], Any] | None:
    """Return the series' samples as text, and the rest of the answer, parsed; None if not usual."""
    first, *parts = body.split(_VALUES)
    ends = [part.find(b"]]}") for part in parts]
    if not parts or min(ends) < 0:
        return None
    series = [part[: end + 1] for part, end in zip(parts, ends, strict=True)]
    rests = [part[end + 1 :] for part, end in zip(parts, ends, strict=True)]
    try:
        # what is left is an answer with empty series
        return series, read_json(_VALUES.join([first, *rests]))
    except DecodeError:
        return None


def _read_samples(body: bytes, parted: tuple[list[bytes], Any] | None) -> Any:
    """Parse an answer in full; label sets that have a name twice are `Repeated`."""
    if parted is None:
        return read_json(body)
    try:
        answer = orjson.loads(body)
        # names that come twice are among what is not samples
        labels = [element["metric"] for element in parted[1]["data"]["result"]]
        for element, own in zip(answer["data"]["result"], labels, strict=True):
            element["metric"] = own
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return read_json(body)
    refuse_repeated(parted[1], parted[1]["data"], *parted[1]["data"]["result"])
    return answer


def _parse_numbers(series: list[bytes], answer: Any) -> Matrix | None:
    """Parse samples of the usual form without an object per sample; None for any other form.

    The values of all series become one JSON list of numbers, which is read several times faster
    than lists with text in them. What is not finite, and a zero's sign, are left to the other way.
    """
    numbers = _numbers(b",".join(series))
    if numbers is None:
        return None
    match answer:
        case {
            "status": "success" | "error",
            "data": {"resultType": "matrix", "result": list(result)},
        }:
            refuse_repeated(answer, answer["data"])
            metrics = [one["metric"] for one in result if _is_series(one)]
        case _:
            return None
    seconds, values = numbers[0::2], numbers[1::2].copy()
    usual = len(metrics) == len(result) == len(series) and bool((values != 0).all())
    usual = usual and bool((np.abs(seconds) < _MAX_SECONDS).all())
    timestamps = _whole_milliseconds(seconds) if usual else None
    if timestamps is None:
        return None
    counts = np.fromiter((one.count(b',"') for one in series), np.int64, len(series))
    return Matrix(metrics, counts, timestamps, values.view(np.uint64), of_frame(answer))


def _is_series(element: Any) -> bool:
    usual = isinstance(element, dict) and element.keys() == {"metric", "values"}
    usual = usual and not isinstance(element, Repeated)
    return usual and isinstance(element["metric"], dict)


def _numbers(text: bytes) -> NDArray[np.float64] | None:
    """Return the numbers of ``[number,"number"],[number,"number"]``; None for any other text.

    Every quote and bracket must be where it should be. They are blanked, all but the first bracket
    and the last one, so that a list of numbers remains for the parser.
    """
    if any(blank in text for blank in _BLANKS):
        return None
    buffer = np.frombuffer(bytearray(text), np.uint8)
    quotes = np.flatnonzero(buffer == _QUOTE)
    opening, closing = quotes[0::2], quotes[1::2]
    if not len(opening) or len(opening) != len(closing) or closing[-1] != len(text) - 2:
        return None
    between = closing[:-1]
    if not (
        (buffer[opening - 1] == _COMMA).all()
        and (buffer[between + 1] == _CLOSE).all()
        and (buffer[between + 2] == _COMMA).all()
        and (buffer[between + 3] == _OPEN).all()
    ):
        return None
    for blanked in (quotes, between + 1, between + 3):
        buffer[blanked] = _SPACE
    flat = buffer.tobytes()
    one_list = flat[:1] == b"[" and flat.find(b"[", 1) < 0 and flat.find(b"]") == len(flat) - 1
    if not one_list or any(other in flat for other in _OTHERS):
        return None
    try:
        numbers = orjson.loads(flat)
    except orjson.JSONDecodeError:
        return None
    return np.array(numbers, np.float64) if len(numbers) == len(quotes) else None
