"""Looker: testing and benchmarking for Loki, Cortex, Mimir and Prometheus."""

from __future__ import annotations

from looker.version import __version__

# importing typing takes longer than all else before a signal can be caught: see cli/entry.py
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from looker.library.stream import (
        Connection,
        Fragment,
        LogStream,
        MetricSeries,
        Pushed,
        Validation,
    )

__all__ = [
    "Connection",
    "Fragment",
    "LogStream",
    "MetricSeries",
    "Pushed",
    "Validation",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the library when it is first asked for: the command line does not need it."""
    if name in __all__:
        from looker.library import stream  # noqa: PLC0415

        return getattr(stream, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
