"""The report of a whole run: what is written to ``report.json``, and its exit code."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import looker
from looker.errors import ExitCode, LookerError
from looker.model.report import (
    SCHEMA_VERSION,
    CycleReport,
    in_sequence,
    merged_read,
    merged_write,
    rfc3339,
)
from looker.model.verdict import Verdict, gravest, worst

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.backend.api import Target
    from looker.model.config import RunConfig


@dataclass(slots=True)
class WorkerRecord:
    """One worker: where it runs, and its part of each cycle."""

    worker: int
    pid: int = 0
    host: str = ""
    cycles: dict[int, CycleReport] = field(default_factory=dict)


@dataclass(slots=True)
class RunReport:
    """A run as far as it has come."""

    config: RunConfig
    target: Target
    environment: Mapping[str, Any]
    started_ns: int
    finished_ns: int = 0
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    interrupted: bool = False
    faults: list[str] = field(default_factory=list)

    def part(self, worker: int, cycle: int) -> CycleReport:
        """Return a worker's report of a cycle, made on first use."""
        record = self.workers.setdefault(worker, WorkerRecord(worker))
        return record.cycles.setdefault(cycle, CycleReport(cycle, self.config.generation_of(cycle)))

    def cycle(self, cycle: int) -> CycleReport:
        """Return all workers' parts of a cycle, merged."""
        parts = [record.cycles[cycle] for record in self._records() if cycle in record.cycles]
        merged = CycleReport(cycle, self.config.generation_of(cycle))
        merged.write = merged_write(part.write for part in parts)
        merged.read = merged_read(part.read for part in parts)
        if merged.read is not None and len(self._readers(parts)) < len(self.workers):
            # a worker's part is missing: what was read is not all
            merged.read.complete = False
        return merged

    def cycles(self) -> list[CycleReport]:
        """Return all cycles that were begun."""
        numbers = {cycle for record in self._records() for cycle in record.cycles}
        return [self.cycle(number) for number in sorted(numbers)]

    @property
    def verdict(self) -> Verdict:
        """What the run has shown."""
        return worst(cycle.verdict for cycle in self.cycles())

    @property
    def exit_code(self) -> ExitCode:
        """The exit code, by the precedence of the verdict's kinds."""
        codes = [ExitCode.PASSED]
        if self.verdict is Verdict.FAILED:
            codes.append(ExitCode.MISMATCH)
        if self.faults:
            codes.append(ExitCode.INTERNAL)
        if self.interrupted:
            codes.append(ExitCode.INTERRUPTED)
        write = merged_write(cycle.write for cycle in self.cycles())
        if self.verdict is Verdict.UNKNOWN or write.pushes_rejected or write.pushes_unresolved:
            codes.append(ExitCode.TARGET)
        return gravest(codes)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values, of schema version 1."""
        cycles = self.cycles()
        added: set[str] = set()
        for cycle in cycles:
            if cycle.read is not None:
                added |= cycle.read.findings.added_labels
        write = merged_write(cycle.write for cycle in cycles)
        write.times = in_sequence(cycle.write.times for cycle in cycles)
        read = merged_read(cycle.read for cycle in cycles)
        if read is not None:
            read.times = in_sequence(part.read.times for part in cycles if part.read is not None)
        return {
            "schema_version": SCHEMA_VERSION,
            "looker_version": looker.__version__,
            "invocation_id": self.config.invocation_id,
            "mode": self.config.mode.value,
            "verdict": self.verdict.value,
            "exit_code": int(self.exit_code),
            "interrupted": self.interrupted,
            "faults": self.faults,
            "started_at": rfc3339(self.started_ns),
            "finished_at": rfc3339(self.finished_ns),
            "config": config_json(self.config),
            "environment": dict(self.environment),
            "target": {
                "url": redacted(self.target.url),
                "product": self.target.product.value,
                "version": self.target.version,
                "revision": self.target.revision,
                "embedded": self.target.embedded,
                "clock_skew_s": None,
                "adds": sorted(added),
                "limits": {},
            },
            "cycles": [self._cycle_json(cycle) for cycle in cycles],
            "totals": {
                "write": write.to_json(),
                "read": None if read is None else read.to_json(),
            },
        }

    def _cycle_json(self, cycle: CycleReport) -> dict[str, Any]:
        return {
            **cycle.to_json(),
            "workers": [
                {
                    "worker": record.worker,
                    "pid": record.pid,
                    "host": record.host,
                    **record.cycles[cycle.cycle].to_json(),
                }
                for record in self._records()
                if cycle.cycle in record.cycles
            ],
        }

    def _records(self) -> list[WorkerRecord]:
        return [self.workers[number] for number in sorted(self.workers)]

    @staticmethod
    def _readers(parts: list[CycleReport]) -> list[CycleReport]:
        return [part for part in parts if part.read is not None]


def config_json(config: object) -> dict[str, Any]:
    """Return a configuration as JSON-ready values, secrets left out."""
    if not is_dataclass(config):
        raise TypeError("a configuration is a dataclass")
    return {spec.name: _plain(getattr(config, spec.name)) for spec in fields(config)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return config_json(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and "://" in value:
        return redacted(value)
    return value


def redacted(url: str) -> str:
    """Return a URL without user name and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"***@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))


def write_atomically(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report so that the file is always a whole one; LookerError says what failed.

    What is no regular file (``/dev/stdout``, a pipe) is written to, not replaced.
    """
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    temporary = None
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise LookerError(f"cannot write the report {path}: {error.strerror or error}") from error
