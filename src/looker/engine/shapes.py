"""What was written, asked for as people ask: widely, with limits, the newest first.

Exact pages have told before what is there. An answer to another question about the same samples
must agree with them: what it lacks or shows otherwise is *inconsistent*.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.backend.api import AnswerSizeError
from looker.backend.client import EntriesLimitError
from looker.model.config import Mode, ReadShape
from looker.model.mismatch import PLACE_DTYPE, Findings, MismatchKind
from looker.model.query import RangeQuery
from looker.verify.pages import PageLimits, Selection, pages
from looker.verify.places import identity_of, keys, places_of, surplus
from looker.wire.loki_answer import entry_times

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from numpy.typing import NDArray

    from looker.engine.page_reader import Comparison, PageReader
    from looker.generate.content import Content
    from looker.model.config import RunConfig
    from looker.verify.expectation import Expectation
    from looker.verify.pages import Page
    from looker.verify.parts import Part
    from looker.verify.proof import PageProof

_PAGED_LIMIT: Final = 1000
"""What Grafana and logcli ask for at once, as they come."""
_UNPAGED_LIMIT: Final = 100
"""Loki's own, where none is given."""
_WIDE_GROUPS: Final = 50
_MIXED_GROUPS: Final = 4
_WIDE_METRIC_SAMPLES: Final = 800_000
"""Four usual pages: an answer is held in memory as a whole."""
_MAX_WRONG: Final = 100_000
"""With more mismatches found by exact pages there is nothing left to hold answers against."""


@dataclass(frozen=True, eq=False, slots=True)
class Shaped:
    """A question to begin with; ``paged`` tells whether the rest is asked for after a full answer.

    ``wrong`` (PLACE_DTYPE) is where exact pages have shown mismatches.
    """

    page: Page
    paged: bool
    wrong: NDArray[Any]


class Shapes:
    """Asks for parts of what one worker has written in the shape that is configured."""

    def __init__(
        self, config: RunConfig, content: Content, limits: PageLimits, cycle: int | None
    ) -> None:
        self._config = config
        self._content = content
        self._limits = limits
        self._cycle = cycle
        self._is_logs = config.mode is Mode.LOGS
        self._edges: dict[Page, int] = {}

    def pages(
        self, part: Part, sound: NDArray[np.bool_], wrong: list[NDArray[Any]]
    ) -> Iterator[Shaped]:
        """Yield what to ask for of a part.

        ``sound`` (n,) are the part's rows that exact pages have shown to be whole, ``wrong`` the
        places of what they have shown otherwise. What a killed run may have written behind its last
        known samples is no part of it.
        """
        known = np.concatenate([np.empty(0, PLACE_DTYPE), *wrong])
        if part.is_open or len(known) > _MAX_WRONG:
            return
        for shape, groups in self._shapes(part):
            for page in self._whole(part, groups, sound):
                if not self._is_logs:
                    yield Shaped(page, paged=False, wrong=known)
                    continue
                most = self._limits.max_answer
                if shape is ReadShape.LIMITED:
                    limited = replace(page, limit=min(_PAGED_LIMIT, most))
                    yield Shaped(limited, paged=True, wrong=known)
                    newest = replace(page, limit=min(_UNPAGED_LIMIT, most), backward=True)
                    yield Shaped(newest, paged=False, wrong=known)
                else:
                    backward = shape is ReadShape.BACKWARD
                    full = replace(page, limit=most, backward=backward)
                    yield Shaped(full, paged=True, wrong=known)

    def compare(self, base: Comparison, body: bytes, page: Page, *, in_full: bool) -> PageProof:
        """Compare an answer with what it must hold: of a full one, no more than it reaches."""
        return base(body, self._reached(body, page) if self._is_logs else page, in_full)

    async def read(self, shaped: Shaped, reader: PageReader) -> AsyncIterator[Findings]:
        """Ask, and yield what each answer contradicts exact pages in.

        TargetError where there is no answer. What is too large is asked for in halves.
        """
        todo = [shaped.page]
        while todo:
            page = todo.pop()
            try:
                proof = await reader.ask(page)
            except EntriesLimitError as error:
                if not 1 <= error.allowed < (page.limit or 0):
                    raise
                todo.append(replace(page, limit=error.allowed))
                continue
            except AnswerSizeError:
                halves = page.halves()
                if halves is None:
                    raise
                todo += halves if page.backward else halves[::-1]
                continue
            yield contradictions(proof, page, shaped.wrong)
            edge = self._edges.pop(page, None)
            if edge is not None and shaped.paged:
                rest = _rest(page, edge)
                if rest.start_ns < rest.end_ns:
                    todo.append(rest)

    def _shapes(self, part: Part) -> Iterator[tuple[ReadShape, range]]:
        """Yield shapes, and the groups that are asked for together."""
        size, shape = self._content.scheme.group_size, self._config.read_shape
        groups = range(part.first_stream // size, -(-part.end_stream // size))
        if shape is ReadShape.MIXED:
            for at in range(groups.start, groups.stop, _MIXED_GROUPS):
                some = range(at, min(at + _MIXED_GROUPS, groups.stop))
                chosen = self._chosen(at)
                if chosen is ReadShape.WIDE:
                    yield chosen, some
                elif chosen is not ReadShape.EXACT:
                    yield from ((chosen, range(group, group + 1)) for group in some)
            return
        together = self._together(part, len(groups)) if shape is ReadShape.WIDE else 1
        for at in range(groups.start, groups.stop, together):
            yield shape, range(at, min(at + together, groups.stop))

    def _chosen(self, group: int) -> ReadShape:
        """Return one of the shapes that there are, the same for the same seed."""
        shapes = [ReadShape.EXACT, ReadShape.WIDE]
        if self._is_logs:
            shapes += [ReadShape.LIMITED, ReadShape.BACKWARD]
        seed = (self._config.seed, self._content.generation, self._cycle or 0, group)
        return shapes[int(np.random.default_rng(seed).integers(len(shapes)))]

    def _together(self, part: Part, n_groups: int) -> int:
        """Return how many groups one query may select."""
        if self._is_logs:
            return _WIDE_GROUPS
        per_group = len(part.rows) * self._content.n_samples / n_groups
        return max(1, min(_WIDE_GROUPS, int(_WIDE_METRIC_SAMPLES // max(1, per_group))))

    def _whole(self, part: Part, groups: range, sound: NDArray[np.bool_]) -> Iterator[Page]:
        """Yield the pages that cover groups: one for the whole range of time, for logs."""
        size = self._content.scheme.group_size
        ends = [groups.start * size, groups.stop * size]
        low, high = np.searchsorted(part.rows["stream"], ends)
        numbers = np.arange(low, high)
        most = 2**62 if self._is_logs else _WIDE_METRIC_SAMPLES
        for page in pages(
            self._content,
            Selection.of_groups(self._content, groups),
            part.rows[numbers],
            numbers,
            self._cycle,
            PageLimits(most, self._limits.max_answer),
            part.window,
        ):
            yield replace(page, expectation=page.expectation.with_required(sound))

    def _reached(self, body: bytes, page: Page) -> Page:
        """Return the page as far as an answer with a limit must hold it.

        Of the entries that share the last time, a full answer holds some.
        """
        times = entry_times(body)
        if page.limit is None or len(times) < page.limit:
            return page
        edge = int(times.min() if page.backward else times.max())
        edge = min(max(edge, page.start_ns), page.end_ns - 1)
        self._edges[page] = edge
        behind = (edge + 1, page.end_ns) if page.backward else (page.start_ns, edge)
        certain = page.expectation.between(*behind)
        return replace(page, expectation=certain.joined(_tied(page, edge)))


def contradictions(proof: PageProof, page: Page, wrong: NDArray[Any]) -> Findings:
    """Return what an answer lacks, or shows otherwise than exact pages did, as *inconsistent*.

    What an answer lacks that says that it is not whole is *missing*, and explained.
    """
    found = proof.findings
    result = Findings(added_labels=found.added_labels, statements=found.statements)
    kind = MismatchKind.INCONSISTENT
    n_missing = found.counts[MismatchKind.MISSING]
    if found.says_partial:
        result.add(MismatchKind.MISSING, n_missing)
        result.n_missing_explained = n_missing
    else:
        result.add(kind, n_missing)
    more, n_more = surplus(_of_sound(places_of(found), page.expectation), wrong)
    result.add(kind, n_more)
    scheme = proof.expectation.content.scheme
    for example in found.examples:
        if example.kind is MismatchKind.MISSING:
            if found.says_partial:
                result.keep(example)
            else:
                said = f"exact pages had it; not in the answer to {_words(page)}"
                result.keep(replace(example, kind=kind, answers=said))
            continue
        stream = scheme.stream_of(example.stream)
        if (more == identity_of(example, -1 if stream is None else stream)).any():
            said = f"exact pages did not show it so; {example.kind} in the answer to {_words(page)}"
            result.keep(replace(example, kind=kind, seen_as=example.kind, answers=said))
    return result


def _of_sound(places: NDArray[Any], expectation: Expectation) -> NDArray[Any]:
    """Return places without those of samples that exact pages have not shown to be whole."""
    unsound = expectation.of(~expectation.required)
    if not len(places) or not len(unsound.counts):
        return places
    low, high = int(places["time_ns"].min()), int(places["time_ns"].max())
    unsound = unsound.between(low, high + 1)
    streams = unsound.streams[unsound.piece_of].astype(np.int64)
    unknown = keys(streams, unsound.timestamps_ns)
    return places[~np.isin(keys(places["stream"], places["time_ns"]), unknown)]


def _tied(page: Page, edge: int) -> Expectation:
    return page.expectation.between(edge, edge + 1).optional()


def _rest(page: Page, edge: int) -> Page:
    """Return what follows on a full answer, from the time of its last entry on.

    Without that time, where all entries of the answer have it.
    """
    if page.backward:
        return page.between(page.start_ns, edge if edge + 1 == page.end_ns else edge + 1)
    return page.between(edge + 1 if edge == page.start_ns else edge, page.end_ns)


def _words(page: Page) -> str:
    query = RangeQuery(page.selection.matcher, page.start_ns, page.end_ns, page.limit or 0)
    words = f"{query.selector()} from {page.start_ns} to before {page.end_ns} ns"
    if page.limit is not None:
        words += f", limit {page.limit}, {'backward' if page.backward else 'forward'}"
    return words
