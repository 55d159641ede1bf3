"""How a command ends, whatever happens: an exit code, and for an error one line.

Exit code 1 says that samples did not come back as written, and nothing else does.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from looker.cli.arguments import variable_of
from looker.errors import ExitCode, InternalError, LookerError
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger(__name__)
_MAX_CHARS: Final = 4000
_LEVEL: Final = variable_of("--log-level")
"""The option itself is of some commands only, and may be wrong."""
_ROOM: Final = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the host has no more open files",
    errno.ENOMEM: "the host has no more memory",
    errno.ENOSPC: "a disk is full",
}


def code_of(act: Callable[[], int], *usage_errors: type[Any]) -> int:
    """Do something and return its exit code; every error is one line on standard error.

    ``usage_errors`` are those of the parser.
    """
    try:
        code = act()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except usage_errors as error:
        complain(error.format_message())
        return ExitCode.USAGE
    except LookerError as error:
        complain(str(error))
        _trace(error.__cause__ if isinstance(error, InternalError) else None)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - told, and never taken for a mismatch
        complain(in_words(error))
        _trace(error)
        return ExitCode.INTERNAL
    return code


def complain(message: str) -> None:
    """Say what is wrong, in one line that no terminal obeys."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"looker: {one_line(message, _MAX_CHARS)}\n")
        sys.stderr.flush()


def shielded(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that lets no error of the system's through to the parser.

    That would end the process by itself, with exit code 1, where a pipe is broken.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return callback(*arguments, **options)
        except OSError as error:
            raise InternalError(in_words(error)) from error

    return call


def in_words(error: BaseException) -> str:
    """Return an unforeseen error in one line, with the place in Looker that it comes from."""
    said = one_line(str(error), _MAX_CHARS)
    if isinstance(error, OSError) and error.errno in _ROOM:
        return f"{said}: {_ROOM[error.errno]}"
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    # the innermost frame of Looker's own says more than that of a library
    own = [frame for frame in frames if f"{_PACKAGE}/" in frame.filename]
    place = ""
    if own:
        path = own[-1].filename.rpartition(f"{_PACKAGE}/")[2]
        place = f" in {path}:{own[-1].lineno}"
    return (
        f"unforeseen {name}{place}{f': {said}' if said else ''}"
        f" ({_LEVEL}=debug shows where it comes from)"
    )


_PACKAGE: Final = str(Path(__file__).parents[1])


def _trace(error: BaseException | None) -> None:
    """Show where an error comes from to those who want details."""
    wanted = LOG.isEnabledFor(logging.DEBUG) or os.environ.get(_LEVEL) == "debug"
    if error is not None and wanted:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("".join(traceback.format_exception(error)))
