"""Loki's HTTP API: which path is answered by what, and pushes as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from looker.target.answers import GET, GET_OR_POST, POST, TEXT, Answer, Request, plain_error
from looker.target.loki_ingest import IngestError, LokiIngest
from looker.target.loki_push import decode
from looker.target.loki_query import LokiQueries
from looker.target.loki_texts import labels_error
from looker.target.matchers import SelectorError
from looker.target.memory import MemoryLimitError
from looker.version import __version__

if TYPE_CHECKING:
    from looker.clock import Clock
    from looker.target.answers import Routes
    from looker.target.config import TargetConfig
    from looker.target.damage import AnswerDamage
    from looker.target.loki_store import LokiStore
    from looker.target.metrics_page import Counters
    from looker.wire.decode import LogColumns

_GO_VERSION = "go1.27.3"


class LokiApi:
    """The routes of Loki; ``routes`` maps a path to (methods, what answers)."""

    def __init__(
        self,
        store: LokiStore,
        clock: Clock,
        config: TargetConfig,
        counters: Counters,
        damage: AnswerDamage | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._counters = counters
        limits = config.applied
        self._ingest = LokiIngest(store, limits) if limits.guards_logs else None
        self._several_tenants = config.require_tenant
        queries = LokiQueries(store, clock, config, damage)
        info = build()
        if config.product == "loki":
            info = dict.fromkeys(info, "") | {"goVersion": _GO_VERSION}
        end = b"\n" if config.product == "loki" else b""
        told = Answer(200, orjson.dumps(info) + end, "application/json")
        self.routes: Routes = {
            "/loki/api/v1/push": (POST, self.push),
            "/loki/api/v1/query_range": (GET_OR_POST, queries.query_range),
            "/loki/api/v1/labels": (GET_OR_POST, queries.labels),
            "/loki/api/v1/label/*/values": (GET_OR_POST, queries.label_values),
            "/loki/api/v1/series": (GET_OR_POST, queries.series),
            "/loki/api/v1/status/buildinfo": (GET, lambda _: told),
            "/ready": (GET, ready),
            "/flush": (GET_OR_POST, self.flush),
        }
        if config.product == "loki":
            self.routes["/api/prom/push"] = (POST, self.push)

    def push(self, request: Request) -> Answer:
        """Store a push: all of it, or what the limits leave of it."""
        if self._several_tenants and "|" in request.tenant:
            return plain_error(400, "multiple org IDs present")
        with self._store.budget.loan() as loan:
            return self._stored(request, decode(request, loan))

    def _stored(self, request: Request, columns: LogColumns) -> Answer:
        if len(columns.counts) == 0:
            return plain_error(422, "error at least one valid stream is required for ingestion")
        if columns.n_metadata:
            return plain_error(400, "looker target: structured metadata is not supported")
        try:
            answer = self._taken(request, columns)
        except MemoryLimitError as error:
            answer = plain_error(507, str(error))
        self._counters.records += len(columns.timestamps_ns)
        self._counters.payload_bytes += len(columns.buffer)
        return answer

    def _taken(self, request: Request, columns: LogColumns) -> Answer:
        try:
            if self._ingest is None:
                self._store.push(request.tenant, columns)
            else:
                self._ingest.push(request.tenant, columns, self._clock.wall_ns())
        except SelectorError as error:
            return plain_error(400, labels_error(error))
        except IngestError as error:
            return plain_error(error.status, str(error))
        return Answer(204)

    def flush(self, _request: Request) -> Answer:
        """Make everything visible that was stored."""
        self._store.flush()
        return Answer(204)


def ready(_request: Request) -> Answer:
    """Say that requests are served."""
    return Answer(200, b"ready\n", TEXT, {"X-Content-Type-Options": "nosniff"})


def build() -> dict[str, str]:
    """Describe this build with the fields that all these servers have."""
    return {
        "version": f"looker-{__version__}",
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }
