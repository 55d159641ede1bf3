"""Sides of a comparison: directories of reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from looker.analysis.reports import Side, read_side
from run_reports import plain_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def side(tmp_path: Path) -> Callable[..., Side]:
    """Return sides, whose runs are in turn: the first name's at even minutes."""
    names: dict[str, int] = {}

    def made(name: str, samples: Sequence[int], **changes: Any) -> Side:
        place = names.setdefault(name, len(names))
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        for number, n_samples in enumerate(samples):
            begin_s = 60 * (2 * number + place)
            named = {"invocation_id": f"looker-{name}-{number}", **changes}
            plain = plain_report(n_samples, begin_s=begin_s, **named)
            # names that do not sort as the runs were
            path = directory / f"{97 * (number + 1) % 89}.report.json"
            path.write_text(json.dumps(plain))
        return read_side(directory, "BASELINE")

    return made
