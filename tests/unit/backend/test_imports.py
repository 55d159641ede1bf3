"""What a worker imports when it starts: httpx, but not its command line."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

_HEAVY: Final = ("click", "pygments", "rich")


def printed_by(statements: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", statements], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_worker_imports_no_command_line() -> None:
    found = f"[name for name in {_HEAVY} if name in sys.modules]"
    # otherwise importing httpx says nothing about what the worker makes of it
    assert printed_by(f"import sys, httpx; print({found})") == str(list(_HEAVY))
    assert printed_by(f"import sys, looker.engine.worker; print({found})") == "[]"


def test_others_in_the_process_can_import_it_afterwards() -> None:
    statements = "import looker.backend, httpx._main; print(httpx._main.main.name)"
    assert printed_by(statements) == "main"


def test_who_has_imported_httpx_before_keeps_it_whole() -> None:
    statements = "import httpx; main = httpx.main; import looker.backend; print(main is httpx.main)"
    assert printed_by(statements) == "True"
    assert printed_by("import httpx, looker.backend; print(type(httpx.main).__name__)") == "Command"
