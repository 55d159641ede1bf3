"""How much freed memory a worker keeps for itself."""

from __future__ import annotations

import ctypes
from typing import Final

# as in malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_OWN_MAPPING_BYTES: Final = 8 << 20
"""Above what batches of messages and answers take, which come and go all the time."""
_KEPT_BYTES: Final = 24 << 20


def return_freed_memory() -> None:
    """Let glibc give back the memory of large columns as soon as they are freed.

    By itself it learns from the first large block that is freed to keep up to 64 MB, which is as
    much as a worker needs for a million series. Other C libraries have no such habit, nor this
    switch.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
