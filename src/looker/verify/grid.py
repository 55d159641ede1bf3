"""The samples of an expectation as a grid, regenerated and summed up block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from looker.generate.mixer import sample_hashes
from looker.wire.checksum import position_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.verify.expectation import Expectation


@dataclass(frozen=True, eq=False, slots=True)
class _Progression:
    """One number per sample, int64: ``base`` (r, 1) plus ``steps`` (c,), or ``base`` (r, c).

    With steps, ``base`` may also be (1, 1), the same for all rows.
    """

    base: NDArray[np.int64]
    steps: NDArray[np.int64] | None

    def block(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the numbers of a block, (rows, columns) or (1, columns)."""
        if self.steps is None:
            return self.base[rows, columns]
        base = self.base if len(self.base) == 1 else self.base[rows]
        return base + self.steps[columns]


class Grid:
    """Hashes, timestamps and checksums of all samples: rows are streams, columns their samples.

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
        # one piece per row: sums of rows are sums of pieces
        self._single = len(expectation.counts) == self.shape[0]
        firsts = expectation.positions
        if expectation.fragments.any():
            firsts = firsts + expectation.fragments.astype(np.int64) * content.n_samples
        start = expectation.start_ns if unit_ns == 1 else expectation.start_ns // unit_ns
        self._numbers = self._progression(firsts, 1)
        self._times = self._progression(start, content.step_ns // unit_ns)
        keys = content.keys(expectation.stream_numbers)
        self._keys = keys[:, None] if self.uniform else np.repeat(keys, totals)[None]
        self._position_keys = self._keys_of_positions()
        self._products = np.empty(0 if self._single else self.shape, np.uint64)
        self._sums = np.zeros(self.shape[0], np.uint64)

    def _progression(self, firsts: NDArray[np.int64], step: int) -> _Progression:
        """``firsts`` (p,) are the values of the pieces' first samples."""
        expectation = self._expectation
        counts = expectation.counts
        if self.uniform:
            joined = self._single
            if not joined:
                follows = firsts[1:] == firsts[:-1] + counts[:-1] * step
                follows[expectation.first_pieces[1:] - 1] = True
                joined = bool(follows.all())
                firsts = firsts[expectation.first_pieces] if joined else firsts
            if joined:
                steps = np.arange(0, self.shape[1] * step, step, dtype=np.int64)
                base = firsts[:1] if (firsts == firsts[0]).all() else firsts
                return _Progression(base[:, None], steps)
        values = np.arange(expectation.n_samples, dtype=np.int64) * step
        values += np.repeat(firsts - self._begins() * step, counts)
        return _Progression(values.reshape(self.shape), None)

    def _begins(self) -> NDArray[np.int64]:
        """Return the pieces' first samples among all, int64 (p,)."""
        counts = self._expectation.counts
        begins: NDArray[np.int64] = np.cumsum(counts) - counts
        return begins

    def _keys_of_positions(self) -> NDArray[np.uint64]:
        """Return the checksum's keys, (1, c) where all rows have the same, else (r, c)."""
        expectation = self._expectation
        keys = position_keys(expectation.content.n_samples)
        if self._numbers.steps is None:
            return keys[expectation.sample_positions].reshape(self.shape)
        firsts = expectation.positions[expectation.first_pieces]
        n_columns = self.shape[1]
        n_around = int(firsts.max()) + n_columns
        around = keys[:n_around] if n_around <= len(keys) else np.resize(keys, n_around)
        if n_around == n_columns or (firsts == firsts[0]).all():
            return around[None, firsts[0] : firsts[0] + n_columns]
        windows = np.lib.stride_tricks.sliding_window_view(around, n_columns)
        found: NDArray[np.uint64] = windows[firsts]
        return found

    def hashes(self, rows: slice, columns: slice) -> NDArray[np.uint64]:
        """Return the hashes of a block, uint64 (rows, columns)."""
        keys = self._keys[rows] if self.uniform else self._keys[rows, columns]
        return sample_hashes(keys, self._numbers.block(rows, columns).view(np.uint64))

    def timestamps(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Return the timestamps of a block in the grid's unit, int64 (rows, columns).

        They are (1, columns) where all rows have the same.
        """
        return self._times.block(rows, columns)

    def add(self, rows: slice, columns: slice, *terms: tuple[int, NDArray[np.uint64]]) -> None:
        """Take a block's received samples for the checksum.

        Their inner sums are the sum of (key, values) modulo 2**64, where values are (rows,
        columns), or (1, columns) if they are the same for all rows.
        """
        shared = len(self._position_keys) == 1
        keys = self._position_keys[slice(0, 1) if shared else rows, columns]
        if not self._single:
            inner_sums = sum(values * np.uint64(key) for key, values in terms)
            np.multiply(inner_sums, keys, out=self._products[rows, columns])
            return
        for key, values in terms:
            if shared:
                products = np.einsum("rc,c->r", values, keys[0])
            else:
                products = np.einsum("rc,rc->r", values, keys)
            self._sums[rows] += products * np.uint64(key)

    def sums(self) -> NDArray[np.uint64]:
        """Return the pieces' shares of the checksum, uint64 (p,), once all blocks were taken."""
        if self._single:
            return self._sums
        sums: NDArray[np.uint64] = np.add.reduceat(self._products.reshape(-1), self._begins())
        return sums
