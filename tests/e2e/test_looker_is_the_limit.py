"""Against a target that costs nothing, Looker is the limit, and says so."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from servers import Answer, Proxy, Run, embedded_target, looker

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Forward

WORDS = "Looker itself is the limit, not the target"


def test_a_run_against_a_null_target_warns_once(tmp_path: Path) -> None:
    with (
        embedded_target(tmp_path, "--mode", "null") as url,
        Run(
            tmp_path,
            *(
                "logs",
                url,
                "--skip-read",
                "--n-workers",
                "1",
                "--stop-write-after-n-seconds",
                "300",
            ),
            *("--n-entries-per-stream-fragment", "10000"),
        ) as run,
    ):
        run.wait_for(WORDS)
        run.send(signal.SIGINT)
        result = run.result()
    assert result.code == 130, result.said
    assert result.stderr.count(WORDS) == 1
    assert "`looker calibrate logs` shows what this host can offer" in result.stderr
    assert result.write["limited_by"] == "generator"
    assert "held back by Looker itself" in " ".join(result.stdout.split())
    assert 0 < result.write["loop_cpu_s"] < result.write["cpu_s"]
    assert 0 < result.write["generating_s"] < 1.1 * result.write["duration_s"]


def test_a_slow_target_is_not_mistaken_for_a_slow_looker(tmp_path: Path) -> None:
    async def slow(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        await asyncio.sleep(0.5)
        return answer

    with (
        embedded_target(tmp_path, "--mode", "null") as url,
        Proxy(url, push=slow) as proxy,
    ):
        result = looker(
            tmp_path,
            *("logs", proxy.url, "--skip-read", "--n-workers", "1"),
            *("--n-concurrent-streams", "20", "--stop-write-after-n-seconds", "4"),
        )
    assert result.code == 0, result.said
    assert WORDS not in result.stderr
    assert result.write["limited_by"] == "target"
    # the generator has filled the queue, and waits
    assert result.write["generating_s"] < 0.5 * result.write["duration_s"]
