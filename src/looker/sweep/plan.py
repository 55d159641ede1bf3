"""The runs of a sweep, in order: points of the matrix, targets, repeats."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from looker.sweep.definition import Order, shown_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from looker.sweep.definition import Definition, SweepTarget

ONLY_POINT: Final = "base"
"""The name of the only point of a sweep without a matrix."""
_MAX_NAME_CHARS: Final = 120
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of the matrix's values; its name is that of a directory."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One repeat (from 1) of one point on one target.

    ``seed`` is the same for all targets, so that they are given the same content.
    """

    target: SweepTarget
    point: Point
    repeat: int
    options: Mapping[str, Any]
    seed: int

    @property
    def place(self) -> PurePath:
        """Where its results are, within the sweep's directory."""
        return PurePath(self.target.name, self.point.name, str(self.repeat))


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep as it is to run."""

    definition: Definition
    points: Sequence[Point]
    runs: Sequence[SweepRun]


def plan_of(definition: Definition) -> Plan:
    """Return the runs in order.

    All runs of a repeat come before the next repeat, so that drift of host and network meets all
    points and targets alike. Interleaved, the targets of a point follow each other directly, in
    turn from the first to the last and from the last to the first.
    """
    points = points_of(definition)
    runs = [
        run
        for repeat in range(1, definition.repeats + 1)
        for run in _block(definition, points, repeat)
    ]
    return Plan(definition, points, runs)


def points_of(definition: Definition) -> list[Point]:
    """Return the points of the matrix, the last option changing fastest."""
    names = list(definition.matrix)
    combinations = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*definition.matrix.values())
    ]
    seen: Counter[str] = Counter()
    points = []
    for options in combinations:
        word = _name(options)
        seen[word] += 1
        # further values, behind those there are, leave names as they were
        points.append(Point(word if seen[word] == 1 else f"{word}~{seen[word]}", options))
    return points


def _name(options: Mapping[str, Any]) -> str:
    """Return a directory's name that says what a point is, without secrets."""
    if not options:
        return ONLY_POINT
    texts = {name: _text(shown_option(name, value)) for name, value in options.items()}
    word = ",".join(f"{name}={_UNSAFE.sub('_', text)}" for name, text in texts.items())
    if len(word) <= _MAX_NAME_CHARS:
        return word
    return f"point-{blake2b(repr(texts).encode(), digest_size=6).hexdigest()}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "+".join(f"{key}.{text}" for key, text in value.items())
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return str(value)


def _block(definition: Definition, points: Sequence[Point], repeat: int) -> Iterator[SweepRun]:
    """Yield the runs of one repeat."""
    pairs = [(point, target) for point in points for target in definition.targets]
    if definition.order is Order.RANDOM:
        # no secret is made of it
        random.Random(f"{definition.seed}/{repeat}").shuffle(pairs)  # noqa: S311
    elif repeat % 2 == 0:
        pairs = [(point, target) for point in points for target in reversed(definition.targets)]
    for point, target in pairs:
        options = {**definition.base, **target.options, **point.options}
        yield SweepRun(target, point, repeat, options, _seed(definition.seed, point, repeat))


def _seed(seed: int, point: Point, repeat: int) -> int:
    """Return a run's seed: 53 bits, as every reader of JSON gets them right."""
    words = f"{seed}/{point.name}/{repeat}".encode()
    return int.from_bytes(blake2b(words, digest_size=8).digest()) >> 11
