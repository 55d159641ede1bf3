"""What is compared with what: reports, directories of them, and targets and points of sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from looker.analysis.likeness import named
from looker.analysis.reports import Report, Side, read_report, read_side
from looker.errors import UsageError
from looker.sweep.store import REPORT_FILE, finished_runs, is_sweep, read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BASELINE: Final = "BASELINE"
CONTENDER: Final = "CONTENDER"
ALL_POINTS: Final = "all points"
_MAX_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Match:
    """Two sides whose runs, in order, are pairs.

    ``point`` is the point of a sweep that both ran; None where there is but one match of the two.
    """

    baseline: Side
    contender: Side
    point: str | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """All matches of one comparison, and notes on what is not in them."""

    matches: Sequence[Match]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SweepPart:
    """One target of a sweep: its runs that have a sound result, by point and repeat."""

    path: Path
    target: str
    point: str | None
    """The point that was named; None where the whole target was."""
    runs: Mapping[str, Mapping[int, Path]]
    failed: list[str] = field(default_factory=list)


def read_matches(baseline: Path, contenders: Sequence[Path]) -> Matches:
    """Return what is to be compared; UsageError where an argument holds no runs.

    Of sweeps, runs of the same point and the same repeat are pairs. A sweep alone compares its
    targets with the first of them.
    """
    if not contenders:
        baseline, contenders = _targets_of(baseline)
    arguments = [(baseline, BASELINE), *((path, CONTENDER) for path in contenders)]
    parts = [part_of(path, option) for path, option in arguments]
    base, *others = parts
    if base is None or any(other is None for other in others):
        side, *sides = (read_side(path, option) for path, option in arguments)
        return Matches([Match(side, other) for other in sides])
    found = [_matched(base, other) for other in others if other is not None]
    left_out = [line for part in parts if part is not None for line in _left_out(part)]
    notes = [*left_out, *(note for one in found for note in one.notes)]
    return Matches([match for one in found for match in one.matches], notes)


def _targets_of(path: Path) -> tuple[Path, list[Path]]:
    if not is_sweep(path):
        raise UsageError(CONTENDER, "is wanting: only a sweep of several targets is compared alone")
    first, *others = (path / target for target in read_facts(path).targets)
    if not others:
        raise UsageError(
            BASELINE, f"the sweep {path} has one target: give two directories to compare"
        )
    return first, others


def part_of(path: Path, option: str) -> SweepPart | None:
    """Return the part of a sweep that a directory is; None where it is of no sweep.

    A sweep of one target stands for that; UsageError, naming ``option``, where it has several.
    """
    path = path.resolve() if path.is_symlink() else path
    if is_sweep(path):
        targets = read_facts(path).targets
        if len(targets) > 1:
            names = ", ".join(str(path / target) for target in targets[:_MAX_NAMED])
            raise UsageError(
                option, f"the sweep {path} has several targets: give one, like {names}"
            )
        return _part(path, path / targets[0], targets[0], None)
    full = path.absolute()
    if is_sweep(full.parent):
        return _part(full.parent, path, full.name, None)
    if is_sweep(full.parent.parent):
        return _part(full.parent.parent, path, full.parent.name, full.name)
    return None


def _part(root: Path, path: Path, target: str, point: str | None) -> SweepPart | None:
    facts = read_facts(root)
    if target not in facts.targets or (point is not None and point not in facts.points):
        return None
    points = facts.points if point is None else {point: facts.points[point]}
    runs: dict[str, dict[int, Path]] = {}
    part = SweepPart(path, target, point, runs)
    for place, record in finished_runs(root, replace(facts, targets=[target], points=points)):
        if record.error is None:
            directory = path if point is not None else path / record.point
            runs.setdefault(record.point, {})[record.repeat] = directory / place.name
        else:
            part.failed.append(f"{record.point}/{record.repeat}: {record.error}")
    return part


def _matched(base: SweepPart, other: SweepPart) -> Matches:
    """Match two parts point by point, and all points together where there are several."""
    if base.point is not None and other.point is not None:
        pairs = [(base.point, other.point)]
    else:
        pairs = [(point, point) for point in base.runs if point in other.runs]
    matches, notes = [], []
    for mine, theirs in pairs:
        match, extra = _paired(base, mine, other, theirs)
        if extra:
            notes.append(
                f"{mine}: {extra} run(s) are left out: the other side has no sound run of that"
                " repeat"
            )
        if match is not None:
            matches.append(match)
    if not matches:
        raise UsageError(
            CONTENDER, f"{other.path} and {base.path} have no point and repeat that both ran"
        )
    alone = sorted(base.runs.keys() ^ other.runs.keys()) if base.point is None else []
    if alone:
        notes.append(f"only one side ran {', '.join(alone[:_MAX_NAMED])}: left out")
    if len(matches) == 1:
        return Matches([Match(matches[0].baseline, matches[0].contender)], notes)
    return Matches([_pooled(base, other, matches), *matches], notes)


def _paired(base: SweepPart, mine: str, other: SweepPart, theirs: str) -> tuple[Match | None, int]:
    """Return the pairs of two points, and how many runs are in none."""
    ours, others = base.runs.get(mine, {}), other.runs.get(theirs, {})
    repeats = sorted(ours.keys() & others.keys())
    n_extra = len(ours) + len(others) - 2 * len(repeats)
    if not repeats:
        return None, n_extra
    return Match(_side(ours, repeats, BASELINE), _side(others, repeats, CONTENDER), mine), n_extra


def _side(runs: Mapping[int, Path], repeats: Sequence[int], option: str) -> Side:
    reports = [read_report(runs[repeat] / REPORT_FILE, option) for repeat in repeats]
    return Side(str(runs[repeats[0]].parent), reports)


def _pooled(base: SweepPart, other: SweepPart, matches: Sequence[Match]) -> Match:
    def all_of(sides: Sequence[Side]) -> list[Report]:
        return [report for side in sides for report in side.reports]

    return Match(
        Side(str(base.path), all_of([match.baseline for match in matches])),
        Side(str(other.path), all_of([match.contender for match in matches])),
        ALL_POINTS,
    )


def _left_out(part: SweepPart) -> list[str]:
    if not part.failed:
        return []
    said = named(part.failed, _MAX_NAMED)
    return [f"{part.path}: {len(part.failed)} run(s) failed and are left out: {said}"]
