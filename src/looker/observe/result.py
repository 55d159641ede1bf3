"""The result of a run as a table for a terminal."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from looker.errors import ExitCode
from looker.model.limit import LimitedBy, generator_advice
from looker.model.report import ReadReport
from looker.observe import terminal
from looker.observe.doubt import resolved, words_of_target
from looker.observe.examples import show_examples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, RenderableType

_STYLES: Final = {
    "passed": "bold green",
    "failed": "bold red",
    "unknown": "bold yellow",
    "not_checked": "bold",
}
_NOT_THE_CAPACITY: Final = {
    "rate_limit": "throughput was held back by the target's rate limit: it is not its capacity",
    "retry": "throughput was held back by pauses after failed pushes: it is not the target's"
    " capacity",
    "throttle": "throughput was held back by the coupling to wall time: it is not the target's"
    " capacity (more streams or a smaller increment allow more)",
    "generator": "throughput was held back by Looker itself, whose cores were busy: it is not the"
    " target's capacity; what helps: ",
    "batch_deadline": "throughput was held back by waiting for full messages"
    " (--batch-deadline-ms): it is not the target's capacity",
    "streams": "throughput was held back by too few streams for so many writers, as a stream has"
    " one fragment on the wire at a time: it is not the target's capacity (more streams, fewer"
    " fragments per message or fewer --max-concurrent-writes)",
    "mixed": "nothing alone held throughput back: it is not the target's capacity; the time of"
    " writers went into ",
}
_READING_HELD_BACK: Final = {
    "rate_limit": "reading was held back by queries that the target refused for their number: it is"
    " not its capacity",
    "retry": "reading was held back by pauses after queries that failed: it is not the target's"
    " capacity",
    "grace": "reading was held back by waiting for what was not there at first"
    " (--read-grace-seconds)",
}
_TELLING_SHARE: Final = 0.05
"""A smaller part of the writers' or readers' time has no row of its own."""
_PASSED: Final = {
    "content": "read back exactly as written",
    "checksum": "read back; each fragment has the checksum of what was sent (content was not"
    " regenerated)",
    "count": "read back by number and time; their content was not checked",
}
_OK: Final = "200"
_MAX_CYCLES: Final = 10
_MAX_STATEMENTS: Final = 5
_NONE: Final = "-"


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what a run, or reading back a ledger, has come to, from its report (version 1)."""
    console = terminal.console() if console is None else console
    newest: deque[Mapping[str, Any]] = deque(maxlen=_MAX_CYCLES)
    n_cycles = 0
    for cycle in report["cycles"]:
        if not cycle.get("warm_up"):
            n_cycles += 1
            newest.append(cycle)
    parts = [(_column(cycle), cycle) for cycle in newest]
    if n_cycles > 1:
        parts.append(("total", report["totals"]))
    unit = "entries" if report.get("ledger", report)["mode"] == "logs" else "samples"
    console.print(Text(_title(report), style="italic", overflow="fold"))
    for one in _figures(parts, unit, console):
        console.print(one)
    for line in _warm_up(report, unit):
        console.print(line)
    show_examples(report, console)
    console.print(Group(*_verdict(report, unit)))


def _figures(
    columns: list[tuple[str, Mapping[str, Any]]], unit: str, console: Console
) -> Sequence[RenderableType]:
    """Return the newest cycles and the total: a table of as many as there is room for.

    Where there is not even room for the last one, its figures one below the other.
    """
    while columns:
        rows = _rows([part for _, part in columns], unit)
        table = Table(show_edge=False, pad_edge=False)
        table.add_column("", no_wrap=True)
        for name, _ in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for name, cells in rows:
            table.add_row(name, *cells)
        if terminal.fits(table, console):
            return [table]
        if len(columns) == 1:
            lines = [(name, cell) for name, (cell,) in rows]
            return terminal.one_below_the_other([(Text(columns[0][0], "bold"), lines)])
        columns = columns[1:]
    return []


def _column(cycle: Mapping[str, Any]) -> str:
    return f"cycle {cycle['cycle']}" if cycle["write"] is not None else "all cycles"


def _warm_up(report: Mapping[str, Any], unit: str) -> list[Text]:
    """Return the line about the cycles that are not in the table, if there were any."""
    warm_up = report.get("warm_up")
    if not warm_up:
        return []
    write, read, n_cycles = warm_up["write"], warm_up["read"], warm_up["cycles"]
    said = (
        f"warm-up: {n_cycles} cycle{'s' if n_cycles != 1 else ''}, not in the figures of the"
        f" others: {_count(write['samples_acked'])} {unit} acknowledged"
    )
    if read is not None and not read["skipped"]:
        said += f", {_count(read['samples_validated'])} validated"
    n_found = sum(_n_found(part) for part in (read, warm_up["spot_check"]))
    return [Text(said + (f", {_count(n_found)} mismatch(es)" if n_found else ""), style="dim")]


def _sums(report: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return one part of the totals and of the warm-up, where there is one."""
    sums = (report["totals"], report.get("warm_up") or {})
    return [part for part in (one.get(name) for one in sums) if part is not None]


def _title(report: Mapping[str, Any]) -> str:
    target = report["target"]
    version = f" {target['version']}" if target["version"] else ""
    where = f"embedded target{version}" if target["embedded"] else f"{target['product']}{version}"
    n_workers = report["config"]["n_workers"]
    return (
        f"{report['mode']} · {report['invocation_id']} · {where} · {target['url']} ·"
        f" {n_workers} worker{'s' if n_workers > 1 else ''}"
    )


def _rows(parts: list[Mapping[str, Any]], unit: str) -> list[tuple[str, list[str]]]:
    reads = [part["read"] for part in parts]
    rows = _write_rows([part["write"] for part in parts if part["write"] is not None], unit)
    if any(read is not None and not read["skipped"] for read in reads):
        rows += [
            (f"read: {unit} validated", [_read(read, "samples_validated") for read in reads]),
            (f"  {unit} expected", [_read(read, "samples_expected") for read in reads]),
            *_found_of_doubt(reads),
            ("  streams", [_read(read, "streams_selected") for read in reads]),
            (
                "  seconds",
                [_NONE if read is None else f"{read['duration_s']:.2f}" for read in reads],
            ),
            ("  queries", [_read(read, "queries") for read in reads]),
            *_query_rows(reads),
            *_visibility(reads),
            (
                "  fragments proved by checksum",
                [_read(read, "fragments_proved_by_checksum") for read in reads],
            ),
            (
                "  mismatches",
                [_n_mismatches(read) for read in reads],
            ),
        ]
    spots = [part.get("spot_check") for part in parts]
    if any(spots):
        rows += [
            (f"spot checks: {unit} validated", [_read(one, "samples_validated") for one in spots]),
            ("  fragments", [_read(one, "fragments") for one in spots]),
            ("  queries", [_read(one, "queries") for one in spots]),
            ("  mismatches", [_n_mismatches(one) for one in spots]),
        ]
    return rows


def _write_rows(writes: list[Mapping[str, Any]], unit: str) -> list[tuple[str, list[str]]]:
    if not writes:
        return []
    rows = [
        (f"written: {unit} acknowledged", [_count(write["samples_acked"]) for write in writes]),
        ("  seconds", [f"{write['duration_s']:.2f}" for write in writes]),
        (f"  {unit} per second", [_count(write["samples_per_s"]) for write in writes]),
        ("  payload MB/s", [f"{write['payload_mb_per_s']:,.1f}" for write in writes]),
        ("  pushes acknowledged", [_count(write["pushes_acked"]) for write in writes]),
        ("  service time p50 / p99 ms", [_quantiles(write["service_ms"]) for write in writes]),
        ("  limited by", [write["limited_by"] or _NONE for write in writes]),
        *_share_rows("writers'", [write["limited_by_shares"] for write in writes]),
    ]
    for name, key in (
        ("  pushes retried", "pushes_retried"),
        ("  pushes divided", "pushes_divided"),
        ("  pushes rejected", "pushes_rejected"),
        ("  pushes indeterminate", "pushes_indeterminate"),
        ("  pushes unresolved", "pushes_unresolved"),
        (f"  {unit} in doubt", "samples_in_doubt"),
        ("  forward leaps", "forward_leaps"),
        (f"  {unit} out of order", "out_of_order_sent"),
        (f"  {unit} sent again", "duplicates_sent"),
        ("    of these refused", "duplicates_refused"),
    ):
        if any(write[key] for write in writes):
            rows.append((name, [_count(write[key]) for write in writes]))
    if any(write["samples_in_doubt"] and write["samples_stored"] is not None for write in writes):
        # what was acknowledged, and what reading has found beside it
        rates = [write["samples_stored_per_s"] for write in writes]
        cells = [_NONE if rate is None else _count(rate) for rate in rates]
        rows.insert(3, ("    with what was found stored", cells))
    return rows


def _share_rows(who: str, shares: Sequence[Mapping[str, float]]) -> list[tuple[str, list[str]]]:
    """Return a row for each thing that took a part of somebody's time worth telling."""
    names = [name for name in shares[0] if any(one[name] >= _TELLING_SHARE for one in shares)]
    return [
        (f"    {who} time: {_words(name)}", [f"{100 * one[name]:.0f} %" for one in shares])
        for name in names
    ]


def _told(shares: Mapping[str, float]) -> str:
    """Return the larger shares in words, the largest first."""
    by_size = sorted(shares.items(), key=lambda item: -item[1])
    large = [
        f"{_words(name)} {100 * share:.0f} %" for name, share in by_size if share >= _TELLING_SHARE
    ]
    return ", ".join(large)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _query_rows(reads: Sequence[Mapping[str, Any] | None]) -> list[tuple[str, list[str]]]:
    """Return the rows about how queries were answered, and what held reading back."""
    rows = []
    # a phase that was not reached, or was skipped
    empty = ReadReport(skipped=True).to_json()
    parts = [empty if read is None else read for read in reads]
    if any(read["queries_retried"] for read in parts):
        rows.append(("    retried", [_count(read["queries_retried"]) for read in parts]))
    statuses = sorted({status for read in parts for status in read["responses_by_status"]})
    for status in statuses:
        if status != _OK:
            counts = [read["responses_by_status"].get(status, 0) for read in parts]
            rows.append((f"    answered {status}", list(map(_count, counts))))
    limits = [read["limited_by"] or _NONE for read in parts]
    rows.append(("  limited by", limits))
    return rows + _share_rows("readers'", [read["limited_by_shares"] for read in parts])


def _found_of_doubt(reads: list[Mapping[str, Any] | None]) -> list[tuple[str, list[str]]]:
    """Return the row of what was found though it was never acknowledged, if anything was."""
    key = "samples_indeterminate_found"
    if not any(read is not None and read[key] for read in reads):
        return []
    return [("  found of what was in doubt", [_read(read, key) for read in reads])]


def _visibility(reads: list[Mapping[str, Any] | None]) -> list[tuple[str, list[str]]]:
    """Return the rows about what was not there when first asked for, if there was any."""
    if not any(read is not None and read["streams_awaited"] for read in reads):
        return []
    quantiles = [_NONE if read is None else _quantiles(read["visible_after_ms"]) for read in reads]
    return [
        ("  streams awaited", [_read(read, "streams_awaited") for read in reads]),
        ("  visible after p50 / p99 ms", quantiles),
    ]


def _said(report: Mapping[str, Any], unit: str) -> str:
    """Return what the verdict comes from."""
    verdict, reads = report["verdict"], _sums(report, "read")
    if verdict == "passed":
        n_expected = sum(read["samples_expected"] for read in reads)
        said = f"all {_count(n_expected)} {unit} {_PASSED[reads[0]['verify']]}"
        n_acked = _n_acked(report)
        if n_expected < n_acked:
            said += f" (of {_count(n_acked)} that were acknowledged)"
        return said
    if verdict == "not_checked":
        return "nothing was read back, as you asked"
    if verdict == "failed":
        n_found = sum(map(_n_found, (*reads, *_sums(report, "spot_check"))))
        return f"{_count(n_found)} mismatch(es)"
    for read in reads:
        if read["missing_because"]:
            return f"{_count(read['mismatches']['missing'])} missing: {read['missing_because']}"
    if report["interrupted"]:
        return "interrupted before all was read back"
    return "reading back was not completed, or there was nothing to read"


def _statements(report: Mapping[str, Any]) -> list[Text]:
    """Return what answers to queries said of themselves."""
    said: Counter[str] = Counter()
    for part in (*_sums(report, "read"), *_sums(report, "spot_check")):
        for one in part.get("statements") or ():
            said[one["said"]] += one["answers"]
    lines = [
        Text(f"{_count(n)} answer(s) said of themselves: {words}", style="yellow")
        for words, n in said.most_common(_MAX_STATEMENTS)
    ]
    if len(said) > _MAX_STATEMENTS:
        lines.append(Text(f"and {len(said) - _MAX_STATEMENTS} other statements, in the report"))
    return lines


def _verdict(report: Mapping[str, Any], unit: str) -> list[Text]:
    verdict, reads = report["verdict"], _sums(report, "read")
    lines = [Text("")]
    style = _STYLES[verdict]
    if verdict == "passed" and report["exit_code"] not in (ExitCode.PASSED, ExitCode.THRESHOLD):
        style = "bold yellow"
    writes = _sums(report, "write")
    in_doubt = resolved(report, writes, reads, unit)
    said = "; ".join(filter(None, (_said(report, unit), in_doubt)))
    lines.append(Text(f"{verdict}: {said}", style=style))
    if verdict != "passed" and _how(reads) in ("checksum", "count"):
        lines.append(Text(f"what was checked: {report['checked']}"))
    lines += _statements(report)
    if report["totals"]["write"] is None:
        return [*lines, *_queries(reads), *_ends(report)]
    lines += _target_used(report["totals"].get("target"))
    dropped = (report.get("target_usage") or {}).get("dropped")
    if dropped:
        said = f"told by the target, but no measure, so dropped: {', '.join(dropped)}"
        lines.append(Text(said, style="yellow"))
    measured = (cycle for cycle in report["cycles"] if not cycle.get("warm_up"))
    limits = {cycle["write"]["limited_by"] for cycle in measured}
    lines += [
        Text(_NOT_THE_CAPACITY[limit] + _advice(report, limit), style="yellow")
        for limit in sorted(limits & _NOT_THE_CAPACITY.keys())
    ]
    lines += [
        Text(f"the target said: {line}", style="dim")
        for line in words_of_target(writes, passed=verdict == "passed")
    ]
    lines += _queries(reads)
    return [*lines, *_ends(report)]


def _queries(reads: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Return lines on what held reading back, and on what was said to queries."""
    held_back = {read["limited_by"] for read in reads} & _READING_HELD_BACK.keys()
    lines = [Text(_READING_HELD_BACK[limit], style="yellow") for limit in sorted(held_back)]
    return lines + [
        Text(f"the target said to queries: {line}", style="dim")
        for line in words_of_target(reads, passed=True)
    ]


def _target_used(used: Mapping[str, Any] | None) -> list[Text]:
    """Return a line on what the target itself used, as far as it told."""
    if used is None:
        return []
    parts = []
    writing_s, reading_s, all_s = used["write_cpu_s"], used["read_cpu_s"], used["cpu_s"]
    if writing_s is not None:
        per_gb = used["write_cpu_s_per_gb"]
        rate = "" if per_gb is None else f" ({_seconds(per_gb)} s per GB)"
        reading = "" if reading_s is None else f", {_seconds(reading_s)} reading"
        parts.append(f"{_seconds(writing_s)} CPU s writing{rate}{reading}")
    elif all_s is not None:
        parts.append(f"{_seconds(all_s)} CPU s")
    if used["rss_bytes_max"] is not None:
        parts.append(f"{used['rss_bytes_max'] / 1e6:,.0f} MB resident at most")
    return [Text(f"target used: {'; '.join(parts)}")] if parts else []


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds >= 0.1 else f"{seconds:.3f}"


def _ends(report: Mapping[str, Any]) -> list[Text]:
    """Return what ended the run early, or was at fault."""
    refusals = dict.fromkeys(write["refusal"] for write in _sums(report, "write"))
    errors = dict.fromkeys(read["error"] for read in _sums(report, "read"))
    lines = [
        *(
            Text(f"but pushes failed (exit code 3): {refusal}", style="bold yellow")
            for refusal in filter(None, refusals)
        ),
        *(Text(f"reading ended early: {error}", style="yellow") for error in filter(None, errors)),
    ]
    lines += [Text(f"fault: {fault}", style="bold red") for fault in report["faults"]]
    return [*lines, *map(_threshold, report.get("thresholds", ()))]


def _threshold(threshold: Mapping[str, Any]) -> Text:
    expr, value, breached = threshold["expr"], threshold["value"], threshold["breached"]
    found = "it has no value" if value is None else f"it is {value:,.6g}"
    if breached is None:
        if value is not None:
            found += ", of nothing"
        return Text(f"threshold not judged (exit code 2): {expr}; {found}", style="bold red")
    if breached:
        return Text(f"threshold breached (exit code 4): {expr}; {found}", style="bold red")
    if value is None:
        found = "there was none"
    return Text(f"threshold kept: not {expr}; {found}", style="dim")


def _advice(report: Mapping[str, Any], limit: str) -> str:
    if limit == LimitedBy.MIXED:
        return _told(report["totals"]["write"]["limited_by_shares"])
    if limit != LimitedBy.GENERATOR:
        return ""
    config = report["config"]
    return generator_advice(
        mode=report["mode"],
        n_workers=config["n_workers"],
        n_cores=report["environment"]["n_usable_cores"],
        n_samples=config["n_samples_per_fragment"],
        n_fragments=config["n_fragments_per_message"],
    )


def _n_acked(report: Mapping[str, Any]) -> int:
    """Return how many samples were acknowledged, by this run or by that of the ledger."""
    writes = _sums(report, "write")
    if writes:
        return sum(write["samples_acked"] for write in writes)
    n_samples = report["config"]["n_samples_per_fragment"]
    return int(report["ledger"]["fragments_acknowledged"] * n_samples)


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _read(read: Mapping[str, Any] | None, key: str) -> str:
    return _NONE if read is None else _count(read[key])


def _n_mismatches(read: Mapping[str, Any] | None) -> str:
    return _NONE if read is None else _count(_n_found(read))


def _n_found(found: Mapping[str, Any] | None) -> int:
    return 0 if found is None else sum(found["mismatches"].values())


def _how(reads: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how what was read was checked: of a run always in one way."""
    return next((read["verify"] for read in reads), None)


def _quantiles(summary: Mapping[str, Any]) -> str:
    if summary["p50"] is None:
        return _NONE
    return f"{summary['p50']:.1f} / {summary['p99']:.1f}"
