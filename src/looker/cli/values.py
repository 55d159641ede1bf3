"""What an option may be given, before the parser makes something of it: numbers, and no nothing.

The parser's own idea of a number is Python's: it takes ``nan``, ``1_000`` and digits of any script.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from looker.errors import UsageError
from looker.model.numerals import decimal, whole_number
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CHARS: Final = 100


def strict(command: Any) -> Any:
    """Let a command refuse values that are none, in words, before it converts them; return it."""
    types = types_of(command)
    for parameter in command.params:
        if parameter.name in types:
            parameter.process_value = _checking(parameter, types[parameter.name])
    return command


def types_of(command: Any) -> dict[str, type]:
    """Return what one value of each of a command's parameters is to be, by their names."""
    hints = inspect.signature(command.callback, eval_str=True).parameters
    return {name: _type_of(hint.annotation) for name, hint in hints.items()}


def _type_of(annotation: Any) -> type:
    """Return what one value is to be: of ``Annotated[list[int] | None, …]`` int."""
    while arguments := [arg for arg in get_args(annotation) if arg is not type(None)]:
        annotation = arguments[0]
    return annotation if isinstance(annotation, type) else str


def _checking(parameter: Any, wanted: type) -> Callable[[Any, Any], Any]:
    process = parameter.process_value
    name = parameter.opts[0]
    if not name.startswith("-"):
        name = (parameter.metavar or name).strip("[].").upper()

    def checked(context: Any, value: Any) -> Any:
        if isinstance(value, list | tuple) and (parameter.multiple or parameter.nargs != 1):
            value = [_checked(name, wanted, one) for one in value]
        elif value is not None:
            value = _checked(name, wanted, value)
        return process(context, value)

    return checked


def _checked(name: str, wanted: type, value: Any) -> Any:
    """Return a value that the parser may convert; UsageError, naming the option, for another."""
    if isinstance(value, str) and not isinstance(value, Enum) and not value.strip():
        raise UsageError(name, "is empty: give a value, or leave it out")
    wrong = None
    if wanted is int:
        wrong = None if _is_whole(value) else "a whole number"
    elif wanted is float:
        wrong = None if _is_decimal(value) else "a number"
    elif wanted is bool:
        wrong = None if isinstance(value, bool | str) else "true or false"
    elif isinstance(value, datetime):
        # TOML has times of its own
        return value.isoformat()
    elif not isinstance(value, str | Path | Enum):
        wrong = "text, in quotes"
    if wrong is not None:
        raise UsageError(name, f"must be {wrong}, not {one_line(repr(value), _MAX_CHARS)}")
    return value


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return _is_number(value, whole_number(value))
    return isinstance(value, int) and not isinstance(value, bool)


def _is_decimal(value: object) -> bool:
    if isinstance(value, float | str):
        return _is_number(str(value), decimal(str(value)))
    return _is_whole(value)


def _is_number(text: str, number: float | None) -> bool:
    # minus nought is no less than nought for any check that would refuse it
    return number is not None and (bool(number) or not text.startswith("-"))
