"""What a result says of samples that were never acknowledged, and of the target's own words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAX_LINES: Final = 8
_SUCCESSES: Final = frozenset({"200", "202", "204"})


def resolved(
    report: Mapping[str, Any],
    writes: Sequence[Mapping[str, Any]],
    reads: Sequence[Mapping[str, Any]],
    unit: str,
) -> str | None:
    """Return what reading has shown of what was in doubt; None where nothing was.

    ``writes`` and ``reads`` are the sums of a report of a run, or of reading back a ledger.
    """
    n_doubt = _n_in_doubt(report, writes)
    if not n_doubt:
        return None
    whose = f"{n_doubt:,} {unit} that were never acknowledged"
    checked = [read for read in reads if not read["skipped"]]
    if not checked:
        return f"{n_doubt:,} {unit} were never acknowledged"
    n_found = sum(read["samples_indeterminate_found"] for read in checked)
    found = "found" if checked[0]["verify"] == "count" else "found exact"
    if report["interrupted"] or any(read["error"] for read in checked):
        return f"of {whose}, {n_found:,} were {found} before reading ended"
    if n_found == n_doubt or _is_sparse(report):
        return f"{n_found:,} {unit} that were never acknowledged were {found}"
    if not n_found:
        return f"none of {whose} was found"
    return f"{n_found:,} of {whose} were {found}"


def words_of_target(phases: Iterable[Mapping[str, Any]], *, passed: bool) -> list[str]:
    """Return a line for each status (or failure) with words: how often it came, what was said.

    Of a success only where something is in doubt or not as it should be.
    """
    counts: Counter[str] = Counter()
    texts: dict[str, Counter[str]] = {}
    for phase in phases:
        counts.update(phase["responses_by_status"])
        # of what was written
        passed = passed and not phase.get("samples_in_doubt")
        for status, said in phase["reasons_by_status"].items():
            texts.setdefault(status, Counter()).update({one["text"]: one["count"] for one in said})
    shown = sorted(texts, key=lambda status: (-counts[status], status))
    shown = [status for status in shown if not (passed and status in _SUCCESSES)]
    lines = []
    for status in sorted(shown[:_MAX_LINES]):
        said = texts[status]
        (text, n_times), *others = said.most_common()
        n_all = counts[status]
        part = f", {n_times:,} of them" if others or n_times < n_all else ""
        kind = f"answer {status}" if status.isdigit() else status
        lines.append(f"{kind}, {_times(n_all)}{part}: {text or '(without a word)'}")
    if len(shown) > _MAX_LINES:
        lines.append(f"and {len(shown) - _MAX_LINES} other kinds of answers")
    return lines


def _n_in_doubt(report: Mapping[str, Any], writes: Sequence[Mapping[str, Any]]) -> int:
    if writes or not report.get("ledger"):
        return sum(write["samples_in_doubt"] for write in writes)
    ledger = report["ledger"]
    n_fragments = ledger["fragments"] - ledger["fragments_acknowledged"]
    return int(n_fragments * report["config"]["n_samples_per_fragment"])


def _is_sparse(report: Mapping[str, Any]) -> bool:
    """Whether only some streams were read."""
    ledger = report.get("ledger")
    if ledger is not None:
        return bool(ledger["sample_fraction"] < 1)
    return report["config"]["read_n_streams"] is not None


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n:,} times"
