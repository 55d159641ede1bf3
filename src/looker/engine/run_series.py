"""What a run did from second to second, of bounded size, from the workers' cumulative reports.

Workers tell twice a second what their phase has come to so far. The difference of two successive
reports is spread over the time between them, so that nothing is counted on a hot path, and the sums
over all buckets are the totals. Time is the coordinator's monotonic clock, from the first phase on;
a phase's own time, monotonic as well, says how long before it was heard a report was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from looker.model.histogram import Histogram
from looker.model.limit import TimeSpent
from looker.model.report import ReadReport, WriteReport, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from looker.model.report import PhaseTimes

MAX_BUCKETS: Final = 600
"""Beyond that neighbours are merged, and a bucket is twice as long."""
_N_OPEN: Final = 2
"""So many buckets before the newest one may still be added to; those before them are packed."""
_NS_PER_S: Final = 1_000_000_000
_MS_PER_S: Final = 1000

_WRITE_COUNTS: Final = (
    "samples_acked",
    "payload_bytes_acked",
    "wire_bytes_sent",
    "pushes_acked",
    "pushes_retried",
)
_WRITE_SECONDS: Final = ("throttled_s", *TimeSpent.SHARES.values())
_READ_COUNTS: Final = ("samples_validated", "payload_bytes_validated", "queries", "mismatches")


@dataclass(slots=True)
class _Amount:
    """What was done: counts in the order of their names, durations among them in ms, latencies."""

    counts: list[int]
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, report: WriteReport | ReadReport) -> Self:
        """Return what a report has; the report may change afterwards."""
        service = Histogram.merged([report.service])
        if isinstance(report, WriteReport):
            counts = [getattr(report, name) for name in _WRITE_COUNTS]
            seconds = [getattr(report, name) for name in _WRITE_SECONDS]
            counts += [round(_MS_PER_S * value) for value in seconds]
            return cls(counts, service, Histogram.merged([report.lag]))
        found = report.findings
        return cls(
            [
                found.n_validated,
                report.payload_bytes_validated,
                report.queries,
                found.n_mismatches,
            ],
            service,
        )

    @property
    def lag_max_us(self) -> int | None:
        """The longest lag; None where there is none."""
        return self.lag.max_us if self.lag.n else None

    def since(self, earlier: _Amount | None) -> _Amount:
        """Return what was done after an earlier state of this; None is the beginning."""
        if earlier is None:
            return self
        counts = [now - before for now, before in zip(self.counts, earlier.counts, strict=True)]
        return _Amount(counts, self.service.since(earlier.service), self.lag.since(earlier.lag))

    def divided(self, share: int, whole: int) -> tuple[_Amount, _Amount]:
        """Return ``share`` of ``whole`` parts, and the rest; together they are this."""
        counts = [count * share // whole for count in self.counts]
        rest = [count - n for count, n in zip(self.counts, counts, strict=True)]
        service, lag = self.service.divided(share, whole), self.lag.divided(share, whole)
        return _Amount(counts, service[0], lag[0]), _Amount(rest, service[1], lag[1])


class _Bucket:
    """What was done in some time; what its latencies come to is worked out once."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = list(counts)
        self.lag_max_us: int | None = None
        self._service = Histogram()
        self._packed: tuple[NDArray[np.uint16], NDArray[Any]] | None = None
        self._service_ms: tuple[float | None, ...] | None = None

    @property
    def service(self) -> Histogram:
        return self._service if self._packed is None else Histogram.unpacked(*self._packed)

    def add(self, done: _Amount | _Bucket) -> None:
        self.counts = [mine + new for mine, new in zip(self.counts, done.counts, strict=True)]
        self._service, self._packed, self._service_ms = self.service, None, None
        self._service.add(done.service)
        if done.lag_max_us is not None:
            self.lag_max_us = max(self.lag_max_us or 0, done.lag_max_us)

    def pack(self) -> None:
        """Take less memory from now on, while nothing is added."""
        if self._packed is None:
            self._packed, self._service = self._service.packed(), Histogram()

    @property
    def service_ms(self) -> tuple[float | None, ...]:
        """The median, the 99th percentile and the maximum; None where there is no value."""
        if self._service_ms is None:
            service = self.service
            self._service_ms = (None, None, None)
            if service.n:
                self._service_ms = (
                    service.percentile_us(50) / 1000,
                    service.percentile_us(99) / 1000,
                    service.max_us / 1000,
                )
        return self._service_ms


class _Lane:
    """The buckets of one kind of phase, by number; those in which nothing was done are left out."""

    def __init__(self, n_counts: int) -> None:
        self.empty = _Bucket([0] * n_counts)
        self.buckets: dict[int, _Bucket] = {}
        self._n_packed = 0

    def bucket(self, number: int) -> _Bucket:
        if number not in self.buckets:
            self.buckets[number] = _Bucket(self.empty.counts)
            for earlier in range(self._n_packed, number - _N_OPEN):
                if earlier in self.buckets:
                    self.buckets[earlier].pack()
            self._n_packed = max(self._n_packed, number - _N_OPEN)
        return self.buckets[number]

    def halve(self) -> None:
        """Merge each bucket with an even number and the one that follows it."""
        every, self.buckets, self._n_packed = self.buckets, {}, 0
        for number, bucket in every.items():
            if number >> 1 in self.buckets:
                self.buckets[number >> 1].add(bucket)
                self.buckets[number >> 1].pack()
            else:
                self.buckets[number >> 1] = bucket

    def in_order(self, n_buckets: int) -> list[_Bucket]:
        return [self.buckets.get(number, self.empty) for number in range(n_buckets)]


@dataclass(slots=True)
class _Phase:
    """How far one worker's phase is: when it began, in the run's time, and what was heard of it."""

    cycle: int
    kind: type[WriteReport | ReadReport]
    began_ns: int
    elapsed_ns: int = 0
    amount: _Amount | None = None


class RunSeries:
    """Figures of a run in at most 600 buckets of equal time: one second, or 2, 4, 8, ... seconds.

    ``first_measured_cycle`` is the one that follows the warm-up.
    """

    def __init__(self, first_measured_cycle: int = 0) -> None:
        self._first_measured_cycle = first_measured_cycle
        self._measured_from_ns: int | None = None if first_measured_cycle else 0
        self._started_wall_ns = 0
        self._origin_ns: int | None = None
        self._bucket_s = 1
        self._n_buckets = 0
        self._write = _Lane(len(_WRITE_COUNTS) + len(_WRITE_SECONDS))
        self._read = _Lane(len(_READ_COUNTS))
        self._has_read = False
        self._phases: dict[int, _Phase] = {}

    def begin(self, wall_ns: int, now_ns: int) -> None:
        """Let time begin, unless it has; ``now_ns`` is monotonic."""
        if self._origin_ns is None:
            self._started_wall_ns, self._origin_ns = wall_ns, now_ns

    def hear(self, worker: int, cycle: int, report: WriteReport | ReadReport, now_ns: int) -> None:
        """Take a worker's report of a phase as far as it is, heard at ``now_ns`` (monotonic).

        The reports of a worker must come in the order in which they were made. Time has begun.
        """
        if self._origin_ns is None:
            raise ValueError("a report of a phase before the first one began")
        if isinstance(report, ReadReport):
            if report.skipped:
                return
            self._has_read = True
        heard_ns = max(0, now_ns - self._origin_ns)
        elapsed_ns = _elapsed_ns(report.times)
        # the least delay on the way is the best that is known of when the phase began
        began_ns = max(0, heard_ns - elapsed_ns)
        phase = self._phases.get(worker)
        if phase is None or (phase.cycle, phase.kind) != (cycle, type(report)):
            phase = self._phases[worker] = _Phase(cycle, type(report), began_ns)
        phase.began_ns = min(phase.began_ns, began_ns)
        if isinstance(report, WriteReport) and cycle == self._first_measured_cycle > 0:
            known = (self._measured_from_ns, phase.began_ns)
            self._measured_from_ns = min(time for time in known if time is not None)
        # a worker's clock cannot be ahead of ours by more than the time that there has been
        until_ns = min(phase.began_ns + elapsed_ns, heard_ns)
        since_ns = min(phase.began_ns + phase.elapsed_ns, until_ns)
        amount = _Amount.of(report)
        lane = self._write if isinstance(report, WriteReport) else self._read
        self._spread(lane, since_ns, until_ns, amount.since(phase.amount))
        phase.elapsed_ns, phase.amount = elapsed_ns, amount

    def to_json(self, *, writes: bool = True) -> dict[str, Any]:
        """Return JSON-ready values; ``writes`` tells whether there are write phases at all."""
        n_buckets, from_ns = self._n_buckets, self._measured_from_ns
        return {
            "started_at": rfc3339(self._started_wall_ns),
            "measured_from_s": None if from_ns is None else round(from_ns / _NS_PER_S, 3),
            "bucket_s": self._bucket_s,
            "n_buckets": n_buckets,
            "write": _written(self._write.in_order(n_buckets)) if writes else None,
            "read": _read(self._read.in_order(n_buckets)) if self._has_read else None,
        }

    def _spread(self, lane: _Lane, since_ns: int, until_ns: int, amount: _Amount) -> None:
        """Divide what was done from ``since_ns`` to ``until_ns`` evenly among that time."""
        bucket_ns = self._bucket_s * _NS_PER_S
        # a time that is no longer than a moment is that of the bucket in which it is
        while (last := max(since_ns, until_ns - 1) // bucket_ns) >= MAX_BUCKETS:
            self._bucket_s *= 2
            bucket_ns *= 2
            self._n_buckets = (self._n_buckets + 1) // 2
            self._write.halve()
            self._read.halve()
        self._n_buckets = max(self._n_buckets, last + 1)
        if not (any(amount.counts) or amount.service.n or amount.lag.n):
            return
        for number in range(since_ns // bucket_ns, last):
            edge_ns = (number + 1) * bucket_ns
            part, amount = amount.divided(edge_ns - since_ns, until_ns - since_ns)
            lane.bucket(number).add(part)
            since_ns = edge_ns
        lane.bucket(last).add(amount)


def _elapsed_ns(times: PhaseTimes) -> int:
    return max(0, times.finished_ns - times.started_ns) if times.started_ns else 0


def _written(buckets: Sequence[_Bucket]) -> dict[str, Any]:
    columns = _columns(buckets, len(_WRITE_COUNTS) + len(_WRITE_SECONDS))
    lags_us = [bucket.lag_max_us for bucket in buckets]
    seconds = columns[len(_WRITE_COUNTS) :]
    return {
        **dict(zip(_WRITE_COUNTS, columns, strict=False)),
        **_service(buckets),
        "lag_ms_max": [None if lag_us is None else lag_us / 1000 for lag_us in lags_us],
        **{
            # 0, not 0.0: of a few hundred numbers most are
            name: [ms and ms / _MS_PER_S for ms in column]
            for name, column in zip(_WRITE_SECONDS, seconds, strict=True)
        },
    }


def _read(buckets: Sequence[_Bucket]) -> dict[str, Any]:
    columns = _columns(buckets, len(_READ_COUNTS))
    return {**dict(zip(_READ_COUNTS, columns, strict=True)), **_service(buckets)}


def _columns(buckets: Sequence[_Bucket], n_counts: int) -> list[list[int]]:
    return [[bucket.counts[at] for bucket in buckets] for at in range(n_counts)]


def _service(buckets: Sequence[_Bucket]) -> dict[str, Any]:
    return {
        f"service_ms_{name}": [bucket.service_ms[at] for bucket in buckets]
        for at, name in enumerate(("p50", "p99", "max"))
    }
