"""Reading an earlier run's ledger back: one worker's share, generation by generation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.engine.read_phase import ReadPhase, empty_report
from looker.generate.content import Content
from looker.generate.mixer import stream_keys
from looker.verify.ledger_reader import LedgerFile

if TYPE_CHECKING:
    import asyncio

    from looker.backend.api import Target
    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.engine.messages import Share, VerifyTask
    from looker.engine.read_phase import Choice
    from looker.model.config import RunConfig
    from looker.model.report import ReadReport

_MAX_PART_ROWS: Final = 250_000
_MAX_PART_SAMPLES: Final = 4_000_000
"""Of one part: some 100 MB where the times of all its samples are put in order."""
_SAMPLE_GENERATION: Final = 2**42
"""Keeps the hash that chooses streams of a sample apart from all others."""


class VerifyPhase:
    """Reads back what a ledger file holds of a share of the streams, all cycles in one sweep."""

    def __init__(
        self,
        *,
        config: RunConfig,
        target: Target,
        client: Client,
        task: VerifyTask,
        share: Share,
        clock: Clock,
        stop: asyncio.Event,
    ) -> None:
        self._config = config
        self._target = target
        self._client = client
        self._task = task
        self._share = share
        self._clock = clock
        self._stop = stop
        self._report = empty_report(config)
        self._reading: ReadPhase | None = None

    def snapshot(self) -> ReadReport:
        """Return the report as far as it is; the same object each time."""
        return self._report if self._reading is None else self._reading.snapshot()

    async def run(self) -> ReadReport:
        """Read and compare, and return what was found."""
        config, share, report = self._config, self._share, self._report
        ledger = LedgerFile(self._task.ledger.path, end=self._task.ledger.offset)
        size = config.group_size
        max_rows = max(
            4 * size, min(_MAX_PART_ROWS, _MAX_PART_SAMPLES // config.n_samples_per_fragment)
        )
        report.times.started_ns = report.times.finished_ns = self._clock.wall_ns()
        # where there is no fragment, there is nothing to complete
        report.complete = True
        for generation in ledger.generations:
            content = replace(Content.of(config, generation), summed_by=ledger.head.summed_by)
            self._reading = ReadPhase(
                config=config,
                target=self._target,
                client=self._client,
                content=content,
                parts=ledger.parts(
                    generation,
                    (share.first_stream, share.end_stream),
                    group_size=size,
                    max_rows=max_rows,
                ),
                cycle=None,
                choose=sample(content, self._task.sample_fraction, self._task.sample_seed),
                n_readers=share.n_readers,
                clock=self._clock,
                stop=self._stop,
                report=report,
            )
            await self._reading.run()
            if not report.complete:
                break
        return report


def sample(content: Content, fraction: float, seed: int) -> Choice | None:
    """Return a random choice of a fraction of a generation's streams; None for all.

    The same seed chooses the same streams, however they are divided among workers: of any streams
    ``0`` to ``n - 1`` so many whole groups ``ceil(fraction * n)``, one at least.
    """
    if fraction >= 1:
        return None
    size = content.scheme.group_size

    def choose(first: int, end: int) -> np.ndarray[Any, Any]:
        chosen = []
        for group_first in range(first, end, size):
            group_end = min(group_first + size, end)
            quota = math.ceil(fraction * group_end) - math.ceil(fraction * group_first)
            numbers = np.arange(group_first, group_end, dtype=np.uint32)
            keys = stream_keys(seed, _SAMPLE_GENERATION + content.generation, numbers)
            chosen.append(numbers[np.argsort(keys)[:quota]])
        return np.sort(np.concatenate(chosen))

    return choose
