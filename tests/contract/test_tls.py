"""The transport over TLS: whom it trusts, and that nothing else changes."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme
import uvloop
from rawserver import Peer, RawServer

from looker.backend.tls import ssl_context
from looker.backend.transport import Transport, possibly_stored
from looker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = hashlib.shake_128(b"body").digest(3_000_000)
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA, tmp_path: Path) -> ssl.SSLContext:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return ssl_context(file, insecure_skip_verify=False)


def digest_of_requests(peer: Peer) -> None:
    """Answer each request with the digest of its body, on one connection."""
    while (request := peer.read_request()) is not None:
        peer.answer(hashlib.sha256(request.body).hexdigest().encode())


def posted(
    run: Callable[..., Any], url: str, context: ssl.SSLContext, n_requests: int = 1
) -> list[bytes]:
    async def main() -> list[bytes]:
        async with Transport(max_connections=1, ssl_context=context) as transport:
            return [
                (await transport.send("POST", url, headers={}, body=BODY, deadline_s=20.0)).body
                for _ in range(n_requests)
            ]

    found: list[bytes] = run(main())
    return found


@LOOPS
def test_requests_share_a_verified_connection(
    run: Callable[..., Any], authority: trustme.CA, tmp_path: Path
) -> None:
    with RawServer(digest_of_requests, certified(authority, "127.0.0.1")) as server:
        answers = posted(run, server.url, trusting(authority, tmp_path), 3)
    assert answers == [hashlib.sha256(BODY).hexdigest().encode()] * 3
    assert server.n_connections == 1


@LOOPS
@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_whom_it_does_not_trust_it_sends_nothing(
    run: Callable[..., Any], wrong: str, authority: trustme.CA, tmp_path: Path
) -> None:
    known = trustme.CA() if wrong == "authority" else authority
    name = "another.example" if wrong == "name" else "127.0.0.1"
    with (
        RawServer(digest_of_requests, certified(authority, name)) as server,
        pytest.raises(httpx.ConnectError) as caught,
    ):
        posted(run, server.url, trusting(known, tmp_path))
    assert not possibly_stored(caught.value)
    assert server.requests == []


@LOOPS
def test_verification_can_be_switched_off(run: Callable[..., Any], authority: trustme.CA) -> None:
    context = ssl_context(None, insecure_skip_verify=True)
    with RawServer(digest_of_requests, certified(authority, "another.example")) as server:
        (answer,) = posted(run, server.url, context)
    assert answer == hashlib.sha256(BODY).hexdigest().encode()


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate", encoding="ascii")
    with pytest.raises(UsageError, match="holds no certificates in PEM form"):
        ssl_context(file, insecure_skip_verify=False)
