"""Generating and encoding push messages, against snappy and memcpy of the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from looker.generate.content import Content
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.model.config import Compressability
from looker.model.fragment import FragmentBatch
from looker.model.labels import LabelScheme, group_size_for
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from conftest import Table

START = 1_795_475_977_300_000_000


def content(n_streams: int, n_samples: int, n_chars: int, *, metrics: bool) -> Content:
    scheme = LabelScheme("looker-abc12345", 0, n_streams, group_size_for(n_streams, 2), metrics)
    step_ns = 1_000_000 if metrics else 1
    return Content(1, 0, scheme, n_chars, Compressability.MIN, n_samples, step_ns)


def batch(n_streams: int, n_samples: int, step_ns: int) -> FragmentBatch:
    numbers = np.arange(n_streams, dtype=np.uint32)
    starts = np.full(n_streams, START, np.int64)
    return FragmentBatch(numbers, numbers, starts, n_samples, step_ns)


def test_log_lines_of_100_characters_against_snappy(table: Table) -> None:
    encoder = LogEncoder(content(1, 8500, 100, metrics=False))
    fragments = batch(1, 8500, 1)
    body = encoder.encode(fragments).buffer.data
    assert len(body) > 1_000_000
    row = table.compare(
        "1 MB of 100-character lines: encode / snappy",
        "<= 0.8",
        lambda: encoder.encode(fragments),
        lambda: compress(body),
    )
    assert row.ratio > 0


def test_log_lines_of_1000_characters_against_memcpy(table: Table) -> None:
    encoder = LogEncoder(content(1, 1000, 1000, metrics=False))
    fragments = batch(1, 1000, 1)
    buffer = encoder.encode(fragments).buffer
    row = table.compare(
        "1 MB of 1,000-character lines: encode / memcpy",
        "<= 8",
        lambda: encoder.encode(fragments),
        buffer.copy,
    )
    assert row.ratio > 0


def test_metric_samples_against_snappy(table: Table) -> None:
    encoder = MetricEncoder(content(5000, 5, 1, metrics=True))
    fragments = batch(5000, 5, 1_000_000)
    body = encoder.encode(fragments).buffer.data
    row = table.compare(
        "5,000 series x 5 samples: encode / snappy",
        "<= 0.6",
        lambda: encoder.encode(fragments),
        lambda: compress(body),
    )
    assert row.ratio > 0
