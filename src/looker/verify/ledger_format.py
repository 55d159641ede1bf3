"""The form of a ledger file: what was pushed, kept so that it can be read back at any later time.

::

    file   = head, block, block, ...
    head   = magic (8), format version u32, length of text u32, CRC-32 of text u32, zero (12),
             text: JSON in UTF-8, spaces up to a multiple of 32
    block  = magic (8), kind u32, cycle u32, generation u32, worker u32, first stream u32,
             end stream u32, number of rows u64, least start i64, greatest start i64,
             CRC-32 of rows u32, CRC-32 of the 60 bytes before u32; then the rows

All numbers are little-endian; everything begins at a multiple of 32 bytes, so that rows
(LEDGER_DTYPE) can be used where they lie. A block of rows holds fragments of one cycle, worker and
generation, sorted by stream and fragment, of streams ``first`` to ``end - 1`` and of no other. A
closing block, without rows, says that its worker has written nothing else: where it is missing,
the streams of the worker's last generation may have samples that the ledger does not know of.

Nothing here does I/O.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from looker.generate.content import CONTENT_VERSION
from looker.model.fragment import LEDGER_DTYPE
from looker.model.stored_config import restored, stored
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from looker.model.config import RunConfig

FORMAT_VERSION: Final = 2
FILE_MAGIC: Final = b"LKLEDGER"
BLOCK_MAGIC: Final = b"LKBLOCK\n"
ALIGNMENT: Final = 32
MAX_TEXT_BYTES: Final = 16 << 20
_FILE: Final = struct.Struct("<8sIII12x")
_BLOCK: Final = struct.Struct("<8sIIIIIIQqqI")
_CRC: Final = struct.Struct("<I")
FILE_HEAD_BYTES: Final = _FILE.size
BLOCK_HEAD_BYTES: Final = _BLOCK.size + _CRC.size


class LedgerError(ValueError):
    """A file is no ledger that this version can read; the text says why."""


class BlockKind(IntEnum):
    """What a block is for."""

    ROWS = 1
    CLOSING = 2


@dataclass(frozen=True, slots=True)
class BlockHead:
    """What a block says of itself; starts in ns."""

    kind: int
    cycle: int
    generation: int
    worker: int
    first_stream: int
    end_stream: int
    n_rows: int
    least_start_ns: int
    greatest_start_ns: int
    rows_crc: int

    @classmethod
    def of_rows(
        cls,
        rows: NDArray[Any],
        *,
        cycle: int,
        generation: int,
        worker: int,
        streams: tuple[int, int],
    ) -> BlockHead:
        """Return the head of a block of rows (LEDGER_DTYPE, contiguous, at least one)."""
        starts = rows["start_ns"]
        return cls(
            BlockKind.ROWS,
            cycle,
            generation,
            worker,
            *streams,
            len(rows),
            int(starts.min()),
            int(starts.max()),
            zlib.crc32(rows.view("u1").data),
        )

    @classmethod
    def of_end(cls, *, generation: int, worker: int, streams: tuple[int, int]) -> BlockHead:
        """Return a worker's closing block."""
        return cls(BlockKind.CLOSING, 0, generation, worker, *streams, 0, 0, 0, 0)

    @property
    def n_bytes(self) -> int:
        """Length of the rows."""
        return self.n_rows * LEDGER_DTYPE.itemsize

    def pack(self) -> bytes:
        """Return the bytes of the head."""
        packed = _BLOCK.pack(
            BLOCK_MAGIC,
            self.kind,
            self.cycle,
            self.generation,
            self.worker,
            self.first_stream,
            self.end_stream,
            self.n_rows,
            self.least_start_ns,
            self.greatest_start_ns,
            self.rows_crc,
        )
        return packed + _CRC.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, head: bytes) -> BlockHead | None:
        """Return what the bytes of a head say; None if they are no whole head."""
        if len(head) != BLOCK_HEAD_BYTES or not head.startswith(BLOCK_MAGIC):
            return None
        if _CRC.unpack(head[_BLOCK.size :])[0] != zlib.crc32(head[: _BLOCK.size]):
            return None
        return cls(*_BLOCK.unpack(head[: _BLOCK.size])[1:])


@dataclass(frozen=True, slots=True)
class LedgerHeader:
    """What the head of a file holds: how the run was configured, and where it wrote to.

    ``target`` are plain facts: its URL without credentials, product, version.
    """

    config: RunConfig
    target: Mapping[str, Any]
    started_at: str
    looker_version: str = __version__

    def pack(self) -> bytes:
        """Return the bytes of the head."""
        text = json.dumps(
            {
                "looker_version": self.looker_version,
                "content_version": CONTENT_VERSION,
                "started_at": self.started_at,
                "target": dict(self.target),
                "config": stored(self.config),
            },
            indent=1,
        ).encode()
        text += b"\n" + b" " * (-(len(text) + 1) % ALIGNMENT)
        return _FILE.pack(FILE_MAGIC, FORMAT_VERSION, len(text), zlib.crc32(text)) + text

    @classmethod
    def unpack(cls, text: bytes) -> LedgerHeader:
        """Return what the text of a head says; LedgerError if it cannot be used."""
        try:
            said = json.loads(text)
            version, started_at = str(said["looker_version"]), str(said["started_at"])
            content, target = said["content_version"], dict(said["target"])
            # of another version, the settings may mean something else
            config = restored(said["config"]) if content == CONTENT_VERSION else None
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise LedgerError(f"has a header that cannot be used: {error}") from error
        if config is None:
            raise LedgerError(
                f"was made by Looker {version}, which writes other content for the same seed:"
                " verify it with that version"
            )
        return cls(config, target, started_at, version)


def text_length(head: bytes) -> tuple[int, int]:
    """Return length and CRC of the text behind the first bytes of a file; else LedgerError."""
    if not head.startswith(FILE_MAGIC):
        raise LedgerError("is no ledger of Looker's")
    if len(head) < _FILE.size:
        raise LedgerError("ends within its header")
    _, version, n_bytes, crc = _FILE.unpack(head)
    if version != FORMAT_VERSION:
        raise LedgerError(
            f"is a ledger of format {version}; this version of Looker reads format {FORMAT_VERSION}"
        )
    if n_bytes > MAX_TEXT_BYTES or n_bytes % ALIGNMENT:
        raise LedgerError("has a damaged header")
    return n_bytes, crc


def checked_text(text: bytes, n_bytes: int, crc: int) -> bytes:
    """Return a head's text; LedgerError if it is not what the head has said."""
    if len(text) < n_bytes:
        raise LedgerError("ends within its header")
    if zlib.crc32(text) != crc:
        raise LedgerError("has a damaged header")
    return text
