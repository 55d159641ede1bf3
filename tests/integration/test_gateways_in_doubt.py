"""What real gateways make of pushes: repeats that nobody sees, other statuses, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from gateways import haproxy, nginx
from servers import Answer, Proxy, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward, Result

pytestmark = pytest.mark.gateway

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "20", "--n-workers", "1"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-fragments-per-push-message", "4"),
    *("--max-concurrent-writes", "1", "--retry-post-min-delay-seconds", "0.05"),
    *("--retry-post-max-delay-seconds", "0.1"),
)
N_ALL: Final = 8 * 20 * 2
PER_PUSH: Final = 4 * 20
REPEATS: Final = (
    "proxy_next_upstream error timeout http_502 non_idempotent; proxy_next_upstream_tries 2;"
)


@pytest.fixture(name="target", scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def no_mismatch(result: Result) -> bool:
    return not any(result.read["mismatches"].values())


@pytest.mark.parametrize("command", ["logs", "metrics"])
@pytest.mark.parametrize("refusal", [Answer(403, b"no"), Answer(409, b"conflict"), Answer(413)])
def test_nginx_repeats_a_push_by_itself_and_the_second_upstream_refuses(
    tmp_path: Path, target: str, command: str, refusal: Answer
) -> None:
    """The first upstream stores and answers 502, which nobody but nginx sees."""

    async def stores_in_vain(number: int, forward: Forward) -> Answer:
        stored = await forward()
        return Answer(502) if number == 1 else stored

    async def refuses(_number: int, _forward: Forward) -> Answer:
        return refusal

    with (
        Proxy(target, push=stores_in_vain) as one,
        Proxy(target, push=refuses) as other,
    ):
        servers = [url.removeprefix("http://") for url in (one.url, other.url)]
        pair = f"upstream pair {{ server {servers[0]} max_fails=0; server {servers[1]} backup; }}"
        with nginx(tmp_path, "http://pair", http=pair, location=REPEATS) as url:
            result = looker(tmp_path, command, url, *SMALL)
        assert other.n_pushes >= 1
    assert no_mismatch(result), result.said
    assert result.report["verdict"] == "passed"
    assert str(refusal.status) in result.write["responses_by_status"]
    found = result.read["samples_indeterminate_found"]
    if refusal.status == 413:
        # its halves go to the first upstream again, which has them already
        assert result.code == 0, result.said
        assert result.write["samples_acked"] + found == N_ALL
        return
    assert result.code == 3, result.said
    assert (result.write["samples_in_doubt"], found) == (PER_PUSH, PER_PUSH)
    assert result.write["samples_stored"] == 2 * PER_PUSH


@pytest.mark.parametrize("command", ["logs", "metrics"])
def test_haproxy_makes_201_of_each_success(tmp_path: Path, target: str, command: str) -> None:
    """Field case 2."""
    made = "http-response set-status 201 if { status 204 }"
    with haproxy(tmp_path, target, frontend=made) as url:
        result = looker(tmp_path, command, url, *SMALL, "--allow-rejected")
    assert no_mismatch(result), result.said
    # nothing was acknowledged, so nothing had to be there
    assert (result.code, result.report["verdict"]) == (3, "unknown"), result.said
    assert result.write["samples_acked"] == 0
    assert result.read["samples_indeterminate_found"] == result.write["samples_stored"] == N_ALL
    assert "this status is no acknowledgement" in result.write["refusal"]


def test_nginx_limits_bodies(tmp_path: Path, target: str) -> None:
    """A message of four fragments of some 2.5 kB each has to be divided, with its 413 alone."""
    with nginx(tmp_path, target, server="client_max_body_size 6k;") as url:
        result = looker(tmp_path, "logs", url, *SMALL)
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    assert result.write["pushes_divided"] >= 1
    assert result.write["samples_acked"] == result.read["samples_validated"] == N_ALL
    (said,) = result.write["reasons_by_status"]["413"]
    assert "413 Request Entity Too Large" in said["text"]


@pytest.mark.parametrize("status", [429, 503])
def test_nginx_limits_requests(tmp_path: Path, target: str, status: int) -> None:
    zone = "limit_req_zone $uri zone=all:1m rate=5r/s;"
    location = f"limit_req zone=all burst=1 nodelay; limit_req_status {status};"
    with nginx(tmp_path, target, http=zone, location=location) as url:
        result = looker(tmp_path, "metrics", url, *SMALL)
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    assert result.write["samples_acked"] == result.read["samples_validated"] == N_ALL
    # 503 says nothing of a rate
    assert (result.write["rate_limited_s"] > 0) == (status == 429)
