"""Spot checks: now and then, while a run goes on, some older fragments are read again."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.engine.page_reader import PageReader
from looker.engine.read_phase import (
    answer_bytes,
    comparison,
    empty_report,
    missing_because,
    page_limits,
)
from looker.errors import TargetError
from looker.generate.content import Content
from looker.model.config import VerifyMode
from looker.model.report import SpotCheckReport
from looker.verify.modes import SumsOfSending, ledger_for
from looker.verify.pages import Selection, pages
from looker.verify.reservoir import Reservoir

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from looker.backend.api import Target
    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.model.config import RunConfig
    from looker.model.report import ReadReport
    from looker.verify.ledger import Ledger
    from looker.verify.proof import PageProof

MAX_OLDER_ROWS: Final = 100_000
"""3.6 MB per worker."""
FRAGMENTS_PER_CHECK: Final = 8
"""Half of them that the ledger has forgotten already, where there are such."""


class SpotChecks:
    """Reads random acknowledged fragments again, each time ``every_s`` seconds are over.

    Every other check asks past any cache of results; the others never do, so that what a cache
    answers shows. Of what the ledger forgets, a random choice is kept.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        target: Target,
        client: Client,
        clock: Clock,
        stop: asyncio.Event,
        every_s: float,
        tell: Callable[[int, SpotCheckReport], None],
        seed: int,
    ) -> None:
        """``tell`` is given a cycle, and its report as far as it is, after each check."""
        # they are wanted, though the read phase may not be
        mode = VerifyMode.CONTENT if config.verify is VerifyMode.OFF else config.verify
        self._config = config = replace(config, verify=mode)
        self._target = target
        self._client = client
        self._clock = clock
        self._stop = stop
        self._every_s = every_s
        self._tell = tell
        self._random = np.random.default_rng(seed)
        self._older = Reservoir(MAX_OLDER_ROWS, self._random)
        self._limits = page_limits(config, target.max_entries)
        self._ledger: Ledger | None = None
        self._generation = 0
        self._cycle = 0
        self._report = self._empty()
        self._n_checks = 0
        self._over = asyncio.Event()

    def enter(self, cycle: int, generation: int, ledger: Ledger) -> None:
        """Note that a cycle begins: it reports for itself."""
        self._cycle, self._generation, self._ledger = cycle, generation, ledger
        self._report = self._empty()

    def take(self, rows: NDArray[Any]) -> None:
        """Keep some of the rows (LEDGER_DTYPE) that the ledger of this generation forgets."""
        self._older.add(rows, self._generation)

    def end(self) -> None:
        """Begin no further check."""
        self._over.set()

    async def run(self) -> None:
        """Check until the end; a check that is under way then is still completed.

        Unless the run is stopped: then it is dropped.
        """
        with ThreadPoolExecutor(1, "looker-spot-check") as executor:
            while await self._pause():
                await self._check(executor)

    def _empty(self) -> SpotCheckReport:
        return SpotCheckReport(findings=empty_report(self._config).findings)

    async def _pause(self) -> bool:
        """Wait for the time of the next check; return whether there is to be one."""
        ends = [asyncio.ensure_future(event.wait()) for event in (self._over, self._stop)]
        try:
            done, _ = await asyncio.wait(
                ends, timeout=self._every_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiting in ends:
                waiting.cancel()
        return not done

    async def _check(self, executor: ThreadPoolExecutor) -> None:
        chosen = self._chosen()
        if not chosen:
            return
        fresh = self._n_checks % 2 == 1
        self._n_checks += 1
        check = empty_report(self._config)
        check.missing_because = missing_because(self._config, self._target, self._clock.wall_ns())
        for rows, generation in chosen:
            try:
                await self._read(rows, generation, check, executor, fresh=fresh)
            except TargetError as error:
                check.error = check.error or str(error)
            if self._stop.is_set():
                # what is missing might still have come
                return
        # of the cycle that is under way now, however long the answers took
        self._report.add(check, len(chosen), uncached=fresh)
        self._tell(self._cycle, self._report)

    def _chosen(self) -> list[tuple[NDArray[Any], int]]:
        """Return some rows (each as an array of one), and their generations."""
        older, generations = self._older.choose(FRAGMENTS_PER_CHECK // 2)
        chosen = [(older[n : n + 1], int(generations[n])) for n in range(len(older))]
        if self._ledger is not None:
            recent = self._ledger.sample(FRAGMENTS_PER_CHECK - len(older), self._random)
            chosen += [(recent[n : n + 1], self._generation) for n in range(len(recent))]
        return chosen

    async def _read(
        self,
        rows: NDArray[Any],
        generation: int,
        check: ReadReport,
        executor: ThreadPoolExecutor,
        *,
        fresh: bool,
    ) -> None:
        """Read one fragment, and add what is found to ``check``."""
        content = Content.of(self._config, generation)
        reader = PageReader(
            client=self._client,
            compare=comparison(self._config, self._target, content),
            executor=executor,
            limits=self._limits,
            answer_bytes=answer_bytes(self._config, content, self._target, self._limits),
            grace_s=self._config.read_grace_s,
            clock=self._clock,
            stop=self._stop,
            report=check,
            fresh=fresh,
            by_content=self._config.verify is VerifyMode.CHECKSUM,
        )
        # a stream's fragments never overlap: within its time range there is no other
        selection = Selection.of_streams(content, [int(rows["stream"][0])])
        proof = ledger_for(self._config.verify, rows, content)
        came: list[PageProof] = []
        try:
            for page in pages(content, selection, rows, np.arange(1), None, self._limits):
                await reader.read(page, came)
        finally:
            # what was seen counts, also where the next answer does not come
            for page_proof in came:
                proof.add(page_proof)
            check.fragments_proved += proof.check(None)
            found = [page_proof.findings for page_proof in came]
            if isinstance(proof, SumsOfSending):
                found.append(proof.findings)
            for findings in found:
                findings.examples = [
                    replace(one, cycle=int(rows["cycle"][0])) for one in findings.examples
                ]
                check.findings.merge(findings)
