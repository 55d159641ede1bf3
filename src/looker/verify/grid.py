"""The samples of an expectation as a grid, regenerated and summed up block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.verify.block_sums import GridSums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from looker.generate.lines import LineContent
    from looker.generate.values import ValueContent
    from looker.verify.block_sums import BlockSums
    from looker.verify.expectation import Expectation

_LEAST_PER_SEGMENT: Final = 32
"""Samples, of all rows, for which a step of its own per segment pays."""


@dataclass(frozen=True, eq=False, slots=True)
class _Progression:
    """One number per sample, int64: ``base`` (r, 1) plus ``steps`` (c,), or ``base`` (r, c).

    With steps, ``base`` may also be (1, 1), the same for all rows.
    """

    base: NDArray[np.int64]
    steps: NDArray[np.int64] | None

    def block(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the numbers of a block, (rows, columns) or (1, columns)."""
        if self.steps is None:
            return self.base[rows, columns]
        base = self.base if len(self.base) == 1 else self.base[rows]
        return base + self.steps[columns]


@dataclass(frozen=True, slots=True)
class _Segment:
    """Columns ``[begin, end)`` that hold, in each row, a part of one fragment."""

    begin: int
    end: int
    position: int
    number: int


class Grid:
    """Content, times and checksums of all samples: rows are streams, columns their samples.

    Streams that differ in their number of samples make a single row of all samples instead. In
    both cases the samples are in the order of the expectation, row by row. Mostly all streams have
    their fragments in the same columns, and go on where a fragment ended, so that a fragment's key
    and one progression of times are all there is to keep.
    """

    def __init__(self, expectation: Expectation, unit_ns: int = 1) -> None:
        """``unit_ns`` is that of the timestamps; it divides all of them."""
        self._expectation = expectation
        content = expectation.content
        totals = expectation.stream_counts
        self.uniform = bool((totals == totals[0]).all())
        self.shape = (len(totals), int(totals[0])) if self.uniform else (1, int(totals.sum()))
        self._single = len(expectation.counts) == self.shape[0]
        start = expectation.start_ns if unit_ns == 1 else expectation.start_ns // unit_ns
        self._times = self._progression(start, content.step_ns // unit_ns)
        self._segments = self._common_segments()
        common = None
        if self._segments is not None:
            common = [(one.position, one.end - one.begin) for one in self._segments]
        self._sums = GridSums(expectation, self.shape, common)

    def _progression(self, firsts: NDArray[np.int64], step: int) -> _Progression:
        """``firsts`` (p,) are the values of the pieces' first samples."""
        expectation = self._expectation
        counts = expectation.counts
        if self.uniform:
            joined = self._single
            if not joined:
                follows = firsts[1:] == firsts[:-1] + counts[:-1] * step
                follows[expectation.first_pieces[1:] - 1] = True
                joined = bool(follows.all())
            if joined:
                base = firsts if self._single else firsts[expectation.first_pieces]
                if (base == base[0]).all():
                    base = base[:1]
                steps = np.arange(self.shape[1], dtype=np.int64)
                steps *= step
                return _Progression(base[:, None], steps)
        values = np.arange(expectation.n_samples, dtype=np.int64) * step
        values += np.repeat(firsts - self._begins() * step, counts)
        return _Progression(values.reshape(self.shape), None)

    def _begins(self) -> NDArray[np.int64]:
        """Return the pieces' first samples among all, int64 (p,)."""
        counts = self._expectation.counts
        begins: NDArray[np.int64] = np.cumsum(counts) - counts
        return begins

    def _common_segments(self) -> list[_Segment] | None:
        """Return the columns of the fragments, where all rows have them alike; None otherwise."""
        expectation = self._expectation
        n_rows = self.shape[0]
        n_segments, rest = divmod(len(expectation.counts), n_rows)
        if rest or n_segments * _LEAST_PER_SEGMENT > expectation.n_samples + _LEAST_PER_SEGMENT:
            return None
        counts = expectation.counts.reshape(n_rows, n_segments)
        positions = expectation.positions.reshape(n_rows, n_segments)
        if not ((counts == counts[0]).all() and (positions == positions[0]).all()):
            return None
        ends = np.cumsum(counts[0])
        columns = zip(
            (ends - counts[0]).tolist(), ends.tolist(), positions[0].tolist(), strict=True
        )
        return [_Segment(*place, number) for number, place in enumerate(columns)]

    def store_text(
        self, out: NDArray[np.uint8], lines: LineContent, rows: slice, columns: slice
    ) -> None:
        """Store the text of a block of log entries into lines ``out`` (rows, columns, n_chars)."""
        if self._segments is None:
            lines.store_text_at(out, *self._places(rows, columns))
            return
        for part, number, positions in self._parts(columns):
            lines.store_text(out[:, part], self._keys(rows, number), positions)

    def bits(self, values: ValueContent, rows: slice, columns: slice) -> NDArray[np.uint64]:
        """Return the bit patterns of a block of metric samples, uint64 (rows, columns)."""
        if self._segments is None:
            return values.bits_at(*self._places(rows, columns))
        parts = [
            values.bits(self._keys(rows, number), positions)
            for _, number, positions in self._parts(columns)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _parts(self, columns: slice) -> Iterator[tuple[slice, int, slice]]:
        """Yield the segments of a block: columns in it, number, positions in the fragments."""
        for one in self._segments or ():
            begin, end = max(one.begin, columns.start), min(one.end, columns.stop)
            if begin < end:
                first = one.position + begin - one.begin
                part = slice(begin - columns.start, end - columns.start)
                yield part, one.number, slice(first, first + end - begin)

    def _keys(self, rows: slice, number: int) -> NDArray[np.uint64]:
        """Return the keys of the rows' fragments in a segment, uint64 (rows,)."""
        keys = self._expectation.keys.reshape(self.shape[0], -1)[rows, number]
        return np.ascontiguousarray(keys)

    def _places(self, rows: slice, columns: slice) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the keys and positions of a block's samples, (rows, columns) each."""
        expectation = self._expectation
        pieces = expectation.piece_of.reshape(self.shape)[rows, columns]
        return expectation.keys[pieces], self._positions(rows, columns)

    def _positions(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the positions of a block's samples in their fragments, int64 (rows, columns)."""
        return self._expectation.sample_positions.reshape(self.shape)[rows, columns]

    def timestamps(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the timestamps of a block in the grid's unit, int64 (rows, columns).

        They are (1, columns) where all rows have the same.
        """
        return self._times.block(rows, columns)

    def add(
        self, rows: slice, columns: slice, words: NDArray[np.uint64], *, overwrite: bool = False
    ) -> None:
        """Take a block of received samples for the checksum: words (rows, columns, n_words).

        With ``overwrite`` they may be used as scratch.
        """
        self._sums.add(rows, columns, words, overwrite=overwrite)

    def sums(self) -> BlockSums:
        """Return what the pieces add to the sums of blocks, once all parts were taken."""
        return self._sums.sums()
