"""How long what was acknowledged takes to be visible.

Measured on the newest acknowledged fragment of each stream in a cycle: its acknowledgement is the
stream's last one, so that one time per stream is all that has to be kept. Where the first answer
lacks its last sample, the time is taken to the end of the first answer that has it. Where the first
answer has it, only an upper bound is known, which says more about when was asked than about the
target: those are counted apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from looker.model.fragment import FragmentState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.model.report import ReadReport
    from looker.verify.proof import PageProof


class Visibility:
    """Of one worker's ledger rows: which are watched, and since when they are acknowledged."""

    def __init__(
        self,
        rows: NDArray[Any],
        *,
        cycle: int,
        n_samples: int,
        acked_ns: NDArray[np.int64],
        first_stream: int,
        report: ReadReport,
    ) -> None:
        """``rows`` (LEDGER_DTYPE) are sorted by stream and fragment.

        ``acked_ns`` is the monotonic time of the last acknowledgement of each of the worker's
        streams, int64; 0 where there was none.
        """
        self._n_samples = n_samples
        self._acked_ns = acked_ns
        self._first_stream = first_stream
        self._report = report
        acked = rows["state"] == FragmentState.ACKNOWLEDGED
        of_cycle = np.flatnonzero(acked & (rows["cycle"] == cycle))
        streams = rows["stream"][of_cycle]
        last = np.ones(len(streams), np.bool_)
        last[:-1] = streams[1:] != streams[:-1]
        self._watched = np.zeros(len(rows), np.bool_)
        self._watched[of_cycle[last]] = True

    def of_page(self) -> PageVisibility:
        """Return what watches one page over all the times that it is asked for."""
        return PageVisibility(self)

    def last_pieces(self, proof: PageProof) -> NDArray[np.intp]:
        """Return the pieces of a page with the last sample of a watched fragment."""
        pieces = proof.expectation
        at_end = pieces.positions + pieces.counts == self._n_samples
        return np.flatnonzero(at_end & self._watched[pieces.rows])

    def since_ack_us(self, streams: NDArray[np.uint32], now_ns: int) -> NDArray[np.int64]:
        """Return the time from each stream's last acknowledgement until ``now_ns``, in µs."""
        acked_ns = self._acked_ns[streams.astype(np.int64) - self._first_stream]
        since: NDArray[np.int64] = (now_ns - acked_ns[acked_ns > 0]) // 1000
        return since

    @property
    def report(self) -> ReadReport:
        """What is added to."""
        return self._report


class PageVisibility:
    """Of one page: which of the watched fragments have not been seen yet."""

    def __init__(self, whole: Visibility) -> None:
        self._whole = whole
        self._pending: NDArray[np.intp] | None = None

    def note(self, proof: PageProof, asked_ns: int, answered_ns: int) -> None:
        """Take an answer into account: when it was asked for, and when it had come."""
        whole, pieces = self._whole, proof.expectation
        watched = whole.last_pieces(proof)
        seen = proof.seen[watched] == pieces.counts[watched]
        report = whole.report
        if self._pending is None:
            asked_us = whole.since_ack_us(pieces.streams[watched], asked_ns)
            report.first_ask_after.record_many_us(asked_us)
            report.streams_visible_at_first_ask += int(np.count_nonzero(seen))
        else:
            came = watched[seen & np.isin(pieces.rows[watched], self._pending)]
            after_us = whole.since_ack_us(pieces.streams[came], answered_ns)
            report.visible_after.record_many_us(after_us)
        pending = pieces.rows[watched[~seen]]
        # what comes a second time is no later than it was
        self._pending = pending if self._pending is None else np.intersect1d(pending, self._pending)
