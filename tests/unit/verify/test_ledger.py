"""Ledger rows, in memory and on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import referee
from looker.generate.encoder import EncodedBatch
from looker.model.fragment import LEDGER_DTYPE, FragmentState
from looker.verify.ledger import CHUNK_ROWS, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

ACKED = FragmentState.ACKNOWLEDGED
CONTENT = referee.make_content(n_streams=100_000)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(memory_bytes=1)
    yield ledger
    ledger.close()


def encoded(streams: range, fragment: int = 0, start_ns: int = 1000) -> EncodedBatch:
    n = len(streams)
    batch = referee.make_batch(
        CONTENT, streams, [fragment] * n, [start_ns + stream for stream in streams]
    )
    checksums = np.arange(n, dtype=np.uint64) + np.uint64(2**63 + 10 * fragment)
    return EncodedBatch(batch, np.empty(0, np.uint8), np.zeros(n + 1, np.int64), checksums)


def fill(ledger: Ledger, n_batches: int) -> None:
    """Append and acknowledge one full chunk for each fragment number."""
    for fragment in range(n_batches):
        part = ledger.append(encoded(range(CHUNK_ROWS), fragment), cycle=fragment)
        part.settle(slice(0, CHUNK_ROWS), ACKED, n_copies=1)


def test_a_row_has_32_bytes() -> None:
    assert LEDGER_DTYPE.itemsize == 32


def test_rows_hold_what_was_settled(ledger: Ledger) -> None:
    part = ledger.append(encoded(range(5, 10), fragment=3), cycle=2)
    part.settle(slice(0, 2), ACKED, n_copies=1)
    part.settle(slice(2, 3), FragmentState.REJECTED, n_copies=2)
    part.settle(slice(4, 5), FragmentState.INDETERMINATE, n_copies=2)
    assert len(ledger) == 5
    rows = ledger.rows_of(0, 100)
    assert rows.dtype == LEDGER_DTYPE
    assert rows["stream"].tolist() == [5, 6, 7, 9]  # number 8 was never sent
    assert rows["state"].tolist() == [1, 1, 2, 3]
    assert rows["n_repeats"].tolist() == [0, 0, 1, 1]
    assert rows["start_ns"].tolist() == [1005, 1006, 1007, 1009]
    assert rows["checksum"].tolist() == [2**63 + 30 + n for n in (0, 1, 2, 4)]
    assert rows["fragment"].tolist() == [3] * 4
    assert rows["cycle"].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("n_copies", "n_repeats"), [(0, 0), (1, 0), (2, 1), (255, 254), (256, 255), (9999, 255)]
)
def test_copies_beside_the_first_are_kept(n_copies: int, n_repeats: int) -> None:
    ledger = Ledger()
    part = ledger.append(encoded(range(1)), 0)
    part.settle(slice(0, 1), ACKED, n_copies=n_copies)
    assert ledger.rows_of(0, 1)["n_repeats"].tolist() == [n_repeats]


def test_rows_are_sorted_and_chosen_by_stream(ledger: Ledger) -> None:
    for fragment in (2, 0, 1):
        batch = encoded(range(4), fragment)
        order = np.array([3, 1, 0, 2])
        shuffled = EncodedBatch(
            batch.batch.take(order), batch.buffer, batch.offsets, batch.checksums[order]
        )
        ledger.append(shuffled, 0).settle(slice(0, 4), ACKED, n_copies=1)
    rows = ledger.rows_of(1, 3)
    assert list(zip(rows["stream"].tolist(), rows["fragment"].tolist(), strict=True)) == [
        (stream, fragment) for stream in (1, 2) for fragment in (0, 1, 2)
    ]
    assert rows["checksum"].tolist() == [2**63 + 10 * f + s for s in (1, 2) for f in (0, 1, 2)]


def test_nothing_settled_is_nothing_sent(ledger: Ledger) -> None:
    assert len(ledger) == 0
    assert len(ledger.rows_of(0, 10)) == 0
    ledger.append(encoded(range(3)), 0)
    assert len(ledger) == 3
    assert len(ledger.rows_of(0, 10)) == 0


def test_settling_twice_is_refused(ledger: Ledger) -> None:
    part = ledger.append(encoded(range(4)), 0)
    part.settle(slice(0, 2), ACKED, n_copies=1)
    with pytest.raises(AssertionError, match="settled twice"):
        part.settle(slice(1, 3), FragmentState.REJECTED, n_copies=1)
    part.settle(slice(2, 4), ACKED, n_copies=1)
    assert ledger.rows_of(0, 9)["state"].tolist() == [1] * 4


def on_disk(ledger: Ledger) -> int:
    return ledger._rows_on_disk


def test_full_chunks_go_to_disk_and_come_back(ledger: Ledger) -> None:
    fill(ledger, 4)
    assert on_disk(ledger) == 3 * CHUNK_ROWS
    assert ledger._file is not None
    assert len(ledger) == 4 * CHUNK_ROWS
    rows = ledger.rows_of(17, 19)
    assert rows["stream"].tolist() == [17] * 4 + [18] * 4
    assert rows["fragment"].tolist() == [0, 1, 2, 3] * 2
    assert rows["cycle"].tolist() == [0, 1, 2, 3] * 2
    assert rows["checksum"].tolist() == [2**63 + 10 * f + s for s in (17, 18) for f in range(4)]
    assert len(ledger.rows_of(0, CHUNK_ROWS)) == 4 * CHUNK_ROWS
    # it goes on after having been read
    ledger.append(encoded(range(3), 4), 4).settle(slice(0, 3), ACKED, n_copies=1)
    assert on_disk(ledger) == 4 * CHUNK_ROWS
    assert ledger.rows_of(2, 3)["fragment"].tolist() == [0, 1, 2, 3, 4]


def test_an_open_chunk_stays_in_memory_until_it_is_settled(ledger: Ledger) -> None:
    part = ledger.append(encoded(range(CHUNK_ROWS)), 0)
    part.settle(slice(1, CHUNK_ROWS), ACKED, n_copies=1)
    late = ledger.append(encoded(range(CHUNK_ROWS), 1), 0)
    assert on_disk(ledger) == 0
    part.settle(slice(0, 1), FragmentState.INDETERMINATE, n_copies=2)
    assert ledger.rows_of(0, 1)["state"].tolist() == [3]
    ledger.append(encoded(range(1), 2), 0)
    assert on_disk(ledger) == CHUNK_ROWS
    assert ledger.rows_of(0, 1)["state"].tolist() == [3]
    late.settle(slice(0, CHUNK_ROWS), ACKED, n_copies=1)
    assert ledger.rows_of(0, 1)["state"].tolist() == [3, 1]


def test_a_roomy_limit_keeps_all_in_memory() -> None:
    ledger = Ledger()
    fill(ledger, 3)
    assert on_disk(ledger) == 0
    assert ledger._file is None
    assert len(ledger.rows_of(0, 1)) == 3


def test_a_batch_larger_than_a_chunk(ledger: Ledger) -> None:
    n = CHUNK_ROWS + 7
    ledger.append(encoded(range(n)), 0).settle(slice(0, n), ACKED, n_copies=1)
    ledger.append(encoded(range(2), 1), 0).settle(slice(0, 2), ACKED, n_copies=1)
    assert on_disk(ledger) == n
    assert ledger.rows_of(n - 2, n + 1)["stream"].tolist() == [n - 2, n - 1]


@pytest.mark.parametrize("memory_bytes", [1, 10**9])
def test_forgetting_what_ended_before(memory_bytes: int) -> None:
    ledger = Ledger(memory_bytes)
    fill(ledger, 3)
    newest = 1000 + CHUNK_ROWS - 1
    ledger.forget_before(newest - 4 + 100, width_ns=100)
    assert len(ledger) == 3 * 5
    assert on_disk(ledger) == 0

    def streams(rows: np.ndarray[Any, Any]) -> list[int]:
        return rows["stream"].tolist()

    assert sorted(set(streams(ledger.rows_of(0, CHUNK_ROWS)))) == [
        CHUNK_ROWS - n for n in range(5, 0, -1)
    ]
    ledger.append(encoded(range(2), 9), 9).settle(slice(0, 2), ACKED, n_copies=1)
    assert streams(ledger.rows_of(0, 2)) == [0, 1]
    assert len(ledger) == 17
    ledger.forget_before(10**9, width_ns=0)
    assert len(ledger) == 0
    ledger.close()
