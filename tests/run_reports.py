"""Reports of runs that never were."""

from __future__ import annotations

import json
from typing import Any, Final

from looker.engine.run_report import config_json
from looker.model.report import PhaseTimes, ReadReport, WriteReport
from servers import run_config

SECOND: Final = 1_000_000_000


def plain_report(n_samples: int, *, begin_s: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a report of a run that wrote and read so many samples in 10 s each."""
    times = PhaseTimes(1 + begin_s * SECOND, 1 + (begin_s + 10) * SECOND)
    write = WriteReport(times=times, samples_acked=n_samples, cpu_s=2.0)
    read = ReadReport(times=times)
    read.findings.n_expected = read.findings.n_validated = n_samples
    for histogram in (write.service, write.push, read.service):
        histogram.record_us(2_000)
    report: dict[str, Any] = {
        "schema_version": 1,
        "looker_version": "0.1.0",
        "invocation_id": "looker-ab12cd34",
        "mode": "logs",
        "verdict": "passed",
        "exit_code": 0,
        "started_at": f"2026-01-31T12:{begin_s // 60:02}:{begin_s % 60:02}.000000Z",
        "config": json.loads(json.dumps(config_json(run_config(None)))),
        "environment": {"hostname": "here", "n_cpus": 2, "versions": {"numpy": "2.4"}},
        "target": {"product": "loki", "version": "3.0", "url": "http://x", "embedded": False},
        "totals": {
            "write": write.to_json(),
            "read": read.to_json(),
            "spot_check": None,
            "target": {"write_cpu_s_per_gb": 20.0, "rss_bytes_max": 200_000_000},
        },
    }
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        at = report
        for step in filter(None, place.split("__")):
            at = at[step]
        at[key] = value
    return report
