"""Cycles on disk: the newest stay, and a full disk costs no more than those that did not fit."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from looker.engine import cycle_archive
from looker.engine.cycle_archive import CycleArchive, Spool

if TYPE_CHECKING:
    from collections.abc import Buffer


def records(first: int, stop: int) -> list[bytes]:
    return [b"%d:" % number + b"x" * (number % 7) for number in range(first, stop)]


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 20, 21, 22, 1000])
def test_the_newest_records_stay(n: int) -> None:
    spool = Spool(10)
    for record in records(0, n):
        spool.append(record)
    assert list(spool) == records(max(0, n - 10), n)
    assert len(spool) == min(n, 10)


def test_what_is_dropped_leaves_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[int, int] = {}
    pwrite, close = os.pwrite, os.close

    def written(descriptor: int, data: Buffer, offset: int) -> int:
        sizes[descriptor] = max(sizes.get(descriptor, 0), offset + len(memoryview(data)))
        return pwrite(descriptor, data, offset)

    def closed(descriptor: int) -> None:
        sizes.pop(descriptor, None)
        close(descriptor)

    monkeypatch.setattr(cycle_archive.os, "pwrite", written)
    monkeypatch.setattr(cycle_archive.os, "close", closed)
    spool, largest = Spool(10), 0
    for number in range(1000):
        spool.append(b"%1000d" % number)
        largest = max(largest, sum(sizes.values()))
    assert largest == 20_000
    assert [int(record) for record in spool] == list(range(990, 1000))
    del spool
    assert not sizes


def test_memory_does_not_grow_with_the_records() -> None:
    spool = Spool(10_000)
    spool.append(bytes(10_000))
    tracemalloc.start()
    try:
        for _ in range(5000):
            spool.append(bytes(10_000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 50 MB are on disk
    assert held < 100_000
    assert sum(map(len, spool)) == 50_010_000


def one(number: int) -> dict[str, Any]:
    return {"cycle": number, "text": 'ä"}\n', "workers": [{"worker": 0, "of": number}]}


def test_older_cycles_are_without_their_workers() -> None:
    archive = CycleArchive(8, 3)
    for number in range(20):
        archive.append(one(number))
    found = [json.loads(line) for line in archive]
    assert found == [*({**one(n), "workers": []} for n in range(12, 17)), *map(one, range(17, 20))]
    assert len(archive) == 8
    assert archive.error is None
    assert not any("\n" in line for line in archive)


def test_nothing_is_archived_that_json_has_not() -> None:
    archive = CycleArchive(8, 3)
    with pytest.raises(ValueError, match="Out of range"):
        archive.append({**one(0), "figure": float("nan")})
    assert list(archive) == []


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_a_full_disk_costs_the_cycles_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    pwrite, n_calls = os.pwrite, 0

    def full(descriptor: int, data: Buffer, offset: int) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls == fails_at:
            # as much as there is room for, then nothing more
            return pwrite(descriptor, memoryview(data)[:3], offset)
        if n_calls == fails_at + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(cycle_archive.os, "pwrite", full)
    archive = CycleArchive(8, 8)
    for number in range(4):
        archive.append(one(number))
    assert archive.error is not None
    assert archive.error.endswith("No space left on device")
    # a cycle is two records: it is there whole, or not at all
    lost = (fails_at - 1) // 2
    assert [json.loads(line) for line in archive] == [one(n) for n in range(4) if n != lost]
