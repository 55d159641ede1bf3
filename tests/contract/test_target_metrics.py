"""The target's metrics page over HTTP: whatever is there, in bounded time, and no secret astray."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from rawserver import Peer, RawServer, refused_url

from looker.backend import target_metrics
from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.backend.target_metrics import MetricsPage
from looker.errors import TargetError
from looker.model.config import ReadApi
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = b"process_cpu_seconds_total 1\n"


def read(page: MetricsPage | None) -> bytes:
    assert page is not None

    async def ask() -> bytes:
        try:
            return await page.read()
        finally:
            await page.aclose()

    return asyncio.run(ask())


def target(url: str, **changes: Any) -> Target:
    facts: dict[str, Any] = {"tenant": "t1", "authorization": "Bearer secret", **changes}
    return Target(url, Product.LOKI, "/p", "/q", None, ReadApi.AUTO, None, None, **facts)


def answering(
    body: bytes = PAGE, status: str = "200 OK", headers: str = ""
) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(body, status=status, headers=headers)

    return script


def base(server: RawServer) -> str:
    return server.url.removesuffix("/push")


def test_the_page_of_the_target_is_asked_for_as_the_target_is() -> None:
    with RawServer(answering()) as server:
        page = MetricsPage.of(run_config(None), target(base(server)))
        assert read(page) == PAGE
        assert page is not None
        assert page.shown_url == f"{base(server)}/metrics"
        (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/metrics")
    assert request.header("authorization") == "Bearer secret"
    assert request.header("x-scope-orgid") == "t1"
    assert request.header("accept") == "text/plain; version=0.0.4"
    assert request.header("accept-encoding") is None


@pytest.mark.parametrize("elsewhere", ["http://other.example:1", "https://127.0.0.2:9"])
def test_nothing_of_the_target_is_told_to_another_host(elsewhere: str) -> None:
    with RawServer(answering()) as server:
        url = f"{base(server)}/deep/metrics?format=text"
        page = MetricsPage.of(run_config(None, target_metrics_url=url), target(elsewhere))
        assert read(page) == PAGE
        (request,) = server.requests
    assert request.path == "/deep/metrics?format=text"
    assert request.header("authorization") is None
    assert request.header("x-scope-orgid") is None


def test_another_port_of_the_same_host_is_the_same_host() -> None:
    with RawServer(answering()) as server:
        config = run_config(None, target_metrics_url=f"{base(server)}/metrics")
        assert read(MetricsPage.of(config, target("http://127.0.0.1:1"))) == PAGE
        (request,) = server.requests
    assert request.header("authorization") == "Bearer secret"


def test_credentials_are_not_sent_in_clear_where_the_target_has_tls() -> None:
    with RawServer(answering()) as server:
        config = run_config(None, target_metrics_url=f"{base(server)}/metrics")
        assert read(MetricsPage.of(config, target("https://127.0.0.1:1"))) == PAGE
        (request,) = server.requests
    assert request.header("authorization") is None
    assert request.header("x-scope-orgid") == "t1"


def test_credentials_of_the_page_itself() -> None:
    with RawServer(answering()) as server:
        url = base(server).replace("http://", "http://me:pass%20word@") + "/metrics"
        page = MetricsPage.of(run_config(None, target_metrics_url=url), target("http://x:1"))
        assert read(page) == PAGE
        assert page is not None
        assert page.shown_url == f"{base(server)}/metrics".replace("http://", "http://***@")
        (request,) = server.requests
    assert request.header("authorization") == "Basic bWU6cGFzcyB3b3Jk"


def test_off_is_no_page() -> None:
    assert MetricsPage.of(run_config(None, target_metrics_url="off"), target("http://x")) is None


def test_a_packed_page_is_unpacked() -> None:
    script = answering(gzip.compress(PAGE), headers="Content-Encoding: gzip\r\n")
    with RawServer(script) as server:
        assert read(MetricsPage(server.url, {}, None)) == PAGE


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (answering(b"404 page not found", "404 Not Found"), "answers 404 '404 page not found'"),
        (answering(b"no", "401 Unauthorized"), "answers 401 'no'"),
        (
            answering(b"", "302 Found", "Location: http://elsewhere/metrics\r\n"),
            "redirects to http://elsewhere/metrics, which is not followed",
        ),
        (answering(b"\x1f\x8bxx", headers="Content-Encoding: gzip\r\n"), "no whole page: "),
        (lambda peer: peer.write(b"SSH-2.0-OpenSSH\r\n\r\n"), "no whole page: "),
        (lambda peer: peer.reset(), "no whole page: "),
    ],
)
def test_what_is_no_page_is_said_in_one_line(script: Callable[[Peer], None], said: str) -> None:
    with RawServer(script) as server:
        with pytest.raises(TargetError) as refusal:
            read(MetricsPage(server.url, {}, None))
        assert str(refusal.value).startswith(server.url)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_nobody_listens() -> None:
    with pytest.raises(TargetError, match=r"/push: no whole page: \S"):
        read(MetricsPage(refused_url(), {}, None))


def endless(peer: Peer) -> None:
    peer.read_request()
    peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.write(b"10000\r\n" + b"a" * 65536 + b"\r\n")


def test_an_endless_page_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_metrics, "MAX_PAGE_BYTES", 2 << 20)
    with (
        RawServer(endless) as server,
        pytest.raises(TargetError, match="the page is longer than 2 MiB"),
    ):
        read(MetricsPage(server.url, {}, None, deadline_s=60.0))


def test_a_page_that_unpacks_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_metrics, "MAX_PAGE_BYTES", 2 << 20)
    bomb = gzip.compress(bytes(64 << 20), 1)
    script = answering(bomb, headers="Content-Encoding: gzip\r\n")
    with (
        RawServer(script) as server,
        pytest.raises(TargetError, match="the page is longer than 2 MiB"),
    ):
        read(MetricsPage(server.url, {}, None))


def stalling(peer: Peer) -> None:
    peer.read_request()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nprocess_cpu")
    peer.stall()


def test_a_page_that_stalls_is_left() -> None:
    with RawServer(stalling) as server, pytest.raises(TargetError, match="no complete answer"):
        read(MetricsPage(server.url, {}, None, deadline_s=0.2))
