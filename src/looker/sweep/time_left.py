"""How long a sweep will still take, from how long its runs took so far."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looker.sweep.plan import SweepRun


class TimeLeft:
    """Durations of runs by target and point, in seconds, bringing up and down included."""

    def __init__(self) -> None:
        self._took: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, run: SweepRun, duration_s: float) -> None:
        """Note how long a run took."""
        self._took[_key(run)].append(duration_s)

    def of(self, runs: Iterable[SweepRun]) -> float | None:
        """Return the seconds that runs will take; None where none has been seen.

        A run takes the median of its point on its target; of one never seen, the mean over all.
        """
        if not self._took:
            return None
        medians = {key: median(durations) for key, durations in self._took.items()}
        usual = mean(medians.values())
        return sum(medians.get(_key(run), usual) for run in runs)


def _key(run: SweepRun) -> tuple[str, str]:
    return run.target.name, run.point.name


def spoken(seconds: float) -> str:
    """Return a duration in its two largest units: ``1 h 05 min``, ``3 min 20 s``, ``12 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
