"""Loki's JSON answers, byte for byte as the server lays them out."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import numpy as np
import orjson

from looker.target.effort import checked
from looker.wire import records
from looker.wire.columns import store_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from looker.target.loki_store import Page
    from looker.target.matchers import Labels
    from looker.target.memory import Loan

    Stats = Callable[[int], bytes]

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LABEL_TEXT = str.maketrans({chr(code): f"\\u{code:04x}" for code in range(32)} | _SHORT)
_HTML = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_LINE_TEXT = _LABEL_TEXT | str.maketrans(_HTML) | {0xDCFF: "\\ufffd"}
_INVALID = "\udcff"  # stands for a byte that is not UTF-8 until it is written as an escape
_ESCAPED_BYTES = 30  # of each byte of a line that may have to be escaped, in all copies
_TIME_DIGITS = 19
_LEAST_TIME = 10**18


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Decode each byte that is no UTF-8 by itself, as Go does."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _INVALID * (error.end - error.start), error.end


codecs.register_error("looker.target.invalid", _replace)


def escape_html(text: bytes) -> str:
    """Escape a text for JSON as Go does by default: HTML's special characters too."""
    return text.decode(errors="looker.target.invalid").translate(_LINE_TEXT)


def _labels_json(labels: Labels) -> str:
    pairs = (f'"{name}":"{value.translate(_LABEL_TEXT)}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def metadata(level: str | None) -> bytes:
    """Write the third element of a categorized row."""
    if level is None:
        return b"{}"
    return b'{"structuredMetadata":{"detected_level":' + orjson.dumps(level) + b"}}"


def render(
    page: Page,
    loan: Loan,
    *,
    categorize: bool,
    levels: Sequence[str] = (),
    stats: Stats | None = None,
) -> bytes:
    """Write a query's answer; ``categorize`` adds the third element of each row.

    ``levels`` are the rows' levels to show there, if any; ``stats`` writes the statistics of so
    many entries. ``loan`` has what an answer takes in which nothing is escaped; LoanError.
    """
    distinct = set(levels) if categorize else set()
    tails = [metadata(level) for level in levels] if len(distinct) > 1 else None
    tail = metadata(next(iter(distinct), None)) if categorize else b""
    flags = b'"encodingFlags":["categorize-labels"],' if categorize else b""
    parts: list[bytes | memoryview] = [
        b'{"status":"success","data":{"resultType":"streams",' + flags + b'"result":['
    ]
    rows = _uniform_rows(page, tail) if tails is None else None
    texts: list[str] = []
    if rows is None:
        loan.more(_ESCAPED_BYTES * int(page.lengths.sum()))
        texts = _rows(page, tails or [tail] * len(page.times))
    width = 0 if rows is None else rows.shape[1]
    flat = None if rows is None else rows.reshape(-1).data
    at = 0
    for labels, n in zip(page.labels, page.counts.tolist(), strict=True):
        comma = "," if at else ""
        parts.append(f'{comma}{{"stream":{_labels_json(labels)},"values":['.encode())
        if flat is not None:
            parts.append(flat[at * width : (at + n) * width - 1])
        else:
            parts.append(",".join(texts[at : at + n]).encode())
        parts.append(b"]}")
        at += n
    parts.append(b'],"stats":' + (stats or _few_stats)(at) + b"}}\n")
    return b"".join(parts)


def _few_stats(n_entries: int) -> bytes:
    return f'{{"summary":{{"totalEntriesReturned":{n_entries}}}}}'.encode()


def _uniform_rows(page: Page, third: bytes) -> NDArray[np.uint8] | None:
    """Lay out rows of one width as (n, width), a comma behind each; None if they need more."""
    n = len(page.times)
    if n == 0 or int(page.times.min()) < _LEAST_TIME:
        return None
    size = int(page.lengths[0])
    if size == 0 or bool((page.lengths != size).any()):
        return None
    lines = records.gather(page.lines, page.offsets, size)
    if int(lines.min()) < 0x20 or int(lines.max()) > 0x7F:
        return None
    if any(bool((lines == code).any()) for code in b'"\\<>&'):
        return None
    tail = b'"' + (b"," + third if third else b"") + b"],"
    line_at = 2 + _TIME_DIGITS + 3
    rows = np.empty((n, line_at + size + len(tail)), np.uint8)
    rows[:, :2] = np.frombuffer(b'["', np.uint8)
    store_digits(rows[:, 2 : 2 + _TIME_DIGITS], page.times)
    rows[:, 2 + _TIME_DIGITS : line_at] = np.frombuffer(b'","', np.uint8)
    rows[:, line_at : line_at + size] = lines
    rows[:, line_at + size :] = np.frombuffer(tail, np.uint8)
    return rows


def _rows(page: Page, tails: Sequence[bytes]) -> list[str]:
    """Write each row by itself."""
    lines = records.slices(page.lines, page.offsets, page.lengths)
    ends = {tail: f'",{tail.decode()}]' if tail else '"]' for tail in set(tails)}
    return [
        f'["{ns}","{escape_html(line)}{ends[tail]}'
        for ns, line, tail in checked(zip(page.times.tolist(), lines, tails, strict=True))
    ]
