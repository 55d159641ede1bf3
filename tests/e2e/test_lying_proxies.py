"""Whole runs through proxies whose first answers are wrong, or whose answers come and go.

Field case 39, and what is seen of it in a cycle, in spot checks and by reading a ledger back;
single answers are tried in tests/unit/engine/test_lying_answers.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest

import liars
from looker.errors import ExitCode
from looker.model.config import Mode, ReadApi, VerifyMode
from looker.model.verdict import Verdict
from looker.target.config import config_of
from looker.target.server import serving
from looker.wire.snappy import decompress
from servers import Answer, Proxy, embedded_target, looker, run_config, run_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from looker.engine.run_report import RunReport
    from servers import Forward, Script

WAYS = {
    "logs": (Mode.LOGS, ReadApi.AUTO, liars.LOGS),
    "query": (Mode.METRICS, ReadApi.QUERY, liars.QUERY),
    "read": (Mode.METRICS, ReadApi.REMOTE_READ, liars.REMOTE_READ),
}
MODES = [VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT]
NAMES = sorted(liars.LIES)
# a page for each of eight groups of two streams
N_STREAMS, N_PAGES, N_ALL = 16, 8, 160


def lying(way: str, lies_of: Callable[[int], Sequence[Any]]) -> Script:
    """Return what alters the answers with samples, which are numbered from 0."""
    codec = WAYS[way][2]
    numbers = itertools.count()

    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        if answer.status != 200:
            return answer
        body = decompress(answer.body, 1 << 30) if way == "read" else answer.body
        if way == "query" and b'"resultType":"matrix"' not in body:
            return answer
        if not codec.decode(body):
            return answer
        lies = lies_of(next(numbers))
        if not lies:
            return answer
        altered = (
            liars.packed_lie(answer.body, lies)
            if way == "read"
            else liars.lie(codec, answer.body, lies)
        )
        return dataclasses.replace(answer, body=altered)

    return read


def run(way: str, lies_of: Callable[[int], Sequence[Any]], **changes: Any) -> RunReport:
    mode, read_api, _ = WAYS[way]
    settings: dict[str, Any] = {
        "mode": mode,
        "read_api": read_api,
        "n_streams": N_STREAMS,
        "max_concurrent_reads": 1,
        "read_grace_s": 60.0,
        **changes,
    }
    read = lying(way, lies_of)
    with serving(config_of({})) as server, Proxy(server.url, read=read) as proxy:
        return run_engine(run_config(proxy.url, **settings))


def found(report: RunReport) -> dict[str, int]:
    read = report.totals().read
    assert read is not None
    assert read.error is None
    assert read.findings.n_expected == read.findings.n_validated == N_ALL
    return {kind.value: n for kind, n in read.findings.counts.items() if n}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_first_answer_is_counted_on_every_page(way: str, mode: VerifyMode) -> None:
    """Field case 39: each page is asked for three times, and the first answer lies."""

    def lies_of(number: int) -> Sequence[Any]:
        page, ask = divmod(number, 3)
        if ask:
            return []
        return [liars.LIES[NAMES[page % len(NAMES)]][0], liars.lacking]

    report = run(way, lies_of, verify=mode)
    names = [NAMES[page % len(NAMES)] for page in range(N_PAGES)]
    n_seen = sum(1 for name in names if mode is not VerifyMode.COUNT or name != "corrupt")
    assert found(report) == {"transient": n_seen}
    read = report.totals().read
    assert read is not None
    assert read.queries == 3 * N_PAGES
    assert report.verdict is Verdict.FAILED
    assert report.exit_code is ExitCode.MISMATCH
    assert {example.answers is not None for example in read.findings.examples} == {True}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_samples_that_come_and_go_are_counted_on_every_page(way: str, mode: VerifyMode) -> None:
    # two servers behind a balancer, one of which lacks a sample for some time
    report = run(way, lambda number: [liars.lacking] if number % 5 in (0, 2) else [], verify=mode)
    assert found(report) == {"inconsistent": N_PAGES}
    assert report.verdict is Verdict.FAILED


def test_spot_checks_count_what_was_once_seen() -> None:
    # a check asks for eight fragments, one after the other
    report = run(
        "logs",
        lambda number: [liars.corrupt, liars.lacking] if number % 3 == 0 else [],
        skip_read=True,
        verify=VerifyMode.OFF,
        spot_check_every_s=0.2,
        stop_after_n_fragments=None,
        stop_after_n_seconds=2.0,
        n_fragments_per_message=4,
    )
    checks = report.totals().spot_check
    assert checks is not None
    counts = {kind.value: n for kind, n in checks.findings.counts.items() if n}
    assert counts.keys() == {"transient"}
    assert counts["transient"] > 0
    assert report.verdict is Verdict.FAILED


def test_a_ledger_that_is_read_back_counts_it_as_well(tmp_path: Path) -> None:
    ledger = tmp_path / "run.ledger"
    sizes = ("--n-concurrent-streams", "16", "--stop-write-after-n-fragments-per-stream", "2")

    def lies_of(number: int) -> Sequence[Any]:
        return [liars.corrupt, liars.lacking] if number == 0 else []

    with embedded_target(tmp_path) as url:
        written = looker(tmp_path, "logs", url, *sizes, "--skip-read", "--ledger", str(ledger))
        assert written.code == 0, written.said
        with Proxy(url, read=lying("logs", lies_of)) as proxy:
            back = looker(tmp_path, "verify", str(ledger), proxy.url, "--max-concurrent-reads", "1")
    assert back.code == 1, back.said
    assert "transient: " in back.stdout
    assert "answer 1 of 3 showed it corrupt, the last one did not" in back.stdout
    assert "later: " in back.stdout
    assert {k: n for k, n in back.read["mismatches"].items() if n} == {"transient": 1}


def test_the_command_line_tells_what_answers_say(tmp_path: Path) -> None:
    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        return dataclasses.replace(answer, headers={**answer.headers, "Warning": '110 - "stale"'})

    with embedded_target(tmp_path) as url, Proxy(url, read=read) as proxy:
        sizes = ("--n-concurrent-streams", "1", "--stop-write-after-n-fragments-per-stream", "1")
        done = looker(tmp_path, "logs", proxy.url, *sizes)
    assert done.code == 0, done.said
    assert '1 answer(s) said of themselves: header warning: 110 - "stale"' in done.stdout
