"""The read phase of one worker: reads back what the cycle wrote, and compares."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.errors import TargetError
from looker.generate.mixer import stream_keys
from looker.model.config import Mode, ReadApi
from looker.model.mismatch import MismatchKind
from looker.model.query import RangeQuery
from looker.model.report import PhaseTimes, ReadReport
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.pages import PageLimits, Selection, pages
from looker.verify.proof import ChecksumLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from looker.backend.client import Client
    from looker.clock import Clock
    from looker.generate.content import Content
    from looker.model.config import RunConfig
    from looker.verify.ledger import Ledger
    from looker.verify.pages import Page
    from looker.verify.proof import PageProof

_BAND_ROWS: Final = 1_000_000
"""Ledger rows that are looked at together: some 100 MB with their order and sums."""
_MAX_ENTRIES: Final = 4_999
"""One below Loki's default limit of 5,000 per query, so that one more would show."""
_MAX_LOG_ANSWER_BYTES: Final = 3_000_000
"""Loki refuses to send more than 4 MiB between its parts, as it comes."""
_MAX_METRIC_SAMPLES: Final = 200_000
_STREAMS_PER_MATCHER: Final = 50
_FIRST_GRACE_PAUSE_S: Final = 0.25
_CHOICE_GENERATION: Final = 2**41
"""Keeps the hash that chooses streams for a sparse read apart from that of content."""


class ReadPhase:
    """Reads back a cycle's streams page by page; comparing runs in a thread beside the loop."""

    def __init__(
        self,
        *,
        config: RunConfig,
        read_api: ReadApi,
        client: Client,
        content: Content,
        ledger: Ledger,
        cycle: int,
        streams: tuple[int, int],
        read_n_streams: int | None,
        n_readers: int,
        clock: Clock,
        stop: asyncio.Event,
    ) -> None:
        """``streams`` are the worker's first stream and the end."""
        self._config = config
        self._client = client
        self._content = content
        self._ledger = ledger
        self._cycle = cycle
        self._streams = streams
        self._read_n_streams = read_n_streams
        self._n_readers = n_readers
        self._clock = clock
        self._stop = stop
        self._report = ReadReport(complete=False)
        self._cpu_begun_s = 0.0
        self._compare = _comparison(config.mode, read_api, content)
        self._limits = PageLimits(_max_samples(config))
        per_sample = config.payload_bytes_per_fragment // config.n_samples_per_fragment
        self._payload_per_sample = per_sample

    async def run(self) -> ReadReport:
        """Read and compare, and return what was found.

        A fault of the target's ends the phase early, and the report says so; a fault of Looker's
        own is raised.
        """
        report = self._report
        report.times = PhaseTimes(self._clock.wall_ns())
        self._cpu_begun_s = time.process_time()
        complete = True
        with ThreadPoolExecutor(1, "looker-comparison") as executor:
            for first, end in self._bands():
                rows = self._ledger.rows_of(first, end)
                proof = ChecksumLedger(rows, self._content.n_samples)
                complete &= await self._read_band(self._pages(rows, first, end), proof, executor)
                report.fragments_proved += proof.check(self._cycle)
                if not complete:
                    break
        report.complete = complete
        return self.snapshot()

    def snapshot(self) -> ReadReport:
        """Return the report as far as it is; the same object each time."""
        report = self._report
        report.payload_bytes_validated = report.findings.n_validated * self._payload_per_sample
        report.times.finished_ns = self._clock.wall_ns()
        report.cpu_s = time.process_time() - self._cpu_begun_s
        return report

    async def _read_band(
        self, todo: Iterator[Page], proof: ChecksumLedger, executor: ThreadPoolExecutor
    ) -> bool:
        """Read the pages of a band; return whether all were."""

        async def read() -> bool:
            for page in todo:
                if self._report.error is not None or self._stop.is_set():
                    return False
                try:
                    page_proof = await self._read_page(page, executor)
                except TargetError as error:
                    self._report.error = self._report.error or str(error)
                    return False
                proof.add(page_proof)
                self._report.findings.merge(page_proof.findings)
            return True

        readers = [asyncio.ensure_future(read()) for _ in range(self._n_readers)]
        try:
            return all(await asyncio.gather(*readers))
        finally:
            for reader in readers:
                reader.cancel()

    async def _read_page(self, page: Page, executor: ThreadPoolExecutor) -> PageProof:
        """Read a page; what is missing is asked for again until the grace period is over."""
        loop = asyncio.get_running_loop()
        deadline_ns = self._clock.monotonic_ns() + int(self._config.read_grace_s * 1e9)
        pause_s = _FIRST_GRACE_PAUSE_S
        fresh = False
        while True:
            query = RangeQuery(
                page.selection.matcher,
                page.start_ns,
                page.end_ns,
                page.expectation.n_samples,
                fresh=fresh,
            )
            service_ns: list[int] = []
            body = await self._client.fetch(query, service_ns)
            self._report.queries += len(service_ns)
            for duration_ns in service_ns:
                self._report.service.record_us(duration_ns // 1000)
            page_proof = await loop.run_in_executor(executor, self._compare, body, page)
            remaining_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            missing = page_proof.findings.counts[MismatchKind.MISSING]
            if not missing or remaining_s <= 0 or self._stop.is_set():
                return page_proof
            await asyncio.sleep(min(pause_s, remaining_s))
            pause_s *= 2
            fresh = True

    def _bands(self) -> Iterator[tuple[int, int]]:
        """Cut the worker's streams into bands of whole groups with a bounded number of rows."""
        first, end = self._streams
        size = self._content.scheme.group_size
        rows_per_stream = max(1, len(self._ledger) // max(1, end - first))
        step = max(1, _BAND_ROWS // rows_per_stream // size) * size
        for begin in range(first, end, step):
            yield begin, min(begin + step, end)

    def _pages(self, rows: np.ndarray[Any, Any], first: int, end: int) -> Iterator[Page]:
        chosen = self._chosen_streams()
        if chosen is None:
            self._report.streams_selected += end - first
        else:
            chosen = chosen[(chosen >= first) & (chosen < end)]
            self._report.streams_selected += len(chosen)
        for selection, numbers in self._selections(rows, first, end, chosen):
            yield from pages(
                self._content, selection, rows[numbers], numbers, self._cycle, self._limits
            )

    def _selections(
        self,
        rows: np.ndarray[Any, Any],
        first: int,
        end: int,
        chosen: np.ndarray[Any, Any] | None,
    ) -> Iterator[tuple[Selection, np.ndarray[Any, Any]]]:
        """Yield what to select, and the ledger rows that belong to it."""
        streams = rows["stream"]
        size = self._content.scheme.group_size
        for group_first in range(first, end, size):
            group_end = min(group_first + size, end)
            low, high = np.searchsorted(streams, [group_first, group_end])
            if chosen is None and (high - low) * self._content.n_samples <= (
                self._limits.max_samples * (group_end - group_first) // 4
            ):
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
            for at in range(0, len(names), together):
                part = names[at : at + together]
                low_part, high_part = np.searchsorted(streams, [part[0], part[-1] + 1])
                numbers = np.arange(low_part, high_part)
                numbers = numbers[np.isin(streams[numbers], part)]
                yield Selection.of_streams(self._content, part.tolist()), numbers

    def _chosen_streams(self) -> np.ndarray[Any, Any] | None:
        """Return the streams of a sparse read, ascending; None for all."""
        if self._read_n_streams is None:
            return None
        numbers = np.arange(*self._streams, dtype=np.uint32)
        keys = stream_keys(self._content.seed, _CHOICE_GENERATION + self._cycle, numbers)
        return np.sort(numbers[np.argsort(keys)[: self._read_n_streams]])


def _comparison(
    mode: Mode, read_api: ReadApi, content: Content
) -> Callable[[bytes, Page], PageProof]:
    if mode is Mode.LOGS:
        logs = LogAnswers(content)
        return lambda body, page: logs.compare(body, page.expectation)
    if read_api is ReadApi.QUERY:
        query = QueryAnswers()
        return lambda body, page: query.compare(
            body, page.expectation, (page.start_ns // 1_000_000, page.end_ns // 1_000_000 - 1)
        )
    remote = RemoteReadAnswers(content)
    return lambda body, page: remote.compare(body, page.expectation)


def _max_samples(config: RunConfig) -> int:
    if config.mode is Mode.METRICS:
        return _MAX_METRIC_SAMPLES
    row_bytes = config.n_chars_per_line + 100
    return max(1, min(_MAX_ENTRIES, _MAX_LOG_ANSWER_BYTES // row_bytes))
