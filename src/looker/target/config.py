"""How the embedded target is to behave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from looker.errors import UsageError


@dataclass(frozen=True)
class TargetConfig:
    """Settings of the embedded target.

    ``port`` 0 takes a free one. ``mode`` "null" acknowledges and discards. ``range_boundary``
    says whether a range selector includes its oldest instant ("closed", as Prometheus 2) or not
    ("open", as Prometheus 3 and Cortex); the lookback of 5 minutes follows it. Raises UsageError
    for a setting that cannot work.
    """

    host: str = "127.0.0.1"
    port: int = 0
    mode: Literal["memory", "null"] = "memory"
    max_memory_mb: int = 1024
    max_entries_limit: int = 5000
    range_boundary: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.port <= 65535:
            raise UsageError("--port", f"{self.port} is not within 0 and 65535")
        if self.mode not in {"memory", "null"}:
            raise UsageError("--mode", f"{self.mode!r} is neither memory nor null")
        if self.max_memory_mb < 1:
            raise UsageError("--max-memory-mb", f"{self.max_memory_mb} is below 1")
        if self.max_entries_limit < 1:
            raise UsageError("--max-entries-limit", f"{self.max_entries_limit} is below 1")
        if self.range_boundary not in {"closed", "open"}:
            raise UsageError("--range-boundary", f"{self.range_boundary!r} is not closed or open")
