"""URLs as they may be shown, and what of them is secret."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from looker.model.secrecy import STRUCK, keep_userinfo

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?=//)")
_IN_TEXT: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//\S+")
"""What looks like a URL within words; what is in front of it stays."""


def userinfo_of(url: str) -> str | None:
    """Return what stands before the host, a user and a password; None where nothing does."""
    behind_scheme = split_scheme(url)[1]
    userinfo, found, _ = behind_scheme.rpartition("@")
    return userinfo if found else None


def userpass(url: str) -> bytes | None:
    """Return ``user:password`` of a URL, decoded, as Basic authentication wants it; None without.

    A user name alone has an empty password.
    """
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    if not userinfo:
        return None
    user, _, password = userinfo.partition(":")
    return unquote_to_bytes(user) + b":" + unquote_to_bytes(password)


def without_userinfo(url: str) -> str:
    """Return a URL, which is right, without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def keep_secrets_of(url: str | None) -> None:
    """Let nothing show user and password of a URL, of any form."""
    userinfo = None if url is None else userinfo_of(url)
    if userinfo:
        keep_userinfo(userinfo)


def redacted(url: str) -> str:
    """Return a URL without user name and password, however wrong it is.

    All before the last ``@`` is taken for them: a password may hold ``/``, ``?`` and ``#``.
    """
    scheme, rest = split_scheme(url)
    _, found, behind = rest.rpartition("@")
    return f"{scheme}{STRUCK}@{behind}" if found else url


def presentable(value: Any) -> Any:
    """Return a setting as it may be shown: what is a URL, or holds one, without credentials."""
    if not isinstance(value, str):
        return value
    return _IN_TEXT.sub(lambda found: redacted(found[0]), value)


def split_scheme(url: str) -> tuple[str, str]:
    """Return a URL's scheme with ``://`` (or ``//``, or nothing), and what comes behind."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return ("//", url[2:]) if url.startswith("//") else ("", url)
    return f"{scheme[0]}//", url[scheme.end() + 2 :]
