"""What a calibration measures, and the figures that are derived from it.

Derived here: a stage's share of the CPU that a sample costs; the rate that all workers reach in a
stage alone; the largest load that was really offered; what is to be known about these figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from looker.model.config import NS_PER_MS, NS_PER_S, Mode
from looker.model.limit import LARGE_MESSAGE, LimitedBy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from looker.model.config import RunConfig
    from looker.model.report import WriteReport

SCHEMA_VERSION: Final = 1
_QUIET: Final = 0.1
"""Others that use more than this part of the cores disturb what is measured."""


class Stage(StrEnum):
    """What becomes of a sample, in order."""

    GENERATE = "generate"
    COMPRESS = "compress"
    PUSH = "push"
    VALIDATE = "validate"


WRITE_STAGES: Final = (Stage.GENERATE, Stage.COMPRESS, Stage.PUSH)


@dataclass(frozen=True, slots=True)
class StageWork:
    """Work of one stage: samples, CPU and wall time in seconds; of several workers, their sums."""

    n_samples: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def plus(self, other: StageWork) -> StageWork:
        """Return both together."""
        return StageWork(
            self.n_samples + other.n_samples, self.cpu_s + other.cpu_s, self.wall_s + other.wall_s
        )

    @property
    def cpu_ns_per_sample(self) -> float:
        """CPU nanoseconds that a sample costs."""
        return self.cpu_s * NS_PER_S / self.n_samples if self.n_samples else 0.0


Work = dict[Stage, StageWork]


def summed(works: Iterable[Mapping[Stage, StageWork]]) -> Work:
    """Return the work of several workers together."""
    total = dict.fromkeys(Stage, StageWork())
    for work in works:
        for stage, part in work.items():
            total[stage] = total[stage].plus(part)
    return total


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of workers, all at once: each stage alone, and a real write phase.

    ``target_cpu_s`` is what the null targets computed during the write phase.
    """

    n_workers: int
    work: Work
    write: WriteReport
    target_cpu_s: float

    def samples_per_s(self, stage: Stage) -> float:
        """Return what all workers together reach if they do nothing but this stage."""
        work = self.work[stage]
        return self.n_workers * work.n_samples / work.wall_s if work.wall_s else 0.0

    def share(self, stage: Stage) -> float:
        """Return the stage's part of the CPU that a sample costs, 0 to 1; all add up to 1."""
        total = sum(work.cpu_ns_per_sample for work in self.work.values())
        return self.work[stage].cpu_ns_per_sample / total if total else 0.0

    @property
    def costliest(self) -> Stage:
        """The stage of writing that costs most CPU."""
        return max(WRITE_STAGES, key=lambda stage: self.work[stage].cpu_ns_per_sample)

    @property
    def hand_over_ns_per_sample(self) -> float:
        """CPU ns of a sample in a real write phase beyond its stages.

        Queue, threads that wait for the interpreter, start-up, caches that are shared.
        """
        whole = StageWork(self.write.samples_acked, self.write.cpu_s).cpu_ns_per_sample
        return max(0.0, whole - sum(self.work[stage].cpu_ns_per_sample for stage in WRITE_STAGES))

    @property
    def wire_mb_per_s(self) -> float:
        """Compressed bodies of the write phase, 10^6 bytes per second."""
        duration_s = self.write.times.duration_s
        return self.write.wire_bytes_sent / 1e6 / duration_s if duration_s else 0.0

    @property
    def payload_mb_per_s(self) -> float:
        """Payload of the write phase, 10^6 bytes per second."""
        duration_s = self.write.times.duration_s
        return self.write.payload_bytes_acked / 1e6 / duration_s if duration_s else 0.0

    @property
    def cores_busy(self) -> float:
        """How many cores the workers kept busy while they wrote."""
        duration_s = self.write.times.duration_s
        return self.write.cpu_s / duration_s if duration_s else 0.0

    @property
    def target_cores_busy(self) -> float:
        """How many cores the null targets kept busy meanwhile."""
        duration_s = self.write.times.duration_s
        return self.target_cpu_s / duration_s if duration_s else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return {
            "n_workers": self.n_workers,
            "stages": {
                stage.value: {
                    "samples": work.n_samples,
                    "cpu_s": work.cpu_s,
                    "wall_s": work.wall_s,
                    "cpu_ns_per_sample": work.cpu_ns_per_sample,
                    "share": self.share(stage),
                    "samples_per_s": self.samples_per_s(stage),
                }
                for stage, work in self.work.items()
            },
            "write": {
                "duration_s": self.write.times.duration_s,
                "samples": self.write.samples_acked,
                "payload_bytes": self.write.payload_bytes_acked,
                "wire_bytes": self.write.wire_bytes_sent,
                "pushes": self.write.pushes_acked,
                "samples_per_s": self.write.samples_per_s,
                "payload_mb_per_s": self.payload_mb_per_s,
                "wire_mb_per_s": self.wire_mb_per_s,
                "cpu_s": self.write.cpu_s,
                "target_cpu_s": self.target_cpu_s,
                "cores_busy": self.cores_busy,
                "target_cores_busy": self.target_cores_busy,
                "hand_over_ns_per_sample": self.hand_over_ns_per_sample,
                "limited_by": self.write.limited_by,
            },
        }


@dataclass(frozen=True, slots=True)
class LoadCeiling:
    """One load on rising numbers of workers; ``config`` is that of the largest number.

    ``others_cores`` is how many cores were kept busy meanwhile by what is not part of the
    calibration; None where the system does not tell.
    """

    config: RunConfig
    n_cores: int
    n_targets: int
    measured: tuple[Measured, ...]
    others_cores: float | None = None

    @property
    def best(self) -> Measured:
        """Where the largest load was offered."""
        return max(self.measured, key=lambda one: one.write.samples_per_s)

    @property
    def unit(self) -> str:
        """What a sample is called."""
        return "entries" if self.config.mode is Mode.LOGS else "samples"

    @property
    def disturbed(self) -> bool:
        """Whether others are known to have used so much of the cores that the figures are low."""
        return self.others_cores is not None and self.others_cores > _QUIET * self.n_cores

    def notes(self) -> list[str]:
        """Return what is to be known before these figures are believed, in sentences."""
        config, best = self.config, self.best
        found = []
        if self.others_cores is not None and self.disturbed:
            found.append(
                f"Other processes used {self.others_cores:.1f} of the {self.n_cores} usable"
                " core(s) meanwhile: the figures are too low. Calibrate again when the host is"
                " quiet."
            )
        elif best.write.limited_by is not LimitedBy.GENERATOR:
            found.append(
                "Looker's cores were not all busy while it wrote: it can offer this much at least."
            )
        if best.n_workers + self.n_targets > self.n_cores:
            found.append(
                f"The null target ran on the same {self.n_cores} usable core(s) as the workers, and"
                f" took {best.target_cores_busy:.1f} of them: with a target on another host it is"
                " more."
            )
        n_together = config.n_samples_per_fragment * config.n_fragments_per_message
        if best.costliest is Stage.PUSH and n_together < LARGE_MESSAGE:
            cost_us = best.work[Stage.PUSH].cpu_ns_per_sample * n_together / 1000
            found.append(
                f"A push costs {cost_us:.0f} us of CPU, though it holds only {n_together:,}"
                f" {self.unit}: larger messages cost less (--n-fragments-per-push-message,"
                " --n-entries-per-stream-fragment)."
            )
        allowed = config.n_streams * NS_PER_S / config.step_ns
        if allowed < best.write.samples_per_s:
            found.append(
                f"{config.n_streams:,} series whose samples are {config.step_ns // NS_PER_MS} ms"
                f" apart may grow by no more than {allowed:,.0f} samples/s in a run, as they follow"
                " wall time: more series may grow by more."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        config, best = self.config, self.best
        return {
            "mode": config.mode.value,
            "shape": {
                "n_streams": config.n_streams,
                "n_samples_per_fragment": config.n_samples_per_fragment,
                "n_fragments_per_message": config.n_fragments_per_message,
                "n_chars_per_line": config.n_chars_per_line if config.mode is Mode.LOGS else None,
                "compressability": config.compressability.value,
                "step_ns": config.step_ns,
            },
            "ceiling": {
                "n_workers": best.n_workers,
                "samples_per_s": best.write.samples_per_s,
                "payload_mb_per_s": best.payload_mb_per_s,
                "wire_mb_per_s": best.wire_mb_per_s,
                "validated_samples_per_s": best.samples_per_s(Stage.VALIDATE),
                "bottleneck": best.costliest.value,
            },
            "others_cores_busy": self.others_cores,
            "notes": self.notes(),
            "workers": [one.to_json() for one in self.measured],
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that was measured on one host, at one time (RFC 3339, UTC)."""

    looker_version: str
    started_at: str | None
    finished_at: str | None
    environment: Mapping[str, Any] = field(default_factory=dict)
    loads: tuple[LoadCeiling, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values, of schema version 1."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "calibration",
            "looker_version": self.looker_version,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "environment": dict(self.environment),
            "loads": [load.to_json() for load in self.loads],
        }
