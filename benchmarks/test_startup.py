"""CPU time until the command line, and a worker, are there."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.engine.messages import Ready, Stop, WorkerPlan
from looker.engine.partition import shares
from looker.engine.pool import LocalPool
from looker.model.config import Mode, ReadApi
from running import cpu_s
from servers import run_config

if TYPE_CHECKING:
    from conftest import Table


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def version_cpu_s() -> float:
    before = children_cpu_s()
    subprocess.run([sys.executable, "-m", "looker", "--version"], check=True, capture_output=True)
    return children_cpu_s() - before


def worker_cpu_s() -> float:
    """Return the CPU time of a worker when it says that it is ready."""
    url = "http://127.0.0.1:9"
    config = run_config(url, mode=Mode.LOGS, step_ns=1)
    target = Target(
        url, Product.LOKI, "/push", "/query", None, ReadApi.QUERY, None, None, None, embedded=False
    )
    pool = LocalPool()
    pool.start([WorkerPlan(config, target, share) for share in shares(config)])
    try:
        news = [one for one in pool.poll(60) if isinstance(one, Ready)]
        while not news:
            news = [one for one in pool.poll(60) if isinstance(one, Ready)]
        used = cpu_s(news[0].pid)
        pool.send(0, Stop())
    finally:
        pool.close(10.0)
    return used


def test_startup(table: Table) -> None:
    # the helper process of multiprocessing is not the worker's cost
    multiprocessing.get_context("spawn")
    rounds = 1 if table.quick else 15
    version = statistics.median(version_cpu_s() for _ in range(rounds))
    table.add("looker --version", "<= 0.15", version, 1.0, "CPU s")
    worker = statistics.median(worker_cpu_s() for _ in range(rounds))
    row = table.add("a worker until it is ready", "<= 0.4", worker, 1.0, "CPU s")
    assert row.ratio > 0
