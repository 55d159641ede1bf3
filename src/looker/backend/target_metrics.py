"""The target's own metrics page, asked for while a run goes on: in bounded time and memory."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import httpx

from looker.backend.exchange import AnswerTooLargeError
from looker.backend.probe import reason_of
from looker.backend.tls import context_for
from looker.backend.transport import Transport
from looker.errors import TargetError
from looker.model.target_usage import OFF
from looker.model.url import keep_secrets_of, redacted, userpass, without_userinfo
from looker.model.words import one_line

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from looker.backend.api import Target
    from looker.backend.credentials import TokenFile
    from looker.model.config import RunConfig

DEADLINE_S: Final = 2.0
"""For one page, from connecting to its last byte."""
MAX_PAGE_BYTES: Final = 32 << 20


class MetricsPage:
    """A page at a URL; ``shown_url`` is without user and password.

    Used within one event loop, one question at a time.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        ssl_context: ssl.SSLContext | None,
        deadline_s: float = DEADLINE_S,
        token: TokenFile | None = None,
    ) -> None:
        """``token`` is where the Authorization header comes from, if it may change."""
        keep_secrets_of(url)
        self.shown_url = redacted(url)
        self._url = without_userinfo(url)
        # no encoding is asked for: packing the page would cost the target more than sending it
        self._headers = {"Accept": "text/plain; version=0.0.4", **headers}
        pair = userpass(url)
        if pair is not None:
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._token = token if pair is None else None
        self._deadline_s = deadline_s
        self._transport = Transport(max_connections=1, ssl_context=ssl_context)

    @classmethod
    def of(cls, config: RunConfig, target: Target) -> Self | None:
        """Return the page of a run's target; None where it is switched off.

        Tenant, credentials and TLS settings of the target are for its own host only, and
        credentials go nowhere in clear text that are encrypted on their way to the target.
        """
        if config.target_metrics_url == OFF:
            return None
        url = config.target_metrics_url or f"{target.url}/metrics"
        here, there = urlsplit(url), urlsplit(target.url)
        if here.hostname != there.hostname:
            return cls(url, {}, None)
        headers, token = target.headers(), target.token()
        if there.scheme == "https" and here.scheme != "https":
            headers.pop("Authorization", None)
            token = None
        return cls(url, headers, context_for(url, config), token=token)

    async def read(self) -> bytes:
        """Return the page as it is now; TargetError, in one line, where there is none."""
        if self._token is not None:
            self._headers["Authorization"] = self._token.header()
        try:
            answer = await self._transport.send(
                "GET",
                self._url,
                headers=self._headers,
                body=None,
                deadline_s=self._deadline_s,
                max_answer_bytes=MAX_PAGE_BYTES,
            )
        except AnswerTooLargeError as error:
            raise TargetError(
                f"{self.shown_url}: the page is longer than {MAX_PAGE_BYTES >> 20} MiB"
            ) from error
        except (httpx.TransportError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, httpx.TransportError) else str(error)
            raise TargetError(f"{self.shown_url}: no whole page: {reason}") from error
        if 300 <= answer.status < 400:
            to = one_line(answer.headers.get("Location", "elsewhere"), 200)
            raise TargetError(f"{self.shown_url} redirects to {to}, which is not followed")
        if answer.status != 200:
            words = one_line(answer.body, 60)
            raise TargetError(f"{self.shown_url} answers {answer.status} {words!r}")
        return answer.body

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()
