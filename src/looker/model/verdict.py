"""What a run has shown, and the exit code that says so."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from looker.errors import ExitCode
from looker.model.config import VerifyMode

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(StrEnum):
    """Whether what was acknowledged came back."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Reading could not be completed, or there was nothing to check though that was wanted."""
    NOT_CHECKED = "not_checked"
    """Reading was switched off."""


CHECKED: Final = {
    VerifyMode.CONTENT: "labels, order, number and content of each sample, the content twice:"
    " regenerated bit by bit, and by the checksum of the bytes that were sent",
    VerifyMode.CHECKSUM: "labels, order, number and times of the samples; their content, of each"
    " fragment as a whole, by the checksum of the bytes that were sent",
    VerifyMode.COUNT: "labels, order, number and times of the samples; not their content",
    VerifyMode.OFF: "nothing",
}
"""What a verdict is about, by how it was come to."""

_GRAVITY = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.PASSED, Verdict.NOT_CHECKED)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest verdict; unknown where there is none."""
    found = set(verdicts)
    return next((verdict for verdict in _GRAVITY if verdict in found), Verdict.UNKNOWN)


_PRECEDENCE = (
    ExitCode.MISMATCH,
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
    ExitCode.OUTPUT,
    ExitCode.TARGET,
    ExitCode.THRESHOLD,
    ExitCode.USAGE,
)


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code that takes precedence.

    A mismatch is over all others; Looker's own fault over target, threshold and interruption;
    an interrupted run over lost output, that over target and threshold.
    """
    found = set(codes)
    return next((code for code in _PRECEDENCE if code in found), ExitCode.PASSED)
