"""A thread beside the event loop for requests that take long, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.target.answers import Answer

    Job = tuple[Callable[[], Answer], Callable[[Answer], None], asyncio.AbstractEventLoop]


class Worker:
    """Works on what the event loop gives it; it ends with the process.

    While there is something to do, everything that touches the same data has to come here: so
    nothing is done to them by two threads.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.n_jobs = 0
        """What is not done yet."""

    def do(self, work: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
        """Have work done; ``done`` is given what it returns, by the running loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="looker-work", daemon=True)
            self._thread.start()
        self.n_jobs += 1
        self._jobs.put((work, done, asyncio.get_running_loop()))

    def _run(self) -> None:
        while True:
            work, done, loop = self._jobs.get()
            answer = work()
            with contextlib.suppress(RuntimeError):  # the loop is closed meanwhile
                loop.call_soon_threadsafe(self._hand_over, done, answer)
            del work, done, answer

    def _hand_over(self, done: Callable[[Answer], None], answer: Answer) -> None:
        self.n_jobs -= 1
        done(answer)
