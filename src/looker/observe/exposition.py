"""The coordinator's ``/metrics``: what all workers have counted so far, by worker.

A scrape takes a snapshot of immutable records and derives every figure from it in its own thread,
so it neither waits for the run nor holds it up. Counters are the sum over all cycles: that of the
earlier ones is kept (:mod:`looker.model.run_state`), so a scrape's cost does not grow with the run.
A worker that has died keeps its series.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import platform
import socketserver
import sys
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from looker.errors import UsageError
from looker.model.limit import ReadTimeSpent, TimeSpent
from looker.model.mismatch import MismatchKind
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from looker.clock import Clock
    from looker.model.histogram import Histogram
    from looker.model.report import ReadReport, SpotCheckReport, WriteReport
    from looker.model.run_state import RunState, WorkerState

LOG = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
PORTS: Final = range(8900, 8991)
"""Of these the first free one is taken where no port is given."""
_OPTION: Final = "--http-server-port"
_REQUEST_TIMEOUT_S: Final = 10.0

# All bounds are first values of a histogram's slot, so that cumulative counts are exact: 625 and
# 1280 microseconds, doubled, and half as much again.
DURATION_BOUNDS_US: Final = tuple(625 << doublings for doublings in range(20))
LAG_BOUNDS_US: Final = (
    *(1_280_000 * step >> 1 << doublings for doublings in range(9) for step in (2, 3)),
    *(1_280_000 << doublings for doublings in (9, 10, 11)),
)
_T = TypeVar("_T")
_OTHER: Final = "other"
_WORKER: Final = ("worker",)


_WRITE_COUNTERS: Final[tuple[tuple[str, str, Callable[[WriteReport], float]], ...]] = (
    (
        "looker_push_retries_total",
        "Further attempts to send a push message.",
        lambda write: write.pushes_retried,
    ),
    (
        "looker_fragments_pushed_total",
        "Fragments of streams whose push came to an end, whatever its outcome.",
        lambda write: write.fragments_pushed,
    ),
    (
        "looker_samples_acknowledged_total",
        "Samples (log entries, metric samples) that the target has acknowledged.",
        lambda write: write.samples_acked,
    ),
    (
        "looker_samples_in_doubt_total",
        "Samples that were sent and not acknowledged, whatever the answer was.",
        lambda write: write.samples_in_doubt,
    ),
    (
        "looker_payload_acknowledged_bytes_total",
        "Acknowledged payload: line bytes of logs, 16 bytes per metric sample.",
        lambda write: write.payload_bytes_acked,
    ),
    (
        "looker_push_wire_bytes_total",
        "Compressed push message bodies, every attempt.",
        lambda write: write.wire_bytes_sent,
    ),
    (
        "looker_rate_limited_seconds_total",
        "Time that writers waited after a rate limit, summed over all writers.",
        lambda write: write.rate_limited_s,
    ),
    (
        "looker_throttled_seconds_total",
        "Time in which no stream was allowed to go on, as it would have come too close to now.",
        lambda write: write.throttled_s,
    ),
    (
        "looker_starved_seconds_total",
        "Time that writers waited for a push message, summed over all writers.",
        lambda write: write.starved_s,
    ),
    (
        "looker_writer_seconds_total",
        "Time of write phases, summed over all writers.",
        lambda write: write.writers_s,
    ),
    (
        "looker_forward_leaps_total",
        "Streams that leapt forward, as they had fallen too far behind.",
        lambda write: write.forward_leaps,
    ),
)
_READ_COUNTERS: Final[tuple[tuple[str, str, Callable[[ReadReport], float]], ...]] = (
    (
        "looker_samples_expected_total",
        "Samples that had to be in the answers that were compared so far.",
        lambda read: read.findings.n_expected,
    ),
    (
        "looker_samples_validated_total",
        "Samples that came back exactly as written.",
        lambda read: read.findings.n_validated,
    ),
    (
        "looker_payload_validated_bytes_total",
        "Payload of the samples that came back exactly as written.",
        lambda read: read.payload_bytes_validated,
    ),
    (
        "looker_query_retries_total",
        "Further attempts to send a query.",
        lambda read: read.queries_retried,
    ),
    (
        "looker_reader_seconds_total",
        "Time of read phases, summed over all readers.",
        lambda read: read.readers_s,
    ),
)
_SPOT_CHECK_COUNTERS: Final[tuple[tuple[str, str, Callable[[SpotCheckReport], float]], ...]] = (
    (
        "looker_spot_checks_total",
        "Spot checks: older fragments that were read again while the run went on.",
        lambda check: check.checks,
    ),
    (
        "looker_spot_check_samples_validated_total",
        "Samples that came back exactly as written in spot checks.",
        lambda check: check.findings.n_validated,
    ),
)


class RunCollector(Collector):
    """Makes metric families of a run's state, anew for every scrape."""

    def __init__(self, state: RunState, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        workers = self._state.snapshot()
        yield from self._run_families(workers)
        up = GaugeMetricFamily(
            "looker_worker_up",
            "Whether a worker process is there (1) or is not, or not any more (0).",
            labels=_WORKER,
        )
        for worker in workers:
            up.add_metric((str(worker.worker),), float(worker.up))
        yield up
        yield _counter(
            "looker_worker_cycles_completed_total",
            "Cycles that a worker has completed.",
            ((worker, worker.n_cycles) for worker in workers),
        )
        yield from _totals(_WRITE_COUNTERS, [(worker, worker.writes) for worker in workers])
        yield from _totals(_READ_COUNTERS, [(worker, worker.reads) for worker in workers])
        yield from _totals(
            _SPOT_CHECK_COUNTERS, [(worker, worker.spot_checks) for worker in workers]
        )
        yield _labelled(
            "looker_push_responses_total",
            "Answers to push requests by HTTP status; what got none, by the name of its failure.",
            "code",
            ((worker, _responses(worker.writes)) for worker in workers),
        )
        yield _labelled(
            "looker_query_responses_total",
            "Answers to queries by HTTP status; what got none, by the name of its failure.",
            "code",
            ((worker, _responses(worker.reads)) for worker in workers),
        )
        yield _labelled(
            "looker_writer_activity_seconds_total",
            "Time of all writers, by what it went into: see limited_by_shares in the report.",
            "activity",
            ((worker, _activities(TimeSpent.of(worker.writes))) for worker in workers),
        )
        yield _labelled(
            "looker_reader_activity_seconds_total",
            "Time of all readers, by what it went into: see limited_by_shares in the report.",
            "activity",
            ((worker, _activities(ReadTimeSpent.of(worker.reads))) for worker in workers),
        )
        yield _labelled(
            "looker_pushes_total",
            "Push messages that came to an end, by outcome.",
            "outcome",
            ((worker, _outcomes(worker)) for worker in workers),
        )
        yield _labelled(
            "looker_mismatches_total",
            "Differences between what was written and what was read, by kind.",
            "kind",
            ((worker, _mismatches(worker.reads)) for worker in workers),
        )
        yield _labelled(
            "looker_spot_check_mismatches_total",
            "Differences that spot checks have found, by kind.",
            "kind",
            ((worker, _mismatches(worker.spot_checks)) for worker in workers),
        )
        yield from _histograms(workers)

    def _run_families(self, workers: Sequence[WorkerState]) -> Iterator[Metric]:
        config, started_s = self._state.config, self._state.started_ns / 1e9
        build = InfoMetricFamily("looker_build", "Version of Looker and of Python.")
        build.add_metric((), {"version": __version__, "python": platform.python_version()})
        yield build
        run = InfoMetricFamily("looker_run", "The run that is shown here.")
        run.add_metric((), {"invocation_id": config.invocation_id, "mode": config.mode.value})
        yield run
        yield GaugeMetricFamily(
            "looker_start_time_seconds", "When the run began, in Unix time.", value=started_s
        )
        yield GaugeMetricFamily(
            "looker_uptime_seconds",
            "Time since the run began.",
            value=max(0.0, self._clock.wall_ns() / 1e9 - started_s),
        )
        yield CounterMetricFamily(
            "looker_cycles_completed_total",
            "Cycles that all workers have completed.",
            value=min((worker.n_cycles for worker in workers), default=0),
        )


def _histograms(workers: Sequence[WorkerState]) -> Iterator[Metric]:
    writes = [(worker, worker.writes) for worker in workers]
    reads = [(worker, worker.reads) for worker in workers]
    yield _histogram(
        "looker_push_request_duration_seconds",
        "Service time of each attempt to push that was acknowledged.",
        DURATION_BOUNDS_US,
        ((worker, [write.service for write in parts]) for worker, parts in writes),
    )
    yield _histogram(
        "looker_push_refused_duration_seconds",
        "Service time of each attempt to push whose answer did not acknowledge.",
        DURATION_BOUNDS_US,
        ((worker, [write.refused_service for write in parts]) for worker, parts in writes),
    )
    yield _histogram(
        "looker_push_duration_seconds",
        "Time of each push until its outcome was known, retries and their pauses included.",
        DURATION_BOUNDS_US,
        ((worker, [write.push for write in parts]) for worker, parts in writes),
    )
    yield _histogram(
        "looker_lag_seconds",
        "How far behind wall time each acknowledged push was.",
        LAG_BOUNDS_US,
        ((worker, [write.lag for write in parts]) for worker, parts in writes),
    )
    yield _histogram(
        "looker_query_duration_seconds",
        "Service time of each query that was answered with what it asked for.",
        DURATION_BOUNDS_US,
        ((worker, [read.service for read in parts]) for worker, parts in reads),
    )
    yield _histogram(
        "looker_query_refused_duration_seconds",
        "Service time of each query whose answer refused.",
        DURATION_BOUNDS_US,
        ((worker, [read.refused_service for read in parts]) for worker, parts in reads),
    )


def _responses(parts: Iterable[WriteReport | ReadReport]) -> Counter[str]:
    """Return the answers by code; labels stay bounded whatever a target may answer."""
    known: Counter[str] = Counter()
    for part in parts:
        for code, n in part.responses_by_status.items():
            bounded = code.isidentifier() or "100" <= code <= "599"
            known[code if bounded else _OTHER] += n
    return known


def _activities(spent: TimeSpent | ReadTimeSpent) -> dict[str, float]:
    """Return what only rises: the rest is a difference, which may fall by a rounding."""
    return {name: seconds for name, seconds in spent.seconds.items() if name in spent.SHARES}


def _outcomes(worker: WorkerState) -> dict[str, int]:
    writes = worker.writes
    return {
        "acknowledged": sum(write.pushes_acked for write in writes),
        "rejected": sum(write.pushes_rejected for write in writes),
        "indeterminate": sum(write.pushes_indeterminate for write in writes),
        "unresolved": sum(write.pushes_unresolved for write in writes),
    }


def _mismatches(reports: Sequence[ReadReport | SpotCheckReport]) -> dict[str, int]:
    return {
        kind.value: sum(report.findings.counts[kind] for report in reports) for kind in MismatchKind
    }


def _totals(
    counters: Sequence[tuple[str, str, Callable[[_T], float]]],
    parts: Sequence[tuple[WorkerState, Sequence[_T]]],
) -> Iterator[CounterMetricFamily]:
    """Yield each counter as the sum over a worker's reports."""
    for name, documentation, of in counters:
        totals = ((worker, sum(map(of, reports))) for worker, reports in parts)
        yield _counter(name, documentation, totals)


def _counter(
    name: str, documentation: str, values: Iterable[tuple[WorkerState, float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=_WORKER)
    for worker, value in values:
        family.add_metric((str(worker.worker),), value)
    return family


def _labelled(
    name: str,
    documentation: str,
    label: str,
    values: Iterable[tuple[WorkerState, Mapping[str, float]]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=(*_WORKER, label))
    for worker, counts in values:
        for value, count in sorted(counts.items()):
            family.add_metric((str(worker.worker), value), count)
    return family


def _histogram(
    name: str,
    documentation: str,
    bounds_us: Sequence[int],
    values: Iterable[tuple[WorkerState, Sequence[Histogram]]],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, documentation, labels=_WORKER)
    # a duration is recorded in whole microseconds, rounded down: below a bound is up to one before
    below_us = [bound - 1 for bound in bounds_us]
    texts = [repr(bound / 1e6) for bound in bounds_us]
    for worker, parts in values:
        counts = [part.counts_up_to(below_us) for part in parts]
        totals = [sum(up_to) for up_to in zip(*counts, strict=True)] or [0] * len(texts)
        buckets = list(zip(texts, totals, strict=True))
        buckets.append(("+Inf", sum(part.n for part in parts)))
        family.add_metric((str(worker.worker),), buckets, sum(part.sum_us for part in parts) / 1e6)
    return family


class MetricsServer:
    """Serves ``/metrics`` in threads of its own, as a context manager."""

    def __init__(self, collector: Collector, port: int, host: str = HOST) -> None:
        """Listen from now on, OSError if that cannot be; answer within the context."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        handler = type("Handler", (_Handler,), {"registry": registry})
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="looker-metrics", daemon=True
        )
        bound_host, self.port = self._server.server_address[:2]
        self.url = f"http://{bound_host!s}:{self.port}/metrics"

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End, and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def metrics_server(
    collector: Collector, port: int | None, host: str = HOST
) -> MetricsServer | None:
    """Return a server on ``port``, or on the first free one of PORTS; None if there is none.

    A given port that cannot be had is a UsageError.
    """
    if port is not None:
        try:
            return MetricsServer(collector, port, host)
        except (OSError, OverflowError) as error:
            reason = "is in use" if _is_in_use(error) else f"cannot be listened on: {error}"
            raise UsageError(_OPTION, f"port {port} of {host} {reason}") from error
    for candidate in PORTS:
        with contextlib.suppress(OSError):
            return MetricsServer(collector, candidate, host)
    ports = f"{PORTS[0]} to {PORTS[-1]}"
    LOG.warning("no /metrics: none of the ports %s is free; %s gives another", ports, _OPTION)
    return None


def _is_in_use(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    # a scrape under way must not hold up the end of the run
    block_on_close = False

    def handle_error(self, *_request: Any) -> None:
        LOG.debug("a request to /metrics failed: %s", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    timeout = _REQUEST_TIMEOUT_S
    server_version = f"looker/{__version__}"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(kind, encode(self.registry))
        elif path == "/":
            self._answer("text/plain; charset=utf-8", b"Looker: see /metrics\n")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        LOG.debug("%s %s", self.address_string(), format % arguments)
