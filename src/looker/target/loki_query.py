"""Loki's queries: range queries of stream selectors, labels, label values and series."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from looker.target import levels, loki_texts
from looker.target.answers import (
    NANOS,
    Answer,
    decimal_ns,
    duration_ms,
    plain_error,
    rfc3339_ns,
    within,
)
from looker.target.bodies import shown_bytes
from looker.target.effort import check, checked
from looker.target.loki_json import render
from looker.target.loki_protobuf import CONTENT_TYPE, render_protobuf
from looker.target.loki_size import entry_sizes
from looker.target.loki_stats import stats_json
from looker.target.matchers import SelectorError, label_string, parse_stream_selector
from looker.target.memory import LoanError
from looker.wire import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.clock import Clock
    from looker.target.answers import Request
    from looker.target.config import TargetConfig
    from looker.target.damage import AnswerDamage
    from looker.target.loki_store import LokiStore, Page
    from looker.target.matchers import Labels, Matcher
    from looker.target.memory import Loan

_JSON = "application/json; charset=UTF-8"
_FLAGS_HEADER = "x-loki-response-encoding-flags"
_CATEGORIZE = "categorize-labels"
_LEVEL = "detected_level"
_DEFAULT_LIMIT = 100
_DEFAULT_SINCE_MS = 3_600_000
_CATALOG_SINCE_MS = 21_600_000
_MAX_STEPS = 11_000
_MAX_QUERY_BYTES = 131_072
_ROW_BYTES = 300  # of each entry of an answer, besides its line
_CHAR_BYTES = 6  # of each byte of its line


class LokiQueries:
    """Answers questions to a store as Loki does."""

    def __init__(
        self,
        store: LokiStore,
        clock: Clock,
        config: TargetConfig,
        damage: AnswerDamage | None = None,
    ) -> None:
        self._store = store
        self._damage = damage
        self._clock = clock
        self._config = config
        self._limits = config.applied
        self._faithful = config.product == "loki"

    def query_range(self, request: Request) -> Answer:
        """Answer a log query: a stream selector, nothing more."""
        try:
            with self._store.budget.loan() as loan:
                return self._range_answer(request, loan)
        except LoanError as error:
            n_bytes, most = error.n_bytes, error.lendable_bytes
            return plain_error(500, loki_texts.message_too_large("send", n_bytes, most), end="")

    def _range_answer(self, request: Request, loan: Loan) -> Answer:
        parameters = request.parameters
        try:
            matchers = _selector(parameters.get("query", ""))
            start_ns, stop_ns = self._range(parameters, _DEFAULT_SINCE_MS)
            limit = self._signed_limit(parameters)
            self._check_range(parameters, start_ns, stop_ns)
        except SelectorError as error:
            return _parse_error(error)
        except ValueError as error:
            return _query_error(str(error))
        page = self._store.query(
            request.tenant, matchers, start_ns, stop_ns, limit, self._visible_from_ns()
        )
        loan.more(_answer_bytes(page))
        if self._damage is not None:
            page = self._damage.page(page, request.headers.get("cache-control", ""))
        too_large = self._too_large(page)
        if too_large is not None:
            return too_large
        flags = request.headers.get(_FLAGS_HEADER, "").replace(" ", "").split(",")
        categorize = _CATEGORIZE in flags
        shown: list[str] = []
        if self._limits.discover_log_levels:
            shown = _levels(page)
            if not categorize:
                page, shown = _split_by_level(page, shown)
        if self._faithful and request.headers.get("accept") == CONTENT_TYPE:
            return Answer(200, render_protobuf(page, shown, limit), CONTENT_TYPE)
        stats = stats_json if self._faithful else None
        body = render(page, loan, categorize=categorize, levels=shown, stats=stats)
        return Answer(200, body, _JSON)

    def labels(self, request: Request) -> Answer:
        """List the names of labels."""
        return self._catalog(
            request, lambda found: {n for labels in checked(found) for n, _ in labels}
        )

    def label_values(self, request: Request) -> Answer:
        """List the values of one label, named in the path."""
        name = request.path.rpartition("/label/")[2].removesuffix("/values")
        return self._catalog(
            request, lambda found: {v for labels in checked(found) for n, v in labels if n == name}
        )

    def series(self, request: Request) -> Answer:
        """List the label sets of streams."""
        found = self._found(request, list(request.matches))
        if isinstance(found, Answer):
            return found
        with self._store.budget.loan(shown_bytes(found)):
            data = [dict(labels) for labels in checked(found)]
            body = orjson.dumps({"status": "success", "data": data})
            return Answer(200, body + b"\n", _JSON)

    def _catalog(self, request: Request, pick: Any) -> Answer:
        query = request.parameters.get("query", "")
        found = self._found(request, [query] if query else [])
        if isinstance(found, Answer):
            return found
        names = sorted(pick(found))
        # Go leaves an empty list out here.
        body: dict[str, Any] = {"status": "success"} | ({"data": names} if names else {})
        return Answer(200, orjson.dumps(body) + b"\n", _JSON)

    def _found(self, request: Request, selectors: list[str]) -> list[Labels] | Answer:
        """Find the streams that any of the selectors means (all, without any), sorted."""
        try:
            start_ns, stop_ns = self._range(request.parameters, _CATALOG_SINCE_MS)
            every = [_selector(text) for text in checked(selectors)] or [()]
        except SelectorError as error:
            return _parse_error(error)
        except ValueError as error:
            return _query_error(str(error))
        found: dict[Labels, None] = {}
        for matchers in every:
            found |= dict.fromkeys(
                self._store.streams(
                    request.tenant, matchers, start_ns, stop_ns, self._visible_from_ns()
                )
            )
            check()
        return sorted(found, key=label_string)

    def _range(self, parameters: Mapping[str, str], since_ms: int) -> tuple[int, int]:
        """Parse start and end; ValueError."""
        stop_ns = _time_ns(parameters, "end", self._clock.wall_ns())
        given_ms = duration_ms(parameters.get("since", ""))
        since_ns = (since_ms if given_ms is None else given_ms) * 1_000_000
        start_ns = _time_ns(parameters, "start", within(stop_ns - since_ns))
        if start_ns > stop_ns:
            raise ValueError("end timestamp must not be before or equal to start time")
        return start_ns, stop_ns

    def _check_range(self, parameters: Mapping[str, str], start_ns: int, stop_ns: int) -> None:
        """Raise ValueError for a range that is too long or has too many steps."""
        length_ms = stop_ns // 1_000_000 - start_ns // 1_000_000
        step = parameters.get("step", "")
        if self._faithful and step:
            step_ns = decimal_ns(step)
            if step_ns is None:
                step_ns = (duration_ms(step) or 0) * 1_000_000
            if step_ns <= 0 or (stop_ns - start_ns) // step_ns > _MAX_STEPS:
                raise ValueError(
                    "exceeded maximum resolution of 11,000 points per time series. Try increasing "
                    "the value of the step parameter"
                )
        limit_s = self._limits.max_query_length_s
        if limit_s and length_ms > limit_s * 1000:
            raise ValueError(loki_texts.query_too_long(length_ms, limit_s))

    def _signed_limit(self, parameters: Mapping[str, str]) -> int:
        """Parse limit and direction: the limit, negative for backward; ValueError."""
        direction = (parameters.get("direction", "") or "backward").lower()
        if direction not in {"forward", "backward"}:
            raise ValueError(f"invalid direction '{direction}'")
        limit = int(parameters.get("limit", "") or _DEFAULT_LIMIT)
        most = self._limits.max_entries_limit
        if limit <= 0:
            raise ValueError("limit must be a positive value")
        if most and limit > most:
            raise ValueError(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query "
                f"({limit} > {most})"
            )
        return limit if direction == "forward" else -limit

    def _visible_from_ns(self) -> int | None:
        look_back_s = self._limits.query_look_back_s
        return self._clock.wall_ns() - int(look_back_s * NANOS) if look_back_s else None

    def _too_large(self, page: Page) -> Answer | None:
        """Return what becomes of an answer above the size of a message; None below it."""
        most = int(self._limits.max_grpc_message_mb * (1 << 20))
        if not most:
            return None
        sizes = entry_sizes(page.times, page.lengths, levels=self._limits.discover_log_levels)
        n_bytes = int(sizes.sum()) + sum(len(label_string(one)) + 8 for one in page.labels)
        if n_bytes <= most:
            return None
        if self._config.oversized_answer == "500":
            return plain_error(500, loki_texts.message_too_large("send", n_bytes, most), end="")
        hangs = self._config.oversized_answer == "hang"
        return Answer(0, drop_after_s=self._config.oversized_answer_hang_s if hangs else 0.0)


def _answer_bytes(page: Page) -> int:
    """Return what a page and the answer that is made of it take, where nothing is escaped."""
    n_bytes = _ROW_BYTES * len(page.times) + _CHAR_BYTES * int(page.lengths.sum())
    return n_bytes + shown_bytes(page.labels)


def _levels(page: Page) -> list[str]:
    """Return the level of every row."""
    lines = records.slices(page.lines, page.offsets, page.lengths)
    found = levels.of_lines(lines)
    at = 0
    for labels, n in zip(page.labels, page.counts.tolist(), strict=True):
        level = levels.of_labels(labels)
        if level is not None:
            found[at : at + n] = [level] * n
        at += n
    return found


def _split_by_level(page: Page, shown: list[str]) -> tuple[Page, list[str]]:
    """Make the level a label: each stream becomes one for every level in it."""
    parts: list[tuple[str, Labels, np.ndarray[Any, np.dtype[np.int64]]]] = []
    column = np.array(shown, object)
    at = 0
    for labels, n in zip(page.labels, page.counts.tolist(), strict=True):
        own = column[at : at + n]
        for level in sorted(set(own.tolist())):
            named = tuple(
                sorted((*(pair for pair in labels if pair[0] != _LEVEL), (_LEVEL, level)))
            )
            parts.append((label_string(named), named, np.flatnonzero(own == level) + at))
        at += n
    parts.sort(key=lambda part: part[0])
    order = np.concatenate([np.zeros(0, np.int64), *(rows for _, _, rows in parts)])
    divided = replace(
        page,
        labels=[labels for _, labels, _ in parts],
        counts=np.array([len(rows) for _, _, rows in parts], np.int64),
        times=page.times[order],
        offsets=page.offsets[order],
        lengths=page.lengths[order],
    )
    return divided, column[order].tolist()


def _selector(text: str) -> tuple[Matcher, ...]:
    """Parse a selector, if Loki would read one as long; SelectorError."""
    if len(text.encode(errors="replace")) > _MAX_QUERY_BYTES:
        raise SelectorError(f"input size too long ({len(text)} > {_MAX_QUERY_BYTES})", 1)
    return parse_stream_selector(text)


def _parse_error(error: SelectorError) -> Answer:
    text = str(error)
    place = f"at line 1, col {error.column}" if text.startswith("syntax error") else ""
    return _query_error(f"parse error {place}: {text}")


def _query_error(message: str) -> Answer:
    return plain_error(400, message, end="")


def _time_ns(parameters: Mapping[str, str], name: str, default: int) -> int:
    """Parse a time: nanoseconds, seconds (up to 10 digits), decimal seconds or RFC 3339."""
    text = parameters.get(name, "")
    if not text:
        return default
    if re.fullmatch(r"-?\d{1,19}", text):
        return within(int(text) * NANOS if len(text) <= 10 else int(text))
    ns = decimal_ns(text) if "." in text or "e" in text else None
    ns = rfc3339_ns(text) if ns is None else ns
    if ns is None:
        raise ValueError(
            f"could not parse '{name}' parameter: parsing time \"{text}\" as "
            '"2006-01-02T15:04:05.999999999Z07:00"'
        )
    return within(ns)
