"""The rules of the options that say what the target is asked of itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from looker.errors import UsageError
from looker.model.metric_selector import selector_of
from looker.model.target_usage import OFF
from looker.model.url import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_target_metrics(url: str | None, metrics: Sequence[str], every_s: float) -> None:
    """Raise UsageError, naming the option, for the first value or combination that is wrong."""
    if url is not None and url != OFF and not _is_page(url):
        raise UsageError(
            "--target-metrics-url",
            f"must begin with http:// or https:// and name a host, or be '{OFF}', not"
            f" {_shown(url)}",
        )
    if url == OFF and metrics:
        raise UsageError("--target-metric", f"contradicts --target-metrics-url {OFF}")
    for text in metrics:
        try:
            selector_of(text)
        except ValueError as error:
            raise UsageError("--target-metric", str(error)) from None
    if not 0.1 <= every_s < 10**6:
        raise UsageError("--target-metrics-every-seconds", f"must be at least 0.1, not {every_s:g}")


def _is_page(url: str) -> bool:
    """Tell whether something can be asked for at a URL."""
    try:
        parts = urlsplit(url)
        # what is no number, or too large, raises
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and re.fullmatch(r"https?://[^\s/?#]+[^\s#]*", url) is not None


def _shown(url: str) -> str:
    try:
        return repr(redacted(url))
    except ValueError:
        # what cannot be taken apart may hold a password
        return "what is no URL"
