"""Asking a target small questions before a run, whatever answers: in bounded time and memory."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import httpx
import orjson

from looker.backend.credentials import sent_with
from looker.backend.redirects import reason_of_redirect
from looker.backend.tls import context_for
from looker.errors import TargetError
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.model.config import RunConfig

DEADLINE_S: Final = 5.0
"""For one question, from connecting to the last byte of its answer."""
MAX_ANSWER_BYTES: Final = 8 << 20
DATE_RESOLUTION_S: Final = 1.0
_MAX_TRIES: Final = 3
"""For a question whose connection breaks, as it may just have been closed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status, whole, and the URL that it is of."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    url: str = ""

    @property
    def text(self) -> str:
        """The body as UTF-8, whatever it claims to be: charsets are a way to be fooled."""
        return self.content.decode("utf-8", "replace")

    @property
    def said(self) -> str:
        """Status and the first words, to be quoted."""
        words = one_line(self.content, 60)
        return f"{self.status_code} {words!r}" if words else f"{self.status_code} and nothing"

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object; empty where it is something else.

        Neither nested without end nor holding what is no Unicode, infinite or not a number.
        """
        try:
            parsed = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def data(self) -> dict[str, Any]:
        """Return ``data`` of an answer of Prometheus' API; empty where it is something else."""
        data = self.json().get("data")
        return data if isinstance(data, dict) else {}


class Probe:
    """Asks a target, one question at a time.

    ``skew_s`` is by how much the target's clock was ahead in the last answer that told the time.
    """

    def __init__(self, config: RunConfig, base: str, authorization: str | None) -> None:
        # what it imports would double the time that ``looker --help`` takes
        from looker.backend.transport import Transport  # noqa: PLC0415

        self.base = base
        self.skew_s: float | None = None
        self._has_answered = False
        self._headers = {} if config.tenant is None else {"X-Scope-OrgID": config.tenant}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._transport = Transport(max_connections=1, ssl_context=context_for(base, config))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Begin to ask."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connection."""
        with self._runner as runner:
            runner.run(self._transport.aclose())

    def get(self, path: str, **parameters: str | int) -> Reply:
        """Ask; TargetError where there is no answer, access is refused or the way leads elsewhere.

        One deadline holds for all of it, however slowly the answer drips.
        """
        answer = self.ask(path, **parameters)
        self.check(answer)
        return answer

    def ask(self, path: str, **parameters: str | int) -> Reply:
        """Return an answer of any status; TargetError where none comes, or a tenant is wanted."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._ask("GET", path, query, None, {})

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Ask with a body."""
        return self._ask("POST", path, "", body, headers)

    def told(self, path: str) -> Reply | None:
        """Return what there is to know at a path that need not be there; None if there is not.

        A gateway may know nothing of it, refuse it, or break off; an answer that is too long tells
        nothing.
        """
        try:
            answer = self.ask(path)
        except TargetError as error:
            if isinstance(error.__cause__, httpx.TransportError) and not _is_gone(error.__cause__):
                return None
            raise
        return answer if answer.status_code == 200 else None

    def path_of(self, answer: Reply) -> str:
        """Return the path that an answer is of, behind the base URL."""
        return answer.url.removeprefix(self.base).partition("?")[0]

    def check(self, answer: Reply) -> None:
        """Raise TargetError, saying why, where access is refused or the way leads elsewhere."""
        sent = sent_with(self._headers.get("Authorization"))
        if answer.status_code in (401, 403):
            words = one_line(answer.content, 200)
            raise TargetError(
                f"{self.base} refuses access: {answer.status_code} {words} ({sent})".replace(
                    "  ", " "
                )
            )
        if 300 <= answer.status_code < 400:
            location = answer.headers.get("Location")
            raise TargetError(
                reason_of_redirect(self.base, answer.url, answer.status_code, location, sent)
            )

    def _ask(
        self, method: str, path: str, query: str, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        asked_s = time.time()
        deadline_s = time.monotonic() + DEADLINE_S
        url = self.base + path + query
        for n_left in reversed(range(_MAX_TRIES)):
            try:
                answer = self._runner.run(
                    self._transport.send(
                        method,
                        url,
                        headers={**self._headers, **headers},
                        body=body,
                        deadline_s=deadline_s - time.monotonic(),
                        max_answer_bytes=MAX_ANSWER_BYTES,
                    )
                )
            except httpx.TransportError as error:
                # a server may close a kept connection just when it is asked again
                if n_left and (_has_broken(error) or (self._has_answered and _is_gone(error))):
                    continue
                if _is_gone(error):
                    raise TargetError(f"cannot reach {self.base}: {reason_of(error)}") from error
                raise TargetError(
                    f"cannot reach {self.base}: no whole answer for {path}: {reason_of(error)}"
                ) from error
            break
        self._has_answered = True
        self._note_skew(answer.headers, (asked_s + time.time()) / 2)
        reply = Reply(answer.status, answer.headers, answer.body, url)
        if reply.status_code == 401 and "no org id" in one_line(reply.content, 200):
            raise TargetError(f"{self.base} wants a tenant: give --tenant ID (X-Scope-OrgID)")
        return reply

    def _note_skew(self, headers: Mapping[str, str], now_s: float) -> None:
        try:
            date = parsedate_to_datetime(headers["Date"])
            # the header cuts off fractions of a second
            self.skew_s = date.timestamp() + DATE_RESOLUTION_S / 2 - now_s
        except (KeyError, ValueError, TypeError, IndexError, OverflowError):
            return


def _is_gone(error: httpx.TransportError) -> bool:
    """Tell whether nobody was there to be asked."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)


def _has_broken(error: httpx.TransportError) -> bool:
    """Tell whether a connection ended, by itself, before an answer was whole."""
    from looker.backend.exchange import AnswerTooLargeError  # noqa: PLC0415

    if isinstance(error, AnswerTooLargeError):
        return False
    return isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError)


def reason_of(error: httpx.TransportError) -> str:
    """Return why there was no answer, in the operating system's words where it knows."""
    found = getattr(error.__cause__, "os_error", None)
    if isinstance(found, socket.gaierror) and found.strerror:
        return found.strerror.lower()
    if isinstance(found, OSError) and not isinstance(found, ssl.SSLError) and found.errno:
        return os.strerror(found.errno).lower()
    return one_line(str(found or error) or type(error).__name__, 300)
