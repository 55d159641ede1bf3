"""A worker process: the cycles of its streams, phase by phase."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import threading
import traceback
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import uvloop

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.tls import context_for
from looker.backend.transport import Transport
from looker.clock import RunningClock, SystemClock
from looker.engine.allocator import return_freed_memory
from looker.engine.channel import DamagedMessageError, Receiver, Sender
from looker.engine.ledger_keeper import LedgerKeeper
from looker.engine.messages import (
    Alive,
    EndWrite,
    Finished,
    Go,
    LedgerFailed,
    Phase,
    Progress,
    ReadEnded,
    Ready,
    SpotChecked,
    Stop,
    WorkerFailed,
    WorkerPlan,
    WriteEnded,
)
from looker.engine.write_phase import WritePhase
from looker.errors import ExitCode
from looker.generate.content import Content
from looker.generate.disorder import Disorder
from looker.generate.mixer import mix64
from looker.generate.population import Coupling, Population
from looker.model.config import NS_PER_MS, NS_PER_S, Mode
from looker.model.report import ReadReport
from looker.verify.ledger import Ledger
from looker.verify.parts import MAX_PART_ROWS, parts_of_run

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from looker.clock import Clock
    from looker.engine.messages import VerifyTask
    from looker.engine.read_phase import ReadPhase
    from looker.engine.spot_check import SpotChecks
    from looker.engine.verify_run import VerifyPhase
    from looker.generate.encoder import Encoder
    from looker.model.config import RunConfig

_HEARTBEAT_S: Final = 0.5
_END_OF_TIME_NS: Final = 2**63 - 1
_SWITCH_INTERVAL_S: Final = 0.0005
"""How long the generator thread may keep the interpreter from the event loop."""


def worker_main(
    plan: WorkerPlan, commands: Connection[Any, Any], results: Connection[Any, Any]
) -> None:
    """Run a worker until its cycles are over, it is stopped, or its parent is gone."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return_freed_memory()
    sender = Sender(results)
    index = plan.share.worker
    # jitter must differ between workers, and needs no more
    random.seed(mix64(plan.config.seed + index))
    try:
        uvloop.run(Worker(plan, sender, RunningClock(SystemClock())).run(commands))
        sender.put(Finished(index))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the coordinator must know
        summary = f"{type(error).__name__}: {error}"
        sender.put(WorkerFailed(index, summary, traceback.format_exc()))
        sender.close()
        os._exit(ExitCode.INTERNAL)
    sender.close()


class Worker:
    """The cycles of one share of the streams."""

    def __init__(self, plan: WorkerPlan, sender: Sender, clock: Clock) -> None:
        self._config = plan.config
        self._share = plan.share
        self._target = plan.target
        self._verify = plan.verify
        self._spot_checks: SpotChecks | None = None
        self._keeper: LedgerKeeper | None = None
        if plan.ledger is not None:
            self._keeper = LedgerKeeper(
                plan.ledger, plan.share, plan.config.group_size, MAX_PART_ROWS
            )
        self._sender = sender
        self._clock = clock
        self._stop = asyncio.Event()
        self._end_write = asyncio.Event()
        self._gates: dict[Go, asyncio.Event] = {}
        self._generation = -1
        self._cycle = 0
        self._phase: WritePhase | ReadPhase | VerifyPhase | None = None
        self._population: Population
        self._content: Content
        self._encoder: Encoder
        self._ledger: Ledger | None = None
        self._acked_ns: NDArray[np.int64] | None = None

    async def run(self, commands: Connection[Any, Any]) -> None:
        """Go through the cycles as the coordinator allows."""
        loop = asyncio.get_running_loop()
        listener = threading.Thread(
            target=self._listen, args=(commands, loop), name="looker-commands", daemon=True
        )
        listener.start()
        index = self._share.worker
        self._sender.put(Ready(index, os.getpid(), socket.gethostname()))
        heartbeat = asyncio.ensure_future(self._heartbeat())
        config = self._config
        # one more for spot checks
        limit = max(self._share.n_writers, self._share.n_readers) + 1
        tls = context_for(self._target.url, config)
        try:
            async with Transport(
                max_connections=limit, ssl_context=tls, clock=self._clock
            ) as transport:
                api = api_for(self._target)
                client = Client(
                    transport,
                    api,
                    config.retry,
                    self._clock,
                    self._stop,
                    config.request_timeout_s,
                )
                if self._verify is None:
                    await self._checked_cycles(client)
                    await self._end_ledger()
                else:
                    await self._read_ledger(client, self._verify)
        finally:
            heartbeat.cancel()

    async def _checked_cycles(self, client: Client) -> None:
        """Go through the cycles, with spot checks beside them if they are wanted."""
        config = self._config
        if config.spot_check_every_s is None:
            await self._cycles(client)
            return
        # a worker is ready sooner without what it may never need
        from looker.engine.spot_check import SpotChecks  # noqa: PLC0415

        index = self._share.worker
        self._spot_checks = SpotChecks(
            config=config,
            target=self._target,
            client=client,
            clock=self._clock,
            stop=self._stop,
            every_s=config.spot_check_every_s,
            tell=lambda cycle, report: self._sender.put(SpotChecked(index, cycle, report)),
            seed=mix64(config.seed + index),
        )
        try:
            # a fault of Looker's own in one of them ends the other
            async with asyncio.TaskGroup() as tasks:
                checking = tasks.create_task(self._spot_checks.run())
                await self._cycles(client)
                self._spot_checks.end()
                if self._stop.is_set():
                    checking.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _cycles(self, client: Client) -> None:
        config, index = self._config, self._share.worker
        for cycle in count():
            self._cycle = cycle
            if not await self._pass(Go(cycle, Phase.WRITE)):
                return
            self._enter_generation(cycle)
            if self._spot_checks is not None and self._ledger is not None:
                self._spot_checks.enter(cycle, self._generation, self._ledger)
            writing = self._phase = self._write_phase(client, cycle)
            report = await writing.run()
            self._phase = None
            del writing
            await self._keep(cycle)
            self._sender.put(WriteEnded(index, cycle, report))
            # what was acknowledged is still read if the target has refused the rest
            if not await self._pass(Go(cycle, Phase.READ)):
                return
            read_report = await self._read(client, cycle)
            self._phase = None
            self._sender.put(ReadEnded(index, cycle, read_report))
            refused = report.refusal is not None and not config.allow_rejected
            if refused or config.is_last(cycle):
                return
            self._forget()

    async def _read_ledger(self, client: Client, task: VerifyTask) -> None:
        """Read an earlier run's ledger back: a cycle that has a read phase only."""
        if not await self._pass(Go(0, Phase.READ)):
            return
        from looker.engine.verify_run import VerifyPhase  # noqa: PLC0415 - see above

        reading = self._phase = VerifyPhase(
            config=self._config,
            target=self._target,
            client=client,
            task=task,
            share=self._share,
            clock=self._clock,
            stop=self._stop,
        )
        report = await reading.run()
        self._phase = None
        self._sender.put(ReadEnded(self._share.worker, 0, report))

    async def _keep(self, cycle: int) -> None:
        """Append to the ledger file what the write phase has pushed."""
        keeper, ledger, generation = self._keeper, self._ledger, self._generation
        if keeper is None or ledger is None:
            return
        reason = await asyncio.to_thread(keeper.keep, ledger, cycle, generation)
        if reason is not None:
            self._sender.put(LedgerFailed(self._share.worker, cycle, reason))

    async def _end_ledger(self) -> None:
        if self._keeper is None:
            return
        reason = await asyncio.to_thread(self._keeper.end)
        self._keeper.close()
        if reason is not None:
            self._sender.put(LedgerFailed(self._share.worker, self._cycle + 1, reason))

    def _enter_generation(self, cycle: int) -> None:
        generation = self._config.generation_of(cycle)
        if generation == self._generation:
            return
        if self._ledger is not None:
            if self._spot_checks is not None:
                self._forget_before(_END_OF_TIME_NS)
            self._ledger.close()
        self._generation = generation
        config, share = self._config, self._share
        self._content = Content.of(config, generation)
        self._encoder = encoder_for(self._content, config.mode)
        self._population = Population(
            seed=config.seed,
            generation=generation,
            first=share.first_stream,
            n=share.n_streams,
            coupling=coupling_of(config),
            now_ns=self._clock.wall_ns(),
            disorder=disorder_of(config, generation),
        )
        # only who reads wants to know
        self._acked_ns = None if config.skip_read else np.zeros(share.n_streams, np.int64)
        unused = not config.asks_queries and self._keeper is None
        self._ledger = None if unused else Ledger()

    def _write_phase(self, client: Client, cycle: int) -> WritePhase:
        return WritePhase(
            config=self._config,
            client=client,
            population=self._population,
            encoder=self._encoder,
            ledger=self._ledger,
            cycle=cycle,
            n_writers=self._share.n_writers,
            clock=self._clock,
            stop=self._stop,
            end=self._end_write,
            acked_ns=self._acked_ns,
            disorder=disorder_of(self._config, self._generation),
        )

    async def _read(self, client: Client, cycle: int) -> ReadReport:
        config, share = self._config, self._share
        if self._ledger is None or config.skip_read:
            return ReadReport(skipped=True)
        from looker.engine.read_phase import ReadPhase, sparse  # noqa: PLC0415 - see above

        streams = (share.first_stream, share.end_stream)
        reading = self._phase = ReadPhase(
            config=config,
            target=self._target,
            client=client,
            content=self._content,
            parts=parts_of_run(
                self._ledger, streams, group_size=config.group_size, max_rows=MAX_PART_ROWS
            ),
            cycle=cycle,
            choose=sparse(self._content, cycle, streams, share.read_n_streams),
            n_readers=share.n_readers,
            clock=self._clock,
            stop=self._stop,
            acked_ns=None if self._acked_ns is None else (share.first_stream, self._acked_ns),
        )
        return await reading.run()

    def _forget(self) -> None:
        """Drop what no later cycle's time range can touch."""
        if self._ledger is not None:
            self._forget_before(int(self._population.next_ns.min()))

    def _forget_before(self, time_ns: int) -> None:
        if self._ledger is not None:
            take = None if self._spot_checks is None else self._spot_checks.take
            self._ledger.forget_before(time_ns, self._population.coupling.width_ns, take)

    async def _heartbeat(self) -> None:
        worker = self._share.worker
        while True:
            # what is not read at least this often has stood still
            self._clock.monotonic_ns()
            if self._phase is None:
                self._sender.offer(Alive(worker))
            else:
                self._sender.offer(Progress(worker, self._cycle, self._phase.snapshot()))
            await asyncio.sleep(_HEARTBEAT_S)

    async def _pass(self, gate: Go) -> bool:
        """Wait until the coordinator allows a phase; False if it wants an end instead."""
        if not self._is_closed(gate):
            return not self._stop.is_set()
        opened = asyncio.ensure_future(self._gate(gate).wait())
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        stopped.cancel()
        self._gates.pop(gate, None)
        return not self._stop.is_set()

    def _is_closed(self, gate: Go) -> bool:
        """Tell whether a phase has to be waited for."""
        return self._config.align_phases or gate == Go(0, Phase.WRITE)

    def _gate(self, gate: Go) -> asyncio.Event:
        return self._gates.setdefault(gate, asyncio.Event())

    def _open(self, gate: Go) -> None:
        # one that nobody passes would be kept for good
        if self._is_closed(gate):
            self._gate(gate).set()

    def _listen(self, commands: Connection[Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        """Hand commands to the loop; leave at once if the coordinator is gone."""
        receiver = Receiver(commands)
        try:
            while True:
                match receiver.get():
                    case Stop():
                        loop.call_soon_threadsafe(self._stop.set)
                    case EndWrite():
                        loop.call_soon_threadsafe(self._end_write.set)
                    case Go() as gate:
                        loop.call_soon_threadsafe(self._open, gate)
        except (EOFError, OSError, DamagedMessageError):
            os._exit(ExitCode.INTERNAL)
        except RuntimeError:
            # the loop is closed: this worker is through, and nobody waits for commands
            return


def encoder_for(content: Content, mode: Mode) -> Encoder:
    """Return the encoder of a generation, imported when it is needed."""
    if mode is Mode.LOGS:
        from looker.generate.logs import LogEncoder  # noqa: PLC0415 - see above

        return LogEncoder(content)
    from looker.generate.metrics import MetricEncoder  # noqa: PLC0415 - see above

    return MetricEncoder(content)


def disorder_of(config: RunConfig, generation: int) -> Disorder | None:
    """Return the deliberate disorder of a generation; None where there is none."""
    if not config.out_of_order_fraction and not config.duplicate_fraction:
        return None
    return Disorder(
        config.seed, generation, config.out_of_order_fraction, config.duplicate_fraction
    )


def coupling_of(config: RunConfig) -> Coupling:
    """Return how a run's streams follow wall time."""
    return Coupling(
        n_samples=config.n_samples_per_fragment,
        step_ns=config.step_ns,
        min_lag_ns=int(config.min_lag_s * NS_PER_S),
        max_lag_ns=int(config.max_lag_s * NS_PER_S),
        tick_ns=1 if config.mode is Mode.LOGS else NS_PER_MS,
        fixed_start_ns=config.start_time_ns,
    )
