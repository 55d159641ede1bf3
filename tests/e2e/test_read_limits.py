"""Queries that are refused for their size are divided until they fit (field case 6).

prometheus#4532: ``exceeded sample limit``, ``query processing would load too many samples``,
Cortex' ``max number of series limit``; here said by a proxy that counts what an answer holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import liars
from looker.errors import ExitCode
from looker.model.config import Mode, ReadApi
from looker.model.verdict import Verdict
from looker.target.config import config_of
from looker.target.server import serving
from looker.wire.snappy import decompress
from servers import Answer, Proxy, run_config, run_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.engine.run_report import RunReport
    from servers import Forward

# eight groups of 16
N_STREAMS, PER_STREAM = 128, 40
WAYS = {
    "logs": (Mode.LOGS, ReadApi.AUTO, liars.LOGS),
    "query": (Mode.METRICS, ReadApi.QUERY, liars.QUERY),
    "read": (Mode.METRICS, ReadApi.REMOTE_READ, liars.REMOTE_READ),
}
every_way = pytest.mark.parametrize("way", WAYS)


def run(
    way: str, refuse: Callable[[int, int], tuple[int, str] | None]
) -> tuple[RunReport, list[tuple[int, int]], int]:
    """Return the report, what each query was for that was answered, and the number of refusals."""
    mode, read_api, codec = WAYS[way]
    answered, n_refused = [], 0

    async def read(_number: int, forward: Forward) -> Answer:
        nonlocal n_refused
        answer = await forward()
        body = decompress(answer.body, 1 << 30) if way == "read" else answer.body
        if way == "query" and b'"resultType":"matrix"' not in body:
            return answer
        elements = codec.decode(body)
        size = sum(len(one.rows) for one in elements), len(elements)
        refusal = refuse(*size)
        if refusal is not None:
            n_refused += 1
            return Answer(refusal[0], refusal[1].encode())
        answered.append(size)
        return answer

    settings: dict[str, Any] = {
        "mode": mode,
        "read_api": read_api,
        "n_streams": N_STREAMS,
        "n_samples_per_fragment": PER_STREAM,
        "stop_after_n_fragments": 1,
        "max_concurrent_reads": 1,
    }
    with serving(config_of({})) as server, Proxy(server.url, read=read) as proxy:
        report = run_engine(run_config(proxy.url, **settings))
    return report, answered, n_refused


@every_way
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "exceeded sample limit (100)"),
        (422, "query processing would load too many samples into memory in query execution"),
        (422, "the query exceeded the maximum number of chunks (err-mimir-max-chunks-per-query)"),
    ],
)
def test_what_holds_too_much_is_asked_for_in_parts(way: str, status: int, words: str) -> None:
    """Field case 6."""
    report, answered, n_refused = run(
        way, lambda n_samples, _: (status, words) if n_samples > 100 else None
    )
    assert report.verdict is Verdict.PASSED
    assert sum(n for n, _ in answered) == N_STREAMS * PER_STREAM
    # 640, 320, 160 are found to be too much with the first group, and not asked for again
    assert n_refused == 3


@every_way
def test_too_many_series_are_asked_for_by_fewer_names(way: str) -> None:
    """Field case 6."""
    words = "the query hit the max number of series limit (limit: 5 series)"
    report, answered, n_refused = run(way, lambda _, n: (422, words) if n > 5 else None)
    assert report.verdict is Verdict.PASSED
    assert [n for _, n in answered] == [4] * 32
    assert n_refused == 2


@every_way
def test_where_nothing_fits_the_largest_that_did_is_named(way: str) -> None:
    n_answers = 0

    def refuse(n_samples: int, _: int) -> tuple[int, str] | None:
        nonlocal n_answers
        if n_samples > 40 or n_answers:
            return 422, "cannot select more than -search.maxSamplesPerQuery=40 samples"
        n_answers += 1
        return None

    report, _, _ = run(way, refuse)
    totals = report.totals()
    assert totals.read is not None
    assert totals.read.error is not None
    assert "maxSamplesPerQuery=40" in totals.read.error
    assert "a page of 1 sample(s) of 16 stream(s) cannot be divided" in totals.read.error
    assert "the largest that was answered: 40 sample(s)" in totals.read.error
    assert report.verdict is Verdict.UNKNOWN
    assert report.exit_code is ExitCode.TARGET
