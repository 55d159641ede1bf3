"""What a generation of streams holds: labels and samples, as a pure function.

``Content`` is all that writing and reading must agree on. Timestamps are not part of it: they
follow wall time, and the ledger keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.lines import LineContent
from looker.generate.mixer import fragment_keys
from looker.generate.values import ValueContent
from looker.model.config import Mode, RunConfig
from looker.model.labels import LabelScheme
from looker.wire.checksum import Checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.model.config import Compressability
    from looker.model.fragment import FragmentBatch

CONTENT_VERSION: Final = 1
"""To be raised when the same configuration makes other labels or samples than before.

A ledger holds it: what was written by one version is never compared with what another would write.
"""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one generation: seed, labels, the form of its samples, their checksum."""

    seed: int
    generation: int
    scheme: LabelScheme
    n_chars: int
    compressability: Compressability
    n_samples: int
    step_ns: int
    include_time: bool = True
    summed_by: type[Checksum] = Checksum

    @classmethod
    def of(cls, config: RunConfig, generation: int) -> Content:
        """Return the content of a generation of a run."""
        return cls(
            seed=config.seed,
            generation=generation,
            scheme=LabelScheme(
                invocation_id=config.invocation_id,
                born_in_cycle=config.born_in_cycle(generation),
                n_streams=config.n_streams,
                group_size=config.group_size,
                metrics=config.mode is Mode.METRICS,
                extra=config.labels,
                unchecked=frozenset(config.ignore_labels) & dict(config.labels).keys(),
            ),
            n_chars=config.n_chars_per_line,
            compressability=config.compressability,
            n_samples=config.n_samples_per_fragment,
            step_ns=config.step_ns,
            include_time=config.include_time,
        )

    def keys(
        self, streams: NDArray[np.uint32], fragments: NDArray[np.uint32]
    ) -> NDArray[np.uint64]:
        """Return the keys of fragments (m,), uint64 (m,)."""
        return fragment_keys(self.seed, self.generation, streams, fragments)

    def checksum(self) -> Checksum:
        """Return what sums up its fragments."""
        n_words = 1 if self.scheme.metrics else -(-self.n_chars // 8)
        return self.summed_by.of(self.n_samples, n_words)

    def lines(self) -> LineContent:
        """Return what log lines hold."""
        return LineContent(self.n_chars, self.compressability, include_time=self.include_time)

    def values(self) -> ValueContent:
        """Return what metric samples hold."""
        return ValueContent(self.compressability)


class SampleGrid:
    """Keys and timestamps of a batch's samples: rows are fragments, columns are samples."""

    def __init__(self, content: Content, batch: FragmentBatch) -> None:
        self.keys = content.keys(batch.streams, batch.fragments)
        self._start_ns = batch.start_ns
        self._offsets_ns = np.arange(batch.n_samples, dtype=np.int64) * batch.step_ns

    def timestamps_ns(
        self, rows: slice, samples: slice, since_ns: NDArray[np.int64] | int = 0
    ) -> NDArray[np.int64]:
        """Return the timestamps of a block, int64 (rows, samples), from ``since_ns`` (rows,) on."""
        timestamps: NDArray[np.int64] = (self._start_ns[rows] - since_ns)[:, None] + (
            self._offsets_ns[samples]
        )
        return timestamps
