"""What adds up the pages' proofs where content is checked in a weaker way than regenerating it.

``checksum`` holds the checksums of the received bytes against those of sending, per fragment;
``count`` looks at streams and timestamps only. In both, order, number and labels are checked as
ever: by predicting all of an answer but its content, and where that fails by parsing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from looker.model.config import VerifyMode
from looker.model.fragment import FragmentState
from looker.model.mismatch import Findings, MismatchExample, MismatchKind
from looker.verify.proof import ChecksumLedger

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content


class SumsOfSending(ChecksumLedger):
    """The pages' checksums per fragment, as the only proof of content."""

    def __init__(self, rows: NDArray[Any], content: Content) -> None:
        super().__init__(rows, content)
        self.findings = Findings()

    def sound(self) -> NDArray[np.bool_]:
        """Return which rows have come back whole, with the checksum of sending, bool (n,)."""
        as_sent: NDArray[np.bool_] = super().sound() & (self._checksums() == self._sent)
        return as_sent

    def check(self, cycle: int | None) -> int:
        """Return how many fragments of a cycle have come back as they were sent.

        ``findings`` then holds their samples as validated, and those of whole fragments with
        another checksum as corrupt: which of them is at fault is not known.
        """
        rows, found = self._rows, self.findings
        complete = self._seen == self._n_samples
        checksums = self._checksums()
        as_sent = complete & (checksums == self._sent)
        required = rows["state"] == FragmentState.ACKNOWLEDGED
        of_cycle = np.ones(len(rows), np.bool_) if cycle is None else rows["cycle"] == cycle
        n_proved = int((as_sent & of_cycle).sum())
        found.n_validated += int((as_sent & of_cycle & required).sum()) * self._n_samples
        found.n_optional_seen += int((as_sent & of_cycle & ~required).sum()) * self._n_samples
        corrupt = np.flatnonzero(complete & ~as_sent)
        found.add(MismatchKind.CORRUPT, len(corrupt) * self._n_samples)
        scheme = self._content.scheme
        for number in corrupt[: found.room()].tolist():
            row = rows[number]
            found.keep(
                MismatchExample(
                    kind=MismatchKind.CORRUPT,
                    stream=scheme.uniquename(int(row["stream"])),
                    labels=scheme.labels(int(row["stream"])),
                    cycle=int(row["cycle"]),
                    fragment=int(row["fragment"]),
                    timestamp_ns=int(row["start_ns"]),
                    expected=f"checksum 0x{int(self._sent[number]):016x}",
                    received=f"checksum 0x{int(checksums[number]):016x}",
                )
            )
        return n_proved


class Nothing(ChecksumLedger):
    """Where checksums are not looked at: no fragment is proved by them."""

    def check(self, cycle: int | None) -> int:  # noqa: ARG002 - as the others
        """Return 0."""
        return 0


def ledger_for(mode: VerifyMode, rows: NDArray[Any], content: Content) -> ChecksumLedger:
    """Return what adds up the pages' proofs of ledger rows in a mode."""
    if mode is VerifyMode.CHECKSUM:
        return SumsOfSending(rows, content)
    if mode is VerifyMode.COUNT:
        return Nothing(rows, content)
    return ChecksumLedger(rows, content)
