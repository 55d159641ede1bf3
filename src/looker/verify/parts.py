"""Ledger rows that are looked at together, so that memory does not grow with the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from looker.verify.ledger import Ledger

_FOREVER_NS: Final = 2**63 - 1
MAX_PART_ROWS: Final = 1_000_000
"""Ledger rows that are looked at together: some 100 MB with their order and sums."""
_MIN_PART_ROWS: Final = 100_000
_PARTS: Final = 16
"""Into so many parts rows are cut as a rule: each costs looking through the whole ledger."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time range ``[begin_ns, end_ns)``; the windows of a stream leave no gap between them."""

    begin_ns: int = -_FOREVER_NS
    end_ns: int = _FOREVER_NS

    @property
    def is_first(self) -> bool:
        """Whether it has no beginning."""
        return self.begin_ns == -_FOREVER_NS

    @property
    def is_last(self) -> bool:
        """Whether it has no end."""
        return self.end_ns == _FOREVER_NS


EVER: Final = Window()


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Rows (LEDGER_DTYPE) of a range of streams, sorted by stream and fragment.

    They are all those of which some sample may lie in the window of time.
    ``is_open`` tells that these streams may have later samples which are not in the ledger.
    """

    first_stream: int
    end_stream: int
    rows: NDArray[Any]
    window: Window = EVER
    is_open: bool = False


def bands(
    first_stream: int, end_stream: int, *, group_size: int, n_rows: int, max_rows: int
) -> Iterator[tuple[int, int]]:
    """Cut streams into bands of whole groups with about ``max_rows`` of the ``n_rows`` in each."""
    max_rows = min(max_rows, max(_MIN_PART_ROWS, n_rows // _PARTS))
    rows_per_stream = max(1, n_rows // max(1, end_stream - first_stream))
    step = max(1, max_rows // rows_per_stream // group_size) * group_size
    for begin in range(first_stream, end_stream, step):
        yield begin, min(begin + step, end_stream)


def parts_of_run(
    ledger: Ledger, streams: tuple[int, int], *, group_size: int, max_rows: int
) -> Iterator[Part]:
    """Yield the parts of a ledger that is being kept; ``streams`` are the first one and the end."""
    for first, end in bands(*streams, group_size=group_size, n_rows=len(ledger), max_rows=max_rows):
        yield Part(first, end, ledger.rows_of(first, end))
