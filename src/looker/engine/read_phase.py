"""The read phase of one worker: reads back what was written, and compares."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from looker.backend.outcomes import Product
from looker.engine.page_reader import PageReader
from looker.engine.reader_times import ReaderTimes
from looker.engine.shapes import Shapes
from looker.engine.together import together
from looker.engine.visibility import Visibility
from looker.errors import TargetError
from looker.generate.mixer import stream_keys
from looker.model.config import (
    MAX_LOG_AGE_S,
    NS_PER_MS,
    NS_PER_S,
    Mode,
    ReadApi,
    ReadShape,
    VerifyMode,
)
from looker.model.limit import ReadTimeSpent
from looker.model.mismatch import Findings
from looker.model.query import MAX_ANSWER_BYTES
from looker.model.report import ReadReport
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.modes import SumsOfSending, ledger_for
from looker.verify.pages import PageLimits, Selection, pages

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from looker.backend.api import Target
    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.engine.page_reader import Comparison
    from looker.generate.content import Content
    from looker.model.config import RunConfig
    from looker.verify.pages import Page
    from looker.verify.parts import Part
    from looker.verify.proof import ChecksumLedger, PageProof

_MAX_ENTRIES: Final = 5_000
"""Loki's ``max_entries_limit_per_query``, as it comes."""
_MAX_UNLIMITED_ENTRIES: Final = 50_000
_MAX_LOG_ANSWER_BYTES: Final = 3_000_000
"""Loki refuses to send more than 4 MiB between its parts, as it comes."""
_MAX_METRIC_SAMPLES: Final = 200_000
_STREAMS_PER_MATCHER: Final = 50
_ROW_BYTES: Final = 256
_SAMPLE_BYTES: Final = {ReadApi.QUERY: 48, ReadApi.REMOTE_READ: 24}
_SERIES_BYTES: Final = 512
"""What comes with a line, a metric sample and a label set, at most: punctuation, added labels."""
_ANSWER_SLACK_BYTES: Final = 4 << 20
_ANSWER_FACTOR: Final = 3
"""What comes twice is to be counted as that, not refused."""
_CHOICE_GENERATION: Final = 2**41
"""Keeps the hash that chooses streams for a sparse read apart from that of content."""


class Choice(Protocol):
    """Which streams are read."""

    def __call__(self, first: int, end: int) -> np.ndarray[Any, Any]:
        """Return those of the streams ``first`` to ``end - 1`` that are, ascending."""
        ...


class ReadPhase:
    """Reads streams back page by page; comparing runs in a thread beside the loop."""

    def __init__(
        self,
        *,
        config: RunConfig,
        target: Target,
        client: Client,
        content: Content,
        parts: Iterable[Part],
        cycle: int | None,
        choose: Choice | None = None,
        n_readers: int,
        clock: Clock,
        stop: asyncio.Event,
        report: ReadReport | None = None,
        acked_ns: tuple[int, NDArray[np.int64]] | None = None,
    ) -> None:
        """``parts`` are the ledger's rows; ``cycle`` None reads all cycles.

        ``choose`` makes a sparse read. A ``report`` that is given is added to. ``acked_ns`` is the
        worker's first stream, and when each from that on was last acknowledged: see
        :mod:`.visibility`.
        """
        self._config = config
        self._target = target
        self._client = client
        self._content = content
        self._parts = parts
        self._cycle = cycle
        self._choose = choose
        self._n_readers = n_readers
        self._clock = clock
        self._stop = stop
        self._acked_ns = acked_ns
        self._report = empty_report(config) if report is None else report
        self._cpu_begun_s = 0.0
        self._begun_ns = self._entered_ns = 0
        self._times = ReaderTimes(clock)
        self._wrong: list[NDArray[Any]] = []
        self._earlier = ReadTimeSpent.of([self._report])
        self._compare = comparison(config, target, content)
        self._limits = page_limits(config, target.max_entries)
        per_sample = config.payload_bytes_per_fragment // config.n_samples_per_fragment
        self._payload_per_sample = per_sample

    async def run(self) -> ReadReport:
        """Read and compare, and return what was found.

        A fault of the target's ends the phase early, and the report says so; a fault of Looker's
        own is raised.
        """
        report = self._report
        report.complete = False
        times, begun_ns = report.times, self._clock.monotonic_ns()
        self._entered_ns = begun_ns
        self._begun_ns = begun_ns - max(0, times.finished_ns - times.started_ns)
        times.started_ns = times.started_ns or self._clock.wall_ns()
        report.missing_because = missing_because(self._config, self._target, self._clock.wall_ns())
        self._cpu_begun_s = time.process_time() - report.cpu_s
        complete = True
        earlier: ChecksumLedger | None = None
        with ThreadPoolExecutor(1, "looker-comparison") as executor:
            for part in self._parts:
                self._wrong = []
                proof = ledger_for(self._config.verify, part.rows, self._content)
                if earlier is not None and not part.window.is_first:
                    proof.carry(earlier)
                reader = PageReader(
                    client=self._client,
                    compare=self._compare,
                    executor=executor,
                    limits=self._limits,
                    answer_bytes=answer_bytes(
                        self._config, self._content, self._target, self._limits
                    ),
                    grace_s=self._config.read_grace_s,
                    clock=self._clock,
                    stop=self._stop,
                    report=report,
                    visibility=self._visibility(part),
                    by_content=self._config.verify is VerifyMode.CHECKSUM,
                    times=self._times,
                )
                complete &= await self._read_part(self._pages(part), proof, reader)
                # what the target has refused for its size is not asked for again
                self._limits = reader.limits
                report.fragments_proved += proof.check(self._cycle)
                if isinstance(proof, SumsOfSending):
                    self._merge(proof.findings)
                if complete:
                    complete = await self._read_in_shapes(part, proof.sound(), executor)
                earlier = proof
                if not complete:
                    break
        report.complete = complete
        return self.snapshot()

    def snapshot(self) -> ReadReport:
        """Return the report as far as it is; the same object each time."""
        report = self._report
        report.payload_bytes_validated = report.findings.n_validated * self._payload_per_sample
        # wall time may jump: only its beginning counts
        now_ns = self._clock.monotonic_ns()
        elapsed_ns = now_ns - self._begun_ns
        readers_ns = (now_ns - self._entered_ns) * self._n_readers
        self._times.fill(report, self._earlier, now_ns, readers_ns)
        report.times.finished_ns = report.times.started_ns + elapsed_ns
        report.cpu_s = time.process_time() - self._cpu_begun_s
        return report

    async def _read_in_shapes(
        self, part: Part, sound: NDArray[np.bool_], executor: ThreadPoolExecutor
    ) -> bool:
        """Read a part once more as people ask, if that is wanted; return whether all was."""
        config = self._config
        if config.read_shape is ReadShape.EXACT:
            return True
        # each sample is judged by itself
        mode = VerifyMode.COUNT if config.verify is VerifyMode.COUNT else VerifyMode.CONTENT
        config = replace(config, verify=mode)
        shapes = Shapes(config, self._content, self._limits, self._cycle)
        compare = comparison(config, self._target, self._content)
        reader = PageReader(
            client=self._client,
            compare=lambda body, page, full: shapes.compare(compare, body, page, in_full=full),
            executor=executor,
            limits=self._limits,
            answer_bytes=answer_bytes(config, self._content, self._target, self._limits),
            grace_s=0.0,
            clock=self._clock,
            stop=self._stop,
            report=self._report,
            times=self._times,
        )
        todo = shapes.pages(part, sound, self._wrong)

        async def read() -> bool:
            for shaped in todo:
                try:
                    async for findings in shapes.read(shaped, reader):
                        self._report.queries_shaped += 1
                        self._merge(findings)
                        if self._stop.is_set():
                            return False
                except TargetError as error:
                    self._report.error = self._report.error or str(error)
                    return False
            return True

        return all(await together(read() for _ in range(self._n_readers)))

    async def _read_part(
        self, todo: Iterator[Page], proof: ChecksumLedger, reader: PageReader
    ) -> bool:
        """Read the pages of a part; return whether all were."""

        async def read() -> bool:
            try:
                return await read_pages()
            finally:
                ended.begin(self._clock.monotonic_ns())

        async def read_pages() -> bool:
            for page in todo:
                if self._report.error is not None or self._stop.is_set():
                    return False
                found: list[PageProof] = []
                answered = True
                try:
                    await reader.read(page, found)
                except TargetError as error:
                    self._report.error = self._report.error or str(error)
                    answered = False
                for page_proof in found:
                    proof.add(page_proof)
                    if self._config.read_shape is not ReadShape.EXACT:
                        self._wrong += page_proof.findings.places
                    self._merge(page_proof.findings)
                if not answered:
                    return False
            return True

        ended = self._times.ended
        try:
            return all(await together(read() for _ in range(self._n_readers)))
        finally:
            # there may be another part
            for _ in range(self._n_readers):
                ended.end(self._clock.monotonic_ns())

    def _merge(self, findings: Findings) -> None:
        """Add a page's findings; what compares does not know in which cycle it does."""
        cycle = self._cycle or 0
        findings.examples = [replace(one, cycle=cycle) for one in findings.examples]
        self._report.findings.merge(findings)

    def _visibility(self, part: Part) -> Visibility | None:
        # a stream's newest fragment is in the last window of time
        if self._acked_ns is None or self._cycle is None or not part.window.is_last:
            return None
        first_stream, acked_ns = self._acked_ns
        return Visibility(
            part.rows,
            cycle=self._cycle,
            n_samples=self._content.n_samples,
            acked_ns=acked_ns,
            first_stream=first_stream,
            report=self._report,
        )

    def _pages(self, part: Part) -> Iterator[Page]:
        first, end = part.first_stream, part.end_stream
        chosen = None if self._choose is None else self._choose(first, end)
        if part.window.is_first:
            self._report.streams_selected += end - first if chosen is None else len(chosen)
        for selection, numbers in self._selections(part, chosen):
            yield from pages(
                self._content,
                selection,
                part.rows[numbers],
                numbers,
                self._cycle,
                self._limits,
                part.window,
                is_open=part.is_open,
            )

    def _selections(
        self, part: Part, chosen: np.ndarray[Any, Any] | None
    ) -> Iterator[tuple[Selection, np.ndarray[Any, Any]]]:
        """Yield what to select, and the ledger rows that belong to it."""
        streams = part.rows["stream"]
        size = self._content.scheme.group_size
        for group_first in range(part.first_stream, part.end_stream, size):
            group_end = min(group_first + size, part.end_stream)
            low, high = np.searchsorted(streams, [group_first, group_end])
            few = (high - low) * self._content.n_samples <= (
                self._limits.max_samples * (group_end - group_first) // 4
            )
            if chosen is None and few and not part.is_open:
                selection = Selection.of_group(self._content, group_first // size)
                yield selection, np.arange(low, high)
                continue
            # much per stream, or few of many: select by name
            names = np.arange(group_first, group_end)
            if chosen is not None:
                names = names[np.isin(names, chosen)]
            if not len(names):
                continue
            per_stream = (high - low) * self._content.n_samples / (group_end - group_first)
            together = int(self._limits.max_samples // max(1, per_stream))
            together = max(1, min(_STREAMS_PER_MATCHER, together))
            if part.is_open:
                # up to its own last sample: what another has behind that is not known
                together = 1
            for at in range(0, len(names), together):
                some = names[at : at + together]
                low_some, high_some = np.searchsorted(streams, [some[0], some[-1] + 1])
                numbers = np.arange(low_some, high_some)
                numbers = numbers[np.isin(streams[numbers], some)]
                yield Selection.of_streams(self._content, some.tolist()), numbers


def sparse(
    content: Content, cycle: int, streams: tuple[int, int], n_streams: int | None
) -> Choice | None:
    """Return a choice of ``n_streams`` of a worker's streams, anew for each cycle; None for all."""
    if n_streams is None:
        return None
    numbers = np.arange(*streams, dtype=np.uint32)
    keys = stream_keys(content.seed, _CHOICE_GENERATION + cycle, numbers)
    chosen = np.sort(numbers[np.argsort(keys)[:n_streams]])
    return lambda first, end: chosen[(chosen >= first) & (chosen < end)]


def empty_report(config: RunConfig) -> ReadReport:
    """Return a report of a read phase that has not begun."""
    findings = Findings(max_examples=config.max_examples)
    return ReadReport(complete=False, findings=findings, verify=config.verify)


def answer_bytes(
    config: RunConfig, content: Content, target: Target, limits: PageLimits
) -> Callable[[Page], int]:
    """Return how long the answer to a page may be: several times what it should be.

    Parsing multiplies it, so it has to be bounded by what was asked for.
    """
    label_bytes = sum(len(name) + len(value) for name, value in content.scheme.labels(0).items())

    def bound(page: Page) -> int:
        n_samples = page.expectation.n_samples
        if config.mode is Mode.LOGS:
            n_samples = max(n_samples, min(limits.max_answer, _MAX_UNLIMITED_ENTRIES))
            sample_bytes = config.n_chars_per_line + _ROW_BYTES
        else:
            sample_bytes = _SAMPLE_BYTES[target.read_api]
        labels_bytes = len(page.expectation.counts) * (label_bytes + _SERIES_BYTES)
        due_bytes = n_samples * sample_bytes + labels_bytes
        return min(MAX_ANSWER_BYTES, _ANSWER_SLACK_BYTES + _ANSWER_FACTOR * due_bytes)

    return bound


def missing_because(config: RunConfig, target: Target, now_ns: int) -> str | None:
    """Return why Loki may not return what it has, where entries are too old; None elsewhere."""
    if target.product is not Product.LOKI or target.embedded:
        return None
    option, age_s = "--max-lag-seconds", config.max_lag_s
    if config.start_time_ns is not None:
        option, age_s = "--log-start-time", (now_ns - config.start_time_ns) / NS_PER_S
    if age_s <= MAX_LOG_AGE_S:
        return None
    return (
        "Loki does not return entries older than some 2.6 h before they are flushed, and these"
        f" begin {age_s / 3600:.1f} h ago ({option})"
    )


def comparison(config: RunConfig, target: Target, content: Content) -> Comparison:
    """Return how answers of a target are compared with a page of a generation.

    By body, page, and whether the content of each sample is wanted (`compare` of the answers').
    """
    ignored, mode = frozenset(config.ignore_labels), config.verify
    if config.mode is Mode.LOGS:
        logs = LogAnswers(content, ignored, mode)
        return lambda body, page, full: logs.compare(
            body, page.expectation, in_full=full, backward=page.backward
        )
    if target.read_api is ReadApi.QUERY:
        query = QueryAnswers(ignored, mode)
        return lambda body, page, full: query.compare(
            body, page.expectation, page.start_ns // NS_PER_MS, in_full=full
        )
    remote = RemoteReadAnswers(content, ignored, target.external_labels, mode)
    return lambda body, page, full: remote.compare(body, page.expectation, in_full=full)


def page_limits(config: RunConfig, max_entries: int | None) -> PageLimits:
    """Return how large a page may be: by the target's limits, or by those that it comes with."""
    if config.mode is Mode.METRICS:
        return PageLimits(_MAX_METRIC_SAMPLES, max_answer=2**62)
    allowed = _MAX_ENTRIES if max_entries is None else max_entries or _MAX_UNLIMITED_ENTRIES
    row_bytes = config.n_chars_per_line + 100
    # below what is allowed, so that an answer with one more than expected shows it
    fitting = min(allowed - 1, _MAX_LOG_ANSWER_BYTES // row_bytes)
    return PageLimits(max(1, fitting), max_answer=allowed)
