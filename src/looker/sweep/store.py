"""A sweep's directory: ``sweep.json``, and ``<target>/<point>/<repeat>/`` for each run.

A run's directory has its ``report.json`` (unless it came to none), ``run.json``, ``run.log`` and,
where the sweep brought the target up, ``server.log``. While the run goes on its directory's name
begins with a dot; it is renamed when all of it is there, so whatever is found is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from looker.errors import LookerError, UsageError
from looker.files import read_file
from looker.model.report import SCHEMA_VERSION as REPORT_SCHEMA_VERSION
from looker.model.url import presentable
from looker.model.words import one_line
from looker.sweep.definition import SWEEP_FILE, shown_option
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from looker.sweep.plan import Plan, SweepRun

LOG = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
RUN_FILE: Final = "run.json"
REPORT_FILE: Final = "report.json"
LOG_FILE: Final = "run.log"
SERVER_LOG_FILE: Final = "server.log"
_LOCK_FILE: Final = ".lock"
_KIND: Final = "sweep"
LOCK_WAIT_S: Final = 30.0
"""A directory that is held is waited for so long."""
_POLL_S: Final = 0.1
_MAX_SAID_CHARS: Final = 200
_SCRYPT: Final[Mapping[str, int]] = {"n": 2**12, "r": 8, "p": 1, "dklen": 16}
_NAMES: Final = {
    **{name: f"{name} command" for name in ("reset", "start", "serve", "stop")},
    "user_of_url": "user in url",
    "user_of_target_metrics_url": "user in target_metrics_url",
}
"""What a run's fingerprints are of."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a run came to: ``run.json``.

    ``point`` are the swept options' values, ``options`` all of them, without secrets.
    ``exit_code`` is the run's own; None where it never began. ``error`` says in a line why there is
    no sound result; None where there is one. ``server_error`` says what failed in bringing the
    target down afterwards. ``duration_s`` holds bringing it up and down. ``setup`` are fingerprints
    of what is not shown, or not as it is: see ``SweepStore.setup_of``; None of earlier versions.
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
    setup: Mapping[str, str] | None = None


_FORM: Final[Mapping[str, Any]] = {
    "target": str,
    "point": str,
    "repeat": int,
    "swept": dict,
    "options": dict,
    "exit_code": int | None,
    "error": str | None,
    "started_at": str,
    "finished_at": str,
    "duration_s": int | float,
    "server_error": str | None,
    "setup": dict | None,
}
"""The types of a record's fields as they are in its file."""


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """What ``sweep.json`` says: of which targets, points and repeats the sweep is made."""

    targets: list[str]
    swept: list[str]
    points: dict[str, dict[str, Any]]
    repeats: int
    looker_version: str = ""
    """That which was at work last; empty where it is not told."""


class SweepStore:
    """Reads and writes the directory of one sweep."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock_fd: int | None = None
        """While the directory is held: who inherits it holds the directory, too."""
        self._fingerprints: dict[str, str] = {}
        self._salt: bytes | None = None

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

    def refuse_if_foreign(self, plan: Plan, *, again: bool = False) -> None:
        """Raise UsageError where the directory holds what is not of this sweep.

        What has failed, and is to be run ``again``, may have been run in another way.
        """
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
        _warn_of_version(self.root)
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
            try:
                record = read_record(path.parent)
            except UsageError:
                # it is said when the run is done again
                continue
            if record.error is None or not again:
                self._refuse_if_changed(path.parent, record, run)

    def _refuse_if_changed(self, place: Path, record: Record, run: SweepRun) -> None:
        """Raise UsageError where a run that is done was not done as it would be now."""
        remedy = "give another directory"
        if record.error is not None:
            remedy += ", or --retry-failed, as it has failed"
        before, now = record.options, shown_options(run)
        for name in [*now, *(name for name in before if name not in now)]:
            if before.get(name) != now.get(name):
                raise UsageError(
                    "--out",
                    f"{place} was run with {name} = {_said(before.get(name))}, not"
                    f" {_said(now.get(name))}: {remedy}",
                )
        if record.setup is None:
            return
        setup = self.setup_of(run)
        for name in dict.fromkeys((*setup, *record.setup)):
            if record.setup.get(name) != setup.get(name):
                raise UsageError(
                    "--out", f"{place} was run with another {_NAMES.get(name, name)}: {remedy}"
                )

    def setup_of(self, run: SweepRun) -> dict[str, str]:
        """Return fingerprints of what made a run and is not among the options shown.

        That is how its target is brought up and down, and as whom Looker came: commands may hold
        secrets, so their texts are not kept. A password is none of it, as it may be renewed.
        """
        target = run.target
        texts = {name: getattr(target, name) for name in ("reset", "start", "serve", "stop")}
        for name, value in run.options.items():
            if shown_option(name, value) != value:
                texts[f"user_of_{name}"] = _user(value)
        return {
            name: self._fingerprint(f"{name} {text}")
            for name, text in texts.items()
            if text is not None
        }

    def _fingerprint(self, text: str) -> str:
        if text not in self._fingerprints:
            # slow, so that a short secret is not guessed
            digest = hashlib.scrypt(text.encode(), salt=self._salt_used(), **_SCRYPT)
            self._fingerprints[text] = digest.hex()
        return self._fingerprints[text]

    def _salt_used(self) -> bytes:
        """Return the salt of this sweep's fingerprints, made where there is none yet."""
        if self._salt is None:
            try:
                self._salt = bytes.fromhex(_read(self.root / SWEEP_FILE)["salt"])
            except (UsageError, KeyError, TypeError, ValueError):
                self._salt = os.urandom(16)
        return self._salt

    def write_plan(self, plan: Plan) -> None:
        """Write ``sweep.json``."""
        definition = plan.definition
        self._write(
            self.root / SWEEP_FILE,
            {
                "schema_version": SCHEMA_VERSION,
                "kind": _KIND,
                "looker_version": __version__,
                "salt": self._salt_used().hex(),
                "repeats": definition.repeats,
                "order": definition.order.value,
                "seed": definition.seed,
                "base": shown(definition.base),
                "swept": list(definition.matrix),
                "points": [
                    {"name": point.name, "options": shown(point.options)} for point in plan.points
                ],
                "targets": [
                    {"name": target.name, "options": shown(target.options)}
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

    def damage(self, run: SweepRun) -> str | None:
        """Say what is wrong with what is kept of a run; None where nothing is, or nothing kept."""
        place = self.place(run)
        if not self.is_done(run):
            return None
        try:
            record = read_record(place)
            report = _read(place / REPORT_FILE) if record.error is None else None
        except UsageError as error:
            return str(error)
        if record.error is not None:
            return None
        wrong = _what_is_wrong(report, run)
        return None if wrong is None else f"{place / REPORT_FILE} {wrong}"

    def discard(self, run: SweepRun) -> None:
        """Take what is kept of a run out of the results; it is gone when the run begins again."""
        self._replace(self.place(run), self._unfinished(run))

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
        self._replace(unfinished, place)
        return place

    @staticmethod
    def _replace(source: Path, place: Path) -> None:
        try:
            if place.exists():
                shutil.rmtree(place)
            source.rename(place)
        except OSError as error:
            raise LookerError(f"cannot write {place}: {error.strerror or error}") from error

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
    return {**shown(run.options), "seed": run.seed}


def _warn_of_version(root: Path) -> None:
    version = read_facts(root).looker_version
    if version not in ("", __version__):
        LOG.warning(
            "%s was begun by Looker %s, and this is %s: a comparison will not take runs of both for"
            " alike",
            root,
            one_line(version, _MAX_SAID_CHARS),
            __version__,
        )


def _user(url: str) -> str:
    try:
        return urlsplit(url).username or ""
    except ValueError:
        return ""


def _said(value: object) -> str:
    return one_line(json.dumps(value), _MAX_SAID_CHARS)


def _what_is_wrong(report: object, run: SweepRun) -> str | None:
    """Say why a report is none of this run's, or not all of it; None where nothing is wrong."""
    if not isinstance(report, dict) or report.get("schema_version") != REPORT_SCHEMA_VERSION:
        return "is no report of a run"
    if report.get("finished") is False:
        return "is unfinished"
    if not all(isinstance(report.get(name), dict) for name in ("config", "target", "totals")):
        return "is no whole report of a run"
    if report["config"].get("seed") != run.seed:
        return "is of another run"
    return None


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they may be shown."""
    return {name: shown_option(name, value) for name, value in options.items()}


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
        facts = SweepFacts(
            targets=[_as_name(target["name"]) for target in plain["targets"]],
            swept=[*map(str, plain["swept"])],
            points={_as_name(point["name"]): dict(point["options"]) for point in plain["points"]},
            repeats=plain["repeats"],
            looker_version=str(plain.get("looker_version", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(str(path), "is no whole file of a sweep") from error
    return facts


def _as_name(name: object) -> str:
    """Return what is the name of a directory; ValueError for anything else."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(name)
    return name


def read_record(place: Path) -> Record:
    """Return what a run came to; UsageError where its file cannot be read."""
    path = place / RUN_FILE
    plain = _read(path)
    try:
        record = Record(**plain)
    except TypeError as error:
        raise UsageError(str(path), "is no whole file of a sweep's run") from error
    if not all(isinstance(getattr(record, name), kind) for name, kind in _FORM.items()):
        raise UsageError(str(path), "is no whole file of a sweep's run")
    return record


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
        return orjson.loads(read_file(path))
    except OSError as error:
        raise UsageError(str(path), f"cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(str(path), f"is not JSON, or not all of it: {error}") from error


def log_tail(path: Path, max_chars: int = 300) -> str | None:
    """Return the last line of a log that says something, as it may be shown; None without one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    said = next((line for line in reversed(lines) if line.strip()), None)
    return None if said is None else one_line(presentable(said), max_chars)
