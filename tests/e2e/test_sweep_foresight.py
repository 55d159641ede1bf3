"""``looker sweep`` says beforehand that its repeats are too few: field case 23."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers import looker

if TYPE_CHECKING:
    from pathlib import Path

SWEEP = """
repeats = {repeats}
[base]
mode = "logs"
n_concurrent_streams = 4
n_entries_per_stream_fragment = 10
stop_write_after_n_fragments_per_stream = 3
{more}
[[targets]]
name = "a"
[[targets]]
name = "b"
"""


def test_too_few_repeats_are_said_before_the_first_run(tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.toml", str(tmp_path / "out")
    file.write_text(SWEEP.format(repeats=1, more='target_metrics_url = "off"'))
    said = "1 repeat cannot show any difference with 95 % certainty: 7 metrics want 9"
    plan = looker(tmp_path, "sweep", str(file), "--out", out, "--dry-run")
    assert plan.code == 0, plan.said
    assert said in plan.stdout
    done = looker(tmp_path, "sweep", str(file), "--out", out)
    assert done.code == 0, done.said
    assert said in done.stderr.partition("1 of 2")[0]
    file.write_text(SWEEP.format(repeats=10, more=""))
    plan = looker(tmp_path, "sweep", str(file), "--out", str(tmp_path / "other"), "--dry-run")
    assert "10 repeats can show a difference with 95 % certainty" in plan.stdout
