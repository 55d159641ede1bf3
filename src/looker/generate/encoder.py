"""Turning fragments into the bodies of push messages, many messages at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from looker.model.fragment import FragmentBatch


@dataclass(frozen=True, eq=False, slots=True)
class EncodedBatch:
    """Fragments in the order in which they stand in ``buffer``, one behind the other.

    ``offsets`` is int64 (m + 1,): where each fragment begins, and the end. ``checksums`` is uint64
    (m,). Fragments that follow each other make up a message: any cut between two of them will do.
    """

    batch: FragmentBatch
    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    checksums: NDArray[np.uint64]

    def messages(self, n_fragments: int) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Cut into messages of ``n_fragments``, the last perhaps smaller: (fragments, body)."""
        for first in range(0, len(self.batch), n_fragments):
            last = min(first + n_fragments, len(self.batch))
            yield slice(first, last), self.buffer[self.offsets[first] : self.offsets[last]]


class Encoder(Protocol):
    """Encodes fragments of one generation; keeps what is constant between calls."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample in a message, at most."""
        ...

    @property
    def fixed_bytes(self) -> int:
        """Bytes of a fragment in a message that do not grow with its samples, at most."""
        ...

    def encode(self, batch: FragmentBatch) -> EncodedBatch:
        """Generate and encode a batch; its fragments may come out in another order."""
        ...


def blocks(n_rows: int, n_samples: int, per_block: int) -> Iterator[tuple[slice, slice]]:
    """Cut a grid of samples into blocks of at most about ``per_block``: (rows, samples)."""
    if n_samples >= per_block:
        for row in range(n_rows):
            for first in range(0, n_samples, per_block):
                yield slice(row, row + 1), slice(first, min(first + per_block, n_samples))
        return
    rows_per_block = max(1, per_block // n_samples)
    for row in range(0, n_rows, rows_per_block):
        yield slice(row, min(row + rows_per_block, n_rows)), slice(0, n_samples)
