"""What the scripts here share: a configuration, targets on loopback, stages to be measured."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.partition import shares
from looker.engine.stages import RecordingClient, Stages
from looker.model.config import MAX_LAG_S, Compressability, Mode, ReadApi, RunConfig
from looker.model.retry import RetryPolicy
from looker.target.config import TargetConfig
from looker.target.run import TargetProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from looker.backend.api import Target
    from looker.engine.stages import ReadBack
    from looker.model.calibration import Work

CLOCK = SystemClock()
_numbers = iter(range(10**9))


def config(mode: Mode, **changes: Any) -> RunConfig:
    """Return a load: 1,000 samples of 100 characters in a message, unless told otherwise."""
    n_streams = changes.get("n_streams", 100)
    n_workers = changes.get("n_workers", 1)
    n_writers = max(n_workers, min(max(10, 2 * n_workers), n_streams))
    figures: dict[str, Any] = {
        "mode": mode,
        "url": None,
        # an id of its own, so that one load is not read back as another's
        "invocation_id": f"bench-{next(_numbers):08}",
        "seed": 1,
        "n_streams": n_streams,
        "n_samples_per_fragment": 1000,
        "n_fragments_per_message": 1,
        "n_chars_per_line": 100,
        "compressability": Compressability.MIN,
        "stop_after_n_fragments": None,
        "stop_after_n_seconds": 1.0,
        "n_cycles": 1,
        "change_streams_every_n_cycles": 0,
        "skip_read": False,
        "read_n_streams": None,
        "read_api": ReadApi.AUTO,
        "read_grace_s": 0.0,
        "max_concurrent_writes": n_writers,
        "max_concurrent_reads": n_writers,
        "step_ns": 1 if mode is Mode.LOGS else 1_000_000,
        "min_lag_s": 30.0,
        # so far behind wall time that no stream ever has to wait for it
        "max_lag_s": MAX_LAG_S,
        "n_workers": n_workers,
        "align_phases": True,
        "tenant": None,
        "retry": RetryPolicy(10.0, 0.1, 1.0, 0.5),
        "report": None,
        "log_level": "info",
    }
    return RunConfig(**{**figures, **changes})


@dataclass(eq=False)
class Load:
    """One load that is ready to be taken through the stages."""

    config: RunConfig
    stages: Stages
    client: Client
    target: Target
    recorded: ReadBack

    async def round(self) -> Work:
        """Take one batch through all stages; return the work of each."""
        encoded, rows = self.stages.generate()
        await self.stages.push(self.client, encoded, rows, self.stages.compress(encoded))
        await self.stages.validate(self.recorded)
        return self.stages.take_work()


class Targets:
    """A target that discards and one that stores, and loads that are written to them."""

    def __init__(self, stack: AsyncExitStack, null: str, memory: str) -> None:
        self._stack = stack
        self._null = null
        self._memory = memory

    async def load(self, of: RunConfig) -> Load:
        """Prepare a load: its answers are recorded, its connections are open."""
        stages = Stages(of, shares(of)[0], CLOCK)
        null, memory = [
            await asyncio.to_thread(discover, of, url, embedded=True)
            for url in (self._null, self._memory)
        ]
        clients = [
            await self._stack.enter_async_context(
                Transport(max_connections=of.max_concurrent_writes)
            )
            for _ in range(2)
        ]
        recording = RecordingClient(clients[1], api_for(memory), of.retry, CLOCK)
        recorded = await stages.record(memory, recording)
        client = Client(clients[0], api_for(null), of.retry, CLOCK, asyncio.Event())
        load = Load(of, stages, client, memory, recorded)
        await load.round()
        return load


@asynccontextmanager
async def targets() -> AsyncIterator[Targets]:
    """Serve both targets."""
    async with AsyncExitStack() as stack:
        urls = []
        for target in (TargetConfig(mode="null"), TargetConfig(max_memory_mb=4096)):
            served = TargetProcess(target)
            stack.callback(served.stop)
            urls.append(served.start())
        yield Targets(stack, *urls)


def markdown(title: str, heads: list[str], rows: list[list[str]]) -> str:
    """Return a table: the first column to the left, all others to the right."""
    lines = [f"**{title}**", "", "| " + " | ".join(heads) + " |"]
    lines.append("| " + " | ".join(["---"] + ["---:"] * (len(heads) - 1)) + " |")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, ""])
