"""A real Prometheus that refuses queries for their size (field case 6, prometheus#4532)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from looker.model.config import ReadApi
from looker.model.verdict import Verdict
from servers import Prometheus, require_prometheus, run_config, run_engine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.prometheus


def test_what_prometheus_refuses_for_its_size_is_asked_for_in_parts(tmp_path: Path) -> None:
    require_prometheus()
    flags = ("--query.max-samples=100", "--storage.remote.read-sample-limit=100")
    with Prometheus(tmp_path, "", *flags) as server:
        for read_api in (ReadApi.QUERY, ReadApi.REMOTE_READ):
            # eight groups of 16 series
            config = run_config(
                server.url, read_api=read_api, n_streams=128, n_samples_per_fragment=20
            )
            report = run_engine(config)
            read = report.totals().read
            assert read is not None
            assert read.error is None
            assert report.verdict is Verdict.PASSED
            assert read.findings.n_validated == 128 * 2 * 20
            refused = {"400", "422"} & set(read.responses_by_status)
            assert len(refused) == 1
