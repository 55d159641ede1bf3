"""What shows a run while it goes on: log lines, or a live view on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from looker.model.config import Mode
from looker.model.histogram import Histogram
from looker.model.limit import LimitedBy, ReadTimeSpent, TimeSpent
from looker.model.report import PhaseTimes
from looker.observe.bottleneck import GeneratorWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from looker.clock import Clock
    from looker.model.report import CycleReport, ReadReport, WriteReport
    from looker.model.run_state import RunState, WorkerState

LOG = logging.getLogger(__name__)

_LEAST_PAUSE_S: Final = 0.25
_PAUSE_PER_COST: Final = 50.0
"""A frame is followed by 50 times its CPU time without one: at most 2 % of a core."""
_MOST_PAUSE_S: Final = 2.0
_NOW_S: Final = 3.0
"""Throughput "now" is that of the last seconds."""
_READ: Final = "read"
_NONE: Final = "-"
_LABEL: Final = "dim"
_MARGIN: Final = (0, 2)
_BAR_CHARS: Final = 10
_PERCENT_CHARS: Final = 5
_RATIOS: Final = (30, 23)
"""On 80 columns as wide as the widest figures of each of two columns."""


class LogView:
    """Shows a run as log lines."""

    def __init__(self) -> None:
        self._watch = GeneratorWatch()

    def phase_began(self, cycle: int, phase: str) -> None:
        """Say that a phase has begun."""
        LOG.info("cycle %d: %s phase begins", cycle, phase)

    def progress(self, state: RunState, cycle: int) -> None:
        """Warn where Looker itself is the limit; tell those who want details how far the run is."""
        self._watch.progress(state, cycle)
        if not LOG.isEnabledFor(logging.DEBUG):
            return
        parts = [worker.part for worker in state.snapshot() if worker.part.cycle == cycle]
        LOG.debug(
            "cycle %d: %d samples acknowledged, %d validated",
            cycle,
            sum(part.write.samples_acked for part in parts),
            sum(part.read.findings.n_validated for part in parts if part.read is not None),
        )

    def cycle_ended(self, report: CycleReport) -> None:
        """Say what a cycle has come to."""
        if not report.write.times.started_ns and report.read is not None:
            LOG.info(
                "%s: %d samples validated in %.2f s",
                report.verdict,
                report.read.findings.n_validated,
                report.read.times.duration_s,
            )
            return
        found = None if report.read is None else report.read.findings
        n_doubt, doubt = report.write.samples_in_doubt, ""
        if n_doubt:
            n_found = 0 if found is None else found.n_optional_seen
            doubt = f"; {n_doubt} in doubt, {n_found} of them found"
        LOG.info(
            "cycle %d: %s, %d samples acknowledged in %.2f s, %d validated%s",
            report.cycle,
            report.verdict,
            report.write.samples_acked,
            report.write.times.duration_s,
            0 if found is None else found.n_validated,
            doubt,
        )


class LiveView:
    """Shows a run in some lines of a terminal that change, below the log lines.

    A context manager: the lines are gone and the terminal is as it was when the context ends,
    however it ends.
    """

    def __init__(self, state: RunState, clock: Clock, console: Console | None = None) -> None:
        """``console`` None means standard error."""
        self._state = state
        self._clock = clock
        self._console = console or Console(stderr=True, highlight=False)
        self._lines = LogView()
        self._phase: tuple[int, str] | None = None
        self._rates: dict[int, _Rate] = {}
        self._next_ns = 0
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
        )
        self._log = LogThrough(self._console)

    def __enter__(self) -> Self:
        """Show the first frame; log lines go above it from now on."""
        self._log.__enter__()
        self._live.start()
        self._refresh()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the frame away; log lines go where they went before."""
        try:
            self._live.stop()
        finally:
            self._log.__exit__(None, None, None)

    def phase_began(self, cycle: int, phase: str) -> None:
        """Show the phase from its beginning."""
        self._phase = (cycle, phase)
        self._rates.clear()
        self._refresh()

    def progress(self, state: RunState, cycle: int) -> None:
        """Show how far the run is, unless that was shown just now."""
        self._lines.progress(state, cycle)
        self._measure(state.snapshot())
        if self._clock.monotonic_ns() >= self._next_ns:
            self._refresh()

    def cycle_ended(self, report: CycleReport) -> None:
        """Leave a line that says what a cycle has come to."""
        self._lines.cycle_ended(report)
        self._refresh()

    def frame(self) -> RenderableType:
        """Return what is shown now."""
        workers = self._state.snapshot()
        title = self._title(workers)
        if self._phase is None:
            return Group("", title, Text("starting workers", style=_LABEL))
        _, phase = self._phase
        # workers that need not wait for each other may be in different phases and cycles
        reads = [worker.part.read for worker in workers if worker.part.read is not None]
        if phase == _READ or len(reads) == len(workers):
            body = self._read_body(workers, reads)
        else:
            body = self._write_body(workers)
        return Group("", title, *body)

    def _refresh(self) -> None:
        begun_s = time.thread_time()
        self._live.update(self.frame(), refresh=True)
        cost_s = time.thread_time() - begun_s
        pause_s = min(max(_LEAST_PAUSE_S, _PAUSE_PER_COST * cost_s), _MOST_PAUSE_S)
        self._next_ns = self._clock.monotonic_ns() + int(pause_s * 1e9)

    def _measure(self, workers: Sequence[WorkerState]) -> None:
        for worker in workers:
            rate = self._rates.setdefault(worker.worker, _Rate())
            rate.measure(*_achieved(worker))

    def _title(self, workers: Sequence[WorkerState]) -> RenderableType:
        config = self._state.config
        left = Text.assemble(
            (config.invocation_id, "bold"), (f"  {config.mode}", _LABEL), overflow="fold"
        )
        if self._phase is not None:
            # counted from 0, as in the log, the table and the report
            cycle, n_before, n_all = self._phase[0], config.n_warm_up_cycles, config.n_cycles
            name = "cycle"
            if config.is_warm_up(cycle):
                name, n_before, n_all = "warm-up cycle", 0, config.n_warm_up_cycles
            done = f"{cycle - n_before}" + (f" of {n_all}" if n_all else "")
            left.append(f"  {name} {cycle}, {done} done")
        n_up = sum(worker.up for worker in workers)
        elapsed_s = max(0, self._clock.wall_ns() - self._state.started_ns) // 1_000_000_000
        right = Text.assemble(
            (f"{n_up} of {len(workers)} workers up", "" if n_up == len(workers) else "yellow"),
            f"  {elapsed_s // 3600}:{elapsed_s // 60 % 60:02}:{elapsed_s % 60:02}",
        )
        return _Line(left, right)

    def _write_body(self, workers: Sequence[WorkerState]) -> list[RenderableType]:
        config, unit = self._state.config, self._unit
        writes = [worker.part.write for worker in workers]
        times = _times([write.times for write in writes])
        share, said = 0.0, ""
        if config.stop_after_n_fragments:
            n_fragments = sum(write.fragments_pushed for write in writes)
            n_all = config.stop_after_n_fragments * config.n_streams
            share, said = n_fragments / n_all, f"{_of(n_fragments, n_all)} fragments"
        if config.stop_after_n_seconds:
            by_time = times.duration_s / config.stop_after_n_seconds
            if by_time >= share:
                share, said = (
                    by_time,
                    f"{times.duration_s:.1f} of {config.stop_after_n_seconds:g} s",
                )
        n_acked = sum(write.samples_acked for write in writes)
        n_bytes = sum(write.payload_bytes_acked for write in writes)
        figures = [
            *self._throughput(n_acked, n_bytes, times.duration_s),
            (f"{unit} acked", Text(f"{n_acked:,}")),
            ("pushes", _pushes(workers)),
            ("service ms", _quantiles([write.service for write in writes])),
            ("lag s", _quantiles([write.lag for write in writes], 1e6)),
            ("limited by", _limits(TimeSpent.of(writes))),
            ("mismatches", _mismatches(workers)),
        ]
        return [_Bar("writing", share, said), _Figures(figures)]

    def _read_body(
        self, workers: Sequence[WorkerState], reads: Sequence[ReadReport]
    ) -> list[RenderableType]:
        config, unit = self._state.config, self._unit
        n_acked = sum(worker.part.write.samples_acked for worker in workers)
        n_all = n_acked * (config.read_n_streams or config.n_streams) // config.n_streams
        if self._state.n_to_read is not None:
            n_acked = n_all = self._state.n_to_read
        n_compared = sum(read.findings.n_expected for read in reads)
        n_validated = sum(read.findings.n_validated for read in reads)
        n_bytes = sum(read.payload_bytes_validated for read in reads)
        about = "" if config.read_n_streams is None else "about "
        times = _times([read.times for read in reads])
        figures = [
            *self._throughput(n_validated, n_bytes, times.duration_s),
            (f"{unit} acked", Text(f"{n_acked:,}")),
            ("pushes", _pushes(workers)),
            ("service ms", _quantiles([read.service for read in reads])),
            ("queries", Text(f"{sum(read.queries for read in reads):,}")),
            ("retried", _retried(reads)),
            ("streams", Text(f"{sum(read.streams_selected for read in reads):,}")),
            ("limited by", _limits(ReadTimeSpent.of(reads))),
            ("mismatches", _mismatches(workers)),
        ]
        said = f"{_of(n_validated, n_all, about)} validated"
        return [_Bar("reading", n_compared / n_all if n_all else 0.0, said), _Figures(figures)]

    def _throughput(
        self, n_samples: int, n_bytes: int, duration_s: float
    ) -> list[tuple[str, Text]]:
        now = [one for one in (rate.now() for rate in self._rates.values()) if one is not None]
        per_s = sum(samples for samples, _ in now) if now else None
        mb_per_s = sum(n for _, n in now) / 1e6 if now else None
        mean_s = duration_s or float("inf")
        return [
            (f"{self._unit}/s", _now_and_mean(per_s, n_samples / mean_s, ",.0f")),
            ("payload MB/s", _now_and_mean(mb_per_s, n_bytes / mean_s / 1e6, ",.1f")),
        ]

    @property
    def _unit(self) -> str:
        return "entries" if self._state.config.mode is Mode.LOGS else "samples"


def view_for_terminal(state: RunState, clock: Clock) -> LiveView | None:
    """Return a live view if standard error is a terminal that can show one, else None."""
    # not rich's own judgement: FORCE_COLOR is no terminal
    if not sys.stderr.isatty():
        return None
    console = Console(stderr=True, highlight=False)
    return None if console.is_dumb_terminal else LiveView(state, clock, console)


class _Rate:
    """One worker's throughput over the last seconds, by the times of its own reports."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int, int]] = deque()

    def measure(self, time_ns: int, n_samples: int, n_bytes: int) -> None:
        points = self._points
        if points and (time_ns < points[-1][0] or n_samples < points[-1][1]):
            # another phase
            points.clear()
        if time_ns and (not points or time_ns > points[-1][0]):
            points.append((time_ns, n_samples, n_bytes))
        while len(points) > 2 and time_ns - points[1][0] >= _NOW_S * 1e9:
            points.popleft()

    def now(self) -> tuple[float, float] | None:
        """Return samples and bytes per second; None after less than two reports."""
        if len(self._points) < 2:
            return None
        (begin_ns, *first), (end_ns, *last) = self._points[0], self._points[-1]
        duration_s = (end_ns - begin_ns) / 1e9
        return (last[0] - first[0]) / duration_s, (last[1] - first[1]) / duration_s


class LogThrough(logging.Handler):
    """While entered, takes Looker's log lines to a console, so that they go above what is live."""

    _STYLES: Final = ((logging.ERROR, "red"), (logging.WARNING, "yellow"))

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._logger = logging.getLogger("looker")
        self._before = self._logger.handlers[:]

    def __enter__(self) -> None:
        """Take the lines."""
        for handler in self._before[:1]:
            self.setFormatter(handler.formatter)
        self._logger.handlers[:] = [self]

    def __exit__(self, *error: object) -> None:
        """Let them go where they went before."""
        self._logger.handlers[:] = self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        style = next((style for level, style in self._STYLES if record.levelno >= level), "")
        try:
            self._console.print(Text(self.format(record), style), soft_wrap=True)
        except Exception:  # noqa: BLE001 - as every handler: logging must not end a run
            self.handleError(record)


def _achieved(worker: WorkerState) -> tuple[int, int, int]:
    """Return the time of a worker's last report, and the phase's samples and bytes so far."""
    write, read = worker.part.write, worker.part.read
    if read is not None:
        return read.times.finished_ns, read.findings.n_validated, read.payload_bytes_validated
    return write.times.finished_ns, write.samples_acked, write.payload_bytes_acked


def _times(parts: Sequence[PhaseTimes]) -> PhaseTimes:
    total = PhaseTimes()
    for part in parts:
        total.merge(part)
    return total


@dataclass(frozen=True)
class _Line:
    """Two texts at the ends of a line; one below the other where they do not fit."""

    left: Text
    right: Text

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        if self.left.cell_len + _MARGIN[1] + self.right.cell_len > options.max_width:
            yield self.left
            yield self.right
            return
        grid = Table.grid(expand=True, padding=_MARGIN)
        grid.add_column(ratio=1, no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(self.left, self.right)
        yield grid


@dataclass(frozen=True)
class _Bar:
    """A bar and how far it is; in words below it where they do not fit."""

    name: str
    share: float
    said: str

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        share = min(1.0, self.share)
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, min_width=_BAR_CHARS)
        grid.add_column(justify="right", no_wrap=True, min_width=_PERCENT_CHARS)
        style = "green" if share >= 1 else "cyan"
        bar = ProgressBar(completed=share, total=1.0, complete_style=style, finished_style=style)
        said = Text(self.said, style=_LABEL, overflow="fold")
        # 100 % only where nothing is left
        cells: list[RenderableType] = [self.name, bar, f"{int(share * 100)} %"]
        used = len(self.name) + _BAR_CHARS + _PERCENT_CHARS + 3 + said.cell_len
        if used <= options.max_width:
            grid.add_column(justify="right", no_wrap=True)
            cells.append(said)
        grid.add_row(*cells)
        yield grid
        if used > options.max_width:
            yield said


@dataclass(frozen=True)
class _Figures:
    """Figures in two columns, the first half on the left; in one where they do not fit."""

    figures: Sequence[tuple[str, Text]]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        half = (len(self.figures) + 1) // 2
        sides = self.figures[:half], self.figures[half:]
        names = [max(len(name) for name, _ in side) for side in sides]
        needed = [max(figure.cell_len for _, figure in side) for side in sides]
        room = options.max_width - sum(names) - len(_RATIOS) * 2
        shares = [room * ratio // sum(_RATIOS) for ratio in _RATIOS]
        grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
        if any(wanted > share for wanted, share in zip(needed, shares, strict=True)):
            grid.add_column(style=_LABEL, no_wrap=True)
            grid.add_column(ratio=1, overflow="fold")
            for name, figure in self.figures:
                grid.add_row(name, figure)
        else:
            for ratio in _RATIOS:
                grid.add_column(style=_LABEL, no_wrap=True)
                grid.add_column(ratio=ratio, no_wrap=True)
            for left, right in zip(*sides, strict=True):
                grid.add_row(*left, *right)
        yield grid


def _of(n: int, n_all: int, about: str = "") -> str:
    """Return both numbers; the first is as wide as the second, so that nothing moves."""
    every = f"{n_all:,}"
    return f"{f'{n:,}':>{len(every)}} of {about}{every}"


def _now_and_mean(now: float | None, mean: float, form: str) -> Text:
    said = _NONE if now is None else format(now, form)
    return Text.assemble((f"{said:<11}", "bold"), (" mean ", _LABEL), format(mean, form))


def _quantiles(parts: Sequence[Histogram], unit_us: float = 1000.0) -> Text:
    histogram = Histogram.merged(parts)
    if not histogram.n:
        return Text(_NONE, style=_LABEL)
    p50, p99 = (histogram.percentile_us(p) / unit_us for p in (50, 99))
    return Text.assemble(
        ("p50 ", _LABEL), (f"{p50:<7,.1f}", "bold"), (" p99 ", _LABEL), f"{p99:,.1f}"
    )


def _pushes(workers: Sequence[WorkerState]) -> Text:
    """Return what went wrong with pushes since the run began."""
    writes = [write for worker in workers for write in worker.writes]

    def count(of: Callable[[WriteReport], int], name: str, style: str) -> tuple[str, str]:
        n = sum(map(of, writes))
        return f"{n:,} {name}", style if n else _LABEL

    return Text.assemble(
        count(lambda write: write.pushes_retried, "retried", "yellow"),
        (", ", _LABEL),
        count(lambda write: write.pushes_rejected, "rejected", "bold red"),
    )


def _retried(reads: Sequence[ReadReport]) -> Text:
    """Return how many attempts of queries were further ones."""
    n = sum(read.queries_retried for read in reads)
    return Text(f"{n:,}", style="yellow" if n else _LABEL)


def _mismatches(workers: Sequence[WorkerState]) -> Text:
    n = sum(read.findings.n_mismatches for worker in workers for read in worker.reads)
    n += sum(check.findings.n_mismatches for worker in workers for check in worker.spot_checks)
    return Text(f"{n:,}", style="bold red" if n else _LABEL)


def _limits(spent: TimeSpent | ReadTimeSpent) -> Text:
    limit = spent.limited_by
    if limit is None:
        return Text(_NONE, style=_LABEL)
    said = limit.value.replace("_", " ")
    return Text(said, style="" if limit is LimitedBy.TARGET else "yellow")
