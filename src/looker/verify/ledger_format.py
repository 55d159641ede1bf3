"""The form of a ledger file: what was pushed, kept so that it can be read back at any later time.

::

    file   = head, block, block, ...
    head   = magic (8), format version u32, length of text u32, CRC-32 of these 16 bytes and of
             the text u32, zero (12), text: JSON in UTF-8, spaces up to a multiple of 32
    block  = magic (8), kind u32, cycle u32, generation u32, worker u32, first stream u32,
             end stream u32, number of rows u64, least start i64, greatest start i64,
             CRC-32 of rows u32, CRC-32 of the block before u32, number of the block u64, zero (20),
             CRC-32 of the 92 bytes before u32; then the rows

All numbers are little-endian; everything begins at a multiple of 32 bytes, so that rows
(LEDGER_DTYPE) can be used where they lie. A block of rows holds fragments of one cycle, worker and
generation, sorted by stream and fragment, of streams ``first`` to ``end - 1`` and of no other. A
closing block, without rows, says that its worker has written nothing else: where it is missing,
the streams of the worker's last generation may have samples that the ledger does not know of.

Blocks are numbered from 0, whichever worker's they are, and chained: each holds the CRC-32 at the
end of the head of the block before it, the first one that of the file's head. So a block that was
cut out, moved, copied or taken from another ledger does not follow the one before it.

Format 2, which is read but not written any more, has no chain (the heads of its blocks end after
the CRC-32 of rows with the one of the 60 bytes before), a CRC-32 of the text alone, and another
checksum of fragments.

Nothing here does I/O.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from looker.generate.content import CONTENT_VERSION
from looker.model.fragment import LEDGER_DTYPE
from looker.model.stored_config import restored, stored
from looker.version import __version__
from looker.wire.checksum import Checksum
from looker.wire.checksum_of_format_2 import ChecksumOfFormat2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from looker.model.config import RunConfig

FORMAT_VERSION: Final = 3
FORMER_VERSION: Final = 2
FILE_MAGIC: Final = b"LKLEDGER"
BLOCK_MAGIC: Final = b"LKBLOCK\n"
ALIGNMENT: Final = 32
MAX_TEXT_BYTES: Final = 16 << 20
_FILE: Final = struct.Struct("<8sIII12x")
_CHECKED_BYTES: Final = 16
_BLOCK: Final = struct.Struct("<8sIIIIIIQqqIIQ20x")
_FORMER_BLOCK: Final = struct.Struct("<8sIIIIIIQqqI")
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
class FileHead:
    """What the first bytes of a file say: its format, the length of its text, their CRC-32."""

    version: int
    text_bytes: int
    crc: int

    @property
    def block_head_bytes(self) -> int:
        """Length of the head of each block."""
        return (_FORMER_BLOCK.size if self.version == FORMER_VERSION else _BLOCK.size) + _CRC.size

    @property
    def summed_by(self) -> type[Checksum]:
        """What the checksums of its rows are."""
        return ChecksumOfFormat2 if self.version == FORMER_VERSION else Checksum

    @classmethod
    def unpack(cls, head: bytes) -> FileHead:
        """Return what the first bytes of a file say; LedgerError where it is no ledger."""
        if not head.startswith(FILE_MAGIC):
            raise LedgerError("is no ledger of Looker's")
        if len(head) < _FILE.size:
            raise LedgerError("ends within its header")
        _, version, n_bytes, crc = _FILE.unpack(head)
        if version not in (FORMER_VERSION, FORMAT_VERSION):
            raise LedgerError(
                f"is a ledger of format {version}; this version of Looker reads formats"
                f" {FORMER_VERSION} and {FORMAT_VERSION}"
            )
        if n_bytes > MAX_TEXT_BYTES or n_bytes % ALIGNMENT:
            raise LedgerError("has a damaged header")
        return cls(version, n_bytes, crc)

    def check(self, head: bytes, text: bytes) -> None:
        """Raise LedgerError where the text is not what the first bytes have said."""
        if len(text) < self.text_bytes:
            raise LedgerError("ends within its header")
        before = b"" if self.version == FORMER_VERSION else head[:_CHECKED_BYTES]
        if zlib.crc32(text, zlib.crc32(before)) != self.crc:
            raise LedgerError("has a damaged header")


@dataclass(frozen=True, slots=True)
class Link:
    """What the next block has to begin with: its number, and the CRC-32 of the one before."""

    number: int
    crc: int


@dataclass(frozen=True, slots=True)
class BlockHead:
    """What a block says of itself; starts in ns.

    ``link`` is its place in the chain; None where the format has none.
    """

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
    link: Link | None = None

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

    def pack(self, link: Link) -> bytes:
        """Return the bytes of the head, at a place in the chain."""
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
            link.crc,
            link.number,
        )
        return packed + _CRC.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, head: bytes, n_bytes: int = BLOCK_HEAD_BYTES) -> BlockHead | None:
        """Return what the bytes of a head say; None if they are no whole head.

        ``n_bytes`` is how long a head is in the file's format.
        """
        if len(head) != n_bytes or not head.startswith(BLOCK_MAGIC):
            return None
        said, crc = head[: -_CRC.size], _CRC.unpack(head[-_CRC.size :])[0]
        if crc != zlib.crc32(said):
            return None
        if n_bytes != BLOCK_HEAD_BYTES:
            return cls(*_FORMER_BLOCK.unpack(said)[1:])
        fields = _BLOCK.unpack(said)
        return replace(cls(*fields[1:-2]), link=Link(number=fields[-1], crc=fields[-2]))


def next_link(link: Link, head: bytes) -> Link:
    """Return the link behind the block with this (whole) head, which stands at ``link``."""
    return Link(link.number + 1, _CRC.unpack(head[-_CRC.size :])[0])


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
        head = _FILE.pack(FILE_MAGIC, FORMAT_VERSION, len(text), 0)
        crc = zlib.crc32(text, zlib.crc32(head[:_CHECKED_BYTES]))
        return _FILE.pack(FILE_MAGIC, FORMAT_VERSION, len(text), crc) + text

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
