"""Log lines: what somebody else said in them is not obeyed by a terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from looker.observe import log

if TYPE_CHECKING:
    import pytest


def test_field_case_56_a_log_line_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("looker")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    try:
        log.configure("info")
        logging.getLogger("looker.x").warning("said %s", "a\x1b[2Jb\x9b\rc\nd é")
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
    sign = "\N{REPLACEMENT CHARACTER}"
    assert capsys.readouterr().err.endswith(f" WARNING said a{sign}[2Jb{sign}{sign}c\nd é\n")
