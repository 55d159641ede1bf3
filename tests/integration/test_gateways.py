"""A run through a real gateway finds what a run without one finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateways import haproxy, nginx
from servers import embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    Gateway = Callable[[Path, str], AbstractContextManager[str]]

pytestmark = pytest.mark.gateway

SMALL = ("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "20", "--n-workers", "1")


@pytest.mark.parametrize("gateway", [nginx, haproxy])
@pytest.mark.parametrize("command", ["logs", "metrics"])
def test_a_run_through_a_gateway_passes(tmp_path: Path, gateway: Gateway, command: str) -> None:
    with embedded_target(tmp_path) as target, gateway(tmp_path, target) as url:
        result = looker(tmp_path, command, url, *SMALL)
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.read["samples_validated"] == 8 * 20 * 10
