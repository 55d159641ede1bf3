"""What a report's path leads to: a file of its own, a device, standard output."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from looker.errors import UsageError

STANDARD_OUTPUT: Final = Path("/dev/stdout")
_NUMBERED: Final = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)")


def is_systems(path: Path) -> bool:
    """Tell whether a path is of the system, where nothing is to be replaced."""
    return path.absolute().parts[1:2] in (("dev",), ("proc",))


def is_replaced(path: Path) -> bool:
    """Tell whether a report at a path replaces the one before; a pipe or device takes each."""
    return not is_systems(path) and (path.is_file() or not path.exists())


def is_standard_output(path: Path) -> bool:
    """Tell whether what is written to a path comes out at standard output."""
    if descriptor_of(path) == 1:
        return True
    try:
        return os.path.samestat(os.fstat(1), path.stat())
    except OSError:
        return False


def descriptor_of(path: Path) -> int | None:
    """Return the number of the open file that a path of the system's names; None for others."""
    named = {str(STANDARD_OUTPUT): 1, "/dev/stderr": 2}.get(str(path))
    number = _NUMBERED.fullmatch(str(path))
    return named if number is None else int(number.group(1))


def is_same_file(path: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file that is there."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def refuse_no_place(option: str, path: Path) -> None:
    """Raise UsageError, naming the option, where a file cannot be written."""
    try:
        if path.is_dir():
            raise UsageError(option, f"{path} is a directory: give a file")
        if is_systems(path) and path.exists():
            if not os.access(path, os.W_OK):
                raise UsageError(option, f"{path} cannot be written")
            return
        real = path.resolve()
        if real.is_symlink():
            raise UsageError(option, f"{path} cannot be written: its symbolic links are a loop")
        if not real.parent.is_dir():
            raise UsageError(option, f"there is no directory {real.parent}")
        in_place = path.exists() and not path.is_file()
        if not os.access(path if in_place else real.parent, os.W_OK):
            raise UsageError(option, f"{path} cannot be written in {real.parent}")
    except OSError as error:
        raise UsageError(option, f"{path} cannot be written: {error.strerror or error}") from error
    except RuntimeError as error:
        # so up to Python 3.12
        raise UsageError(
            option, f"{path} cannot be written: its symbolic links are a loop"
        ) from error
