"""Where a URL leads to, and connecting to it."""

from __future__ import annotations

import asyncio
import base64
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_PORTS: Final = {"http": 80, "https": 443}
_NEXT_ADDRESS_S: Final = 0.25
"""RFC 8305 section 8: how long one address is waited for until the next one is tried as well."""
_URL_BYTES: Final = "".join(map(chr, range(0x21, 0x7F)))
_P = TypeVar("_P", bound=asyncio.Protocol)


class Origin(NamedTuple):
    """What a connection leads to."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Route:
    """How a request for a URL is sent: on a connection to ``origin``, for ``target``."""

    origin: Origin
    host: str
    target: str
    proxy_headers: tuple[tuple[str, str], ...] = ()


def parsed(url: str, *, trust_env: bool) -> Route:
    """Return the route of a URL; ValueError where it is none of http or https.

    With ``trust_env`` it leads over the proxy that the environment names, for http.
    """
    parts = urlsplit(url)
    origin = _origin(parts)
    name = f"[{origin.host}]" if ":" in origin.host else origin.host
    host = name if origin.port == _PORTS[parts.scheme] else f"{name}:{origin.port}"
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    target = quote(target, safe=_URL_BYTES)
    proxy = _proxy(origin) if trust_env else None
    if proxy is None:
        return Route(origin, host, target)
    if origin.tls:
        raise ValueError("a proxy is used for http only")
    headers: tuple[tuple[str, str], ...] = ()
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers = (("Proxy-Authorization", f"Basic {base64.b64encode(user.encode()).decode()}"),)
    return Route(_origin(proxy), host, f"http://{host}{target}", headers)


def _origin(parts: SplitResult) -> Origin:
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("neither http nor https, or no host")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if quote(host, safe=_URL_BYTES) != host:
        raise ValueError("no name of a host")
    return Origin(host, parts.port or _PORTS[parts.scheme], parts.scheme == "https")


def _proxy(origin: Origin) -> SplitResult | None:
    import urllib.request  # noqa: PLC0415 - seldom needed, and large

    url = urllib.request.getproxies().get("https" if origin.tls else "http")
    if url is None or urllib.request.proxy_bypass(origin.host):
        return None
    return urlsplit(url if "://" in url else f"http://{url}")


async def connect(origin: Origin, tls: ssl.SSLContext | None, protocol: Callable[[], _P]) -> _P:
    """Connect, with a TLS handshake where ``tls`` is given; OSError where that fails.

    All addresses of a name are tried, as in RFC 8305 (Happy Eyeballs).
    """
    from aiohappyeyeballs import start_connection  # noqa: PLC0415 - not before it is needed

    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    sock = await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=loop)
    try:
        _, made = await loop.create_connection(
            protocol, sock=sock, ssl=tls, server_hostname=origin.host if tls else None
        )
    except BaseException:
        sock.close()
        raise
    return made
