"""A real Prometheus, asked widely by both interfaces: its answers agree with exact pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from looker.model.config import ReadApi, ReadShape
from looker.model.verdict import Verdict
from servers import Prometheus, run_config, run_engine, shared_prometheus

if TYPE_CHECKING:
    from looker.engine.run_report import RunReport

pytestmark = pytest.mark.prometheus
__all__ = ["shared_prometheus"]


def run(prometheus: Prometheus, read_api: ReadApi) -> RunReport:
    # eight groups of 16 series, and a second cycle of the same
    config = run_config(
        prometheus.url,
        read_api=read_api,
        read_shape=ReadShape.WIDE,
        n_streams=128,
        n_samples_per_fragment=20,
        n_cycles=2,
    )
    return run_engine(config)


@pytest.mark.parametrize("read_api", [ReadApi.QUERY, ReadApi.REMOTE_READ])
def test_prometheus_answers_wide_queries_alike(prometheus: Prometheus, read_api: ReadApi) -> None:
    report = run(prometheus, read_api)
    read = report.totals().read
    assert read is not None
    assert {kind.value: n for kind, n in read.findings.counts.items() if n} == {}
    assert read.queries_shaped == 2
    assert report.verdict is Verdict.PASSED
