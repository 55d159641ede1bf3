"""What this process uses, by the names that all of Prometheus' client libraries give it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_START_FIELD: Final = 19
"""The 22nd of /proc/self/stat (proc(5)), counted from behind the process's name."""


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """CPU seconds so far, resident bytes and start in Unix seconds; None where not told."""

    cpu_s: float
    resident_bytes: int | None
    started_s: float | None


def own_process(root: Path = _ROOT) -> OwnProcess:
    """Return what this process uses now."""
    resident_bytes = started_s = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = (root / "proc/self/statm").read_text(encoding="ascii").split()[1]
        resident_bytes = int(pages) * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        stat = (root / "proc/self/stat").read_text(encoding="utf-8", errors="replace")
        n_ticks = int(stat.rpartition(")")[2].split()[_START_FIELD])
        lines = (root / "proc/stat").read_text(encoding="ascii").splitlines()
        booted_s = int(next(line for line in lines if line.startswith("btime ")).split()[1])
        started_s = booted_s + n_ticks / os.sysconf("SC_CLK_TCK")
    return OwnProcess(time.process_time(), resident_bytes, started_s)
