"""What a URL has to be, and what is wrong with one that is not."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from looker.model.secrecy import STRUCK
from looker.model.url import redacted, split_scheme, without_userinfo

_EXAMPLE: Final = "http://localhost:3100"
_HOST_PORT: Final = re.compile(r"(?:[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?(?:[/?#].*)?")
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST_CHARS: Final = 253
_MAX_SHOWN_CHARS: Final = 200

# what stands behind the base URL in the addresses that agents, data sources and browsers want
_API_PATH: Final = re.compile(
    r"/loki/api/v1(?:/.*)?"
    r"|/api/prom(?:/push|/query|/label(?:/.*)?|/tail|/api/v1(?:/.*)?)?"
    r"|(?:/prometheus)?/api/v1(?:/(?:push|write|read|query|query_range|query_exemplars|series"
    r"|labels|label/.*|metadata|status/.*|rules|alerts|targets|import(?:/.*)?))?"
    r"|(?:/api/v1)?/otlp(?:/v1(?:/(?:logs|metrics|traces))?)?"
    r"|/v1/(?:logs|metrics)"
    r"|/ready|/-/(?:ready|healthy)|/metrics|/graph|/config"
)


def check_base_url(url: str) -> None:
    """Raise ValueError, with what would be right, where a URL is not the base URL of a target."""
    check_url(url)
    plain = without_userinfo(url)
    base = _base_of(plain)
    for mark, what in (("?", "a query"), ("#", "a fragment")):
        if mark in url:
            raise ValueError(f"a base URL has no '{mark}' with {what} behind it: is {base} meant?")
    path = urlsplit(plain).path
    if _base_path(path) != path.rstrip("/"):
        raise ValueError(f"{_shown(path)} is no part of a base URL: give {_bases(base, path)}")


def check_url(url: str) -> None:
    """Raise ValueError, in one line without secrets, where a URL is not one of http or https."""
    shown = _shown(redacted(url))
    scheme, rest = split_scheme(url)
    if scheme.lower() not in ("http://", "https://"):
        begin = "must begin with http:// or https://"
        if scheme not in ("", "//"):
            raise ValueError(f"{begin}, not {_shown(scheme)}")
        meant = _with_scheme(url)
        if meant is None:
            raise ValueError(f"{begin} and name a host, not {shown!r}")
        raise ValueError(f"{begin}: is {meant} meant?")
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError(f"must have no spaces and nothing that cannot be printed, not {shown!r}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        raise ValueError(
            "has an '@' behind the first '/', '?' or '#': in a password these are written %2F, %3F"
            " and %23, and an '@' of the path %40"
        )
    userinfo, _, host = authority.rpartition("@")
    if "[" in userinfo or "]" in userinfo:
        raise ValueError("has a bracket in its user name or password: write %5B and %5D")
    _check_host(host, scheme)
    try:
        urlsplit(url)
    except ValueError as error:
        raise ValueError(f"cannot be taken apart: {shown!r}") from error


def _check_host(host: str, scheme: str) -> None:
    """Raise ValueError where ``name:port`` or ``[address]:port`` is wrong."""
    if host.startswith("["):
        address, bracket, port = host[1:].partition("]")
        if not bracket:
            raise ValueError(f"the bracket of {_shown(host)} is not closed")
        if not _is_ipv6(address):
            raise ValueError(f"{_shown(address)!r} in brackets is no IPv6 address")
        if port and not port.startswith(":"):
            raise ValueError(f"behind the bracket of {_shown(host)} may only be ':' and a port")
        _check_port(port[1:])
        return
    if host.count(":") > 1:
        meant = _bracketed(host)
        if meant is None:
            raise ValueError(f"{_shown(host)!r} has more than one ':', and is no IPv6 address")
        raise ValueError(f"an IPv6 address stands in brackets: is {scheme}{meant} meant?")
    name, _, port = host.partition(":")
    if not name:
        raise ValueError(f"must begin with http:// or https:// and name a host, like {_EXAMPLE}")
    if not _is_name(name):
        raise ValueError(f"{_shown(name)!r} is no name of a host")
    _check_port(port)


def _check_port(port: str) -> None:
    if port and not _is_port(port):
        raise ValueError(f"the port must be a number from 1 to 65535, not {_shown(port)!r}")


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65_535


def _bracketed(host: str) -> str | None:
    """Return a bare IPv6 address, perhaps with a port, as it should be; None where it is none."""
    address, _, port = host.rpartition(":")
    if _is_ipv6(address) and len(port) > 2 and _is_port(port):
        return f"[{address}]:{port}"
    return f"[{host}]" if _is_ipv6(host) else None


def _with_scheme(url: str) -> str | None:
    """Return the base URL that may be meant by one without a scheme; None where none may be."""
    rest = url.removeprefix("//").rpartition("@")[2]
    if not _HOST_PORT.fullmatch(rest) or re.match(r"https?:", url, re.IGNORECASE):
        return None
    at = f"{STRUCK}@" if "@" in url else ""
    return _base_of(f"http://{at}{rest}")


def _is_name(name: str) -> bool:
    """Tell whether a host may have a name, or an address of IPv4."""
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return False
    labels = name.removesuffix(".").split(".")
    return len(name) <= _MAX_HOST_CHARS and all(map(_NAME.fullmatch, labels))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _base_of(url: str) -> str:
    """Return a URL without the path of an API, a query or a fragment."""
    parts = urlsplit(url)
    return _shown(urlunsplit((parts.scheme, parts.netloc, _base_path(parts.path), "", "")))


def _base_path(path: str) -> str:
    """Return a path without what belongs to an API, as far as that is known."""
    path = path.rstrip("/")
    for slash in re.finditer("/", path):
        if _API_PATH.fullmatch(path, slash.start()):
            return path[: slash.start()]
    return path


def _bases(base: str, path: str) -> str:
    """Return which base URL, or URLs, may be meant by one with the path of an API."""
    if "/prometheus/api/v1" in path:
        return f"{base} (Cortex, Mimir) or {base}/prometheus (Prometheus below that path)"
    if path.endswith("/api/prom/push"):
        return f"{base} (with --push-path /api/prom/push where that is the only one)"
    return base


def _shown(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 1] + "…"
