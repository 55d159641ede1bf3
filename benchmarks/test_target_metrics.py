"""Picking a dozen metrics out of a large server's page, against the client library's parser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from looker.model.metric_selector import selector_of
from looker.model.target_usage import PROCESS_METRICS, kept_metrics
from looker.wire.metrics_text import summed

if TYPE_CHECKING:
    from conftest import Table

N_LINES: Final = 10_000


def test_a_page_of_ten_thousand_lines_against_the_client_library(table: Table) -> None:
    names = (*PROCESS_METRICS, *kept_metrics("mimir"))
    lines = [
        f'cortex_request_duration_seconds_bucket{{route="api_v1_push_{n // 50}",method="POST",'
        f'status_code="200",ws="false",le="{n % 50}"}} {n}'
        for n in range(N_LINES - len(names))
    ]
    page = "\n".join([*lines, *(f"{name} 5" for name in names), ""]).encode()
    selectors = [selector_of(name) for name in names]
    assert summed(page, selectors) == dict.fromkeys(names, 5.0)
    row = table.compare(
        "metrics page, 10,000 lines",
        "<= 0.01",
        lambda: summed(page, selectors),
        lambda: [*text_string_to_metric_families(page.decode())],
        rounds=min(table.rounds, 9),
    )
    assert row.met
