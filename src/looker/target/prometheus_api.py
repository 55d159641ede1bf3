"""The HTTP API of Prometheus and Cortex: which path is answered by what, and remote writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from looker.errors import DecodeError
from looker.target.answers import GET, GET_OR_POST, POST, Answer, Request, plain_error
from looker.target.append_rules import AppendError
from looker.target.bodies import lend_for_protobuf, uncompressed
from looker.target.cortex_ingest import CortexIngest, WriteError
from looker.target.loki_api import build
from looker.target.matchers import quote
from looker.target.memory import MemoryLimitError
from looker.target.prometheus_query import SeriesQueries
from looker.target.remote_read import MAX_UNCOMPRESSED_BYTES, RemoteRead
from looker.target.series_labels import DuplicateLabelError
from looker.wire.decode import decode_write_request

if TYPE_CHECKING:
    from looker.clock import Clock
    from looker.target.answers import Routes
    from looker.target.config import TargetConfig
    from looker.target.damage import AnswerDamage
    from looker.target.memory import Loan
    from looker.target.metrics_page import Counters
    from looker.target.series_store import SeriesStore
    from looker.wire.decode import SeriesColumns

_READ_PREFIXES = {
    "looker": ("", "/prometheus"),
    "cortex": ("/prometheus", "/api/prom"),
    "prometheus": ("",),
}
_PLAIN = "text/plain"


class PrometheusApi:
    """The routes of both servers; ``routes`` maps a path to (methods, what answers)."""

    def __init__(
        self,
        store: SeriesStore,
        clock: Clock,
        config: TargetConfig,
        counters: Counters,
        damage: AnswerDamage | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._counters = counters
        self._product = config.product
        self._cortex = CortexIngest(store, config.applied)
        queries = SeriesQueries(store, clock, config, damage)
        remote = RemoteRead(store, config, damage)
        self.routes: Routes = {}
        for prefix in _READ_PREFIXES[config.product]:
            self.routes |= {
                f"{prefix}/api/v1/read": (POST, remote.read),
                f"{prefix}/api/v1/query": (GET_OR_POST, queries.query),
                f"{prefix}/api/v1/query_range": (GET_OR_POST, queries.query_range),
                f"{prefix}/api/v1/labels": (GET_OR_POST, queries.labels),
                f"{prefix}/api/v1/label/*/values": (GET, queries.label_values),
                f"{prefix}/api/v1/series": (GET_OR_POST, queries.series),
            }
        self.routes |= self._others()

    def _others(self) -> Routes:
        """Return the paths beside the query API."""
        if self._product == "cortex":
            return {
                "/api/v1/push": (POST, lambda request: self._push(request, 200)),
                "/api/prom/push": (POST, lambda request: self._push(request, 200)),
                "/ready": (GET, lambda _: Answer(200, b"ready", _PLAIN)),
                "/flush": (GET_OR_POST, lambda _: Answer(204)),
            }
        if self._product == "prometheus":
            return {
                "/api/v1/write": (POST, lambda request: self._push(request, 204)),
                "/api/v1/status/buildinfo": (GET, buildinfo),
                "/-/ready": (GET, lambda _: _alive("Ready")),
                "/-/healthy": (GET, lambda _: _alive("Healthy")),
            }
        routes: Routes = {}
        for prefix in _READ_PREFIXES["looker"]:
            routes |= {
                f"{prefix}/api/v1/write": (POST, lambda request: self._push(request, 204)),
                f"{prefix}/api/v1/push": (POST, lambda request: self._push(request, 200)),
                f"{prefix}/api/v1/status/buildinfo": (GET, buildinfo),
            }
        return routes

    def _push(self, request: Request, success: int) -> Answer:
        """Store a remote write 1.0 request: all of it, or what the server would."""
        refusal = None if self._product == "prometheus" else _wrong_kind(request)
        if refusal is not None:
            return refusal
        try:
            with self._store.budget.loan() as loan:
                body = self._uncompressed(request, loan)
                lend_for_protobuf(body, loan)
                return self._stored(request.tenant, decode_write_request(body), success)
        except DecodeError as error:
            return plain_error(400, str(error))

    def _stored(self, tenant: str, columns: SeriesColumns, success: int) -> Answer:
        answer = Answer(success)
        try:
            self._store_columns(tenant, columns)
        except WriteError as error:
            answer = plain_error(error.status, str(error))
        except DuplicateLabelError as error:
            answer = plain_error(400, str(error))
            if self._product == "prometheus":
                text = f"label name {quote(error.name)} is not unique: invalid sample"
                answer = plain_error(500, text)
        except (DecodeError, AppendError) as error:
            answer = plain_error(400, str(error))
        except MemoryLimitError as error:
            answer = plain_error(507, str(error))
        # what is begun anew does not come here
        self._counters.records += len(columns.timestamps_ms)
        self._counters.payload_bytes += 16 * len(columns.timestamps_ms)
        return answer

    def _uncompressed(self, request: Request, loan: Loan) -> bytes:
        try:
            return uncompressed(request.body, MAX_UNCOMPRESSED_BYTES, loan)
        except DecodeError:
            if self._product == "looker":
                raise
            raise DecodeError("snappy: corrupt input") from None

    def _store_columns(self, tenant: str, columns: SeriesColumns) -> None:
        if self._product == "cortex":
            self._cortex.push(tenant, columns, self._clock.wall_ns())
        else:
            self._store.push(tenant, columns)


def _wrong_kind(request: Request) -> Answer | None:
    """Refuse a content type or compression that is not remote write 1.0's."""
    kind = request.headers.get("content-type", "").replace(" ", "").partition(";")
    if kind[0] != "application/x-protobuf" or kind[2] not in {
        "",
        "proto=prometheus.WriteRequest",
    }:
        return plain_error(415, "Unsupported content type, not application/x-protobuf")
    if request.headers.get("content-encoding", "") != "snappy":
        return plain_error(415, "Unsupported compression, not snappy")
    return None


def _alive(state: str) -> Answer:
    return Answer(200, f"Prometheus Server is {state}.\n".encode(), "text/plain; charset=utf-8")


def buildinfo(_request: Request) -> Answer:
    """Say which version this is, in Prometheus' envelope."""
    body = orjson.dumps({"status": "success", "data": build()})
    return Answer(200, body, "application/json")
