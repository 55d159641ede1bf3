"""Ratios of two things measured in one run, and the table of them at the end.

Absolute times mean little on a shared machine; the ratio of interleaved rounds does. Rounds are
paired, so that drift of the machine meets both sides alike, which pytest-benchmark cannot do.
"""

from __future__ import annotations

import operator
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 61
QUICK_ROUNDS: Final = 3
_OPERATORS: Final = {"<=": operator.le, ">=": operator.ge}


@dataclass
class Row:
    """One goal: what was measured against what; ``goal`` is a bound of the ratio, like <= 0.8."""

    name: str
    goal: str
    measured: float
    reference: float
    unit: str

    @property
    def ratio(self) -> float:
        return self.measured / self.reference

    @property
    def met(self) -> bool:
        comparison, bound = self.goal.split()
        return bool(_OPERATORS[comparison](self.ratio, float(bound)))


@dataclass
class Table:
    quick: bool
    rows: list[Row] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return QUICK_ROUNDS if self.quick else ROUNDS

    def add(self, name: str, goal: str, measured: float, reference: float, unit: str) -> Row:
        """Keep a row whose two sides were measured in one run, or whose reference is recorded."""
        row = Row(name, goal, measured, reference, unit)
        self.rows.append(row)
        return row

    def compare(
        self,
        name: str,
        goal: str,
        measured: Callable[[], object],
        reference: Callable[[], object],
        *,
        rounds: int | None = None,
    ) -> Row:
        """Take the CPU time of both in turn, round by round, and keep the medians (ms).

        CPU time of the whole process, so that other load on the machine counts less.
        """
        measured(), reference()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds or self.rounds):
            for work, kept in zip((measured, reference), times, strict=True):
                begun = time.process_time()
                work()
                kept.append(time.process_time() - begun)
        medians = (1000 * statistics.median(kept) for kept in times)
        return self.add(name, goal, *medians, "ms")


TABLE: Final = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="few rounds: only that it runs")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table(config.getoption("--quick"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        for item in items:
            # many rounds on a busy machine take their time
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[TABLE]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash[TABLE].rows
    if not rows:
        return
    terminalreporter.section("ratios within one run: medians of paired rounds")
    width = max(len(row.name) for row in rows)
    units = max(len(row.unit) for row in rows)
    terminalreporter.write_line(
        f"{'':{width}}  {'measured':>12} {'':{units}}  {'reference':>12} {'':{units}}"
        f"  {'ratio':>7}  {'goal':>8}"
    )
    for row in rows:
        terminalreporter.write_line(
            f"{row.name:{width}}  {row.measured:>12,.3f} {row.unit:{units}}"
            f"  {row.reference:>12,.3f} {row.unit:{units}}"
            f"  {row.ratio:>7.3f}  {row.goal:>8}  {'met' if row.met else 'missed'}"
        )
