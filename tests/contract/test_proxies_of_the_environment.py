"""Field case 47: no request of Looker's goes over the environment's proxies."""

from __future__ import annotations

import pytest
from rawserver import refused_url

from looker.backend.discovery import discover
from looker.model.config import Mode
from looker.sweep.readiness import is_ready
from looker.target.server import serving
from servers import run_config

_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("name", _NAMES)
def test_preflight_and_readiness_ask_the_target_itself(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in (*_NAMES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, refused_url().removesuffix("/push"))
    with serving() as server:
        config = run_config(server.url, mode=Mode.LOGS)
        assert discover(config, server.url).url == server.url
        assert is_ready([f"{server.url}/ready"], config)
