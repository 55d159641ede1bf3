"""Predicting an answer of Loki byte by byte, and comparing it in blocks.

Rows may differ in what the target adds behind the line, as a detected level: where a block is not
as predicted, the rows with another addition are searched for, and the bytes between them compared
as they are. Each byte of the answer is compared, or belongs to an addition that is tolerated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.encoder import blocks
from looker.generate.logs import TIMESTAMP_DIGITS
from looker.verify.grid import Grid
from looker.wire.checksum import line_sums, time_sums
from looker.wire.columns import BLOCK_BYTES, records_of, store_digits
from looker.wire.loki_answer import ROW_TEXT_AT, ElementForm, RowForm, extra_names
from looker.wire.records import gather, scatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.verify.expectation import Expectation

_TIME_AT: Final = 2
_CLOSE: Final = ord("]")
_MAX_EXTRA_BYTES: Final = 4096
_MAX_NEW_EXTRAS: Final = 64
"""Additions learnt within one answer: more of them is no level, and parsing is faster."""
_MAX_KNOWN_EXTRAS: Final = 1024
_LOW_DIGITS: Final = 8
_LOW_UNIT: Final = 10**_LOW_DIGITS
_MAX_PREFIXES: Final = 4096


@dataclass(eq=False, slots=True)
class Prediction:
    """What an answer that was as predicted has shown.

    ``sums`` uint64 (p,) are the checksum's shares of the pieces, of the received bytes; ``end`` is
    where the array of elements closes. ``extras`` counts rows by the addition that they have.
    """

    sums: NDArray[np.uint64]
    end: int
    extras: Counter[bytes]


@dataclass(eq=False, slots=True)
class _Block:
    """Predicted bytes, and where in them the rows begin: int64 (b,), ascending."""

    grid_rows: slice
    grid_columns: slice
    expected: NDArray[np.uint8]
    rows_at: NDArray[np.int64]
    shape: tuple[int, int]
    timestamps: NDArray[np.int64]


@dataclass(eq=False, slots=True)
class Extras:
    """Additions to rows that are tolerated, and the names in each."""

    tolerated: frozenset[str]
    known: dict[bytes, frozenset[str]] = field(default_factory=dict)

    def names(self, extra: bytes) -> frozenset[str] | None:
        """Return the names in an addition; None if it is not tolerated."""
        names = self.known.get(extra)
        if names is None:
            names = extra_names(extra, self.tolerated)
            if names is not None and len(self.known) < _MAX_KNOWN_EXTRAS:
                self.known[extra] = names
        return names


class LogPredictor:
    """Predicts the answers for one generation's logs."""

    def __init__(self, content: Content, extras: Extras) -> None:
        self._lines = content.lines()
        self._extras = extras

    def compare(
        self, body: bytes, begin: int, expectation: Expectation, form: ElementForm
    ) -> Prediction | None:
        """Compare the elements from ``begin`` on; None where they are not as predicted."""
        grid = Grid(expectation)
        products = np.empty(grid.shape, np.uint64)
        walk = _Walk(body, begin, form.row, self._extras)
        cut = self._uniform_blocks if grid.uniform else self._ragged_blocks
        for block in cut(grid, expectation, form):
            lines = walk.lines(block)
            if lines is None:
                return None
            rows, columns = block.grid_rows, block.grid_columns
            inner_sums = line_sums(lines)
            inner_sums += time_sums(block.timestamps)
            products[rows, columns] = grid.weighted(inner_sums, rows, columns)
        n_same = expectation.n_samples - walk.extras.total()
        if n_same:
            walk.extras[form.row.extra] += n_same
        return Prediction(grid.sums(products), walk.at - 1, walk.extras)

    def _uniform_blocks(
        self, grid: Grid, expectation: Expectation, form: ElementForm
    ) -> Iterator[_Block]:
        """Yield blocks of whole elements, or of rows of one element, stored as they are sent."""
        n_rows, n_columns = grid.shape
        width = form.row.width
        per_block = max(1, BLOCK_BYTES // width)
        form_of_block = (0, 0, 0, 0)
        for part, columns in blocks(n_rows, n_columns, per_block):
            k, n = part.stop - part.start, columns.stop - columns.start
            lead = form.head.width if columns.start == 0 else 0
            tail = 2 if columns.stop == n_columns else 0
            size = lead + n * width + tail
            if form_of_block != (k, n, lead, tail):
                form_of_block = (k, n, lead, tail)
                expected = np.empty((k, size), np.uint8)
                rows = expected[:, lead : lead + n * width].reshape(k, n, width)
                records_of(rows)[...] = records_of(self._template(form.row))
                if tail:
                    rows[:, -1, -1] = _CLOSE
                    expected[:, -2:] = (ord("}"), ord(","))
            if lead:
                form.head.store(expected[:, :lead], expectation.stream_numbers[part])
            if tail and part.stop == n_rows:
                expected[-1, -1] = _CLOSE
            timestamps = self._fill(rows, grid, part, columns)
            at = np.arange(k)[:, None] * size + (lead + np.arange(n) * width)
            flat = expected.reshape(-1)
            yield _Block(part, columns, flat, at.reshape(-1), (k, n), timestamps)

    def _ragged_blocks(
        self, grid: Grid, expectation: Expectation, form: ElementForm
    ) -> Iterator[_Block]:
        """Yield blocks of rows of any elements, scattered to where they are sent."""
        width, head_width = form.row.width, form.head.width
        ends = np.cumsum(expectation.stream_counts)
        firsts = ends - expectation.stream_counts
        n_all = int(ends[-1])
        heads = form.head.render(expectation.stream_numbers)
        per_block = max(1, BLOCK_BYTES // width)
        for first in range(0, n_all, per_block):
            columns = slice(first, min(first + per_block, n_all))
            n = columns.stop - first
            begun = slice(*np.searchsorted(firsts, (first, columns.stop)))
            ended = slice(*np.searchsorted(ends, (first + 1, columns.stop + 1)))
            between = np.zeros(n + 1, np.int64)
            between[firsts[begun] - first] += head_width
            between[ends[ended] - first] += 2
            at = np.arange(n + 1) * width + np.cumsum(between)
            rows = np.empty((1, n, width), np.uint8)
            records_of(rows)[...] = records_of(self._template(form.row))
            rows[0, ends[ended] - 1 - first, -1] = _CLOSE
            timestamps = self._fill(rows, grid, slice(0, 1), columns)
            expected = np.empty(int(at[-1]), np.uint8)
            scatter(expected, at[:-1], rows[0])
            scatter(expected, at[firsts[begun] - first] - head_width, heads[begun])
            closing = at[ends[ended] - 1 - first] + width
            expected[closing] = ord("}")
            expected[closing + 1] = ord(",")
            if columns.stop == n_all:
                expected[-1] = _CLOSE
            yield _Block(slice(0, 1), columns, expected, at[:-1], (1, n), timestamps)

    def _template(self, row: RowForm) -> NDArray[np.uint8]:
        template = row.template().copy()
        if self._lines.include_time:
            template[ROW_TEXT_AT + TIMESTAMP_DIGITS] = ord(":")
        return template

    def _fill(
        self, rows: NDArray[np.uint8], grid: Grid, part: slice, columns: slice
    ) -> NDArray[np.int64]:
        """Store timestamps and lines into rows (k, n, width) made of the template.

        Return the timestamps (k, n) in ns.
        """
        timestamps = grid.timestamps(part, columns)
        digits = rows[..., _TIME_AT : _TIME_AT + TIMESTAMP_DIGITS]
        store_times(digits, timestamps)
        lines = rows[..., ROW_TEXT_AT : ROW_TEXT_AT + self._lines.n_chars]
        if self._lines.include_time:
            records_of(lines[..., :TIMESTAMP_DIGITS])[...] = records_of(digits)
        grid.store_text(lines, self._lines, part, columns)
        return timestamps


def store_times(out: NDArray[np.uint8], timestamps: NDArray[np.int64]) -> None:
    """Store timestamps (...) as 19 digits (..., 19); those far apart cost more.

    All but the last eight digits are the same for many: each such prefix is made once.
    """
    high = timestamps // _LOW_UNIT
    lowest = int(high.min())
    n_prefixes = int(high.max()) - lowest + 1
    if lowest < 0 or n_prefixes > _MAX_PREFIXES:
        store_digits(out, timestamps)
        return
    n_high = TIMESTAMP_DIGITS - _LOW_DIGITS
    prefixes = np.empty((n_prefixes, n_high), np.uint8)
    store_digits(prefixes, np.arange(lowest, lowest + n_prefixes))
    target = records_of(out[..., :n_high])
    if n_prefixes == 1:
        target[...] = records_of(prefixes)
    else:
        target[...] = records_of(prefixes)[high - lowest]
    low = timestamps - high * _LOW_UNIT
    store_digits(out[..., n_high:], low.astype(np.uint32))


class _Walk:
    """Goes through an answer block by block; ``at`` is where the next block begins."""

    def __init__(self, body: bytes, at: int, row: RowForm, extras: Extras) -> None:
        self._body = body
        self._buffer = np.frombuffer(body, np.uint8)
        self._row = row
        self._fixed = ROW_TEXT_AT + row.n_chars + 1
        self._known = extras
        self._n_new = 0
        self.at = at
        self.extras: Counter[bytes] = Counter()

    def lines(self, block: _Block) -> NDArray[np.uint8] | None:
        """Return a block's received lines (k, n, n_chars); None where it is not as predicted."""
        n_chars = self._row.n_chars
        if self._body.startswith(block.expected.data, self.at):
            begin = self.at + ROW_TEXT_AT
            self.at += len(block.expected)
            return self._view(block, begin)
        begin = self.at + ROW_TEXT_AT
        shifts = self._walk(block.expected.data, block.rows_at)
        if shifts is None:
            return None
        rows_at = block.rows_at + begin + np.cumsum(shifts[:-1])
        return gather(self._buffer, rows_at, n_chars).reshape(*block.shape, n_chars)

    def _view(self, block: _Block, begin: int) -> NDArray[np.uint8]:
        """Return the lines of a block that is as predicted; no copy where they lie evenly."""
        k, n = block.shape
        n_chars, width = self._row.n_chars, self._row.width
        size = len(block.expected) // k
        at = block.rows_at
        if k == 1 and int(at[-1] - at[0]) != (n - 1) * width:
            return gather(self._buffer, at + begin, n_chars).reshape(1, n, n_chars)
        lines: NDArray[np.uint8] = np.ndarray(
            (k, n, n_chars), np.uint8, self._buffer, begin + int(at[0]), (size, width, 1)
        )
        return lines

    def _walk(self, expected: memoryview, rows_at: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Compare a block some of whose rows have other additions.

        Return by how much each row is shifted against the one before it (b + 1,), or None.
        """
        body, fixed, usual = self._body, self._fixed, self._row.extra
        starts = rows_at.data
        n = len(starts)
        shifts = np.zeros(n + 1, np.int64)
        at, done, first = self.at, 0, 0
        while True:
            row = self._odd_row(starts, first, at - done)
            until = starts[row] + fixed if row < n else len(expected)
            if not body.startswith(expected[done:until], at):
                # a row with an addition of the same length, or damage
                rows = range(first, row)
                row = self._differing_row(expected, starts, rows, at, done)
                if row == rows.stop:
                    return None
                until = starts[row] + fixed
                if not body.startswith(expected[done:until], at):
                    return None
            at += until - done
            if row == n:
                self.at = at
                return shifts
            end = body.find(b"]", at, at + _MAX_EXTRA_BYTES)
            if end < 0 or not self._tolerates(body[at:end]):
                return None
            shifts[row + 1] = end - at - len(usual)
            at, done, first = end, until + len(usual), row + 1

    def _odd_row(self, starts: memoryview, first: int, shift: int) -> int:
        """Return the first row from ``first`` on that does not end where it is expected to.

        It is searched for in growing steps and then by halving, which one byte of a row tells.
        Where that is wrong, the comparison shows it.
        """
        body, n_bytes, n = self._body, len(self._body), len(starts)
        shift += self._row.width - 2
        low, step, probe = first, 1, first
        while probe < n:
            at = starts[probe] + shift
            if at >= n_bytes or body[at] != _CLOSE:
                break
            low = probe + 1
            probe += step
            step *= 2
        high = min(probe, n)
        while low < high:
            middle = (low + high) // 2
            at = starts[middle] + shift
            if at < n_bytes and body[at] == _CLOSE:
                low = middle + 1
            else:
                high = middle
        return low

    def _differing_row(
        self, expected: memoryview, starts: memoryview, rows: range, at: int, done: int
    ) -> int:
        """Return the first of some rows that differs up to its end, of bytes from ``done`` on.

        That of the last one and 1 where none does.
        """
        to_end = self._row.width - 1
        low, high = rows.start, rows.stop
        while low < high:
            middle = (low + high) // 2
            if self._body.startswith(expected[done : starts[middle] + to_end], at):
                low = middle + 1
            else:
                high = middle
        return low

    def _tolerates(self, extra: bytes) -> bool:
        seen = self.extras[extra]
        if not seen:
            if self._known.names(extra) is None:
                return False
            self._n_new += 1
            if self._n_new > _MAX_NEW_EXTRAS:
                return False
        self.extras[extra] = seen + 1
        return True
