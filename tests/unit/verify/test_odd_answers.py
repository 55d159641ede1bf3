"""Answers that parsers take in silence: two results for one query, and names that come twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import liars
import referee
from looker.errors import DecodeError
from looker.model.config import VerifyMode
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.wire.named import Repeated, read_json
from looker.wire.proto import prometheus_pb2
from referee import MS

if TYPE_CHECKING:
    from looker.verify.proof import PageProof

LOGS, METRICS = referee.history(n_chars=60), referee.history(metrics=True)
N = 24
MODES = [VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT]
every_mode = pytest.mark.parametrize("mode", MODES)


def of_logs(body: bytes, mode: VerifyMode) -> PageProof:
    return LogAnswers(LOGS.content, mode=mode).compare(body, LOGS.page().expectation)


def of_query(body: bytes, mode: VerifyMode) -> PageProof:
    page = METRICS.page()
    return QueryAnswers(mode=mode).compare(body, page.expectation, page.start_ns // MS)


def of_read(body: bytes, mode: VerifyMode) -> PageProof:
    return RemoteReadAnswers(METRICS.content, mode=mode).compare(body, METRICS.page().expectation)


def streams(**_: Any) -> bytes:
    return referee.streams_response(LOGS.elements())


def matrix() -> bytes:
    return referee.matrix_response(METRICS.elements())


def response() -> bytes:
    return referee.read_response(METRICS.elements())


WAYS = {
    "logs": (of_logs, streams, liars.LOGS),
    "query": (of_query, matrix, liars.QUERY),
    "read": (of_read, response, liars.REMOTE_READ),
}


@every_mode
@pytest.mark.parametrize("second", ["empty", "same"])
def test_two_results_are_refused_in_every_mode(mode: VerifyMode, second: str) -> None:
    """Field case 34: ``checksum`` and ``count`` took a second, empty result, or counted twice."""
    message = prometheus_pb2.ReadResponse.FromString(response())
    if second == "empty":
        message.results.add()
    else:
        message.results.append(message.results[0])
    with pytest.raises(DecodeError, match="2 results"):
        of_read(message.SerializeToString(), mode)


@every_mode
@pytest.mark.parametrize("way", WAYS)
def test_a_label_that_is_named_twice_is_wrong(way: str, mode: VerifyMode) -> None:
    """Field case 41: first with a wrong value, then with the right one."""
    compare, make, codec = WAYS[way]
    body = liars.lie(codec, make(), [liars.label_twice])
    findings = compare(body, mode).findings
    assert {kind: n for kind, n in findings.counts.items() if n} == {"wrong_labels": 1}
    (one,) = findings.examples
    assert one.received is not None
    assert '="wrong"' in one.received


@every_mode
@pytest.mark.parametrize("way", WAYS)
def test_a_label_that_is_named_twice_by_all_is_wrong_for_all(way: str, mode: VerifyMode) -> None:
    """Where the form of an answer is learnt from its first element, all may have it."""

    def all_twice(elements: list[liars.Element]) -> None:
        for element in elements:
            liars.label_twice([element])

    compare, make, codec = WAYS[way]
    findings = compare(liars.lie(codec, make(), [all_twice]), mode).findings
    assert {kind: n for kind, n in findings.counts.items() if n} == {"wrong_labels": 3}


@every_mode
@pytest.mark.parametrize("way", ["logs", "query"])
@pytest.mark.parametrize("name", ["status", "data", "result"])
def test_a_frame_that_names_something_twice_is_refused(
    way: str, mode: VerifyMode, name: str
) -> None:
    compare, make, _ = WAYS[way]
    body = make()
    key = f'"{name}":'.encode()
    forged = body.replace(key, key + b'"error",' + key, 1)
    assert compare(body, mode).findings.n_mismatches == 0
    with pytest.raises(DecodeError, match="twice"):
        compare(forged, mode)


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        (b'{"a":1,"a":1}', True),
        (b'{"a":1,"b":1}', False),
        (b'{"a":1, "b":1.50}', False),
        (b'{"a": 1.50, "a": 1.5}', True),
        (b'{"b":"2","b":"\\u0032"}', True),
    ],
)
def test_names_that_come_twice_are_noted(text: bytes, twice: bool) -> None:
    found = read_json(text)
    assert isinstance(found, Repeated) is twice
    (inner,) = read_json(b"[" + text + b"]")
    assert inner == found
    assert isinstance(inner, Repeated) is twice


@pytest.mark.parametrize("text", [b"", b"{", b"[NaN]", b"[" * 5000 + b"]" * 5000])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError, match="not JSON"):
        read_json(text)
