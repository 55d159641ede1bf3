"""Dividing a run among its workers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from looker.engine.messages import Share

if TYPE_CHECKING:
    from looker.model.config import RunConfig


def shares(config: RunConfig) -> list[Share]:
    """Return each worker's share: whole groups of streams, and parts of every limit.

    Every stream belongs to exactly one worker; shares differ by one group at most.
    """
    n_workers, size = config.n_workers, config.group_size
    n_groups = -(-config.n_streams // size)
    bounds = [
        min(split(n_groups, n_workers, worker) * size, config.n_streams)
        for worker in range(n_workers + 1)
    ]
    quota: list[int | None] = [None] * n_workers
    if config.read_n_streams is not None:
        # in proportion to the streams before each bound, so that the parts add up
        marks = [config.read_n_streams * bound // config.n_streams for bound in bounds]
        quota = [high - low for low, high in itertools.pairwise(marks)]
    return [
        Share(
            worker=worker,
            first_stream=bounds[worker],
            end_stream=bounds[worker + 1],
            n_writers=_part(config.max_concurrent_writes, n_workers, worker),
            n_readers=_part(config.max_concurrent_reads, n_workers, worker),
            read_n_streams=quota[worker],
        )
        for worker in range(n_workers)
    ]


def split(amount: int, n_parts: int, part: int) -> int:
    """Return where part number ``part`` begins if ``amount`` is divided as evenly as possible."""
    return amount * part // n_parts


def _part(amount: int, n_parts: int, part: int) -> int:
    return split(amount, n_parts, part + 1) - split(amount, n_parts, part)
