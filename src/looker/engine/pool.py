"""The seam between coordinator and workers: where workers run is the pool's business."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final, Protocol

from looker.engine.channel import DamagedMessageError, Inbox, Outbox
from looker.spawning import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from looker.engine.messages import FromWorker, ToWorker, WorkerPlan


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker is gone; ``how`` says how, ``clean`` whether that is in order."""

    worker: int
    clean: bool
    how: str


class Pool(Protocol):
    """Workers that can be talked to."""

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        """Start a worker for each plan."""
        ...

    def send(self, worker: int, message: ToWorker) -> None:
        """Send a message to a worker, without waiting for it; nothing happens if it is gone."""
        ...

    def poll(self, timeout_s: float) -> list[FromWorker | Ended]:
        """Return what has come in, waiting up to ``timeout_s`` for the first."""
        ...

    def kill(self, worker: int) -> None:
        """End a worker at once."""
        ...

    def close(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` for all workers to leave, then end those that have not."""
        ...


@dataclass(slots=True)
class _Local:
    process: BaseProcess
    commands: Outbox
    results: Inbox
    damaged: bool = False
    reported: bool = False


def enter_worker(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Run a worker in this process; imports what it needs here, so that the parent need not."""
    own_signals()
    from looker.engine.worker import worker_main  # noqa: PLC0415 - see above

    worker_main(plan, commands, results)


def own_signals() -> None:
    """Let a worker process that has just begun leave it to its parent what Ctrl-C means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


_HELD_BACK: Final = {signal.SIGINT, signal.SIGTERM}
_KILLED_S: Final = 5.0
"""How long a process that was killed is waited for: it may hang within the kernel."""


class LocalPool:
    """Workers as processes of this host, started afresh (spawn): no state is inherited."""

    def __init__(self, entry: Callable[..., None] | None = None) -> None:
        """``entry`` (plan, commands, results) is what a process runs; None is a run's worker."""
        self._entry = entry
        self._workers: dict[int, _Local] = {}

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        """Start a worker for each plan."""
        context = multiprocessing.get_context("spawn")
        with held_back(_HELD_BACK):
            self._start_all(context, plans)

    def _start_all(
        self, context: multiprocessing.context.SpawnContext, plans: Sequence[WorkerPlan]
    ) -> None:
        for plan in plans:
            command_reader, command_writer = context.Pipe(duplex=False)
            result_reader, result_writer = context.Pipe(duplex=False)
            number = plan.share.worker
            process = context.Process(
                target=self._entry or enter_worker,
                args=(plan, command_reader, result_writer),
                name=f"looker-worker-{number}",
                daemon=True,
            )
            process.start()
            # the other ends belong to the worker alone, so that its end closes them
            command_reader.close()
            result_writer.close()
            self._workers[number] = _Local(process, Outbox(command_writer), Inbox(result_reader))

    def send(self, worker: int, message: ToWorker) -> None:
        """Send a message to a worker, without waiting for it; nothing happens if it is gone."""
        self._workers[worker].commands.put(message)

    def poll(self, timeout_s: float) -> list[FromWorker | Ended]:
        """Return what has come in, waiting up to ``timeout_s`` for the first.

        All that a worker has sent comes before the news of its end.
        """
        waiting: list[Any] = [
            one.results for one in self._workers.values() if not one.results.ended
        ]
        waiting += [one.process.sentinel for one in self._workers.values() if not one.reported]
        if not waiting:
            return []
        wait(waiting, timeout_s)
        news: list[FromWorker | Ended] = []
        for number, one in self._workers.items():
            one.commands.flush()
            # asked first, so that all that it wrote is there to be read
            gone = not one.process.is_alive()
            news += self._received(one)
            if (
                gone
                and not one.reported
                and (one.results.ended or not wait([one.results.fileno()], 0))
            ):
                one.reported = True
                news.append(_ended(number, one))
        return news

    def kill(self, worker: int) -> None:
        """End a worker at once."""
        self._workers[worker].process.kill()

    def close(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` for all workers to leave, then end those that have not."""
        end_s = time.monotonic() + grace_s
        for one in self._workers.values():
            one.process.join(max(0.0, end_s - time.monotonic()))
        for one in self._workers.values():
            if one.process.is_alive():
                one.process.kill()
                one.process.join(_KILLED_S)
            one.commands.close()
            one.results.close()

    @staticmethod
    def _received(one: _Local) -> list[FromWorker | Ended]:
        if one.results.ended:
            return []
        try:
            return one.results.take()
        except DamagedMessageError:
            one.damaged = one.results.ended = True
            one.process.kill()
            return []


def _ended(number: int, one: _Local) -> Ended:
    exit_code = one.process.exitcode
    if one.damaged:
        return Ended(number, clean=False, how="what it sent was no message: it was killed")
    if exit_code == 0 and one.results.is_torn:
        return Ended(number, clean=False, how="it ended in the middle of a message")
    if exit_code == 0:
        return Ended(number, clean=True, how="exit code 0")
    if exit_code is not None and exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = str(-exit_code)
        return Ended(number, clean=False, how=f"killed by {name}")
    return Ended(number, clean=False, how=f"exit code {exit_code}")
