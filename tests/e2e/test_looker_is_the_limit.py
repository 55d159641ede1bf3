"""Against a target that costs nothing, Looker is the limit, and says so."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from servers import Run, embedded_target

if TYPE_CHECKING:
    from pathlib import Path

WORDS = "Looker itself is the limit, not the target"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        # large messages: the generator is the limit; tiny ones: the event loop
        ("logs", ("--n-entries-per-stream-fragment", "10000")),
        ("metrics", ("--n-entries-per-stream-fragment", "5", "--max-lag-seconds", "3000")),
    ],
)
def test_a_run_against_a_null_target_warns_once(
    tmp_path: Path, mode: str, message: tuple[str, str]
) -> None:
    with (
        embedded_target(tmp_path, "--mode", "null") as url,
        Run(
            tmp_path,
            *(mode, url, "--skip-read", "--n-workers", "1", *message),
            *("--stop-write-after-n-seconds", "300"),
        ) as run,
    ):
        run.wait_for(WORDS)
        run.send(signal.SIGINT)
        result = run.result()
    assert result.code == 130, result.said
    assert result.stderr.count(WORDS) == 1
    assert f"`looker calibrate {mode}` shows what this host can offer" in result.stderr
    limited = result.write["limited_by"] == "generator"
    assert ("held back by Looker itself" in " ".join(result.stdout.split())) == limited
    assert result.write["cpu_s"] > result.write["loop_cpu_s"] > 0
