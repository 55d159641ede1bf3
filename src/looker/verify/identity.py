"""Telling by an answer's label set which stream it is about."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from looker.model.labels import UNIQUENAME, selector_text
from looker.model.mismatch import MismatchExample, MismatchKind
from looker.model.secrecy import struck

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.model.labels import LabelScheme
    from looker.model.mismatch import Findings

UNKNOWN_STREAM = -1
_MAX_LABELS: Final = 100
_MAX_LABEL_CHARS: Final = 1024


def foreign_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    """Return labels that nobody wrote as they may be shown: so many, so long, without secrets."""
    return {
        struck(str(name), _MAX_LABEL_CHARS): struck(str(value), _MAX_LABEL_CHARS)
        for name, value in islice(labels.items(), _MAX_LABELS)
    }


def stream_of(
    labels: Mapping[str, Any], scheme: LabelScheme, tolerated: frozenset[str], findings: Findings
) -> int:
    """Return the number of the stream that has these labels, or -1 if it is not of the generation.

    Labels that the target adds by itself are noted; others that differ count as wrong.
    """
    name = labels.get(UNIQUENAME)
    stream = scheme.stream_of(name) if isinstance(name, str) else None
    if stream is None:
        return UNKNOWN_STREAM
    expected = scheme.labels(stream)
    # a user may have written one of the labels that servers add
    added = tolerated - expected.keys()
    own = {label: value for label, value in labels.items() if label not in added}
    findings.added_labels |= labels.keys() - own.keys()
    if own != expected:
        findings.add(MismatchKind.WRONG_LABELS, 1)
        findings.keep(
            MismatchExample(
                kind=MismatchKind.WRONG_LABELS,
                stream=scheme.uniquename(stream),
                labels=expected,
                cycle=scheme.born_in_cycle,
                expected=selector_text(expected),
                received=selector_text(dict(sorted(foreign_labels(labels).items()))),
            )
        )
    return stream
