"""Names of a tenant's log streams: as pushed, as Loki changes them, and split into shards.

A *base* is a pushed label set with what Loki adds; a *target* is a base, or one shard of it; an
*active stream* is a target that the ingester has. Each kind has its own numbers, from 0 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from looker.target.loki_texts import too_many_labels
from looker.target.matchers import SelectorError, label_string, parse_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.target.matchers import Labels
    from looker.target.memory import Budget

    Offsets = NDArray[np.int64]

NAMED_BYTES = 600  # Python objects of a label string, besides its labels
NAMED_LABEL_BYTES = 160
SERVICE_NAME = "service_name"
STREAM_SHARD = "__stream_shard__"
_SOURCES = (
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
)


def with_service_name(labels: Labels) -> Labels:
    """Add ``service_name`` as Loki discovers it, unless it is there."""
    values = dict(labels)
    if SERVICE_NAME in values:
        return labels
    found = next((values[name] for name in _SOURCES if name in values), "unknown_service")
    return tuple(sorted((*labels, (SERVICE_NAME, found))))


class StreamNames:
    """The bases, targets and active streams of one tenant."""

    def __init__(self, discover_service_name: bool) -> None:
        self.labels: list[Labels] = []
        self.active_labels: list[Labels] = []
        self._discover = discover_service_name
        self._by_text: dict[bytes, int] = {}
        self._by_labels: dict[Labels, int] = {}
        self._targets: list[tuple[int, int | None]] = []  # (base, shard)
        self._by_shard: dict[tuple[int, int | None], int] = {}
        self._plain: list[int] = []  # target of each base
        self._next_shard: list[int] = []
        self._active: dict[int, int] = {}  # target to active stream
        self._base_of_active: list[int] = []

    def known(self, text: bytes) -> int | None:
        """Return the base of a label string that came before."""
        return self._by_text.get(text)

    def add(self, text: bytes, max_label_names: int, budget: Budget) -> int:
        """Take a new label string; SelectorError, in Loki's words, where it is refused.

        MemoryLimitError where there is no room for one more.
        """
        pushed = parse_labels(text.decode(errors="replace"))
        labels = with_service_name(pushed) if self._discover else pushed
        n_names = len(labels) - (SERVICE_NAME in dict(labels))
        if max_label_names and n_names > max_label_names:
            raise SelectorError(too_many_labels(label_string(labels), n_names, max_label_names), 1)
        budget.take(NAMED_BYTES + NAMED_LABEL_BYTES * len(labels) + 3 * len(text))
        base = self._by_labels.get(labels)
        if base is None:
            base = self._by_labels[labels] = len(self.labels)
            self.labels.append(labels)
            self._plain.append(self._target(base, None))
            self._next_shard.append(0)
        self._by_text[text] = base
        return base

    def _target(self, base: int, shard: int | None) -> int:
        key = (base, shard)
        number = self._by_shard.get(key)
        if number is None:
            number = self._by_shard[key] = len(self._targets)
            self._targets.append(key)
        return number

    def targets(self, bases: Offsets) -> Offsets:
        """Return the target of each base that is not split."""
        return np.array([self._plain[base] for base in bases.tolist()], np.int64)

    def shards(self, base: int, n_shards: int, n_entries: int) -> Offsets:
        """Deal ``n_entries`` of a base to shards in turn, going on where the last push ended."""
        first = self._next_shard[base]
        n_used = min(n_shards, n_entries)
        self._next_shard[base] = first + n_used
        targets = [self._target(base, (first + i) % n_shards) for i in range(n_used)]
        return np.resize(np.array(targets, np.int64), n_entries)

    def target_labels(self, target: int) -> Labels:
        """Return a target's labels."""
        base, shard = self._targets[target]
        if shard is None:
            return self.labels[base]
        return tuple(sorted((*self.labels[base], (STREAM_SHARD, str(shard)))))

    def activate(self, target: int, max_streams: int) -> int | None:
        """Return a target's active stream, a new one if need be; None where there are too many."""
        number = self._active.get(target)
        if number is None:
            number = len(self.active_labels)
            if max_streams and number >= max_streams:
                return None
            self._active[target] = number
            self.active_labels.append(self.target_labels(target))
            self._base_of_active.append(self._targets[target][0])
        return number

    def bases_of(self, active: Offsets) -> Offsets:
        """Return the base of each active stream."""
        present, inverse = np.unique(active, return_inverse=True)
        found = np.array([self._base_of_active[n] for n in present.tolist()], np.int64)
        bases: Offsets = found[inverse]
        return bases
