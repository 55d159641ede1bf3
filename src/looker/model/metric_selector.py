"""Which samples of a metrics page are meant: a metric's name, and labels that it must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?", re.DOTALL)
_LABEL: Final = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\["\\n])*)"\s*(?:,|$)'
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MetricSelector:
    """``text`` as it was given; a sample must have the name and all of the labels, and may more."""

    text: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()


def selector_of(text: str) -> MetricSelector:
    """Return what ``name`` or ``name{label="value",...}`` selects; ValueError if it is neither."""
    text = text.strip()
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no metric's name")
    labels, at, body = [], 0, (match[2] or "").strip()
    while at < len(body):
        label = _LABEL.match(body, at)
        if label is None:
            raise ValueError(f'{text!r} wants labels like {{label="value"}}')
        labels.append((label[1], unescaped(label[2])))
        at = label.end()
    return MetricSelector(text, match[1], tuple(labels))


def unescaped(value: str) -> str:
    r"""Return a label's value without the escapes of the text format: ``\\``, ``\"``, ``\n``."""
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
