"""What coordinator and workers say to each other: small, plain records, never samples."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from looker.backend.api import Target
    from looker.model.calibration import Work
    from looker.model.config import RunConfig
    from looker.model.report import ReadReport, SpotCheckReport, WriteReport


class Phase(StrEnum):
    """The two phases of a cycle."""

    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part of the run: streams ``first_stream`` to ``end_stream - 1``, and limits."""

    worker: int
    first_stream: int
    end_stream: int
    n_writers: int
    n_readers: int
    read_n_streams: int | None

    @property
    def n_streams(self) -> int:
        """Number of streams."""
        return self.end_stream - self.first_stream


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """Where the ledger is: a file, and where in it blocks may begin (or, to read it, end)."""

    path: Path
    offset: int


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """What of an earlier run's ledger is to be read back."""

    ledger: LedgerPlace
    sample_fraction: float = 1.0
    sample_seed: int = 0


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Everything that a worker is told when it is started.

    ``ledger`` is where it appends what it has pushed; with ``verify`` it only reads.
    """

    config: RunConfig
    target: Target
    share: Share
    ledger: LedgerPlace | None = None
    verify: VerifyTask | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """To a worker: begin this phase."""

    cycle: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class EndWrite:
    """To a worker: write nothing more, as the target has refused another worker for good."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: end the current phase, report, and leave."""


@dataclass(frozen=True, slots=True)
class MeasureStages:
    """To a worker of a calibration: go through the stages for so many seconds, and report."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it is up."""

    worker: int
    pid: int
    host: str


@dataclass(frozen=True, slots=True)
class Alive:
    """From a worker between phases, twice a second: its event loop turns."""

    worker: int


@dataclass(frozen=True, slots=True)
class Progress:
    """From a worker, twice a second: its report of the current phase as far as it is."""

    worker: int
    cycle: int
    report: WriteReport | ReadReport


@dataclass(frozen=True, slots=True)
class WriteEnded:
    """From a worker: a write phase is over."""

    worker: int
    cycle: int
    report: WriteReport


@dataclass(frozen=True, slots=True)
class ReadEnded:
    """From a worker: a read phase is over."""

    worker: int
    cycle: int
    report: ReadReport


@dataclass(frozen=True, slots=True)
class StagesMeasured:
    """From a worker of a calibration: what it did since it was asked, by stage."""

    worker: int
    work: Work


@dataclass(frozen=True, slots=True)
class SpotChecked:
    """From a worker after a spot check: those of the cycle so far."""

    worker: int
    cycle: int
    report: SpotCheckReport


@dataclass(frozen=True, slots=True)
class LedgerFailed:
    """From a worker: nothing more goes into the ledger, from this cycle on."""

    worker: int
    cycle: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """From a worker: all its cycles are over."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """From a worker: an error of Looker's own; ``traceback`` is for the log."""

    worker: int
    error: str
    traceback: str


ToWorker = Go | EndWrite | Stop | MeasureStages
FromWorker = (
    Ready
    | Alive
    | Progress
    | WriteEnded
    | ReadEnded
    | SpotChecked
    | LedgerFailed
    | StagesMeasured
    | Finished
    | WorkerFailed
)
