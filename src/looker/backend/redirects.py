"""What a redirect means, as none is followed: a login, or another place."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from looker.model.words import one_line

_MAX_CHARS: Final = 200
_FOR_NOW: Final = frozenset({302, 303, 307})
"""What has moved for good is told by 301 and 308; logins are never told by those."""
_LOGIN: Final = re.compile(
    r"(?:^|[/._\-])(?:log[_\-]?in|sign[_\-]?in|oauth2?|authori[sz]e|authenticate|auth|sso|saml2?"
    r"|oidc|openid(?:-connect)?|idp|adfs|accounts?|session|realms)(?:[/._\-:]|$)",
    re.IGNORECASE,
)
_ASKED_FOR_LOGIN: Final = re.compile(
    r"(?:^|&)(?:client_id|redirect_uri|redirect_url|response_type|return_to|returnurl|samlrequest"
    r"|relaystate|rd|nonce)=",
    re.IGNORECASE,
)


def reason_of_redirect(base: str, asked: str, status: int, location: str | None, sent: str) -> str:
    """Return in one line why a target's answer is no answer, and what would be right.

    ``asked`` is the URL that was asked for, ``sent`` says which credentials it was asked with.
    """
    if location is None:
        return f"{base} redirects elsewhere ({status}): give the URL behind the redirect"
    here, there = urlsplit(asked), _target(asked, location)
    if there is None:
        return f"{base} redirects to {one_line(location, _MAX_CHARS)!r}, which is no URL"
    to = one_line(location, _MAX_CHARS)
    if status in _FOR_NOW and (_is_login(here, there) or there.hostname != here.hostname):
        where = one_line(there._replace(query="", fragment="").geturl(), _MAX_CHARS)
        what = "a login" if _is_login(here, there) else "another host, as to a login"
        return (
            f"{base} redirects to {where}, {what}: credentials are missing or not accepted ({sent})"
        )
    if (there.hostname, there.path) == (here.hostname, here.path):
        if (here.scheme, there.scheme) == ("http", "https"):
            return f"{base} redirects to https: give {_behind(base, here, there)}"
    elif there.hostname == here.hostname and there.path.rstrip("/") == here.path.rstrip("/"):
        return (
            f"{base} redirects {here.path} to the same with another slash at its end, {to}:"
            " give the path as it is there (--push-path, --query-path), or the URL behind it"
        )
    return f"{base} redirects to {to}: give {_behind(base, here, there)}"


def _target(asked: str, location: str) -> SplitResult | None:
    try:
        there = urlsplit(urljoin(asked, location))
    except ValueError:
        return None
    return there if there.scheme in ("http", "https") and there.netloc else None


def _is_login(here: SplitResult, there: SplitResult) -> bool:
    # what was asked for is no login
    words = there.path.removeprefix(here.path)
    if there.hostname != here.hostname:
        words = f"{there.hostname}{there.path}"
    return bool(_LOGIN.search(words) or _ASKED_FOR_LOGIN.search(there.query))


def _behind(base: str, here: SplitResult, there: SplitResult) -> str:
    """Return which base URL leads to the same place without a redirect, if that is clear."""
    path = here.path.removeprefix(urlsplit(base).path)
    if there.path.endswith(path) and there.query == here.query:
        origin = there._replace(path=there.path.removesuffix(path), query="", fragment="")
        return one_line(origin.geturl(), _MAX_CHARS)
    return "the URL behind the redirect"
