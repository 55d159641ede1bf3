"""The line on what the target itself used: only what is known."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from looker.model.report import CycleReport, ReadReport
from looker.model.target_usage import FIGURES
from looker.observe.result import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.model.report import WriteReport


def shown(write: WriteReport, target: dict[str, Any] | None) -> str:
    cycle = CycleReport(0, 0, write, ReadReport(skipped=True)).to_json()
    report: dict[str, Any] = {
        "mode": "logs",
        "invocation_id": "looker-ab12cd34",
        "verdict": "not_checked",
        "exit_code": 0,
        "interrupted": False,
        "faults": [],
        "target": {"version": None, "embedded": True, "url": "http://x", "product": "looker"},
        "config": {"n_workers": 1, "n_samples_per_fragment": 1, "n_fragments_per_message": 1},
        "environment": {"n_usable_cores": 4},
        "cycles": [cycle],
        "totals": {**cycle, "target": target},
    }
    console = Console(file=io.StringIO(), width=100, highlight=False)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("known", "line"),
    [
        (
            {"write_cpu_s": 12.34, "write_cpu_s_per_gb": 1.16, "read_cpu_s": 0.41}
            | {"cpu_s": 13.0, "rss_bytes_max": 512_400_000},
            "target used: 12.3 CPU s writing (1.2 s per GB), 0.4 reading; 512 MB resident at most",
        ),
        (
            {"write_cpu_s": 0.0123, "write_cpu_s_per_gb": 2345.6, "cpu_s": 1.0},
            "target used: 0.012 CPU s writing (2,345.6 s per GB)",
        ),
        (
            {"cpu_s": 13.0, "rss_bytes_max": 2e9},
            "target used: 13.0 CPU s; 2,000 MB resident at most",
        ),
        ({"write_cpu_s": 1.0, "cpu_s": 1.0}, "target used: 1.0 CPU s writing"),
        ({}, None),
        (None, None),
    ],
)
def test_what_is_known_is_said(
    written: Callable[..., WriteReport], known: dict[str, Any] | None, line: str | None
) -> None:
    target = None if known is None else dict.fromkeys(FIGURES) | known | {"metrics": {}}
    lines = [one for one in shown(written(), target).splitlines() if "target used" in one]
    assert lines == ([] if line is None else [line])
