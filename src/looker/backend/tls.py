"""TLS settings of a run."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from looker.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from looker.model.config import RunConfig


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


def context_for(url: str, config: RunConfig) -> ssl.SSLContext | None:
    """Return how a run verifies the target at ``url``; None where that is not https."""
    if not url.startswith("https:"):
        return None
    return ssl_context(config.ca_file, insecure_skip_verify=config.insecure_skip_verify)
