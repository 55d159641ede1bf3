"""A run while it goes on, for those who watch it: one immutable record per worker, swapped whole.

The coordinator's thread writes, any thread may take a snapshot; nobody waits for long, as only
references are copied. What earlier cycles came to is one sum per worker, so a run of a million
cycles costs what a run of two does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from looker.model.report import (
    CycleReport,
    ReadReport,
    SpotCheckReport,
    WriteReport,
    in_sequence,
    merged_read,
    merged_spot_check,
    merged_write,
)

if TYPE_CHECKING:
    from looker.model.config import RunConfig
    from looker.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Totals:
    """What cycles that followed each other came to; durations add up."""

    n_cycles: int = 0
    write: WriteReport = field(default_factory=WriteReport)
    read: ReadReport | None = None
    verdicts: frozenset[Verdict] = frozenset()
    spot_check: SpotCheckReport | None = None

    def plus(self, cycle: CycleReport) -> Totals:
        """Return the totals with one more cycle; these here stay as they are."""
        write = merged_write((self.write, cycle.write))
        write.times = in_sequence((self.write.times, cycle.write.times))
        reads = [read for read in (self.read, cycle.read) if read is not None]
        read = merged_read(reads)
        if read is not None:
            read.times = in_sequence(part.times for part in reads)
        return Totals(
            self.n_cycles + 1,
            write,
            read,
            self.verdicts | {cycle.verdict},
            merged_spot_check((self.spot_check, cycle.spot_check)),
        )


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker: the sum of its earlier cycles, and its part of the current or last one.

    The reports are not changed any more once they are here; ``over`` tells that the part is whole.
    """

    worker: int
    part: CycleReport
    past: Totals = field(default_factory=Totals)
    up: bool = False
    over: bool = False

    @property
    def n_cycles(self) -> int:
        """Number of cycles that this worker has completed."""
        return self.past.n_cycles + self.over

    @property
    def writes(self) -> tuple[WriteReport, WriteReport]:
        """Write phases so far, to be added up."""
        return self.past.write, self.part.write

    @property
    def reads(self) -> tuple[ReadReport, ...]:
        """Read phases so far, to be added up."""
        return tuple(read for read in (self.past.read, self.part.read) if read is not None)

    @property
    def spot_checks(self) -> tuple[SpotCheckReport, ...]:
        """Spot checks so far, to be added up."""
        checks = (self.past.spot_check, self.part.spot_check)
        return tuple(check for check in checks if check is not None)


class RunState:
    """All workers of a run as they are now.

    ``n_to_read`` is how many samples, about, are to be read back; None where the run writes them.
    """

    def __init__(self, config: RunConfig, started_ns: int, n_to_read: int | None = None) -> None:
        self.config = config
        self.n_to_read = n_to_read
        self.started_ns = started_ns
        self._lock = threading.Lock()
        self._workers = {
            number: WorkerState(number, self._part(0)) for number in range(config.n_workers)
        }

    def snapshot(self) -> tuple[WorkerState, ...]:
        """Return all workers, in order of their numbers."""
        with self._lock:
            return tuple(self._workers.values())

    def set_up(self, worker: int, *, up: bool) -> None:
        """Note that a worker is there, or is gone; what it has counted stays."""
        with self._lock:
            self._workers[worker] = replace(self._workers[worker], up=up)

    def hear(
        self,
        worker: int,
        cycle: int,
        report: WriteReport | ReadReport | SpotCheckReport,
        *,
        over: bool = False,
    ) -> None:
        """Note a worker's report of a phase as far as it is; ``over``: its cycle is completed.

        Spot checks are not a phase: they may be told of a cycle that is over already.
        """
        # only one thread comes here, so that merging needs no lock
        state = self._workers[worker]
        past, part = state.past, state.part
        if cycle > part.cycle:
            past, part = past.plus(part), self._part(cycle)
        if isinstance(report, WriteReport):
            part = replace(part, write=report)
        elif isinstance(report, ReadReport):
            part = replace(part, read=report)
        else:
            over = state.over and cycle == state.part.cycle
            part = replace(part, spot_check=report)
        with self._lock:
            up = self._workers[worker].up
            self._workers[worker] = WorkerState(worker, part, past, up=up, over=over)

    def _part(self, cycle: int) -> CycleReport:
        return CycleReport(cycle, self.config.generation_of(cycle))
