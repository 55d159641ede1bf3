"""The stages of a calibration, against targets in processes of their own."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.partition import shares
from looker.engine.stages import RecordingClient, Stages, rounds
from looker.errors import InternalError, TargetError
from looker.model.calibration import Stage, summed
from looker.model.config import Mode
from looker.target.config import TargetConfig
from looker.target.run import TargetProcess
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from looker.backend.api import Target
    from looker.model.config import RunConfig

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """Serve a target of each mode."""
    started = {mode: TargetProcess(TargetConfig(mode=mode)) for mode in ("memory", "null")}
    try:
        yield {mode: one.start() for mode, one in started.items()}
    finally:
        for one in started.values():
            one.stop()


def config(mode: Mode, **changes: Any) -> RunConfig:
    return run_config(
        None,
        mode=mode,
        n_streams=6,
        n_samples_per_fragment=20,
        n_fragments_per_message=2,
        step_ns=1 if mode is Mode.LOGS else 1_000_000,
        max_lag_s=100_000_000.0,
        **changes,
    )


@asynccontextmanager
async def clients(
    of: RunConfig, urls: dict[str, str], storing: str
) -> AsyncIterator[tuple[Client, RecordingClient, Target]]:
    null, memory = [
        await asyncio.to_thread(discover, of, urls[mode], embedded=True)
        for mode in ("null", storing)
    ]
    async with Transport(max_connections=4) as one, Transport(max_connections=4) as other:
        yield (
            Client(one, api_for(null), of.retry, CLOCK, asyncio.Event()),
            RecordingClient(other, api_for(memory), of.retry, CLOCK),
            memory,
        )


@pytest.mark.parametrize("mode", list(Mode))
def test_every_stage_is_given_the_samples_that_it_works_on(
    urls: dict[str, str], mode: Mode
) -> None:
    async def measure() -> None:
        of = config(mode)
        stages = Stages(of, shares(of)[0], CLOCK)
        async with clients(of, urls, "memory") as (client, recording, memory):
            recorded = await stages.record(memory, recording)
            # what was recorded has not been measured
            assert stages.take_work() == summed([])
            # each stream as often as it may be recorded
            assert recorded.n_fragments == 6 * 16
            found = await rounds(stages, client, recorded, 0.0)
        assert len(found) == 2
        for work in found:
            # all streams are ready, in one batch
            assert [work[stage].n_samples for stage in Stage] == [120, 120, 120, 6 * 16 * 20]
            assert all(part.wall_s > 0 for part in work.values())

    asyncio.run(measure())


def test_answers_are_asked_for_only_once(urls: dict[str, str]) -> None:
    async def measure() -> None:
        of = config(Mode.LOGS)
        stages = Stages(of, shares(of)[0], CLOCK)
        async with clients(of, urls, "memory") as (_, recording, memory):
            recorded = await stages.record(memory, recording)
            answers = dict(recording._answers)
            assert answers
            await stages.validate(recorded)
            assert all(recording._answers[query] is answer for query, answer in answers.items())
            assert recording._answers.keys() == answers.keys()
            # it is the answers that are compared: others do not pass
            for query, answer in answers.items():
                recording._answers[query] = re.sub(rb"([0-9]{19}:).", rb"\1A", answer)
            with pytest.raises(InternalError, match="samples came back exactly"):
                await stages.validate(recorded)

    asyncio.run(measure())


def test_what_is_not_kept_is_no_recording(urls: dict[str, str]) -> None:
    async def measure() -> None:
        of = config(Mode.METRICS)
        stages = Stages(of, shares(of)[0], CLOCK)
        async with clients(of, urls, "null") as (_, recording, memory):
            with pytest.raises(InternalError, match="0 of 1920 samples came back exactly"):
                await stages.record(memory, recording)

    asyncio.run(measure())


def test_a_push_that_is_refused_is_an_error(urls: dict[str, str]) -> None:
    async def measure() -> None:
        of = config(Mode.LOGS)
        stages = Stages(of, shares(of)[0], CLOCK)
        async with clients(of, urls, "memory") as (_, recording, _memory):
            encoded, rows = stages.generate()
            bodies = [(part, memoryview(b"no snappy")) for part, _ in stages.compress(encoded)]
            with pytest.raises(TargetError, match="a push was not acknowledged: 400"):
                await stages.push(recording, encoded, rows, bodies)
            # no push goes on behind the error, over connections that are closed next
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(measure())
