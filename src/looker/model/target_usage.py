"""What the target used while it was written to and read from, as its own metrics tell it.

Samples of counters at the beginning and the end of a phase make a difference; differences add up
over the cycles, each with the work that was done in its phase. Nothing here asks or reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OFF: Final = "off"
"""In place of a URL: the target's metrics are not asked for."""
CPU: Final = "process_cpu_seconds_total"
RSS: Final = "process_resident_memory_bytes"
STARTED: Final = "process_start_time_seconds"
PROCESS_METRICS: Final = (CPU, RSS, STARTED)
HEAP: Final = "go_memstats_heap_inuse_bytes"
PRODUCT_METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    # Prometheus 2.42 as it runs; the sizes of WAL and head chunks are in tsdb/wlog/wlog.go and
    # tsdb/head.go of Prometheus 3
    "prometheus": (
        "prometheus_tsdb_head_series",
        "prometheus_tsdb_head_chunks",
        "prometheus_tsdb_head_chunks_storage_size_bytes",
        "prometheus_tsdb_wal_storage_size_bytes",
        "prometheus_tsdb_storage_blocks_bytes",
    ),
    # pkg/ingester/instance.go and metrics.go
    "loki": (
        "loki_ingester_memory_streams",
        "loki_ingester_memory_chunks",
        "loki_ingester_chunk_stored_bytes_total",
        "loki_ingester_wal_logged_bytes_total",
    ),
    # pkg/ingester/metrics.go, of Cortex and Mimir
    "cortex": (
        "cortex_ingester_memory_series",
        "cortex_ingester_tsdb_head_chunks",
        "cortex_ingester_tsdb_storage_blocks_bytes",
    ),
    "mimir": (
        "cortex_ingester_memory_series",
        "cortex_ingester_tsdb_head_chunks",
        "cortex_ingester_tsdb_storage_blocks_bytes",
    ),
}
EMBEDDED_METRICS: Final = ("looker_target_held_bytes",)
FIGURES: Final = (
    "cpu_s",
    "write_cpu_s",
    "write_cpu_s_per_gb",
    "write_cpu_s_per_million_samples",
    "read_cpu_s",
    "read_cpu_s_per_million_samples",
    "rss_bytes_start",
    "rss_bytes_max",
    "rss_bytes_end",
    "rss_bytes_per_stream",
)
"""The figures of a report's ``totals.target``, beside its ``metrics``."""
OF_A_METRIC: Final = ("start", "end", "max")
MAX_POINTS: Final = 600
_SAME_START_S: Final = 2.0
"""A start time is that of the kernel's boot, which a clock that is set moves, and ticks."""
_NS_PER_S: Final = 1e9
_MAX_VALUE: Final = 1e100
"""Nothing that is counted or measured is more, and all that is made of it stays far below 1e308."""


def kept_metrics(product: str) -> tuple[str, ...]:
    """Return the names that are kept of a product's metrics where they are there.

    ``looker target`` may stand for any product.
    """
    return (HEAP, *PRODUCT_METRICS.get(product, ()), *EMBEDDED_METRICS)


def known_metrics() -> frozenset[str]:
    """Return the names that are kept of any product."""
    return frozenset((HEAP, *EMBEDDED_METRICS)).union(*PRODUCT_METRICS.values())


@dataclass(frozen=True, slots=True)
class UsageSample:
    """What a target told at one moment: wall time in ns, values by selector; none is no number."""

    at_ns: int
    values: Mapping[str, float]

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds since the process began."""
        return self.values.get(CPU)

    def only(self, *names: str) -> UsageSample:
        """Return it with these of its values, as it takes less memory."""
        found = {name: self.values[name] for name in names if name in self.values}
        return UsageSample(self.at_ns, found)


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """What was done in one phase: samples acknowledged (or validated), and payload bytes."""

    n_samples: int = 0
    payload_bytes: int = 0


@dataclass(slots=True)
class PhaseUsage:
    """CPU seconds of the phases of one kind, and the work of those of which they are known."""

    n_unknown: int = 0
    n_known: int = 0
    cpu_s: float = 0.0
    n_samples: int = 0
    payload_bytes: int = 0

    def add(self, begun: UsageSample | None, ended: UsageSample | None, work: PhaseWork) -> None:
        """Add a phase, from the samples taken where it began and ended."""
        before = None if begun is None else begun.cpu_s
        after = None if ended is None else ended.cpu_s
        # one sample for both: the phase was shorter than asking takes
        if before is None or after is None or begun is ended:
            self.n_unknown += 1
            return
        self.n_known += 1
        self.cpu_s += after - before
        self.n_samples += work.n_samples
        self.payload_bytes += work.payload_bytes

    @property
    def whole_cpu_s(self) -> float | None:
        """CPU seconds of all phases; None where they are not known of each."""
        return None if self.n_unknown or not self.n_known else self.cpu_s

    def per(self, amount: float) -> float | None:
        """Return the CPU seconds for each unit of what was done in the phases that are known."""
        return self.cpu_s / amount if self.n_known and amount > 0 else None


@dataclass(slots=True)
class _Extent:
    """A value where measuring began, the last one, and the largest one."""

    start: float | None = None
    end: float | None = None
    max: float | None = None

    def begin(self, value: float | None) -> None:
        self.start = self.end = self.max = value

    def add(self, value: float | None) -> None:
        if value is not None:
            self.end = value
            self.max = value if self.max is None else max(self.max, value)

    def to_json(self) -> dict[str, float | None]:
        return {"start": self.start, "end": self.end, "max": self.max}


@dataclass(slots=True)
class UsageSums:
    """Adds up a run's samples, in the order in which they were taken; of bounded size.

    ``asked`` are the metrics that a report names even where they never came. Cycles before
    ``first_cycle`` are not measured: the figures begin where that one does.
    """

    asked: Sequence[str] = ()
    first_cycle: int = 0
    n_scrapes: int = 0
    n_failed: int = 0
    error: str | None = None
    restarted: bool = False
    dropped: set[str] = field(default_factory=set)
    """Metrics of which a value was none that can be reckoned with."""
    write: PhaseUsage = field(default_factory=PhaseUsage)
    read: PhaseUsage = field(default_factory=PhaseUsage)
    last_cycle: int | None = None
    _begun: dict[tuple[str, int], UsageSample | None] = field(default_factory=dict)
    _first: UsageSample | None = None
    _last: UsageSample | None = None
    _extents: dict[str, _Extent] = field(default_factory=dict)
    _points: list[UsageSample] = field(default_factory=list)
    _stride: int = 1

    def add(self, sample: UsageSample) -> None:
        """Note a sample."""
        self.restarted |= self._last is not None and _restarted(self._last, sample)
        if self.n_scrapes % self._stride == 0:
            self._points.append(sample.only(CPU, RSS))
            if len(self._points) > MAX_POINTS:
                del self._points[1::2]
                self._stride *= 2
        before_cycles = self.last_cycle is None
        if self._first is None or before_cycles:
            self._first = sample
        if self._last is None or before_cycles:
            for name in sample.values.keys() | self._extents.keys():
                self._extents.setdefault(name, _Extent()).begin(sample.values.get(name))
        else:
            for name, value in sample.values.items():
                self._extents.setdefault(name, _Extent()).add(value)
        self.n_scrapes += 1
        self._last = sample

    def fail(self, error: str) -> None:
        """Note that there was no sample, and why."""
        self.n_failed += 1
        self.error = self.error or error

    def begin(self, phase: str, cycle: int, sample: UsageSample | None) -> None:
        """Note the sample with which a phase (``write`` or ``read``) began, before it is added.

        So memory begins with the sample before it: by now the phase may have taken some.
        """
        if cycle < self.first_cycle:
            return
        if self.last_cycle is None and sample is not None:
            self._first = sample
        self.last_cycle = max(cycle, self.last_cycle or 0)
        self._begun[phase, cycle] = sample

    def end(self, phase: str, cycle: int, sample: UsageSample | None, work: PhaseWork) -> None:
        """Note the sample with which a phase ended, and what was done in it."""
        if (phase, cycle) in self._begun:
            part = self.write if phase == "write" else self.read
            part.add(self._begun.pop((phase, cycle)), sample, work)

    def close(self) -> None:
        """Note that there will be no more: phases that have not ended are not known."""
        for phase, cycle in list(self._begun):
            self.end(phase, cycle, None, PhaseWork())

    def figures(self, n_streams: int) -> dict[str, Any] | None:
        """Return a report's ``totals.target``, where so many streams were written; None if empty.

        CPU seconds are those of one process, so there are none where it was begun anew.
        """
        if self._first is None or self._last is None:
            return None
        rss = self._extents.get(RSS, _Extent())
        per_stream = None
        if rss.max is not None and rss.start is not None and not self.restarted and n_streams:
            per_stream = (rss.max - rss.start) / n_streams
        write, read = self.write, self.read
        begun_s, ended_s = self._first.cpu_s, self._last.cpu_s
        begun = self.last_cycle is not None
        values = (
            None if begun_s is None or ended_s is None or not begun else ended_s - begun_s,
            write.whole_cpu_s,
            write.per(write.payload_bytes / 1e9),
            write.per(write.n_samples / 1e6),
            read.whole_cpu_s,
            read.per(read.n_samples / 1e6),
            rss.start,
            rss.max,
            rss.end,
            per_stream if per_stream is not None and per_stream > 0 else None,
        )
        plain: dict[str, Any] = dict(zip(FIGURES, values, strict=True))
        if self.restarted:
            plain |= {name: None for name in FIGURES if "cpu_s" in name}
        names = dict.fromkeys((*self.asked, *sorted(self._extents)))
        plain["metrics"] = {
            name: self._extents.get(name, _Extent()).to_json()
            for name in names
            if name not in PROCESS_METRICS
        }
        return plain

    def course(self, started_ns: int) -> dict[str, Any]:
        """Return a report's ``target_usage.series``: columns of equal length."""
        points = self._points
        if self._last is not None and (not points or points[-1].at_ns != self._last.at_ns):
            points = [*points, self._last][-MAX_POINTS:]
        return {
            "at_s": [round((point.at_ns - started_ns) / _NS_PER_S, 3) for point in points],
            "cpu_s": [point.cpu_s for point in points],
            "rss_bytes": [point.values.get(RSS) for point in points],
        }


@dataclass(frozen=True, slots=True)
class TargetUsage:
    """What a report says of the target's usage, as JSON-ready values."""

    figures: dict[str, Any] | None
    """``totals.target``"""
    told: dict[str, Any]
    """``target_usage``"""


def measurable(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that can be reckoned with: sums, differences and rates stay finite.

    Others (infinite, no number, beyond all measure) would be no JSON, nor would their differences.
    """
    return {name: value for name, value in values.items() if abs(value) <= _MAX_VALUE}


def _restarted(before: UsageSample, after: UsageSample) -> bool:
    """Tell whether another process answers: its start time, or its CPU seconds, tell."""
    starts = before.values.get(STARTED), after.values.get(STARTED)
    if _differ(starts):
        return True
    return before.cpu_s is not None and after.cpu_s is not None and after.cpu_s < before.cpu_s


def _differ(starts: Iterable[float | None]) -> bool:
    known = [start for start in starts if start is not None]
    return len(known) > 1 and abs(known[0] - known[1]) > _SAME_START_S
