"""What held a phase back: a judgement of where the time of writers, or of readers, went.

A share is a part of the time of all writers (or readers) together; the shares of a phase add up
to 1. A word is said only where its share reaches its bound; where none does, it is ``mixed``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TELLING_S: Final = 0.5
"""Less of the workers' time is all start-up: that they were busy tells nothing."""
_BUSY: Final = 0.7
"""A worker that makes messages, or computes, for more than this share of the time is busy."""
_LOOP_BUSY: Final = 0.5
"""So is its event loop, which shares interpreter and core with the generator thread."""

MIN_TARGET: Final = 0.7
"""The target is the limit where requests were under way for at least this share of the time."""
MAX_PAUSED: Final = 0.1
"""Waiting to send again is the limit above this share of the time with something to send."""
MAX_THROTTLED: Final = 0.3
MAX_BATCHING: Final = 0.3
MAX_STARVED: Final = 0.5
"""Above these shares of the time waiting for a message, for each of its causes, is the limit."""

LARGE_MESSAGE: Final = 10_000
"""Samples in a message from which on the cost of a message itself hardly counts."""


class LimitedBy(StrEnum):
    """What held a phase back; only ``target`` shows the server's capacity."""

    TARGET = "target"
    RATE_LIMIT = "rate_limit"
    RETRY = "retry"
    THROTTLE = "throttle"
    GENERATOR = "generator"
    BATCH_DEADLINE = "batch_deadline"
    STREAMS = "streams"
    LOOKER = "looker"
    GRACE = "grace"
    MIXED = "mixed"


NOT_THE_TARGET: Final = tuple(one for one in LimitedBy if one is not LimitedBy.TARGET)
"""Where one of these is the limit, throughput is not the target's capacity."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """Where time went, in seconds; the fields are those of a phase's report."""

    SHARES: ClassVar[Mapping[str, str]]
    """By share the field whose part of the whole it is."""
    WHOLE: ClassVar[str]

    @classmethod
    def of(cls, reports: Iterable[object]) -> Self:
        """Return the sums over several workers' reports."""
        parts = list(reports)
        return cls(*(sum(getattr(part, spec.name) for part in parts) for spec in fields(cls)))

    def since(self, earlier: Self) -> Self:
        """Return what was spent after ``earlier``."""
        return type(self)(
            *(getattr(self, spec.name) - getattr(earlier, spec.name) for spec in fields(self))
        )

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the fields."""
        return [spec.name for spec in fields(cls)]

    @property
    def seconds(self) -> dict[str, float]:
        """Return the time by what it went into; ``other`` is what is none of the named."""
        # clocks of two threads may differ by some microseconds
        parts = {name: max(0.0, getattr(self, field)) for name, field in self.SHARES.items()}
        return {**parts, "other": max(0.0, getattr(self, self.WHOLE) - sum(parts.values()))}

    @property
    def shares(self) -> dict[str, float]:
        """Return the parts of the whole time, 0 to 1; all 0 where there was none."""
        seconds = self.seconds
        whole_s = sum(seconds.values())
        return {name: spent_s / whole_s if whole_s else 0.0 for name, spent_s in seconds.items()}


@dataclass(frozen=True, slots=True)
class TimeSpent(_Spent):
    """Where the time of writers and workers went; the fields of ``WriteReport``."""

    SHARES: ClassVar[Mapping[str, str]] = {
        "target": "requesting_s",
        "rate_limit": "rate_limited_s",
        "retry": "retry_paused_s",
        "throttle": "starved_throttle_s",
        "generator": "starved_generator_s",
        "batch_deadline": "batching_s",
        "streams": "starved_streams_s",
        "tail": "tail_s",
    }
    WHOLE: ClassVar[str] = "writers_s"

    requesting_s: float = 0.0
    rate_limited_s: float = 0.0
    retry_paused_s: float = 0.0
    starved_throttle_s: float = 0.0
    starved_generator_s: float = 0.0
    batching_s: float = 0.0
    batching_throttled_s: float = 0.0
    starved_streams_s: float = 0.0
    tail_s: float = 0.0
    writers_s: float = 0.0
    workers_s: float = 0.0
    generating_s: float = 0.0
    cpu_s: float = 0.0
    loop_cpu_s: float = 0.0

    @property
    def limited_by(self) -> LimitedBy | None:
        """What held the phase back most; None where there was no time."""
        # writers that had ended, or of which there were more than streams, could not have sent
        judged_s = self.writers_s - self.tail_s - self.starved_streams_s
        if self.writers_s <= 0:
            return None
        found = _paused(self.requesting_s, self.rate_limited_s, self.retry_paused_s)
        if found is not None:
            return found
        causes = (
            (
                self.starved_throttle_s + self.batching_throttled_s,
                MAX_THROTTLED,
                LimitedBy.THROTTLE,
            ),
            (self.starved_generator_s, MAX_STARVED, LimitedBy.GENERATOR),
            (self.batching_s - self.batching_throttled_s, MAX_BATCHING, LimitedBy.BATCH_DEADLINE),
        )
        reached = [
            (spent_s, cause) for spent_s, bound, cause in causes if spent_s > bound * judged_s
        ]
        if reached:
            return max(reached)[1]
        if self._loop_is_busy:
            return LimitedBy.GENERATOR
        if self.starved_streams_s > MAX_STARVED * (self.writers_s - self.tail_s):
            return LimitedBy.STREAMS
        return _target_or_mixed(self.requesting_s, judged_s)

    @property
    def _loop_is_busy(self) -> bool:
        """Whether sending, and taking answers, kept the event loops busy."""
        if self.workers_s <= _TELLING_S:
            return False
        computing = self.cpu_s > _BUSY * self.workers_s
        return computing and self.loop_cpu_s > _LOOP_BUSY * self.workers_s


@dataclass(frozen=True, slots=True)
class ReadTimeSpent(_Spent):
    """Where the time of readers went; the fields of ``ReadReport``."""

    SHARES: ClassVar[Mapping[str, str]] = {
        "target": "requesting_s",
        "rate_limit": "rate_limited_s",
        "retry": "retry_paused_s",
        "looker": "looker_s",
        "grace": "grace_paused_s",
        "tail": "tail_s",
    }
    WHOLE: ClassVar[str] = "readers_s"

    requesting_s: float = 0.0
    rate_limited_s: float = 0.0
    retry_paused_s: float = 0.0
    looker_s: float = 0.0
    grace_paused_s: float = 0.0
    tail_s: float = 0.0
    readers_s: float = 0.0

    @property
    def limited_by(self) -> LimitedBy | None:
        """What held the phase back most; None where there was no time."""
        if self.readers_s <= 0:
            return None
        judged_s = self.readers_s - self.tail_s
        found = _paused(self.requesting_s, self.rate_limited_s, self.retry_paused_s)
        if found is not None:
            return found
        causes = {LimitedBy.LOOKER: self.looker_s, LimitedBy.GRACE: self.grace_paused_s}
        cause, spent_s = max(causes.items(), key=lambda item: item[1])
        if spent_s > MAX_STARVED * judged_s:
            return cause
        return _target_or_mixed(self.requesting_s, judged_s)


def _paused(requesting_s: float, rate_limited_s: float, retry_paused_s: float) -> LimitedBy | None:
    """Return which of the two pauses between attempts was the limit, if one was."""
    busy_s = requesting_s + rate_limited_s + retry_paused_s
    cause, paused_s = max(
        (LimitedBy.RATE_LIMIT, rate_limited_s),
        (LimitedBy.RETRY, retry_paused_s),
        key=lambda pair: pair[1],
    )
    return cause if paused_s > MAX_PAUSED * busy_s else None


def _target_or_mixed(requesting_s: float, judged_s: float) -> LimitedBy:
    # a time that is all tail shows nothing
    waited = requesting_s > 0 and requesting_s >= MIN_TARGET * judged_s
    return LimitedBy.TARGET if waited else LimitedBy.MIXED


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
