"""The embedded target: both APIs over stores in memory, served on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload
from urllib.parse import parse_qsl, unquote

import uvloop

from looker.clock import SystemClock
from looker.errors import TargetError
from looker.target.answers import GET, Answer, RefusedError, Request, plain_error
from looker.target.append_rules import prometheus, strict
from looker.target.bodies import lend_for_form
from looker.target.config import TargetConfig
from looker.target.connections import Connections
from looker.target.damage import AnswerDamage, StoreDamage
from looker.target.effort import EffortError, Limited
from looker.target.fault_requests import FaultyRequests
from looker.target.faults import Faults
from looker.target.http import HttpProtocol
from looker.target.loki_api import LokiApi
from looker.target.loki_store import LokiStore
from looker.target.loki_texts import TIMED_OUT
from looker.target.memory import Budget, LoanError, MemoryLimitError
from looker.target.metrics_page import Counters, page
from looker.target.own_process import own_process
from looker.target.prometheus_api import PrometheusApi
from looker.target.prometheus_json import error_json
from looker.target.series_store import SeriesStore
from looker.target.working import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from looker.clock import Clock
    from looker.target.answers import Routes
    from looker.target.http import Body
    from looker.target.memory import Loan

    Interceptor = Callable[[str, bytes, int, bytes], tuple[int, bytes]]

DEFAULT_TENANT = "fake"
_ANONYMOUS = frozenset({"/ready", "/metrics", "/flush", "/loki/api/v1/status/buildinfo"})
_FORM = "application/x-www-form-urlencoded"
_PUSHES = {
    "/loki/api/v1/push": 204,
    "/api/v1/write": 204,
    "/api/v1/push": 200,
    "/api/prom/push": 200,
    "/prometheus/api/v1/write": 204,
    "/prometheus/api/v1/push": 200,
}
_MAX_FORM_BYTES = 10 << 20  # as Go's net/http has it
_SPARED = ("/ready", "/buildinfo", "/metrics", "/healthy")  # these touch no store
_AT_ONCE = Limited(0.1, at_once=True)  # what takes longer is begun anew beside the event loop
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Stores:
    """What a target holds; not to be touched while it serves from another thread."""

    budget: Budget
    logs: LokiStore
    series: SeriesStore


class Target:
    """The target's behaviour, without any socket.

    ``interceptor``, for tests, is called for each answer of pushes and queries with (path
    without query, request body, status, answer body); the status and body that it returns are
    sent instead. What a push stored is not affected. It runs within the server's thread.
    """

    def __init__(
        self,
        config: TargetConfig,
        interceptor: Interceptor | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        budget = Budget(config.max_memory_mb)
        rule = strict if config.product == "looker" else prometheus
        self.faults = Faults(config.faults, config.fault_seed)
        stored: StoreDamage | None = None
        found: AnswerDamage | None = None
        self._faulty: FaultyRequests | None = None
        if config.faults:
            stored, found = StoreDamage(self.faults), AnswerDamage(self.faults)
            self._faulty = FaultyRequests(self.faults, stored, found)
        doubles = self.faults.any_of("duplicate-entry", "duplicate-fragment")
        logs = LokiStore(budget, stored, keeps_duplicates=doubles)
        self.store = Stores(budget, logs, SeriesStore(budget, rule, stored))
        self._interceptor = interceptor
        self._worker = Worker()
        at = clock or SystemClock()
        self.counters = Counters()
        product = config.product
        self._routes: Routes = {"/metrics": (GET, lambda _: self._metrics())}
        if product in {"looker", "loki"}:
            self._routes |= LokiApi(self.store.logs, at, config, self.counters, found).routes
        if product != "loki":
            self._routes |= PrometheusApi(
                self.store.series, at, config, self.counters, found
            ).routes
        self._discarded = {
            path: Answer(204 if product == "loki" else status)
            for path, status in _PUSHES.items()
            if path in self._routes
        }
        # Without multi-tenancy these servers do not look at the header.
        self._own_tenants = product == "looker" or config.require_tenant

    def _metrics(self) -> Answer:
        held_bytes = self.store.budget.held_bytes
        injected = self.faults.n_injected
        return page(self.config.product, self.counters, held_bytes, injected, own_process())

    def discards(self, method: str, path: str) -> Answer | None:
        """Return the answer to a push that is discarded unread; None for other requests."""
        if self.config.mode != "null" or method != "POST" or self._interceptor is not None:
            return None
        if self._faulty is not None:
            return None
        if self.config.require_tenant:
            return None  # the header has to be looked at
        return self._discarded.get(path)

    @overload
    def answer(self, method: str, target: str, headers: dict[str, str], body: Body) -> Answer: ...

    @overload
    def answer(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Body,
        later: Callable[[Answer], None],
    ) -> Answer | None: ...

    def answer(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Body,
        later: Callable[[Answer], None] | None = None,
    ) -> Answer | None:
        """Answer one request; ``target`` is the path with its query, header names are lower.

        Where ``later`` is given and it takes long, None: another thread goes on, and ``later`` is
        called with the answer by the running loop. Faults are injected in the order of requests,
        so with them nothing is done later.
        """
        path, _, query = target.partition("?")

        def respond(*, at_once: bool = False) -> Answer:
            return self._respond(method, path, query, headers, body, at_once=at_once)

        if self._faulty is not None:
            if method == "POST" and path in self._discarded:
                return self._told(path, body, self._faulty.push(self._discarded[path], respond))
            return self._told(path, body, self._faulty.query(respond))
        if later is None or path.endswith(_SPARED):
            return self._told(path, body, respond())
        if not self._worker.n_jobs:
            try:
                return self._told(path, body, respond(at_once=True))
            except EffortError:
                pass  # not done, then
        self._worker.do(respond, lambda answer: later(self._told(path, body, answer)))
        return None

    def _told(self, path: str, body: Body, answer: Answer) -> Answer:
        """Count an answer, and let the interceptor change it."""
        self.counters.answered[answer.status] += 1
        if answer.drop_after_s is not None:
            return answer
        if self._interceptor is not None and not path.endswith(_SPARED):
            status, content = self._interceptor(path, bytes(body), answer.status, answer.body)
            answer = replace(answer, status=status, body=content)
        return answer

    def _respond(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: Body,
        *,
        at_once: bool,
    ) -> Answer:
        """Answer one request, whatever happens; EffortError where that is not done at once."""
        limited = _AT_ONCE if at_once else Limited(self.config.query_timeout_s)
        try:
            with limited:
                return self._route(method, path, query, headers, body)
        except (RefusedError, MemoryLimitError, LoanError, MemoryError) as error:
            return self._refused(error)
        except EffortError:
            if at_once:
                raise
            return self._timed_out(path)
        except Exception as error:  # noqa: BLE001 - answered by a 500
            _log.exception("%s %s", method, path)
            return plain_error(500, f"looker target: internal error: {error!r}")

    @staticmethod
    def _refused(error: Exception) -> Answer:
        """Answer a request that is none, or for which there is not enough memory."""
        match error:
            case RefusedError():
                return error.answer
            case MemoryLimitError():
                return plain_error(507, str(error))
            case LoanError():
                return plain_error(413 if error.ever else 503, str(error))
            case _:
                return plain_error(503, "looker target: out of memory")

    def _timed_out(self, path: str) -> Answer:
        """Refuse a request that takes too long, in the server's words."""
        if path in _PUSHES:
            limit_s = self.config.query_timeout_s
            said = f"looker target: this takes more than {limit_s:g} s, nothing of it was stored"
            return plain_error(503, said)
        if path.startswith("/loki/"):
            return plain_error(504, TIMED_OUT, end="")
        body = error_json("timeout", "query timed out in expression evaluation")
        return Answer(503, body, "application/json")

    def _route(
        self, method: str, path: str, query: str, headers: dict[str, str], body: Body
    ) -> Answer:
        route = self._routes.get(path)
        if route is None:
            before, _, rest = path.partition("/label/")
            pattern = f"{before}/label/*/values" if rest.endswith("/values") else ""
            route = self._routes.get(pattern)
        if route is None:
            return plain_error(404, "404 page not found")
        methods, respond = route
        if method not in methods:
            return plain_error(405, "Method Not Allowed")
        tenant = headers.get("x-scope-orgid", "")
        if not tenant and self.config.require_tenant and path not in _ANONYMOUS:
            return plain_error(401, "no org id")
        if self.config.mode == "null" and path in self._discarded:
            return self._discarded[path]
        pairs = parse_qsl(query, keep_blank_values=True) if query else []
        if headers.get("content-type", "").partition(";")[0] != _FORM:
            return respond(self._request(method, path, pairs, headers, body, tenant))
        with self.store.budget.loan() as loan:
            pairs += _form(body, loan)
            return respond(self._request(method, path, pairs, headers, body, tenant))

    def _request(
        self,
        method: str,
        path: str,
        pairs: list[tuple[str, str]],
        headers: dict[str, str],
        body: Body,
        tenant: str,
    ) -> Request:
        matches = tuple([value for name, value in pairs if name in {"match[]", "match"}])
        if not (tenant and self._own_tenants):
            tenant = DEFAULT_TENANT
        path = unquote(path) if "%" in path else path
        return Request(method, path, headers, dict(pairs), body, tenant, matches)


def _form(body: Body, loan: Loan) -> list[tuple[str, str]]:
    """Take a form apart; RefusedError for one that Go would not take either, LoanError."""
    if len(body) > _MAX_FORM_BYTES:
        raise RefusedError(plain_error(413, "http: POST too large"))
    lend_for_form(body, loan)
    return parse_qsl(bytes(body).decode(errors="replace"), keep_blank_values=True)


async def _listen(target: Target, connections: Connections) -> tuple[asyncio.Server, str]:
    """Open the target's socket: (server, URL); TargetError where it cannot be opened."""
    config = target.config
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: HttpProtocol(target, connections), config.host, config.port
        )
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise TargetError(f"cannot listen on {config.host}:{config.port}: {reason}") from error
    host, port = server.sockets[0].getsockname()[:2]
    return server, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def listening(target: Target) -> AsyncIterator[str]:
    """Serve ``target`` within the running loop; yields its URL. Raises TargetError."""
    connections = Connections(target.store.budget)
    server, url = await _listen(target, connections)
    connections.watch()
    try:
        yield url
    finally:
        server.close()
        connections.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # lets the aborted connections end


@contextlib.asynccontextmanager
async def running(
    config: TargetConfig | None = None, interceptor: Interceptor | None = None
) -> AsyncIterator[str]:
    """Serve a new target within the running loop; yields its URL. Raises TargetError."""
    async with listening(Target(config or TargetConfig(), interceptor)) as url:
        yield url


@dataclass(frozen=True, eq=False)
class Serving:
    """A target that is being served: where, and what it holds."""

    url: str
    target: Target

    @property
    def store(self) -> Stores:
        """What the target holds."""
        return self.target.store


@contextlib.contextmanager
def serving(
    config: TargetConfig | None = None,
    interceptor: Interceptor | None = None,
    clock: Clock | None = None,
) -> Iterator[Serving]:
    """Serve a new target from a thread of its own until the block ends. Raises TargetError."""
    target = Target(config or TargetConfig(), interceptor, clock)
    started = threading.Event()
    outcome: list[str | BaseException] = []
    loop = uvloop.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with listening(target) as url:
            outcome.append(url)
            started.set()
            await done.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            outcome.append(error)
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=work, name="looker-target", daemon=True)
    thread.start()
    started.wait()
    first = outcome[0]
    if isinstance(first, BaseException):
        thread.join()
        raise first
    try:
        yield Serving(first, target)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
