r"""Sums of chosen metrics from a page in Prometheus' text format, or in that of OpenMetrics.

A page may have ten thousand lines, of which a dozen are wanted: these are found as bytes, and only
they are looked at. Each line is looked at once, so that no page takes more than linear time.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/ (timestamps and exemplars are passed over).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from looker.errors import DecodeError
from looker.model.metric_selector import unescaped
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from looker.model.metric_selector import MetricSelector

_REST: Final = re.compile(
    rb'[ \t]*(?:\{((?:[^"}\n]|"(?:[^"\\\n]|\\[^\n])*")*)\})?[ \t]*([^ \t\r\n]+)'
)
_LABEL: Final = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"')
_BLANKS: Final = b" \t"
_ENDS_NAME: Final = b" \t{\r\n"


def summed(page: bytes, selectors: Sequence[MetricSelector]) -> dict[str, float]:
    """Return by selector's text the sum over all label sets that it selects.

    A selector that nothing on the page matches has no sum. A sum may be infinite or not a number.
    DecodeError where a wanted line is not of the format.
    """
    sums: dict[str, list[float]] = {}
    for name in dict.fromkeys(one.name for one in selectors):
        wanted = [one for one in selectors if one.name == name]
        for labels, value in _samples(page, name.encode("ascii")):
            for selector in wanted:
                if not selector.labels or _labels(labels).items() >= dict(selector.labels).items():
                    sums.setdefault(selector.text, []).append(value)
    return {text: _sum(values) for text, values in sums.items()}


def _samples(page: bytes, name: bytes) -> Iterator[tuple[bytes, float]]:
    """Yield labels, as they stand between the braces, and value of a metric's samples."""
    at = page.find(name)
    while at >= 0:
        line = page.rfind(b"\n", 0, at) + 1
        end = at + len(name)
        begins_line = line == at or not page[line:at].strip(_BLANKS)
        if begins_line and page[end : end + 1] in _ENDS_NAME:
            match = _REST.match(page, end)
            value = None if match is None else _number(match[2])
            if match is None or value is None:
                said = one_line(page[line : line + 200].partition(b"\n")[0], 100)
                raise DecodeError(f"no line of a metrics page: {said!r}")
            yield match[1] or b"", value
        following = page.find(b"\n", end)
        at = page.find(name, following) if following >= 0 else -1


def _number(word: bytes) -> float | None:
    # Python takes digits in groups, the format does not
    if b"_" in word:
        return None
    try:
        return float(word)
    except ValueError:
        return None


def _labels(text: bytes) -> dict[str, str]:
    return {
        name.decode("ascii"): unescaped(value.decode("utf-8", "replace"))
        for name, value in _LABEL.findall(text)
    }


def _sum(values: list[float]) -> float:
    if all(map(math.isfinite, values)):
        try:
            return math.fsum(values)
        except OverflowError:
            return math.inf
    # infinities of both signs add up to no number, where fsum raises
    return sum(values)
