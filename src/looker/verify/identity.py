"""Telling by an answer's label set which stream it is about."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from looker.model.labels import UNIQUENAME, selector_of, selector_text
from looker.model.mismatch import MismatchExample, MismatchKind
from looker.model.secrecy import struck
from looker.wire.named import Repeated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from looker.model.labels import LabelScheme
    from looker.model.mismatch import Findings

UNKNOWN_STREAM = -1
_MAX_LABELS: Final = 100
_MAX_LABEL_CHARS: Final = 1024


def foreign_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    """Return labels that nobody wrote as they may be shown: so many, so long, without secrets."""
    return dict(shown_labels(labels.items()))


def shown_labels(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return the same of names and values, of which a name may come twice."""
    return [
        (struck(str(name), _MAX_LABEL_CHARS), struck(str(value), _MAX_LABEL_CHARS))
        for name, value in islice(pairs, _MAX_LABELS)
    ]


def stream_of(
    labels: Mapping[str, Any],
    scheme: LabelScheme,
    tolerated: frozenset[str],
    findings: Findings,
    first_ns: int = 0,
) -> int:
    """Return the number of the stream that has these labels, or -1 if it is not of the generation.

    Labels that the target adds by itself are noted; others that differ count as wrong, and so does
    a label that is named twice. ``first_ns`` is the time of the first sample under the labels.
    """
    name = labels.get(UNIQUENAME)
    stream = scheme.stream_of(name) if isinstance(name, str) else None
    if stream is None:
        return UNKNOWN_STREAM
    expected = scheme.labels(stream)
    if labels == expected and not isinstance(labels, Repeated):
        return stream
    findings.added_labels |= (tolerated - expected.keys()) & labels.keys()
    if isinstance(labels, Repeated) or not scheme.is_like(expected, labels, tolerated):
        pairs = labels.pairs if isinstance(labels, Repeated) else tuple(sorted(labels.items()))
        findings.add_at(MismatchKind.WRONG_LABELS, [stream], [first_ns])
        findings.keep(
            MismatchExample(
                kind=MismatchKind.WRONG_LABELS,
                stream=scheme.uniquename(stream),
                labels=expected,
                cycle=scheme.born_in_cycle,
                expected=selector_text(expected),
                received=selector_of(shown_labels(pairs)),
            )
        )
    return stream


def first_times(counts: NDArray[np.int64], times_ns: NDArray[np.int64]) -> list[int]:
    """Return the time of each element's first sample; 0 for one without samples."""
    begins = np.cumsum(counts) - counts
    firsts = np.zeros(len(counts), np.int64)
    some = counts > 0
    firsts[some] = times_ns[begins[some]]
    found: list[int] = firsts.tolist()
    return found
