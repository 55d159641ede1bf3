"""Coroutines that begin and end together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

_T = TypeVar("_T")


async def together(works: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run them side by side and return what they return, in their order.

    The first exception, or a cancellation, cancels the rest; it is raised when all have ended, so
    that nothing still uses what the caller closes next (``asyncio.gather`` lets the rest go on, and
    ``asyncio.TaskGroup`` wraps what was raised).
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        # what the others end with is seen, and is not what is raised
        await asyncio.gather(*tasks, return_exceptions=True)
