"""Results on terminals of any width, and in a pipe: no figure is ever cut, no pipe is wrapped."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from rich.console import Console
from rich.text import Text

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.engine.run_report import RunReport, WorkerRecord
from looker.model.config import ReadApi
from looker.model.report import PhaseTimes, ReadReport
from looker.observe import terminal
from looker.observe.result import show
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND: Final = 1_000_000_000
WIDTHS: Final = [20, 40, 60, 80, 100, 120, 200, 100_000]


def printed(width: int, print_on: Callable[[Console], None]) -> list[str]:
    text = io.StringIO()
    print_on(Console(file=text, width=width, highlight=False))
    return text.getvalue().splitlines()


def run_report(n_cycles: int) -> dict[str, Any]:
    """Return the report of a run with figures of up to twelve digits."""
    target = Target(
        "http://127.0.0.1:1", Product.PROMETHEUS, "/w", "/q", None, ReadApi.QUERY, "1", None, None
    )
    whole = RunReport(
        run_config(None, n_cycles=n_cycles), target, {}, SECOND, finished=True, finished_ns=SECOND
    )
    whole.workers = {0: WorkerRecord(0)}
    for cycle in range(n_cycles):
        part = whole.part(0, cycle)
        begin = (1 + 10 * cycle) * SECOND
        part.write.times = PhaseTimes(begin, begin + 2 * SECOND)
        part.write.samples_acked = 115_263_412_345 + cycle
        part.write.pushes_acked = 1_234_567
        part.write.service.record_us(123_456_000)
        part.read = ReadReport()
        part.read.times = PhaseTimes(begin + 3 * SECOND, begin + 4 * SECOND)
        part.read.findings.n_expected = part.read.findings.n_validated = 115_263_412_345 + cycle
    return whole.to_json()


@pytest.mark.parametrize("width", WIDTHS)
def test_field_case_26_no_figure_of_a_result_is_cut(width: int) -> None:
    report = run_report(12)
    lines = printed(width, lambda on: show(report, on))
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "…" not in text
    total = 12 * 115_263_412_345 + 66
    # of the newest cycles as many as there is room for, and always the total
    assert text.count(f"{total:,}") >= 2
    assert f"{total // 24:,}" in text
    shown = re.findall(r"cycle (\d+)", text)
    n_shown = {20: 0, 40: 0, 60: 0, 80: 1, 100: 2, 120: 3, 200: 6, 100_000: 10}[width]
    assert shown[:n_shown] == [str(n) for n in range(12 - n_shown, 12)]
    assert all(f"{115_263_412_345 + int(number):,}" in text for number in shown[:n_shown])


@pytest.mark.parametrize("width", [20, 40])
def test_where_there_is_no_room_for_a_table_each_figure_has_its_line(width: int) -> None:
    lines = printed(width, lambda on: show(run_report(1), on))
    joined = " ".join(" ".join(lines).split())
    assert "cycle 0 written: samples acknowledged: 115,263,412,345 seconds: 2.00" in joined
    assert "service time p50 / p99 ms: 123469.8 / 123469.8" in joined


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_a_table_or_lines_and_never_cut(width: int) -> None:
    columns: list[tuple[str, Any]] = [
        *(("metric", "left"), ("baseline", "right"), ("verdict", "left"))
    ]
    rows = [
        ["↓ target.write_cpu_s_per_gb", "115,263,412 ±10.2%", Text("no difference shown (1)")],
        ["↑ write.samples_per_s", "9", Text("better (0.0001)")],
    ]

    def show_rows(on: Console) -> None:
        for one in terminal.laid_out(columns, rows, on):
            on.print(one)

    lines = printed(width, show_rows)
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert len(lines) == 3
        assert re.split(" {2,}", lines[1]) == [
            *("↓ target.write_cpu_s_per_gb", "115,263,412 ±10.2%", "no difference shown (1)")
        ]
    elif width == 60:
        assert [line.rstrip() for line in lines] == [
            "            baseline  verdict",
            "↓ target.write_cpu_s_per_gb",
            "  115,263,412 ±10.2%  no difference shown (1)",
            "↑ write.samples_per_s",
            "                   9  better (0.0001)",
        ]
    elif width == 40:
        assert lines == [
            "↓ target.write_cpu_s_per_gb",
            "  baseline: 115,263,412 ±10.2%",
            "  verdict: no difference shown (1)",
            "↑ write.samples_per_s",
            "  baseline: 9",
            "  verdict: better (0.0001)",
        ]
    else:
        assert "115,263,412 ±10.2%" in "\n".join(lines)


def test_field_case_26_a_pipe_is_not_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever COLUMNS says, and whether or not colours are forced."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    labels = "{" + ", ".join(f'label_{n}="{"x" * 30}"' for n in range(100)) + "}"
    on = terminal.console()
    on.print(Text(labels, overflow="fold"))
    assert capsys.readouterr().out == f"{labels}\n"


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        *(("133", 133), ("0", 80), ("-1", 80), ("abc", 80), ("", 80), ("²", 80), ("1", 20)),
        ("9" * 30, 80),
    ],
)
def test_columns_of_a_terminal_are_those_that_it_says(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("os.get_terminal_size", lambda _fd: (_ for _ in ()).throw(OSError()))
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.console().width == width
