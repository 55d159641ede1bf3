"""Ratios of two things measured in one run, and the table of them at the end.

Absolute times mean little on a shared machine; the ratio of interleaved rounds does.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 31
QUICK_ROUNDS: Final = 3


@dataclass
class Row:
    """One goal: what was measured against what."""

    name: str
    goal: str
    measured_ms: float
    reference_ms: float

    @property
    def ratio(self) -> float:
        return self.measured_ms / self.reference_ms


@dataclass
class Table:
    rounds: int
    rows: list[Row] = field(default_factory=list)

    def compare(
        self,
        name: str,
        goal: str,
        measured: Callable[[], object],
        reference: Callable[[], object],
    ) -> Row:
        """Time both in turn, round by round, and keep the medians."""
        measured(), reference()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(self.rounds):
            for work, kept in zip((measured, reference), times, strict=True):
                begun = time.perf_counter()
                work()
                kept.append(time.perf_counter() - begun)
        row = Row(name, goal, *(1000 * statistics.median(kept) for kept in times))
        self.rows.append(row)
        return row


TABLE: Final = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="few rounds: only that it runs")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table(QUICK_ROUNDS if config.getoption("--quick") else ROUNDS)


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[TABLE]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash[TABLE].rows
    if not rows:
        return
    terminalreporter.section("ratios, medians of interleaved rounds")
    width = max(len(row.name) for row in rows)
    terminalreporter.write_line(
        f"{'':{width}}  {'goal':>9}  {'measured':>12}  {'reference':>12}  {'ratio':>6}"
    )
    for row in rows:
        terminalreporter.write_line(
            f"{row.name:{width}}  {row.goal:>9}  {row.measured_ms:>9.3f} ms"
            f"  {row.reference_ms:>9.3f} ms  {row.ratio:>6.2f}"
        )
