"""The memory that a body takes when it is decompressed and decoded, lent before it is.

What it may take at most is a simple multiple of its length. Only where that is not free, its
structure is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from looker.target.effort import checked, expect
from looker.wire.snappy import MAX_EXPANSION, decompress, uncompressed_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looker.target.matchers import Labels
    from looker.target.memory import Loan

    Body = bytes | bytearray | memoryview

_WORST = 60  # bytes for each byte of a body whose fields, or elements, are all empty
_PER_FIELD = 120
_PER_STRING, _PER_ELEMENT, _PER_LIST, _PER_OBJECT = 120, 48, 80, 300
_PER_CHAR, _PER_WIDE_CHAR = 3, 7
_PER_PARAMETER, _PER_ESCAPE = 300, 150
_PER_SHOWN, _PER_SHOWN_CHAR = 1000, 10
_BLOCK_BYTES = 1 << 20
_SHORT_BYTES = 1 << 16  # what is shorter takes 4 MB at most, one at a time: it is not counted
_DECODE_S, _PARSE_S, _UNQUOTE_S = (
    3e-9,
    2e-8,
    1e-7,
)  # of each byte, roughly: it cannot be interrupted


def uncompressed(body: Body, max_bytes: int, loan: Loan) -> bytes:
    """Undo snappy; DecodeError if it is damaged or larger than ``max_bytes``, LoanError.

    EffortError where it is too long to be done at once.
    """
    if MAX_EXPANSION * len(body) <= _SHORT_BYTES:
        return decompress(body, max_bytes)
    claimed = uncompressed_length(body)
    if _SHORT_BYTES < claimed <= max_bytes:
        expect(_DECODE_S * claimed)
        # there are two copies for a moment
        loan.more(2 * min(claimed, MAX_EXPANSION * len(body)))
    return decompress(body, max_bytes)


def _lends_worst(body: Body, s_per_byte: float, loan: Loan) -> bool:
    """Lend the most that a body of this length takes, if there is so much; nothing for short ones.

    Where it tells False, what is in the body has to be counted. EffortError where taking it apart
    would take too long.
    """
    if len(body) <= _SHORT_BYTES:
        return True
    expect(s_per_byte * len(body))
    worst = _WORST * len(body)
    if worst > loan.budget.free_bytes:
        return False
    loan.more(worst)
    return True


def lend_for_protobuf(body: Body, loan: Loan) -> None:
    """Lend what a push or a read request takes; LoanError, EffortError."""
    if _lends_worst(body, _DECODE_S, loan):
        return
    n_fields = 0
    data = np.frombuffer(body, np.uint8)
    for begin in range(0, len(data), _BLOCK_BYTES):
        # length-delimited fields with numbers below 16: others hold nothing by themselves
        part = data[begin : begin + _BLOCK_BYTES]
        n_fields += int(np.count_nonzero((part & 0x87) == 0x02))
    loan.more(_PER_FIELD * n_fields + _PER_CHAR * len(body))


def lend_for_json(text: Body, loan: Loan) -> None:
    """Lend what a JSON text and what is made of it takes; LoanError, EffortError."""
    if _lends_worst(text, _PARSE_S, loan):
        return
    data = np.frombuffer(text, np.uint8)
    counts = np.zeros(256, np.int64)
    for begin in range(0, len(data), _BLOCK_BYTES):
        counts += np.bincount(data[begin : begin + _BLOCK_BYTES], minlength=256)
    wide = bool(counts[128:].any())
    loan.more(
        (_PER_WIDE_CHAR if wide else _PER_CHAR) * len(text)
        + _PER_STRING * (int(counts[ord('"')]) // 2 + 1)
        + _PER_ELEMENT * int(counts[ord(",")])
        + _PER_LIST * int(counts[ord("[")])
        + _PER_OBJECT * int(counts[ord("{")])
    )


def lend_for_form(text: Body, loan: Loan) -> None:
    """Lend what the parameters of a form take; LoanError, EffortError."""
    expect(_UNQUOTE_S * len(text))
    data = np.frombuffer(text, np.uint8)
    n_parameters, n_escapes = (int(np.count_nonzero(data == ord(mark))) for mark in "&%")
    loan.more(
        _PER_PARAMETER * (n_parameters + 1) + _PER_ESCAPE * n_escapes + _PER_WIDE_CHAR * len(text)
    )


def shown_bytes(label_sets: Iterable[Labels]) -> int:
    """Return what label sets take that are shown in an answer."""
    return sum(
        _PER_SHOWN + sum(_PER_SHOWN_CHAR * (len(name) + len(value)) for name, value in labels)
        for labels in checked(label_sets)
    )
