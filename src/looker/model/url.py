"""URLs as they may be shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit


def redacted(url: str) -> str:
    """Return a URL without user name and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"***@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))


def presentable(value: Any) -> Any:
    """Return a setting as it may be shown: what is a URL without user name and password."""
    return redacted(value) if isinstance(value, str) and "://" in value else value
