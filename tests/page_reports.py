"""Reports that have everything that a page can show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from looker.model.histogram import Histogram
from run_reports import plain_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE: Final = (
    "</script><script>alert(1)</script><!-- <b>&amp;\x00\x1b[31m\u202e\u2028'\"`${x}{{ 7*7 }}"
)
"""What must never be more than text."""
N_BUCKETS: Final = 8


def latency(values_us: Sequence[int]) -> dict[str, Any]:
    """Return a latency of the report: its figures and its histogram."""
    histogram = Histogram()
    for value in values_us:
        histogram.record_us(value)
    figures = histogram.summary_ms()
    return {name: getattr(figures, name) for name in figures.__slots__}


def series(rate: float = 1000.0) -> dict[str, Any]:
    """Return a series of 8 s: 4 s of writing, 4 s of reading, a quarter of a bucket warm-up."""
    writing = [rate * (1 + at / 10) for at in range(4)] + [0.0] * 4
    reading = [0.0] * 4 + [2 * rate] * 4
    push_ms = [5.0, 6.0, 7.0, 8.0, None, None, None, None]
    query_ms = [None, None, None, None, 20.0, None, 22.0, 23.0]

    def times(values: Sequence[float | None], factor: float) -> list[float | None]:
        return [None if value is None else factor * value for value in values]

    return {
        "started_at": "2026-01-31T12:00:01.000000Z",
        "bucket_s": 1.0,
        "n_buckets": N_BUCKETS,
        "measured_from_s": 2.0,
        "write": {
            "samples_acked": writing,
            "payload_bytes_acked": times(writing, 100.0),
            "wire_bytes_sent": times(writing, 90.0),
            "pushes_acked": times(writing, 0.01),
            "pushes_retried": [0, 1, 0, 0, 0, 0, 0, 0],
            "service_ms_p50": push_ms,
            "service_ms_p99": times(push_ms, 3.0),
            "service_ms_max": times(push_ms, 9.0),
            "lag_ms_max": times(push_ms, 1000.0),
            "rate_limited_s": [0, 0.5, 0, 0, 0, 0, 0, 0],
            "throttled_s": [0, 0, 0, 0, 0, 0, 0, 0],
            "requesting_s": [1, 1, 1, 1, 0, 0, 0, 0],
            "starved_throttle_s": [0, 0, 0, 0, 0, 0, 0, 0],
        },
        "read": {
            "samples_validated": reading,
            "payload_bytes_validated": times(reading, 100.0),
            "queries": [0, 0, 0, 0, 5, 5, 5, 5],
            "mismatches": [0, 0, 0, 0, 0, 0, 0, 0],
            "service_ms_p50": query_ms,
            "service_ms_p99": times(query_ms, 2.0),
            "service_ms_max": times(query_ms, 2.5),
        },
    }


def full_report(n_samples: int = 40_000, *, begin_s: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a report of two cycles by two workers, with series and the target's use."""
    report = plain_report(n_samples, begin_s=begin_s)
    report |= {
        "checked": "all of it",
        "interrupted": False,
        "faults": [],
        "thresholds": [{"expr": "write.samples_per_s > 1", "value": 4000.0, "breached": False}],
        "finished_at": "2026-01-31T12:00:22.000000Z",
        "series": series(n_samples / 20),
        "target_usage": {
            "metrics_url": "http://x/metrics",
            "n_scrapes": 5,
            "n_failed": 0,
            "error": None,
            "restarted": False,
            "series": {
                "at_s": [0.5, 2.5, 4.5, 6.5, 8.5],
                "cpu_s": [1.0, 4.0, 7.0, 0.5, 2.5],
                "rss_bytes": [1e8, 2e8, 3e8, 3e8, 2.5e8],
            },
        },
    }
    totals = report["totals"]
    totals["target"] = {
        "write_cpu_s": 6.0,
        "write_cpu_s_per_gb": 60.0,
        "write_cpu_s_per_million_samples": 150.0,
        "rss_bytes_max": 3e8,
        "rss_bytes_per_stream": 5e4,
        "metrics": {"loki_ingester_memory_streams": {"start": 0.0, "end": 100.0, "max": 120.0}},
    }
    totals["write"] |= {
        "service_ms": latency(range(1000, 21_000, 10)),
        "push_ms": latency(range(1000, 41_000, 20)),
        "limited_by": "target",
        "limited_by_shares": {"target": 0.9, "rate_limit": 0.06, "generator": 0.04},
    }
    totals["read"]["service_ms"] = latency(range(5000, 25_000, 100))
    report["cycles"] = [_cycle(number, n_samples // 2, totals) for number in range(2)]
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        at = report
        for step in filter(None, place.split("__")):
            at = at[step]
        at[key] = value
    return json.loads(json.dumps(report))  # type: ignore[no-any-return]


def _cycle(number: int, n_samples: int, totals: dict[str, Any]) -> dict[str, Any]:
    def part(n: int, name: str, cpu_s: float) -> dict[str, Any]:
        phase: dict[str, Any] = dict(totals[name])
        key = "samples_acked" if name == "write" else "samples_validated"
        requests = "pushes_acked" if name == "write" else "queries"
        return {**phase, key: n, requests: n // 100, "cpu_s": cpu_s, "samples_per_s": n / 10}

    def whole(n: int, cpu_s: float) -> dict[str, Any]:
        return {"write": part(n, "write", cpu_s), "read": part(n, "read", cpu_s / 2)}

    workers = [
        {"worker": worker, **whole(n_samples * share // 4, share / 4)}
        for worker, share in enumerate((1, 3))
    ]
    return {
        "cycle": number,
        "generation": 0,
        "verdict": "passed",
        **whole(n_samples, 1.0),
        "spot_check": None,
        "workers": workers,
    }


def failed_report(text: str = HOSTILE, **changes: Any) -> dict[str, Any]:
    """Return a report with a mismatch of two lines that differ, and texts of anybody's."""
    example = {
        "kind": "corrupt",
        "stream": f"looker-1-0-7{text}",
        "labels": {"looker_group": text, text: "x"},
        "cycle": 0,
        "fragment": 3,
        "position": 14,
        "timestamp_ns": 1_769_860_800_000_000_000,
        "timestamp": "2026-01-31T12:00:00.000000000Z",
        "expected": f"same{text}A-rest",
        "received": f"same{text}B-rest",
        "first_difference": len(f"same{text}"),
        "query": {"url": "http://x/?a=1&b=2", "curl": f"curl '{text}'", "logcli": None},
    }
    report = full_report(
        verdict="failed",
        exit_code=1,
        invocation_id=f"id-{text}",
        faults=[f"fault {text}"],
        totals__write__refusal=f"refused {text}",
        totals__write__limited_by=text,
        target__version=text,
        **changes,
    )
    report["totals"]["read"]["mismatches"]["corrupt"] = 3
    report["totals"]["read"]["examples"] = [example]
    report["environment"][text] = text
    report["config"]["labels"] = [text]
    return report


def written(directory: Path, reports: Sequence[dict[str, Any]]) -> Path:
    """Write the repeats of one side, and return their directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, report in enumerate(reports):
        path = directory / f"{number}.report.json"
        path.write_text(json.dumps(report), encoding="utf-8")
    return directory


def written_sweep(
    root: Path, values: Sequence[Sequence[Any]], targets: Sequence[str], repeats: int = 2
) -> Path:
    """Write a sweep over ``alpha`` and, if there are two lists of values, ``beta``."""
    options = ["alpha", "beta"][: len(values)]
    rows: list[dict[str, Any]] = [{}]
    for option, several in zip(options, values, strict=True):
        rows = [{**row, option: value} for row in rows for value in several]
    names = [",".join(f"{name}={value}" for name, value in row.items()) for row in rows]
    facts = {
        "schema_version": 1,
        "kind": "sweep",
        "repeats": repeats,
        "swept": options,
        "points": [{"name": n, "options": row} for n, row in zip(names, rows, strict=True)],
        "targets": [{"name": target, "options": {}} for target in targets],
    }
    root.mkdir(parents=True)
    (root / "sweep.json").write_text(json.dumps(facts))
    begin_s = 0
    for n_target, target in enumerate(targets):
        for n_point, (name, row) in enumerate(zip(names, rows, strict=True)):
            for repeat in range(1, repeats + 1):
                place = root / target / name / str(repeat)
                place.mkdir(parents=True)
                begin_s += 20
                n_samples = 1000 * (n_point + 1) * (n_target + 1) + 100 * repeat
                is_broken = (n_target, n_point, repeat) == (0, 0, repeats)
                record = {
                    "target": target,
                    "point": name,
                    "repeat": repeat,
                    "swept": row,
                    "options": row,
                    "exit_code": 3 if is_broken else 0,
                    "error": "the target was away" if is_broken else None,
                    "started_at": "2026-01-31T12:00:00Z",
                    "finished_at": "2026-01-31T12:00:20Z",
                    "duration_s": 20.0,
                }
                (place / "run.json").write_text(json.dumps(record))
                if not is_broken:
                    report = full_report(n_samples, begin_s=begin_s)
                    (place / "report.json").write_text(json.dumps(report))
    return root
