"""Hypothesis profiles; this directory is on the path, so that tests can import ``referee``."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from looker.model import secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("quick"), derandomize=True)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick")
)

# A shell's background jobs ignore SIGINT, and what they start inherits that: the command lines that
# tests interrupt must not depend on how pytest was started.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what a command line that runs in this process does to the log."""
    logger = logging.getLogger("looker")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test keep secrets of its own: a short one is struck out of common words."""
    monkeypatch.setattr(secrecy, "_KEEPER", secrecy._Keeper())
