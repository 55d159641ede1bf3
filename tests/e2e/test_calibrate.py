"""``looker calibrate``: figures that agree with each other, JSON, interruption, faults."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from servers import Run, children, is_running, kill_quietly, looker, spawned, wait_until

if TYPE_CHECKING:
    from pathlib import Path

QUICK: Final = (
    *("--seconds", "2", "--n-workers", "2", "--n-concurrent-streams", "8"),
    *("--n-entries-per-stream-fragment", "50", "--log-level", "error"),
)
STAGES: Final = ["generate", "compress", "push", "validate"]


def check_workers(one: dict[str, Any], load: dict[str, Any]) -> None:
    """See that the figures of one number of workers are those of its work and time."""
    shape, is_logs = load["shape"], load["mode"] == "logs"
    assert list(one["stages"]) == STAGES
    for stage in one["stages"].values():
        assert stage["samples"] > 0
        # whole fragments
        assert stage["samples"] % shape["n_samples_per_fragment"] == 0
        assert stage["cpu_s"] > 0
        assert stage["wall_s"] > 0
        assert stage["samples_per_s"] == pytest.approx(
            one["n_workers"] * stage["samples"] / stage["wall_s"]
        )
        assert stage["cpu_ns_per_sample"] == pytest.approx(1e9 * stage["cpu_s"] / stage["samples"])
    # a batch goes through the stages of writing one after the other
    assert len({one["stages"][name]["samples"] for name in STAGES[:3]}) == 1
    assert sum(stage["share"] for stage in one["stages"].values()) == pytest.approx(1.0)
    write = one["write"]
    assert write["samples"] == write["pushes"] * shape["n_samples_per_fragment"]
    per_sample = shape["n_chars_per_line"] if is_logs else 16
    assert write["payload_bytes"] == write["samples"] * per_sample
    for rate, amount in (
        ("samples_per_s", write["samples"]),
        ("payload_mb_per_s", write["payload_bytes"] / 1e6),
        ("wire_mb_per_s", write["wire_bytes"] / 1e6),
        ("cores_busy", write["cpu_s"]),
        ("target_cores_busy", write["target_cpu_s"]),
    ):
        assert write[rate] == pytest.approx(amount / write["duration_s"]), rate
    assert write["samples_per_s"] > 0
    assert write["hand_over_ns_per_sample"] >= 0
    assert write["limited_by"] in {"generator", "target", "mixed"}


def check(found: dict[str, Any], modes: list[str]) -> None:
    assert (found["schema_version"], found["kind"]) == (1, "calibration")
    assert found["started_at"] < found["finished_at"]
    assert found["environment"]["n_usable_cores"] >= 1
    assert [load["mode"] for load in found["loads"]] == modes
    for load in found["loads"]:
        assert [one["n_workers"] for one in load["workers"]] == [1, 2]
        for one in load["workers"]:
            check_workers(one, load)
        best = max(load["workers"], key=lambda one: one["write"]["samples_per_s"])
        ceiling = load["ceiling"]
        assert ceiling["n_workers"] == best["n_workers"]
        for rate in ("samples_per_s", "payload_mb_per_s", "wire_mb_per_s"):
            assert ceiling[rate] == best["write"][rate]
        costs = {name: best["stages"][name]["cpu_ns_per_sample"] for name in STAGES[:3]}
        assert costs[ceiling["bottleneck"]] == max(costs.values())


def test_both_loads_as_json_and_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    result = looker(tmp_path, "calibrate", *QUICK, "--json", "--report", str(path))
    assert (result.code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    check(found, ["logs", "metrics"])
    assert json.loads(path.read_text(encoding="utf-8")) == found
    # nothing but the file that was asked for
    assert not result.reports


@pytest.mark.parametrize(
    "shape",
    [
        ("logs", "--n-chars-per-msg", "300", "--compressability", "max"),
        ("logs", "--n-fragments-per-push-message", "3"),
        ("metrics", "--n-fragments-per-push-message", "8", "--compressability", "medium"),
    ],
    ids=" ".join,
)
def test_the_load_is_shaped_like_a_run(tmp_path: Path, shape: tuple[str, ...]) -> None:
    result = looker(tmp_path, "calibrate", *shape, *QUICK, "--json", "--n-workers", "1")
    assert result.code == 0, result.said
    (load,) = json.loads(result.stdout)["loads"]
    assert load["mode"] == shape[0]
    given = dict(zip(shape[1::2], shape[2::2], strict=True))
    assert load["shape"] == {
        "n_streams": 8,
        "n_samples_per_fragment": 50,
        "n_fragments_per_message": int(given.get("--n-fragments-per-push-message", 1)),
        "n_chars_per_line": None
        if shape[0] == "metrics"
        else int(given.get("--n-chars-per-msg", 100)),
        "compressability": given.get("--compressability", "min"),
        "step_ns": 1 if shape[0] == "logs" else 1_000_000,
    }
    (one,) = load["workers"]
    write = one["write"]
    n_together = 50 * load["shape"]["n_fragments_per_message"]
    # fewer where a worker has fewer fragments ready
    assert 0 < write["samples"] <= write["pushes"] * n_together
    if given.get("--compressability") == "max":
        assert write["wire_bytes"] < write["payload_bytes"] / 2


def test_a_single_stream_of_single_entries(tmp_path: Path) -> None:
    result = looker(
        tmp_path,
        *("calibrate", "logs", "--n-concurrent-streams", "1", "--seconds", "1", "--json"),
        *("--n-entries-per-stream-fragment", "1", "--n-chars-per-msg", "20"),
    )
    assert result.code == 0, result.said
    (load,) = json.loads(result.stdout)["loads"]
    # one stream is one worker's
    assert [one["n_workers"] for one in load["workers"]] == [1]
    assert load["ceiling"]["samples_per_s"] > 0


def test_the_table(tmp_path: Path) -> None:
    result = looker(tmp_path, "calibrate", "logs", *QUICK[:-2])
    assert result.code == 0, result.said
    for words in (
        "calibration of this host",
        "logs: 8 streams; a push holds 1 fragment of 50 entries of 100 characters",
        "generate and encode",
        "written, all stages at once",
        "largest load",
        "bottleneck",
    ):
        assert words in result.stdout, words
    assert "logs: 2 workers, writing for" in result.stderr
    # it is the point of a calibration that Looker is the limit: no warning of that
    assert "WARNING" not in result.stderr


@pytest.mark.parametrize(
    ("number", "words", "seconds"),
    [
        (signal.SIGINT, "each stage alone", "600"),
        (signal.SIGTERM, "each stage alone", "600"),
        (signal.SIGINT, "1 worker, writing for", "12"),
    ],
)
def test_it_can_be_interrupted(
    tmp_path: Path, number: signal.Signals, words: str, seconds: str
) -> None:
    with Run(tmp_path, "calibrate", "logs", "--n-workers", "1", "--seconds", seconds) as run:
        run.wait_for(words)
        everyone = children(run.pid)
        assert len(spawned(run.pid)) >= 2
        run.send(number)
        result = run.result()
    assert (result.code, result.stdout) == (130, ""), result.said
    assert "Traceback" not in result.stderr
    wait_until(lambda: not any(is_running(pid) for pid in everyone), "its processes end")


def test_a_worker_that_dies_is_named(tmp_path: Path) -> None:
    with Run(tmp_path, "calibrate", "logs", "--n-workers", "2", "--seconds", "600") as run:
        run.wait_for("each stage alone")
        everyone = children(run.pid)
        # two targets, then the workers
        kill_quietly(spawned(run.pid)[-1])
        result = run.result()
    assert result.code == 70, result.said
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == (
        "looker: worker 1 died while calibrating (killed by SIGKILL)"
    )
    wait_until(lambda: not any(is_running(pid) for pid in everyone), "its processes end")
