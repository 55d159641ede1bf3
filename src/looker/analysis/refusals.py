"""Whether two sides had as much of their load refused: what is refused makes room for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from looker.analysis.reports import Side

MAX_DIFFERENCE: Final = 0.01
"""By how much a share may differ between two sides before their figures are not comparable."""
_MAX_COUNT: Final = 10**18
_ACCEPTED: Final = frozenset({"200", "202", "204"})
_ENDS: Final = ("pushes_acked", "pushes_rejected", "pushes_indeterminate", "pushes_unresolved")
_COUNTS: Final = frozenset(
    {
        "pushes_retried",
        "pushes_rejected",
        "pushes_indeterminate",
        "pushes_unresolved",
        "queries_retried",
        "rate_limited_s",
    }
)
"""Figures that tell of refusals themselves: they may be better."""


@dataclass(frozen=True, slots=True)
class _Share:
    """A part of something that is refused, repeated or in doubt, of one kind of phase."""

    phase: str
    what: str
    part: Callable[[Mapping[str, Any]], float]
    whole: Callable[[Mapping[str, Any]], float]

    def of(self, side: Side) -> float | None:
        """Return the share over all runs of a side; None where there was nothing."""
        phases = [report.totals.get(self.phase) for report in side.reports]
        known = [phase for phase in phases if isinstance(phase, dict) and not phase.get("skipped")]
        whole = sum(self.whole(phase) for phase in known)
        return sum(self.part(phase) for phase in known) / whole if whole > 0 else None


def unequal(baseline: Side, contender: Side) -> dict[str, list[str]]:
    """Return by kind of phase (``write``, ``read``) a line for each share that differs too much."""
    lines: dict[str, list[str]] = {}
    for share in _SHARES:
        mine, theirs = share.of(baseline), share.of(contender)
        if mine is None or theirs is None or abs(mine - theirs) <= MAX_DIFFERENCE:
            continue
        lines.setdefault(share.phase, []).append(
            f"{_percent(theirs)} of {share.what} in {contender.name}, {_percent(mine)} in"
            f" {baseline.name}: what is not taken makes room for the rest"
        )
    return lines


def concerns(path: str, lines: Mapping[str, list[str]]) -> bool:
    """Tell whether a figure, by its whole path, suffers from what differs.

    What the target uses suffers from both phases.
    """
    part, _, figure = path.partition(".")
    if figure.partition(".")[0] in _COUNTS:
        return False
    return part in lines or (part == "target" and bool(lines))


def _number(phase: Mapping[str, Any], name: str) -> float:
    value = phase.get(name)
    # whatever a file may hold
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < _MAX_COUNT else 0.0


def _answers(phase: Mapping[str, Any], *, refused: bool = False) -> float:
    """Return how many attempts there were, or how many of them were not accepted."""
    counts = phase.get("responses_by_status")
    if not isinstance(counts, dict):
        return 0.0
    return sum(
        _number(counts, status) for status in counts if not (refused and status in _ACCEPTED)
    )


def _pushes(phase: Mapping[str, Any]) -> float:
    return sum(_number(phase, name) for name in _ENDS)


_SHARES: Final = (
    _Share(
        "write",
        "attempts to push were refused or failed",
        lambda phase: _answers(phase, refused=True),
        _answers,
    ),
    _Share(
        "write",
        "pushes were retried",
        lambda phase: _number(phase, "pushes_retried"),
        _pushes,
    ),
    _Share(
        "write",
        "pushes were rejected",
        lambda phase: _number(phase, "pushes_rejected"),
        _pushes,
    ),
    _Share(
        "write",
        "samples were in doubt",
        lambda phase: _number(phase, "samples_in_doubt"),
        lambda phase: _number(phase, "samples_in_doubt") + _number(phase, "samples_acked"),
    ),
    _Share(
        "read",
        "attempts to query were refused or failed",
        lambda phase: _answers(phase, refused=True),
        _answers,
    ),
)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
