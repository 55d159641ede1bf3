"""What held writing and reading back is told by where the time of writers and readers went."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from looker.model.config import NS_PER_S
from servers import Answer, Proxy, embedded_target, looker, run_config, run_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from looker.model.report import CycleReport
    from servers import Forward


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def only_cycle(report_cycles: list[CycleReport]) -> CycleReport:
    (cycle,) = report_cycles
    return cycle


def test_series_that_follow_wall_time_are_throttled(tmp_path: Path, target: str) -> None:
    """Field case 20: half a thousand series in a message, a sample a second of each of them."""
    result = looker(
        tmp_path,
        *("metrics", target, "--n-series", "1000", "--n-samples-per-series-fragment", "1"),
        *("--metrics-time-increment-ms", "1000", "--n-fragments-per-push-message", "500"),
        # without the backlog of the beginning, which a second run of 25 s would make up for
        *("--min-lag-seconds", "10", "--max-lag-seconds", "13"),
        *("--stop-write-after-n-seconds", "5"),
    )
    assert result.code == 0, result.said
    write = result.write
    shares = write["limited_by_shares"]
    assert write["limited_by"] == "throttle"
    assert shares["throttle"] > 0.3 > shares["generator"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert "writers' time: throttle" in result.stdout
    assert "coupling to wall time" in " ".join(result.stdout.split())


def test_pauses_after_failed_pushes_are_the_limit_not_the_target(target: str) -> None:
    async def push(number: int, forward: Forward) -> Answer:
        # each message fails once, and is sent again after 0.1 s at least
        return Answer(503, b"no") if number % 2 == 0 else await forward()

    with Proxy(target, push=push) as proxy:
        cycle = only_cycle(
            run_engine(run_config(proxy.url, max_concurrent_writes=1, n_streams=10)).cycles()
        )
    write = cycle.write.to_json()
    assert cycle.write.responses_by_status == {"503": 20, "204": 20}
    assert write["limited_by"] == "retry"
    assert write["limited_by_shares"]["retry"] > 0.1
    assert write["limited_by_shares"]["rate_limit"] == write["rate_limited_s"] == 0
    # what was refused is no service
    assert cycle.write.service.n == cycle.write.refused_service.n == 20


def test_refused_and_accepted_pushes_have_service_times_of_their_own(target: str) -> None:
    async def push(number: int, forward: Forward) -> Answer:
        if number % 2 == 0:
            return Answer(503, b"at once")
        answer = await forward()
        await asyncio.sleep(0.2)
        return answer

    with Proxy(target, push=push) as proxy:
        cycle = only_cycle(run_engine(run_config(proxy.url, max_concurrent_writes=1)).cycles())
    write = cycle.write.to_json()
    # of the old figure, half of its instances were answers of no time at all
    assert cycle.write.service.n == 8
    assert write["service_ms"]["p50"] >= 200
    assert cycle.write.refused_service.n == 8
    assert write["refused_service_ms"]["p50"] < write["service_ms"]["p50"]


def test_a_slow_target_is_waited_for_all_the_time(target: str) -> None:
    async def push(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        await asyncio.sleep(0.3)
        return answer

    with Proxy(target, push=push) as proxy:
        report = run_engine(run_config(proxy.url, max_concurrent_writes=2))
    write = only_cycle(report.cycles()).write.to_json()
    assert write["limited_by"] == "target"
    assert write["limited_by_shares"]["target"] > 0.8


def test_fewer_streams_than_writers_are_the_limit(target: str) -> None:
    async def push(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        await asyncio.sleep(0.2)
        return answer

    with Proxy(target, push=push) as proxy:
        config = run_config(
            proxy.url, n_streams=2, max_concurrent_writes=20, stop_after_n_fragments=6
        )
        report = run_engine(config)
    write = only_cycle(report.cycles()).write.to_json()
    assert write["limited_by"] == "streams"
    # two of twenty writers have something to send
    assert write["limited_by_shares"]["streams"] > 0.6
    assert 0 < write["limited_by_shares"]["target"] < 0.11


def test_refused_queries_are_told_beside_read_throughput(tmp_path: Path, target: str) -> None:
    """Field case 12: queries are answered with 429 until nobody else asks."""

    async def read(number: int, forward: Forward) -> Answer:
        return Answer(429, b"too many outstanding requests") if number < 3 else await forward()

    with Proxy(target, read=read) as proxy:
        result = looker(
            tmp_path,
            *("metrics", proxy.url, "--n-concurrent-streams", "10"),
            *("--n-entries-per-stream-fragment", "5", "--max-concurrent-reads", "1"),
            *("--n-workers", "1"),
        )
    assert result.code == 0, result.said
    read_json = result.read
    n_answered = read_json["queries"] - 3
    assert read_json["responses_by_status"] == {"200": n_answered, "429": 3}
    assert read_json["queries_retried"] == 3
    assert read_json["limited_by"] == "rate_limit"
    shares = read_json["limited_by_shares"]
    assert shares["rate_limit"] > 0.1
    assert sum(shares.values()) == pytest.approx(1.0)
    assert 0 < read_json["rate_limited_s"] < read_json["duration_s"]
    # a refusal is no service
    assert read_json["refused_service_ms"]["max"] is not None
    said = {"text": "too many outstanding requests", "count": 3}
    assert read_json["reasons_by_status"] == {"429": [said]}
    words = " ".join(result.stdout.split())
    assert "to queries: answer 429, 3 times: too many outstanding requests" in words
    assert "retried │ 3" in words
    assert "answered 429 │ 3" in words
    assert "reading was held back by queries that the target refused" in words


def test_failed_queries_are_pauses_of_reading(target: str) -> None:
    async def read(number: int, forward: Forward) -> Answer:
        return Answer(502, b"bad gateway") if number < 2 else await forward()

    with Proxy(target, read=read) as proxy:
        config = run_config(proxy.url, max_concurrent_reads=1)
        cycle = only_cycle(run_engine(config).cycles())
    assert cycle.read is not None
    plain = cycle.read.to_json()
    assert plain["verdict"] == "passed"
    assert plain["responses_by_status"]["502"] == plain["queries_retried"] == 2
    assert plain["limited_by"] == "retry"
    assert plain["rate_limited_s"] == 0


def test_what_comes_late_is_waited_for_by_the_grace_period(target: str) -> None:
    async def read(number: int, forward: Forward) -> Answer:
        answer = await forward()
        if number > 2:
            return answer
        # nothing yet, in remote read's words
        return Answer(200, b"\x02\x04\x0a\x00", answer.headers)

    with Proxy(target, read=read) as proxy:
        config = run_config(proxy.url, max_concurrent_reads=1, read_grace_s=60.0)
        cycle = only_cycle(run_engine(config).cycles())
    assert cycle.read is not None
    plain = cycle.read.to_json()
    assert plain["verdict"] == "passed"
    # 0.25, 0.5 and 1 s
    assert plain["limited_by_shares"]["grace"] * cycle.read.readers_s >= 1.7
    assert plain["queries_retried"] == 0


def test_each_moment_of_a_writer_is_of_one_kind(target: str) -> None:
    config = run_config(target, n_streams=50, n_workers=2, step_ns=NS_PER_S // 100)
    report = run_engine(config)
    write = only_cycle(report.cycles()).write
    shares = write.to_json()["limited_by_shares"]
    assert sum(shares.values()) == pytest.approx(1.0)
    # between two messages nothing is done that takes time
    assert shares["other"] < 0.2
    assert write.writers_s == pytest.approx(2 * write.workers_s)


def test_steady_messages_of_many_series_are_full(target: str) -> None:
    """Field case 36: what 500 series in a message came to was 4.7."""
    config = run_config(
        target,
        n_streams=100,
        n_samples_per_fragment=1,
        n_fragments_per_message=50,
        step_ns=NS_PER_S // 5,
        min_lag_s=10.0,
        # so that there is no backlog at the beginning
        max_lag_s=11.0,
        stop_after_n_fragments=None,
        stop_after_n_seconds=4.0,
        batch_deadline_ms=30_000.0,
    )
    write = only_cycle(run_engine(config).cycles()).write
    plain = write.to_json()
    assert write.pushes_acked > 10
    assert plain["fragments_per_push_mean"] == 50
    shares = plain["limited_by_shares"]
    # what messages wait for is wall time, and has a share of its own
    assert plain["limited_by"] == "throttle"
    assert shares["batch_deadline"] > 0.3 > shares["generator"]
