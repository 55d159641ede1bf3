"""Answers that say something of themselves, through a proxy: told, and a cause of what is missing.

Field case 5: VictoriaMetrics#4115, thanos#622.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import liars
from looker.errors import ExitCode
from looker.model.config import Mode, ReadApi, VerifyMode
from looker.model.verdict import Verdict
from looker.target.config import config_of
from looker.target.server import serving
from servers import Answer, Proxy, run_config, run_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.engine.run_report import RunReport
    from servers import Forward

WAYS = {
    "logs": (Mode.LOGS, ReadApi.AUTO, liars.LOGS),
    "query": (Mode.METRICS, ReadApi.QUERY, liars.QUERY),
}
PARTIAL = {"isPartial": True}
WARNED = {"warnings": ["no store at zone b"]}
FAILED = {"status": "error", "error": "zone b", "errorType": "unavailable"}


def run(way: str, lies: Sequence[Any], says: dict[str, Any], **changes: Any) -> RunReport:
    mode, read_api, codec = WAYS[way]

    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        if b'"result":[{' not in answer.body:
            return answer
        body = liars.lie(codec, answer.body, lies, **says)
        return dataclasses.replace(answer, body=body)

    with serving(config_of({})) as server, Proxy(server.url, read=read) as proxy:
        return run_engine(run_config(proxy.url, mode=mode, read_api=read_api, **changes))


@pytest.mark.parametrize("verify", [VerifyMode.CONTENT, VerifyMode.COUNT])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("says", "words"),
    [
        (PARTIAL, "isPartial (VictoriaMetrics): true"),
        (WARNED, "warning: no store at zone b"),
        (FAILED, "error (unavailable): zone b"),
    ],
)
def test_what_is_missing_from_such_an_answer_is_explained(
    way: str, says: dict[str, Any], words: str, verify: VerifyMode
) -> None:
    """Field case 5."""
    report = run(way, [liars.lacking], says, verify=verify)
    totals = report.totals()
    assert totals.read is not None
    read = totals.read.to_json()
    n_missing = read["mismatches"]["missing"]
    assert n_missing > 0
    assert read["missing_explained"] == n_missing
    assert read["missing_because"] == f"the answers say themselves that they are not whole: {words}"
    assert [one["said"] for one in read["statements"]] == [words]
    assert report.verdict is Verdict.UNKNOWN
    assert report.exit_code is ExitCode.TARGET


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_answer_passes_and_its_words_are_told(way: str) -> None:
    report = run(way, [], WARNED)
    totals = report.totals()
    assert totals.read is not None
    (told,) = totals.read.to_json()["statements"]
    assert told == {"said": "warning: no store at zone b", "answers": totals.read.queries}
    assert report.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("lies", "says"),
    [
        # a note on types is no cause
        ([liars.lacking], {"infos": ["metric might not be a counter"]}),
        # nor is half an answer one of what is wrong
        ([liars.lacking, liars.corrupt], PARTIAL),
        ([liars.lacking], {"isPartial": False, "warnings": []}),
    ],
)
def test_other_mismatches_fail_as_ever(lies: list[Any], says: dict[str, Any]) -> None:
    report = run("query", lies, says)
    assert report.verdict is Verdict.FAILED
    assert report.exit_code is ExitCode.MISMATCH


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["application/stream+json", "application/vnd.x+json; a=b"])
def test_media_types_that_end_in_json_are_json(way: str, kind: str) -> None:
    """Field case 10: VictoriaMetrics#2662."""
    mode, read_api, _ = WAYS[way]

    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        return dataclasses.replace(answer, headers={**answer.headers, "Content-Type": kind})

    with serving(config_of({})) as server, Proxy(server.url, read=read) as proxy:
        report = run_engine(run_config(proxy.url, mode=mode, read_api=read_api))
    assert report.verdict is Verdict.PASSED
