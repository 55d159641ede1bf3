"""A worker process that measures the stages of its share, at the same time as all others."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvloop

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.channel import DamagedMessageError, Receiver, Sender
from looker.engine.messages import (
    Finished,
    MeasureStages,
    Ready,
    StagesMeasured,
    Stop,
    WorkerFailed,
    WorkerPlan,
)
from looker.engine.pool import own_signals
from looker.engine.stages import RecordingClient, Stages, rounds
from looker.errors import ExitCode, LookerError
from looker.model.calibration import summed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from looker.backend.api import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan(WorkerPlan):
    """What such a worker is told: ``target`` discards pushes, ``storing`` keeps them."""

    storing: Target


def enter_stage_worker(
    plan: StagePlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Run such a worker in this process: measure whenever told to, until told to leave."""
    own_signals()
    sender = Sender(results)
    try:
        uvloop.run(_measure(plan, commands, sender))
        sender.put(Finished(plan.share.worker))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must know
        known = isinstance(error, LookerError)
        summary = str(error) if known else f"{type(error).__name__}: {error}"
        sender.put(WorkerFailed(plan.share.worker, summary, traceback.format_exc()))
    sender.close()


async def _measure(plan: StagePlan, commands: Connection[Any, Any], sender: Sender) -> None:
    config, share, clock = plan.config, plan.share, SystemClock()
    asked: asyncio.Queue[float | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=_listen, args=(commands, loop, asked), name="looker-commands", daemon=True
    ).start()
    limit = max(share.n_writers, share.n_readers)
    stages = Stages(config, share, clock)
    async with (
        Transport(max_connections=limit) as discarding,
        Transport(max_connections=limit) as storing,
    ):
        client = Client(discarding, api_for(plan.target), config.retry, clock, asyncio.Event())
        recording = RecordingClient(storing, api_for(plan.storing), config.retry, clock)
        recorded = await stages.record(plan.storing, recording)
        # once for what is done but once: connections, caches
        await rounds(stages, client, recorded, 0.0)
        sender.put(Ready(share.worker, os.getpid(), socket.gethostname()))
        while (seconds := await asked.get()) is not None:
            found = await rounds(stages, client, recorded, seconds)
            sender.put(StagesMeasured(share.worker, summed(found)))


def _listen(
    commands: Connection[Any, Any],
    loop: asyncio.AbstractEventLoop,
    asked: asyncio.Queue[float | None],
) -> None:
    """Hand commands to the loop: seconds, or None for the end; leave if the parent is gone."""
    receiver = Receiver(commands)
    try:
        while True:
            match receiver.get():
                case MeasureStages(seconds):
                    loop.call_soon_threadsafe(asked.put_nowait, seconds)
                case Stop():
                    loop.call_soon_threadsafe(asked.put_nowait, None)
    except (EOFError, OSError, DamagedMessageError):
        os._exit(ExitCode.INTERNAL)
    except RuntimeError:
        # the loop is closed: this worker is through, and nobody waits for commands
        return
