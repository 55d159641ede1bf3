"""Cutting what was written into pages that one query each can read back.

A *selection* is what one matcher selects: a group of streams, or a few single ones. Its time range
is tiled without gaps, so that what was never written shows too, wherever in the range it lies.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.model.fragment import FragmentState
from looker.model.labels import GROUP, UNIQUENAME
from looker.verify.expectation import Expectation
from looker.verify.parts import EVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.verify.parts import Window


@dataclass(frozen=True, slots=True)
class Selection:
    """Streams that one label matcher selects: (label, operator, value)."""

    matcher: tuple[str, str, str]
    streams: Sequence[int]

    @classmethod
    def of_group(cls, content: Content, group: int) -> Selection:
        """Select all streams of a group."""
        scheme = content.scheme
        first = group * scheme.group_size
        end = min(first + scheme.group_size, scheme.n_streams)
        return cls((GROUP, "=", scheme.group(group)), range(first, end))

    @classmethod
    def of_groups(cls, content: Content, groups: range) -> Selection:
        """Select all streams of some groups that follow each other."""
        if len(groups) == 1:
            return cls.of_group(content, groups[0])
        scheme = content.scheme
        end = min(groups.stop * scheme.group_size, scheme.n_streams)
        names = "|".join(scheme.group(group).replace(".", "[.]") for group in groups)
        return cls((GROUP, "=~", names), range(groups.start * scheme.group_size, end))

    @classmethod
    def of_streams(cls, content: Content, streams: list[int]) -> Selection:
        """Select single streams, given in ascending order."""
        names = [content.scheme.uniquename(stream) for stream in streams]
        if len(names) == 1:
            matcher = (UNIQUENAME, "=", names[0])
        else:
            # a unique name holds letters, digits, '_', '-' and '.'; only the dot means something
            matcher = (UNIQUENAME, "=~", "|".join(name.replace(".", "[.]") for name in names))
        return cls(matcher, tuple(streams))


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """One query: a selection, a time range ``[start_ns, end_ns)``, and what must be in it.

    ``backward`` asks for the newest entries first, ``limit`` for so many at most (None: for as many
    as may be asked for).
    """

    selection: Selection
    start_ns: int
    end_ns: int
    expectation: Expectation
    backward: bool = False
    limit: int | None = None

    def halves(self, *, by_streams: bool = False) -> list[Page] | None:
        """Return two pages that make up this one: by time, else by streams; None if it is one.

        With ``by_streams`` it is the other way round.
        """
        if by_streams and (parts := self.halves_by_streams()) is not None:
            return parts
        times = np.sort(self.expectation.timestamps_ns)
        if not len(times):
            return None
        middle = int(times[len(times) // 2])
        if middle == times[0]:
            later = times[np.searchsorted(times, middle, "right") :]
            if not len(later):
                several = len(self.expectation.stream_numbers) > 1
                return self.halves_by_streams() if several else None
            middle = int(later[0])
        return [
            self.between(start, end)
            for start, end in ((self.start_ns, middle), (middle, self.end_ns))
        ]

    def between(self, start_ns: int, end_ns: int) -> Page:
        """Return the same of the time in ``[start_ns, end_ns)``."""
        expectation = self.expectation.between(start_ns, end_ns)
        return replace(self, start_ns=start_ns, end_ns=end_ns, expectation=expectation)

    def halves_by_streams(self) -> list[Page] | None:
        """Return two pages of half of the streams each; None if there is only one."""
        expected = self.expectation.stream_numbers
        # those of which nothing is expected as well, so that what comes of them shows
        streams = np.array(self.selection.streams)
        if len(streams) < 2:
            return None
        middle = len(streams) // 2
        if len(expected) > 1:
            middle = int(np.searchsorted(streams, expected[len(expected) // 2]))
        content = self.expectation.content
        return [
            replace(
                self,
                selection=Selection.of_streams(content, part.tolist()),
                expectation=self.expectation.of(np.isin(self.expectation.streams, part)),
            )
            for part in (streams[:middle], streams[middle:])
        ]


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How much a page may hold: samples, counting those that need not be there.

    ``max_answer`` is how many the target may be asked for at once, ``max_streams`` of how many
    streams.
    """

    max_samples: int
    max_answer: int
    max_streams: int = 2**62

    def lowered(self, max_answer: int) -> PageLimits:
        """Return the limits where the target allows less in an answer."""
        # below what is allowed, so that an answer with one more than expected shows it
        max_samples = max(1, min(self.max_samples, max_answer - 1))
        return replace(self, max_samples=max_samples, max_answer=max_answer)

    def below(self, page: Page, *, by_streams: bool) -> PageLimits:
        """Return the limits where a page is too large for the target."""
        if by_streams:
            n_streams = max(1, len(page.selection.streams) // 2)
            return replace(self, max_streams=min(self.max_streams, n_streams))
        n_samples = max(1, page.expectation.n_samples // 2)
        return replace(self, max_samples=min(self.max_samples, n_samples))


def tile(starts_ns: NDArray[np.int64], n_samples: int, step_ns: int, max_samples: int) -> list[int]:
    """Return times that cut fragments into tiles of at most ``max_samples`` samples.

    ``starts_ns`` is sorted. The first time is that of the first sample, the last one is one step
    behind the last sample. Samples of one time are never parted, so that many samples of one time
    make a tile larger.
    """
    width = (n_samples - 1) * step_ns
    begin, end = int(starts_ns[0]), int(starts_ns[-1]) + width + step_ns
    total = len(starts_ns) * n_samples
    if total <= max_samples:
        return [begin, end]
    if bool((starts_ns[1:] > starts_ns[:-1] + width).all()):
        at = np.arange(max_samples, total, max_samples)
        cuts = starts_ns[at // n_samples] + at % n_samples * step_ns
        return [begin, *cuts.tolist(), end]
    times = np.sort((starts_ns[:, None] + np.arange(n_samples) * step_ns).ravel())
    cuts_found = [begin]
    first = 0
    while first + max_samples < total:
        boundary = int(np.searchsorted(times, times[first + max_samples], "left"))
        if boundary == first:
            boundary = int(np.searchsorted(times, times[first], "right"))
            if boundary == total:
                break
        cuts_found.append(int(times[boundary]))
        first = boundary
    return [*cuts_found, end]


def pages(
    content: Content,
    selection: Selection,
    rows: NDArray[Any],
    row_numbers: NDArray[np.intp],
    cycle: int | None,
    limits: PageLimits,
    window: Window = EVER,
    *,
    is_open: bool = False,
) -> Iterator[Page]:
    """Cut the ledger rows of a selection into pages.

    ``rows`` (LEDGER_DTYPE) are all rows of the selected streams in ``window``, of any cycle;
    ``row_numbers`` (the same length) is what expectations call them by. Only the time range of
    ``cycle`` is read, or that of all cycles (None), with that of fragments that were refused.
    Where the window has an end, the pages reach it, unless the selection is of one stream that may
    have later samples (``is_open``).
    """
    current = _of_cycle(rows, cycle)
    if not current.any():
        return
    n_samples, step_ns = content.n_samples, content.step_ns
    width = (n_samples - 1) * step_ns
    order = np.argsort(rows["start_ns"], kind="stable")
    candidates, numbers = rows[order], row_numbers[order]
    starts = candidates["start_ns"]
    of_cycle = np.sort(rows["start_ns"][current])
    cuts = tile(of_cycle, n_samples, step_ns, limits.max_samples)
    for begin, end in itertools.pairwise(_within(cuts, window, reach=not is_open)):
        low = int(np.searchsorted(starts, begin - width, "left"))
        high = int(np.searchsorted(starts, end, "left"))
        part, part_numbers = candidates[low:high], numbers[low:high]
        # the first sample at or behind each end of the tile
        first = np.clip(-((part["start_ns"] - begin) // step_ns), 0, n_samples)
        last = np.clip(-((part["start_ns"] - end) // step_ns), 0, n_samples)
        inside = last > first
        part, part_numbers = part[inside], part_numbers[inside]
        first, last = first[inside], last[inside]
        by_stream = np.lexsort((part["start_ns"], part["stream"]))
        part, first, last = part[by_stream], first[by_stream], last[by_stream]
        yield Page(
            selection,
            begin,
            end,
            Expectation(
                content=content,
                streams=part["stream"],
                fragments=part["fragment"],
                positions=first,
                counts=last - first,
                start_ns=part["start_ns"] + first * step_ns,
                rows=part_numbers[by_stream],
                required=part["state"] == FragmentState.ACKNOWLEDGED,
                counted=_of_cycle(part, cycle),
                n_repeats=part["n_repeats"],
            ),
        )


def _of_cycle(rows: NDArray[Any], cycle: int | None) -> NDArray[np.bool_]:
    if cycle is None:
        return np.ones(len(rows), np.bool_)
    mine: NDArray[np.bool_] = rows["cycle"] == cycle
    return mine


def _within(cuts: list[int], window: Window, *, reach: bool) -> list[int]:
    """Return the cuts inside a window, and its own ends where it has some and is to be filled."""
    first, last = max(cuts[0], window.begin_ns), min(cuts[-1], window.end_ns)
    if reach and not window.is_first:
        first = window.begin_ns
    if reach and not window.is_last:
        last = window.end_ns
    return [first, *(cut for cut in cuts if first < cut < last), last]
