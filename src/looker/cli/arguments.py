"""What the command line's words become before they are parsed.

The original's own form, ``looker URL [--metrics-mode] ...``, becomes a command;
``--label KEY VALUE`` becomes one word; two spellings of one option are refused together;
``--config FILE`` is read.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from looker.errors import UsageError
from looker.files import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Final = (
    "logs",
    "metrics",
    "verify",
    "sweep",
    "compare",
    "report",
    "calibrate",
    "target",
)

ALIASES: Final[Mapping[str, str]] = {
    "--n-series": "--n-concurrent-streams",
    "--n-samples-per-series-fragment": "--n-entries-per-stream-fragment",
    "--cycle-stop-write-after-n-fragments": "--stop-write-after-n-fragments-per-stream",
    "--cycle-stop-write-after-n-seconds": "--stop-write-after-n-seconds",
    "--cycle-stop-write-after-n-seconds-jitter": "--stop-write-after-n-seconds-jitter",
    "--read-n-series-only": "--read-n-streams-only",
    "--change-series-every-n-cycles": "--change-streams-every-n-cycles",
}
"""Names that later versions of the original gave to its options."""

URL_VARIABLE: Final = "LOOKER_URL"

# typer brings its own copy of click; the base of its usage errors is reached by a public name
USAGE_ERROR: Final[type[Any]] = typer.BadParameter.__mro__[1]


def alias_of(option: str) -> tuple[str, ...]:
    """Return the other names of an option."""
    return tuple(alias for alias, name in ALIASES.items() if name == option)


def key_aliases() -> dict[str, str]:
    """Return the other names of options and those they lead to, as keys of a file."""
    return {
        alias[2:].replace("-", "_"): name[2:].replace("-", "_") for alias, name in ALIASES.items()
    }


def option(name: str, *more: str, **settings: Any) -> Any:
    """Return an option with its other names and its environment variable ``LOOKER_...``."""
    first = name.partition("/")[0]
    variables = [variable_of(one) for one in (first, *alias_of(name))]
    return typer.Option(
        name, *more, *alias_of(name), envvar=variables, show_envvar=False, **settings
    )


def url_argument(**settings: Any) -> Any:
    """Return the target's URL as an argument, with its environment variable."""
    return typer.Argument(
        metavar="URL", envvar=URL_VARIABLE, show_envvar=False, show_default=False, **settings
    )


def variable_of(option: str) -> str:
    """Return the environment variable that stands for an option."""
    return "LOOKER_" + option.removeprefix("--").replace("-", "_").upper()


def rewritten(words: Sequence[str]) -> list[str]:
    """Return the words as the parser wants them; UsageError where they contradict each other."""
    words = _with_command(list(words))
    _refuse_two_spellings(words)
    return _with_joined_labels(words)


def _with_command(words: list[str]) -> list[str]:
    """Turn ``URL ... [--metrics-mode]`` into a command; a mistyped command stays what it is."""
    if not words or words[0] in COMMANDS:
        return words
    is_url = any(word.startswith(("http://", "https://")) for word in words)
    if not is_url or not words[0].startswith(("http://", "https://", "-")):
        return words
    if "--metrics-mode" in words:
        return ["metrics", *(word for word in words if word != "--metrics-mode")]
    return ["logs", *words]


def _refuse_two_spellings(words: Sequence[str]) -> None:
    given: dict[str, str] = {}
    for word in words:
        spelling = word.partition("=")[0]
        if not spelling.startswith("--"):
            continue
        option = ALIASES.get(spelling, spelling)
        before = given.setdefault(option, spelling)
        if before != spelling:
            raise UsageError(spelling, f"is another name of {before}: give one of them")


def _with_joined_labels(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    rest = iter(words)
    for word in rest:
        if word != "--label":
            joined.append(word)
            continue
        key, value = next(rest, None), next(rest, None)
        if key is None or value is None:
            raise UsageError("--label", "wants two words: KEY VALUE")
        if "=" in key:
            raise UsageError("--label", f"wants two words, KEY VALUE: {key!r} has a '='")
        joined.append(f"--label={key}={value}")
    return joined


def configured(words: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return defaults from ``--config FILE`` or ``LOOKER_CONFIG``, by command.

    ``known`` are each command's parameters. Keys are options with underscores, of either name.
    """
    path = os.environ.get(variable_of("--config"))
    for index, word in enumerate(words):
        if word == "--config" and index + 1 < len(words):
            path = words[index + 1]
        elif word.startswith("--config="):
            path = word.partition("=")[2]
    command = words[0] if words else ""
    # the file, or the variable that names it, is of the commands that have the option
    if path is None or "config" not in known.get(command, ()):
        return {}
    if not path.strip():
        raise UsageError("--config", "is empty: give a value, or leave it out")
    return {command: _read(Path(path), known[command])}


def _read(path: Path, known: Sequence[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(read_file(path).decode("utf-8"))
    except OSError as error:
        raise UsageError("--config", f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("--config", f"{path} is not TOML: {error}") from error
    names = key_aliases()
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = names.get(key, key)
        if name not in known:
            near = difflib.get_close_matches(key, [*known, *names], 1)
            hint = f"; is {near[0]} meant?" if near else ""
            raise UsageError("--config", f"{path} has an unknown key {key}{hint}")
        if name in defaults:
            raise UsageError("--config", f"{path} gives {name} twice, under two names")
        defaults[name] = _labels(path, value) if name == "label" else value
    return defaults


def _labels(path: Path, value: object) -> list[str]:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return [f"{name}={text}" for name, text in value.items()]
    raise UsageError("--config", f'{path}: label wants a table, like label = {{env = "test"}}')
