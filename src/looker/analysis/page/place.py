"""The file that the page goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.analysis.page.page import GENERATOR
from looker.engine.run_report import write_text_atomically
from looker.errors import UsageError
from looker.observe.report_place import is_systems

if TYPE_CHECKING:
    from pathlib import Path

_OPTION: Final = "--output"
_HEAD_BYTES: Final = 1000
"""A page names its generator within these."""


def refuse_foreign(path: Path) -> None:
    """UsageError if there is a file at the path that is no page of ours, or a directory."""
    if path.is_dir():
        raise UsageError(_OPTION, f"{path} is a directory: name the page's file in it")
    if is_systems(path) or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UsageError(_OPTION, f"cannot read {path}: {error.strerror or error}") from error
    if head and f'<meta name="generator" content="{GENERATOR}'.encode() not in head:
        raise UsageError(_OPTION, f"{path} exists, and is no page of {GENERATOR} (or: --force)")


def write_page(path: Path, page: str) -> int:
    """Replace the file by the page at once, or leave it as it is; return its size in bytes.

    OutputError where it cannot be written.
    """
    write_text_atomically(path, [page])
    return len(page.encode())
