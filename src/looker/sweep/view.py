"""What shows a sweep while it goes on: a log line for each run, and a bar on a terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from looker.observe.live import LogThrough
from looker.sweep.time_left import spoken

if TYPE_CHECKING:
    from looker.sweep.plan import SweepRun
    from looker.sweep.store import Record

LOG = logging.getLogger(__name__)


class SweepView:
    """A context manager: the bar, if there is one, is gone when the context ends."""

    def __init__(self, n_runs: int, console: Console | None = None) -> None:
        """``console`` None means standard error."""
        self._n_runs = n_runs
        self._console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: Any = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.completed} of {task.total} runs"),
                BarColumn(None),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[now]}", style="dim"),
                console=self._console,
                transient=True,
                refresh_per_second=2,
                expand=True,
            )
        self._log = LogThrough(self._console)

    def __enter__(self) -> Self:
        """Show the bar; log lines go above it from now on."""
        if self._bar is not None:
            self._log.__enter__()
            self._bar.start()
            self._task = self._bar.add_task("", total=self._n_runs, left="", now="")
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away; log lines go where they went before."""
        if self._bar is not None:
            self._bar.stop()
            self._log.__exit__(None, None, None)

    def began(self, run: SweepRun, n_over: int, left_s: float | None) -> None:
        """Show which run is under way."""
        self._show(n_over, left_s, str(run.place))

    def ended(self, run: SweepRun, record: Record, n_over: int, left_s: float | None) -> None:
        """Leave a line that says what a run has come to."""
        left = f"; {spoken(left_s)} left" if left_s else ""
        head = f"{n_over} of {self._n_runs}: {run.place}"
        if record.error is not None:
            LOG.error("%s failed: %s%s", head, record.error, left)
        else:
            said = "passed" if record.exit_code == 0 else f"exit code {record.exit_code}"
            LOG.info("%s: %s, %.1f s%s", head, said, record.duration_s, left)
        self._show(n_over, left_s, "")

    def _show(self, n_over: int, left_s: float | None, now: str) -> None:
        if self._bar is not None:
            left = "" if left_s is None else f"{spoken(left_s)} left"
            self._bar.update(self._task, completed=n_over, left=left, now=now)
