"""A sweep's directory: ``sweep.json``, and ``<target>/<point>/<repeat>/`` for each run.

A run's directory has its ``report.json`` (unless it came to none), ``run.json``, ``run.log`` and,
where the sweep brought the target up, ``server.log``. While the run goes on its directory's name
begins with a dot; it is renamed when all of it is there, so whatever is found is whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from looker.errors import LookerError, UsageError
from looker.model.url import presentable
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from looker.sweep.plan import Plan, SweepRun

SCHEMA_VERSION: Final = 1
SWEEP_FILE: Final = "sweep.json"
RUN_FILE: Final = "run.json"
REPORT_FILE: Final = "report.json"
LOG_FILE: Final = "run.log"
SERVER_LOG_FILE: Final = "server.log"
TABLE_FILE: Final = "results.sqlite"
_LOCK_FILE: Final = ".lock"
_KIND: Final = "sweep"
LOCK_WAIT_S: Final = 30.0
"""A directory that is held is waited for so long."""
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Record:
    """What a run came to: ``run.json``.

    ``point`` are the swept options' values, ``options`` all of them, without secrets.
    ``exit_code`` is the run's own; None where it never began. ``error`` says in a line why there is
    no sound result; None where there is one. ``server_error`` says what failed in bringing the
    target down afterwards. ``duration_s`` holds bringing it up and down.
    """

    target: str
    point: str
    repeat: int
    swept: Mapping[str, Any]
    options: Mapping[str, Any]
    exit_code: int | None
    error: str | None
    started_at: str
    finished_at: str
    duration_s: float
    server_error: str | None = None


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """What ``sweep.json`` says: of which targets, points and repeats the sweep is made."""

    targets: list[str]
    swept: list[str]
    points: dict[str, dict[str, Any]]
    repeats: int


class SweepStore:
    """Reads and writes the directory of one sweep."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock_fd: int | None = None
        """While the directory is held: who inherits it holds the directory, too."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and hold it; UsageError where another sweep does."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / _LOCK_FILE).open("w")
        except OSError as error:
            raise UsageError(
                "--out", f"cannot write in {self.root}: {error.strerror or error}"
            ) from error
        with file:
            if not _locks(file.fileno()):
                raise UsageError("--out", f"another sweep is at work in {self.root}")
            self.lock_fd = file.fileno()
            try:
                yield
            finally:
                self.lock_fd = None

    def refuse_if_foreign(self, plan: Plan) -> None:
        """Raise UsageError where the directory holds what is not of this sweep."""
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise UsageError("--out", f"{self.root} is no directory")
        if not (self.root / SWEEP_FILE).exists():
            others = [path.name for path in self.root.iterdir() if path.name != _LOCK_FILE]
            if others:
                raise UsageError(
                    "--out", f"{self.root} holds {min(others)} but no sweep: give another directory"
                )
            return
        read_facts(self.root)
        planned = {self.place(run): run for run in plan.runs}
        for path in sorted(self.root.glob(f"*/*/*/{RUN_FILE}")):
            if path.parent.name.startswith("."):
                continue
            run = planned.get(path.parent)
            if run is None:
                raise UsageError(
                    "--out",
                    f"{path.parent} is no run of this sweep: give another directory, or the file"
                    " that it was made from",
                )
            before = read_record(path.parent).options
            now = shown_options(run)
            for name in before.keys() | now.keys():
                if before.get(name) != now.get(name):
                    raise UsageError(
                        "--out",
                        f"{path.parent} was run with {name} = {json.dumps(before.get(name))}, not"
                        f" {json.dumps(now.get(name))}: give another directory",
                    )

    def write_plan(self, plan: Plan) -> None:
        """Write ``sweep.json``."""
        definition = plan.definition
        self._write(
            self.root / SWEEP_FILE,
            {
                "schema_version": SCHEMA_VERSION,
                "kind": _KIND,
                "looker_version": __version__,
                "repeats": definition.repeats,
                "order": definition.order.value,
                "seed": definition.seed,
                "base": _shown(definition.base),
                "swept": list(definition.matrix),
                "points": [
                    {"name": point.name, "options": _shown(point.options)} for point in plan.points
                ],
                "targets": [
                    {"name": target.name, "options": _shown(target.options)}
                    for target in definition.targets
                ],
            },
        )

    def place(self, run: SweepRun) -> Path:
        """Return where a run's results are when it is over."""
        return self.root / run.place

    def is_done(self, run: SweepRun) -> bool:
        """Whether a run is over, whatever it came to."""
        return (self.place(run) / RUN_FILE).exists()

    def begin(self, run: SweepRun) -> Path:
        """Return an empty directory for a run; what an earlier try left is gone."""
        place = self._unfinished(run)
        try:
            if place.exists():
                shutil.rmtree(place)
            place.mkdir(parents=True)
        except OSError as error:
            raise LookerError(f"cannot write in {place}: {error.strerror or error}") from error
        return place

    def finish(self, run: SweepRun, record: Record) -> Path:
        """Keep what a run has come to, in place of what there was."""
        unfinished, place = self._unfinished(run), self.place(run)
        self._write(unfinished / RUN_FILE, asdict(record))
        try:
            if place.exists():
                shutil.rmtree(place)
            unfinished.rename(place)
        except OSError as error:
            raise LookerError(f"cannot write {place}: {error.strerror or error}") from error
        return place

    def _unfinished(self, run: SweepRun) -> Path:
        place = self.place(run)
        return place.with_name(f".{place.name}")

    @staticmethod
    def _write(path: Path, plain: Mapping[str, Any]) -> None:
        temporary = path.with_name(f".{path.name}.new")
        try:
            temporary.write_bytes(orjson.dumps(plain, option=orjson.OPT_INDENT_2) + b"\n")
            temporary.replace(path)
        except OSError as error:
            raise LookerError(f"cannot write {path}: {error.strerror or error}") from error


def _locks(descriptor: int) -> bool:
    """Lock a file; a server of a sweep that was killed may take a moment to end."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def shown_options(run: SweepRun) -> dict[str, Any]:
    """Return all options of a run, without secrets."""
    return {**_shown(run.options), "seed": run.seed}


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: presentable(value) for name, value in options.items()}


def is_sweep(path: Path) -> bool:
    """Whether a directory is that of a sweep."""
    return (path / SWEEP_FILE).is_file()


def read_facts(root: Path) -> SweepFacts:
    """Return what a sweep is made of; UsageError where its file cannot be read."""
    path = root / SWEEP_FILE
    plain = _read(path)
    try:
        if plain["kind"] != _KIND or plain["schema_version"] != SCHEMA_VERSION:
            raise UsageError(
                str(path),
                f"is no sweep of schema version {SCHEMA_VERSION}, which this Looker reads",
            )
        return SweepFacts(
            targets=[target["name"] for target in plain["targets"]],
            swept=list(plain["swept"]),
            points={point["name"]: point["options"] for point in plain["points"]},
            repeats=plain["repeats"],
        )
    except (KeyError, TypeError) as error:
        raise UsageError(str(path), "is no whole file of a sweep") from error


def read_record(place: Path) -> Record:
    """Return what a run came to; UsageError where its file cannot be read."""
    path = place / RUN_FILE
    try:
        return Record(**_read(path))
    except TypeError as error:
        raise UsageError(str(path), "is no whole file of a sweep's run") from error


def finished_runs(root: Path, facts: SweepFacts) -> list[tuple[Path, Record]]:
    """Return the runs that are over, by target, point and repeat, with their directories."""
    found = []
    for target in facts.targets:
        for point in facts.points:
            places = (path.parent for path in (root / target / point).glob(f"*/{RUN_FILE}"))
            repeats = [place for place in places if place.name.isdigit()]
            found += [(place, read_record(place)) for place in sorted(repeats, key=_repeat)]
    return found


def _repeat(place: Path) -> int:
    return int(place.name)


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(str(path), f"cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(str(path), f"is not JSON, or not all of it: {error}") from error


def log_tail(path: Path, max_chars: int = 300) -> str | None:
    """Return the last line of a log that says something; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    said = next((line.strip() for line in reversed(lines) if line.strip()), None)
    return None if said is None else said[:max_chars]
