"""Generates, encodes and compresses without sending anything, in a process of its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from looker.clock import SystemClock
from looker.engine.source import MessageSource
from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.generate.population import Coupling, Population
from test_encode import content

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

_NS = 1_000_000_000


def generate(barrier: Barrier, results: Connection, duration_s: float, *, metrics: bool) -> None:
    """Report (bytes per second, bytes per CPU second), uncompressed, of one worker.

    It goes on for ``duration_s``, and until at least one message is made.
    """
    n_samples, n_chars, per_message, n_streams = (
        (5, 1, 5000, 50_000) if metrics else (8500, 100, 1, 100)
    )
    step_ns = 1_000_000 if metrics else 1
    whole = content(n_streams, n_samples, n_chars, metrics=metrics)
    clock = SystemClock()
    coupling = Coupling(n_samples, step_ns, 30 * _NS, 120 * _NS, step_ns)
    population = Population(
        seed=1, generation=0, first=0, n=n_streams, coupling=coupling, now_ns=clock.wall_ns()
    )
    news = threading.Event()
    source = MessageSource(
        population=population,
        encoder=MetricEncoder(whole) if metrics else LogEncoder(whole),
        ledger=None,
        cycle=0,
        n_fragments_per_message=per_message,
        body_bytes_estimate=per_message * n_samples * (16 if metrics else n_chars),
        n_writers=10,
        clock=clock,
        wake=news.set,
    )
    population.begin_cycle(None)
    barrier.wait()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    n_bytes = 0
    source.start()
    while not n_bytes or time.perf_counter() - begun < duration_s:
        news.clear()
        message = source.take()
        if message is None:
            news.wait(1.0)
            continue
        n_bytes += message.n_bytes
        source.resolve(message)
    elapsed, elapsed_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    source.stop()
    source.join()
    results.send((n_bytes / elapsed, n_bytes / elapsed_cpu))
