"""Where mismatches are (PLACE_DTYPE): knowing them again, counting what one side has more of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.model.mismatch import KINDS, PLACE_DTYPE, Findings, MismatchExample, MismatchKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING: Final = KINDS.index(MismatchKind.MISSING)
_WRONG_LABELS: Final = KINDS.index(MismatchKind.WRONG_LABELS)


def places_of(findings: Findings) -> NDArray[Any]:
    """Return where an answer showed mismatches, sorted."""
    found = np.concatenate([np.empty(0, PLACE_DTYPE), *findings.places])
    return np.sort(found, order=PLACE_DTYPE.names)


def identities(places: NDArray[Any]) -> NDArray[Any]:
    """Return places by which a mismatch is known again: wrong labels have no time."""
    known = places.copy()
    known["time_ns"][known["kind"] == _WRONG_LABELS] = 0
    return known


def identity_of(example: MismatchExample, stream: int) -> NDArray[Any]:
    """Return the identity of an example of a stream, PLACE_DTYPE ()."""
    time_ns = 0 if example.kind is MismatchKind.WRONG_LABELS else example.timestamp_ns or 0
    return np.array((KINDS.index(example.kind), stream, time_ns), PLACE_DTYPE)


def most(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return each place as often as that of both which has it more often."""
    if not len(one) or not len(other):
        return other if not len(one) else one
    together = np.concatenate([one, other])
    _, first, inverse = np.unique(identities(together), return_index=True, return_inverse=True)
    counts = [
        np.bincount(numbers, minlength=len(first))
        for numbers in (inverse[: len(one)], inverse[len(one) :])
    ]
    return np.repeat(together[first], np.maximum(*counts))


def surplus(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the identities that ``one`` has more often, but missing samples; and how many more."""
    mine, n_mine = np.unique(identities(one), return_counts=True)
    theirs, n_theirs = np.unique(identities(other), return_counts=True)
    also = np.zeros(len(mine), np.int64)
    if len(theirs):
        at = np.minimum(np.searchsorted(theirs, mine), len(theirs) - 1)
        same = theirs[at] == mine
        also[same] = n_theirs[at[same]]
    more = np.where(mine["kind"] == MISSING, 0, np.maximum(0, n_mine - also))
    return mine[more > 0], int(more.sum())


def keys(streams: NDArray[np.int64], times_ns: NDArray[np.int64]) -> NDArray[Any]:
    """Return what samples are known by, to be compared with each other (n,)."""
    found = np.empty(len(streams), PLACE_DTYPE)
    found["kind"], found["stream"], found["time_ns"] = 0, streams, times_ns
    return found
