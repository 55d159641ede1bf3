"""What the engine asks of a product's API, and the two that there are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

from looker.backend.credentials import TokenFile, sent_with, token_file
from looker.backend.outcomes import Product, classify
from looker.backend.redirects import reason_of_redirect
from looker.backend.sizes import fitting_share
from looker.errors import DecodeError, TargetError
from looker.model.config import NS_PER_MS, ReadApi
from looker.model.matchers import OPTION
from looker.model.outcome import Outcome
from looker.model.query import MAX_ANSWER_BYTES
from looker.model.secrecy import keep_authorization
from looker.model.words import one_line
from looker.wire.snappy import compress, decompress, uncompressed_length

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from looker.backend.read_refusals import Divide
    from looker.backend.transport import Answer
    from looker.model.matchers import Matcher
    from looker.model.outcome import Classified
    from looker.model.query import RangeQuery

_MAX_QUERY_STRING: Final = 2000
"""Longer ones are sent as a body: proxies cut off lines, often at 8 kB."""


_NO_SUCH_PATH: Final = frozenset({404, 405})
ANSWERED: Final = frozenset({200, 203, 206})
"""With what queries are answered; the last two say that the answer is not quite it."""


_AUTHORIZATION: Final = "Authorization"


_WANTS_MATCHERS: Final = re.compile(
    r"missing required matchers|less label matchers than required", re.IGNORECASE
)
"""Loki's ``required_labels`` and ``required_number_label_matchers``."""


class AnswerSizeError(TargetError):
    """An answer is too large, or seems so: a smaller question may be answered.

    ``divide`` is how, where the target has said that it is too large.
    """

    def __init__(self, message: str, divide: Divide | None = None) -> None:
        super().__init__(message)
        self.divide = divide


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | memoryview | None


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a target: URL without a trailing slash, product, paths, version.

    ``limits`` are what it tells of them, as text; ``external_labels`` those that Prometheus adds
    to each series in remote read.
    ``read_api`` is decided (not ``AUTO``) for metrics. ``authorization`` is the header at first; of
    a token in ``token_file`` it may change. ``matchers`` are in every query. ``embedded`` tells
    that it is Looker's own.
    """

    url: str
    product: Product
    push_path: str
    query_path: str
    read_path: str | None
    read_api: ReadApi
    version: str | None
    revision: str | None
    tenant: str | None
    authorization: str | None = field(default=None, repr=False)
    embedded: bool = False
    clock_skew_s: float | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    external_labels: tuple[tuple[str, str], ...] = ()
    token_file: Path | None = None
    matchers: tuple[Matcher, ...] = ()

    @property
    def is_logs(self) -> bool:
        """Whether it is asked in Loki's way, whatever product it is."""
        return self.read_api is ReadApi.AUTO or self.product is Product.LOKI

    @property
    def max_entries(self) -> int | None:
        """How many log entries an answer may hold, if the target tells; 0 is any number."""
        told = self.limits.get("max_entries_limit_per_query", "")
        return int(told) if re.fullmatch("[0-9]{1,18}", told) else None

    def token(self) -> TokenFile | None:
        """Return the file with the token, which may change; None where there is none."""
        if self.token_file is None:
            return None
        return token_file(self.token_file, self.authorization)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request; what they hold in secret is kept so from then on."""
        authorization = self.authorization
        if (token := self.token()) is not None:
            authorization = token.header()
        keep_authorization(authorization)
        headers = {}
        if self.tenant is not None:
            headers["X-Scope-OrgID"] = self.tenant
        if authorization is not None:
            headers[_AUTHORIZATION] = authorization
        return headers


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was pushed, and is answered: a compressed body of ``n_samples``.

    ``again`` tells that the same bytes were sent before.
    """

    body: bytes | memoryview
    n_samples: int
    again: bool
    retry_after_s: float | None

    @property
    def n_bytes(self) -> int:
        """Length of the message before it was compressed."""
        return uncompressed_length(self.body)


class Api(Protocol):
    """How a product is written to and read from."""

    def push(self, body: memoryview) -> Request:
        """Return the request that pushes a compressed body."""
        ...

    def classify(self, answer: Answer, pushed: Pushed) -> Classified:
        """Return what the answer to a push means."""
        ...

    def query(self, query: RangeQuery) -> Request:
        """Return the request that reads samples back."""
        ...

    def authorized(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a request's headers with the token as it is now."""
        ...

    def has_renewed(self, headers: Mapping[str, str]) -> bool:
        """Tell whether there is another token than the one in these headers by now."""
        ...

    def body(self, answer: Answer, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return what a successful answer to a query holds, uncompressed; else TargetError.

        AnswerSizeError where that would be more than ``max_bytes``.
        """
        ...


class _Pushes:
    """What both products' pushes have in common."""

    def __init__(self, target: Target, headers: Mapping[str, str]) -> None:
        self._target = target
        self._token = target.token()
        self._push_url = target.url + target.push_path
        self._push_headers = {**target.headers(), **headers}

    def authorized(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a request's headers with the token as it is now."""
        if self._token is None or headers[_AUTHORIZATION] == (now := self._token.header()):
            return headers
        return {**headers, _AUTHORIZATION: now}

    def has_renewed(self, headers: Mapping[str, str]) -> bool:
        """Tell whether there is another token than the one in these headers by now."""
        return self._token is not None and self._token.has_renewed(headers[_AUTHORIZATION])

    def push(self, body: memoryview) -> Request:
        """Return the request that pushes a compressed body."""
        return Request("POST", self._push_url, self._push_headers, body)

    def classify(self, answer: Answer, pushed: Pushed) -> Classified:
        """Return what the answer to a push means."""
        found = classify(
            self._target.product,
            answer.status,
            answer.body,
            retry_after_s=pushed.retry_after_s,
            ambiguous=pushed.again,
            n_samples=pushed.n_samples,
            limits=self._target.limits,
        )
        if found.outcome is Outcome.TOO_LARGE and found.fitting is None:
            share = fitting_share(
                found.words, n_bytes=pushed.n_bytes, n_wire_bytes=len(pushed.body)
            )
            found = replace(found, fitting=share)
        if answer.status in _NO_SUCH_PATH and found.outcome is Outcome.REFUSED:
            advice = f"; {self._target.push_path} is no path of pushes there: see --push-path"
            found = replace(found, reason=found.reason + advice)
        reason = self._reason_beyond(answer, self._push_url)
        if reason is not None and found.outcome in (Outcome.REFUSED, Outcome.REFUSED_PART):
            found = replace(found, reason=f"{found.reason}; {reason}")
        return found

    def _json_of(self, answer: Answer) -> bytes:
        """Return the JSON of a successful answer."""
        self._check_success(answer)
        kind = answer.headers.get("Content-Type", "")
        # a gateway's page says what it is; who says nothing is judged by what comes
        media_type = kind.partition(";")[0].strip().lower()
        if kind and media_type != "application/json" and not media_type.endswith("+json"):
            raise DecodeError(
                f"a query was answered with {one_line(kind, 100)}, not with application/json"
            )
        return answer.body

    def _check_success(self, answer: Answer) -> None:
        """Raise TargetError where a query was refused, and say what to do where that is known."""
        if answer.status in ANSWERED:
            return
        words = one_line(answer.body, 300)
        reason = self._reason_beyond(answer, self._target.url + self._target.query_path)
        if reason is None and _WANTS_MATCHERS.search(words):
            reason = f"give a matcher that it wants: {OPTION} 'NAME=\"VALUE\"'"
        if reason is None and answer.status in _NO_SUCH_PATH:
            reason = "this is no path of queries there: see --query-path"
        raise TargetError(
            f"a query was answered with {answer.status}: {words}{'; ' if reason else ''}"
            f"{reason or ''}"
        )

    def _reason_beyond(self, answer: Answer, asked: str) -> str | None:
        """Return why a gateway, rather than the target, has answered; None where it has not."""
        sent = sent_with(self._target.authorization)
        if 300 <= answer.status < 400:
            location = answer.headers.get("Location")
            return reason_of_redirect(self._target.url, asked, answer.status, location, sent)
        return sent if answer.status in (401, 403) else None


class LokiApi(_Pushes):
    """Loki's push and ``query_range``."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, {"Content-Type": "application/x-protobuf"})
        # keeps structured metadata, which servers add, out of the label sets
        self._query_headers = {
            **target.headers(),
            "X-Loki-Response-Encoding-Flags": "categorize-labels",
        }

    def query(self, query: RangeQuery) -> Request:
        """Return the request for the entries of a range."""
        parameters = {
            "query": query.selector(self._target.matchers),
            "start": query.start_ns,
            "end": query.end_ns,
            "limit": query.limit,
            "direction": "backward" if query.backward else "forward",
        }
        headers = dict(self._query_headers)
        if query.fresh:
            headers["Cache-Control"] = "no-cache"
        url = self._target.url + self._target.query_path
        encoded = urlencode(parameters)
        if len(encoded) > _MAX_QUERY_STRING:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return Request("POST", url, headers, encoded.encode())
        return Request("GET", f"{url}?{encoded}", headers, None)

    def body(self, answer: Answer, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:  # noqa: ARG002 - the transport has seen to it
        """Return the JSON of a successful answer."""
        return self._json_of(answer)


class RemoteReadApi(_Pushes):
    """Remote write 1.0, and remote read of samples."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, _REMOTE_WRITE_HEADERS)
        self._query_headers = {
            **target.headers(),
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Read-Version": "0.1.0",
        }

    def query(self, query: RangeQuery) -> Request:
        """Return the request for the samples of a range."""
        from looker.wire.prometheus import read_request  # noqa: PLC0415 - imports protobuf

        # remote read includes both ends
        body = read_request(
            query.start_ns // NS_PER_MS,
            query.end_ns // NS_PER_MS - 1,
            [query.matcher, *self._target.matchers],
        )
        headers = dict(self._query_headers)
        if query.fresh:
            headers["Cache-Control"] = "no-store"
        url = f"{self._target.url}{self._target.read_path}"
        return Request("POST", url, headers, compress(body))

    def body(self, answer: Answer, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the protobuf of a successful answer; Cortex does not say that it is snappy."""
        self._check_success(answer)
        kind = answer.headers.get("Content-Type", "")
        if not kind.startswith("application/x-protobuf"):
            said = one_line(kind, 100) or "no content type"
            raise DecodeError(f"remote read answered with {said}")
        n_bytes = uncompressed_length(answer.body)
        if n_bytes > max_bytes:
            raise AnswerSizeError(
                f"the answer to a query is too large: it claims to unpack to {n_bytes} bytes,"
                f" more than {max_bytes}"
            )
        return decompress(answer.body, max_bytes)


class QueryApi(_Pushes):
    """Remote write 1.0, and the query API with range selectors."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, _REMOTE_WRITE_HEADERS)
        self._query_headers = {
            **target.headers(),
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def query(self, query: RangeQuery) -> Request:
        """Return the request for the samples of a range."""
        # A range selector at time T with range R is [T - R, T] in Prometheus 2 and (T - R, T] in
        # Prometheus 3 and Cortex: one millisecond more at the open end serves both.
        end_ms = query.end_ns // NS_PER_MS - 1
        range_ms = end_ms - query.start_ns // NS_PER_MS + 1
        parameters = {
            "query": f"{query.selector(self._target.matchers)}[{range_ms}ms]",
            "time": f"{end_ms // 1000}.{end_ms % 1000:03d}",
        }
        headers = dict(self._query_headers)
        if query.fresh:
            headers["Cache-Control"] = "no-store"
        url = f"{self._target.url}{self._target.query_path}"
        return Request("POST", url, headers, urlencode(parameters).encode())

    def body(self, answer: Answer, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:  # noqa: ARG002 - the transport has seen to it
        """Return the JSON of a successful answer."""
        return self._json_of(answer)


_REMOTE_WRITE_HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def api_for(target: Target) -> Api:
    """Return how to write to and read from a target."""
    if target.is_logs:
        return LokiApi(target)
    if target.read_api is ReadApi.QUERY:
        return QueryApi(target)
    return RemoteReadApi(target)
