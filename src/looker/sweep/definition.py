"""A sweep's file: options, a matrix of them, targets, repeats; checked before anything runs."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from looker.errors import UsageError
from looker.files import read_file
from looker.model.config import Mode
from looker.model.url import presentable, redacted
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Table = Mapping[str, Any]

DEFAULT_REPEATS: Final = 10
"""With nine figures and two targets, nine pairs are the fewest that can show a difference."""
MAX_RUNS: Final = 100_000
_MAX_NAME_CHARS: Final = 100
_TARGET_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{_MAX_NAME_CHARS - 1}}}")
SWEEP_FILE: Final = "sweep.json"
TABLE_FILE: Final = "results.sqlite"
_RESERVED_NAMES: Final = (SWEEP_FILE, TABLE_FILE)
"""What a sweep's directory holds beside its targets' directories, and what goes with these."""
_MAX_SHOWN_CHARS: Final = 60
_MAX_CHARS: Final = 500
_RESERVED: Final = {
    "report": "the sweep gives each run its own",
    "invocation_id": "the sweep gives each run its own",
    "ledger": "the sweep keeps reports only",
    "seed": "give it at the top of the file: each run's is made of it",
    "config": "all options of a sweep stand in its file",
}
"""Options of a run that a sweep does not take, and why."""
MODE: Final = "mode"


_URLS: Final = ("url", "target_metrics_url")


def shown_option(name: str, value: Any) -> Any:
    """Return an option's value as it may be shown, without user and password, right or wrong."""
    return redacted(value) if name in _URLS and isinstance(value, str) else presentable(value)


class Order(StrEnum):
    """The order of the runs of one repeat."""

    INTERLEAVED = "interleaved"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class SweepTarget:
    """A target: options of the runs that go to it, and how it is brought up.

    ``start``, ``stop`` and ``reset`` are shell commands that end by themselves; ``serve`` is one
    that runs the server, for as long as it is wanted.
    """

    name: str
    options: Mapping[str, Any]
    start: str | None = None
    serve: str | None = None
    stop: str | None = None
    reset: str | None = None
    ready_url: str | None = None
    ready_timeout_s: float = 60.0

    @property
    def is_started(self) -> bool:
        """Whether the sweep brings it up itself."""
        return self.start is not None or self.serve is not None


@dataclass(frozen=True, slots=True)
class Definition:
    """What a sweep's file says."""

    base: Mapping[str, Any]
    matrix: Mapping[str, Sequence[Any]]
    targets: Sequence[SweepTarget]
    repeats: int = DEFAULT_REPEATS
    order: Order = Order.INTERLEAVED
    seed: int = 1
    cool_down_s: float = 0.0
    run_time_limit_s: float | None = None
    time_limit_s: float | None = None


_TOP: Final = (
    "repeats",
    "order",
    "seed",
    "cool_down_seconds",
    "run_time_limit_seconds",
    "time_limit_seconds",
    "base",
    "matrix",
    "targets",
)
_OF_TARGET: Final = (
    "name",
    "start",
    "serve",
    "stop",
    "reset",
    "ready_url",
    "ready_timeout_seconds",
)


def read_definition(path: Path, known: Sequence[str], aliases: Mapping[str, str]) -> Definition:
    """Return what a file says; UsageError, naming the file, where that is no sweep.

    ``known`` are the options of a run, with underscores; ``aliases`` leads from other names of
    options to those.
    """
    try:
        text = read_file(path).decode("utf-8")
    except OSError as error:
        raise UsageError("FILE", f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError("FILE", f"{path} is not TOML: it is not UTF-8") from error
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError("FILE", f"{path} is not TOML: {error}") from error
    return _Reader(str(path), known, aliases).definition(plain)


class _Reader:
    """Reads one file; every complaint names it."""

    def __init__(self, name: str, known: Sequence[str], aliases: Mapping[str, str]) -> None:
        self._name = name
        self._known = (MODE, *known)
        self._aliases = aliases

    def definition(self, plain: Table) -> Definition:
        self._check_keys("", plain, _TOP)
        base = self._options("[base]", self._table(plain, "base"))
        matrix = self._matrix(self._table(plain, "matrix"))
        for name in matrix.keys() & base.keys():
            raise self._wrong(f"{name} is in [base] and in [matrix]: give it in one of them")
        targets = self._targets(plain.get("targets", []))
        for target in targets:
            for name in matrix.keys() & target.options.keys():
                raise self._wrong(f"{name} is in [matrix] and in the target {target.name}")
        if MODE not in base and MODE not in matrix:
            raise self._wrong('[base] lacks mode: give mode = "logs" or mode = "metrics"')
        if not targets:
            # the URL may stand in [base]; without one each run has its own embedded target
            targets = [SweepTarget("target" if base.get("url") else "embedded", {})]
        definition = Definition(
            base=base,
            matrix=matrix,
            targets=targets,
            repeats=self._count(plain, "repeats", DEFAULT_REPEATS),
            order=self._order(plain),
            seed=self._count(plain, "seed", 1, least=0),
            cool_down_s=self._seconds("", plain, "cool_down_seconds", least=0.0) or 0.0,
            run_time_limit_s=self._seconds("", plain, "run_time_limit_seconds"),
            time_limit_s=self._seconds("", plain, "time_limit_seconds"),
        )
        n_points = math.prod(len(values) for values in matrix.values())
        n_runs = n_points * len(targets) * definition.repeats
        if n_runs > MAX_RUNS:
            raise self._wrong(f"these are {n_runs:,} runs; {MAX_RUNS:,} are allowed")
        return definition

    def _matrix(self, table: Table) -> dict[str, list[Any]]:
        matrix: dict[str, list[Any]] = {}
        for key, values in table.items():
            name = self._option("[matrix]", key)
            if name in matrix:
                raise self._wrong(f"[matrix] gives {name} twice, under two names")
            if not isinstance(values, list) or not values:
                raise self._wrong(f"[matrix] {key} must be a list of values, like [1, 2]")
            matrix[name] = [self._value(f"[matrix] {key}", name, value) for value in values]
            if any(value in matrix[name][:at] for at, value in enumerate(matrix[name])):
                raise self._wrong(f"[matrix] {key} has the same value twice")
        return matrix

    def _targets(self, tables: object) -> list[SweepTarget]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._wrong("targets must be tables, each under [[targets]]")
        targets: list[SweepTarget] = []
        for number, table in enumerate(tables, 1):
            targets.append(self._target(number, table))
            if any(targets[-1].name == other.name for other in targets[:-1]):
                raise self._wrong(f"two [[targets]] have the name {targets[-1].name}")
        return targets

    def _target(self, number: int, table: Table) -> SweepTarget:
        where = f"[[targets]] number {number}"
        name = table.get("name")
        if not isinstance(name, str) or not _TARGET_NAME.fullmatch(name):
            shown = one_line(repr(name), _MAX_SHOWN_CHARS)
            raise self._wrong(
                f"{where} wants a name of letters, digits and . _ + -, at most {_MAX_NAME_CHARS},"
                f" the first one a letter or digit, not {shown}: it becomes a directory"
            )
        if name.lower().startswith(_RESERVED_NAMES):
            raise self._wrong(
                f"{where} must not have the name {name}: the sweep keeps files of its own under"
                f" names that begin with {' or '.join(_RESERVED_NAMES)}"
            )
        where = f"the target {name}"
        own = {key: value for key, value in table.items() if key in _OF_TARGET}
        rest = {key: value for key, value in table.items() if key not in _OF_TARGET}
        for key in rest:
            self._option(where, key, _OF_TARGET)
        words = {}
        for key in ("start", "serve", "stop", "reset", "ready_url"):
            word = own.get(key)
            if word is not None and not (isinstance(word, str) and word.strip()):
                raise self._wrong(f"{where}: {key} must be text, not {word!r}")
            words[key] = word
        if words["start"] and words["serve"]:
            raise self._wrong(
                f"{where} has start and serve: give serve for a command that runs the server, start"
                " for one that leaves it running"
            )
        timeout_s = self._seconds(f"{where}: ", own, "ready_timeout_seconds")
        target = SweepTarget(
            name, self._options(where, rest), **words, ready_timeout_s=timeout_s or 60.0
        )
        if target.is_started and not (target.ready_url or target.options.get("url")):
            raise self._wrong(f"{where} is to be started, but has no url")
        return target

    def _options(self, where: str, table: Table) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for key, value in table.items():
            name = self._option(where, key)
            if name in options:
                raise self._wrong(f"{where} gives {name} twice, under two names")
            options[name] = self._value(f"{where}: {key}", name, value)
        return options

    def _option(self, where: str, key: str, more: Sequence[str] = ()) -> str:
        """Return an option's proper name."""
        name = self._aliases.get(key, key)
        if name in _RESERVED:
            raise self._wrong(f"{where}: {key} is no option of a sweep's runs: {_RESERVED[name]}")
        if name not in self._known:
            raise self._unknown(where, key, [*self._known, *self._aliases, *more])
        return name

    def _value(self, where: str, name: str, value: object) -> object:
        if name == MODE:
            if value not in list(Mode):
                raise self._wrong(f'{where} must be "logs" or "metrics", not {value!r}')
            return str(value)
        if name == "label":
            if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
                return dict(value)
            raise self._wrong(f'{where} wants a table, like label = {{env = "test"}}')
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str | int | float) for item in items):
            raise self._wrong(f"{where} must be a value, or a list of them, not {value!r}")
        return value

    def _order(self, plain: Table) -> Order:
        given = plain.get("order", Order.INTERLEAVED.value)
        if given not in list(Order):
            raise self._wrong(f'order must be "interleaved" or "random", not {given!r}')
        return Order(given)

    def _count(self, plain: Table, key: str, default: int, least: int = 1) -> int:
        value = plain.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._wrong(f"{key} must be a whole number of at least {least}, not {value!r}")
        return value

    def _seconds(
        self, where: str, plain: Table, key: str, least: float | None = None
    ) -> float | None:
        value = plain.get(key)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and (value > 0 if least is None else value >= least):
            return float(value)
        bound = "above 0" if least is None else f"of at least {least:g}"
        raise self._wrong(f"{where}{key} must be a number of seconds {bound}, not {value!r}")

    def _table(self, plain: Table, key: str) -> Table:
        table = plain.get(key, {})
        if not isinstance(table, dict):
            raise self._wrong(f"{key} must be a table: [{key}]")
        return table

    def _check_keys(self, where: str, table: Table, known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                raise self._unknown(where, key, known)

    def _unknown(self, where: str, key: str, known: Sequence[str]) -> UsageError:
        near = difflib.get_close_matches(key, known, 1)
        if not near and key in self._known:
            return self._wrong(f"{key} belongs under [base], [matrix] or [[targets]]")
        hint = f"; is {near[0]} meant?" if near else ""
        return self._wrong(f"{where} has an unknown key {key}{hint}".lstrip())

    def _wrong(self, message: str) -> UsageError:
        return UsageError(self._name, one_line(presentable(message), _MAX_CHARS))
