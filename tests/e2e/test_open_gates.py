"""``--fail-if`` on what has no value: a gate that cannot close is an error, never 'kept'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from looker.cli.main import main
from servers import Answer, Proxy, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)
URL: Final = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


async def without_metrics(_number: int, forward: Forward) -> Answer:
    answer = await forward()
    return Answer(404, b"404 page not found\n") if b"process_cpu" in answer.body else answer


@pytest.mark.parametrize("figure", ["cpu_s", "rss_bytes_max", "metrics.some_metric.end"])
def test_field_case_13_a_target_without_metrics_is_refused_before_the_run(
    tmp_path: Path, target: str, figure: str
) -> None:
    expr = f"target.{figure} > 5"
    options = ("--target-metric", "some_metric", "--fail-if", expr)
    with Proxy(target, other=without_metrics) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, *options, "--log-level", "error")
        n_pushes = proxy.n_pushes
    assert result.code == 2, result.said
    assert result.stderr == (
        f"looker: --fail-if: {expr!r}: what the target uses is not known: {proxy.url}/metrics"
        " answers 404 '404 page not found'\n"
    )
    assert n_pushes == 0
    assert result.reports == []


def test_field_case_13_what_turns_out_to_have_no_value_is_an_error(
    tmp_path: Path, target: str
) -> None:
    expr = "target.metrics.some_metric.end > 5"
    options = ("--target-metric", "some_metric", "--fail-if", expr, "--fail-if", "queries < 1")
    result = looker(tmp_path, "logs", target, *SMALL, *options)
    assert result.code == 2, result.said
    assert (result.report["verdict"], result.report["exit_code"]) == ("passed", 2)
    assert result.report["thresholds"][0] == {"expr": expr, "value": None, "breached": None}
    assert f"threshold not judged (exit code 2): {expr}; it has no value" in result.stdout
    assert "threshold kept: not queries < 1; it is " in result.stdout


@pytest.mark.parametrize(
    ("options", "expr", "words"),
    [
        ([], "write.duplicates_refused > 0", "nothing is sent again on purpose"),
        ([], "out_of_order_sent > 0", "nothing is to be out of order"),
        (["--verify", "count"], "read.mismatches.corrupt > 0", "content is not checked"),
        (["--no-align-phases"], "target.write_cpu_s_per_gb > 5", "phases overlap"),
        ([], "read.mismatches.missing < 0", "is never below 0: the condition could never hold"),
    ],
)
def test_field_case_13_a_gate_that_could_never_close_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
    expr: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["logs", URL, *options, "--fail-if", expr])
    err = capfd.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    assert err.startswith(f"looker: --fail-if: {expr!r}: ")
    assert words in err
