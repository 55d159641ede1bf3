"""Pushes of 2 kB, generated and encoded, against a bare aiohttp client's."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import uvloop

from looker.generate.logs import LogEncoder
from looker.wire.snappy import compress
from running import cpu_per_push_ms, null_target, paired, run_looker
from test_encode import batch, content

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Table

_N_ENTRIES = 21
"""Entries of 100 characters that are 2 kB when compressed."""
_N_CLIENTS = 10


async def push_with_aiohttp(url: str, bodies: list[bytes], n_pushes: int) -> float:
    """Return the CPU time per push (ms) of ten clients that share a session."""

    async def push(session: aiohttp.ClientSession, number: int) -> None:
        body = bodies[number % len(bodies)]
        headers = {"Content-Type": "application/x-protobuf"}
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()
            assert answer.status in (200, 204)

    async def push_some(session: aiohttp.ClientSession, n: int) -> None:
        for number in range(n):
            await push(session, number)

    async with aiohttp.ClientSession() as session:
        await push_some(session, _N_CLIENTS)
        begun = time.process_time()
        clients = [push_some(session, n_pushes // _N_CLIENTS) for _ in range(_N_CLIENTS)]
        await asyncio.gather(*clients)
        return 1000 * (time.process_time() - begun) / n_pushes


def test_small_push_against_aiohttp(table: Table, tmp_path: Path) -> None:
    encoder = LogEncoder(content(1000, _N_ENTRIES, 100, metrics=False))
    encoded = encoder.encode(batch(100, _N_ENTRIES, 1))
    bodies = [bytes(compress(raw.data)) for _, raw in encoded.messages(1)]
    assert 1900 < len(bodies[0]) < 2200
    n_streams, n_fragments = (100, 5) if table.quick else (1000, 10)

    with null_target(tmp_path) as url:

        def looker_ms() -> float:
            arguments = (
                *("logs", url, "--skip-read", "--n-concurrent-streams", str(n_streams)),
                *("--n-entries-per-stream-fragment", str(_N_ENTRIES)),
                *("--stop-write-after-n-fragments-per-stream", str(n_fragments)),
            )
            return cpu_per_push_ms(run_looker(tmp_path, *arguments).write)

        def aiohttp_ms() -> float:
            push_url = f"{url}/loki/api/v1/push"
            return uvloop.run(push_with_aiohttp(push_url, bodies, n_streams * n_fragments))

        measured, reference = paired(1 if table.quick else 5, looker_ms, aiohttp_ms)
    row = table.add(
        "2 kB body: whole push / bare aiohttp push", "<= 1.5", measured, reference, "ms"
    )
    assert row.ratio > 0
