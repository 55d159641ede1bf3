"""CPU time of other processes than this one, as Linux counts it (proc(5))."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path("/")
_IDLE = (3, 4)
"""The columns idle and iowait of /proc/stat; guest times, from the ninth on, are in the others."""
_N_COLUMNS = 8


def process_cpu_s(pid: int, root: Path = _ROOT) -> float:
    """Return the CPU seconds of a process, its threads included; 0 where it cannot be told."""
    try:
        stat = (root / f"proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def busy_s(cpus: set[int], root: Path = _ROOT) -> float | None:
    """Return the seconds for which these CPUs have been busy or stolen; None where not told."""
    try:
        lines = (root / "proc/stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = {f"cpu{number}" for number in cpus}
    ticks = [
        [int(column) for column in line.split()[1 : 1 + _N_COLUMNS]]
        for line in lines
        if line.split(" ", 1)[0] in names
    ]
    if len(ticks) < len(names):
        return None
    n_ticks = sum(sum(columns) - sum(columns[at] for at in _IDLE) for columns in ticks)
    return n_ticks / os.sysconf("SC_CLK_TCK")


class OthersCpu:
    """How much of the usable cores is used, from now on, by what does not belong to this process.

    To this process belong its children that have ended by the time of asking, and those that are
    named. Where a quota of a control group, not the affinity, says how many cores are usable, it
    cannot be told: nobody knows which cores these are.
    """

    def __init__(self, pids: Sequence[int], n_cores: int, root: Path = _ROOT) -> None:
        """``pids`` are children that go on; ``n_cores`` are usable."""
        self._pids = pids
        self._root = root
        self._cpus = os.sched_getaffinity(0)
        self._known = n_cores == len(self._cpus)
        self._begun_s = time.monotonic()
        self._busy_s, self._own_s = busy_s(self._cpus, root), self._own()

    def cores(self) -> float | None:
        """Return how many cores others kept busy on average; None where it cannot be told."""
        busy_now_s, duration_s = busy_s(self._cpus, self._root), time.monotonic() - self._begun_s
        if not self._known or busy_now_s is None or self._busy_s is None or duration_s <= 0:
            return None
        others_s = busy_now_s - self._busy_s - (self._own() - self._own_s)
        return max(0.0, others_s / duration_s)

    def _own(self) -> float:
        own_s = sum(process_cpu_s(pid, self._root) for pid in self._pids)
        for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(whose)
            own_s += used.ru_utime + used.ru_stime
        return own_s
