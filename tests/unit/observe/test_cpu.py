"""CPU time of others, as Linux tells it; a file system that we have made tells what we want."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from looker.observe.cpu import OthersCpu, busy_s, process_cpu_s

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TICKS = os.sysconf("SC_CLK_TCK")


def write_stat(root: Path, ticks: dict[int, int]) -> None:
    """Let each CPU have been busy for so many ticks, in every way that there is."""
    (root / "proc").mkdir(exist_ok=True)
    lines = ["cpu  1 2 3 4 5 6 7 8 9 10"]
    for number, busy in ticks.items():
        # user nice system idle iowait irq softirq steal guest guest_nice
        lines.append(f"cpu{number} {busy - 6} 1 1 9999 8888 1 1 2 777 666")
    (root / "proc/stat").write_text("\n".join([*lines, "intr 1 2 3"]) + "\n")


def test_busy_is_what_is_not_idle(tmp_path: Path) -> None:
    write_stat(tmp_path, {0: 100, 1: 200, 11: 5000})
    assert busy_s({0}, tmp_path) == 100 / TICKS
    assert busy_s({0, 1}, tmp_path) == 300 / TICKS
    # a CPU that is not there, or nothing that tells
    assert busy_s({0, 2}, tmp_path) is None
    assert busy_s({0}, tmp_path / "nowhere") is None


def test_a_process_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    numbers = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "proc/7/stat").write_text(f"7 (a) b (c) S {numbers}\n")
    # utime and stime are the fields 14 and 15 of all, the name being the second
    assert process_cpu_s(7, tmp_path) == (14 + 15) / TICKS
    assert process_cpu_s(8, tmp_path) == 0.0


def test_others_are_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpus = {0, 1}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cpus)
    seconds = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    write_stat(tmp_path, {0: 100, 1: 200})
    others = OthersCpu([], 2, tmp_path)
    write_stat(tmp_path, {0: 100 + 5 * TICKS, 1: 200 + 10 * TICKS})
    found = others.cores()
    # 15 s of 10 s on two cores, less what this process has used meanwhile
    assert found is not None
    assert 1.4 < found <= 1.5
    # what this process has used more than is told is nobody's
    write_stat(tmp_path, {0: 100, 1: 200})
    assert others.cores() == 0.0


def test_under_a_quota_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    write_stat(tmp_path, {0: 100, 1: 200})
    assert OthersCpu([], 1, tmp_path).cores() is None


def test_of_this_very_host_something_is_known() -> None:
    others = OthersCpu([os.getpid()], len(os.sched_getaffinity(0)))
    found = others.cores()
    assert found is None or found >= 0
    assert process_cpu_s(os.getpid()) >= 0
