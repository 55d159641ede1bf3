"""What went wrong: mismatches in full, thresholds, faults, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from looker.analysis.page.blocks import Block, Cell, Evidence, Listing, Mark, Table, Text
from looker.analysis.page.lookup import at, branch, branches, elements, number, text
from looker.analysis.page.overview import MISMATCHES_IN, n_mismatches
from looker.analysis.page.wording import NONE, count, three_digits
from looker.model.mismatch import MismatchKind, first_difference
from looker.observe.examples import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from looker.analysis.page.runs import Run

MAX_EXAMPLES: Final = 20
"""So many mismatches of a run are shown in full; all are counted."""
_MAX_LINES: Final = 50
_MAX_CHARS: Final = 1000
_CAME_OF_IT: Final[Mapping[object, str]] = {True: "✗ breached", False: "✓ kept"}
_MEANINGS: Final[Mapping[str, str]] = {
    MismatchKind.MISSING: "acknowledged, and did not come back within the grace period",
    MismatchKind.DUPLICATE: "came back more than once",
    MismatchKind.CORRUPT: "came back with another content",
    MismatchKind.OUT_OF_ORDER: "came back after a later one of its stream",
    MismatchKind.UNEXPECTED: "came back, and nobody wrote it",
    MismatchKind.WRONG_LABELS: "a stream with another label set than was written",
    MismatchKind.TRANSIENT: "an answer was wrong, and a later one to the same question was not",
    MismatchKind.INCONSISTENT: "one answer had it, and a later one lacked it",
}


def mismatches_of(run: Run) -> list[Block]:
    """Return the counts by kind and the examples in full; nothing where there are none."""
    plain = run.plain
    parts = [(name, branch(plain, path)) for name, path in MISMATCHES_IN]
    found = [(name, part) for name, part in parts if n_mismatches(part)]
    said: list[Block] = [
        Text(f"{count(n)} answer(s) said of themselves: {visible(words)}", "warning")
        for _, part in parts
        for one in branches(part, "statements")
        if (words := text(one, "said")) is not None and (n := number(one, "answers")) is not None
    ]
    if not found:
        return said
    blocks: list[Block] = [*said, _counts(found)]
    blocks += [
        Text(f"Missing samples have another cause: {cause}.", "warning")
        for _, part in found
        if (cause := text(part, "missing_because")) is not None
    ]
    examples = _examples(plain)
    total = sum(n_mismatches(part) or 0 for _, part in found)
    if len(examples[:MAX_EXAMPLES]) < total:
        n_shown = len(examples[:MAX_EXAMPLES])
        blocks.append(Text(f"The first {n_shown} of {count(total)} in full:"))
    is_logs = (text(plain, "ledger.mode") or text(plain, "mode")) == "logs"
    return [*blocks, *(_evidence(one, is_logs=is_logs) for one in examples[:MAX_EXAMPLES])]


def _examples(plain: Mapping[str, object]) -> list[Mapping[str, Any]]:
    """Return the examples of the totals; of reports that have none there, those of the cycles."""
    keys = ("read", "spot_check")
    found = [one for _, path in MISMATCHES_IN for one in branches(plain, f"{path}.examples")]
    if found:
        return found
    return [
        one
        for cycle in branches(plain, "cycles")
        for key in keys
        for one in branches(cycle, f"{key}.examples")
    ]


def _counts(found: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    kinds = dict.fromkeys(
        kind for _, part in found for kind, n in branch(part, "mismatches").items() if n
    )
    rows = [
        [
            Cell(kind),
            *(Cell(count(number(part, f"mismatches.{kind}"))) for _, part in found),
            Cell(_MEANINGS.get(kind, "")),
        ]
        for kind in kinds
    ]
    heads = ["kind", *(name for name, _ in found), "what that means"]
    return Table("Mismatches by kind", heads, rows, frozenset(range(1, len(found) + 1)))


def _evidence(example: Mapping[str, Any], *, is_logs: bool) -> Evidence:
    kind = text(example, "kind") or NONE
    labels = branch(example, "labels")
    facts = []
    if labels:
        pairs = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        facts.append(("labels", visible(f"{{{pairs}}}")))
    place = [
        f"{name} {count(value)}"
        for name, key in (("cycle", "cycle"), ("fragment", "fragment"), ("sample", "position"))
        if (value := number(example, key)) is not None
    ]
    facts.append(("place", ", ".join(place)))
    moment = text(example, "timestamp")
    if moment is not None:
        facts.append(("time", f"{visible(moment)} ({at(example, 'timestamp_ns')} ns)"))
    for name in ("answers", "received_later"):
        said = text(example, name)
        if said is not None:
            facts.append((name.replace("_", " "), visible(said)))
    first = number(example, "first_difference")
    if first is not None:
        unit = "byte" if is_logs and kind != MismatchKind.WRONG_LABELS else "character"
        facts.append(("first difference", f"{unit} {count(first)}, counted from 0"))
    names = (("url", "URL"), ("curl", "curl"), ("logcli", "logcli"))
    commands = [
        (name, visible(command))
        for key, name in names
        if (command := text(example, f"query.{key}")) is not None
    ]
    title = f"{kind}: {visible(text(example, 'stream') or NONE)}"
    return Evidence(title, _MEANINGS.get(kind, ""), facts, _sides(example), commands)


def _sides(example: Mapping[str, Any]) -> list[tuple[str, Mark]]:
    """Return what was expected and what came, the first character that differs marked."""
    expected, received = (text(example, side) for side in ("expected", "received"))
    mark = None
    if expected is not None and received is not None:
        mark = first_difference(expected, received)
    return [
        (name, _marked(content, mark))
        for name, content in (("expected", expected), ("received", received))
        if content is not None
    ]


def _marked(content: str, at: int | None) -> Mark:
    if at is None:
        return Mark(visible(content))
    return Mark(
        visible(content[:at]), visible(content[at : at + 1]) or "␃", visible(content[at + 1 :])
    )


def thresholds_of(runs: Sequence[Run]) -> list[Block]:
    """Return all conditions of ``--fail-if`` and what came of them."""
    rows = []
    several = len(runs) > 1
    for run in runs:
        for one in branches(run.plain, "thresholds"):
            came_of_it = _CAME_OF_IT.get(one.get("breached"), "? not judged")
            cells = [
                Cell(visible(text(one, "expr") or NONE)),
                Cell(three_digits(number(one, "value"))),
                Cell(came_of_it, tone="" if one.get("breached") is False else "worse"),
            ]
            rows.append([Cell(run.name), *cells] if several else cells)
    if not rows:
        return []
    # what is breached comes first, so that it is never among those left out
    rows.sort(key=lambda row: not row[-1].tone)
    heads = [*(["run"] if several else []), "condition", "value", "result"]
    table = Table("Thresholds", heads, rows[:_MAX_LINES], frozenset({len(heads) - 2}), titled=True)
    blocks: list[Block] = [table]
    if len(rows) > _MAX_LINES:
        blocks.append(Text(f"{count(len(rows) - _MAX_LINES)} more are not shown."))
    return blocks


def _words_of_target(write: Mapping[str, Any]) -> list[str]:
    """Return what the target said of pushes most often, by status, where some are in doubt."""
    if not number(write, "samples_in_doubt"):
        return []
    lines = []
    for status in branch(write, "reasons_by_status"):
        for said in branches(write, f"reasons_by_status.{status}")[:1]:
            words = text(said, "text") or "(without a word)"
            n_answers = number(write, f"responses_by_status.{status}")
            lines.append(f"the target said, {status}, {count(n_answers)} times: {words}")
    return lines


def faults_of(runs: Sequence[Run]) -> list[Block]:
    """Return Looker's own faults, refusals of the target, and why reading ended early."""
    several = len(runs) > 1
    lines = []
    for run in runs:
        plain = run.plain
        said = [f"Looker: {fault}" for fault in elements(plain, "faults") if isinstance(fault, str)]
        for what, path in (
            ("before its first phase", "error"),
            ("a push was refused", "totals.write.refusal"),
            ("reading back", "totals.read.error"),
            ("spot checks", "totals.spot_check.error"),
            ("the target's metrics", "target_usage.error"),
        ):
            reason = text(plain, path)
            if reason is not None:
                said.append(f"{what}: {reason}")
        said += _words_of_target(branch(plain, "totals.write"))
        prefix = f"{run.name}: " if several else ""
        lines += [visible(f"{prefix}{line}")[:_MAX_CHARS] for line in said]
    if not lines:
        return []
    shown = lines[:_MAX_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {count(len(lines) - len(shown))} more")
    return [Listing("Faults and refusals", shown, "error")]
