"""SIGINT and SIGTERM to the command line, from its first moment on: they end it with 130.

A run that goes on has handlers of its own, and puts these back when it is over.
"""

from __future__ import annotations

import os
import signal

# nothing else is imported before the first signal can be caught
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED: Final = 130
"""As ``ExitCode`` has it, which is not imported yet when the first signal may come."""


def end_at_once() -> None:
    """From now on let a signal end this process at once: nothing is begun that wants an end."""
    _handle(_end)


def end_in_order() -> None:
    """From now on let a signal raise KeyboardInterrupt, and a second one end the process at once.

    For what has begun something: a child process, a file. Nothing happens in a process in which
    ``end_at_once`` was not called, as its signals are somebody else's.
    """
    if signal.getsignal(signal.SIGTERM) is _end:
        _handle(_interrupt)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    # children, if there are any by now, end with their parent
    os._exit(_INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _handle(_end)
    raise KeyboardInterrupt
