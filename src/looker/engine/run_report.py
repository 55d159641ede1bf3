"""The report of a whole run: what is written to ``report.json``, and its exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from looker.backend.by_hand import by_hand
from looker.engine.cycle_archive import CycleArchive
from looker.engine.run_series import RunSeries
from looker.errors import ExitCode, LookerError, OutputError
from looker.model.config import NS_PER_S, VerifyMode
from looker.model.report import (
    SCHEMA_VERSION,
    CycleReport,
    ReadReport,
    merged_read,
    merged_spot_check,
    merged_write,
    rfc3339,
)
from looker.model.run_state import Totals
from looker.model.threshold import judged, parsed
from looker.model.url import presentable, redacted
from looker.model.verdict import CHECKED, Verdict, gravest, worst
from looker.observe.report_place import descriptor_of, is_systems
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from looker.backend.api import Target
    from looker.model.config import RunConfig
    from looker.model.report import SpotCheckReport
    from looker.model.target_usage import TargetUsage

RECENT_CYCLES: Final = 16
"""So many completed cycles are kept as they came; of earlier ones, JSON on disk, and sums."""
MAX_ARCHIVED_CYCLES: Final = 10_000
MAX_ARCHIVED_PARTS: Final = 1000
"""So many workers' parts of archived cycles are kept, of the newest ones."""
_PREFIX_CHARS: Final = 30


@dataclass(slots=True)
class WorkerRecord:
    """One worker: where it runs, and its part of each cycle."""

    worker: int
    pid: int = 0
    host: str = ""
    cycles: dict[int, CycleReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """Of a ledger that is read back: what is told of it, and the time range of its samples."""

    facts: Mapping[str, Any]
    range_ns: tuple[int, int]


@dataclass(slots=True)
class RunReport:
    """A run as far as it has come.

    A run may have any number of cycles, so the oldest ones are archived: first as JSON on disk,
    then without the workers' parts, then only in the sums, which always cover all cycles: the
    totals those that are measured, the warm-up those before them.
    """

    config: RunConfig
    target: Target | None
    """What was written to; None where the run ended before that was found out."""
    environment: Mapping[str, Any]
    started_ns: int
    finished_ns: int = 0
    finished: bool = False
    """Whether the run is over: until then it has shown nothing, whatever its cycles have."""
    error: LookerError | None = None
    """What ended the run before its first phase."""
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    interrupted: bool = False
    stood_still_s: float = 0.0
    """How long all of it was stopped, or asleep with its machine."""
    faults: list[str] = field(default_factory=list)
    ledger: LedgerFacts | None = None
    """What is read back; None where a run writes and reads."""
    usage: TargetUsage | None = None
    """What the target used, as far as is known; None where it is not asked."""
    series: RunSeries = field(init=False)
    _archive: CycleArchive = field(init=False)
    _archived: Totals = field(default_factory=Totals)
    _archived_warm_up: Totals = field(default_factory=Totals)

    def __post_init__(self) -> None:
        """Let the series know which cycle is the first measured one."""
        self.series = RunSeries(self.config.n_warm_up_cycles)
        n_parts = max(1, MAX_ARCHIVED_PARTS // self.config.n_workers)
        self._archive = CycleArchive(MAX_ARCHIVED_CYCLES, n_parts)

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
        merged.spot_check = merged_spot_check(part.spot_check for part in parts)
        if merged.read is not None and len(self._readers(parts)) < len(self.workers):
            # a worker's part is missing: what was read is not all
            merged.read.complete = False
        return merged

    def cycles(self) -> list[CycleReport]:
        """Return the cycles that were begun, but for those that are archived."""
        return [self.cycle(number) for number in self._numbers()]

    def archive_before(self, cycle: int) -> str | None:
        """Archive the oldest of the cycles before ``cycle``, which all workers have completed.

        Returns why cycles are left out of the archive, if they are; the sums still have them.
        """
        for number in self._numbers():
            if number >= cycle - RECENT_CYCLES:
                break
            past = self.cycle(number)
            self._archive.append(self._cycle_json(past))
            if self.config.is_warm_up(past.cycle):
                self._archived_warm_up = self._archived_warm_up.plus(past)
            else:
                self._archived = self._archived.plus(past)
            for record in self._records():
                record.cycles.pop(past.cycle, None)
        return self._archive.error

    def _numbers(self) -> list[int]:
        """Return which cycles are not archived, of those that were begun."""
        return sorted({cycle for record in self._records() for cycle in record.cycles})

    def totals(self) -> Totals:
        """Return what all measured cycles that were begun have come to."""
        measured, _ = self._sums()
        return measured

    def _sums(self) -> tuple[Totals, Totals]:
        """Return what the measured cycles and those of the warm-up have come to."""
        measured, warm_up = self._archived, self._archived_warm_up
        for cycle in self.cycles():
            if self.config.is_warm_up(cycle.cycle):
                warm_up = warm_up.plus(cycle)
            else:
                measured = measured.plus(cycle)
        return measured, warm_up

    @property
    def verdict(self) -> Verdict:
        """What the run has shown, its warm-up included."""
        return _verdict(self._sums())

    @property
    def exit_code(self) -> ExitCode:
        """The exit code, by the precedence of the verdict's kinds."""
        sums = self._sums()
        return self._exit_code(sums, self._thresholds(sums[0]))

    def _thresholds(self, totals: Totals) -> list[dict[str, Any]]:
        """Return what the conditions to fail under have come to."""
        if not self.config.fail_if:
            return []
        read, spot_check = totals.read, totals.spot_check
        plain = {
            "write": totals.write.to_json(read),
            "read": None if read is None else read.to_json(),
            "spot_check": None if spot_check is None else spot_check.to_json(),
            "target": self._target_figures(),
        }
        return judged(map(parsed, self.config.fail_if), plain)

    def _exit_code(self, sums: tuple[Totals, ...], thresholds: list[dict[str, Any]]) -> ExitCode:
        verdict = _verdict(sums)
        codes = [ExitCode.PASSED if self.error is None else self.error.exit_code]
        if verdict is Verdict.FAILED:
            codes.append(ExitCode.MISMATCH)
        if self.faults:
            codes.append(ExitCode.INTERNAL)
        if self.interrupted:
            codes.append(ExitCode.INTERRUPTED)
        lost = any(one.write.pushes_rejected or one.write.pushes_unresolved for one in sums)
        if verdict is Verdict.UNKNOWN or (lost and not self.config.allow_rejected):
            codes.append(ExitCode.TARGET)
        breaches = {threshold["breached"] for threshold in thresholds}
        if True in breaches:
            codes.append(ExitCode.THRESHOLD)
        if None in breaches:
            # a gate that cannot close is a wrong one, as in a comparison
            codes.append(ExitCode.USAGE)
        return gravest(codes)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values, of schema version 1."""
        told = self.told()
        return {**told, "cycles": list(told["cycles"])}

    def told(self) -> dict[str, Any]:
        """Return the report as JSON-ready values but for ``cycles``, which can be iterated over.

        They are read from disk each time, as all of them may take much memory.
        """
        sums = totals, warm_up = self._sums()
        thresholds = self._thresholds(totals)
        verdict = _verdict(sums)
        added = {
            label
            for one in sums
            if one.read is not None
            for label in one.read.findings.added_labels
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "looker_version": __version__,
            "invocation_id": self.config.invocation_id,
            "mode": self.config.mode.value if self.ledger is None else "verify",
            "finished": self.finished,
            # what is still going on, or was killed, is not yet what it looks like
            "verdict": (verdict if self.finished else worst((verdict, Verdict.UNKNOWN))).value,
            "checked": CHECKED[self.config.verify if not self.config.skip_read else VerifyMode.OFF],
            "exit_code": int(self._exit_code(sums, thresholds)) if self.finished else None,
            "thresholds": thresholds,
            "interrupted": self.interrupted,
            "stood_still_s": self.stood_still_s,
            "faults": self.faults,
            "error": None if self.error is None else " ".join(str(self.error).split()),
            "started_at": rfc3339(self.started_ns),
            "finished_at": rfc3339(self.finished_ns),
            "config": config_json(self.config),
            "environment": dict(self.environment),
            "target": self._target_json(sorted(added)),
            **({} if self.ledger is None else {"ledger": dict(self.ledger.facts)}),
            "cycles": ToldCycles(self._archive, [self._cycle_json(one) for one in self.cycles()]),
            "warm_up": (
                {"cycles": warm_up.n_cycles, **self._sums_json(warm_up)}
                if self.config.n_warm_up_cycles
                else None
            ),
            "totals": {**self._sums_json(totals), "target": self._target_figures()},
            "target_usage": None if self.usage is None else self.usage.told,
            "series": self.series.to_json(writes=self.ledger is None),
        }

    def _target_json(self, added: list[str]) -> dict[str, Any]:
        """Return what is known of the target; where it was not found out, what it was to be."""
        url, target = self.config.url, self.target
        return {
            "url": (None if url is None else redacted(url)) if not target else redacted(target.url),
            "product": target.product.value if target else None,
            "version": target.version if target else None,
            "revision": target.revision if target else None,
            "embedded": target.embedded if target else url is None,
            "clock_skew_s": target.clock_skew_s if target else None,
            "adds": added,
            "limits": dict(target.limits) if target else {},
        }

    def _sums_json(self, sums: Totals) -> dict[str, Any]:
        return {
            "write": self._written(sums.write.to_json(sums.read)),
            "read": self._found_json(sums.read),
            "spot_check": self._found_json(sums.spot_check),
        }

    def _target_figures(self) -> dict[str, Any] | None:
        """Return what the target used; None where it did not tell."""
        return None if self.usage is None else self.usage.figures

    def _written(self, write: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a write phase has come to; None where there is none."""
        return write if self.ledger is None else None

    def _found_json(self, found: ReadReport | SpotCheckReport | None) -> dict[str, Any] | None:
        """Return what was read back, with each example's question to the target."""
        if found is None:
            return None
        plain = found.to_json()
        since_ns, until_ns = self._range_ns(found)
        for example, shown in zip(found.findings.examples, plain["examples"], strict=True):
            question = None
            if self.target is not None:
                question = by_hand(self.config, self.target, example, since_ns, until_ns)
            shown["query"] = None if question is None else question.to_json()
        return plain

    def _range_ns(self, found: ReadReport | SpotCheckReport) -> tuple[int, int]:
        """Return a time range in which every stream that was read has samples."""
        config = self.config
        if self.ledger is not None:
            return self.ledger.range_ns
        if config.start_time_ns is not None:
            return config.start_time_ns, config.start_time_ns + 3600 * NS_PER_S
        until_ns = found.times.finished_ns if isinstance(found, ReadReport) else self.finished_ns
        return self.started_ns - int(config.max_lag_s * NS_PER_S), until_ns

    def _part_json(self, part: CycleReport) -> dict[str, Any]:
        plain = part.to_json()
        return {
            **plain,
            "write": self._written(plain["write"]),
            "read": self._found_json(part.read),
            "spot_check": self._found_json(part.spot_check),
        }

    def _cycle_json(self, cycle: CycleReport) -> dict[str, Any]:
        return {
            **self._part_json(cycle),
            "warm_up": self.config.is_warm_up(cycle.cycle),
            "workers": [
                {
                    "worker": record.worker,
                    "pid": record.pid,
                    "host": record.host,
                    **self._part_json(record.cycles[cycle.cycle]),
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


class ToldCycles:
    """A report's cycles: those that are archived, and the newest ones."""

    def __init__(self, archive: CycleArchive, newest: list[dict[str, Any]]) -> None:
        self._archive = archive
        self._newest = newest

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the cycles as JSON-ready values; OSError where they cannot be read back."""
        yield from map(json.loads, self._archive)
        yield from self._newest

    def texts(self) -> Iterator[str]:
        """Yield the cycles as JSON; those that are archived in one line each."""
        yield from self._archive
        for cycle in self._newest:
            yield _indented(cycle, 2)


def _verdict(sums: Iterable[Totals]) -> Verdict:
    return worst(verdict for one in sums for verdict in one.verdicts)


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
    return presentable(value)


def write_atomically(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report so that the file is always a whole one; OutputError says what failed."""
    write_text_atomically(path, pieces_of(report))


def write_text_atomically(path: Path, pieces: Iterable[str]) -> None:
    """Write a report in whatever form, as ``write_atomically`` does.

    What is no regular file (``/dev/stdout``, a pipe) is written to, not replaced, even where it
    leads to one: whatever lies in ``/dev`` and ``/proc`` belongs to the system.
    """
    temporary = None
    try:
        if is_systems(path):
            _write_to_device(path, pieces)
            return
        # a symbolic link stays one
        real = path.resolve()
        if real.exists() and not real.is_file():
            with real.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
            return
        # a name may be as long as a file system allows: there is no room for more
        prefix = f".{real.name[:_PREFIX_CHARS]}."
        descriptor, temporary = tempfile.mkstemp(prefix=prefix, dir=real.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(real)
        temporary = None
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError up to Python 3.12
        raise OutputError(f"cannot write the report {path}: {_words_of(error)}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _words_of(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def pieces_of(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a report as JSON, indented, in pieces.

    Each list of its ``series``, and each cycle that was archived, is one line. ValueError for a
    number that JSON has not.
    """
    before = "{\n  "
    for key, value in report.items():
        yield f"{before}{json.dumps(key)}: "
        before = ",\n  "
        if isinstance(value, ToldCycles):
            yield from _listed(value.texts())
        elif key == "series":
            yield _in_lines(value)
        else:
            yield _indented(value, 1)
    yield "\n}\n"


def _listed(items: Iterable[str]) -> Iterator[str]:
    """Yield a list of texts that are JSON, as the value of a report's field."""
    before = "["
    for item in items:
        yield f"{before}\n    {item}"
        before = ","
    yield "[]" if before == "[" else "\n  ]"


def _indented(value: Any, level: int) -> str:
    """Return a value as JSON whose lines, but for the first, stand ``level`` steps further in."""
    text = json.dumps(value, indent=2, allow_nan=False)
    return text.replace("\n", "\n" + level * "  ")


def _in_lines(series: Mapping[str, Any], indent: str = "  ") -> str:
    lines = [
        f"{indent}  {json.dumps(key)}: "
        + (
            _in_lines(value, indent + "  ")
            if isinstance(value, dict)
            else json.dumps(value, separators=(",", ":"), allow_nan=False)
        )
        for key, value in series.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _write_to_device(path: Path, pieces: Iterable[str]) -> None:
    """Write to an open file where a path names one, at its own position, else to the device."""
    named = descriptor_of(path)
    if named is None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(named), "w", encoding="utf-8") as file:
        file.writelines(pieces)
