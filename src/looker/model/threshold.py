"""Conditions on figures, as ``--fail-if`` has them: ``write.service_ms.p99 > 500``."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from looker.errors import UsageError
from looker.model.figures import figure_of, has_evidence, is_of_events, metric_of, resolved
from looker.model.numerals import decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OPTION: Final = "--fail-if"
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_PATH: Final = r"[\w.:-]+?(?:\{[^{}]*\}[\w.]*)?"
"""A metric of the target's own may have labels in braces."""
_FORM: Final = re.compile(rf"\s*({_PATH})\s*(<=|>=|==|!=|<|>)\s*([^\s%<>=!]+)\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition under which a run, or a comparison, is to fail.

    ``path`` is the whole path of a figure. The bound is in the figure's unit; of a comparison it
    is a difference in percent.
    """

    expr: str
    path: str
    comparison: str
    bound: float

    def holds(self, value: float) -> bool:
        """Tell whether the condition, to be failed under, holds for a value."""
        return _COMPARE[self.comparison](value, self.bound)


def parsed(expr: str, *, percent: bool = False) -> Threshold:
    """Return a condition; UsageError says what is wrong with it.

    ``percent`` is for differences between runs: the bound is followed by %, and must not hold where
    there is no difference.
    """
    like = "samples_per_s < -5%" if percent else "write.service_ms.p99 > 500"
    match = _FORM.fullmatch(expr)
    bound = decimal(match[3]) if match is not None else None
    if match is None or bound is None:
        raise UsageError(
            OPTION,
            f"{expr!r} is no condition: wants a figure's path, one of {' '.join(_COMPARE)},"
            f" and a number, like {like!r}",
        )
    if percent and not match[4]:
        raise UsageError(OPTION, f"{expr!r}: a difference is in percent, like {like!r}")
    if match[4] and not percent:
        raise UsageError(OPTION, f"{expr!r}: a figure of a run is no percentage, like {like!r}")
    try:
        path = resolved(match[1])
    except ValueError as error:
        raise UsageError(OPTION, str(error)) from None
    threshold = Threshold(" ".join(expr.split()), path, match[2], bound)
    if percent:
        _check_difference(threshold)
    return threshold


def _check_difference(threshold: Threshold) -> None:
    """Refuse what no difference that is shown could mean."""
    if threshold.comparison in ("==", "!="):
        raise UsageError(OPTION, f"{threshold.expr!r}: a difference wants <, <=, > or >=")
    wrong_side = threshold.bound > 0 if "<" in threshold.comparison else threshold.bound < 0
    if wrong_side:
        raise UsageError(
            OPTION,
            f"{threshold.expr!r} holds where nothing differs: after < the bound must not be"
            " above 0, after > not below",
        )


def cannot_hold(threshold: Threshold) -> bool:
    """Tell whether no value of a figure, which is never below 0, could fulfil a condition.

    A metric of the target's own may have any value.
    """
    if metric_of(threshold.path) is not None:
        return False
    bound = threshold.bound
    if threshold.comparison == "<":
        return bound <= 0
    return threshold.comparison in ("<=", "==") and bound < 0


def judged(thresholds: Iterable[Threshold], totals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the report's ``thresholds``.

    ``breached`` is None where nothing can be said: the figure has no value, or it is one of
    nothing. What is only measured where it happens, and did not happen, is not breached.
    """
    found = []
    for threshold in thresholds:
        value, breached = figure_of(totals, threshold.path), None
        if has_evidence(totals, threshold.path):
            if value is not None:
                breached = threshold.holds(value)
            elif is_of_events(threshold.path):
                breached = False
        found.append({"expr": threshold.expr, "value": value, "breached": breached})
    return found
