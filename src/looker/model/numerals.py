"""Numbers as people write them in options and conditions: ASCII digits, and finite.

Python's own idea of a number takes underscores, digits of other scripts, ``nan`` and ``inf``.
"""

from __future__ import annotations

import math
import re
from typing import Final

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL: Final = re.compile(
    r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,9})?"
)


def whole_number(text: str) -> int | None:
    """Return a whole number, with a sign or without; None for anything else."""
    return int(text) if _WHOLE.fullmatch(text) else None


def decimal(text: str) -> float | None:
    """Return a number like -1.5 or 2e3; None for anything else."""
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
