"""The target's own metrics, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from looker.target.answers import Answer
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.target.limits import Product
    from looker.target.own_process import OwnProcess

_RECORDS: Final[dict[Product, str]] = {
    "looker": "looker_target_records_received_total",
    "loki": "loki_distributor_lines_received_total",
    "cortex": "cortex_distributor_received_samples_total",
    "prometheus": "prometheus_tsdb_head_samples_appended_total",
}
_BYTES: Final[dict[Product, str]] = {
    "looker": "looker_target_bytes_received_total",
    "loki": "loki_distributor_bytes_received_total",
    "cortex": "looker_target_bytes_received_total",
    "prometheus": "looker_target_bytes_received_total",
}


@dataclass
class Counters:
    """What was answered (by status, 0 where the connection was dropped) and received."""

    answered: Counter[int] = field(default_factory=Counter)
    records: int = 0
    payload_bytes: int = 0


def page(
    product: Product,
    counters: Counters,
    held_bytes: int,
    n_injected: Mapping[str, int],
    own: OwnProcess,
) -> Answer:
    """Write all metrics."""
    version = "" if product == "loki" else f"looker-{__version__}"
    build = f'{product}_build_info{{version="{version}",revision="",branch="",goversion=""}} 1'
    lines = [f"# TYPE {product}_build_info gauge", build]
    for name, kind, value in (
        (_RECORDS[product], "counter", counters.records),
        (_BYTES[product], "counter", counters.payload_bytes),
        ("looker_target_held_bytes", "gauge", held_bytes),
        ("process_cpu_seconds_total", "counter", own.cpu_s),
        ("process_resident_memory_bytes", "gauge", own.resident_bytes),
        ("process_start_time_seconds", "gauge", own.started_s),
    ):
        if value is not None:
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
    lines.append("# TYPE looker_target_requests_total counter")
    lines += [
        f'looker_target_requests_total{{status="{status}"}} {n}'
        for status, n in sorted(counters.answered.items())
    ]
    lines.append("# TYPE looker_target_faults_injected_total counter")
    lines += [
        f'looker_target_faults_injected_total{{kind="{kind}"}} {n}'
        for kind, n in n_injected.items()
    ]
    body = ("\n".join(lines) + "\n").encode()
    return Answer(200, body, "text/plain; version=0.0.4; charset=utf-8")
