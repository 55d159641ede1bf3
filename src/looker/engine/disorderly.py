"""Deliberate disorder in a write phase: what is to be sent again, and what is to be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from looker.model.fragment import FragmentState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.backend.client import PushResult
    from looker.generate.disorder import Disorder
    from looker.generate.population import Population
    from looker.model.report import WriteReport


class Disorderly:
    """Knows by their order which fragments messages hold: a stream's arrive one by one."""

    def __init__(
        self, disorder: Disorder, population: Population, n_samples: int, report: WriteReport
    ) -> None:
        """To be made before the population is picked from."""
        self._disorder = disorder
        self._first = np.uint32(population.first)
        self._n_samples = n_samples
        self._report = report
        self._next = population.n_fragments.copy()

    def note(self, streams: NDArray[np.uint32], state: FragmentState) -> bool:
        """Note the outcome of a message with a fragment of each of ``streams``.

        Return whether it is to be sent again: its first fragment decides for all.
        """
        at = streams - self._first
        fragments = self._next[at]
        self._next[at] += np.uint32(1)
        if state is not FragmentState.ACKNOWLEDGED:
            return False
        n_late = int(np.count_nonzero(self._disorder.late(streams, fragments)))
        self._report.out_of_order_sent += n_late * self._n_samples
        return bool(self._disorder.repeated(streams[:1], fragments[:1])[0])

    def note_duplicate(self, n_samples: int, result: PushResult) -> None:
        """Note what came of sending ``n_samples`` again.

        Servers that do not take what they have say so: the answer counts as refused, and is what
        was to be expected.
        """
        repeated = result.state is FragmentState.INDETERMINATE and not result.unresolved
        if repeated or result.state is FragmentState.ACKNOWLEDGED:
            self._report.duplicates_sent += n_samples
        if repeated:
            self._report.duplicates_refused += n_samples
