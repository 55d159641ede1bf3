"""Token buckets on a clock that is handed in: one for a tenant, many at once for streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]

_NANOS = 1_000_000_000


class TokenBucket:
    """Allows ``rate`` per second, of which ``burst`` can be saved up; it begins full."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._at_ns: int | None = None

    def allow(self, n: float, now_ns: int) -> bool:
        """Take ``n`` tokens, or none of them."""
        if self._at_ns is not None and now_ns > self._at_ns:
            gained = self.rate * (now_ns - self._at_ns) / _NANOS
            self._tokens = min(self._burst, self._tokens + gained)
        self._at_ns = now_ns if self._at_ns is None else max(self._at_ns, now_ns)
        if n > self._tokens:
            return False
        self._tokens -= n
        return True


class Buckets:
    """Token buckets by number, all of one rate and burst; a new one is full."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = float(rate)  # as an integer, rate times nanoseconds could overflow
        self._burst = float(burst)
        self._tokens = np.empty(0, np.float64)
        self._at_ns = np.empty(0, np.int64)

    def tokens(self, numbers: Offsets, now_ns: int) -> NDArray[np.float64]:
        """Fill up the buckets ``numbers`` and return what each holds; float64 (n,)."""
        have, need = len(self._tokens), int(numbers.max(initial=-1)) + 1
        if need > have:
            more = max(need, 2 * have) - have
            self._tokens = np.append(self._tokens, np.full(more, self._burst))
            self._at_ns = np.append(self._at_ns, np.full(more, now_ns))
        passed = np.maximum(now_ns - self._at_ns[numbers], 0)
        filled = np.minimum(self._tokens[numbers] + self.rate * passed / _NANOS, self._burst)
        self._tokens[numbers] = filled
        self._at_ns[numbers] = np.maximum(self._at_ns[numbers], now_ns)
        return filled

    def take(self, numbers: Offsets, amounts: NDArray[np.float64]) -> None:
        """Take an amount that is there from each of the buckets; numbers are distinct."""
        self._tokens[numbers] -= amounts


class Throughput:
    """Bytes per second of many streams, by number: those of the last whole second."""

    def __init__(self) -> None:
        self._second = np.empty(0, np.int64)
        self._current = np.empty(0, np.float64)
        self._last = np.empty(0, np.float64)

    def rates(self, numbers: Offsets, now_ns: int) -> NDArray[np.float64]:
        """Return the rate of each of ``numbers``; float64 (n,)."""
        have, need = len(self._second), int(numbers.max(initial=-1)) + 1
        if need > have:
            more = max(need, 2 * have) - have
            self._second = np.append(self._second, np.zeros(more, np.int64))
            self._current = np.append(self._current, np.zeros(more))
            self._last = np.append(self._last, np.zeros(more))
        second = now_ns // _NANOS
        passed = second - self._second[numbers]
        turned = passed > 0
        self._last[numbers] = np.where(
            turned, np.where(passed == 1, self._current[numbers], 0.0), self._last[numbers]
        )
        self._current[numbers] = np.where(turned, 0.0, self._current[numbers])
        self._second[numbers] = np.maximum(self._second[numbers], second)
        return self._last[numbers]

    def add(self, numbers: Offsets, n_bytes: NDArray[np.float64]) -> None:
        """Count bytes of the current second, after ``rates`` was asked; numbers may repeat."""
        np.add.at(self._current, numbers, n_bytes)
