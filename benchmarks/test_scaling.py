"""Two workers on two cores against one: generating, encoding, compressing; nothing is sent."""

from __future__ import annotations

import multiprocessing
import statistics
from typing import TYPE_CHECKING

import pytest

from generating import generate

if TYPE_CHECKING:
    from conftest import Table


def rates(n_workers: int, duration_s: float, *, metrics: bool) -> tuple[float, float]:
    """Return MB per second of all workers together, and per CPU second of each."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_workers)
    pipes = [context.Pipe(duplex=False) for _ in range(n_workers)]
    processes = [
        context.Process(
            target=generate,
            args=(barrier, writer, duration_s),
            kwargs={"metrics": metrics},
            daemon=True,
        )
        for _, writer in pipes
    ]
    for process in processes:
        process.start()
    try:
        assert all(reader.poll(60) for reader, _ in pipes)
        found = [reader.recv() for reader, _ in pipes]
    finally:
        for process in processes:
            process.join(60)
    return sum(wall for wall, _ in found) / 1e6, statistics.mean(cpu for _, cpu in found) / 1e6


@pytest.mark.parametrize("metrics", [False, True], ids=["logs", "metrics"])
def test_two_workers_against_one(table: Table, metrics: bool) -> None:
    n_pairs, duration_s = (1, 0.2) if table.quick else (9, 1.5)
    pairs = [
        (rates(2, duration_s, metrics=metrics), rates(1, duration_s, metrics=metrics))
        for _ in range(n_pairs)
    ]
    mode = "metrics" if metrics else "logs"
    # the pair with the median ratio, so that both sides are of one moment
    for index, name, factor in ((0, "throughput", 1.0), (1, "throughput by CPU time", 2.0)):
        pairs.sort(key=lambda pair: pair[0][index] / pair[1][index])
        two, one = pairs[n_pairs // 2]
        row = table.add(
            f"{mode}, 2 workers / 1: {name}", ">= 1.85", factor * two[index], one[index], "MB/s"
        )
        assert row.ratio > 0
