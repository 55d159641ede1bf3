"""What was pushed: one 32-byte row per fragment, in chunks that go to disk above a limit."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from looker.model.fragment import LEDGER_DTYPE, MAX_REPEATS, FragmentState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from looker.generate.encoder import EncodedBatch

CHUNK_ROWS: Final = 262_144
DEFAULT_MEMORY_BYTES: Final = 512 * 1024 * 1024


@dataclass(eq=False)
class _Chunk:
    rows: NDArray[Any]
    n_used: int = 0
    n_open: int = 0

    @property
    def used(self) -> NDArray[Any]:
        return self.rows[: self.n_used]


@dataclass(eq=False)
class LedgerSlice:
    """Rows of fragments that were encoded together; their state is set as answers come."""

    _chunk: _Chunk
    _rows: NDArray[Any]
    _lock: threading.Lock
    _settled: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self._settled = np.zeros(len(self._rows), np.bool_)

    def settle(self, part: slice, state: FragmentState, *, n_copies: int = 0) -> None:
        """Record what is known of some of these fragments; once for each.

        ``n_copies`` is how many attempts the target may have stored.
        """
        if self._settled[part].any():
            raise AssertionError("a fragment was settled twice")
        self._settled[part] = True
        self._rows["state"][part] = state
        self._rows["n_repeats"][part] = min(MAX_REPEATS, max(0, n_copies - 1))
        with self._lock:
            self._chunk.n_open -= len(self._rows[part])


class Ledger:
    """Append-only columns of one generation's fragments.

    Filled chunks whose fragments are all settled are moved to an unnamed temporary file once more
    than ``memory_bytes`` are held; :meth:`rows_of` reads them back from there. One thread may
    append while another settles.
    """

    def __init__(self, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._chunks: list[_Chunk] = []
        self._file: IO[bytes] | None = None
        self._rows_on_disk = 0
        self._lock = threading.Lock()

    def append(self, encoded: EncodedBatch, cycle: int) -> LedgerSlice:
        """Add a batch's fragments as unsent."""
        batch = encoded.batch
        n_rows = len(batch)
        with self._lock:
            chunk = self._room_for(n_rows)
            chunk.n_open += n_rows
        rows = chunk.rows[chunk.n_used : chunk.n_used + n_rows]
        rows["start_ns"] = batch.start_ns
        rows["checksum"] = encoded.checksums
        rows["stream"] = batch.streams
        rows["fragment"] = batch.fragments
        rows["cycle"] = cycle
        chunk.n_used += n_rows
        return LedgerSlice(chunk, rows, self._lock)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows_on_disk + sum(chunk.n_used for chunk in self._chunks)

    def rows_of(self, first_stream: int, end_stream: int, cycle: int | None = None) -> NDArray[Any]:
        """Return the rows of streams ``first_stream`` to ``end_stream - 1`` that were sent.

        Of one cycle, or of all (None). Sorted by stream and fragment; dtype LEDGER_DTYPE.
        """
        parts = []
        for rows in self._parts():
            streams = rows["stream"]
            wanted = (streams >= first_stream) & (streams < end_stream)
            wanted &= rows["state"] != FragmentState.UNSENT
            if cycle is not None:
                wanted &= rows["cycle"] == cycle
            parts.append(rows[wanted])
        found = np.concatenate(parts) if parts else np.empty(0, LEDGER_DTYPE)
        return found[np.lexsort((found["fragment"], found["stream"]))]

    def sample(self, n_rows: int, random: np.random.Generator) -> NDArray[Any]:
        """Return up to ``n_rows`` rows chosen at random, those that are acknowledged by now.

        The same row may be chosen twice.
        """
        parts = [rows for rows in self._parts() if len(rows)]
        if not parts:
            return np.empty(0, LEDGER_DTYPE)
        ends = np.cumsum([len(rows) for rows in parts])
        numbers = random.integers(0, ends[-1], n_rows)
        of = np.searchsorted(ends, numbers, "right")
        rows = np.empty(n_rows, LEDGER_DTYPE)
        for at, (part, number) in enumerate(zip(of, numbers, strict=True)):
            rows[at] = parts[part][number - ends[part]]
        acknowledged: NDArray[Any] = rows[rows["state"] == FragmentState.ACKNOWLEDGED]
        return acknowledged

    def forget_before(
        self, time_ns: int, width_ns: int, take: Callable[[NDArray[Any]], None] | None = None
    ) -> None:
        """Drop the rows of fragments that end before ``time_ns``; ``take`` is given them first."""
        kept = []
        for rows in self._parts():
            late = rows["start_ns"] + width_ns >= time_ns
            kept.append(rows[late])
            if take is not None:
                take(rows[~late])
        self.close()
        self._chunks = []
        for rows in kept:
            if len(rows):
                self._chunks.append(_Chunk(rows, len(rows)))

    def close(self) -> None:
        """Give up what is on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rows_on_disk = 0

    def _parts(self) -> Iterator[NDArray[Any]]:
        if self._file is not None and self._rows_on_disk:
            self._file.flush()
            stored = np.memmap(self._file, LEDGER_DTYPE, "r", shape=(self._rows_on_disk,))
            for first in range(0, self._rows_on_disk, CHUNK_ROWS):
                yield np.asarray(stored[first : first + CHUNK_ROWS])
        for chunk in self._chunks:
            yield chunk.used

    def _room_for(self, n_rows: int) -> _Chunk:
        if self._chunks and self._chunks[-1].n_used + n_rows <= len(self._chunks[-1].rows):
            return self._chunks[-1]
        self._spill()
        # as a rule all batches have one size: whole ones fill a chunk to the end
        n_batches = -(-CHUNK_ROWS // n_rows)
        chunk = _Chunk(np.zeros(n_batches * n_rows, LEDGER_DTYPE))
        self._chunks.append(chunk)
        return chunk

    def _spill(self) -> None:
        held = sum(chunk.rows.nbytes for chunk in self._chunks)
        kept = []
        for chunk in self._chunks:
            if held <= self._memory_bytes or chunk.n_open:
                kept.append(chunk)
                continue
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="looker-ledger-")  # noqa: SIM115
            self._file.write(chunk.used.tobytes())
            self._rows_on_disk += chunk.n_used
            held -= chunk.rows.nbytes
        self._chunks = kept
