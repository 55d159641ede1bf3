"""Completed cycles as JSON, on disk, so that a run's memory does not grow with their number."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from weakref import finalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COPY_BYTES: Final = 1 << 20
_WORKERS: Final = "workers"


class _UnnamedFile:
    """A temporary file without a name: what is in it is gone with this object, or the process."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(prefix="looker-cycles-", buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        self.close = finalize(self, os.close, self._descriptor)

    def write(self, record: bytes, at: int) -> None:
        """Write all of a record."""
        view = memoryview(record)
        while view:
            n = os.pwrite(self._descriptor, view, at)
            view, at = view[n:], at + n

    def read(self, begin: int, end: int) -> bytes:
        """Read what is from ``begin`` up to ``end``."""
        record = os.pread(self._descriptor, end - begin, begin)
        if len(record) < end - begin:
            raise OSError("a temporary file has become shorter")
        return record


class Spool:
    """Records on disk, of which the newest ``n_kept`` stay; OSError where the disk fails.

    In memory are 8 bytes for each. On disk are twice as many at most.
    """

    def __init__(self, n_kept: int) -> None:
        self._n_kept = n_kept
        self._file: _UnnamedFile | None = None
        self._bounds = array("q", [0])

    def __len__(self) -> int:
        """Return the number of records that are kept."""
        return min(len(self._bounds) - 1, self._n_kept)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the records, the oldest first."""
        if self._file is not None:
            for begin, end in pairwise(self._bounds[-len(self) - 1 :]):
                yield self._file.read(begin, end)

    def append(self, record: bytes) -> None:
        """Add a record; nothing is added where that fails."""
        if self._file is None:
            self._file = _UnnamedFile()
        elif len(self._bounds) > 2 * self._n_kept:
            self._file = self._with_the_newest(self._file)
        end = self._bounds[-1]
        self._file.write(record, end)
        self._bounds.append(end + len(record))

    def take_back(self) -> None:
        """Drop the newest record."""
        self._bounds.pop()

    def _with_the_newest(self, file: _UnnamedFile) -> _UnnamedFile:
        """Return another file, with the records that are kept."""
        kept = self._bounds[-len(self) - 1 :]
        first, end = kept[0], kept[-1]
        smaller = _UnnamedFile()
        for begin in range(first, end, _COPY_BYTES):
            smaller.write(file.read(begin, min(begin + _COPY_BYTES, end)), begin - first)
        file.close()
        self._bounds = array("q", [bound - first for bound in kept])
        return smaller


class CycleArchive:
    """The newest cycles of those that are completed: so many, and so many with all workers' parts.

    What is iterated over is JSON, one line for each, the oldest first.
    """

    def __init__(self, n_cycles: int, n_parts: int) -> None:
        self._cycles = Spool(n_cycles)
        self._parts = Spool(n_parts)
        self.error: str | None = None
        """Why cycles are left out, where they are."""

    def append(self, cycle: Mapping[str, Any]) -> None:
        """Add a cycle of a report; ValueError for a number that JSON has not.

        It is left out where the disk does not take it.
        """
        rest = {key: value for key, value in cycle.items() if key != _WORKERS}
        try:
            self._cycles.append(_line(rest))
            try:
                self._parts.append(_line(cycle[_WORKERS]))
            except OSError:
                self._cycles.take_back()
                raise
        except OSError as error:
            self.error = f"{tempfile.gettempdir()}: {error.strerror or error}"

    def __len__(self) -> int:
        """Return the number of cycles that are there."""
        return len(self._cycles)

    def __iter__(self) -> Iterator[str]:
        """Yield the cycles; OSError where they cannot be read back."""
        parts = iter(self._parts)
        n_bare = len(self._cycles) - len(self._parts)
        for number, cycle in enumerate(self._cycles):
            workers = b"[]" if number < n_bare else next(parts)
            yield f'{cycle[:-1].decode()},"{_WORKERS}":{workers.decode()}}}'


def _line(plain: Any) -> bytes:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
