"""Faults of the embedded target: which there are, how they are asked for, and when they strike.

Deciding is apart from damaging: nothing here knows what a push or an answer looks like.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from looker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

On = Literal["push", "query", "both"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: what each of its opportunities is, and what it may be told.

    ``seconds`` is the default of a duration, None where there is none; ``on`` tells that it may
    strike pushes or queries.
    """

    opportunity: Literal["entry", "fragment", "pair", "element", "answer", "push", "request"]
    seconds: float | None = None
    on: bool = False


KINDS: Final[dict[str, Kind]] = {
    "drop-fragment": Kind("fragment"),
    "duplicate-fragment": Kind("fragment"),
    "drop-entry": Kind("entry"),
    "duplicate-entry": Kind("entry"),
    "corrupt-byte": Kind("entry"),
    "truncate-line": Kind("entry"),
    "shift-timestamp": Kind("entry"),
    "foreign-entry": Kind("entry"),
    "swap-entries": Kind("pair"),
    "wrong-label": Kind("element"),
    "merge-streams": Kind("element"),
    "split-streams": Kind("element"),
    "stale-read": Kind("answer"),
    "short-page": Kind("answer"),
    "truncated-json": Kind("answer"),
    "wrong-content-type": Kind("answer"),
    "http-429": Kind("request", on=True),
    "http-500": Kind("request", on=True),
    "http-503": Kind("request", on=True),
    "retry-after": Kind("request", seconds=1.0, on=True),
    "slow": Kind("request", seconds=1.0, on=True),
    "hang": Kind("request", seconds=600.0, on=True),
    "reset-before-store": Kind("push"),
    "reset-after-store": Kind("push"),
    "ack-without-store": Kind("push"),
    "store-then-500": Kind("push"),
    "partial-400": Kind("push"),
}
"""The kinds by name. An *opportunity* is what a fault may strike or spare.

``entry``, ``fragment``: each one that is stored (a fragment is one stream's part of a push).
``pair``, ``element``: two neighbouring entries, and a stream, in the answer to a query.
``answer``: a query that finds anything. ``request``: a push, or such a query.
"""

_UNSTORED: Final = frozenset(
    {"http-429", "http-500", "http-503", "retry-after", "slow", "hang", "reset-before-store",
     "reset-after-store", "store-then-500"}
)  # fmt: skip
"""What can happen to a push where nothing is stored."""
_NUMBERS: Final = ("every", "rate", "times", "after", "seconds")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that was asked for.

    Of the opportunities behind the first ``after``, every ``every``-th is struck, or each with
    probability ``rate`` (if not None); at most ``times`` (if not None). ``on`` and ``seconds``
    are for the kinds that have them.
    """

    kind: str
    every: int = 1
    rate: float | None = None
    times: int | None = 1
    after: int = 0
    on: On = "push"
    seconds: float = 0.0

    @property
    def needs_store(self) -> bool:
        """Whether it has no meaning where nothing is stored."""
        return self.kind not in _UNSTORED or self.on != "push"


def parse_faults(texts: Iterable[str]) -> tuple[Fault, ...]:
    """Parse values of ``--fault``: ``KIND[:NAME=VALUE…][,…]``. Raises UsageError.

    With neither ``every`` nor ``rate`` only the first opportunity is struck, or the first
    ``times``; with one of them there is no end unless ``times`` sets one.
    """
    return tuple(_parse(one) for text in texts for one in text.split(","))


def _parse(text: str) -> Fault:
    kind, *words = text.strip().split(":")
    if kind not in KINDS:
        raise UsageError("--fault", f"{kind!r} is no kind of fault{_nearest(kind, list(KINDS))}")
    traits = KINDS[kind]
    known = ["every", "rate", "times", "after"]
    known += ["seconds"] * (traits.seconds is not None) + ["on"] * traits.on
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in known:
            raise UsageError("--fault", f"{kind} takes no {name!r}{_nearest(name, known)}")
        if not equals or not value:
            raise UsageError("--fault", f"{kind}:{word} is not of the form NAME=VALUE")
        if name in given:
            raise UsageError("--fault", f"{kind}: {name} is given twice")
        given[name] = value
    if "every" in given and "rate" in given:
        raise UsageError("--fault", f"{kind}: give either every or rate")
    on = given.get("on", "push")
    if on not in {"push", "query", "both"}:
        raise UsageError("--fault", f"{kind}: on={on} is none of push, query, both")
    numbers = {name: _number(kind, name, given[name]) for name in _NUMBERS if name in given}
    endless = "every" in given or "rate" in given
    times = int(numbers["times"]) if "times" in numbers else None if endless else 1
    return Fault(
        kind,
        every=int(numbers.get("every", 1)),
        rate=numbers.get("rate"),
        times=times,
        after=int(numbers.get("after", 0)),
        on="push" if on == "push" else "query" if on == "query" else "both",
        seconds=numbers.get("seconds", traits.seconds or 0.0),
    )


def _nearest(word: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, known, 1, 0.5)
    return f": did you mean {found[0]}?" if found else f": there is {', '.join(known)}"


def _number(kind: str, name: str, text: str) -> float:
    """Parse a parameter's value; UsageError says what would be right."""
    try:
        value = float(text) if name in {"rate", "seconds"} else int(text)
    except ValueError:
        value = math.nan
    low, high, right = {
        "rate": (0.0, 1.0, "a probability from 0 to 1"),
        "seconds": (0.0, 86_400.0, "a number of seconds, up to a day"),
        "after": (0, 1 << 62, "a whole number from 0 on"),
    }.get(name, (1, 1 << 62, "a whole number from 1 on"))
    if not low <= value <= high:
        raise UsageError("--fault", f"{kind}: {name}={text} is not {right}")
    return value


class Schedule:
    """When one fault strikes: the same for the same opportunities, however they are grouped."""

    def __init__(self, fault: Fault, seed: Sequence[int]) -> None:
        self.fault = fault
        self._random = np.random.default_rng(seed)
        self._n_seen = 0
        self._n_left = fault.times

    def take(self, n: int) -> Mask:
        """Tell which of the next ``n`` opportunities are struck, bool (n,)."""
        fault = self.fault
        behind = np.arange(self._n_seen + 1, self._n_seen + n + 1) - fault.after
        self._n_seen += n
        struck = behind > 0
        if fault.rate is not None:
            struck &= self._random.random(n) < fault.rate
        elif fault.every > 1:
            struck &= behind % fault.every == 0
        if self._n_left is not None:
            struck[np.flatnonzero(struck)[self._n_left :]] = False
            self._n_left -= int(np.count_nonzero(struck))
        return struck


class Faults:
    """The faults of one target, and how many of each kind were injected."""

    def __init__(self, given: Sequence[Fault], seed: int) -> None:
        schedules = [Schedule(fault, (seed, number)) for number, fault in enumerate(given)]
        self._of_kind: dict[str, list[Schedule]] = {}
        for schedule in schedules:
            self._of_kind.setdefault(schedule.fault.kind, []).append(schedule)
        self.of_pushes, self.of_queries = (
            [
                schedule
                for schedule in schedules
                if KINDS[schedule.fault.kind].opportunity in whole
                and (not KINDS[schedule.fault.kind].on or schedule.fault.on in {on, "both"})
            ]
            for on, whole in (("push", {"request", "push"}), ("query", {"request"}))
        )
        self.n_injected = dict.fromkeys(KINDS, 0)

    def take(self, kind: str, n: int) -> NDArray[np.intp] | None:
        """Return which of the next ``n`` opportunities of a kind are struck; None for none."""
        schedules = self._of_kind.get(kind)
        if schedules is None or n == 0:
            return None
        struck = np.flatnonzero(np.logical_or.reduce([one.take(n) for one in schedules]))
        self.n_injected[kind] += len(struck)
        return struck if len(struck) else None

    def strikes(self, schedule: Schedule) -> bool:
        """Tell whether one of ``of_pushes`` or ``of_queries`` strikes this time."""
        struck = bool(schedule.take(1)[0])
        self.n_injected[schedule.fault.kind] += struck
        return struck

    def any_of(self, *kinds: str) -> bool:
        """Whether one of these kinds was asked for."""
        return any(kind in self._of_kind for kind in kinds)

    @property
    def totals(self) -> str:
        """What was injected, in words; empty where nothing was asked for."""
        return ", ".join(f"{kind} {self.n_injected[kind]}" for kind in self._of_kind)
