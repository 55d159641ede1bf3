"""Predicting an answer of Loki byte by byte, and comparing it in blocks.

Rows may differ in what the target adds behind the line, as a detected level: where a block is not
as predicted, the rows with another addition are searched for, and the bytes between them compared
as they are. Each byte of the answer is compared, or belongs to an addition that is tolerated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.generate.encoder import blocks
from looker.generate.logs import TIMESTAMP_DIGITS
from looker.verify.grid import Grid
from looker.wire.checksum import words_of_lines
from looker.wire.columns import BLOCK_BYTES, records_of, store_digits
from looker.wire.loki_answer import ROW_TEXT_AT, ElementForm, RowForm, extra_names
from looker.wire.records import gather, scatter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.verify.block_sums import BlockSums
    from looker.verify.expectation import Expectation

_TIME_AT: Final = 2
_COMMA: Final = ord(",")
_CLOSE: Final = ord("]")
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_ELEMENT_END: Final = b"},"
_ELEMENT_END_BEHIND_ROW: Final = np.frombuffer(b"]" + _ELEMENT_END, np.uint8)
_MAX_EXTRA_BYTES: Final = 4096
_MAX_NEW_EXTRAS: Final = 64
"""Additions learnt within one answer: more of them is no level, and parsing is faster."""
_MAX_KNOWN_EXTRAS: Final = 1024
_LOW_DIGITS: Final = 8
_LOW_UNIT: Final = 10**_LOW_DIGITS
_HIGH_DIGITS: Final = TIMESTAMP_DIGITS - _LOW_DIGITS
_MAX_PREFIXES: Final = 4096
_MAX_LAID: Final = 4
"""Blocks of which the punctuation is kept between answers: pages mostly have the same."""


@dataclass(eq=False, slots=True)
class Prediction:
    """What an answer that was as predicted has shown.

    ``sums`` are the checksum's, of the received bytes; ``end`` is where the array of elements
    closes. ``odd`` counts the rows by their additions that have other ones than predicted.
    """

    sums: BlockSums
    end: int
    odd: Counter[bytes]


@dataclass(eq=False, slots=True)
class _Block:
    """Predicted bytes ``expected`` (n_bytes,) of a part of the grid.

    Row ``j`` of element ``i`` of the block begins at ``first + i * stride + j * width``, unless
    ``scattered`` int64 (b,) says where the rows begin.
    """

    grid_rows: slice
    grid_columns: slice
    expected: NDArray[np.uint8]
    timestamps: NDArray[np.int64]
    width: int
    first: int = 0
    stride: int = 0
    scattered: NDArray[np.int64] | None = None

    @property
    def starts(self) -> Sequence[int]:
        """Where the rows begin, ascending, to look up single ones."""
        if self.scattered is None and len(self.timestamps) == 1:
            n = self.timestamps.shape[1]
            return range(self.first, self.first + n * self.width, self.width)
        return self.rows_at().data

    @property
    def shape(self) -> tuple[int, int]:
        """Elements and rows of each."""
        k, n = self.timestamps.shape
        return k, n

    def rows_at(self) -> NDArray[np.int64]:
        """Return where the rows begin, int64 (b,), ascending."""
        if self.scattered is not None:
            return self.scattered
        k, n = self.shape
        elements = np.arange(k, dtype=np.int64)[:, None] * self.stride + self.first
        return (elements + np.arange(n, dtype=np.int64) * self.width).reshape(-1)


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
    """Predicts the answers for one generation's logs.

    Without ``regenerate``, lines are taken as they come: all but them is compared.
    """

    def __init__(self, content: Content, extras: Extras, *, regenerate: bool = True) -> None:
        self._regenerate = regenerate
        self._lines = content.lines()
        self._extras = extras
        self._templates: dict[RowForm, NDArray[Any]] = {}
        self._rows = np.empty((1, 0, 0), np.uint8)
        self._laid: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def compare(
        self, body: bytes, begin: int, expectation: Expectation, form: ElementForm
    ) -> Prediction | None:
        """Compare the elements from ``begin`` on; None where they are not as predicted."""
        grid = Grid(expectation)
        walk = _Walk(body, begin, form.row, self._extras)
        cut = self._uniform_blocks if grid.uniform else self._ragged_blocks
        for block in cut(grid, expectation, form):
            if not self._regenerate and not walk.adopt(block):
                return None
            words = walk.words(block)
            if words is None:
                return None
            grid.add(block.grid_rows, block.grid_columns, words, overwrite=True)
        return Prediction(grid.sums(), walk.at - 1, walk.odd)

    def _uniform_blocks(
        self, grid: Grid, expectation: Expectation, form: ElementForm
    ) -> Iterator[_Block]:
        """Yield blocks of whole elements, or of rows of one element, stored as they are sent."""
        n_rows, n_columns = grid.shape
        width = form.row.width
        template = self._template(form.row)
        for part, columns in blocks(n_rows, n_columns, max(1, BLOCK_BYTES // width)):
            k, n = part.stop - part.start, columns.stop - columns.start
            lead = form.head.width if columns.start == 0 else 0
            tail = len(_ELEMENT_END) if columns.stop == n_columns else 0
            size = lead + n * width + tail
            layout = (k, n, lead, tail)
            expected = self._laid.get(layout)
            if expected is None:
                if len(self._laid) == _MAX_LAID:
                    self._laid.clear()
                expected = self._laid[layout] = np.empty((k, size), np.uint8)
                rows = expected[:, lead : lead + n * width].reshape(k, n, width)
                records_of(rows)[...] = template
            rows = expected[:, lead : lead + n * width].reshape(k, n, width)
            if tail:
                expected[:, -1 - tail :] = _ELEMENT_END_BEHIND_ROW
            if lead:
                form.head.store(expected[:, :lead], expectation.stream_numbers[part])
            if tail and part.stop == n_rows:
                expected[-1, -1] = _CLOSE
            timestamps = self._fill(rows, grid, part, columns)
            yield _Block(part, columns, expected.reshape(-1), timestamps, width, lead, size)

    def _ragged_blocks(
        self, grid: Grid, expectation: Expectation, form: ElementForm
    ) -> Iterator[_Block]:
        """Yield blocks of rows of any elements, scattered to where they are sent."""
        width, head_width = form.row.width, form.head.width
        ends = np.cumsum(expectation.stream_counts)
        firsts = ends - expectation.stream_counts
        n_all = int(ends[-1])
        heads = form.head.render(expectation.stream_numbers)
        template = self._template(form.row)
        per_block = max(1, BLOCK_BYTES // width)
        for first in range(0, n_all, per_block):
            columns = slice(first, min(first + per_block, n_all))
            n = columns.stop - first
            begun = slice(*np.searchsorted(firsts, (first, columns.stop)))
            ended = slice(*np.searchsorted(ends, (first + 1, columns.stop + 1)))
            between = np.zeros(n + 1, np.int64)
            between[firsts[begun] - first] += head_width
            between[ends[ended] - first] += len(_ELEMENT_END)
            at = np.arange(n + 1) * width + np.cumsum(between)
            rows = self._rows_of_template(template, n)
            last = ends[ended] - 1 - first
            rows[0, last, -1] = _CLOSE
            timestamps = self._fill(rows, grid, slice(0, 1), columns)
            expected = np.empty(int(at[-1]), np.uint8)
            scatter(expected, at[:-1], rows[0])
            rows[0, last, -1] = _COMMA
            scatter(expected, at[firsts[begun] - first] - head_width, heads[begun])
            closing = at[ends[ended] - 1 - first] + width
            expected[closing] = ord("}")
            expected[closing + 1] = ord(",")
            if columns.stop == n_all:
                expected[-1] = _CLOSE
            yield _Block(slice(0, 1), columns, expected, timestamps, width, scattered=at[:-1])

    def _rows_of_template(self, template: NDArray[Any], n: int) -> NDArray[np.uint8]:
        """Return rows (1, n, width) without their times and texts, to be given back like that."""
        if self._rows.shape[1] < n:
            self._rows = np.empty((1, n, template.itemsize), np.uint8)
            records_of(self._rows)[...] = template
        return self._rows[:, :n]

    def _template(self, row: RowForm) -> NDArray[Any]:
        """Return a row without its time and its text, as one record."""
        if row not in self._templates:
            template = row.template().copy()
            if self._lines.include_time:
                template[ROW_TEXT_AT + TIMESTAMP_DIGITS] = ord(":")
            self._templates = {row: records_of(template[None])}
            self._rows, self._laid = np.empty((1, 0, 0), np.uint8), {}
        return self._templates[row]

    def _fill(
        self, rows: NDArray[np.uint8], grid: Grid, part: slice, columns: slice
    ) -> NDArray[np.int64]:
        """Store timestamps and lines into rows (k, n, width) made of the template.

        Return the timestamps (k, n) in ns.
        """
        timestamps = np.broadcast_to(grid.timestamps(part, columns), rows.shape[:2])
        digits = rows[..., _TIME_AT : _TIME_AT + TIMESTAMP_DIGITS]
        store_times(digits, timestamps)
        if not self._regenerate:
            return timestamps
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
    target = records_of(out[..., :_HIGH_DIGITS])
    if n_prefixes == 1:
        target[...] = np.frombuffer(b"%0*d" % (_HIGH_DIGITS, lowest), target.dtype)
        low = timestamps - lowest * _LOW_UNIT
    else:
        prefixes = np.empty((n_prefixes, _HIGH_DIGITS), np.uint8)
        store_digits(prefixes, np.arange(lowest, lowest + n_prefixes))
        target[...] = records_of(prefixes)[high - lowest]
        low = timestamps - high * _LOW_UNIT
    store_digits(out[..., _HIGH_DIGITS:], low.astype(np.uint32))


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
        self.odd: Counter[bytes] = Counter()

    def adopt(self, block: _Block) -> bool:
        """Take a block's lines from the answer, so that they compare as equal.

        False where they are not of the form that lines have: a quote would end a line.
        """
        n_chars = self._row.n_chars
        if self.at + len(block.expected) > len(self._buffer):
            return False
        if block.scattered is not None:
            received = gather(self._buffer, block.scattered + (self.at + ROW_TEXT_AT), n_chars)
            scatter(block.expected, block.scattered + ROW_TEXT_AT, received)
        else:
            shape, strides = (*block.shape, n_chars), (block.stride, block.width, 1)
            first = block.first + ROW_TEXT_AT
            received = np.ndarray(shape, np.uint8, self._buffer, self.at + first, strides)
            np.ndarray(shape, np.uint8, block.expected, first, strides)[...] = received
        return not ((received == _QUOTE) | (received == _BACKSLASH)).any()

    def words(self, block: _Block) -> NDArray[np.uint64] | None:
        """Return a block's received lines as words (k, n, n_words).

        None where it is not as predicted.
        """
        begin = self.at + ROW_TEXT_AT
        if not self._body.startswith(block.expected.data, self.at):
            shifts = self._walk(block.expected.data, block.starts)
            if shifts is None:
                return None
            lines_at = block.rows_at() + (np.cumsum(shifts[:-1]) + begin)
        else:
            self.at += len(block.expected)
            if block.scattered is None:
                shape, strides = (*block.shape, self._row.n_chars), (block.stride, block.width, 1)
                return words_of_lines(
                    np.ndarray(shape, np.uint8, self._buffer, begin + block.first, strides)
                )
            lines_at = block.scattered + begin
        return self._gathered(lines_at).reshape(*block.shape, -1)

    def _gathered(self, lines_at: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the words (b, n_words) of lines that begin at ``lines_at`` (b,), ascending."""
        n_chars = self._row.n_chars
        size = -(-n_chars // 8) * 8
        if lines_at[-1] + size > len(self._buffer):
            return words_of_lines(gather(self._buffer, lines_at, n_chars))
        # with what comes behind each line: one copy instead of two
        words = gather(self._buffer, lines_at, size).view(np.uint64)
        words[:, -1] &= np.uint64(2**64 - 1 >> 8 * (size - n_chars))
        return words

    def _walk(self, expected: memoryview, starts: Sequence[int]) -> NDArray[np.int64] | None:
        """Compare a block some of whose rows have other additions.

        Return by how much each row is shifted against the one before it (b + 1,), or None.
        """
        body, fixed, usual, odd = self._body, self._fixed, len(self._row.extra), self.odd
        n = len(starts)
        shifts = np.zeros(n + 1, np.int64)
        at, done, first, step = self.at, 0, 0, 1
        while True:
            row = self._odd_row(starts, first, step, at - done)
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
            extra = body[at:end]
            if end < 0 or not (extra in odd or self._tolerates(extra)):
                return None
            odd[extra] += 1
            shifts[row + 1] = end - at - usual
            step = (row - first + 1) // 2 or 1
            at, done, first = end, until + usual, row + 1

    def _odd_row(self, starts: Sequence[int], first: int, step: int, shift: int) -> int:
        """Return the first row from ``first`` on that does not end where it is expected to.

        It is searched for in growing steps and then by halving, which one byte of a row tells.
        Where that is wrong, the comparison shows it.
        """
        body, n = self._body, len(starts)
        shift += self._row.width - 2
        low, high = first, n
        # rows that would end behind the body end elsewhere
        n_bytes = len(body) - shift
        while low < high:
            # only those below ``low`` are known to end as expected
            probe = low + step - 1
            if probe >= high:
                probe = high - 1
            at = starts[probe]
            if at < n_bytes and body[at + shift] == _CLOSE:
                low = probe + 1
                step *= 2
            else:
                high = probe
                break
        while low < high:
            middle = (low + high) // 2
            at = starts[middle]
            if at < n_bytes and body[at + shift] == _CLOSE:
                low = middle + 1
            else:
                high = middle
        return low

    def _differing_row(
        self, expected: memoryview, starts: Sequence[int], rows: range, at: int, done: int
    ) -> int:
        """Return the first of ``rows`` that differs up to its bracket; ``rows.stop`` if none does.

        Bytes from ``done`` on are compared with those of the answer from ``at`` on.
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
        """Tell whether an addition that this answer has not had yet is tolerated."""
        self._n_new += 1
        return self._n_new <= _MAX_NEW_EXTRAS and self._known.names(extra) is not None
