"""What the result says where throughput was not the target's."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from looker.model.report import CycleReport, ReadReport
from looker.observe.result import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.model.report import WriteReport


def shown(write: WriteReport, *, n_workers: int) -> str:
    cycle = CycleReport(0, 0, write, ReadReport(skipped=True)).to_json()
    report: dict[str, Any] = {
        "mode": "logs",
        "invocation_id": "looker-ab12cd34",
        "verdict": "not_checked",
        "exit_code": 0,
        "interrupted": False,
        "faults": [],
        "target": {"version": None, "embedded": True, "url": "http://x", "product": "looker"},
        "config": {
            "n_workers": n_workers,
            "n_samples_per_fragment": 1000,
            "n_fragments_per_message": 100,
        },
        "environment": {"n_usable_cores": 4},
        "cycles": [cycle],
        "totals": cycle,
    }
    console = Console(file=io.StringIO(), width=100, highlight=False)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize(("n_workers", "words"), [(1, "--n-workers up to 4"), (4, "more cores")])
def test_where_looker_was_the_limit_it_says_what_helps(
    written: Callable[..., WriteReport], n_workers: int, words: str
) -> None:
    write = written()
    write.rate_limited_s = write.throttled_s = 0.0
    write.starved_generator_s, write.generating_s = 0.9 * write.writers_s, write.workers_s
    text = shown(write, n_workers=n_workers)
    assert "limited by │ generator" in text
    assert (
        "throughput was held back by Looker itself, whose cores were busy: it is not the target's"
        f" capacity; what helps: {words}; `looker calibrate logs` shows what this host can offer"
    ) in text


def test_where_the_target_was_the_limit_there_is_nothing_to_say(
    written: Callable[..., WriteReport],
) -> None:
    text = shown(written(), n_workers=1)
    assert "limited by │ target" in text
    assert "held back" not in text
