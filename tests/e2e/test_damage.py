"""Targets that misbehave: what the command line says, counts and exits with."""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.engine import pool
from looker.errors import ExitCode
from looker.model.histogram import Histogram
from looker.model.verdict import Verdict
from looker.wire.proto import prometheus_pb2
from looker.wire.snappy import compress, decompress
from servers import (
    RESET,
    STALL,
    Answer,
    Prometheus,
    Proxy,
    embedded_target,
    impatient_worker,
    looker,
    run_config,
    run_engine,
    shared_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from servers import Forward, Script

N_STREAMS: Final = 4
N_FRAGMENTS: Final = 2
N_SAMPLES: Final = 5
N_ALL: Final = N_STREAMS * N_FRAGMENTS * N_SAMPLES
PER_STREAM: Final = N_FRAGMENTS * N_SAMPLES
SMALL: Final = (
    *("--n-concurrent-streams", str(N_STREAMS), "--n-workers", "1"),
    *("--n-entries-per-stream-fragment", str(N_SAMPLES)),
    *("--stop-write-after-n-fragments-per-stream", str(N_FRAGMENTS)),
)
SHORT_RETRIES: Final = (
    *("--retry-post-min-delay-seconds", "0.1", "--retry-post-max-delay-seconds", "0.3"),
    *("--retry-post-deadline-seconds", "30"),
)
GRACELESS: Final = ("--read-grace-seconds", "0")
ALL_WELL: Final = {
    "missing": 0,
    "duplicate": 0,
    "corrupt": 0,
    "out_of_order": 0,
    "unexpected": 0,
    "wrong_labels": 0,
    "transient": 0,
    "inconsistent": 0,
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


# --- answers as plain values: [labels, [[time, content], ...]] per stream ------------------------

Streams = list[tuple[dict[str, str], list[list[Any]]]]


def parse_remote_read(body: bytes) -> Streams:
    response = prometheus_pb2.ReadResponse.FromString(decompress(body, 1 << 30))
    return [
        (
            {label.name: label.value for label in series.labels},
            [[sample.timestamp, sample.value] for sample in series.samples],
        )
        for series in response.results[0].timeseries
    ]


def format_remote_read(streams: Streams) -> bytes:
    series = [
        prometheus_pb2.TimeSeries(
            labels=[
                prometheus_pb2.Label(name=name, value=value)
                for name, value in sorted(labels.items())
            ],
            samples=[
                prometheus_pb2.Sample(timestamp=moment, value=value) for moment, value in samples
            ],
        )
        for labels, samples in streams
    ]
    result = prometheus_pb2.QueryResult(timeseries=series)
    return bytes(compress(prometheus_pb2.ReadResponse(results=[result]).SerializeToString()))


def parse_query(body: bytes) -> Streams:
    return [(one["metric"], one["values"]) for one in json.loads(body)["data"]["result"]]


def format_query(streams: Streams) -> bytes:
    result = [{"metric": labels, "values": values} for labels, values in streams]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


def parse_loki(body: bytes) -> Streams:
    return [(one["stream"], one["values"]) for one in json.loads(body)["data"]["result"]]


def format_loki(streams: Streams) -> bytes:
    result = [{"stream": labels, "values": values} for labels, values in streams]
    data = {"resultType": "streams", "result": result, "stats": {}}
    return json.dumps({"status": "success", "data": data}).encode()


@dataclass(frozen=True)
class Api:
    """How a mode is called, and how its answers are taken apart and put together."""

    arguments: tuple[str, ...]
    parse: Callable[[bytes], Streams]
    build: Callable[[Streams], bytes]

    def rewriting(self, change: Callable[[Streams], None], times: int = 1000) -> Script:
        """Return a script that changes what is read of stream 1, that many times."""
        left = times

        async def script(_number: int, forward: Forward) -> Answer:
            nonlocal left
            answer = await forward()
            streams = self.parse(answer.body)
            if left and any(labels["looker_uniquename"].endswith("-0-1") for labels, _ in streams):
                left -= 1
                streams = copy.deepcopy(streams)
                change(streams)
                return replace(answer, body=self.build(streams))
            return answer

        return script


REMOTE_READ: Final = Api(
    ("metrics", "--read-api", "remote-read", "--metrics-time-increment-ms", "10"),
    parse_remote_read,
    format_remote_read,
)
QUERY: Final = Api(
    ("metrics", "--read-api", "query", "--metrics-time-increment-ms", "10"),
    parse_query,
    format_query,
)
LOKI: Final = Api(("logs", "--log-time-increment-ns", "10"), parse_loki, format_loki)


PAIRS: Final = {
    "read": ("prometheus", REMOTE_READ),
    "query": ("prometheus", QUERY),
    "logs": ("target", LOKI),
}


def cases(read: Iterable[Any], query: Iterable[Any], logs: Iterable[Any]) -> list[Any]:
    """Return (API and server, value) for each of the APIs' values, as parameters."""
    return [
        pytest.param(
            PAIRS[name],
            value,
            id=f"{name}-{getattr(value, '__name__', getattr(value, 'status', value))}",
            marks=[] if name == "logs" else pytest.mark.prometheus,
        )
        for name, values in (("read", read), ("query", query), ("logs", logs))
        for value in values
    ]


@pytest.fixture(
    params=[
        pytest.param(pair, id=name, marks=[] if name == "logs" else pytest.mark.prometheus)
        for name, pair in PAIRS.items()
    ]
)
def api_and_url(request: pytest.FixtureRequest) -> tuple[Api, str]:
    name, api = request.param
    server = request.getfixturevalue(name)
    return api, server if isinstance(server, str) else server.url


# --- damaged answers ---------------------------------------------------------------------------


def lose_one(streams: Streams) -> None:
    del streams[0][1][3]


def lose_a_stream(streams: Streams) -> None:
    streams.clear()


def lose_all_samples(streams: Streams) -> None:
    streams[0][1].clear()


def repeat_one(streams: Streams) -> None:
    samples = streams[0][1]
    samples.insert(4, samples[4])


def repeat_the_stream(streams: Streams) -> None:
    streams.append(streams[0])


def change_one(streams: Streams) -> None:
    """Change one bit of a float, one character of a line."""
    sample = streams[0][1][7]
    old = sample[1]
    if isinstance(old, float):
        sample[1] = math.nextafter(old, math.inf)
    elif len(old) == 100:
        sample[1] = old[:-1] + ("0" if old[-1] != "0" else "1")
    else:
        sample[1] = repr(math.nextafter(float(old), math.inf))


def empty_one(streams: Streams) -> None:
    sample = streams[0][1][7]
    is_line = isinstance(sample[1], str) and len(sample[1]) == 100
    sample[1] = "" if is_line else type(sample[1])(0)


def swap_two(streams: Streams) -> None:
    samples = streams[0][1]
    samples[5], samples[6] = samples[6], samples[5]


def swap_contents(streams: Streams) -> None:
    first, second = streams[0][1][5], streams[0][1][6]
    first[1], second[1] = second[1], first[1]


def move_one(streams: Streams) -> None:
    """Give a sample a time between two others, where nothing was written."""
    sample = streams[0][1][2]
    if isinstance(sample[0], str):
        sample[0] = str(int(sample[0]) + 5)
    else:
        sample[0] += 5 if isinstance(sample[0], int) and sample[0] > 10**12 else 0.005


def add_foreign_stream(streams: Streams) -> None:
    labels, samples = copy.deepcopy(streams[0])
    labels["looker_uniquename"] = "somebody-else-0-1"
    streams.append((labels, samples[:3]))


def change_a_label(streams: Streams) -> None:
    streams[0][0]["looker_group"] += "0"


def lose_a_label(streams: Streams) -> None:
    del streams[0][0]["looker_group"]


DAMAGES: Final[dict[Callable[[Streams], None], dict[str, int]]] = {
    lose_one: {"missing": 1},
    lose_a_stream: {"missing": PER_STREAM},
    lose_all_samples: {"missing": PER_STREAM},
    repeat_one: {"duplicate": 1},
    repeat_the_stream: {"duplicate": PER_STREAM},
    change_one: {"corrupt": 1},
    empty_one: {"corrupt": 1},
    swap_two: {"out_of_order": 1},
    swap_contents: {"corrupt": 2},
    move_one: {"missing": 1, "unexpected": 1},
    add_foreign_stream: {"unexpected": 3},
    change_a_label: {"wrong_labels": 1},
    lose_a_label: {"wrong_labels": 1},
}

OF_READS: Final = (
    *(lose_one, lose_a_stream, repeat_one, change_one, swap_two, move_one),
    *(add_foreign_stream, change_a_label),
)
OF_QUERIES: Final = (lose_one, repeat_one, change_one, swap_two, move_one, change_a_label)


@pytest.mark.parametrize(
    ("api_and_url", "damage"), cases(OF_READS, OF_QUERIES, DAMAGES), indirect=["api_and_url"]
)
def test_each_damage_is_found_counted_and_shown(
    tmp_path: Path, api_and_url: tuple[Api, str], damage: Callable[[Streams], None]
) -> None:
    api, url = api_and_url
    found = DAMAGES[damage]
    with Proxy(url, read=api.rewriting(damage)) as proxy:
        result = looker(
            tmp_path, api.arguments[0], proxy.url, *api.arguments[1:], *SMALL, *GRACELESS
        )
    assert result.code == 1, result.said
    report, read = result.report, result.read
    assert (report["verdict"], report["exit_code"]) == ("failed", 1)
    assert read["verdict"] == "failed"
    assert read["mismatches"] == {**ALL_WELL, **found}
    assert read["samples_expected"] == result.write["samples_acked"] == N_ALL
    inexact = found.get("missing", 0) + found.get("corrupt", 0)
    assert read["samples_validated"] == N_ALL - inexact
    assert read["error"] is None
    assert proxy.n_reads == read["queries"] == N_STREAMS
    examples = read["examples"]
    assert len(examples) == min(10, sum(found.values()))
    assert {example["kind"] for example in examples} == set(found)
    if damage is not add_foreign_stream:
        assert {example["stream"] for example in examples} == {f"{report['invocation_id']}-0-1"}
    for kind, number in found.items():
        assert f"{number} {kind}" in result.stdout
        assert f"  {kind}: " in result.stdout
    assert f"failed: {sum(found.values())} mismatch(es)" in result.stdout
    assert "Traceback" not in result.stderr


WEAKER: Final[dict[Callable[[Streams], None], tuple[dict[str, int], dict[str, int]]]] = {
    lose_one: ({"missing": 1}, {"missing": 1}),
    repeat_one: ({"duplicate": 1}, {"duplicate": 1}),
    change_one: ({"corrupt": N_SAMPLES}, {}),
    swap_two: ({"out_of_order": 1}, {"out_of_order": 1}),
    change_a_label: ({"wrong_labels": 1}, {"wrong_labels": 1}),
}
"""What is found by checksum, and by count."""


@pytest.mark.parametrize("mode", ["checksum", "count"])
@pytest.mark.parametrize("damage", WEAKER, ids=lambda damage: damage.__name__)
def test_weaker_modes_find_what_they_look_at(
    tmp_path: Path,
    api_and_url: tuple[Api, str],
    damage: Callable[[Streams], None],
    mode: str,
) -> None:
    api, url = api_and_url
    found = WEAKER[damage][mode == "count"]
    with Proxy(url, read=api.rewriting(damage)) as proxy:
        result = looker(
            tmp_path,
            *(api.arguments[0], proxy.url, *api.arguments[1:], *SMALL, *GRACELESS),
            *("--verify", mode),
        )
    read = result.read
    assert read["mismatches"] == {**ALL_WELL, **found}
    assert result.code == (1 if found else 0), result.said
    assert read["samples_expected"] == N_ALL
    if mode == "checksum":
        n_whole = N_STREAMS * N_FRAGMENTS - (damage in (lose_one, change_one))
        assert read["fragments_proved_by_checksum"] == n_whole
        assert read["samples_validated"] == n_whole * N_SAMPLES
    else:
        assert read["fragments_proved_by_checksum"] == 0
        assert read["samples_validated"] == N_ALL - found.get("missing", 0)
    assert read["verify"] == result.report["config"]["verify"] == mode
    if found:
        assert f"what was checked: {result.report['checked']}" in result.stdout
    else:
        assert "by number and time; their content was not checked" in result.stdout


def test_examples_name_place_and_content(tmp_path: Path, api_and_url: tuple[Api, str]) -> None:
    api, url = api_and_url
    with Proxy(url, read=api.rewriting(change_one)) as proxy:
        result = looker(
            tmp_path, api.arguments[0], proxy.url, *api.arguments[1:], *SMALL, *GRACELESS
        )
    (example,) = result.read["examples"]
    assert example["kind"] == "corrupt"
    # sample 7 of the stream
    assert (example["fragment"], example["position"]) == (1, 2)
    assert abs(example["timestamp_ns"] / 1e9 - time.time()) < 300
    assert example["expected"] != example["received"]
    assert example["expected"] in result.stdout
    assert example["received"] in result.stdout
    assert "fragment 1, sample 2" in result.stdout
    at = example["first_difference"]
    assert example["expected"][:at] == example["received"][:at]
    assert example["expected"][at] != example["received"][at]
    assert example["timestamp"].startswith(f"{time.gmtime().tm_year}-")
    assert example["labels"]["looker_uniquename"] == example["stream"]
    assert f'looker_uniquename="{example["stream"]}"' in result.stdout
    assert example["cycle"] == 0
    # the same in the parts and in the totals
    report = result.report
    assert report["cycles"][0]["workers"][0]["read"]["examples"] == [example]
    assert report["totals"]["read"]["examples"] == [example]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_curl_line_shows_what_is_on_the_server(
    tmp_path: Path, api_and_url: tuple[Api, str]
) -> None:
    api, url = api_and_url
    with Proxy(url, read=api.rewriting(lose_one)) as proxy:
        result = looker(
            tmp_path,
            *(api.arguments[0], proxy.url, *api.arguments[1:], *SMALL, *GRACELESS),
            *("--tenant", "a|b"),
        )
        (example,) = result.read["examples"]
    lines = result.stdout.splitlines()
    command = next(line.strip() for line in lines if line.startswith("    curl "))
    assert command == example["query"]["curl"]
    assert f"    url: {example['query']['url']}" in lines
    assert ("logcli query" in result.stdout) == (api is LOKI)
    # past the proxy, which loses it
    command = command.replace(proxy.url, url)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
    (stream,) = json.loads(ran.stdout)["data"]["result"]
    contents = [content for _, content in stream["values"]]
    if api is not LOKI:
        contents = [f"({float(content)!r})" for content in contents]
    assert sum(content in example["expected"] for content in contents) == 1


@pytest.mark.parametrize(
    ("damage", "verdict", "code"),
    [(lose_one, "unknown", 3), (repeat_one, "failed", 1), (None, "passed", 0)],
)
def test_old_entries_that_are_missing_prove_nothing(
    tmp_path: Path, target: str, damage: Callable[[Streams], None] | None, verdict: str, code: int
) -> None:
    with Proxy(target, read=LOKI.rewriting(damage or (lambda _: None))) as proxy:
        result = looker(
            tmp_path,
            *("logs", proxy.url, *LOKI.arguments[1:], *SMALL, *GRACELESS),
            *("--log-start-time", "2001-01-01T00:00:00Z", "--force"),
        )
    assert (result.code, result.report["verdict"]) == (code, verdict), result.said
    assert result.read["verdict"] == verdict
    said = " ".join(result.stdout.split())
    if damage is lose_one:
        assert result.read["mismatches"] == {**ALL_WELL, "missing": 1}
        assert f"unknown: 1 missing: {result.read['missing_because']}" in said
        assert "Loki does not return entries older than some 2.6 h" in said
    else:
        assert result.read["missing_because"] is None


def test_no_more_examples_are_shown_than_asked_for(tmp_path: Path, target: str) -> None:
    for wanted in (0, 3, 50):
        with Proxy(target, read=LOKI.rewriting(lose_a_stream)) as proxy:
            result = looker(
                tmp_path,
                *("logs", proxy.url, *SMALL, *GRACELESS, "--n-entries-per-stream-fragment", "30"),
                *("--max-examples", str(wanted)),
            )
        assert result.code == 1, result.said
        assert result.read["mismatches"]["missing"] == 60
        assert len(result.read["examples"]) == wanted
        assert result.stdout.count("  missing: ") == wanted
        assert ("the first of them" in result.stdout) == (wanted > 0)


def test_an_example_names_the_cycle_that_found_it(tmp_path: Path, target: str) -> None:
    with Proxy(target, read=LOKI.rewriting(lose_one)) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, *GRACELESS, "--n-cycles", "2")
    assert [
        [example["cycle"] for example in cycle["read"]["examples"]]
        for cycle in result.report["cycles"]
    ] == [[0], [1]]


@pytest.mark.parametrize(
    ("api_and_url", "damage"),
    cases([lose_one, lose_a_stream], [lose_one], [lose_a_stream]),
    indirect=["api_and_url"],
)
def test_what_comes_within_the_grace_period_is_not_missing(
    tmp_path: Path, api_and_url: tuple[Api, str], damage: Callable[[Streams], None]
) -> None:
    api, url = api_and_url
    with Proxy(url, read=api.rewriting(damage, times=2)) as proxy:
        result = looker(
            tmp_path,
            api.arguments[0],
            proxy.url,
            *(*api.arguments[1:], *SMALL, "--read-grace-seconds", "60"),
        )
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.read["mismatches"] == ALL_WELL
    assert result.read["samples_validated"] == N_ALL
    # twice in vain, and once more when all had come
    assert result.read["queries"] == N_STREAMS + 3
    # one sample that is lost is not the newest of its stream
    awaited = int(damage is lose_a_stream)
    assert result.read["streams_awaited"] == awaited
    assert result.read["streams_visible_at_first_ask"] == N_STREAMS - awaited
    assert Histogram.from_base64(result.read["first_ask_after_ms"]["histogram"]).n == N_STREAMS
    visible = Histogram.from_base64(result.read["visible_after_ms"]["histogram"])
    assert visible.n == awaited
    assert ("visible after" in result.stdout) == (awaited > 0)
    if awaited:
        # asked again after 0.25 and 0.5 s
        assert visible.min_us > 750_000
        assert result.read["visible_after_ms"]["p50"] > 750


def test_what_comes_after_the_grace_period_is_missing(tmp_path: Path, target: str) -> None:
    with Proxy(target, read=LOKI.rewriting(lose_one)) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, "--read-grace-seconds", "1")
    assert result.code == 1, result.said
    assert result.read["mismatches"] == {**ALL_WELL, "missing": 1}
    # asked after 0, 0.25, 0.75 and 1 s
    assert N_STREAMS + 2 <= result.read["queries"] <= N_STREAMS + 3


# --- answers that are none ---------------------------------------------------------------------

ANSWERS: Final[dict[str, Callable[[Answer], Answer]]] = {
    "html": lambda _answer: Answer(200, b"<html>Log in!</html>", {"Content-Type": "text/html"}),
    "truncated": lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]),
    "empty": lambda answer: replace(answer, body=b""),
    "refused": lambda _answer: Answer(422, b"too much\nasked"),
    "another": lambda answer: replace(answer, body=b'{"status":"success","data":[1]}'),
}


@pytest.mark.parametrize(
    ("api_and_url", "kind"),
    cases(["html", "truncated", "empty"], ["html", "truncated"], ANSWERS),
    indirect=["api_and_url"],
)
def test_an_answer_that_is_none_leaves_the_verdict_unknown(
    tmp_path: Path, api_and_url: tuple[Api, str], kind: str
) -> None:
    api, url = api_and_url

    async def script(_number: int, forward: Forward) -> Answer:
        return ANSWERS[kind](await forward())

    with Proxy(url, read=script) as proxy:
        result = looker(tmp_path, api.arguments[0], proxy.url, *api.arguments[1:], *SMALL)
    assert result.code == 3, result.said
    assert (result.report["verdict"], result.report["exit_code"]) == ("unknown", 3)
    assert result.write["samples_acked"] == N_ALL
    assert result.read["samples_validated"] == 0
    assert result.read["mismatches"] == ALL_WELL
    error = result.read["error"]
    assert error
    assert "\n" not in error
    assert kind != "refused" or "422: too much asked" in error
    assert f"reading ended early: {error}"[:80] in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("answer", [RESET, Answer(503, b"starting"), Answer(429, b"slow down")])
def test_a_query_that_fails_once_is_asked_again(
    tmp_path: Path, target: str, answer: Answer
) -> None:
    async def script(number: int, forward: Forward) -> Answer:
        return answer if number == 1 else await forward()

    with Proxy(target, read=script) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL)
    assert result.code == 0, result.said
    assert proxy.n_reads == N_STREAMS + 1
    assert result.read["samples_validated"] == N_ALL


# --- pushes ------------------------------------------------------------------------------------

N_PUSHES: Final = N_STREAMS * N_FRAGMENTS


@pytest.mark.parametrize(
    ("api_and_url", "answer"),
    cases([RESET], [Answer(503, b"busy")], [RESET, Answer(500), Answer(429, b"busy")]),
    indirect=["api_and_url"],
)
def test_a_push_that_was_not_stored_is_sent_again(
    tmp_path: Path, api_and_url: tuple[Api, str], answer: Answer
) -> None:
    api, url = api_and_url

    async def script(number: int, forward: Forward) -> Answer:
        return answer if number in (2, 4) else await forward()

    with Proxy(url, push=script) as proxy:
        result = looker(
            tmp_path,
            api.arguments[0],
            proxy.url,
            *(*api.arguments[1:], *SMALL, *GRACELESS, *SHORT_RETRIES),
        )
    assert result.code == 0, result.said
    write = result.write
    assert write["pushes_acked"] == N_PUSHES
    assert write["pushes_retried"] == 2
    assert proxy.n_pushes == N_PUSHES + 2
    said = "ReadError" if answer is RESET else str(answer.status)
    assert write["responses_by_status"] == {"204": N_PUSHES, said: 2}
    assert write["pushes_indeterminate"] == write["pushes_rejected"] == 0
    assert result.read["samples_validated"] == result.read["samples_expected"] == N_ALL
    assert result.read["retry_duplicates"] == 0


@pytest.mark.prometheus
@pytest.mark.parametrize("answer", [RESET, Answer(500), Answer(429, b"busy")])
def test_a_push_whose_answer_was_lost_is_indeterminate_and_exact(
    tmp_path: Path, prometheus: Prometheus, answer: Answer
) -> None:
    async def script(number: int, forward: Forward) -> Answer:
        stored = await forward()
        return answer if number == 2 else stored

    with Proxy(prometheus.url, push=script) as proxy:
        result = looker(tmp_path, "metrics", proxy.url, *SMALL, *GRACELESS, *SHORT_RETRIES)
    assert result.code == 0, result.said
    write, read = result.write, result.read
    # Prometheus says of the repeat that it is out of order
    assert (write["pushes_acked"], write["pushes_indeterminate"]) == (N_PUSHES - 1, 1)
    assert write["pushes_retried"] == 1
    assert write["samples_acked"] == N_ALL - N_SAMPLES
    said = "ReadError" if answer is RESET else str(answer.status)
    assert write["responses_by_status"] == {"204": N_PUSHES - 1, "400": 1, said: 1}
    assert read["samples_expected"] == read["samples_validated"] == N_ALL - N_SAMPLES
    assert read["samples_indeterminate_found"] == N_SAMPLES
    assert "pushes indeterminate" in result.stdout


def test_entries_that_are_stored_twice_are_the_same_entries(tmp_path: Path, target: str) -> None:
    async def script(number: int, forward: Forward) -> Answer:
        stored = await forward()
        return RESET if number == 2 else stored

    with Proxy(target, push=script) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, *GRACELESS, *SHORT_RETRIES)
    assert result.code == 0, result.said
    # Loki takes the same entries again, and keeps them once
    assert result.write["pushes_acked"] == N_PUSHES
    assert result.write["pushes_retried"] == 1
    assert result.read["samples_validated"] == N_ALL
    assert result.read["mismatches"] == ALL_WELL


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.prometheus
def test_a_push_without_an_answer_in_time_is_sent_again(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    async def script(number: int, forward: Forward) -> Answer:
        if number != 2:
            return await forward()
        if is_stored:
            await forward()
        return STALL

    monkeypatch.setattr(pool, "enter_worker", impatient_worker)
    with Proxy(prometheus.url, push=script) as proxy:
        report = run_engine(run_config(proxy.url))
    assert report.exit_code is ExitCode.PASSED
    assert report.verdict is Verdict.PASSED
    (cycle,) = report.cycles()
    assert cycle.write.pushes_retried == 1
    assert cycle.write.responses_by_status["ReadTimeout"] == 1
    assert cycle.write.pushes_indeterminate == int(is_stored)
    assert cycle.write.pushes_acked == N_PUSHES - int(is_stored)
    assert cycle.read is not None
    assert cycle.read.findings.n_optional_seen == N_SAMPLES * int(is_stored)
    assert cycle.read.findings.n_validated == N_ALL - N_SAMPLES * int(is_stored)


@pytest.mark.prometheus
def test_a_target_that_goes_silent_while_writing_ends_the_run(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def push(number: int, forward: Forward) -> Answer:
        return await forward() if number < 5 else RESET

    async def read(_number: int, _forward: Forward) -> Answer:
        return RESET

    monkeypatch.setattr(pool, "enter_worker", impatient_worker)
    with Proxy(prometheus.url, push=push, read=read) as proxy:
        retry = replace(run_config(None).retry, deadline_s=1.0)
        report = run_engine(run_config(proxy.url, retry=retry))
    assert report.exit_code is ExitCode.TARGET
    assert report.verdict is Verdict.UNKNOWN
    (cycle,) = report.cycles()
    assert cycle.write.pushes_acked == 5
    # a reset push may be stored: nobody knows
    assert 1 <= cycle.write.pushes_unresolved <= N_STREAMS
    assert cycle.write.pushes_rejected == 0
    assert cycle.write.refusal is not None
    assert "given up after" in cycle.write.refusal
    assert cycle.read is not None
    assert cycle.read.error is not None
    assert "ReadError" in cycle.read.error
    assert report.to_json()["finished_at"] is not None


def test_a_rate_limit_is_waited_for_and_named(tmp_path: Path, api_and_url: tuple[Api, str]) -> None:
    api, url = api_and_url
    limit = Answer(429, b"ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)")
    began: list[float] = []

    async def script(_number: int, forward: Forward) -> Answer:
        began.append(time.monotonic())
        return limit if began[-1] < began[0] + 1.5 else await forward()

    with Proxy(url, push=script) as proxy:
        result = looker(
            tmp_path,
            api.arguments[0],
            proxy.url,
            *(*api.arguments[1:], *SMALL, *GRACELESS, *SHORT_RETRIES),
        )
    assert result.code == 0, result.said
    write = result.write
    assert write["limited_by"] == "rate_limit"
    assert write["rate_limited_s"] > 1.0
    # nothing was stored by what was limited, so nothing is indeterminate
    assert write["pushes_acked"] == N_PUSHES
    assert write["responses_by_status"]["429"] == write["pushes_retried"] >= N_STREAMS
    assert "rate_limit" in result.stdout


def test_retry_after_is_honoured(tmp_path: Path, target: str) -> None:
    limit = Answer(429, b"ingestion rate limit exceeded", {"Retry-After": "2"})

    async def script(number: int, forward: Forward) -> Answer:
        return limit if number == 0 else await forward()

    with Proxy(target, push=script) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, *SHORT_RETRIES)
    assert result.code == 0, result.said
    assert result.write["rate_limited_s"] >= 1.99
    assert result.write["duration_s"] >= 1.99
    assert result.write["responses_by_status"] == {"204": N_PUSHES, "429": 1}


@pytest.mark.parametrize(("status", "n_workers"), [(401, "1"), (403, "1"), (404, "2"), (413, "2")])
def test_a_refusal_for_good_ends_the_run_soon(
    tmp_path: Path, target: str, status: int, n_workers: str
) -> None:
    _check_refusal(tmp_path, LOKI, target, status, n_workers)


@pytest.mark.prometheus
@pytest.mark.parametrize(("api", "status"), [(REMOTE_READ, 403), (QUERY, 413)])
def test_a_refusal_of_metrics_ends_the_run_soon(
    tmp_path: Path, prometheus: Prometheus, api: Api, status: int
) -> None:
    _check_refusal(tmp_path, api, prometheus.url, status, "2")


def _check_refusal(tmp_path: Path, api: Api, url: str, status: int, n_workers: str) -> None:
    async def script(number: int, forward: Forward) -> Answer:
        return await forward() if number < 20 else Answer(status, b"no more\nof that")

    with Proxy(url, push=script) as proxy:
        result = looker(
            tmp_path,
            *(api.arguments[0], proxy.url, *api.arguments[1:]),
            *("--n-concurrent-streams", "4", "--n-workers", n_workers),
            *("--n-entries-per-stream-fragment", "5", "--stop-write-after-n-seconds", "60"),
            *("--n-cycles", "0"),
        )
    assert result.code == 3, result.said
    write, read = result.write, result.read
    assert write["duration_s"] < 5
    assert write["pushes_acked"] == 20
    # as many as were on the wire
    assert 1 <= write["pushes_rejected"] <= 4
    assert write["pushes_retried"] == write["pushes_indeterminate"] == 0
    assert write["refusal"].startswith(f"{status} no more of that")
    # what was acknowledged is proved all the same
    assert result.report["verdict"] == "passed"
    assert read["samples_expected"] == read["samples_validated"] == 20 * 5
    assert write["refusal"] in result.stdout
    assert write["refusal"] in result.stderr
    assert "Traceback" not in result.stderr


# --- wall time ---------------------------------------------------------------------------------


def test_a_run_that_only_wall_time_holds_back_says_so(
    tmp_path: Path, prometheus: Prometheus
) -> None:
    result = looker(
        tmp_path,
        *("metrics", prometheus.url, "--metrics-time-increment-ms", "10000"),
        *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5"),
        *("--stop-write-after-n-seconds", "3"),
    )
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.write["limited_by"] == "throttle"
    assert result.write["throttled_s"] > 1
    assert 3 <= result.write["duration_s"] < 6
    assert result.write["samples_acked"] >= 20 * 5
    assert "throttle" in result.stdout
