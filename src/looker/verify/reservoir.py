"""A bounded random choice of ledger rows, so that old fragments can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from looker.model.fragment import LEDGER_DTYPE, FragmentState

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reservoir:
    """Keeps ``max_rows`` of all acknowledged rows that it is given; each with the same chance.

    Every row draws a random key, and those with the least keys stay: this is reservoir sampling
    (Vitter 1985) in the form that can be done for many rows at once.
    """

    def __init__(self, max_rows: int, random: np.random.Generator) -> None:
        self._max_rows = max_rows
        self._random = random
        self._rows = np.empty(0, LEDGER_DTYPE)
        self._generations = np.empty(0, np.uint32)
        self._keys = np.empty(0)

    def __len__(self) -> int:
        """Return the number of rows that are kept."""
        return len(self._rows)

    def add(self, rows: NDArray[Any], generation: int) -> None:
        """Give it rows (LEDGER_DTYPE) of a generation; those that are not acknowledged go."""
        keys = self._random.random(len(rows))
        wanted = rows["state"] == FragmentState.ACKNOWLEDGED
        if len(self._rows) == self._max_rows:
            wanted &= keys < self._keys.max()
        if not wanted.any():
            return
        self._rows = np.concatenate((self._rows, rows[wanted]))
        self._keys = np.concatenate((self._keys, keys[wanted]))
        added = np.full(int(np.count_nonzero(wanted)), generation, np.uint32)
        self._generations = np.concatenate((self._generations, added))
        if len(self._rows) > self._max_rows:
            kept = np.argpartition(self._keys, self._max_rows)[: self._max_rows]
            self._rows, self._keys = self._rows[kept], self._keys[kept]
            self._generations = self._generations[kept]

    def choose(self, n_rows: int) -> tuple[NDArray[Any], NDArray[np.uint32]]:
        """Return ``n_rows`` different rows at random, or all if there are less; generations too."""
        n_rows = min(n_rows, len(self._rows))
        if not n_rows:
            return np.empty(0, LEDGER_DTYPE), np.empty(0, np.uint32)
        at = self._random.choice(len(self._rows), n_rows, replace=False)
        return self._rows[at], self._generations[at]
