"""Log lines of many streams at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.mixer import word_block
from looker.model.config import TIME_PREFIX_CHARS, Compressability

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A random byte becomes one of 32 printable characters with two operations on whole words. The
# characters @ABC HIJK PQRS XYZ[ `abc hijk pqrs xyz{ are 0x40 to 0x7b with bit 2 clear: none is
# escaped in JSON or HTML, and no level word that Loki looks for (error, warn, info, debug, trace,
# fatal, critical ...) can be spelled, as each has a letter with bit 2 set.
_FREE_BITS: Final = np.uint64(0x3B3B_3B3B_3B3B_3B3B)
_FIXED_BITS: Final = np.uint64(0x4040_4040_4040_4040)
ALPHABET: Final = bytes(code for code in range(0x40, 0x80) if not code & 0x04)
FILLER: Final = ord("a")


class LineContent:
    """Lines of ``n_chars`` characters: the timestamp in ns and a colon, then random text.

    ``compressability`` says what the rest is: ``min`` all random, ``medium`` half random and half
    one letter, ``max`` one letter. Without the time prefix a line may be of any length from 1.
    """

    def __init__(
        self, n_chars: int, compressability: Compressability, *, include_time: bool = True
    ) -> None:
        self.n_chars = n_chars
        self.include_time = include_time
        self.text_at = TIME_PREFIX_CHARS if include_time else 0
        n_text = n_chars - self.text_at
        if n_text < 0:
            raise ValueError(f"a line with its time needs {TIME_PREFIX_CHARS} characters")
        self._n_random = {
            Compressability.MIN: n_text,
            Compressability.MEDIUM: n_text - n_text // 2,
            Compressability.MAX: 0,
        }[compressability]

    def store(
        self, out: NDArray[np.uint8], hashes: NDArray[np.uint64], digits: NDArray[np.uint8]
    ) -> None:
        """Store lines into ``out`` (..., n_chars).

        ``hashes`` (...) are the samples' hashes; ``digits`` (..., 19) their timestamps in ns.
        """
        if self.include_time:
            out[..., : self.text_at - 1] = digits
            out[..., self.text_at - 1] = ord(":")
        self.store_text(out, hashes)

    def store_text(self, out: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> None:
        """Store what comes behind the time into lines ``out`` (..., n_chars)."""
        at = self.text_at
        if self._n_random:
            words = word_block(hashes.reshape(-1), -(-self._n_random // 8))
            words &= _FREE_BITS
            words |= _FIXED_BITS
            text = words.view(np.uint8).reshape(*hashes.shape, 8 * words.shape[-1])
            out[..., at : at + self._n_random] = text[..., : self._n_random]
        if at + self._n_random < self.n_chars:
            out[..., at + self._n_random :] = FILLER
