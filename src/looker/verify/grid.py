"""The samples of an expectation as a grid, regenerated block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.generate.mixer import sample_hashes
from looker.wire.checksum import position_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.verify.expectation import Expectation


@dataclass(frozen=True, eq=False, slots=True)
class _Progression:
    """One number per sample, int64: ``base`` (r, 1) plus ``steps`` (c,), or ``base`` (r, c)."""

    base: NDArray[np.int64]
    steps: NDArray[np.int64] | None

    def block(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        if self.steps is None:
            return self.base[rows, columns]
        return self.base[rows] + self.steps[columns]


class Grid:
    """Hashes and timestamps of all samples: rows are streams, columns their samples in order.

    Streams that differ in their number of samples make a single row of all samples instead. In
    both cases the samples are in the order of the expectation, row by row. Most streams are
    seamless: their pieces go on where the last one ended, in number and in time, so that first
    values and one progression are all there is to keep.
    """

    def __init__(self, expectation: Expectation, unit_ns: int = 1) -> None:
        """``unit_ns`` is that of the timestamps; it divides all of them."""
        self._expectation = expectation
        content = expectation.content
        totals = expectation.stream_counts
        self.uniform = bool((totals == totals[0]).all())
        self.shape = (len(totals), int(totals[0])) if self.uniform else (1, int(totals.sum()))
        self.unit_ns = unit_ns
        counts = expectation.counts
        self._begins = np.cumsum(counts) - counts
        self._numbers = self._progression(
            expectation.fragments.astype(np.int64) * content.n_samples + expectation.positions, 1
        )
        self._times = self._progression(
            expectation.start_ns // unit_ns if unit_ns > 1 else expectation.start_ns,
            content.step_ns // unit_ns,
        )
        keys = content.keys(expectation.stream_numbers)
        self._keys = keys[:, None] if self.uniform else np.repeat(keys, totals)[None]
        self._position_keys = self._keys_of_positions()

    def _progression(self, firsts: NDArray[np.int64], step: int) -> _Progression:
        """``firsts`` (p,) are the values of the pieces' first samples."""
        expectation = self._expectation
        counts, begins_stream = expectation.counts, expectation.first_pieces
        if self.uniform:
            joined = firsts[1:] == firsts[:-1] + counts[:-1] * step
            joined[begins_stream[1:] - 1] = True
            if joined.all():
                steps = np.arange(self.shape[1], dtype=np.int64) * step
                return _Progression(firsts[begins_stream, None], steps)
        values = np.arange(expectation.n_samples, dtype=np.int64) * step
        values += np.repeat(firsts - self._begins * step, counts)
        return _Progression(values.reshape(self.shape), None)

    def _keys_of_positions(self) -> NDArray[np.uint64]:
        """Return the checksum's keys, (1, c) where all rows have the same, else (r, c)."""
        expectation = self._expectation
        keys = position_keys(expectation.content.n_samples)
        if self._numbers.steps is not None:
            firsts = expectation.positions[expectation.first_pieces]
            n_columns = self.shape[1]
            around = np.resize(keys, int(firsts.max()) + n_columns)
            if (firsts == firsts[0]).all():
                return around[None, firsts[0] : firsts[0] + n_columns]
            windows: NDArray[np.uint64] = np.lib.stride_tricks.sliding_window_view(
                around, n_columns
            )[firsts]
            return windows
        return keys[expectation.sample_positions].reshape(self.shape)

    def hashes(self, rows: slice, columns: slice) -> NDArray[np.uint64]:
        """Return the hashes of a block, uint64 (rows, columns)."""
        keys = self._keys[rows] if self.uniform else self._keys[rows, columns]
        return sample_hashes(keys, self._numbers.block(rows, columns).view(np.uint64))

    def timestamps(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the timestamps of a block in the grid's unit, int64 (rows, columns)."""
        return self._times.block(rows, columns)

    def weighted(
        self, inner_sums: NDArray[np.uint64], rows: slice, columns: slice
    ) -> NDArray[np.uint64]:
        """Multiply a block's inner sums of the checksum with the keys of their positions."""
        shared = len(self._position_keys) == 1
        products: NDArray[np.uint64] = (
            inner_sums * self._position_keys[slice(0, 1) if shared else rows, columns]
        )
        return products

    def sums(self, products: NDArray[Any]) -> NDArray[np.uint64]:
        """Add up products (rows, columns) of the whole grid by piece: the checksum's shares."""
        sums: NDArray[np.uint64] = np.add.reduceat(products.reshape(-1), self._begins)
        return sums
