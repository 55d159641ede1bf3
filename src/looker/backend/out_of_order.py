"""Whether a metrics target takes samples out of order, as far as it tells: asked before writing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from looker.backend.occupied import ask
from looker.backend.outcomes import Product
from looker.errors import TargetError, UsageError
from looker.model.config import NS_PER_S, Mode
from looker.model.url import redacted

if TYPE_CHECKING:
    from looker.backend.api import Target
    from looker.model.config import RunConfig

_OPTION: Final = "--out-of-order-fraction"
_UNITS_S: Final = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "y": 31.536e6,
}
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")


def refuse_if_in_order_only(config: RunConfig, target: Target) -> None:
    """Raise UsageError where samples are to be late and the target is known to refuse them.

    Prometheus tells its ``out_of_order_time_window`` with its configuration, where it is not 0;
    Cortex and Mimir tell theirs with their limits. Nothing is refused where nothing is told.
    """
    if config.mode is not Mode.METRICS or not config.out_of_order_fraction:
        return
    if target.embedded:
        raise UsageError(_OPTION, "the embedded target takes no samples out of order: give a URL")
    window_s = told_window_s(config, target)
    behind_s = (config.width_ns + config.n_samples_per_fragment * config.step_ns) / NS_PER_S
    if window_s is not None and window_s < behind_s:
        where = "storage.tsdb." if target.product is Product.PROMETHEUS else "limits."
        raise UsageError(
            _OPTION,
            f"samples would be up to {behind_s:g} s late, and {redacted(target.url)} takes"
            f" {window_s:g} s: set {where}out_of_order_time_window there",
        )


def told_window_s(config: RunConfig, target: Target) -> float | None:
    """Return how late samples may be; None where the target does not tell."""
    if target.product is not Product.PROMETHEUS:
        told = target.limits.get("out_of_order_time_window")
        return None if told is None else seconds_of(told)
    try:
        text = str(ask(config, target, "/api/v1/status/config", {})["yaml"])
    except (TargetError, LookupError, TypeError):
        return None
    line = re.search(r"^\s*out_of_order_time_window:\s*(\S+)\s*$", text, re.MULTILINE)
    return 0.0 if line is None else seconds_of(line[1])


def seconds_of(duration: str) -> float | None:
    """Return a duration of Prometheus' or Go's form in seconds; None where it is none."""
    parts = _PART.findall(duration)
    if "".join(number + unit for number, unit in parts) != duration:
        return 0.0 if duration == "0" else None
    return float(sum(int(number) * _UNITS_S[unit] for number, unit in parts))
