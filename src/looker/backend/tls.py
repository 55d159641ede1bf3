"""TLS settings of a run."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from looker.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def ssl_context(ca_file: Path | None, *, insecure_skip_verify: bool) -> ssl.SSLContext:
    """Return how to verify a target: by the system's certificates unless ``ca_file`` is given."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError("--ca-file", f"{ca_file} holds no certificates in PEM form") from error
    if insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
