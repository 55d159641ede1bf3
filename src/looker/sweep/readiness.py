"""Whether a server that was started answers yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from looker.backend.tls import context_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.model.config import RunConfig

_TIMEOUT_S: Final = 2.0


def is_ready(urls: Sequence[str], config: RunConfig) -> bool:
    """Tell whether one of the URLs answers with success; certificates as the run verifies them."""
    return any(_answers(url, config) for url in urls)


def _answers(url: str, config: RunConfig) -> bool:
    context = context_for(url, config)
    try:
        with (
            httpx.Client(
                timeout=_TIMEOUT_S,
                verify=True if context is None else context,
                # no request of Looker's goes over the environment's proxies
                trust_env=False,
            ) as client,
            # the body is of no interest, and may have no end
            client.stream("GET", url) as answer,
        ):
            return answer.is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
