"""What a real nginx makes of requests, and what is told of it: field cases 14 and 15."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateways import nginx
from looker.backend.discovery import discover
from looker.errors import TargetError
from looker.model.config import Mode
from servers import embedded_target, looker, run_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.gateway

SMALL = (
    *("--n-concurrent-streams", "4", "--n-entries-per-stream-fragment", "5", "--n-workers", "1"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--target-metrics-url", "off"),
)
OTHERS_ARE_DENIED = "if ($uri !~ ^({paths})$) {{ return 403; }}"
DATA_PATHS = {
    "logs": "/loki/api/v1/push|/loki/api/v1/query_range",
    "metrics": "/api/v1/write|/api/v1/read",
}


@pytest.fixture(scope="module", name="target")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_gateway_that_forwards_data_paths_only(tmp_path: Path, target: str, mode: str) -> None:
    location = OTHERS_ARE_DENIED.format(paths=DATA_PATHS[mode])
    with nginx(tmp_path, target, location=location) as url:
        result = looker(tmp_path, mode, url, *SMALL)
    assert result.code == 0, result.said
    assert result.report["target"]["product"] == "unknown"
    assert result.read["samples_validated"] == 40


@pytest.mark.parametrize("mode", Mode)
def test_a_login_is_told_as_one(tmp_path: Path, target: str, mode: Mode) -> None:
    """With and without a token, as oauth2-proxy does."""
    token = tmp_path / "token"
    token.write_text("expired")
    location = "return 302 https://idp.invalid/authorize?client_id=x&rd=$request_uri;"
    with nginx(tmp_path, target, location=location) as url:
        for file, sent in (
            (None, "no credentials were sent"),
            (token, "the token of --bearer-token-file was sent"),
        ):
            with pytest.raises(TargetError) as error:
                discover(run_config(url, mode=mode, bearer_token_file=file), url)
            assert str(error.value) == (
                f"{url} redirects to https://idp.invalid/authorize, a login: credentials are"
                f" missing or not accepted ({sent})"
            )


@pytest.mark.parametrize("mode", Mode)
def test_kept_connections_are_closed_at_any_time(tmp_path: Path, target: str, mode: Mode) -> None:
    with nginx(tmp_path, target, server="keepalive_requests 2;") as url:
        for _ in range(5):
            assert discover(run_config(url, mode=mode), url).url == url


def test_moved_to_https_is_told_as_such(tmp_path: Path, target: str) -> None:
    location = "return 301 https://$host$request_uri;"
    with nginx(tmp_path, target, location=location) as url:
        with pytest.raises(TargetError) as error:
            discover(run_config(url, mode=Mode.LOGS), url)
        assert str(error.value) == f"{url} redirects to https: give https://127.0.0.1"
