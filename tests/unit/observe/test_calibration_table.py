"""The table of a calibration, as it stands on a terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from looker.model.calibration import Calibration, LoadCeiling, Measured, Stage, StageWork
from looker.model.config import Mode
from looker.model.report import PhaseTimes, WriteReport
from looker.observe.calibration_table import rounded, show
from servers import run_config

S = 10**9
HOST = {"cpu_model": "Abacus 3000", "n_usable_cores": 16}


def measured(n_workers: int) -> Measured:
    work = {
        Stage.GENERATE: StageWork(1_000_000, cpu_s=0.2, wall_s=0.2),
        Stage.COMPRESS: StageWork(1_000_000, cpu_s=0.1, wall_s=0.1),
        Stage.PUSH: StageWork(1_000_000, cpu_s=0.1, wall_s=0.4),
        Stage.VALIDATE: StageWork(1_000_000, cpu_s=0.4, wall_s=0.5),
    }
    n_samples = 1_234_567 * n_workers
    write = WriteReport(
        PhaseTimes(S, 2 * S),
        samples_acked=n_samples,
        payload_bytes_acked=100 * n_samples,
        wire_bytes_sent=91 * n_samples,
        cpu_s=1.0 * n_workers,
    )
    return Measured(n_workers, work, write, 0.25 * n_workers)


def shown(counts: list[int], width: int = 100, **changes: Any) -> list[str]:
    """Return the lines of one load."""
    config = run_config(
        None,
        n_samples_per_fragment=1000,
        n_streams=4,
        **{"mode": Mode.LOGS, "step_ns": 1} | changes,
    )
    load = LoadCeiling(config, 16, 1, tuple(map(measured, counts)))
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(Calibration("1", None, None, HOST, (load,)), console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def row(lines: list[str], name: str) -> list[str]:
    """Return the cells behind a row's name."""
    (line,) = (line for line in lines if line.strip().startswith(name))
    return re.split(" {2,}", line.strip())[1:]


def test_it_says_where_the_time_goes_and_what_comes_of_it() -> None:
    lines = shown([1, 4, 16])
    assert lines[0] == "calibration of this host · Abacus 3000 · 16 usable cores"
    assert lines[2] == (
        "logs: 4 streams; a push holds 1 fragment of 1,000 entries of 100 characters;"
        " compressability min"
    )
    assert row(lines, "entries/s") == ["share of CPU", "1 worker", "4 workers", "16 workers"]
    assert row(lines, "generate and encode") == [
        "25 % ██········", "5,000,000", "20,000,000", "80,000,000",
    ]  # fmt: skip
    assert row(lines, "compress")[0] == "12 % █·········"
    assert row(lines, "push")[0] == "12 % █·········"
    assert row(lines, "validate")[0] == "50 % █████·····"
    assert row(lines, "written, all stages at once") == ["1,230,000", "4,940,000", "19,800,000"]
    assert row(lines, "payload MB/s") == ["123", "494", "1,980"]
    assert row(lines, "wire MB/s") == ["112", "449", "1,800"]
    assert row(lines, "cores busy: workers") == ["1.0", "4.0", "16.0"]
    assert row(lines, "cores busy: null target") == ["0.2", "1.0", "4.0"]
    assert row(lines, "largest load") == [
        "19,800,000 entries/s, 1,980 MB/s of payload, 1,800 MB/s on the wire, with 16 workers"
    ]
    assert row(lines, "bottleneck") == ["generate and encode, 50 % of the CPU of writing"]
    assert row(lines, "reading back") == [
        "32,000,000 entries/s validated with 16 workers, transfer not counted"
    ]
    notes = [line for line in lines if line.startswith("•")]
    assert [note.split()[1] for note in notes] == ["Looker's", "The"]


def test_metrics_have_samples_and_series() -> None:
    lines = shown([1], mode=Mode.METRICS, step_ns=1_000_000_000)
    assert lines[2].startswith("metrics: 4 series; a push holds 1 fragment of 1,000 samples;")
    assert row(lines, "samples/s") == ["share of CPU", "1 worker"]
    assert any(line.startswith("• 4 series whose samples are 1000 ms apart") for line in lines)


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (100, ["1 worker", "2 workers", "6 workers", "16 workers"]),
        (80, ["1 worker", "16 workers"]),
        (60, ["16 workers"]),
    ],
)
def test_on_a_narrow_terminal_the_first_and_the_last_remain(width: int, names: list[str]) -> None:
    assert row(shown([1, 2, 6, 16], width), "entries/s")[1:] == names


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, "0"),
        (0.04321, "0.0432"),
        (9.876, "9.88"),
        (12.34, "12.3"),
        (123.4, "123"),
        (999.6, "1,000"),
        (1_234_567.0, "1,230,000"),
    ],
)
def test_three_digits_are_enough(number: float, expected: str) -> None:
    assert rounded(number) == expected


@pytest.mark.parametrize("width", [20, 40, 45])
def test_field_case_26_where_there_is_no_room_for_a_column_each_figure_has_its_line(
    width: int,
) -> None:
    said = " ".join(" ".join(shown([1, 16], width)).split())
    assert "16 workers generate and encode: 80,000,000 compress: 160,000,000" in said
    assert "written, all stages at once: 19,800,000" in said
