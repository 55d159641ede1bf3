"""Blocks of a ledger that were cut out, moved, copied or exchanged are named (field case 58)."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_ledger_file import HEADER, append, end, make_rows

from looker.verify.ledger_format import LedgerError
from looker.verify.ledger_reader import LedgerFile
from looker.verify.ledger_writer import LedgerWriter, create

if TYPE_CHECKING:
    from pathlib import Path

    from looker.verify.ledger_format import LedgerHeader

N_CYCLES = 6


def written(path: Path, header: LedgerHeader = HEADER) -> list[bytes]:
    """Write a ledger of two workers; return its header, and its blocks."""
    begins = [create(path, header)]
    writers = [LedgerWriter(path, begins[0]) for _ in range(2)]
    for number in range(N_CYCLES):
        worker = number % 2
        streams = range(6 * worker, 6 * worker + 6)
        rows = make_rows(streams, range(number, number + 1), number // 2)
        append(writers[worker], rows, streams=(streams.start, streams.stop), worker=worker)
        begins.append(path.stat().st_size)
    for worker, writer in enumerate(writers):
        end(writer, worker, (6 * worker, 6 * worker + 6))
        begins.append(path.stat().st_size)
        writer.close()
    raw = path.read_bytes()
    return [raw[a:b] for a, b in zip([0, *begins], begins, strict=False)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ledger"


def refused(path: Path, blocks: list[bytes]) -> str:
    path.write_bytes(b"".join(blocks))
    with pytest.raises(LedgerError) as caught:
        LedgerFile(path)
    return str(caught.value)


def test_a_whole_ledger_is_complete(path: Path) -> None:
    blocks = written(path)
    assert len(blocks) == 1 + N_CYCLES + 2
    ledger = LedgerFile(path)
    assert (len(ledger), ledger.is_closed, ledger.n_ignored_bytes) == (36, True, 0)


@pytest.mark.parametrize("cut", range(N_CYCLES + 1))
def test_a_block_that_is_cut_out_is_named(path: Path, cut: int) -> None:
    header, *blocks = written(path)
    at = len(header) + sum(map(len, blocks[:cut]))
    message = refused(path, [header, *blocks[:cut], *blocks[cut + 1 :]])
    assert message == (
        f"is damaged: block {cut + 1} is at byte {at}, where block {cut} should be:"
        " blocks were cut out, moved or copied"
    )


def test_the_last_block_that_is_cut_off_leaves_the_ledger_open(path: Path) -> None:
    blocks = written(path)
    for n in range(1, N_CYCLES + 3):
        path.write_bytes(b"".join(blocks[:-n]))
        ledger = LedgerFile(path)
        assert not ledger.is_closed
        assert ledger.n_ignored_bytes == 0


@pytest.mark.parametrize("number", range(N_CYCLES + 1))
def test_a_block_that_comes_twice_is_named(path: Path, number: int) -> None:
    header, *blocks = written(path)
    for again in (number + 1, len(blocks)):
        message = refused(path, [header, *blocks[:again], blocks[number], *blocks[again:]])
        assert f"is damaged: block {number} is at byte" in message


def test_blocks_in_another_order_are_named(path: Path) -> None:
    header, *blocks = written(path)
    for one in range(len(blocks)):
        for other in range(one):
            moved = list(blocks)
            moved[one], moved[other] = moved[other], moved[one]
            message = refused(path, [header, *moved])
            assert f"block {one} is at byte" in message


def test_blocks_of_another_ledger_are_named(path: Path, tmp_path: Path) -> None:
    header, *blocks = written(path)
    other = replace(HEADER, started_at="2026-01-01T00:00:01Z")
    foreign = written(tmp_path / "other.ledger", other)[1:]
    for number, one in enumerate(foreign):
        mixed = [*blocks[:number], one, *blocks[number + 1 :]]
        message = refused(path, [header, *mixed])
        assert f"is damaged: block {number}, at byte" in message
        assert message.endswith("it is of another ledger, or the one before it is")


def test_the_header_of_another_ledger_is_named(path: Path, tmp_path: Path) -> None:
    """A configuration that was changed, with all of its own checks right."""
    _, *blocks = written(path)
    changed = replace(HEADER, config=replace(HEADER.config, seed=2)).pack()
    assert "is damaged: block 0, at byte" in refused(path, [changed, *blocks])


def test_every_byte_of_a_head_counts(path: Path) -> None:
    """One in the middle is damage, whatever it is of."""
    header, first, second, *blocks = written(path)
    for at in range(96):
        damaged = bytearray(second)
        damaged[at] ^= 0x41
        assert "is damaged" in refused(path, [header, first, bytes(damaged), *blocks])


def test_a_writer_does_not_go_on_behind_foreign_blocks(path: Path) -> None:
    header, *blocks = written(path)
    path.write_bytes(b"".join([header, *blocks[1:]]))
    writer = LedgerWriter(path, len(header))
    with pytest.raises(OSError, match="changed by somebody else") as caught:
        end(writer, 0)
    writer.close()
    assert caught.value.errno == errno.EIO
    assert path.read_bytes() == b"".join([header, *blocks[1:]])


def test_a_torn_block_is_cut_off_and_the_chain_goes_on(path: Path) -> None:
    """As when a worker is killed while it writes, and another one comes next."""
    header, *blocks = written(path)
    kept = [header, *blocks[:4]]
    path.write_bytes(b"".join([*kept, blocks[4][:-5]]))
    writer = LedgerWriter(path, len(header))
    append(writer, make_rows(range(6), range(4, 5), 2), streams=(0, 6))
    writer.close()
    assert path.read_bytes() == b"".join([*kept, blocks[4]])
