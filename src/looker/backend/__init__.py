"""HTTP transport, and what each product's answers mean."""

from __future__ import annotations

import sys
from typing import Final

_COMMAND_LINE: Final = "httpx._main"


def _import_httpx() -> None:
    """Import httpx without its command line, which takes as long to import as all the rest of it.

    It imports click, rich and pygments, which a worker has no use for. Where it cannot be imported,
    httpx does without; it can be again, for others in this process, as soon as that is done.
    """
    if "httpx" in sys.modules or _COMMAND_LINE in sys.modules:
        return
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment] # as the import system has it
    try:
        import httpx  # noqa: F401, PLC0415 - see above
    finally:
        del sys.modules[_COMMAND_LINE]


_import_httpx()
