"""A whole push to a discarding target, against what no client can do without."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from looker.generate.logs import LogEncoder
from looker.generate.metrics import MetricEncoder
from looker.wire.snappy import compress
from running import BareClient, cpu_per_push_ms, null_target, paired, run_looker
from test_encode import batch, content

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from conftest import Table

_N_BODIES = 16
_N_PUSHES = 256


def log_bodies() -> list[NDArray[np.uint8]]:
    encoder = LogEncoder(content(100, 8500, 100, metrics=False))
    encoded = encoder.encode(batch(_N_BODIES, 8500, 1))
    return [raw for _, raw in encoded.messages(1)]


def metric_bodies() -> list[NDArray[np.uint8]]:
    encoder = MetricEncoder(content(50_000, 5, 1, metrics=True))
    encoded = encoder.encode(batch(10_000, 5, 1_000_000))
    return [raw for _, raw in encoded.messages(5000)]


@dataclass(frozen=True)
class Shape:
    """Pushes of one kind; ``n_fragments`` of each stream make up one run of Looker."""

    name: str
    goal: str
    arguments: tuple[str, ...]
    bodies: Callable[[], list[NDArray[np.uint8]]]
    path: str
    n_fragments: int


LOGS = Shape(
    "1 MB of 100-character lines",
    "<= 2",
    ("logs", "--n-concurrent-streams", "100", "--n-entries-per-stream-fragment", "8500"),
    log_bodies,
    "/loki/api/v1/push",
    n_fragments=8,
)
METRICS = Shape(
    "5,000 series x 5 samples",
    "<= 1.6",
    (
        *("metrics", "--n-concurrent-streams", "50000", "--n-entries-per-stream-fragment", "5"),
        *("--n-fragments-per-push-message", "5000"),
    ),
    metric_bodies,
    "/api/v1/write",
    n_fragments=80,
)


@pytest.mark.parametrize("shape", [LOGS, METRICS], ids=["logs", "metrics"])
def test_push_against_snappy_and_a_bare_socket(table: Table, tmp_path: Path, shape: Shape) -> None:
    bodies = [body.data for body in shape.bodies()]
    n_pushes = 4 if table.quick else _N_PUSHES
    n_fragments = 1 if table.quick else shape.n_fragments

    with null_target(tmp_path) as url, BareClient(url, shape.path) as client:

        def looker_ms() -> float:
            fragments = ("--stop-write-after-n-fragments-per-stream", str(n_fragments))
            result = run_looker(tmp_path, *shape.arguments, url, *fragments, "--skip-read")
            return cpu_per_push_ms(result.write)

        def bare_ms() -> float:
            begun = time.process_time()
            for number in range(n_pushes):
                client.push(compress(bodies[number % len(bodies)]))
            return 1000 * (time.process_time() - begun) / n_pushes

        measured, reference = paired(1 if table.quick else 5, looker_ms, bare_ms)
    name = f"{shape.name}: push / snappy + bare socket"
    row = table.add(name, shape.goal, measured, reference, "ms")
    assert row.ratio > 0
