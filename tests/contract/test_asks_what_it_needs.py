"""What a run will not use is not demanded; and what is not told is not known (field case 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rawserver import Peer, RawServer

from looker.backend.discovery import discover
from looker.backend.outcomes import Product
from looker.errors import TargetError
from looker.model.config import Mode, ReadApi
from servers import run_config

if TYPE_CHECKING:
    from looker.backend.api import Target

JSON = "Content-Type: application/json\r\n"
NOT_FOUND = (404, b"404 page not found", "")
DENIED = (403, b"this path is not for you", "")
PAGE = (503, b"<html><h1>503 Service Unavailable</h1></html>", "Content-Type: text/html\r\n")
STREAMS = (200, b'{"status":"success","data":{"resultType":"streams","result":[]}}', JSON)
LABELS = (200, b'{"status":"success","data":["a"]}', JSON)
SCALAR = (200, b'{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}', JSON)
READ = (200, b"\x00", "Content-Type: application/x-protobuf\r\n")
NO_GET = (405, b"Method Not Allowed", "")

Answers = dict[str, tuple[int, bytes, str]]


class Server:
    """Answers by path, others alike; closes each connection after ``n_answers`` of them."""

    def __init__(
        self, answers: Answers, other: tuple[int, bytes, str], n_answers: int = 1000
    ) -> None:
        self._answers, self._other, self._n = answers, other, n_answers
        self.asked: list[str] = []

    def __call__(self, peer: Peer) -> None:
        for _ in range(self._n):
            request = peer.read_request()
            if request is None:
                return
            path = request.path.partition("?")[0]
            self.asked.append(path)
            status, body, headers = self._answers.get(path, self._other)
            peer.answer(body, headers=headers, status=f"{status} X")


def preflight(script: Server, mode: Mode, *, read_only: bool = False, **changes: Any) -> Target:
    with RawServer(script) as server:
        url = server.url.removesuffix("/push")
        return discover(run_config(url, mode=mode, **changes), url, read_only=read_only)


@pytest.mark.parametrize("other", [NOT_FOUND, DENIED, PAGE, NO_GET])
@pytest.mark.parametrize(
    ("mode", "paths", "push_path"),
    [
        (Mode.LOGS, {"/loki/api/v1/query_range": STREAMS}, "/loki/api/v1/push"),
        (Mode.LOGS, {"/loki/api/v1/labels": LABELS}, "/loki/api/v1/push"),
        (Mode.METRICS, {"/api/v1/query": SCALAR}, "/api/v1/write"),
        (Mode.METRICS, {"/api/v1/read": READ}, "/api/v1/write"),
        (Mode.METRICS, {"/prometheus/api/v1/query": SCALAR}, "/api/v1/push"),
        (Mode.METRICS, {"/prometheus/api/v1/read": READ}, "/api/v1/push"),
    ],
)
def test_a_gateway_that_forwards_data_paths_only(
    mode: Mode, paths: Answers, push_path: str, other: tuple[int, bytes, str]
) -> None:
    target = preflight(Server(paths, other), mode)
    assert (target.product, target.push_path) == (Product.UNKNOWN, push_path)
    assert target.is_logs is (mode is Mode.LOGS)
    assert preflight(Server(paths, other), mode, read_only=True).product is Product.UNKNOWN


@pytest.mark.parametrize("other", [NOT_FOUND, DENIED, PAGE])
@pytest.mark.parametrize(
    ("mode", "push_path"),
    [
        (Mode.LOGS, "/loki/api/v1/push"),
        (Mode.METRICS, "/api/v1/push"),
        (Mode.METRICS, "/api/v1/write"),
    ],
)
def test_a_gateway_that_forwards_pushes_only(
    mode: Mode, push_path: str, other: tuple[int, bytes, str]
) -> None:
    script = Server({push_path: NO_GET}, other)
    target = preflight(script, mode, skip_read=True)
    assert (target.product, target.push_path) == (Product.UNKNOWN, push_path)
    with pytest.raises(TargetError):
        preflight(script, mode)


@pytest.mark.parametrize("mode", Mode)
def test_pushes_of_a_path_by_hand_need_nothing_else(mode: Mode) -> None:
    script = Server({}, NOT_FOUND)
    target = preflight(script, mode, skip_read=True, push_path="/my/push")
    assert target.push_path == "/my/push"
    assert "/my/push" not in script.asked


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Mode.LOGS, "takes no pushes: 404 for /loki/api/v1/push (another kind of server? then:"),
        (Mode.METRICS, "takes no pushes: 404 for /api/v1/push and /api/v1/write (another kind"),
    ],
)
def test_no_path_for_pushes_names_the_option(mode: Mode, said: str) -> None:
    """Field case 1: what is 404 is said, and by which option another path is given."""
    with pytest.raises(TargetError) as error:
        preflight(Server({}, NOT_FOUND), mode, skip_read=True)
    assert said in str(error.value)
    assert str(error.value).endswith("another path? then: --push-path)")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            Mode.LOGS,
            (
                "404 for /loki/api/v1/labels and /loki/api/v1/query_range"
                " (a metrics server? then: looker metrics URL; another path? then: --query-path)"
            ),
        ),
        (
            Mode.METRICS,
            (
                "404 for /api/v1/status/buildinfo, /prometheus/api/v1/query and /api/v1/query"
                " (Loki? then: looker logs URL; another path? then: --query-path)"
            ),
        ),
    ],
)
def test_no_path_for_queries_names_the_option(mode: Mode, said: str) -> None:
    """Field case 1."""
    with pytest.raises(TargetError) as error:
        preflight(Server({}, NOT_FOUND), mode)
    assert str(error.value).endswith(said)


@pytest.mark.parametrize("mode", Mode)
def test_a_reader_without_rights_is_told_what_was_sent(mode: Mode) -> None:
    with pytest.raises(TargetError) as error:
        preflight(Server({}, (401, b"who are you", "")), mode)
    assert str(error.value).endswith(" refuses access: 401 who are you (no credentials were sent)")
    # who only writes need not be allowed to read
    push_path = "/api/v1/push" if mode is Mode.METRICS else "/loki/api/v1/push"
    script = Server({push_path: NO_GET}, (401, b"no reader", ""))
    assert preflight(script, mode, skip_read=True).push_path == push_path


def test_ready_is_believed_where_it_is_the_servers_own() -> None:
    paths = {"/loki/api/v1/labels": LABELS}
    for words in (b"Ingester not ready: waiting", b"Some services are not Running:\nx: 1"):
        ready = {"/ready": (503, words, "")}
        with pytest.raises(TargetError, match="is not ready: 503"):
            preflight(Server({**paths, **ready}, NOT_FOUND), Mode.LOGS)


@pytest.mark.parametrize("n_answers", [1, 2, 3])
@pytest.mark.parametrize("mode", Mode)
def test_a_server_that_closes_kept_connections(mode: Mode, n_answers: int) -> None:
    """Field case 14: what broke before a byte of the answer is asked again."""
    paths = {
        "/loki/api/v1/status/buildinfo": (200, b'{"version":"3.4.0"}', JSON),
        "/loki/api/v1/labels": LABELS,
        "/prometheus/api/v1/query": SCALAR,
        "/metrics": (200, b'cortex_build_info{version="1.21.1"} 1\n', ""),
    }
    for _ in range(5):
        target = preflight(Server(paths, NOT_FOUND, n_answers), mode)
        assert target.product is (Product.LOKI if mode is Mode.LOGS else Product.CORTEX)


def test_a_server_that_always_breaks_off_is_asked_a_few_times() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()

    with RawServer(script) as server:
        url = server.url.removesuffix("/push")
        with pytest.raises(TargetError, match="no whole answer for /loki/api/v1/status/buildinfo"):
            discover(run_config(url, mode=Mode.LOGS), url)
        assert server.n_connections == 3


@pytest.mark.parametrize(
    ("build", "metrics", "product", "version"),
    [
        ({"version": "2.24.0"}, b"", Product.UNKNOWN, "2.24.0"),
        (
            {"version": "2.24.0"},
            b'vm_app_version{version="victoria-metrics-20220505", short_version="v1.77.1"} 1\n',
            Product.VICTORIAMETRICS,
            "victoria-metrics-20220505",
        ),
        (
            {"version": "0.31.0", "revision": "a", "branch": "b", "goVersion": "c"},
            b"",
            Product.UNKNOWN,
            "0.31.0",
        ),
        (
            {"version": "3.5.0", "revision": "a", "branch": "b", "goVersion": "c"},
            b"",
            Product.PROMETHEUS,
            "3.5.0",
        ),
        (
            {"version": "2.42.0"},
            b'prometheus_build_info{version="2.42.0",revision="r"} 1\n',
            Product.PROMETHEUS,
            "2.42.0",
        ),
        (
            {"version": "2.9", "application": "Grafana Mimir"},
            b"",
            Product.MIMIR,
            "2.9",
        ),
    ],
)
def test_what_answers_like_prometheus_may_be_another(
    build: dict[str, str], metrics: bytes, product: Product, version: str
) -> None:
    """Field case 10: what is not known of a target is not assumed either."""
    told = json.dumps({"status": "success", "data": build}).encode()
    paths = {
        "/api/v1/status/buildinfo": (200, told, JSON),
        "/metrics": (200, metrics, "") if metrics else NOT_FOUND,
    }
    target = preflight(Server(paths, NOT_FOUND), Mode.METRICS)
    assert (target.product, target.version) == (product, version)
    assert target.read_api is ReadApi.QUERY
