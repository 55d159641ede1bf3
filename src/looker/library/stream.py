"""Streams and series to generate, push, fetch and validate from Python.

The same columns, wire formats, retries and proofs as on the command line, for one stream.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from looker.backend.api import api_for
from looker.backend.client import Client
from looker.backend.discovery import discover
from looker.backend.tls import context_for
from looker.backend.transport import Transport
from looker.clock import SystemClock
from looker.engine.read_phase import ReadPhase
from looker.engine.write_phase import WritePhase
from looker.generate.content import Content, SampleGrid
from looker.generate.logs import TIMESTAMP_DIGITS, LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Coupling, Population
from looker.model.config import (
    NS_PER_MS,
    NS_PER_S,
    Compressability,
    Mode,
    ReadApi,
    RunConfig,
    check,
    default_max_lag_s,
)
from looker.model.fragment import FragmentState
from looker.model.retry import RetryPolicy
from looker.verify.ledger import Ledger
from looker.verify.parts import MAX_PART_ROWS, parts_of_run
from looker.wire.columns import store_digits
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from looker.backend.api import Target
    from looker.generate.encoder import EncodedBatch
    from looker.model.mismatch import MismatchExample, MismatchKind
    from looker.model.report import ReadReport, WriteReport
    from looker.model.verdict import Verdict
    from looker.verify.ledger import LedgerSlice


_DEFAULT_AGE_S: Final = 600


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a target; see the options of the same names."""

    url: str
    tenant: str | None = None
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    read_api: ReadApi = ReadApi.AUTO
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    read_grace_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push of fragments: pushes by outcome, and why one failed, if one did.

    ``n_in_doubt`` samples of the ``n_samples`` were sent and not acknowledged, for whatever reason.
    """

    n_samples: int
    n_acknowledged: int
    n_retried: int
    n_rejected: int
    n_indeterminate: int
    refusal: str | None
    n_in_doubt: int = 0


@dataclass(frozen=True, slots=True)
class Validation:
    """What reading a stream back has shown.

    ``n_found_in_doubt`` samples were never acknowledged, and came back exactly all the same.
    """

    verdict: Verdict
    n_expected: int
    n_validated: int
    mismatches: Mapping[MismatchKind, int]
    examples: tuple[MismatchExample, ...]
    error: str | None
    n_found_in_doubt: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Fragment:
    """A run of consecutive samples of a stream.

    ``timestamps_ns`` int64 (n,); ``content`` uint8 (n, n_chars): the lines of a log stream, or
    float64 (n,): the values of a series.
    """

    timestamps_ns: NDArray[np.int64]
    content: NDArray[Any]
    _encoded: EncodedBatch
    _ledger: LedgerSlice

    def serialize(self) -> bytes:
        """Return the push message: protobuf, compressed with snappy."""
        return bytes(compress(self._encoded.buffer.data))

    def acknowledged(self) -> None:
        """Say that the target has acknowledged the fragment, so that it must come back."""
        self._ledger.settle(slice(0, 1), FragmentState.ACKNOWLEDGED)

    def in_doubt(self) -> None:
        """Say that the fragment was sent, in part at least, and not acknowledged.

        It may come back then, and must be exact.
        """
        self._ledger.settle(slice(0, 1), FragmentState.INDETERMINATE)


class _Stream(ABC):
    """What log streams and metric series have in common."""

    _MODE: ClassVar[Mode]

    def __init__(
        self,
        *,
        n_samples_per_series_fragment: int,
        starttime: datetime | int | None,
        unique_name: str | None,
        step_ns: int,
        labelset: Mapping[str, str] | None,
        compressability: Compressability | str,
        seed: int | None,
        n_chars: int,
        include_time: bool,
    ) -> None:
        self._clock = SystemClock()
        self._config = RunConfig(
            mode=self._MODE,
            url=None,
            invocation_id=unique_name or f"looker-{secrets.token_hex(4)}",
            seed=secrets.randbits(53) if seed is None else seed,
            n_streams=1,
            n_samples_per_fragment=n_samples_per_series_fragment,
            n_fragments_per_message=1,
            n_chars_per_line=n_chars,
            compressability=Compressability(compressability),
            stop_after_n_fragments=1,
            stop_after_n_seconds=None,
            n_cycles=1,
            change_streams_every_n_cycles=0,
            skip_read=False,
            read_n_streams=None,
            read_api=ReadApi.AUTO,
            read_grace_s=0.0,
            max_concurrent_writes=1,
            max_concurrent_reads=4,
            step_ns=step_ns,
            min_lag_s=0.0,
            max_lag_s=default_max_lag_s(0.0, (n_samples_per_series_fragment - 1) * step_ns),
            n_workers=1,
            align_phases=True,
            tenant=None,
            retry=RetryPolicy(),
            report=None,
            log_level="info",
            include_time=include_time,
            start_time_ns=self._start_ns(starttime),
            labels=tuple((labelset or {}).items()),
        )
        check(self._config)
        self._content = Content.of(self._config, 0)
        self._encoder = (
            LogEncoder(self._content) if self._MODE is Mode.LOGS else MetricEncoder(self._content)
        )
        self._population = Population(
            seed=self._config.seed,
            generation=0,
            first=0,
            n=1,
            coupling=Coupling(
                n_samples=n_samples_per_series_fragment,
                step_ns=step_ns,
                min_lag_ns=0,
                max_lag_ns=0,
                tick_ns=1 if self._MODE is Mode.LOGS else NS_PER_MS,
                fixed_start_ns=self._config.start_time_ns,
            ),
            now_ns=0,
        )
        self._population.begin_cycle(None)
        self._ledger = Ledger()

    @property
    def labels(self) -> dict[str, str]:
        """The stream's label set."""
        return self._content.scheme.labels(0)

    @property
    def n_fragments(self) -> int:
        """Number of fragments generated so far."""
        return int(self._population.n_fragments[0])

    def generate_fragment(self) -> Fragment:
        """Generate the stream's next fragment, without sending it."""
        picked = self._population.pick(1, 0)
        if picked is None:  # a stream of its own pace is always ready
            raise AssertionError
        self._population.resolve(picked.batch.streams)
        encoded = self._encoder.encode(picked.batch)
        grid = SampleGrid(self._content, encoded.batch)
        row, every = slice(0, 1), slice(0, encoded.batch.n_samples)
        timestamps_ns = grid.timestamps_ns(row, every)[0]
        content = self._samples(grid.keys, timestamps_ns)
        return Fragment(timestamps_ns, content, encoded, self._ledger.append(encoded, 0))

    async def push_async(self, to: Connection | str, n_fragments: int = 1) -> Pushed:
        """Generate and push the next fragments, each as a message of its own."""
        config, target = await asyncio.to_thread(self._reach, to)
        async with self._transport(config, target) as transport:
            stop = asyncio.Event()
            client = Client(transport, api_for(target), config.retry, self._clock, stop)
            report = await WritePhase(
                config=replace(config, stop_after_n_fragments=n_fragments),
                client=client,
                population=self._population,
                encoder=self._encoder,
                ledger=self._ledger,
                cycle=0,
                n_writers=1,
                clock=self._clock,
                stop=stop,
                end=asyncio.Event(),
            ).run()
        self._population.begin_cycle(None)
        return _pushed(report, n_fragments * config.n_samples_per_fragment)

    async def validate_async(self, at: Connection | str) -> Validation:
        """Read back all that was acknowledged so far, and compare it."""
        config, target = await asyncio.to_thread(self._reach, at)
        async with self._transport(config, target) as transport:
            stop = asyncio.Event()
            client = Client(transport, api_for(target), config.retry, self._clock, stop)
            report = await ReadPhase(
                config=config,
                target=target,
                client=client,
                content=self._content,
                parts=parts_of_run(self._ledger, (0, 1), group_size=1, max_rows=MAX_PART_ROWS),
                cycle=0,
                n_readers=config.max_concurrent_reads,
                clock=self._clock,
                stop=stop,
            ).run()
        return _validation(report)

    def push(self, to: Connection | str, n_fragments: int = 1) -> Pushed:
        """Generate and push the next fragments; see :meth:`push_async`."""
        return asyncio.run(self.push_async(to, n_fragments))

    def validate(self, at: Connection | str) -> Validation:
        """Read back and compare; see :meth:`validate_async`."""
        return asyncio.run(self.validate_async(at))

    @abstractmethod
    def _samples(
        self, keys: NDArray[np.uint64], timestamps_ns: NDArray[np.int64]
    ) -> NDArray[Any]: ...

    def _reach(self, to: Connection | str) -> tuple[RunConfig, Target]:
        connection = Connection(to) if isinstance(to, str) else to
        config = replace(
            self._config,
            url=connection.url,
            tenant=connection.tenant,
            bearer_token_file=connection.bearer_token_file,
            ca_file=connection.ca_file,
            insecure_skip_verify=connection.insecure_skip_verify,
            read_api=connection.read_api,
            retry=connection.retry,
            read_grace_s=connection.read_grace_s,
        )
        check(config)
        return config, discover(config, connection.url)

    def _start_ns(self, starttime: datetime | int | None) -> int:
        if starttime is None:
            start_ns = self._clock.wall_ns() - _DEFAULT_AGE_S * NS_PER_S
        elif isinstance(starttime, int):
            start_ns = starttime
        else:
            start_ns = int(starttime.timestamp()) * NS_PER_S + starttime.microsecond * 1000
        return start_ns if self._MODE is Mode.LOGS else start_ns - start_ns % NS_PER_MS

    @staticmethod
    def _transport(config: RunConfig, target: Target) -> Transport:
        tls = context_for(target.url, config)
        return Transport(max_connections=config.max_concurrent_reads, ssl_context=tls)


class LogStream(_Stream):
    """A log stream: entries of a timestamp in nanoseconds and a line.

    ``starttime`` is the first entry's time (int: ns since the Unix epoch; default: ten minutes
    ago), ``timediff_nanoseconds`` the time from one entry to the next. ``unique_name`` begins the
    value of the label ``looker_uniquename``; ``labelset`` are further labels. Raises UsageError
    for values that cannot work.
    """

    _MODE = Mode.LOGS

    def __init__(
        self,
        *,
        n_samples_per_series_fragment: int = 1000,
        n_chars_per_message: int = 100,
        starttime: datetime | int | None = None,
        unique_name: str | None = None,
        timediff_nanoseconds: int = 1,
        include_time_in_msg: bool = True,
        labelset: Mapping[str, str] | None = None,
        compressability: Compressability | str = Compressability.MIN,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            n_samples_per_series_fragment=n_samples_per_series_fragment,
            starttime=starttime,
            unique_name=unique_name,
            step_ns=timediff_nanoseconds,
            labelset=labelset,
            compressability=compressability,
            seed=seed,
            n_chars=n_chars_per_message,
            include_time=include_time_in_msg,
        )

    def _samples(
        self, keys: NDArray[np.uint64], timestamps_ns: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        n_samples = len(timestamps_ns)
        digits = np.empty((n_samples, TIMESTAMP_DIGITS), np.uint8)
        store_digits(digits, timestamps_ns)
        lines = np.empty((n_samples, self._content.n_chars), np.uint8)
        written = self._content.lines()
        written.store_time(lines, digits)
        written.store_text(lines[None], keys, slice(0, n_samples))
        return lines


class MetricSeries(_Stream):
    """A metric series: samples of a timestamp in milliseconds and a float64.

    ``timediff_milliseconds`` is the time from one sample to the next; the rest is as for
    :class:`LogStream`.
    """

    _MODE = Mode.METRICS

    def __init__(
        self,
        *,
        n_samples_per_series_fragment: int = 1000,
        starttime: datetime | int | None = None,
        unique_name: str | None = None,
        timediff_milliseconds: int = 1,
        labelset: Mapping[str, str] | None = None,
        compressability: Compressability | str = Compressability.MIN,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            n_samples_per_series_fragment=n_samples_per_series_fragment,
            starttime=starttime,
            unique_name=unique_name,
            step_ns=timediff_milliseconds * NS_PER_MS,
            labelset=labelset,
            compressability=compressability,
            seed=seed,
            n_chars=1,
            include_time=False,
        )

    def _samples(
        self, keys: NDArray[np.uint64], timestamps_ns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        every = slice(0, len(timestamps_ns))
        values: NDArray[np.float64] = self._content.values().bits(keys, every)[0].view(np.float64)
        return values


def _pushed(report: WriteReport, n_samples: int) -> Pushed:
    return Pushed(
        n_samples=n_samples,
        n_acknowledged=report.pushes_acked,
        n_retried=report.pushes_retried,
        n_rejected=report.pushes_rejected,
        n_indeterminate=report.pushes_indeterminate + report.pushes_unresolved,
        refusal=report.refusal,
        n_in_doubt=report.samples_in_doubt,
    )


def _validation(report: ReadReport) -> Validation:
    found = report.findings
    return Validation(
        verdict=report.verdict,
        n_expected=found.n_expected,
        n_validated=found.n_validated,
        mismatches=dict(found.counts),
        examples=tuple(found.examples),
        error=report.error,
        n_found_in_doubt=found.n_optional_seen,
    )
