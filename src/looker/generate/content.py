"""What a generation of streams holds: labels and samples, as a pure function.

``Content`` is all that writing and reading must agree on. Timestamps are not part of it: they
follow wall time, and the ledger keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.mixer import sample_hashes, stream_keys
from looker.model.config import Mode, RunConfig
from looker.model.labels import LabelScheme

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
    """The content of one generation: seed, labels, and the form of its samples."""

    seed: int
    generation: int
    scheme: LabelScheme
    n_chars: int
    compressability: Compressability
    n_samples: int
    step_ns: int
    include_time: bool = True

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
            ),
            n_chars=config.n_chars_per_line,
            compressability=config.compressability,
            n_samples=config.n_samples_per_fragment,
            step_ns=config.step_ns,
            include_time=config.include_time,
        )

    def keys(self, streams: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Return the keys of streams (m,), uint64 (m,)."""
        return stream_keys(self.seed, self.generation, streams)


class SampleGrid:
    """Hashes and timestamps of a batch's samples, block by block: rows are fragments."""

    def __init__(self, content: Content, batch: FragmentBatch) -> None:
        self._keys = content.keys(batch.streams)
        self._first = batch.first_samples()
        self._start_ns = batch.start_ns
        self._steps = np.arange(batch.n_samples, dtype=np.int64)
        self._offsets_ns = self._steps * batch.step_ns

    def hashes(self, rows: slice, samples: slice) -> NDArray[np.uint64]:
        """Return the hashes of a block, uint64 (rows, samples)."""
        numbers = self._first[rows, None] + self._steps[samples].view(np.uint64)
        return sample_hashes(self._keys[rows, None], numbers)

    def timestamps_ns(self, rows: slice, samples: slice) -> NDArray[np.int64]:
        """Return the timestamps of a block, int64 (rows, samples)."""
        return self._start_ns[rows, None] + self._offsets_ns[samples]
