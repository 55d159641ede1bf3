"""Time that several spend on the same thing, summed over all of them."""

from __future__ import annotations


class Elapsed:
    """A sum of times, those of who is still at it included; exact at any moment.

    Any quantity that only grows may stand for the time, as long as it is always the same one.
    """

    __slots__ = ("_n", "_offset_ns")

    def __init__(self) -> None:
        self._n = 0
        self._offset_ns = 0

    def begin(self, now_ns: int) -> None:
        """One more is at it from now on."""
        self._n += 1
        self._offset_ns -= now_ns

    def end(self, now_ns: int) -> None:
        """One of them has ended now."""
        self._n -= 1
        self._offset_ns += now_ns

    def at(self, now_ns: int) -> int:
        """Return the sum in nanoseconds."""
        return self._offset_ns + self._n * now_ns
