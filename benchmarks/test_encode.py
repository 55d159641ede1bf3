"""Generating and encoding push messages, against snappy and memcpy of the same bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cramjam
import numpy as np

from looker.generate.content import Content
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.model.config import Compressability
from looker.model.fragment import FragmentBatch
from looker.model.labels import LabelScheme, group_size_for

if TYPE_CHECKING:
    from conftest import Table
    from looker.generate.encoder import Encoder

compress_raw = cramjam.snappy.compress_raw
START = 1_795_475_977_300_000_000


def content(n_streams: int, n_samples: int, n_chars: int, *, metrics: bool) -> Content:
    scheme = LabelScheme("looker-abc12345", 0, n_streams, group_size_for(n_streams, 2), metrics)
    step_ns = 1_000_000 if metrics else 1
    return Content(1, 0, scheme, n_chars, Compressability.MIN, n_samples, step_ns)


def batch(n_streams: int, n_samples: int, step_ns: int) -> FragmentBatch:
    numbers = np.arange(n_streams, dtype=np.uint32)
    starts = np.full(n_streams, START, np.int64)
    return FragmentBatch(numbers, numbers, starts, n_samples, step_ns)


class Rounds:
    """Encodes a batch of messages that is another one each time, and keeps the last body."""

    def __init__(self, encoder: Encoder, n_streams: int, n_samples: int, step_ns: int) -> None:
        self._encoder = encoder
        self._batch = batch(n_streams, n_samples, step_ns)
        self._n_rounds = 0
        self.encode()

    def encode(self) -> None:
        self._n_rounds += 1
        fragments = np.full(len(self._batch), self._n_rounds, np.uint32)
        self.encoded = self._encoder.encode(replace(self._batch, fragments=fragments))

    def messages(self, n_fragments: int) -> list[memoryview]:
        return [body.data for _, body in self.encoded.messages(n_fragments)]


def test_log_lines_of_100_characters_against_snappy(table: Table) -> None:
    rounds = Rounds(LogEncoder(content(4, 8500, 100, metrics=False)), 4, 8500, 1)
    assert len(rounds.messages(1)[0]) > 1_000_000
    row = table.compare(
        "4 messages of 1 MB, 100-character lines: encode / snappy",
        "<= 0.8",
        rounds.encode,
        lambda: [compress_raw(body) for body in rounds.messages(1)],
    )
    assert row.ratio > 0


def test_log_lines_of_1000_characters_against_memcpy(table: Table) -> None:
    rounds = Rounds(LogEncoder(content(4, 1000, 1000, metrics=False)), 4, 1000, 1)
    row = table.compare(
        "4 messages of 1 MB, 1,000-character lines: encode / memcpy",
        "<= 8",
        rounds.encode,
        lambda: [bytes(body) for body in rounds.messages(1)],
    )
    assert row.ratio > 0


def test_metric_samples_against_snappy(table: Table) -> None:
    rounds = Rounds(MetricEncoder(content(5000, 5, 1, metrics=True)), 5000, 5, 1_000_000)
    row = table.compare(
        "5,000 series x 5 samples: encode / snappy",
        "<= 0.6",
        rounds.encode,
        lambda: compress_raw(rounds.messages(5000)[0]),
    )
    assert row.ratio > 0
