"""Throughput, latency and the target's own use over time, from a report's time series."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from looker.analysis.page.apart import by_point
from looker.analysis.page.blocks import Block, Cell, Chart, Charts, Table, Text
from looker.analysis.page.charts import Line, lines, shaded
from looker.analysis.page.lookup import branch, column, number, text
from looker.analysis.page.runs import points_of
from looker.analysis.page.wording import count, parsed, seconds, si

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from looker.analysis.page.runs import Run

MAX_POINTS: Final = 600
"""Longer series are thinned out to so many: more cannot be seen, and make the page large."""
MAX_POINTS_OF_MANY: Final = 200
"""So many where the series of several runs are on the page."""
MAX_OVERLAID: Final = 14
"""So many runs can be told apart in one chart, by colour and dash."""
_LEAST_OVERLAID: Final = 2
_MAX_OVERLAID_IN_ALL: Final = 84
_MIN_SPAN_S: Final = 0.5
"""Between two scrapes that a rate of CPU use is told of, at least."""
_WITHOUT: Final = (
    "The report has no time series: it was written by an earlier version of Looker, or by a run"
    " that ended before its first bucket."
)

Points = list[float | None]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A report's series, ``merged`` buckets to a point; ``at`` are the points' times.

    Times are in units of ``unit_s`` seconds, called ``unit``, since the run's beginning.
    """

    bucket_s: float
    n_buckets: int
    merged: int
    unit: str
    unit_s: float
    measured_from_s: float
    columns: Mapping[str, object]

    @property
    def at(self) -> Points:
        """The times at which the points' buckets begin."""
        step = self.bucket_s * self.merged / self.unit_s
        return [place * step for place in range(-(-self.n_buckets // self.merged))]

    def rate(self, path: str, factor: float = 1.0) -> Points | None:
        """Return what is summed per bucket as a rate per second, times a factor."""
        values = self._values(path)
        if values is None:
            return None
        found: Points = []
        for at in range(0, len(values), self.merged):
            known = [value for value in values[at : at + self.merged] if value is not None]
            length_s = min(self.merged, len(values) - at) * self.bucket_s
            found.append(factor * sum(known) / length_s if known else None)
        return found

    def level(self, path: str, of: Callable[[list[float]], float] = max) -> Points | None:
        """Return what is a level per bucket: of several the highest, or what ``of`` says."""
        values = self._values(path)
        if values is None:
            return None
        parts = [values[at : at + self.merged] for at in range(0, len(values), self.merged)]
        known = [[value for value in part if value is not None] for part in parts]
        return [of(part) if part else None for part in known]

    def _values(self, path: str) -> Points | None:
        values = column(self.columns, path)
        if values is None:
            return None
        return [*values, *[None] * self.n_buckets][: self.n_buckets]


def timeline(plain: Mapping[str, object], max_points: int = MAX_POINTS) -> Timeline | None:
    """Return a report's series in so many points at most; None where it has none."""
    series = branch(plain, "series")
    bucket_s, n_buckets = number(series, "bucket_s"), number(series, "n_buckets")
    # what is beyond these is no run's
    if not bucket_s or not 1e-3 <= bucket_s < 1e9 or not n_buckets or not 0 < n_buckets < 1e7:
        return None
    merged = -(-int(n_buckets) // max_points)
    unit, unit_s = _time_unit(bucket_s * n_buckets)
    from_s = number(series, "measured_from_s") or 0.0
    return Timeline(bucket_s, int(n_buckets), merged, unit, unit_s, from_s, series)


def _time_unit(whole_s: float) -> tuple[str, float]:
    if whole_s <= 600:
        return "s", 1.0
    return ("min", 60.0) if whole_s <= 6 * 3600 else ("h", 3600.0)


def of_run(run: Run, max_points: int = MAX_POINTS) -> list[Block]:
    """Return the charts of one run over time."""
    line = timeline(run.plain, max_points)
    charts = _usage_charts(run.plain, max_points)
    if line is not None:
        charts = [*_throughput(line), *_latencies(line), *_hindrances(line), *charts]
    blocks: list[Block] = [Text(_WITHOUT if line is None else _about(line))]
    if charts:
        blocks.append(Charts(charts))
    return [*blocks, *_target_metrics(run.plain)]


def _target_metrics(plain: Mapping[str, object]) -> list[Block]:
    """Return what else the target told of itself; nothing where it told nothing."""
    metrics = branch(plain, "totals.target.metrics")
    rows = [
        [Cell(name), *(Cell(si(number(values, key))) for key in ("start", "end", "max"))]
        for name, values in metrics.items()
        if isinstance(values, dict)
    ]
    if not rows:
        return []
    heads = ["metric", "at the start", "at the end", "highest"]
    return [Table("The target's own metrics", heads, rows, frozenset({1, 2, 3}))]


def _about(line: Timeline) -> str:
    said = f"Buckets of {seconds(line.bucket_s)}"
    if line.merged > 1:
        said += (
            f", {line.merged} of {count(line.n_buckets)} to a point: sums are added, p99 and"
            " highest values are the highest, p50 is the median of theirs"
        )
    return f"{said}. A bucket in which a phase begins or ends shows less than its rate."


def _chart(
    line: Timeline,
    title: str,
    says: str,
    wanted: Sequence[tuple[str, Points | None]],
    y_title: str,
    unit: str = "",
    *,
    log: bool = False,
    looks: Sequence[int] = (0, 1, 2, 3),
) -> list[Chart]:
    """Return the chart of those columns that have something to show, if any."""
    shown = [
        Line(name, line.at, values, look, dash, unit)
        for dash, ((name, values), look) in enumerate(zip(wanted, looks, strict=False))
        if values is not None and any(values)
    ]
    if not shown:
        return []
    figure = lines(shown, f"time since the start, {line.unit}", y_title, log=log)
    # the same for all, so that what is one above the other is of the same time
    figure["layout"]["xaxis"]["range"] = [0, line.bucket_s * line.n_buckets / line.unit_s]
    if line.measured_from_s > 0:
        shaded(figure, line.measured_from_s / line.unit_s, "warm-up")
    return [Chart(title, says, figure)]


def _throughput(line: Timeline) -> list[Chart]:
    return [
        *_chart(
            line,
            "Samples per second",
            "Samples acknowledged while writing, and validated while reading.",
            [
                ("written", line.rate("write.samples_acked")),
                ("validated", line.rate("read.samples_validated")),
            ],
            "samples/s",
            "/s",
        ),
        *_chart(
            line,
            "Bytes per second",
            "Payload acknowledged and validated, and compressed bodies as sent.",
            [
                ("payload written", line.rate("write.payload_bytes_acked", 1e-6)),
                ("payload validated", line.rate("read.payload_bytes_validated", 1e-6)),
                ("sent, compressed", line.rate("write.wire_bytes_sent", 1e-6)),
            ],
            "MB/s",
            " MB/s",
        ),
    ]


def _latencies(line: Timeline) -> list[Chart]:
    charts = []
    for title, part, what in (
        ("Push latency", "write", "one attempt of a push"),
        ("Query latency", "read", "one query"),
    ):
        charts += _chart(
            line,
            title,
            f"Service time of {what}, from its first byte sent to the last byte of the answer.",
            [
                ("p50", line.level(f"{part}.service_ms_p50", statistics.median)),
                ("p99", line.level(f"{part}.service_ms_p99")),
                ("highest", line.level(f"{part}.service_ms_max")),
            ],
            "ms",
            " ms",
            log=True,
        )
    return charts


def _hindrances(line: Timeline) -> list[Chart]:
    return [
        *_chart(
            line,
            "What writers did",
            "How many writers, on average, had a request under way, waited to send again, or waited"
            " for a message, by what kept it from them.",
            [
                ("request under way", line.rate("write.requesting_s")),
                ("rate limited", line.rate("write.rate_limited_s")),
                ("waiting to retry", line.rate("write.retry_paused_s")),
                ("throttled by wall time", line.rate("write.starved_throttle_s")),
                ("waiting for the generator", line.rate("write.starved_generator_s")),
                ("waiting for full messages", line.rate("write.batching_s")),
                ("waiting for a free stream", line.rate("write.starved_streams_s")),
            ],
            "writers",
            looks=range(7),
        ),
        *_chart(
            line,
            "Further attempts",
            "Pushes that were tried again.",
            [("retried", line.rate("write.pushes_retried"))],
            "retries/s",
            "/s",
            looks=(1,),
        ),
        *_chart(
            line,
            "Behind wall time",
            "The largest lag of a fragment when its push was acknowledged.",
            [("largest lag", _scaled(line.level("write.lag_ms_max"), 1e-3))],
            "s",
            " s",
        ),
        *_chart(
            line,
            "Mismatches over time",
            "Mismatches as they were found.",
            [("mismatches", line.rate("read.mismatches", line.bucket_s * line.merged))],
            "mismatches",
            looks=(1,),
        ),
    ]


def _usage_charts(plain: Mapping[str, object], max_points: int) -> list[Chart]:
    """Return the target's own CPU and memory as its metrics page told them."""
    usage = branch(plain, "target_usage.series")
    times = column(usage, "at_s") or []
    # of the run's begin; the series of throughput begins with the first phase
    offset_s = _offset_s(plain)
    at = [time - offset_s for time in times if time is not None]
    if len(at) < 2 or len(at) < len(times):
        return []
    unit, unit_s = _time_unit(at[-1] - at[0])
    step = -(-len(at) // max_points)
    axis = f"time since the start, {unit}"
    charts = []
    used = column(usage, "cpu_s")
    if used is not None and len(used) == len(at):
        times_s, cores = _derivative(*_spaced(at[::step], used[::step]))
        if any(core is not None for core in cores):
            points: Points = [time / unit_s for time in times_s]
            figure = lines([Line("CPU", points, cores, 2, 0, " cores")], axis, "cores")
            charts.append(
                Chart("The target's CPU", "CPU cores that the target's process used.", figure)
            )
    memory = column(usage, "rss_bytes")
    if memory is not None and len(memory) == len(at) and any(memory):
        points = [time / unit_s for time in at[::step]]
        held = Line("resident memory", points, memory[::step], 3, 0, "B")
        figure = lines([held], axis, "bytes")
        charts.append(
            Chart("The target's memory", "Resident memory of the target's process.", figure)
        )
    return charts


def _offset_s(plain: Mapping[str, object]) -> float:
    began, first = (parsed(text(plain, path)) for path in ("started_at", "series.started_at"))
    if began is None or first is None or (began.tzinfo is None) is not (first.tzinfo is None):
        return 0.0
    return (first - began).total_seconds()


def _spaced(at_s: Sequence[float], total: Points) -> tuple[list[float], Points]:
    """Return the scrapes without those that follow another one too soon for a rate.

    Where phases begin and end there are several in a few milliseconds, and CPU time is told in
    hundredths of a second.
    """
    kept_s: list[float] = []
    kept: Points = []
    for time_s, value in zip(at_s, total, strict=True):
        if not kept_s or time_s - kept_s[-1] >= _MIN_SPAN_S:
            kept_s.append(time_s)
            kept.append(value)
    return kept_s, kept


def _derivative(at_s: Sequence[float], total: Points) -> tuple[list[float], Points]:
    """Return the middles of the spans between scrapes, and the growth per second in each.

    A total that falls is a process that was started again: what it used meanwhile is not known.
    """
    middles, rates = [], []
    pairs = list(zip(at_s, total, strict=True))
    for (before_s, before), (after_s, after) in itertools.pairwise(pairs):
        middles.append((before_s + after_s) / 2)
        known = before is not None and after is not None and after >= before and after_s > before_s
        rates.append((after - before) / (after_s - before_s) if known else None)  # type: ignore[operator]
    return middles, rates


def _scaled(values: Points | None, factor: float) -> Points | None:
    if values is None:
        return None
    return [None if value is None else factor * value for value in values]


def of_runs(runs: Sequence[Run]) -> list[Block]:
    """Return the runs' rates and latencies over time, one above the other."""
    told = [run for run in runs if timeline(run.plain) is not None]
    if not told:
        return [Text(_WITHOUT)]
    points = points_of(runs)
    n_each = max(_LEAST_OVERLAID, min(MAX_OVERLAID, _MAX_OVERLAID_IN_ALL // len(points)))
    blocks = by_point(runs, lambda some: _overlaid(some, n_each))
    n_shown = sum(min(n_each, sum(run.point == point for run in told)) for point in points)
    without = len(runs) - len(told)
    if n_shown < len(runs):
        more = f"; {count(without)} have no time series" if without else ""
        blocks.insert(0, Text(f"Shown are {count(n_shown)} of {count(len(runs))} runs{more}."))
    return blocks


def _overlaid(runs: Sequence[Run], n_most: int) -> list[Chart]:
    """Return the rates and latencies of so many runs, one line each."""
    found = [
        (run, line)
        for run in _in_turn(runs)
        if (line := timeline(run.plain, MAX_POINTS_OF_MANY)) is not None
    ]
    if not found:
        return []
    shown = found[:n_most]
    # one unit for all, that of the longest
    longest = max(shown, key=lambda pair: pair[1].unit_s)[1]
    sides = list(dict.fromkeys(run.side for run, _ in shown))
    wanted = (
        ("Samples written per second", "samples/s", "/s", "write.samples_acked", True),
        ("Push latency p99", "ms", " ms", "write.service_ms_p99", False),
        ("Samples validated per second", "samples/s", "/s", "read.samples_validated", True),
        ("Query latency p99", "ms", " ms", "read.service_ms_p99", False),
    )
    charts = []
    for title, y_title, unit, path, is_rate in wanted:
        drawn = []
        places: dict[str, int] = {}
        for run, line in shown:
            values = line.rate(path) if is_rate else line.level(path)
            if values is None or not any(values):
                continue
            at = [(time or 0) * line.unit_s / longest.unit_s for time in line.at]
            # of several sides each has a colour, and its runs have dashes; else each run has one
            place = places[run.side] = places.get(run.side, -1) + 1
            look = sides.index(run.side) if len(sides) > 1 else place
            dash = place if len(sides) > 1 else place // 7
            drawn.append(Line(run.name_in_point, at, values, look, dash, unit))
        if drawn:
            axis = f"time since each run's start, {longest.unit}"
            figure = lines(drawn, axis, y_title, log=not is_rate)
            whole_s = max(line.bucket_s * line.n_buckets for _, line in shown)
            figure["layout"]["xaxis"]["range"] = [0, whole_s / longest.unit_s]
            charts.append(Chart(title, "Each line is a run.", figure))
    return charts


def _in_turn(runs: Sequence[Run]) -> list[Run]:
    """Return the runs so that the first of each side come first, then the second ones."""
    places: Counter[str] = Counter()
    ranked = []
    for run in runs:
        ranked.append((places[run.side], run))
        places[run.side] += 1
    return [run for _, run in sorted(ranked, key=lambda pair: pair[0])]
