"""What each way of checking costs, against the full check of the same answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.model.config import VerifyMode
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import RemoteReadAnswers
from looker.wire.columns import varint
from test_encode import START, batch, content
from test_validate import expectation

if TYPE_CHECKING:
    from conftest import Table


@pytest.mark.parametrize("mode", [VerifyMode.CHECKSUM, VerifyMode.COUNT])
def test_logs(table: Table, mode: VerifyMode) -> None:
    whole = content(1, 5000, 100, metrics=False)
    expected = expectation(whole, LogEncoder(whole).encode(batch(1, 5000, 1)))
    labels = orjson.dumps(whole.scheme.labels(0)).decode()
    lines = expected.lines(slice(0, 5000))
    rows = ",".join(
        f'["{START + number}","{line.tobytes().decode()}"]' for number, line in enumerate(lines)
    )
    body = (
        '{"status":"success","data":{"resultType":"streams","result":[{"stream":'
        f'{labels},"values":[{rows}]}}],"stats":{{}}}}}}\n'
    ).encode()
    full, weaker = LogAnswers(whole), LogAnswers(whole, mode=mode)
    assert not weaker.compare(body, expected).findings.n_mismatches
    row = table.compare(
        f"5,000 entries: --verify {mode} / content",
        "<= 1.0",
        lambda: weaker.compare(body, replace(expected)),
        lambda: full.compare(body, replace(expected)),
    )
    assert row.ratio > 0


@pytest.mark.parametrize("mode", [VerifyMode.CHECKSUM, VerifyMode.COUNT])
def test_metrics(table: Table, mode: VerifyMode) -> None:
    whole = content(1000, 100, 1, metrics=True)
    encoded = MetricEncoder(whole).encode(batch(1000, 100, 1_000_000))
    expected = expectation(whole, encoded)
    series = encoded.buffer.tobytes()
    body = b"\x0a" + varint(len(series)) + series
    full, weaker = RemoteReadAnswers(whole), RemoteReadAnswers(whole, mode=mode)
    assert not weaker.compare(body, expected).findings.n_mismatches
    row = table.compare(
        f"100,000 samples: --verify {mode} / content",
        "<= 1.0",
        lambda: weaker.compare(body, replace(expected)),
        lambda: full.compare(body, replace(expected)),
    )
    assert row.ratio > 0
