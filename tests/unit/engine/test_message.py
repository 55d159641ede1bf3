"""Dividing a push message: the parts hold the same bytes, and settle the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from looker.engine.source import Message
from looker.generate.content import Content
from looker.generate.logs import LogEncoder
from looker.model.config import Compressability
from looker.model.fragment import FragmentBatch, FragmentState
from looker.model.labels import LabelScheme
from looker.verify.ledger import Ledger
from looker.wire.snappy import compress, decompress


def message(n_fragments: int) -> tuple[Message, bytes, Ledger]:
    scheme = LabelScheme("test", 0, n_fragments, 1, metrics=False)
    content = Content(1, 0, scheme, 40, Compressability.MIN, 3, 1)
    numbers = np.arange(n_fragments, dtype=np.uint32)
    starts = np.full(n_fragments, 1_700_000_000_300_000_000, np.int64)
    batch = FragmentBatch(numbers, numbers, starts, 3, 1)
    encoded = LogEncoder(content).encode(batch)
    ledger = Ledger()
    rows = ledger.append(encoded, 0)
    raw = encoded.buffer.tobytes()
    whole = Message(
        7,
        compress(raw),
        0,
        encoded.batch.streams,
        slice(0, n_fragments),
        encoded.offsets,
        rows,
    )
    return whole, raw, ledger


@pytest.mark.parametrize(("n_fragments", "size", "n_parts"), [(7, 3, 3), (4, 1, 4), (4, 2, 2)])
def test_the_parts_hold_all_fragments_in_order(n_fragments: int, size: int, n_parts: int) -> None:
    whole, raw, ledger = message(n_fragments)
    parts = whole.divided(size)
    assert len(parts) == n_parts
    assert b"".join(decompress(part.body, 10**6) for part in parts) == raw
    assert np.concatenate([part.streams for part in parts]).tolist() == whole.streams.tolist()
    parts[0].settle(FragmentState.ACKNOWLEDGED, n_copies=1)
    for part in parts[1:]:
        part.settle(FragmentState.REJECTED, n_copies=2)
    rows = ledger.rows_of(0, n_fragments)
    assert rows["state"].tolist() == [1] * size + [2] * (n_fragments - size)
    assert rows["n_repeats"].tolist() == [0] * size + [1] * (n_fragments - size)


def test_parts_can_be_divided_again() -> None:
    whole, raw, _ = message(8)
    parts = [small for part in whole.divided(4) for small in part.divided(1)]
    assert len(parts) == 8
    assert b"".join(decompress(part.body, 10**6) for part in parts) == raw
    assert [part.part for part in parts] == [slice(n, n + 1) for n in range(8)]
