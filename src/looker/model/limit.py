"""What held a write phase back: a judgement of where the time of writers and workers went."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looker.model.report import WriteReport

_TELLING_S: Final = 0.5
"""Less of the workers' time is all start-up: that they were busy tells nothing."""
_BUSY: Final = 0.7
"""A worker that makes messages, or computes, for more than this share of the time is busy."""
_LOOP_BUSY: Final = 0.5
"""So is its event loop, which shares interpreter and core with the generator thread."""

LARGE_MESSAGE: Final = 10_000
"""Samples in a message from which on the cost of a message itself hardly counts."""


class LimitedBy(StrEnum):
    """What held a write phase back; only ``target`` shows the server's capacity."""

    TARGET = "target"
    RATE_LIMIT = "rate_limit"
    THROTTLE = "throttle"
    GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """Where the time of writers and workers went, in seconds; the fields of ``WriteReport``."""

    rate_limited_s: float = 0.0
    throttled_s: float = 0.0
    starved_s: float = 0.0
    writers_s: float = 0.0
    workers_s: float = 0.0
    generating_s: float = 0.0
    cpu_s: float = 0.0
    loop_cpu_s: float = 0.0

    @classmethod
    def of(cls, reports: Iterable[WriteReport]) -> Self:
        """Return the sums over several workers' reports."""
        parts = list(reports)
        return cls(*(sum(getattr(part, spec.name) for part in parts) for spec in fields(cls)))

    def since(self, earlier: Self) -> Self:
        """Return what was spent after ``earlier``."""
        return type(self)(
            *(getattr(self, spec.name) - getattr(earlier, spec.name) for spec in fields(self))
        )

    @property
    def limited_by(self) -> LimitedBy:
        """What held the phase back most."""
        # of the time in which there was something to send
        if self.rate_limited_s > 0.1 * (self.writers_s - self.starved_s) > 0:
            return LimitedBy.RATE_LIMIT
        if self.throttled_s > 0.3 * self.workers_s > 0:
            return LimitedBy.THROTTLE
        if self.workers_s > _TELLING_S:
            # writers have nothing to send, though messages are made as fast as the host allows
            generating = self.generating_s > _BUSY * self.workers_s
            if generating and self.starved_s > 0.5 * self.writers_s > 0:
                return LimitedBy.GENERATOR
            # messages are ready, but sending them and taking answers keeps the event loop busy
            computing = self.cpu_s > _BUSY * self.workers_s
            if computing and self.loop_cpu_s > _LOOP_BUSY * self.workers_s:
                return LimitedBy.GENERATOR
        return LimitedBy.TARGET


def generator_advice(
    *, mode: str, n_workers: int, n_cores: int, n_samples: int, n_fragments: int
) -> str:
    """Return what raises Looker's own limit, for a run's shape; ``n_cores`` are usable.

    ``n_samples`` are those of a fragment, ``n_fragments`` those of a message.
    """
    advice = []
    if n_workers < n_cores:
        advice.append(f"--n-workers up to {n_cores}")
    if n_samples * n_fragments < LARGE_MESSAGE:
        advice.append(
            "more per push message (--n-entries-per-stream-fragment,"
            " --n-fragments-per-push-message)"
        )
    if n_workers >= n_cores:
        advice.append("more cores")
    return f"{', '.join(advice)}; `looker calibrate {mode}` shows what this host can offer"
