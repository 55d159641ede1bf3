"""A write phase and a read phase of one worker, in the test's own process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.read_phase import ReadPhase
from looker.engine.worker import coupling_of, encoder_for
from looker.engine.write_phase import WritePhase
from looker.generate.content import Content
from looker.generate.population import Population
from looker.model.report import CycleReport
from looker.verify.ledger import Ledger
from looker.verify.parts import MAX_PART_ROWS, parts_of_run
from servers import run_config

if TYPE_CHECKING:
    from looker.model.config import RunConfig
    from looker.model.report import ReadReport, WriteReport


@dataclass(frozen=True)
class Cycle:
    """What one cycle came to, and its ledger."""

    write: WriteReport
    read: ReadReport
    ledger: Ledger
    report: CycleReport


def one_cycle(url: str, *, elsewhere: str | None = None, **changes: Any) -> Cycle:
    """Write and read back a cycle of ``run_config`` with changes, by one writer unless told.

    ``elsewhere`` is asked and pushed to instead, once preflight is through.
    """
    settings = {"max_concurrent_writes": 1, "max_concurrent_reads": 1, **changes}
    return asyncio.run(_cycle(run_config(url, **settings), elsewhere))


async def _cycle(config: RunConfig, elsewhere: str | None) -> Cycle:
    assert config.url is not None
    target = await asyncio.to_thread(discover, config, config.url)
    target = replace(target, url=elsewhere or target.url)
    clock, stop, ledger = SystemClock(), asyncio.Event(), Ledger()
    content = Content.of(config, 0)
    population = Population(
        seed=config.seed,
        generation=0,
        first=0,
        n=config.n_streams,
        coupling=coupling_of(config),
        now_ns=clock.wall_ns(),
    )
    async with Transport(max_connections=4) as transport:
        client = Client(
            transport, api_for(target), config.retry, clock, stop, config.request_timeout_s
        )
        write = await WritePhase(
            config=config,
            client=client,
            population=population,
            encoder=encoder_for(content, config.mode),
            ledger=ledger,
            cycle=0,
            n_writers=config.max_concurrent_writes,
            clock=clock,
            stop=stop,
            end=asyncio.Event(),
        ).run()
        read = await ReadPhase(
            config=config,
            target=target,
            client=client,
            content=content,
            parts=parts_of_run(
                ledger,
                (0, config.n_streams),
                group_size=config.group_size,
                max_rows=MAX_PART_ROWS,
            ),
            cycle=0,
            n_readers=config.max_concurrent_reads,
            clock=clock,
            stop=stop,
        ).run()
    return Cycle(write, read, ledger, CycleReport(0, 0, write, read))
