"""Running the embedded target: as the main work of a process, or as a child of one.

Importing this module is cheap: the server and what it needs is imported when it starts.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

from looker.errors import ExitCode, TargetError
from looker.spawning import end_with_parent, held_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing import connection

    from looker.target.config import TargetConfig

_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 5.0
_SWITCH_INTERVAL_S = 0.0005
_log = logging.getLogger(__name__)


def run_target(config: TargetConfig, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is called with the URL. Raises TargetError.

    To be called in the main thread, which owns the signals.
    """
    _serve(config, ready, (signal.SIGTERM, signal.SIGINT))


def _serve(
    config: TargetConfig, ready: Callable[[str], None], until: tuple[signal.Signals, ...]
) -> None:
    """Serve until one of the signals comes."""
    import asyncio  # noqa: PLC0415
    import sys  # noqa: PLC0415

    import uvloop  # noqa: PLC0415

    from looker.target.server import Target, listening  # noqa: PLC0415

    target = Target(config)
    # what takes long is done beside the event loop, which is to have its turn soon
    sys.setswitchinterval(_SWITCH_INTERVAL_S)

    async def serve() -> None:
        done = asyncio.Event()
        for number in until:
            asyncio.get_running_loop().add_signal_handler(number, done.set)
        async with listening(target) as url:
            ready(url)
            await done.wait()
        if config.faults:
            _log.info("faults injected: %s", target.faults.totals)

    uvloop.run(serve())


_HELD_BACK = {signal.SIGINT, signal.SIGTERM}


def _child(config: TargetConfig, pipe: connection.Connection) -> None:
    """Serve within a child process, telling the parent the URL or why there is none."""
    # An interrupt from the terminal reaches the whole group; the parent decides what ends when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    end_with_parent(0)
    try:
        _serve(config, lambda url: pipe.send((True, url)), (signal.SIGTERM,))
    except TargetError as error:
        pipe.send((False, str(error)))
    except Exception as error:  # noqa: BLE001 - the parent says it, in one line
        pipe.send((False, f"the embedded target did not start: {error or type(error).__name__}"))
        pipe.close()
        # what is half begun has nothing to add
        os._exit(ExitCode.INTERNAL)


class TargetProcess:
    """The target as a child process, which ends when this process does."""

    def __init__(self, config: TargetConfig) -> None:
        self._config = config
        self._process: multiprocessing.process.BaseProcess | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> str:
        """Start it and return its URL; TargetError, in one line, if it does not come up."""
        if self._process is not None:
            raise TargetError("the embedded target is already running")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_child, args=(self._config, theirs), name="looker-target", daemon=True
        )
        with held_back(_HELD_BACK):
            process.start()
            self._process = process
        theirs.close()
        message = None
        if ours.poll(_START_LIMIT_S):
            try:
                message = ours.recv()
            except EOFError:
                process.join(_STOP_LIMIT_S)
        ours.close()
        if message is not None and message[0]:
            return str(message[1])
        said = None if message is None else str(message[1])
        code = process.exitcode
        self.stop()
        raise TargetError(said or f"the embedded target did not start (exit code {code})")

    def stop(self) -> None:
        """End it, if it runs; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.join(_STOP_LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()
