"""Answers that are compared without being parsed, and damage to each kind of byte in them.

The full parse is the referee: what is predicted must be judged as it judges it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import referee
from looker.errors import DecodeError
from looker.verify import judging, log_prediction, metric_answer, read_prediction
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.wire import prometheus_json
from referee import MAYBE, MS, NS, REJECTED, History, Written, summary, sums_by_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.verify.proof import PageProof


def staggered(**changed: Any) -> History:
    """Return streams with a leap, a gap in the numbers, and starts of their own."""
    metrics = changed.get("metrics", False)
    step = 250 * MS if metrics else 1000
    content = referee.make_content(step_ns=step, n_samples=4, **changed)
    written = [
        Written(
            stream, fragment, NS + stream * 3 * step + (4 * fragment + 2 * (fragment > 1)) * step
        )
        for stream in range(3)
        for fragment in (0, 1, 2, 4)
    ]
    # the first stream goes on without the leap
    written[2] = replace(written[2], start_ns=NS + 8 * step)
    return History(content, tuple(written))


def histories(*, metrics: bool) -> dict[str, History]:
    regular = referee.history(metrics=metrics)
    return {
        "regular": regular,
        "one fragment each": referee.history(metrics=metrics, n_fragments=1),
        "one entry each": referee.history(metrics=metrics, n_fragments=1, n_samples=1),
        "unequal": regular.changed(3, state=MAYBE),
        "a fragment between is missing": referee.history(metrics=metrics, n_fragments=3)
        .changed(1, state=REJECTED)
        .changed(4, state=REJECTED)
        .changed(7, state=REJECTED),
        "starts of their own": staggered(metrics=metrics),
        "starts of their own, unequal": staggered(metrics=metrics).changed(5, state=REJECTED),
    }


LOGS, METRICS = histories(metrics=False), histories(metrics=True)
BLOCKS = [1, 700, 2000, 1 << 20]
LEVELS = ["unknown", "unknown", "unknown", "info", "warning", "", None]


def loki_answer(history: History, levels: Sequence[str | None], page: Any = None) -> bytes:
    """Return an answer whose rows have the levels in turn; "" is metadata without one."""
    begin, end = (0, 2**63) if page is None else (page.start_ns, page.end_ns)
    result, number = [], 0
    for own, samples in history.elements():
        rows: list[list[Any]] = []
        for time_ns, text in samples:
            if not begin <= time_ns < end:
                continue
            level = levels[number % len(levels)]
            number += 1
            row: list[Any] = [str(time_ns), text]
            if level is not None:
                row.append({"structuredMetadata": {"detected_level": level}} if level else {})
            rows.append(row)
        if rows:
            result.append({"stream": {**own, "service_name": "x"}, "values": rows})
    data = {"resultType": "streams", "result": result, "stats": {"n": [1, 2]}}
    return json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode()


def same(fast: PageProof, full: PageProof) -> None:
    """Compare two proofs, one perhaps without the pieces that need not be there."""
    assert summary(fast.findings) == summary(full.findings)
    assert fast.n_received == full.n_received
    by_row = [
        {
            row: (seen, exact)
            for row, seen, exact in zip(
                proof.expectation.rows.tolist(),
                proof.seen.tolist(),
                proof.exact.tolist(),
                strict=True,
            )
            if seen
        }
        for proof in (fast, full)
    ]
    assert by_row[0] == by_row[1]
    sums = [
        {at: value for at, value in sums_by_row(proof).items() if value} for proof in (fast, full)
    ]
    assert sums[0] == sums[1]


@pytest.mark.parametrize("name", LOGS)
@given(
    levels=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=50), block=st.sampled_from(BLOCKS)
)
@settings(max_examples=40)
def test_levels_that_vary_by_row_are_not_parsed(
    name: str, levels: list[str | None], block: int
) -> None:
    history = LOGS[name]
    body = loki_answer(history, levels)
    expectation = history.page().expectation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_prediction, "BLOCK_BYTES", block)
        answers = LogAnswers(history.content)
        fast = answers._predicted(body, expectation.required_only())
        again = answers._predicted(body, expectation.required_only())
    full = answers._aligned(body, expectation)
    assert fast is not None
    assert again is not None
    same(fast, full)
    same(again, full)
    used = levels[: expectation.required_only().n_samples]
    expected = {"service_name"} | ({"detected_level"} if any(used) else set())
    assert fast.findings.added_labels == again.findings.added_labels == expected


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("max_samples", [1, 3, 5, 7])
@pytest.mark.parametrize("name", LOGS)
def test_parts_of_fragments_are_not_parsed(name: str, max_samples: int, block: int) -> None:
    history = LOGS[name]
    answers = LogAnswers(history.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_prediction, "BLOCK_BYTES", block)
        for page in history.pages(max_samples):
            body = loki_answer(history, ["unknown", "info", "unknown"], page)
            required = page.expectation.required_only()
            if not required.n_samples:
                continue
            fast = answers._predicted(body, required)
            assert fast is not None
            same(fast, answers._aligned(body, page.expectation))


def test_the_usual_level_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    history = LOGS["regular"]
    answers = LogAnswers(history.content)
    expectation = history.page().expectation
    assert answers._predicted(loki_answer(history, ["info"] + ["error"] * 23), expectation)
    assert answers._form is not None
    assert answers._form.row.extra == b',{"structuredMetadata":{"detected_level":"error"}}'

    def refuse(*_: object) -> None:
        raise AssertionError("the rows are not as predicted")

    monkeypatch.setattr(log_prediction._Walk, "_walk", refuse)
    proof = answers._predicted(loki_answer(history, ["error"]), expectation)
    assert proof is not None
    assert proof.findings.added_labels == {"service_name", "detected_level"}


def test_many_different_additions_are_parsed() -> None:
    history = referee.history(n_samples=100)
    levels = [f"level {number}" for number in range(600)]
    body = loki_answer(history, levels)
    expectation = history.page().expectation
    answers = LogAnswers(history.content)
    assert answers._predicted(body, expectation) is None
    assert summary(answers.compare(body, expectation).findings)["n_validated"] == 600


def judged(answers: LogAnswers | RemoteReadAnswers, body: bytes, expectation: Any) -> None:
    """Insist that a changed answer is judged as the full parse does, or refused by both."""
    try:
        full = answers._aligned(body, expectation)
    except DecodeError:
        with pytest.raises(DecodeError):
            answers.compare(body, expectation)
        return
    same(answers.compare(body, expectation), full)


PARTS = {
    "frame": (b'{"status"', 9),
    "head": (b'{"stream":', 30),
    "name in the head": (b"looker_uniquename", 30),
    "added label": (b"service_name", 16),
    "values": (b'"values":[[', 11),
    "timestamp": (b'["1795', 24),
    "line": (b":", 45),
    "metadata": (b',{"structured', 50),
    "level": (b"detected_level", 26),
    "end of a row": (b'}}],["', 8),
    "end of an element": (b']]},{"stream"', 13),
    "end of the result": (b']]}],"stats"', 13),
}


@pytest.mark.parametrize("part", PARTS)
@given(data=st.data())
@settings(max_examples=60)
def test_damage_to_each_part_of_a_log_answer_is_judged_as_by_parsing(
    part: str, data: st.DataObject
) -> None:
    history = LOGS[data.draw(st.sampled_from(["regular", "unequal", "starts of their own"]))]
    levels = data.draw(st.sampled_from([["unknown"], ["unknown", "info", "unknown", "warning"]]))
    body = loki_answer(history, levels)
    needle, size = PARTS[part]
    found = [at for at in range(len(body)) if body.startswith(needle, at)]
    if part == "line":
        found = [at - 19 for at in found if body[at - 19 : at].isdigit()]
    at = data.draw(st.sampled_from(found)) + data.draw(st.integers(0, size - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "insert", "replace"]))
    value = bytes([data.draw(st.integers(1, 255))])
    changed = {
        "flip": body[:at] + bytes([body[at] ^ value[0]]) + body[at + 1 :],
        "drop": body[:at] + body[at + 1 :],
        "insert": body[:at] + value + body[at:],
        "replace": body[:at]
        + data.draw(st.sampled_from([b"]", b'"', b",", b"[", b"}"]))
        + body[at + 1 :],
    }[kind]
    answers = LogAnswers(history.content)
    expectation = history.page().expectation
    if data.draw(st.booleans()):
        answers.compare(loki_answer(history, ["unknown"]), expectation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_prediction, "BLOCK_BYTES", data.draw(st.sampled_from(BLOCKS)))
        judged(answers, changed, expectation)


def test_any_flipped_byte_of_the_rows_is_seen() -> None:
    history = referee.history(n_streams=2, n_fragments=1)
    body = loki_answer(history, ["unknown", "info", "unknown"])
    expectation = history.page().expectation
    answers = LogAnswers(history.content)
    assert answers._predicted(body, expectation) is not None
    begin, end = body.index(b'{"stream"'), body.index(b',"stats"')
    tolerated = 0
    for at in range(begin, end):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        proof = answers._predicted(changed, expectation)
        if proof is not None:
            # another level, or another value of a label that servers add
            tolerated += 1
            same(proof, answers._aligned(changed, expectation))
    assert 0 < tolerated < 8 * len("unknown") + 2 * len("service_name:x")


# -- remote read


def read_answer(history: History, page: Any = None) -> bytes:
    begin, end = (0, 2**63) if page is None else (page.start_ns, page.end_ns)
    elements = [
        (own, [one for one in samples if begin <= one[0] < end])
        for own, samples in history.elements()
    ]
    return referee.read_response([element for element in elements if element[1]])


@pytest.mark.parametrize("block", [1, 3, 5, 1 << 20])
@pytest.mark.parametrize("max_samples", [1, 3, 5, 7, 10**6])
@pytest.mark.parametrize("name", METRICS)
def test_samples_of_any_layout_in_time_are_not_parsed(
    name: str, max_samples: int, block: int
) -> None:
    history = METRICS[name]
    answers = RemoteReadAnswers(history.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_prediction, "_SAMPLES_PER_BLOCK", block)
        for page in history.pages(max_samples):
            body = read_answer(history, page)
            required = page.expectation.required_only()
            if not required.n_samples:
                continue
            fast = answers._predicted(body, required)
            assert fast is not None
            same(fast, answers._aligned(body, page.expectation))


@pytest.mark.parametrize("name", ["one fragment each", "unequal", "starts of their own"])
def test_any_flipped_bit_of_a_remote_read_answer_is_seen(name: str) -> None:
    history = METRICS[name]
    body = read_answer(history)
    required = history.page().expectation.required_only()
    answers = RemoteReadAnswers(history.content)
    assert answers._predicted(body, required) is not None
    for at in range(len(body)):
        for bit in range(8):
            changed = body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]
            assert answers._predicted(changed, required) is None, (at, bit)


@given(data=st.data())
@settings(max_examples=200)
def test_damage_to_a_remote_read_answer_is_judged_as_by_parsing(data: st.DataObject) -> None:
    history = METRICS[data.draw(st.sampled_from(list(METRICS)))]
    body = read_answer(history)
    at = data.draw(st.integers(0, len(body) - 1))
    value = bytes([data.draw(st.integers(1, 255))])
    changed = data.draw(
        st.sampled_from(
            [
                body[:at] + bytes([body[at] ^ value[0]]) + body[at + 1 :],
                body[:at] + body[at + 1 :],
                body[:at] + value + body[at:],
                body[:at],
            ]
        )
    )
    judged(RemoteReadAnswers(history.content), changed, history.page().expectation)


# -- the query API


def parsed(body: bytes) -> Any:
    """Return what the parser makes of an answer, without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prometheus_json, "_parse_numbers", lambda *_: None)
        try:
            return prometheus_json.parse_matrix(body)
        except DecodeError:
            return None


def same_matrix(found: Any, full: Any) -> None:
    assert found.metrics == full.metrics
    assert found.counts.tolist() == full.counts.tolist()
    assert found.timestamps_ms.tolist() == full.timestamps_ms.tolist()
    assert found.bits.tolist() == full.bits.tolist()


def numbers_of(body: bytes) -> Any:
    parted = prometheus_json._without_samples(body)
    return None if parted is None else prometheus_json._parse_numbers(*parted)


@pytest.mark.parametrize("cortex", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_a_matrix_is_read_as_numbers(name: str, cortex: bool) -> None:
    body = referee.matrix_response(METRICS[name].elements(), cortex=cortex)
    found = numbers_of(body)
    assert found is not None
    same_matrix(found, parsed(body))


@pytest.mark.parametrize("name", METRICS)
def test_a_faithful_matrix_is_not_aligned(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = METRICS[name]
    page = history.page()
    body = referee.matrix_response(history.elements())
    answers = QueryAnswers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metric_answer, "sums_of_columns", lambda *_, **_kw: None)
        full = answers.compare(body, page.expectation, page.start_ns // MS)
    monkeypatch.delattr(judging, "align")
    same(answers.compare(body, page.expectation, page.start_ns // MS), full)


ODD_VALUES = [
    "-0",
    "0",
    "0.0",
    "NaN",
    "+Inf",
    "1_0",
    " 1",
    "0x1",
    "1e400",
    "",
    "1,2",
    '"',
    "\\u0031",
]
ODD_SAMPLES = ['[1,2"3"]', '[1"2",]', '5[1,"2"]', '[1,"2"5]', '[1,"2"]5', '[,"1"]', '[1,"2","3"]']
ODD_SAMPLES += ["[1]", "[]", "[1,2]", '["1","2"]', '[1,["2"]]', "null", '[1 ,"2"]', '[1, "2"]']


@pytest.mark.parametrize("odd", [f'[1,"{value}"]' for value in ODD_VALUES] + ODD_SAMPLES)
def test_odd_samples_of_a_matrix_are_judged_as_by_parsing(odd: str) -> None:
    for rows in (odd, f'{odd},[7,"1.5"]', f'[7,"1.5"],{odd}', f'[6,"2"],{odd},[7,"1.5"]'):
        body = (
            '{"status":"success","data":{"resultType":"matrix","result":['
            f'{{"metric":{{"a":"b"}},"values":[{rows}]}}]}}}}'
        ).encode()
        full = parsed(body)
        try:
            found = prometheus_json.parse_matrix(body)
        except DecodeError:
            assert full is None
            continue
        assert full is not None
        same_matrix(found, full)


@given(data=st.data())
@settings(max_examples=300)
def test_damage_to_a_matrix_is_judged_as_by_parsing(data: st.DataObject) -> None:
    body = referee.matrix_response(METRICS["one fragment each"].elements())
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(
            st.sampled_from([b"", b'"', b"]", b"[", b",", b"1", b"-", b"e", b".", b"}"])
        )
        n = data.draw(st.integers(0, 3))
        body = body[:at] + piece + body[at + n :]
    full = parsed(body)
    found = numbers_of(body)
    if full is None:
        with pytest.raises(DecodeError):
            prometheus_json.parse_matrix(body)
    elif found is not None:
        same_matrix(found, full)
