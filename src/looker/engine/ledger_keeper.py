"""A worker's part in keeping a ledger file: after each write phase, what that has pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.verify.ledger_format import BlockHead
from looker.verify.ledger_writer import LedgerWriter
from looker.verify.parts import bands

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.engine.messages import LedgerPlace, Share
    from looker.verify.ledger import Ledger


class LedgerKeeper:
    """Appends a worker's fragments to the file that all workers share.

    After a failure nothing more is appended, not even the closing block: so a reader knows that
    these streams have samples which the file does not tell of.
    """

    def __init__(self, place: LedgerPlace, share: Share, group_size: int, max_rows: int) -> None:
        """``max_rows`` is how many rows a block holds, about."""
        self._place = place
        self._share = share
        self._group_size = group_size
        self._max_rows = max_rows
        self._writer: LedgerWriter | None = None
        self._failed = False
        self._generation = 0

    def keep(self, ledger: Ledger, cycle: int, generation: int) -> str | None:
        """Append a cycle's fragments; return what went wrong, once, or None."""
        self._generation = generation
        return self._attempt(lambda writer: self._append(writer, ledger, cycle))

    def end(self) -> str | None:
        """Append that this worker has written nothing else; return what went wrong, or None."""
        head = BlockHead.of_end(
            generation=self._generation, worker=self._share.worker, streams=self._streams
        )
        return self._attempt(lambda writer: writer.append(head))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _append(self, writer: LedgerWriter, ledger: Ledger, cycle: int) -> None:
        for first, end in bands(
            *self._streams,
            group_size=self._group_size,
            n_rows=len(ledger),
            max_rows=self._max_rows,
        ):
            rows = ledger.rows_of(first, end, cycle)
            if len(rows):
                head = BlockHead.of_rows(
                    rows,
                    cycle=cycle,
                    generation=self._generation,
                    worker=self._share.worker,
                    streams=(first, end),
                )
                writer.append(head, rows)

    def _attempt(self, append: Callable[[LedgerWriter], None]) -> str | None:
        if self._failed:
            return None
        try:
            if self._writer is None:
                self._writer = LedgerWriter(self._place.path, self._place.offset)
            append(self._writer)
            self._writer.sync()
        except OSError as error:
            self._failed = True
            return error.strerror or str(error)
        return None

    @property
    def _streams(self) -> tuple[int, int]:
        return self._share.first_stream, self._share.end_stream
