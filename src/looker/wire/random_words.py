"""Fixed random words: keys of checksums, and the tables that content is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_words(seed: int, n_words: int) -> NDArray[np.uint64]:
    """Return the first words of a fixed random sequence, uint64 (n_words,), read-only."""
    # numpy keeps the output of its bit generators stable across versions
    words = np.random.PCG64(seed).random_raw(n_words).astype(np.uint64, copy=False)
    words.setflags(write=False)
    return words
