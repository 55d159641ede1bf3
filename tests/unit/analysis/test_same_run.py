"""A run is no repeat of itself: neither by another name nor as a copy of its report."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from looker.analysis.comparison import compare
from looker.analysis.reports import read_side
from looker.analysis.sides import Match
from looker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from looker.analysis.reports import Side


def test_a_copy_on_the_other_side_is_refused(side: Callable[..., Side], tmp_path: Path) -> None:
    one = side("a", [1000])
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(UsageError, match=r"^CONTENDER: .*/copy/.* is of the same run as .*/a/"):
        compare([Match(one, read_side(tmp_path / "copy", "CONTENDER"))], force=True)


def test_a_copy_on_the_same_side_is_refused(side: Callable[..., Side], tmp_path: Path) -> None:
    other, one = side("b", [1000, 2000]), side("a", [1000])
    (report,) = one.reports
    shutil.copy(report.path, tmp_path / "a" / "again.report.json")
    with pytest.raises(UsageError, match="is of the same run as"):
        compare([Match(read_side(tmp_path / "a", "BASELINE"), other)])
