"""Appending to a ledger file, from several processes at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING, Any

from looker.errors import UsageError
from looker.verify.ledger_format import (
    BLOCK_HEAD_BYTES,
    FILE_HEAD_BYTES,
    BlockHead,
    FileHead,
    LedgerError,
    Link,
    next_link,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from looker.verify.ledger_format import LedgerHeader


def create(path: Path, header: LedgerHeader) -> int:
    """Make a ledger without blocks and return its length; UsageError where that cannot be."""
    packed = header.pack()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise UsageError("--ledger", f"{path} exists already: give another file") from None
    except OSError as error:
        raise UsageError("--ledger", f"cannot write {path}: {error.strerror}") from error
    try:
        _write_all(descriptor, packed)
        os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError("--ledger", f"cannot write {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return len(packed)


class LedgerWriter:
    """One process's way to append whole blocks; a lock keeps the others off meanwhile.

    A block that cannot be written whole is taken back. What a process has left that was killed
    while it wrote is taken away by the next one.
    """

    def __init__(self, path: Path, end: int) -> None:
        """``end`` is the position at which the first block begins."""
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._end = end
        try:
            self._link = Link(0, FileHead.unpack(os.pread(self._fd, FILE_HEAD_BYTES, 0)).crc)
        except LedgerError as error:
            raise OSError(errno.EIO, f"the file {error}") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def append(self, head: BlockHead, rows: NDArray[Any] | None = None) -> None:
        """Append a block; OSError, and nothing is appended, where that fails."""
        with self._locked():
            end = self._whole_end()
            try:
                _write_all(self._fd, head.pack(self._link))
                if rows is not None:
                    _write_all(self._fd, rows.view("u1").data)
            except BaseException:
                os.ftruncate(self._fd, end)
                raise

    def sync(self) -> None:
        """Wait until the disk has all that was appended; OSError where it fails."""
        os.fdatasync(self._fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _whole_end(self) -> int:
        """Return where the next block goes, behind the last whole one; cut off what is torn.

        OSError where the file is not as Looker's processes have left it.
        """
        status = os.fstat(self._fd)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file has been removed")
        size = status.st_size
        while self._end < size:
            packed = os.pread(self._fd, BLOCK_HEAD_BYTES, self._end)
            head = BlockHead.unpack(packed)
            end = size + 1 if head is None else self._end + BLOCK_HEAD_BYTES + head.n_bytes
            if head is None or end > size:
                os.ftruncate(self._fd, self._end)
                break
            if head.link != self._link:
                raise OSError(errno.EIO, "the file has been changed by somebody else")
            self._end, self._link = end, next_link(self._link, packed)
        return self._end


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        n_written = os.write(descriptor, rest)
        if not n_written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[n_written:]
