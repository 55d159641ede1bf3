"""What may be appended to a series: three servers' rules, over whole requests as columns.

All hold a sample against the latest one that its series has stored. What they do not take they
either refuse (AppendError, and nothing is stored), report, or pass over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.target.runs import group_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.target.series_store import Owner
    from looker.wire.decode import SeriesColumns

    Offsets = NDArray[np.int64]
    Bits = NDArray[np.uint64]
    Mask = NDArray[np.bool_]

OUT_OF_ORDER: Final = "out of order sample"
DUPLICATE: Final = "duplicate sample for timestamp"
OUT_OF_BOUNDS: Final = "out of bounds"
NEVER: Final = int(np.iinfo(np.int64).min)
_HEAD_WINDOW_MS: Final = 3_600_000  # half of the head's range of two hours


class AppendError(Exception):
    """A sample breaks a rule; nothing of the request was stored."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples sorted by series, in a request's order within each; ``at`` is their place there."""

    series: Offsets
    times: Offsets
    bits: Bits
    at: Offsets | None = None

    def where(self, kept: Mask) -> Batch:
        """Keep some of the samples."""
        if bool(kept.all()):
            return self
        at = None if self.at is None else self.at[kept]
        if at is None:
            at = np.flatnonzero(kept)
        return Batch(self.series[kept], self.times[kept], self.bits[kept], at)

    def place(self, position: int) -> int:
        """Return where in the request the sample at ``position`` came."""
        return position if self.at is None else int(self.at[position])


def by_series(numbers: Offsets, columns: SeriesColumns) -> Batch:
    """Sort the samples of a request by series."""
    series = np.repeat(numbers, columns.counts)
    times, bits = columns.timestamps_ms, columns.value_bits
    if bool((series[1:] < series[:-1]).any()):
        order = np.argsort(series, kind="stable")
        return Batch(series[order], times[order], bits[order], order)
    return Batch(series, times, bits)


def strict(owner: Owner, numbers: Offsets, columns: SeriesColumns) -> Batch:
    """Hold samples against the latest ones, and those of one request against each other.

    A sample equal to the one before it is passed over. Raises AppendError.
    """
    batch = by_series(numbers, columns)
    series, times, bits = batch.series, batch.times, batch.bits
    before_ms, before_bits = np.empty_like(times), np.empty_like(bits)
    before_ms[1:], before_bits[1:] = times[:-1], bits[:-1]
    first = group_starts(series)
    before_ms[first] = owner.latest_ms[series[first]]
    before_bits[first] = owner.latest_bits[series[first]]
    later = times > before_ms
    if bool(later.all()):
        return batch
    known = before_ms != NEVER
    repeated = (times == before_ms) & (bits == before_bits) & known
    wrong = np.flatnonzero(~(later | repeated | ~known))
    if len(wrong):
        worst = wrong[0] if batch.at is None else wrong[np.argmin(batch.at[wrong])]
        raise AppendError(OUT_OF_ORDER if times[worst] < before_ms[worst] else DUPLICATE)
    return batch.where(~repeated)


@dataclass(frozen=True, eq=False)
class Judged:
    """What the TSDB says about each sample of a batch: masks (n,), and the oldest time it takes."""

    out_of_bounds: Mask
    out_of_order: Mask
    duplicate: Mask
    repeated: Mask

    @property
    def wrong(self) -> Mask:
        """What is an error."""
        mask: Mask = self.out_of_bounds | self.out_of_order | self.duplicate
        return mask

    def reason(self, position: int) -> str:
        """Name the error of one sample."""
        if self.out_of_bounds[position]:
            return OUT_OF_BOUNDS
        return OUT_OF_ORDER if self.out_of_order[position] else DUPLICATE


def head_max_ms(owner: Owner, columns: SeriesColumns) -> int:
    """Return the newest time that the head has, or gets with a first request's first sample."""
    if owner.newest_ms is not None:
        return owner.newest_ms
    return int(columns.timestamps_ms[0]) if len(columns.timestamps_ms) else 0


def judge(owner: Owner, batch: Batch, head_ms: int) -> Judged:
    """Hold samples against what is stored, not against each other."""
    latest_ms, latest_bits = owner.latest_ms[batch.series], owner.latest_bits[batch.series]
    early = batch.times < head_ms - _HEAD_WINDOW_MS
    same = batch.times == latest_ms
    equal = batch.bits == latest_bits
    return Judged(
        early,
        ~early & (batch.times < latest_ms),
        ~early & same & ~equal,
        ~early & same & equal,
    )


def rising(batch: Batch) -> Batch:
    """Pass over samples that are not newer than one before them in the request, as commits do."""
    series, times = batch.series, batch.times
    falls = (series[1:] == series[:-1]) & (times[1:] <= times[:-1])
    if not bool(falls.any()):
        return batch
    kept = np.ones(len(times), np.bool_)
    begins = group_starts(series)
    ends = np.append(begins[1:], len(series))
    falling = np.unique(np.searchsorted(begins, np.flatnonzero(falls), "right") - 1)
    for begin, end in zip(begins[falling].tolist(), ends[falling].tolist(), strict=True):
        own = times[begin:end]
        kept[begin + 1 : end] = own[1:] > np.maximum.accumulate(own)[:-1]
    return batch.where(kept)


def prometheus(owner: Owner, numbers: Offsets, columns: SeriesColumns) -> Batch:
    """Refuse the whole request for its first error, as Prometheus' rollback does.

    Of unsorted samples within one request the older ones are passed over in silence.
    """
    batch = by_series(numbers, columns)
    judged = judge(owner, batch, head_max_ms(owner, columns))
    wrong = np.flatnonzero(judged.wrong)
    if len(wrong):
        worst = wrong[0] if batch.at is None else wrong[np.argmin(batch.at[wrong])]
        raise AppendError(judged.reason(int(worst)))
    return rising(batch.where(~judged.repeated))
