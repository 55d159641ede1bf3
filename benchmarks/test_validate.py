"""Validating answers, against the libraries that only parse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
import pytest

from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.model.fragment import FragmentState
from looker.verify.ledger import Ledger
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.pages import PageLimits, Selection, pages
from looker.wire.columns import varint
from looker.wire.proto import prometheus_pb2
from test_encode import START, batch, content

if TYPE_CHECKING:
    from conftest import Table
    from looker.generate.content import Content
    from looker.generate.encoder import EncodedBatch
    from looker.verify.expectation import Expectation

N_ENTRIES: Final = 5000


def expectation(whole: Content, encoded: EncodedBatch) -> Expectation:
    n_streams = len(encoded.batch)
    ledger = Ledger()
    rows = ledger.append(encoded, 0)
    rows.settle(slice(0, n_streams), FragmentState.ACKNOWLEDGED, n_copies=1)
    found = ledger.rows_of(0, n_streams)
    selection = Selection.of_streams(whole, list(range(n_streams)))
    limits = PageLimits(10**9, 10**9)
    (page,) = pages(whole, selection, found, np.arange(n_streams), 0, limits)
    return page.expectation


def levels(*, of_each: int, other: str = "info") -> list[str]:
    """Return what Loki adds to the entries of a page; one in ``of_each`` has another level."""
    return [
        ',{"structuredMetadata":{"detected_level":"%s"}}'
        % (other if number % of_each == of_each // 2 else "unknown")
        for number in range(N_ENTRIES)
    ]


@pytest.mark.parametrize(
    ("name", "extras", "goal"),
    [
        ("plain", [""] * N_ENTRIES, "<= 0.67"),
        ("with metadata", levels(of_each=2 * N_ENTRIES), "<= 0.29"),
        ("1 % with a level", levels(of_each=100), "<= 0.29"),
    ],
)
def test_log_entries_against_orjson(table: Table, name: str, extras: list[str], goal: str) -> None:
    whole = content(1, N_ENTRIES, 100, metrics=False)
    expected = expectation(whole, LogEncoder(whole).encode(batch(1, N_ENTRIES, 1)))
    labels = orjson.dumps(whole.scheme.labels(0)).decode()
    lines = expected.lines(slice(0, N_ENTRIES))
    rows = ",".join(
        f'["{START + number}","{line.tobytes().decode()}"{extra}]'
        for number, (line, extra) in enumerate(zip(lines, extras, strict=True))
    )
    body = (
        '{"status":"success","data":{"resultType":"streams","result":[{"stream":'
        f'{labels},"values":[{rows}]}}],"stats":{{}}}}}}\n'
    ).encode()
    answers = LogAnswers(whole)
    assert answers.compare(body, expected).findings.n_validated == N_ENTRIES
    row = table.compare(
        f"5,000 entries, {name}: validate / orjson.loads",
        goal,
        lambda: answers.compare(body, expected),
        lambda: orjson.loads(body),
    )
    assert row.ratio > 0


def test_metric_samples_against_protobuf(table: Table) -> None:
    whole = content(1000, 100, 1, metrics=True)
    encoded = MetricEncoder(whole).encode(batch(1000, 100, 1_000_000))
    expected = expectation(whole, encoded)
    series = encoded.buffer.tobytes()
    body = b"\x0a" + varint(len(series)) + series
    answers = RemoteReadAnswers(whole)
    assert answers.compare(body, expected).findings.n_validated == 100_000

    def read_every_sample() -> float:
        parsed = prometheus_pb2.ReadResponse.FromString(body)
        return sum(
            sample.value + sample.timestamp
            for result in parsed.results
            for one in result.timeseries
            for sample in one.samples
        )

    for name, goal, reference in (
        ("parsing", "<= 0.56", lambda: prometheus_pb2.ReadResponse.FromString(body)),
        ("reading each", "<= 0.04", read_every_sample),
    ):
        row = table.compare(
            f"100,000 samples: validate / protobuf {name}",
            goal,
            lambda: answers.compare(body, expected),
            reference,
        )
        assert row.ratio > 0


def test_a_matrix_against_orjson(table: Table) -> None:
    whole = content(1000, 100, 1, metrics=True)
    expected = expectation(whole, MetricEncoder(whole).encode(batch(1000, 100, 1_000_000)))
    every = slice(0, expected.n_samples)
    values = expected.bits(every).view(np.float64).tolist()
    times_ms = (expected.timestamps_ns // 1_000_000).tolist()
    rows = [
        f'[{time_ms / 1000:.3f},"{value!r}"]'
        for time_ms, value in zip(times_ms, values, strict=True)
    ]
    series = ",".join(
        f'{{"metric":{orjson.dumps(whole.scheme.labels(number)).decode()},"values":['
        f"{','.join(rows[100 * number : 100 * number + 100])}]}}"
        for number in range(1000)
    )
    data = f'{{"resultType":"matrix","result":[{series}]}}'
    body = f'{{"status":"success","data":{data}}}'.encode()
    answers = QueryAnswers()
    assert answers.compare(body, expected, times_ms[0]).findings.n_validated == 100_000
    row = table.compare(
        "100,000 samples of a matrix: validate / orjson.loads",
        "<= 1.2",
        lambda: answers.compare(body, expected, times_ms[0]),
        lambda: orjson.loads(body),
        rounds=min(table.rounds, 15),
    )
    assert row.ratio > 0
