"""What becomes of a sample, stage by stage, each with its CPU and wall time.

The stages are those of the write and the read phase, one after the other in one thread, so that
each has the worker's process for itself while it is measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from looker.backend.client import Client
from looker.engine.read_phase import ReadPhase
from looker.engine.source import BATCH_BYTES, MAX_BATCH_MESSAGES
from looker.engine.together import together
from looker.engine.worker import coupling_of
from looker.errors import InternalError, TargetError
from looker.generate.content import Content
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Population
from looker.model.calibration import Stage, StageWork, summed
from looker.model.config import Mode
from looker.model.fragment import FragmentState
from looker.verify.ledger import Ledger
from looker.verify.parts import MAX_PART_ROWS, parts_of_run
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from looker.backend.api import Api, Target
    from looker.backend.attempts import Attempts
    from looker.backend.transport import Transport
    from looker.clock import Clock
    from looker.engine.messages import Share
    from looker.generate.encoder import EncodedBatch
    from looker.model.calibration import Work
    from looker.model.config import RunConfig
    from looker.model.query import RangeQuery
    from looker.model.retry import RetryPolicy
    from looker.verify.ledger import LedgerSlice

_MAX_LEDGER_ROWS: Final = 1_000_000
_RECORDED_BYTES: Final = 4 << 20
_RECORDED_FRAGMENTS: Final = 10_000
_RECORDED_BATCHES: Final = 16
"""What is recorded to be read back: so much, or so often a fragment of each stream."""

Bodies = list[tuple[slice, memoryview]]
"""Compressed messages, and which fragments of their batch they hold."""


class RecordingClient(Client):
    """Asks a target once, and gives the same answer to the same query from then on."""

    def __init__(self, transport: Transport, api: Api, retry: RetryPolicy, clock: Clock) -> None:
        super().__init__(transport, api, retry, clock, asyncio.Event())
        self._answers: dict[RangeQuery, bytes] = {}

    async def fetch(self, query: RangeQuery, attempts: Attempts, *, divisible: bool) -> bytes:
        """Return the body of the answer to a query; TargetError if there is none."""
        if query not in self._answers:
            self._answers[query] = await super().fetch(query, attempts, divisible=divisible)
        return self._answers[query]


class Stages:
    """Takes batches of one worker's share of the streams through the stages.

    A batch is what the generator thread makes at once. CPU times are those of the whole process.
    """

    def __init__(self, config: RunConfig, share: Share, clock: Clock) -> None:
        self._config = config
        self._share = share
        self._clock = clock
        self._content = Content.of(config, 0)
        is_logs = config.mode is Mode.LOGS
        self._encoder = LogEncoder(self._content) if is_logs else MetricEncoder(self._content)
        self._population = Population(
            seed=config.seed,
            generation=0,
            first=share.first_stream,
            n=share.n_streams,
            coupling=coupling_of(config),
            now_ns=clock.wall_ns(),
        )
        self._population.begin_cycle(None)
        self._ledger = Ledger()
        body_bytes = config.payload_bytes_per_fragment * config.n_fragments_per_message
        n_messages = min(MAX_BATCH_MESSAGES, max(1, BATCH_BYTES // body_bytes))
        self._n_wanted = n_messages * config.n_fragments_per_message
        self._work: Work = summed([])

    def take_work(self) -> Work:
        """Return the work since the last call."""
        work, self._work = self._work, summed([])
        return work

    def generate(self, n_wanted: int | None = None) -> tuple[EncodedBatch, LedgerSlice]:
        """Pick streams, generate and encode their next fragments, note them in the ledger.

        ``n_wanted`` fragments; None is what a run makes at once.
        """
        if len(self._ledger) > _MAX_LEDGER_ROWS:
            self._ledger = Ledger()
        begun = _now()
        picked = self._population.pick(n_wanted or self._n_wanted, self._clock.wall_ns())
        if picked is None:
            raise InternalError("no stream may be written to while calibrating")
        encoded = self._encoder.encode(picked.batch)
        rows = self._ledger.append(encoded, 0)
        self._note(Stage.GENERATE, len(encoded.batch), begun)
        return encoded, rows

    def compress(self, encoded: EncodedBatch, n_fragments: int | None = None) -> Bodies:
        """Cut a batch into messages of ``n_fragments`` (None: as in a run), and compress them."""
        begun = _now()
        messages = encoded.messages(n_fragments or self._config.n_fragments_per_message)
        bodies = [(part, compress(raw.data)) for part, raw in messages]
        self._note(Stage.COMPRESS, len(encoded.batch), begun)
        return bodies

    async def push(
        self, client: Client, encoded: EncodedBatch, rows: LedgerSlice, bodies: Bodies
    ) -> None:
        """Push messages, as many at once as writers do; TargetError if one is not acknowledged."""
        begun = _now()
        n_samples, waiting = self._config.n_samples_per_fragment, iter(bodies)

        async def write() -> None:
            for part, body in waiting:
                result = await client.push(body, (part.stop - part.start) * n_samples)
                if result.state is not FragmentState.ACKNOWLEDGED:
                    raise TargetError(f"a push was not acknowledged: {result.last_reason}")
                rows.settle(part, result.state)

        await together(write() for _ in range(min(self._share.n_writers, len(bodies))))
        self._population.resolve(encoded.batch.streams)
        self._note(Stage.PUSH, len(encoded.batch), begun)

    async def record(self, storing: Target, client: RecordingClient) -> ReadBack:
        """Write to a target that stores, read it back once, and keep the answers.

        So much that what a read phase costs however little it reads does not count.
        """
        self._ledger = Ledger()
        numbers: list[NDArray[np.uint32]] = []
        payload_bytes = self._config.payload_bytes_per_fragment
        n_left = max(self._n_wanted, min(_RECORDED_BYTES // payload_bytes, _RECORDED_FRAGMENTS))
        while n_left > 0 and len(numbers) < _RECORDED_BATCHES:
            encoded, rows = self.generate(n_left)
            # in what messages it came, reading back does not show
            bodies = self.compress(encoded, max(1, BATCH_BYTES // payload_bytes))
            await self.push(client, encoded, rows, bodies)
            numbers.append(encoded.batch.streams)
            n_left -= len(encoded.batch)
        recorded = ReadBack(
            config=self._config,
            target=storing,
            content=self._content,
            ledger=self._ledger,
            streams=(
                min(int(part.min()) for part in numbers),
                max(int(part.max()) for part in numbers) + 1,
            ),
            n_readers=self._share.n_readers,
            client=client,
            clock=self._clock,
        )
        self._ledger = Ledger()
        await self.validate(recorded)
        self.take_work()
        return recorded

    async def validate(self, recorded: ReadBack) -> None:
        """Plan the pages of what was recorded, and compare the answers to all of them."""
        begun = _now()
        await recorded.read()
        self._note(Stage.VALIDATE, recorded.n_fragments, begun)

    def _note(self, stage: Stage, n_fragments: int, begun: tuple[float, float]) -> None:
        cpu_s, wall_s = (now - before for now, before in zip(_now(), begun, strict=True))
        n_samples = n_fragments * self._config.n_samples_per_fragment
        self._work[stage] = self._work[stage].plus(StageWork(n_samples, cpu_s, wall_s))


class ReadBack:
    """A real read phase over recorded answers: all of it but the transfer."""

    def __init__(
        self,
        *,
        config: RunConfig,
        target: Target,
        content: Content,
        ledger: Ledger,
        streams: tuple[int, int],
        n_readers: int,
        client: Client,
        clock: Clock,
    ) -> None:
        """``ledger`` holds what was written, all of it acknowledged, of ``streams`` alone."""
        self._config = config
        self._target = target
        self._content = content
        self._ledger = ledger
        self._streams = streams
        self._n_readers = n_readers
        self._client = client
        self._clock = clock
        self.n_fragments = len(ledger)

    async def read(self) -> None:
        """Read and compare all; InternalError if not every sample came back exactly."""
        report = await ReadPhase(
            config=self._config,
            target=self._target,
            client=self._client,
            content=self._content,
            parts=parts_of_run(
                self._ledger,
                self._streams,
                group_size=self._config.group_size,
                max_rows=MAX_PART_ROWS,
            ),
            cycle=0,
            n_readers=self._n_readers,
            clock=self._clock,
            stop=asyncio.Event(),
        ).run()
        if report.error is not None:
            raise TargetError(report.error)
        n_expected = self.n_fragments * self._config.n_samples_per_fragment
        if report.findings.n_validated != n_expected:
            raise InternalError(
                f"{report.findings.n_validated} of {n_expected} samples came back exactly while"
                " calibrating"
            )


async def rounds(
    stages: Stages, client: Client, recorded: ReadBack, seconds: float
) -> Sequence[Work]:
    """Take batches through all stages in turn for some seconds; return each round's work.

    At least two rounds, however little time there is.
    """
    end_s = time.monotonic() + seconds
    found: list[Work] = []
    while len(found) < 2 or time.monotonic() < end_s:
        encoded, rows = stages.generate()
        await stages.push(client, encoded, rows, stages.compress(encoded))
        await stages.validate(recorded)
        found.append(stages.take_work())
    return found


def _now() -> tuple[float, float]:
    """Return CPU and wall time in seconds."""
    return time.process_time(), time.monotonic()
