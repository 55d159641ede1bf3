"""Prometheus' and Cortex' queries: instants, ranges, labels, label values and series."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from looker.target import prometheus_json
from looker.target.answers import Answer, Request, decimal_ns, duration_ms, rfc3339_ns, within
from looker.target.bodies import shown_bytes
from looker.target.effort import check, checked, expect
from looker.target.matchers import Matcher, SelectorError, parse_vector_selector, quote
from looker.target.memory import LoanError
from looker.target.prometheus_json import (
    error_json,
    labels_json,
    matrix,
    scalar,
    string_json,
    vector,
)
from looker.target.series_store import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from numpy.typing import NDArray

    from looker.clock import Clock
    from looker.target.config import TargetConfig
    from looker.target.damage import AnswerDamage
    from looker.target.matchers import Labels
    from looker.target.memory import Loan
    from looker.target.series_store import SeriesStore

LOOKBACK_MS = 300_000
MAX_POINTS = 11_000
_MAX_SELECTED_POINTS = 50_000_000
_STALE = np.uint64(0x7FF0000000000002)
_JSON = "application/json"
_NUMBER = re.compile(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_EVER_MS = 1 << 62
_QUOTED_END = frozenset("\"'`}")  # stands behind a bracket that is in a value
_POINT_S = 2e-6  # of each sample of an answer, roughly
_POINT_BYTES = 400  # of each sample of an answer, in all copies of its text
_TOO_MANY = Answer(
    422,
    error_json(
        "execution",
        "query processing would load too many samples into memory in query execution",
    ),
    _JSON,
)


class SeriesQueries:
    """Answers questions to a store as the query API does."""

    def __init__(
        self,
        store: SeriesStore,
        clock: Clock,
        config: TargetConfig,
        damage: AnswerDamage | None = None,
    ) -> None:
        self._store = store
        self._damage = damage
        self._clock = clock
        self._open = 1 if config.boundary == "open" else 0
        cortex = config.product == "cortex"
        self._style = prometheus_json.CORTEX if cortex else prometheus_json.PROMETHEUS

    def query(self, request: Request) -> Answer:
        """Answer at one instant: ``selector[range]`` raw, a bare selector as a vector."""
        return self._lent(request, self._instant)

    def query_range(self, request: Request) -> Answer:
        """Answer at every step: each series' newest sample of the five minutes before."""
        return self._lent(request, self._steps)

    def _lent(self, request: Request, respond: Callable[[Request, Loan], Answer]) -> Answer:
        """Answer with memory on loan; what is more is refused in Prometheus' words."""
        try:
            with self._store.budget.loan() as loan:
                return respond(request, loan)
        except LoanError:
            return _TOO_MANY

    def _instant(self, request: Request, loan: Loan) -> Answer:
        try:
            text = request.parameters.get("query", "")
            at_ms = _time_ms(request, "time", self._clock.wall_ns() // 1_000_000)
            if _NUMBER.fullmatch(text):
                return Answer(200, scalar(float(text), at_ms, self._style), _JSON)
            selector, range_ms = _ranged(text)
            matchers = _selector(selector)
        except ValueError as error:
            return _bad(str(error))
        if range_ms is not None:
            start = at_ms - range_ms + self._open
            samples = _fresh(self._store.query(request.tenant, matchers, start, at_ms + 1))
            if self._damage is not None:
                cache_control = request.headers.get("cache-control", "")
                samples = self._damage.samples(samples, cache_control)
            loan.more(_answer_bytes(samples.labels, len(samples.times_ms)))
            return Answer(200, matrix(samples, self._style), _JSON)
        samples = self._store.query(
            request.tenant, matchers, at_ms - LOOKBACK_MS + self._open, at_ms + 1
        )
        loan.more(_answer_bytes(samples.labels, len(samples.counts)))
        last = np.cumsum(samples.counts) - 1
        newest = replace(
            samples,
            counts=np.ones_like(samples.counts),
            times_ms=samples.times_ms[last],
            value_bits=samples.value_bits[last],
        )
        return Answer(200, vector(_fresh(newest), at_ms, self._style), _JSON)

    def _steps(self, request: Request, loan: Loan) -> Answer:
        try:
            matchers = _selector(request.parameters.get("query", ""))
            start_ms, stop_ms = _time_ms(request, "start", None), _time_ms(request, "end", None)
            step_ms = _step_ms(request.parameters.get("step", ""))
        except ValueError as error:
            return _bad(str(error))
        if stop_ms < start_ms:
            return _bad('invalid parameter "end": end timestamp must not be before start time')
        if (stop_ms - start_ms) // step_ms > MAX_POINTS:
            return _bad(
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        samples = self._store.query(
            request.tenant, matchers, start_ms - LOOKBACK_MS + self._open, stop_ms + 1
        )
        steps = np.arange(start_ms, stop_ms + 1, step_ms, dtype=np.int64)
        if len(steps) * len(samples.counts) > _MAX_SELECTED_POINTS:
            return _TOO_MANY
        loan.more(_answer_bytes(samples.labels, len(steps) * len(samples.counts)))
        return Answer(200, matrix(self._stepped(samples, steps), self._style), _JSON)

    def _stepped(self, samples: Samples, steps: NDArray[np.int64]) -> Samples:
        """Repeat each series' newest sample at every step that it reaches."""
        picked, stamps, counts, at = [], [], [], 0
        for n in checked(samples.counts.tolist()):
            times = samples.times_ms[at : at + n]
            newest = np.searchsorted(times, steps, "right") - 1
            age = steps - times[np.maximum(newest, 0)]
            seen = (newest >= 0) & (age <= LOOKBACK_MS - self._open)
            chosen = newest[seen] + at
            picked.append(chosen)
            stamps.append(steps[seen])
            counts.append(len(chosen))
            at += n
        if not counts:
            return samples
        return _fresh(
            replace(
                samples,
                counts=np.array(counts, np.int64),
                times_ms=np.concatenate(stamps),
                value_bits=samples.value_bits[np.concatenate(picked)],
            )
        )

    def labels(self, request: Request) -> Answer:
        """List the names of labels."""
        return self._catalog(
            request, lambda found: {n for labels in checked(found) for n, _ in labels}
        )

    def label_values(self, request: Request) -> Answer:
        """List the values of one label, named in the path."""
        name = request.path.rpartition("/label/")[2].removesuffix("/values")
        if _NAME.fullmatch(name) is None:
            return _bad(f"invalid label name: {quote(name)}")
        return self._catalog(
            request, lambda found: {v for labels in checked(found) for n, v in labels if n == name}
        )

    def series(self, request: Request) -> Answer:
        """List the label sets of series; at least one selector is needed."""
        if not request.matches:
            return _bad("no match[] parameter provided")
        return self._catalog(request, lambda found: found, labels_json)

    def _catalog(
        self,
        request: Request,
        pick: Callable[[list[Labels]], Iterable[Any]],
        show: Callable[[Any], str] = string_json,
    ) -> Answer:
        """Find the series that any selector means (all, without any) and show a part of them."""
        return self._lent(request, lambda request, loan: self._listed(request, loan, pick, show))

    def _listed(
        self,
        request: Request,
        loan: Loan,
        pick: Callable[[list[Labels]], Iterable[Any]],
        show: Callable[[Any], str],
    ) -> Answer:
        try:
            start_ms = _time_ms(request, "start", -_EVER_MS)
            stop_ms = _time_ms(request, "end", _EVER_MS)
            every: list[tuple[Matcher, ...]] = [()]
            if request.matches:
                every = [_selector(text, "match[]") for text in checked(request.matches)]
        except ValueError as error:
            return _bad(str(error))
        if stop_ms < start_ms:
            return _bad('invalid parameter "end": end timestamp must not be before start time')
        found: dict[Labels, None] = {}
        for matchers in every:
            found |= dict.fromkeys(
                self._store.find(request.tenant, matchers, start_ms, stop_ms + 1)
            )
            check()
        loan.more(shown_bytes(found))
        shown = ",".join(show(one) for one in checked(sorted(pick(list(found)))))
        return Answer(200, f'{{"status":"success","data":[{shown}]}}'.encode(), _JSON)


def _answer_bytes(labels: Iterable[Labels], n_points: int) -> int:
    """Return the bytes that an answer of so many samples takes; EffortError."""
    expect(_POINT_S * n_points)
    return _POINT_BYTES * n_points + shown_bytes(labels)


def _bad(message: str) -> Answer:
    return Answer(400, error_json("bad_data", message), _JSON)


def _fresh(samples: Samples) -> Samples:
    """Leave out stale markers, and the series that have nothing else."""
    kept = samples.value_bits != _STALE
    if bool(kept.all()) and bool((samples.counts > 0).all()):
        return samples
    owner = np.repeat(np.arange(len(samples.counts)), samples.counts)
    counts = np.bincount(owner[kept], minlength=len(samples.counts))
    some = np.flatnonzero(counts)
    return Samples(
        [samples.labels[i] for i in some.tolist()],
        [samples.blobs[i] for i in some.tolist()],
        counts[some].astype(np.int64),
        samples.times_ms[kept],
        samples.value_bits[kept],
    )


def _selector(text: str, parameter: str = "query") -> tuple[Matcher, ...]:
    try:
        return parse_vector_selector(text)
    except SelectorError as error:
        raise ValueError(
            f'invalid parameter "{parameter}": 1:{error.column}: parse error: {error}'
        ) from None


def _ranged(text: str) -> tuple[str, int | None]:
    """Split ``selector[range]``: (selector, range in ms or None); ValueError in Prometheus' words.

    A bracket may stand in a quoted value as well: the range is what the last one begins, if it
    ends the text.
    """
    bare = text.rstrip()
    at = bare.rfind("[")
    if at < 0:
        return text, None
    inside = bare[at + 1 :]
    closed = inside.endswith("]")
    given = inside.removesuffix("]")
    if "]" in given or not _QUOTED_END.isdisjoint(given):
        return text, None
    range_ms = duration_ms(given.strip())
    if range_ms is None or range_ms == 0 or not closed:
        unit = "missing unit character in duration"
        said = f"not a valid duration string: {given!r}" if closed else unit
        column = at + 2 if closed else len(text) + 1
        raise ValueError(f'invalid parameter "query": 1:{column}: parse error: {said}')
    return bare[:at], range_ms


def _time_ms(request: Request, name: str, default: int | None) -> int:
    """Parse decimal seconds or an RFC 3339 time to milliseconds; ValueError for another form."""
    text = request.parameters.get(name, "")
    if not text and default is not None:
        return default
    ns = decimal_ns(text)
    ns = rfc3339_ns(text) if ns is None else ns
    if ns is None:
        raise ValueError(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')
    return within(ns // 1_000_000)


def _step_ms(text: Any) -> int:
    """Parse a step, decimal seconds or a duration; ValueError unless it is above zero."""
    ns = decimal_ns(text)
    step_ms = duration_ms(text) if ns is None else ns // 1_000_000
    if step_ms is None:
        raise ValueError(f'invalid parameter "step": cannot parse "{text}" to a valid duration')
    if step_ms <= 0:
        raise ValueError(
            'invalid parameter "step": zero or negative query resolution step widths are not '
            "accepted. Try a positive integer"
        )
    return step_ms
