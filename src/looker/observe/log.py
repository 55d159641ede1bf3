"""Log lines on standard error, for people and for scripts."""

from __future__ import annotations

import logging
import time
from typing import Final

from looker.model.words import printable

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str) -> None:
    """Send Looker's log lines of ``level`` and above to standard error, in UTC."""
    handler = logging.StreamHandler()
    formatter = _Printable(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("looker")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class _Printable(logging.Formatter):
    """Lines in which nothing that somebody else said is obeyed by a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text; a traceback has several lines."""
        return printable(super().format(record))
