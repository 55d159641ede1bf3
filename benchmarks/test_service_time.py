"""The service time that is reported while Looker generates at full speed."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING

from running import BareClient, run_looker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from conftest import Table

_SERVICE_S = 0.005
_BODY_BYTES = 100_000


async def _serve(ready: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"content-length: " in head:
                    rest = head.partition(b"content-length: ")[2]
                    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
                if head.startswith(b"post"):
                    await asyncio.sleep(_SERVICE_S)
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                elif b"buildinfo" in head:
                    body = b'{"version":"3.0.0"}'
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    )
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(ready: Connection) -> None:
    """Answer each push 5 ms after its last byte, in a process of its own."""
    asyncio.run(_serve(ready))


def true_service_ms(url: str, n_pushes: int) -> float:
    """Return the median that an idle client on a blocking socket sees."""
    body = bytes(_BODY_BYTES)
    times = []
    with BareClient(url, "/loki/api/v1/push") as client:
        for _ in range(n_pushes):
            begun = time.perf_counter()
            client.push(body)
            times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def test_service_time_of_a_target_of_5_ms(table: Table, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    server = context.Process(target=serve, args=(writer,), daemon=True)
    server.start()
    try:
        assert reader.poll(60)
        url = f"http://127.0.0.1:{reader.recv()}"
        true_ms = true_service_ms(url, 5 if table.quick else 200)
        # 10 writers, 5 ms each: 2,000 pushes of 1,000 entries a second are more than it generates
        write = run_looker(
            tmp_path,
            *("logs", url, "--skip-read", "--n-concurrent-streams", "100"),
            *("--n-entries-per-stream-fragment", "1000"),
            *("--stop-write-after-n-fragments-per-stream", "1" if table.quick else "60"),
        ).write
    finally:
        server.kill()
        server.join()
    row = table.add(
        "service time, target of 5 ms, p50: reported / true",
        "<= 2",
        write["service_ms"]["p50"],
        true_ms,
        "ms",
    )
    assert row.ratio > 0
