"""Times, durations, sizes and floats as Go writes them in the servers' messages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

NANOS = 1_000_000_000
_UNITS = (("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = (("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10))


def _moment(ns: int) -> tuple[str, str]:
    """Split a time into (date and clock, decimals with their point, zeros trimmed)."""
    seconds, rest = divmod(ns, NANOS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return text, f".{rest:09d}".rstrip("0") if rest else ""


def rfc3339(ns: int) -> str:
    """Write a time in whole seconds: ``2026-11-23T21:19:37Z``."""
    return _moment(ns)[0].replace(" ", "T") + "Z"


def rfc3339_nano(ns: int) -> str:
    """Write a time with the decimals it needs: ``2026-11-23T21:19:37.5Z``."""
    whole, decimals = _moment(ns)
    return f"{whole.replace(' ', 'T')}{decimals}Z"


def time_string(ns: int) -> str:
    """Write a time as time.Time prints itself: ``2026-11-23 21:19:37 +0000 UTC``."""
    whole, decimals = _moment(ns)
    return f"{whole}{decimals} +0000 UTC"


def duration_string(ms: int) -> str:
    """Write a duration of a second or more as time.Duration prints itself: ``744h0m0s``."""
    minutes, rest_ms = divmod(ms, 60_000)
    seconds, decimals = divmod(rest_ms, 1000)
    text = f"{seconds}" + (f".{decimals:03d}".rstrip("0") if decimals else "") + "s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{minutes // 60}h{text}" if minutes >= 60 else text


def model_duration(seconds: float) -> str:
    """Write a duration as Prometheus' settings do: ``30d1h``."""
    rest_ms = round(seconds * 1000)
    parts = []
    for unit, size_s in _UNITS:
        n, left = divmod(rest_ms, size_s * 1000)
        # Years and weeks are used only where nothing is left over.
        if n and (unit not in "yw" or left == 0):
            parts.append(f"{n}{unit}")
            rest_ms = left
    if rest_ms:
        parts.append(f"{rest_ms}ms")
    return "".join(parts) or "0s"


def byte_size(n: int) -> str:
    """Write a size in the largest unit that divides it: ``3MB``, ``1523B``."""
    if n:
        for unit, bits in _SIZES:
            if n % (1 << bits) == 0:
                return f"{n >> bits}{unit}"
    return f"{n}B"


def float_v(value: float) -> str:
    """Write a float as Go's ``%v``: exponents from 1e+21 on and below 1e-04."""
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if str(value)[0] == "-" else "0"
    shortest = Decimal(repr(value)).normalize()
    sign, digits, exponent = shortest.as_tuple()
    power = len(digits) + int(exponent) - 1
    if -4 <= power < 21:
        return f"{shortest:f}"
    figures = "".join(map(str, digits))
    mantissa = figures[0] + ("." + figures[1:] if len(figures) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
