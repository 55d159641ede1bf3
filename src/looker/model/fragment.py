"""Fragments of many streams as columns, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FragmentState(IntEnum):
    """What is known of a pushed fragment; the value is what the ledger stores."""

    UNSENT = 0
    """No byte of it was sent: it is not stored."""
    ACKNOWLEDGED = 1
    """A success answer: every sample must come back."""
    REJECTED = 2
    """The target said no: in doubt all the same, as INDETERMINATE."""
    INDETERMINATE = 3
    """Anything else: any subset may come back, what comes back must be exact."""


LEDGER_DTYPE: Final = np.dtype(
    [
        ("start_ns", "<i8"),
        ("checksum", "<u8"),
        ("stream", "<u4"),
        ("fragment", "<u4"),
        ("cycle", "<u4"),
        ("state", "u1"),
        ("n_repeats", "u1"),
        ("reserved", "<u2"),
    ]
)
"""One row per pushed fragment, 32 bytes.

The target may have ``n_repeats`` copies of it beside the first: as many as there were further
attempts that it may have stored.
"""
MAX_REPEATS: Final = 255
"""Stands for so many and more."""


@dataclass(frozen=True, eq=False, slots=True)
class FragmentBatch:
    """Fragments of ``m`` different streams, each of ``n_samples`` samples ``step_ns`` apart.

    ``streams`` and ``fragments`` are uint32 of shape (m,); ``start_ns`` is int64 of shape (m,):
    the timestamp of each fragment's first sample, in nanoseconds since the Unix epoch.
    """

    streams: NDArray[np.uint32]
    fragments: NDArray[np.uint32]
    start_ns: NDArray[np.int64]
    n_samples: int
    step_ns: int

    def __len__(self) -> int:
        """Return the number of fragments."""
        return len(self.streams)

    def take(self, order: NDArray[np.intp]) -> FragmentBatch:
        """Return the same fragments in another order, or some of them."""
        return FragmentBatch(
            self.streams[order],
            self.fragments[order],
            self.start_ns[order],
            self.n_samples,
            self.step_ns,
        )
