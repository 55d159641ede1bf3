"""Standard input, output and error of the process: always there, and never able to end it wrong.

What standard output cannot take ends in an ``OutputError``, once; a character that its encoding
has not is written in another way.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from typing import Final

from looker.errors import OutputError

_SIZE: Final = re.compile("[1-9][0-9]{0,4}")
_ERRORS: Final = "looker.signs"
_SIGNS: Final = {
    "±": "+-",
    "·": "-",
    "•": "*",
    "…": "...",
    "↑": "^",
    "↓": "v",
    "│": "|",
    "─": "-",
    "┼": "+",
    "█": "#",
    "¹": "1",
    "²": "2",
    "³": "3",
}
"""What tables are made of, where an encoding has nothing but ASCII."""


def own_streams() -> None:
    """Make the three streams of this process such as all the rest may take for granted."""
    codecs.register_error(_ERRORS, _in_ascii)
    for name in ("COLUMNS", "LINES"):
        # what draws on a terminal takes them for numbers
        if not _SIZE.fullmatch(os.environ.get(name, "1")):
            del os.environ[name]
    _fill_closed()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if sys.stdout is not None:
        sys.stdout.flush()
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=raw.isatty()
    )
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(
            io.FileIO(2, "w", closefd=False), errors=_ERRORS, write_through=True
        )
    else:
        sys.stderr.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]


def leave_streams() -> None:
    """Let nothing that is still to be written fail while the interpreter ends."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, OutputError, ValueError):
            _open_null(descriptor, os.O_WRONLY)


def _fill_closed() -> None:
    """Open what is closed, so that no socket or file gets the number of a standard stream.

    What is written to a closed standard output fails, as it must; to standard error, it is lost.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(descriptor, flags)


def _open_null(descriptor: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor, inheritable=True)
        os.close(opened)
    else:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the only argument


class _Output(io.FileIO):
    """Standard output: the first thing that it cannot take is an error, the rest is dropped."""

    _failed = False

    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        """Write; OutputError where that cannot be."""
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            raise OutputError(f"cannot write the output: {error.strerror or error}") from error


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    written = "".join(
        _SIGNS.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text
    )
    return written, error.end
