"""What a comparison of a sweep's targets will be able to show, before a run of it has begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from looker.analysis.metrics import DEFAULT_METRICS
from looker.analysis.statistics import n_pairs_needed
from looker.model.confidence import DEFAULT_CONFIDENCE
from looker.model.target_usage import OFF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looker.model.config import RunConfig

_SIGNIFICANCE: Final = 1 - DEFAULT_CONFIDENCE


@dataclass(frozen=True, slots=True)
class Foresight:
    """The pairs that a sweep's repeats make, and those that its comparison wants.

    Two targets at least are compared: what has one is compared with another sweep, or one of its
    points with another.
    """

    n_repeats: int
    n_points: int
    n_contenders: int
    n_metrics: int

    @property
    def n_tests(self) -> int:
        """Tests of one point, or of all points together: each is corrected for the others."""
        return self.n_metrics * self.n_contenders

    @property
    def n_pairs_wanted(self) -> int:
        """The fewest pairs that can show a difference."""
        return n_pairs_needed(self.n_tests, _SIGNIFICANCE)

    @property
    def is_enough(self) -> bool:
        """Whether a difference can be shown at each point."""
        return self.n_repeats >= self.n_pairs_wanted

    def told(self) -> str:
        """Return in words what so many repeats can show."""
        wanted, one = self.n_pairs_wanted, n_pairs_needed(1, _SIGNIFICANCE)
        tests = f"{self.n_metrics} metrics"
        if self.n_contenders > 1:
            tests += f" of {self.n_contenders} targets against the first one"
        certainty = f"with {100 * DEFAULT_CONFIDENCE:g} % certainty"
        if self.is_enough:
            return (
                f"{self.n_repeats} repeats can show a difference {certainty}: {wanted} are the"
                f" fewest for {tests}"
            )
        said = (
            f"{self.n_repeats} repeat{'s' if self.n_repeats > 1 else ''} cannot show any difference"
            f" {certainty}{' at a single point' if self.n_points > 1 else ''}: {tests} want"
            f" {wanted}"
        )
        n_pooled = self.n_repeats * self.n_points
        if self.n_points > 1:
            can = "can" if n_pooled >= wanted else "cannot either"
            said += f"; all {self.n_points} points together, {n_pooled} pairs, {can}"
        enough = "are enough" if self.n_repeats >= one else "are wanted"
        return f"{said}; for a single metric (compare --metric) {one} {enough}"


def foreseen(
    configs: Iterable[RunConfig], *, n_repeats: int, n_points: int, n_targets: int
) -> Foresight:
    """Return what repeats of these configurations will be able to show."""
    known = [*configs]
    without = set()
    if any(config.skip_read for config in known):
        without.add("read")
    if any(config.target_metrics_url == OFF for config in known):
        without.add("target")
    n_metrics = sum(path.partition(".")[0] not in without for path in DEFAULT_METRICS)
    return Foresight(n_repeats, n_points, max(1, n_targets - 1), n_metrics)
