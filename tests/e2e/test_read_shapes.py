"""What was written, asked for as people ask: widely, with limits, the newest first.

Field case 9 (loki#19133, #10658, #18376): a frontend leaves a hole in full pages of wide or
limited queries; here a proxy does.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import liars
from looker.errors import ExitCode, UsageError
from looker.model.config import Mode, ReadApi, ReadShape, VerifyMode, check
from looker.model.verdict import Verdict
from looker.target.config import config_of
from looker.target.server import serving
from looker.wire.snappy import decompress
from servers import Answer, Proxy, run_config, run_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.engine.run_report import RunReport
    from servers import Forward

# eight groups of 16 streams, 40 samples each
N_STREAMS, PER_STREAM, PER_GROUP = 128, 40, 640
N_ALL = N_STREAMS * PER_STREAM
WAYS = {
    "logs": (Mode.LOGS, ReadApi.AUTO, liars.LOGS),
    "query": (Mode.METRICS, ReadApi.QUERY, liars.QUERY),
    "read": (Mode.METRICS, ReadApi.REMOTE_READ, liars.REMOTE_READ),
}
OF_LOGS = [ReadShape.WIDE, ReadShape.LIMITED, ReadShape.BACKWARD, ReadShape.MIXED]


@dataclass
class Seen:
    """What came of queries: the number of entries and of streams in each answer."""

    answers: list[tuple[int, int]] = field(default_factory=list)


def run(
    way: str,
    shape: ReadShape,
    lie: Callable[[int, list[liars.Element]], bool] = lambda *_: False,
    says: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[RunReport, Seen]:
    """Run through a proxy that lets ``lie`` alter the elements of answers, by their number."""
    mode, read_api, codec = WAYS[way]
    seen = Seen()

    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        body = decompress(answer.body, 1 << 30) if way == "read" else answer.body
        if way == "query" and b'"resultType":"matrix"' not in body:
            return answer
        elements = codec.decode(body)
        seen.answers.append((sum(len(one.rows) for one in elements), len(elements)))
        if not lie(len(seen.answers) - 1, elements):
            return answer
        if way == "read":
            altered = liars.packed_lie(answer.body, [lambda found: found.__setitem__(
                slice(None), elements)])  # fmt: skip
        else:
            altered = codec.encode(elements, body, says or {})
        return dataclasses.replace(answer, body=altered)

    settings: dict[str, Any] = {
        "mode": mode,
        "read_api": read_api,
        "read_shape": shape,
        "n_streams": N_STREAMS,
        "n_samples_per_fragment": PER_STREAM,
        "stop_after_n_fragments": 1,
        "max_concurrent_reads": 1,
        **changes,
    }
    with serving(config_of({})) as server, Proxy(server.url, read=read) as proxy:
        report = run_engine(run_config(proxy.url, **settings))
    return report, seen


def found(report: RunReport) -> dict[str, int]:
    read = report.totals().read
    assert read is not None
    assert read.findings.n_validated == read.findings.n_expected == N_ALL
    return {kind.value: n for kind, n in read.findings.counts.items() if n}


def shaped(report: RunReport) -> int:
    read = report.totals().read
    assert read is not None
    return read.queries_shaped


@pytest.mark.parametrize("shape", OF_LOGS)
def test_a_faithful_target_passes_in_every_shape_of_logs(shape: ReadShape) -> None:
    report, seen = run("logs", shape)
    assert found(report) == {}
    assert report.verdict is Verdict.PASSED
    assert shaped(report) > 0 or shape is ReadShape.MIXED
    # eight exact pages, and what is asked in the shape
    assert len(seen.answers) == 8 + shaped(report)
    in_shape = seen.answers[8:]
    if shape is ReadShape.WIDE:
        # full pages over all streams, the last of them not full
        assert [n for n, _ in in_shape[:-1]] == [5000]
        assert in_shape[0][1] > 100
    elif shape is ReadShape.LIMITED:
        assert sorted(set(in_shape)) == sorted({(PER_GROUP, 16), (100, in_shape[1][1])})
    elif shape is ReadShape.BACKWARD:
        assert in_shape == [(PER_GROUP, 16)] * 8


@pytest.mark.parametrize("way", ["query", "read"])
@pytest.mark.parametrize("shape", [ReadShape.WIDE, ReadShape.MIXED])
def test_a_faithful_target_passes_in_every_shape_of_metrics(way: str, shape: ReadShape) -> None:
    report, seen = run(way, shape)
    assert found(report) == {}
    assert report.verdict is Verdict.PASSED
    if shape is ReadShape.WIDE:
        assert seen.answers[8:] == [(N_ALL, N_STREAMS)]


@pytest.mark.parametrize("verify", [VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT])
@pytest.mark.parametrize(
    ("way", "shape", "n_inconsistent"),
    [
        # with less than its limit an answer claims to be whole
        ("logs", ReadShape.WIDE, 3 + N_ALL - 5000),
        ("logs", ReadShape.LIMITED, 3),
        ("logs", ReadShape.BACKWARD, 3),
        ("query", ReadShape.WIDE, 3),
        ("read", ReadShape.WIDE, 3),
    ],
)
def test_a_hole_in_a_shaped_answer_is_found(
    way: str, shape: ReadShape, n_inconsistent: int, verify: VerifyMode
) -> None:
    """Field case 9."""

    def hole(number: int, elements: list[liars.Element]) -> bool:
        if number != 8:
            return False
        # in the middle of the answer, of the stream that has most of it
        rows = max(elements, key=lambda one: len(one.rows)).rows
        del rows[len(rows) // 2 : len(rows) // 2 + 3]
        return True

    report, _ = run(way, shape, hole, verify=verify)
    assert found(report) == {"inconsistent": n_inconsistent}
    assert report.verdict is Verdict.FAILED
    assert report.exit_code is ExitCode.MISMATCH
    read = report.totals().read
    assert read is not None
    one = read.findings.examples[0]
    assert one.answers is not None
    assert one.answers.startswith("exact pages had it; not in the answer to {looker_group=")


def test_a_hole_in_a_full_answer_is_found() -> None:
    """Field case 9: the answer is as long as its limit, and lacks some in the middle."""
    known: dict[tuple[int, str], liars.Element] = {}

    def hole(number: int, elements: list[liars.Element]) -> bool:
        found = {
            (row[0], dict(element.labels)[liars.UNIQUENAME]): liars.Element(element.labels, [row])
            for element in elements
            for row in element.rows
        }
        if number < 8:
            known.update(found)
        if number != 8:
            return False
        del elements[3].rows[2:5]
        # the three that come next take their place
        elements += [known[key] for key in sorted(known.keys() - found)[:3]]
        return True

    report, seen = run("logs", ReadShape.WIDE, hole)
    assert seen.answers[8][0] == 5000
    assert found(report) == {"inconsistent": 3}


@pytest.mark.parametrize("shape", [ReadShape.WIDE, ReadShape.BACKWARD])
def test_another_content_in_a_shaped_answer_is_found(shape: ReadShape) -> None:
    def alter(number: int, elements: list[liars.Element]) -> bool:
        if number == 8:
            liars.corrupt(elements)
            liars.wrong_label(elements)
        return number == 8

    report, _ = run("logs", shape, alter)
    assert found(report) == {"inconsistent": 2}
    read = report.totals().read
    assert read is not None
    assert {one.seen_as for one in read.findings.examples} == {"corrupt", "wrong_labels"}


def test_what_exact_pages_have_shown_is_not_counted_again() -> None:
    def alter(_number: int, elements: list[liars.Element]) -> bool:
        for element in elements:
            if any(value.endswith("-000") for _, value in element.labels):
                first = min(element.rows)
                first[1] = first[1][:-1] + "~"
                return True
        return False

    report, _ = run("logs", ReadShape.BACKWARD, alter)
    read = report.totals().read
    assert read is not None
    assert {kind.value: n for kind, n in read.findings.counts.items() if n} == {"corrupt": 1}


def test_a_hole_that_the_answer_explains_leaves_it_unknown() -> None:
    def hole(number: int, elements: list[liars.Element]) -> bool:
        if number == 8:
            elements[0].rows.pop(3)
        return number == 8

    report, _ = run("logs", ReadShape.BACKWARD, hole, {"warnings": ["one part failed"]})
    read = report.totals().read
    assert read is not None
    assert read.findings.n_missing_explained == 1
    assert report.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("shape", [ReadShape.LIMITED, ReadShape.BACKWARD])
def test_shapes_that_metrics_do_not_have_are_refused(shape: ReadShape) -> None:
    config = run_config("http://127.0.0.1:1", mode=Mode.METRICS, read_shape=shape)
    with pytest.raises(UsageError, match=f"--read-shape: {shape.value} is for logs"):
        check(config)


def test_the_report_tells_the_shape() -> None:
    report, _ = run("query", ReadShape.WIDE)
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["config"]["read_shape"] == "wide"
    assert plain["totals"]["read"]["queries_shaped"] == 1
