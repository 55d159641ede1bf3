"""Numbers and times as the page shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

NONE: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """Return a whole number with separators of thousands."""
    return NONE if value is None else f"{value:,.0f}".replace("-", _MINUS)


def si(value: float | None, unit: str = "") -> str:
    """Return a number in three digits with an SI prefix, like ``1.22 M/s``."""
    if value is None:
        return NONE
    factor, prefix = next(
        ((factor, prefix) for factor, prefix in _STEPS if abs(value) >= 0.9995 * factor), (1.0, "")
    )
    return f"{three_digits(value / factor)} {prefix}{unit}".rstrip()


def three_digits(value: float | None) -> str:
    """Return a number in at least three significant digits, never in powers of ten above 1e-4."""
    if value is None:
        return NONE
    if abs(value) < 1000:
        value = float(f"{value:.3g}")
    size = abs(value)
    n_decimals = next((n for n, least in enumerate((100, 10, 1, 0.1, 0.01)) if size >= least), None)
    if n_decimals is None:
        said = f"{value:.3g}"
    elif size >= 1000:
        said = f"{value:,.0f}"
    else:
        said = f"{value:.{n_decimals}f}"
    return said.replace("-", _MINUS)


def milliseconds(value: float | None) -> str:
    """Return a latency with its unit."""
    return NONE if value is None else f"{three_digits(value)} ms"


def percent(relative: float | None) -> str:
    """Return a difference in percent, with its sign."""
    return NONE if relative is None else f"{relative:+.1f} %".replace("-", _MINUS)


def size(n_bytes: float | None) -> str:
    """Return a number of bytes, in units of 10³."""
    return NONE if n_bytes is None else si(n_bytes, "B")


def seconds(value: float | None) -> str:
    """Return a time span."""
    if value is None:
        return NONE
    if value < 120:
        return f"{three_digits(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def moment(rfc3339: str | None) -> str:
    """Return a time as the report has it, to the second; what is no time as it is."""
    if rfc3339 is None:
        return NONE
    time = parsed(rfc3339)
    return rfc3339 if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def parsed(rfc3339: str | None) -> datetime | None:
    """Return a time of the report; None where it is none."""
    try:
        return datetime.fromisoformat(rfc3339 or "")
    except ValueError:
        return None
