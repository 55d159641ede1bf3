"""Child processes: no signal comes to one too early, and none outlives its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet


@contextmanager
def held_back(signals: AbstractSet[signal.Signals]) -> Iterator[None]:
    """Let signals wait while children are started, here and in the children.

    A child lets them through when it knows what to do: an interpreter that starts does not.
    """
    # starting it unblocks SIGINT and SIGTERM, so it must not be the first child's start that does
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(exit_code: int) -> None:
    """End this process, from now on, as soon as its parent has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(exit_code)

    threading.Thread(target=watch, name="looker-parent", daemon=True).start()
