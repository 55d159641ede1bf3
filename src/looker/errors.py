"""Errors, and whose fault they are: the user's, the target's, or Looker's own.

Every error carries the exit code that the command line ends with.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line's exit code says."""

    PASSED = 0
    MISMATCH = 1
    USAGE = 2
    TARGET = 3
    THRESHOLD = 4
    INTERNAL = 70
    OUTPUT = 74
    INTERRUPTED = 130


class LookerError(Exception):
    """Base of all errors that are shown to the user in one line."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UsageError(LookerError):
    """A wrong option, or a wrong combination: nothing was sent."""

    exit_code = ExitCode.USAGE

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option


class MissingPartError(LookerError):
    """A command wants a package that is not installed: an extra of Looker's."""

    exit_code = ExitCode.USAGE


class TargetError(LookerError):
    """The target is unreachable, or refuses for good, or answers what cannot be understood."""

    exit_code = ExitCode.TARGET


class DecodeError(TargetError):
    """An answer is not of the form that its protocol prescribes."""


class OutputError(LookerError):
    """What was found could not be written: to standard output, or to the report's file."""

    exit_code = ExitCode.OUTPUT


class InternalError(LookerError):
    """A fault of Looker's own."""

    exit_code = ExitCode.INTERNAL
