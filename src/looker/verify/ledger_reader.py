"""Reading a ledger file: mapped into memory, and looked at part by part."""

from __future__ import annotations

import itertools
import mmap
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from looker.files import open_to_read
from looker.model.fragment import LEDGER_DTYPE, FragmentState
from looker.verify.ledger_format import (
    ALIGNMENT,
    BLOCK_MAGIC,
    FILE_HEAD_BYTES,
    BlockHead,
    BlockKind,
    FileHead,
    LedgerError,
    LedgerHeader,
    Link,
    next_link,
)
from looker.verify.parts import EVER, Part, Window, bands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_READ_BYTES: Final = 1 << 20
_SCAN_ROWS: Final = 1 << 18
_TIME_SAMPLES: Final = 1 << 16
_INDEX_DTYPE: Final = np.dtype(
    [
        ("kind", "<u4"),
        ("cycle", "<u4"),
        ("generation", "<u4"),
        ("worker", "<u4"),
        ("first", "<i8"),
        ("end", "<i8"),
        ("n_rows", "<i8"),
        ("least_ns", "<i8"),
        ("greatest_ns", "<i8"),
        ("offset", "<i8"),
    ]
)


@dataclass(frozen=True, eq=False, slots=True)
class _Slice:
    """Rows ``low`` to ``high - 1`` of a block: those of a range of streams."""

    block: NDArray[Any]
    low: int
    high: int
    least_ns: int
    greatest_ns: int


class LedgerFile:
    """A ledger file as it was when it was opened; 64 bytes of memory per block.

    ``n_ignored_bytes`` is the length of what stands behind the last whole block: the beginning of
    another one, of a process that was killed. ``n_acknowledged`` counts acknowledged fragments.
    Both are 0 where the file is not checked.
    """

    def __init__(self, path: Path, *, end: int | None = None) -> None:
        """Check a file from end to end, or, if ``end`` is where that has ended, use it as it is.

        Raise LedgerError where it is no ledger, or damaged; OSError where it cannot be read.
        """
        with open_to_read(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            first = file.read(FILE_HEAD_BYTES)
            self.head = FileHead.unpack(first)
            text = file.read(self.head.text_bytes)
            self.head.check(first, text)
            self.header = LedgerHeader.unpack(text)
            checker = _RowChecker() if end is None else None
            self._index, self.end = _scan(file, self.head, size if end is None else end, checker)
            self.n_acknowledged = 0 if checker is None else checker.n_acknowledged
            self.n_ignored_bytes = 0 if end is not None else size - self.end
            self._map = mmap.mmap(file.fileno(), self.end, prot=mmap.PROT_READ)
        self._rows = self._index[self._index["kind"] == BlockKind.ROWS]
        self._width_ns = self.header.config.width_ns

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._rows["n_rows"].sum())

    @property
    def generations(self) -> list[int]:
        """Generations with rows, ascending."""
        return [int(number) for number in np.unique(self._rows["generation"])]

    @property
    def n_cycles(self) -> int:
        """Number of cycles with rows."""
        return len(np.unique(self._rows["cycle"]))

    @property
    def range_ns(self) -> tuple[int, int]:
        """The least start of a fragment, and an end behind all samples; (0, 0) without rows."""
        if not len(self._rows):
            return 0, 0
        least, greatest = self._rows["least_ns"].min(), self._rows["greatest_ns"].max()
        return int(least), int(greatest) + self._width_ns + 1

    @property
    def is_closed(self) -> bool:
        """Whether every worker has said that it has written nothing else."""
        closed = self._index["worker"][self._index["kind"] == BlockKind.CLOSING]
        return len(np.unique(closed)) == self.header.config.n_workers

    def parts(
        self, generation: int, streams: tuple[int, int], *, group_size: int, max_rows: int
    ) -> Iterator[Part]:
        """Yield the rows of a generation's streams (the first one, and the end) by parts.

        A part has about ``max_rows`` rows at most, however many there are: bands of streams, and
        windows of time where one group has more. Bands in which no stream has a row are left out.
        """
        of_generation = self._rows[self._rows["generation"] == generation]
        # as if all streams had as many
        share = (streams[1] - streams[0]) / self.header.config.n_streams
        n_rows = int(of_generation["n_rows"].sum() * share)
        unknown = self._open_streams(generation)
        for first, end in bands(*streams, group_size=group_size, n_rows=n_rows, max_rows=max_rows):
            slices = self._slices(of_generation, first, end)
            is_open = any(low < end and high > first for low, high in unknown)
            for window in self._windows(slices, max_rows):
                rows = self._rows_in(slices, window)
                if len(rows):
                    yield Part(first, end, rows, window, is_open)

    def _open_streams(self, generation: int) -> list[tuple[int, int]]:
        """Return ranges of streams of which there may be more than the ledger tells."""
        found = []
        for worker in np.unique(self._rows["worker"]):
            of_worker = self._index[self._index["worker"] == worker]
            closed = (of_worker["kind"] == BlockKind.CLOSING).any()
            newest = of_worker["generation"].max()
            if not closed and newest == generation:
                mine = of_worker[of_worker["generation"] == generation]
                found.append((int(mine["first"].min()), int(mine["end"].max())))
        return found

    def _slices(self, blocks: NDArray[Any], first: int, end: int) -> list[_Slice]:
        touching = blocks[(blocks["first"] < end) & (blocks["end"] > first)]
        found = []
        for block in touching:
            rows = np.frombuffer(
                self._map, LEDGER_DTYPE, int(block["n_rows"]), int(block["offset"])
            )
            # numpy's own search copies the column, and so reads the whole block
            low, high = (bisect_left(rows["stream"], stream) for stream in (first, end))
            if low < high:
                least, greatest = int(block["least_ns"]), int(block["greatest_ns"])
                found.append(_Slice(rows, low, high, least, greatest))
            self._release()
        return found

    def _windows(self, slices: list[_Slice], max_rows: int) -> Iterator[Window]:
        """Cut all time into windows with about ``max_rows`` of the rows in each."""
        total = sum(one.high - one.low for one in slices)
        n_windows = -(-total // max_rows)
        if n_windows <= 1:
            yield EVER
            return
        every = max(1, total // _TIME_SAMPLES)
        starts = [rows["start_ns"][::every].copy() for rows in self._pieces(slices)]
        times = np.sort(np.concatenate(starts))
        cuts = np.unique(times[np.arange(1, n_windows) * len(times) // n_windows]).tolist()
        bounds = [EVER.begin_ns, *(cut for cut in cuts if cut > times[0]), EVER.end_ns]
        for begin, end in itertools.pairwise(bounds):
            yield Window(begin, end)

    def _rows_in(self, slices: list[_Slice], window: Window) -> NDArray[Any]:
        """Return the rows of which some sample may lie in a window, sorted."""
        begin, end = window.begin_ns, window.end_ns
        # a fragment that begins then has its last sample in the window
        earliest = begin if window.is_first else begin - self._width_ns
        near = [one for one in slices if one.greatest_ns >= earliest and one.least_ns < end]
        found = [np.empty(0, LEDGER_DTYPE)]
        for rows in self._pieces(near):
            starts = rows["start_ns"]
            found.append(rows[(starts >= earliest) & (starts < end)])
        rows = np.concatenate(found)
        return rows[np.lexsort((rows["fragment"], rows["stream"]))]

    def _pieces(self, slices: list[_Slice]) -> Iterator[NDArray[Any]]:
        """Yield the rows of slices, some at a time, where they lie in the file."""
        for one in slices:
            for low in range(one.low, one.high, _SCAN_ROWS):
                yield one.block[low : min(low + _SCAN_ROWS, one.high)]
                self._release()

    def _release(self) -> None:
        """Let go of the pages of the file that were looked at; they stay in the system's cache."""
        self._map.madvise(mmap.MADV_DONTNEED)


class _RowChecker:
    """Reads the rows of blocks from end to end."""

    def __init__(self) -> None:
        self.n_acknowledged = 0

    def are_whole(self, file: IO[bytes], head: BlockHead) -> bool:
        """Tell whether the rows that follow are those that were written."""
        crc, rest, n_acknowledged = 0, head.n_bytes, 0
        while rest:
            piece = file.read(min(rest, _READ_BYTES))
            crc = zlib.crc32(piece, crc)
            rest -= len(piece)
            states = np.frombuffer(piece, LEDGER_DTYPE)["state"]
            n_acknowledged += int(np.count_nonzero(states == FragmentState.ACKNOWLEDGED))
        if crc != head.rows_crc:
            return False
        self.n_acknowledged += n_acknowledged
        return True


def _scan(
    file: IO[bytes], of: FileHead, size: int, checker: _RowChecker | None
) -> tuple[NDArray[Any], int]:
    """Return the index of all whole blocks, and where the last one ends."""
    index = []
    at = FILE_HEAD_BYTES + of.text_bytes
    link = Link(0, of.crc)
    while at < size:
        file.seek(at)
        packed = file.read(of.block_head_bytes)
        head = BlockHead.unpack(packed, of.block_head_bytes)
        offset = at + of.block_head_bytes
        if head is not None and head.link is not None and head.link != link:
            raise LedgerError(_broken(at, link, head.link))
        if head is None or offset + head.n_bytes > size:
            is_whole = False
        else:
            is_whole = checker is None or checker.are_whole(file, head)
        if head is None or not is_whole:
            # the last block may be torn; what lies between whole blocks was never written so
            if _whole_block_follows(file, of, at + ALIGNMENT, size):
                raise LedgerError(f"is damaged: there is no whole block at byte {at}")
            break
        index.append(
            (
                head.kind,
                head.cycle,
                head.generation,
                head.worker,
                head.first_stream,
                head.end_stream,
                head.n_rows,
                head.least_start_ns,
                head.greatest_start_ns,
                offset,
            )
        )
        at, link = offset + head.n_bytes, next_link(link, packed)
    return np.array(index, _INDEX_DTYPE), at


def _broken(at: int, due: Link, found: Link) -> str:
    """Say what is wrong where a whole block does not follow the one before it."""
    if due.number == found.number:
        return (
            f"is damaged: block {found.number}, at byte {at}, does not follow the one before it:"
            " it is of another ledger, or the one before it is"
        )
    return (
        f"is damaged: block {found.number} is at byte {at}, where block {due.number} should be:"
        " blocks were cut out, moved or copied"
    )


def _whole_block_follows(file: IO[bytes], of: FileHead, begin: int, size: int) -> bool:
    """Tell whether a block begins at ``begin`` or later that is whole, its rows included."""
    at = begin
    while at < size:
        file.seek(at)
        piece = file.read(_READ_BYTES)
        found = piece.find(BLOCK_MAGIC)
        if found < 0:
            # the magic may lie across the end of the piece
            at += max(ALIGNMENT, len(piece) - len(BLOCK_MAGIC))
            continue
        at += found
        if (at - begin) % ALIGNMENT == 0:
            file.seek(at)
            head = BlockHead.unpack(file.read(of.block_head_bytes), of.block_head_bytes)
            if head is not None and at + of.block_head_bytes + head.n_bytes <= size:
                return True
        at += 1
    return False
