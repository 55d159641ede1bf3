"""What an answer says of itself, read from its frame, its status and its headers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from looker.wire.loki_answer import parse_streams
from looker.wire.prometheus_json import parse_matrix
from looker.wire.statements import Statement, of_frame, of_response

CASES: list[tuple[dict[str, Any], list[Statement]]] = [
    ({}, []),
    ({"isPartial": False, "warnings": [], "infos": None, "error": ""}, []),
    ({"isPartial": True}, [Statement("isPartial (VictoriaMetrics): true")]),
    ({"warnings": ["a", "b", "a"]}, [Statement("warning: a"), Statement("warning: b")]),
    ({"warnings": "one text"}, [Statement("warning: one text")]),
    ({"infos": ["a gauge"]}, [Statement("info: a gauge", explains=False)]),
    (
        {"error": "no replica", "errorType": "internal"},
        [Statement("error (internal): no replica")],
    ),
    ({"errorType": "timeout"}, [Statement("error: timeout")]),
    ({"partial_data": "true", "truncated": 0}, [Statement("partial_data: true")]),
    ({"status": "error"}, [Statement("status: error")]),
    ({"warnings": ["a\x1b[31m\nb"]}, [Statement("warning: a\N{REPLACEMENT CHARACTER}[31m b")]),
]


@pytest.mark.parametrize(
    ("says", "expected", "inside"),
    [(*case, inside) for case in CASES for inside in (False, "status" not in case[0])],
)
def test_a_frame_is_read(says: dict[str, Any], expected: list[Statement], inside: bool) -> None:
    data = {"resultType": "streams", "result": [], **(says if inside else {})}
    frame = {"status": "success", **({} if inside else says), "data": data}
    assert list(of_frame(frame)) == expected


def test_both_parsers_read_it() -> None:
    frame = {"status": "success", "warnings": ["half"], "data": {"resultType": "", "result": []}}
    frame["data"] = {"resultType": "streams", "result": []}
    assert parse_streams(json.dumps(frame).encode())[1] == (Statement("warning: half"),)
    for value in ("1", "NaN"):
        series = [{"metric": {"a": "b"}, "values": [[1, value]]}]
        frame["data"] = {"resultType": "matrix", "result": series}
        body = json.dumps(frame, separators=(",", ":")).encode()
        assert parse_matrix(body).said == (Statement("warning: half"),)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {"Content-Type": "application/json", "X-RateLimit-Limit": "5"}, []),
        (206, {}, ["status 206 Partial Content"]),
        (203, {}, ["status 203 Non-Authoritative Information"]),
        (200, {"Warning": '110 - "Response is Stale"'},
         ['header Warning: 110 - "Response is Stale"']),
        (200, {"M3-Results-Limited": "max_fetch_series_limit_applied", "X-Partial": "false"},
         ["header M3-Results-Limited: max_fetch_series_limit_applied"]),
    ],
)  # fmt: skip
def test_status_and_headers_are_read(
    status: int, headers: dict[str, str], expected: list[str]
) -> None:
    assert [one.text for one in of_response(status, headers)] == expected
