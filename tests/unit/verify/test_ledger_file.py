"""The ledger file: its form, what is left of it after a crash, and reading it part by part."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.errors import UsageError
from looker.generate.content import Content
from looker.model.fragment import LEDGER_DTYPE
from looker.verify import ledger_writer
from looker.verify.ledger_format import (
    BLOCK_HEAD_BYTES,
    FILE_HEAD_BYTES,
    FORMAT_VERSION,
    BlockHead,
    BlockKind,
    FileHead,
    LedgerError,
    LedgerHeader,
    Link,
    next_link,
)
from looker.verify.ledger_reader import LedgerFile
from looker.verify.ledger_writer import LedgerWriter, create
from looker.verify.pages import PageLimits, Selection, pages
from referee import ACKED, MAYBE, NS, REJECTED, log_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from looker.verify.parts import Part

N_STREAMS = 12
CONFIG = replace(
    log_config(),
    n_streams=N_STREAMS,
    n_samples_per_fragment=4,
    n_fragments_per_message=1,
    n_workers=2,
    streams_per_group=3,
    step_ns=10,
)
HEADER = LedgerHeader(CONFIG, {"url": "http://h:1", "embedded": False}, "2026-01-01T00:00:00Z")
WIDTH_NS = 30
Rows = np.ndarray[Any, Any]


def make_rows(streams: range, fragments: range, cycle: int = 0, start_ns: int = NS) -> Rows:
    """Return acknowledged rows, sorted; streams start 7 ns apart, fragments follow at once."""
    rows = np.zeros(len(streams) * len(fragments), LEDGER_DTYPE)
    rows["stream"] = np.repeat(np.array(streams), len(fragments))
    rows["fragment"] = np.tile(np.array(fragments), len(streams))
    rows["start_ns"] = start_ns + 7 * rows["stream"].astype(np.int64) + 40 * rows["fragment"]
    rows["checksum"] = np.arange(len(rows), dtype=np.uint64) + np.uint64(2**63)
    rows["state"], rows["cycle"] = ACKED, cycle
    return rows


def append(
    writer: LedgerWriter,
    rows: Rows,
    *,
    streams: tuple[int, int],
    worker: int = 0,
    generation: int = 0,
) -> None:
    head = BlockHead.of_rows(
        rows,
        cycle=int(rows["cycle"][0]),
        generation=generation,
        worker=worker,
        streams=streams,
    )
    writer.append(head, rows)


def end(writer: LedgerWriter, worker: int, streams: tuple[int, int] = (0, N_STREAMS)) -> None:
    writer.append(BlockHead.of_end(generation=0, worker=worker, streams=streams))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ledger"


@pytest.fixture
def writer(path: Path) -> Iterator[LedgerWriter]:
    writer = LedgerWriter(path, create(path, HEADER))
    yield writer
    writer.close()


def whole(ledger: LedgerFile, generation: int = 0, max_rows: int = 10**6) -> Rows:
    """Return all rows of a generation, sorted."""
    parts = ledger.parts(generation, (0, N_STREAMS), group_size=3, max_rows=max_rows)
    return np.concatenate([np.empty(0, LEDGER_DTYPE), *(part.rows for part in parts)])


# --- form --------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_pushed(path: Path, writer: LedgerWriter) -> None:
    first, second = make_rows(range(6), range(2)), make_rows(range(6, 12), range(2))
    later = make_rows(range(6), range(2, 5), cycle=1)
    later["state"][1], later["state"][2], later["n_repeats"][2] = REJECTED, MAYBE, 1
    append(writer, second, streams=(6, 12), worker=1)
    append(writer, first, streams=(0, 6))
    append(writer, later, streams=(0, 6))
    end(writer, 0, (0, 6))
    end(writer, 1, (6, 12))
    writer.sync()
    ledger = LedgerFile(path)
    assert (ledger.n_cycles, ledger.generations, ledger.is_closed) == (2, [0], True)
    assert (len(ledger), ledger.n_acknowledged, ledger.n_ignored_bytes) == (42, 40, 0)
    expected = np.concatenate((first, second, later))
    expected = expected[np.lexsort((expected["fragment"], expected["stream"]))]
    assert whole(ledger).tolist() == expected.tolist()
    # a row takes 32 bytes, a block 96 more
    blocks = 42 * 32 + 5 * 96
    assert path.stat().st_size == len(HEADER.pack()) + blocks


def test_the_header_comes_back(path: Path, writer: LedgerWriter) -> None:
    header = LedgerFile(path).header
    assert header.config == replace(CONFIG, url=None)
    assert header.target == HEADER.target
    assert header.started_at == HEADER.started_at
    assert Content.of(header.config, 0) == Content.of(CONFIG, 0)
    # a person can read it
    text = path.read_bytes()[FILE_HEAD_BYTES:]
    assert json.loads(text)["config"]["invocation_id"] == "looker-1"


def test_the_group_size_does_not_depend_on_the_readers_workers() -> None:
    config = replace(CONFIG, streams_per_group=None, n_streams=100)
    text = LedgerHeader(config, {}, "").pack()[FILE_HEAD_BYTES:]
    read = LedgerHeader.unpack(text).config
    assert replace(read, n_workers=1).group_size == config.group_size == 6
    assert replace(config, n_workers=1).group_size == 12


def test_the_form_is_what_is_documented(path: Path, writer: LedgerWriter) -> None:
    """An independent reader, written from the description in ledger_format alone."""
    rows = make_rows(range(3, 6), range(2), cycle=7)
    append(writer, rows, streams=(3, 6), worker=9, generation=5)
    raw = path.read_bytes()
    magic, version, n_text, crc = struct.unpack_from("<8sIII", raw)
    assert (magic, version, n_text % 32) == (b"LKLEDGER", FORMAT_VERSION, 0)
    assert zlib.crc32(raw[:16] + raw[32 : 32 + n_text]) == crc
    block = raw[32 + n_text :]
    fields = struct.unpack_from("<8sIIIIIIQqqIIQ20xI", block)
    starts = rows["start_ns"].tolist()
    body = block[96:]
    assert fields[:10] == (b"LKBLOCK\n", 1, 7, 5, 9, 3, 6, 6, min(starts), max(starts))
    assert fields[10] == zlib.crc32(body)
    assert fields[11:] == (crc, 0, zlib.crc32(block[:92]))
    assert [struct.unpack_from("<qQIIIBBH", body, at) for at in range(0, len(body), 32)] == [
        tuple(row) for row in rows.tolist()
    ]


def test_a_ledger_without_blocks(path: Path, writer: LedgerWriter) -> None:
    ledger = LedgerFile(path)
    assert (len(ledger), ledger.n_cycles, ledger.generations) == (0, 0, [])
    assert not ledger.is_closed


def test_an_existing_file_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"--ledger: .*run\.ledger exists already"):
        create(path, HEADER)
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ledger: cannot write .*: No such file"):
        create(tmp_path / "none" / "a", HEADER)


# --- foreign and damaged files -----------------------------------------------------------------


def changed_text(**changes: Any) -> bytes:
    """Return a file head with other values in its JSON."""
    said = json.loads(HEADER.pack()[FILE_HEAD_BYTES:])
    text = json.dumps(said | changes).encode()
    text += b" " * (-len(text) % 32)
    head = struct.pack("<8sII", b"LKLEDGER", FORMAT_VERSION, len(text))
    return head + struct.pack("<I12x", zlib.crc32(head + text)) + text


SETTINGS = json.loads(HEADER.pack()[FILE_HEAD_BYTES:])["config"]
PACKED = HEADER.pack()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is no ledger of Looker's"),
        (b"LKLEDGE", "is no ledger of Looker's"),
        (b'{"schema_version": 1}', "is no ledger of Looker's"),
        (PACKED[:31], "ends within its header"),
        (PACKED[:32], "ends within its header"),
        (PACKED[:-1], "ends within its header"),
        (PACKED[:40] + b"?" + PACKED[41:], "has a damaged header"),
        (PACKED[:12] + b"\xff\xff\xff\xff" + PACKED[16:], "has a damaged header"),
        (PACKED[:8] + b"\x01" + PACKED[9:], "is a ledger of format 1; .* reads formats 2 and 3"),
        (PACKED[:8] + b"\x02" + PACKED[9:], "has a damaged header"),
        (changed_text(content_version=2), "was made by Looker .*, which writes other content"),
        (changed_text(config=SETTINGS | {"colour": 1}), "setting 'colour' is not known"),
        (changed_text(config=SETTINGS | {"seed": "x"}), "setting seed cannot be 'x'"),
        (changed_text(config=SETTINGS | {"seed": True}), "setting seed cannot be True"),
        (changed_text(config=SETTINGS | {"mode": "x"}), "setting mode cannot be 'x'"),
        (changed_text(config=SETTINGS | {"labels": [1]}), r"setting labels cannot be \[1\]"),
        (changed_text(config=SETTINGS | {"retry": {"x": 1}}), "setting retry cannot be"),
        (changed_text(config=SETTINGS | {"retry": 3}), "setting retry cannot be 3"),
        (changed_text(config=SETTINGS | {"n_streams": 0}), "--n-concurrent-streams: must be"),
        (changed_text(config=SETTINGS | {"streams_per_group": None}), "streams_per_group must"),
        (changed_text(config={"seed": 1}), "a setting is missing"),
        (changed_text(config=None), "header that cannot be used"),
        (changed_text(target=3), "header that cannot be used"),
    ],
)
def test_a_foreign_file_is_refused(path: Path, raw: bytes, message: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(LedgerError, match=message):
        LedgerFile(path)


def three_blocks() -> tuple[bytes, list[int]]:
    """Return a ledger of three blocks, and where each begins (and the last ends)."""
    raw, begins = HEADER.pack(), []
    link = Link(0, FileHead.unpack(raw[:FILE_HEAD_BYTES]).crc)
    for cycle in range(3):
        begins.append(len(raw))
        rows = make_rows(range(3), range(2 * cycle, 2 * cycle + 2), cycle)
        head = BlockHead.of_rows(rows, cycle=cycle, generation=0, worker=0, streams=(0, 3))
        packed = head.pack(link)
        raw, link = raw + packed + rows.tobytes(), next_link(link, packed)
    return raw, [*begins, len(raw)]


RAW, BEGINS = three_blocks()


@given(st.data())
def test_a_torn_tail_is_ignored_wherever_it_is_torn(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.ledger"
    size = data.draw(st.integers(BEGINS[2], BEGINS[3] - 1))
    path.write_bytes(RAW[:size])
    ledger = LedgerFile(path)
    assert (len(ledger), ledger.n_cycles) == (12, 2)
    assert ledger.end == BEGINS[2]
    assert ledger.n_ignored_bytes == size - BEGINS[2]
    assert whole(ledger)["cycle"].tolist() == [0, 0, 1, 1] * 3
    # what is written next takes the place of the torn block
    writer = LedgerWriter(path, BEGINS[0])
    append(writer, make_rows(range(3), range(4, 6), 2), streams=(0, 3))
    writer.close()
    assert path.read_bytes() == RAW


def test_every_byte_of_the_last_block_matters(path: Path) -> None:
    for at in range(BEGINS[2], BEGINS[3]):
        damaged = bytearray(RAW)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        assert len(LedgerFile(path)) == 12, at


@given(st.integers(BEGINS[0], BEGINS[2] - 1), st.integers(1, 255))
def test_damage_before_the_last_block_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, flipped: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.ledger"
    damaged = bytearray(RAW)
    damaged[at] ^= flipped
    path.write_bytes(damaged)
    begin = BEGINS[0] if at < BEGINS[1] else BEGINS[1]
    with pytest.raises(LedgerError, match=f"is damaged: there is no whole block at byte {begin}$"):
        LedgerFile(path)


def test_a_tail_of_zeros_is_ignored(path: Path) -> None:
    path.write_bytes(RAW + bytes(5000))
    ledger = LedgerFile(path)
    assert (len(ledger), ledger.n_ignored_bytes) == (18, 5000)


# --- writing -----------------------------------------------------------------------------------


def test_a_block_that_does_not_fit_is_taken_back(
    path: Path, writer: LedgerWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(writer, make_rows(range(3), range(2)), streams=(0, 3))
    size = path.stat().st_size
    room = [100]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_written = real_write(descriptor, data[: room[0]])
        room[0] -= n_written
        return n_written

    real_write = os.write
    monkeypatch.setattr(ledger_writer.os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        append(writer, make_rows(range(3), range(2, 4), 1), streams=(0, 3))
    assert room == [0]
    assert path.stat().st_size == size
    room[0] = 10**6
    append(writer, make_rows(range(3), range(2, 4), 1), streams=(0, 3))
    monkeypatch.undo()
    assert whole(LedgerFile(path))["fragment"].tolist() == [0, 1, 2, 3] * 3


def test_a_file_that_was_removed_is_noticed(path: Path, writer: LedgerWriter) -> None:
    path.unlink()
    with pytest.raises(OSError, match="the file has been removed"):
        end(writer, 0)


def _append_many(path: Path, offset: int, worker: int) -> None:
    writer = LedgerWriter(path, offset)
    for cycle in range(40):
        rows = make_rows(range(worker * 3, worker * 3 + 3), range(cycle * 50, cycle * 50 + 50))
        rows["cycle"] = cycle
        append(writer, rows, streams=(worker * 3, worker * 3 + 3), worker=worker)
    writer.close()


def test_processes_may_write_at_the_same_time(path: Path) -> None:
    offset = create(path, HEADER)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_append_many, args=(path, offset, worker)) for worker in range(4)
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    ledger = LedgerFile(path)
    assert (len(ledger), ledger.n_ignored_bytes) == (4 * 40 * 150, 0)
    rows = whole(ledger)
    assert rows["stream"].tolist() == np.repeat(np.arange(12), 2000).tolist()
    assert rows["fragment"].tolist() == list(range(2000)) * 12


# --- parts -------------------------------------------------------------------------------------


def parts_of(ledger: LedgerFile, max_rows: int) -> list[Part]:
    return list(ledger.parts(0, (0, N_STREAMS), group_size=3, max_rows=max_rows))


@given(st.data())
def test_all_parts_together_hold_every_sample_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"parts-{os.getpid()}.ledger"
    path.unlink(missing_ok=True)
    writer = LedgerWriter(path, create(path, HEADER))
    written = []
    at = dict.fromkeys(range(N_STREAMS), NS)
    n_fragments = dict.fromkeys(range(N_STREAMS), 0)
    for cycle in range(data.draw(st.integers(1, 4))):
        for worker, (first, last) in enumerate([(0, 6), (6, 12)]):
            rows = []
            for stream in range(first, last):
                for _ in range(data.draw(st.integers(0, 3))):
                    start = at[stream] + data.draw(st.integers(0, 100))
                    row = (start, 5, stream, n_fragments[stream], cycle, ACKED, 0, 0)
                    n_fragments[stream] += 1
                    at[stream] = start + WIDTH_NS + 10
                    rows.append(row)
            if rows:
                append(writer, np.array(rows, LEDGER_DTYPE), streams=(first, last), worker=worker)
            written += rows
    writer.close()
    ledger = LedgerFile(path)
    content, limits = Content.of(ledger.header.config, 0), PageLimits(5, 10**6)
    found: list[tuple[int, int]] = []
    ranges: dict[int, list[tuple[int, int]]] = {}
    for part in parts_of(ledger, data.draw(st.integers(1, 40))):
        for group in range(part.first_stream // 3, -(-part.end_stream // 3)):
            numbers = np.flatnonzero(part.rows["stream"] // 3 == group)
            selection = Selection.of_group(content, group)
            for page in pages(
                content, selection, part.rows[numbers], numbers, None, limits, part.window
            ):
                expected = page.expectation
                times = expected.timestamps_ns
                assert ((times >= page.start_ns) & (times < page.end_ns)).all()
                assert expected.counted.all()
                found += zip(
                    expected.streams[expected.piece_of].tolist(), times.tolist(), strict=True
                )
                ranges.setdefault(group, []).append((page.start_ns, page.end_ns))
    samples = [(row[2], row[0] + 10 * n) for row in written for n in range(4)]
    assert sorted(found) == sorted(samples)
    for group, own in ranges.items():
        # no gap and no overlap, from the first sample to the last
        assert all(earlier[1] == later[0] for earlier, later in pairwise(own))
        times = [time for stream, time in samples if stream // 3 == group]
        assert own[0][0] <= min(times)
        assert own[-1][1] > max(times)


def test_parts_are_bounded(path: Path, writer: LedgerWriter) -> None:
    for cycle in range(10):
        rows = make_rows(range(12), range(cycle * 100, cycle * 100 + 100), cycle)
        append(writer, rows, streams=(0, 12))
    parts = parts_of(LedgerFile(path), 500)
    assert {(part.first_stream, part.end_stream) for part in parts} == {
        (0, 3),
        (3, 6),
        (6, 9),
        (9, 12),
    }
    # some fragments lie across the end of a window
    assert max(len(part.rows) for part in parts) <= 510
    assert len(parts) == 24
    assert [part.window.is_first for part in parts[:6]] == [True] + [False] * 5
    assert [part.window.is_last for part in parts[:6]] == [False] * 5 + [True]


def test_streams_of_a_worker_that_did_not_end_are_open(path: Path, writer: LedgerWriter) -> None:
    append(writer, make_rows(range(6), range(2)), streams=(0, 6))
    append(writer, make_rows(range(6, 12), range(2)), streams=(6, 12), worker=1)
    end(writer, 1, (6, 12))
    ledger = LedgerFile(path)
    assert not ledger.is_closed
    parts = ledger.parts(0, (0, N_STREAMS), group_size=3, max_rows=6)
    assert [(part.first_stream, part.is_open) for part in parts] == [
        (0, True),
        (3, True),
        (6, False),
        (9, False),
    ]


def test_streams_that_were_renewed_since_are_not_open(path: Path, writer: LedgerWriter) -> None:
    append(writer, make_rows(range(6), range(2)), streams=(0, 6))
    append(writer, make_rows(range(6), range(2), 1), streams=(0, 6), generation=1)
    ledger = LedgerFile(path)
    assert ledger.generations == [0, 1]
    for generation, is_open in ((0, False), (1, True)):
        (part,) = ledger.parts(generation, (0, N_STREAMS), group_size=3, max_rows=100)
        assert part.is_open is is_open
        assert part.rows["cycle"].tolist() == [generation] * 12


def test_a_reader_that_is_told_the_end_sees_no_more(path: Path, writer: LedgerWriter) -> None:
    append(writer, make_rows(range(6), range(2)), streams=(0, 6))
    size = path.stat().st_size
    append(writer, make_rows(range(6), range(2, 4), 1), streams=(0, 6))
    assert len(LedgerFile(path, end=size)) == 12
    assert len(LedgerFile(path)) == 24


def test_a_head_that_is_cut_or_changed_is_none() -> None:
    link = Link(7, 8)
    packed = BlockHead.of_end(generation=3, worker=2, streams=(4, 9)).pack(link)
    assert len(packed) == BLOCK_HEAD_BYTES == 96
    closing = BlockHead(BlockKind.CLOSING, 0, 3, 2, 4, 9, 0, 0, 0, 0, link)
    assert BlockHead.unpack(packed) == closing
    assert BlockHead.unpack(packed[:-1]) is None
    assert BlockHead.unpack(b"X" + packed[1:]) is None


_PEAK = """
import sys
from pathlib import Path
from looker.verify.ledger_reader import LedgerFile

def peak_kb():
    return int(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1])

before = peak_kb()
checked = LedgerFile(Path(sys.argv[1]))
ledger = LedgerFile(Path(sys.argv[1]), end=checked.end)
parts = ledger.parts(0, (0, 12), group_size=3, max_rows=int(sys.argv[2]))
print(len(ledger), sum(len(part.rows) for part in parts), peak_kb() - before)
"""


def test_memory_does_not_grow_with_the_ledger(path: Path, writer: LedgerWriter) -> None:
    for cycle in range(8):
        rows = make_rows(range(12), range(cycle * 50_000, (cycle + 1) * 50_000), cycle)
        append(writer, rows, streams=(0, 12))
    assert path.stat().st_size > 150_000_000
    told = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path), "50000"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    n_rows, n_in_parts, peak_kb = map(int, told.split())
    assert n_rows == 4_800_000
    assert n_rows <= n_in_parts < n_rows + 1000
    assert peak_kb < 50_000
