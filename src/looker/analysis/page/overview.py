"""Verdict and key figures: of one run as cards, of several as a table and in the order of time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from looker.analysis.page.apart import by_point
from looker.analysis.page.blocks import (
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    RunTable,
    Section,
    Table,
    Text,
)
from looker.analysis.page.charts import EXACT, PALETTE, SYMBOLS, exact, label, linear_axis, lines
from looker.analysis.page.lookup import at, branch, number, text
from looker.analysis.page.runs import points_of
from looker.analysis.page.wording import (
    NONE,
    count,
    milliseconds,
    moment,
    parsed,
    seconds,
    si,
    size,
    three_digits,
)
from looker.analysis.soundness import warnings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from looker.analysis.page.blocks import Figure
    from looker.analysis.page.runs import Run
    from looker.analysis.reports import Side

VERDICTS: Final[Mapping[str, str]] = {
    "passed": "✓ passed",
    "failed": "✗ failed",
    "unknown": "? unknown",
    "not_checked": "○ not checked",
}
"""Each verdict with a sign of its own, so that none is told by colour alone."""
_UNFINISHED: Final = "… unfinished"
_MEANINGS: Final = {
    "passed": "All that was acknowledged came back as written.",
    "failed": "What came back differs from what was acknowledged.",
    "unknown": "Reading back could not be completed, or there was nothing to check.",
    "not_checked": "Reading back was switched off.",
}
_HELD_BACK: Final = {
    "rate_limit": "by the target's rate limit",
    "retry": "by pauses after attempts that failed",
    "throttle": "by the coupling to wall time",
    "generator": "by Looker itself",
    "batch_deadline": "by waiting for full messages",
    "streams": "by too few streams for so many writers",
    "looker": "by Looker itself, which was comparing",
    "grace": "by waiting for what was not there at first",
    "mixed": "by nothing alone",
}
"""What held a phase back, where that was not the target alone."""
_TELLING_SHARE: Final = 0.05
_DOTS: Final = (
    "Each dot is a run, in the order in which they began: what drifts with the host shows as a"
    " slope."
)
_MAX_DRAWN: Final = 2000


def unit_of(run: Run) -> str:
    """Return what a run's samples are called."""
    mode = text(run.plain, "ledger.mode") or text(run.plain, "mode")
    return "entries" if mode == "logs" else "samples"


def verdict_of(run: Run) -> str:
    """Return a run's verdict as the page shows it; of one that is not over, what it was so far."""
    verdict = str(run.plain.get("verdict"))
    if not run.report.is_finished:
        return f"{_UNFINISHED} ({verdict.replace('_', ' ')} so far)"
    return VERDICTS.get(verdict, verdict)


def tone_of_run(run: Run) -> str:
    """Return the CSS class of a run's verdict."""
    return tone_of(run.plain.get("verdict")) if run.report.is_finished else "warn"


def tone_of(verdict: object) -> str:
    """Return a verdict's CSS class."""
    return f"verdict-{verdict}" if verdict in VERDICTS else ""


def n_mismatches(part: object) -> float | None:
    """Return the mismatches of all kinds of a read phase or spot check; None without one."""
    if not isinstance(part, dict) or part.get("skipped"):
        return None
    counts = branch(part, "mismatches")
    return sum(number(counts, kind) or 0 for kind in counts)


MISMATCHES_IN: Final = (
    ("reading back", "totals.read"),
    ("spot checks", "totals.spot_check"),
    ("warm-up", "warm_up.read"),
    ("warm-up's spot checks", "warm_up.spot_check"),
)
"""Where a run finds mismatches: the totals are without the warm-up, the verdict is not."""


def all_mismatches(plain: object) -> float | None:
    """Return the mismatches of a whole run; None where nothing was read."""
    found = [n_mismatches(at(plain, path)) for _, path in MISMATCHES_IN]
    known = [n for n in found if n is not None]
    return sum(known) if known else None


def single(run: Run, sides: Sequence[Side]) -> Section:
    """Return the section of a page with one run."""
    plain = run.plain
    never_began = text(plain, "error") is not None
    meaning = _MEANINGS.get(str(plain.get("verdict")), "") if run.report.is_finished else ""
    if never_began:
        meaning = "It ended before its first phase: nothing was written, and nothing checked."
    checked = text(plain, "checked")
    blocks: list[Block] = [
        Cards(
            [
                Card("Verdict", verdict_of(run), meaning, tone_of_run(run)),
                *([] if never_began else _cards(run)),
            ]
        )
    ]
    if checked and not never_began:
        blocks.append(Text(f"Checked: {checked}."))
    blocks += [Text(line, "warning") for side in sides for line in _warnings(side)]
    warm_up = number(plain, "warm_up.cycles")
    if warm_up:
        blocks.append(Text(f"Without the first {count(warm_up)} cycle(s), which are warm-up."))
    if plain.get("interrupted"):
        blocks.append(Text("A signal ended this run before its time.", "warning"))
    return Section("overview", "Verdict and key figures", blocks)


def _warnings(side: Side) -> list[str]:
    """Return what makes the figures of a single run doubtful; the verdict is said already."""
    said = [line.removeprefix(f"{side.name}: 1 of 1 run(s) ") for line in warnings_of(side)]
    told = [line for line in said if not line.startswith("ended with the verdict")]
    return [f"{line[:1].upper()}{line[1:]}." for line in told]


def _doubt_card(write: Mapping[str, Any], read: Mapping[str, Any], unit: str) -> list[Card]:
    """Return the card of what was sent and not acknowledged, if there was any."""
    n_doubt = number(write, "samples_in_doubt")
    if not n_doubt:
        return []
    found = number(read, "samples_indeterminate_found")
    if found is None or read.get("skipped"):
        said = f"{unit} sent and not acknowledged; nothing was read back"
    else:
        rate = si(number(write, "samples_stored_per_s"), "/s")
        said = (
            f"{unit} sent and not acknowledged; {count(found)} of them were found exact:"
            f" {rate} with these"
        )
    return [Card("In doubt", count(n_doubt), said)]


def _cards(run: Run) -> list[Card]:
    plain, unit = run.plain, unit_of(run)
    write, read = branch(plain, "totals.write"), branch(plain, "totals.read")
    cards = []
    if write:
        cards += [
            Card(
                "Written",
                si(number(write, "samples_per_s"), "/s"),
                f"{count(number(write, 'samples_acked'))} {unit} in"
                f" {seconds(number(write, 'duration_s'))}",
            ),
            Card(
                "Payload written",
                f"{three_digits(number(write, 'payload_mb_per_s'))} MB/s",
                f"{size(number(write, 'payload_bytes_acked'))};"
                f" {size(number(write, 'wire_bytes_sent'))} sent",
            ),
            _latency_card("Push latency", write),
            Card(
                "Pushes",
                count(number(write, "pushes_acked")),
                ", ".join(
                    f"{count(n)} {name}"
                    for name in ("retried", "rejected", "indeterminate", "unresolved")
                    if (n := number(write, f"pushes_{name}"))
                )
                or "acknowledged, none of them retried",
            ),
            *_doubt_card(write, read, unit),
            _limit_card("Writing limited by", "writers", write),
        ]
    if read and not read.get("skipped"):
        wrong = all_mismatches(plain)
        cards += [
            Card(
                "Read",
                si(number(read, "samples_per_s"), "/s"),
                f"{count(number(read, 'samples_validated'))} of"
                f" {count(number(read, 'samples_expected'))} {unit} validated",
            ),
            _latency_card("Query latency", read),
            Card(
                "Mismatches",
                count(wrong),
                f"in {count(number(read, 'queries'))} queries"
                + (
                    f", {count(n)} of them asked again"
                    if (n := number(read, "queries_retried"))
                    else ""
                ),
                "verdict-failed" if wrong else "",
            ),
        ]
        if "limited_by" in read:
            cards.append(_limit_card("Reading limited by", "readers", read))
    cards += _target_cards(plain)
    return cards


def _latency_card(name: str, phase: Mapping[str, object]) -> Card:
    refused = number(phase, "refused_service_ms.p99")
    return Card(
        f"{name}, p99",
        milliseconds(number(phase, "service_ms.p99")),
        f"p50 {milliseconds(number(phase, 'service_ms.p50'))},"
        f" highest {milliseconds(number(phase, 'service_ms.max'))}"
        + ("" if refused is None else f"; of answers that refused, p99 {milliseconds(refused)}"),
    )


def _limit_card(title: str, who: str, phase: Mapping[str, object]) -> Card:
    """Return what held a phase back, and where the time of its writers or readers went."""
    limit = text(phase, "limited_by") or NONE
    told = branch(phase, "limited_by_shares")
    shares = [(share, name) for name in told if (share := number(told, name)) is not None]
    large = [
        (share, name) for share, name in sorted(shares, reverse=True) if share > _TELLING_SHARE
    ]
    spent = ", ".join(f"{name.replace('_', ' ')} {100 * share:.0f} %" for share, name in large)
    said = []
    if limit in _HELD_BACK:
        said.append(f"{_HELD_BACK[limit]}: throughput is not the target's capacity")
    if spent:
        said.append(f"time of {who}: {spent}")
    return Card(title, limit, "; ".join(said), "warn" if limit in _HELD_BACK else "")


def _target_cards(plain: object) -> list[Card]:
    target = branch(plain, "totals.target")
    cards = []
    per_gb = number(target, "write_cpu_s_per_gb")
    if per_gb is not None:
        per_million = three_digits(number(target, "write_cpu_s_per_million_samples"))
        cards.append(
            Card(
                "Target's CPU",
                f"{three_digits(per_gb)} s/GB",
                f"of payload written; {per_million} s per million samples",
            )
        )
    memory = number(target, "rss_bytes_max")
    if memory is not None:
        per_stream = number(target, "rss_bytes_per_stream")
        more = "" if per_stream is None else f"{size(per_stream)} per stream"
        cards.append(Card("Target's memory", size(memory), f"at most, resident. {more}".strip()))
    return cards


def several(runs: Sequence[Run], sides: Sequence[Side]) -> Section:
    """Return the section of a page with many runs."""
    finished = [run for run in runs if run.report.is_finished]
    counts = Counter(str(run.plain.get("verdict")) for run in finished)
    cards = [
        Card("Runs", count(len(runs)), f"on {count(len(sides))} sides" if len(sides) > 1 else "")
    ]
    cards += [
        Card(VERDICTS.get(verdict, verdict), count(n), "run(s)", tone_of(verdict))
        for verdict, n in sorted(counts.items())
    ]
    if len(finished) < len(runs):
        cards.append(Card(_UNFINISHED, count(len(runs) - len(finished)), "run(s)", "warn"))
    blocks: list[Block] = [Cards(cards)]
    blocks += [Text(line, "warning") for side in sides for line in warnings_of(side)]
    blocks.append(_run_table(runs, several_sides=len(sides) > 1))
    if len(runs) > 2:
        blocks += by_point(runs, lambda some: _in_order(some, sides))
    return Section("overview", "Verdicts and key figures", blocks)


_COLUMNS: Final = (
    ("written, /s", "write.samples_per_s", si),
    ("written, MB/s", "write.payload_mb_per_s", three_digits),
    ("push p50, ms", "write.service_ms.p50", three_digits),
    ("push p99, ms", "write.service_ms.p99", three_digits),
    ("read, /s", "read.samples_per_s", si),
    ("query p99, ms", "read.service_ms.p99", three_digits),
)


def _run_table(runs: Sequence[Run], *, several_sides: bool) -> RunTable:
    several_points = len(points_of(runs)) > 1
    heads = [
        "run",
        *(["side"] if several_sides else []),
        *(["point"] if several_points else []),
        "verdict",
        "started (UTC)",
    ]
    first_number = len(heads)
    heads += [name for name, _, _ in _COLUMNS]
    heads += ["mismatches", "limited by", "target"]
    rows = []
    for run in runs:
        plain = run.plain
        started = text(plain, "started_at")
        wrong = all_mismatches(plain)
        figures = [(number(plain, f"totals.{path}"), shown) for _, path, shown in _COLUMNS]
        limit = text(plain, "totals.write.limited_by") or NONE
        rows.append(
            [
                Cell(run.name_in_point),
                *([Cell(run.side)] if several_sides else []),
                *([Cell(run.point)] if several_points else []),
                Cell(verdict_of(run), tone=tone_of_run(run)),
                Cell(moment(started), started),
                *(Cell(shown(value), -1.0 if value is None else value) for value, shown in figures),
                Cell(
                    count(wrong),
                    -1.0 if wrong is None else wrong,
                    "verdict-failed" if wrong else "",
                ),
                Cell(limit, tone="warn" if limit in _HELD_BACK else ""),
                Cell(run.target),
            ]
        )
    facets = {
        "target": [run.target for run in runs],
        "verdict": [verdict_of(run) for run in runs],
    }
    if several_points:
        facets = {"point": [run.point for run in runs], **facets}
    if several_sides:
        facets = {"side": [run.side for run in runs], **facets}
    numeric = frozenset(range(first_number, len(heads) - 2))
    return RunTable(Table("All runs", heads, rows, numeric), facets)


def _in_order(runs: Sequence[Run], sides: Sequence[Side]) -> list[Chart]:
    wanted = (
        ("Writing, run by run", "write.samples_per_s", "samples/s", "/s"),
        ("Push latency p99, run by run", "write.service_ms.p99", "p99, ms", " ms"),
        ("Reading, run by run", "read.samples_per_s", "samples/s", "/s"),
        ("Query latency p99, run by run", "read.service_ms.p99", "p99, ms", " ms"),
    )
    charts = []
    for title, path, y_title, unit in wanted:
        figure = _dots(runs, sides, path, y_title, unit)
        if figure["data"]:
            charts.append(Chart(title, _DOTS, figure))
    return charts


def _dots(runs: Sequence[Run], sides: Sequence[Side], path: str, y_title: str, unit: str) -> Figure:
    """Return a dot for each run, by the time at which it began."""
    # only so many sides can be told apart by colour and form; a page shows no more dots than that
    apart = len(sides) <= len(PALETTE)
    names = [side.name for side in sides] if apart else ["all runs"]
    figure = lines([], "started (UTC)", y_title)
    step = -(-len(runs) // _MAX_DRAWN)
    for place, name in enumerate(names):
        points = [
            (started, value, run.name_in_point)
            for run in runs[::step]
            if (run.side == name or not apart)
            and (started := text(run.plain, "started_at")) is not None
            and parsed(started) is not None
            and (value := number(run.plain, f"totals.{path}")) is not None
        ]
        points.sort()
        if points:
            figure["data"].append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": label(name),
                    "x": [started for started, _, _ in points],
                    "y": exact([value for _, value, _ in points]),
                    "text": [label(run_name) for _, _, run_name in points],
                    "marker": {"color": PALETTE[place], "symbol": SYMBOLS[place], "size": 8},
                    "hovertemplate": f"%{{text}}<br>%{{y:{EXACT}}}{unit}<extra></extra>",
                }
            )
    figure["layout"] |= {"hovermode": "closest", "showlegend": len(figure["data"]) > 1}
    figure["layout"]["xaxis"]["type"] = "date"
    figure["layout"]["yaxis"] |= linear_axis([y for one in figure["data"] for y in one["y"]])
    return figure
