"""What Loki's limits let through: every one with a manual clock, looking at what was stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cramjam
import pytest

from looker.clock import ManualClock
from looker.target import levels
from looker.target.config import TargetConfig
from looker.target.limits import PRESETS, Limits
from looker.target.loki_size import entry_sizes, stream_size
from looker.target.loki_streams import with_service_name
from looker.target.server import Target
from looker.wire.decode import decode_push_request
from looker.wire.proto import loki_pb2

if TYPE_CHECKING:
    from looker.target.answers import Answer

NS = 1_795_475_977_000_000_000
S = 10**9
PROTO = {"content-type": "application/x-protobuf"}
CATEGORIZE = {"x-loki-response-encoding-flags": "categorize-labels"}
Streams = list[tuple[str, list[tuple[int, str]]]]
A, B = '{s="a"}', '{s="b"}'


def target_of(like: Any = "looker", clock: ManualClock | None = None, **limits: Any) -> Target:
    config = TargetConfig(like=like, limits=replace(PRESETS[like], **limits))
    return Target(config, clock=clock or ManualClock(NS))


def message_of(streams: Streams) -> loki_pb2.PushRequest:
    message = loki_pb2.PushRequest()
    for labels, entries in streams:
        stream = message.streams.add(labels=labels)
        for ns, line in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, S)
    return message


def push(target: Target, streams: Streams, **headers: str) -> Answer:
    body = bytes(cramjam.snappy.compress_raw(message_of(streams).SerializeToString()))
    return target.answer("POST", "/loki/api/v1/push", PROTO | headers, body)


def query(target: Target, headers: dict[str, str] | None = None, **params: Any) -> Answer:
    given = {"query": '{s=~".+"}', "start": NS - 600 * 3600 * S, "end": NS + 3600 * S}
    given |= {"limit": 5000, "direction": "forward"} | params
    return target.answer("GET", f"/loki/api/v1/query_range?{urlencode(given)}", headers or {}, b"")


def stored(target: Target, **params: Any) -> list[tuple[dict[str, str], list[int]]]:
    answer = query(target, CATEGORIZE, **params)
    assert answer.status == 200, answer.body
    result = json.loads(answer.body)["data"]["result"]
    return [(e["stream"], [int(row[0]) - NS for row in e["values"]]) for e in result]


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body.decode()


def test_ingestion_rate_drops_the_whole_request_and_refills_with_time() -> None:
    clock = ManualClock(NS)
    target = target_of(clock=clock, ingestion_rate_mb=1.0, ingestion_burst_size_mb=2.0)
    mebibyte = [(NS, "x" * (1 << 20))]
    assert push(target, [(A, mebibyte)]).status == 204
    assert push(target, [(A, [(NS + 1, "y" * (1 << 20))])]).status == 204
    answer = push(target, [(A, [(NS + 2, "z")]), (B, [(NS + 3, "zz")])])
    assert said(answer) == (
        429,
        (
            "ingestion rate limit exceeded for user fake (limit: 1048576 bytes/sec) while "
            "attempting to ingest '2' lines totaling '3' bytes, reduce log volume or contact your "
            "Loki administrator to see if the limit can be increased\n"
        ),
    )
    assert stored(target) == [({"s": "a"}, [0, 1])]
    clock.advance(S)
    assert push(target, [(A, [(NS + 4, "w" * (1 << 20))])]).status == 204
    assert push(target, [(A, [(NS + 5, "w")])]).status == 429
    clock.advance(10**6 * S)  # never more than the burst is saved up
    assert push(target, [(A, [(NS + 6, "v" * (2 << 20))])]).status == 204
    assert push(target, [(A, [(NS + 7, "v")])]).status == 429
    # another tenant has a bucket of its own
    assert push(target, [(A, mebibyte)], **{"x-scope-orgid": "t"}).status == 204


def test_a_push_above_the_burst_never_passes() -> None:
    clock = ManualClock(NS)
    target = target_of("loki-default", clock)
    lines = [(NS + i, "x" * 100_000) for i in range(70)]
    for _ in range(3):
        clock.advance(3600 * S)
        assert push(target, [(A, [(clock.wall, line) for _, line in lines])]).status == 429
    assert stored(target) == []


def test_per_stream_rate_keeps_the_entries_that_fit() -> None:
    clock = ManualClock(NS)
    kb = 1 / 1024
    target = target_of(
        clock=clock, per_stream_rate_limit_mb=100 * kb, per_stream_rate_limit_burst_mb=100 * kb
    )
    entries = [(NS + i, "x" * 25_000) for i in range(10)]
    answer = push(target, [(A, entries), (B, [(NS, "y")])])
    status, text = said(answer)
    assert status == 429
    lines = text.splitlines()
    assert len(lines) == 7
    assert lines[0] == (
        "entry with timestamp 2026-11-23 23:19:37.000000004 +0000 UTC ignored, reason: 'Per stream "
        "rate limit exceeded (limit: 100KB/sec) while attempting to ingest for stream "
        "'{s=\"a\"}' totaling 25000B, consider splitting a stream via additional labels or "
        "contact your Loki administrator to see if the limit can be increased',"
    )
    assert lines[-1] == "user 'fake', total ignored: 6 out of 10 for stream: {s=\"a\"}"
    assert stored(target) == [({"s": "a"}, [0, 1, 2, 3]), ({"s": "b"}, [0])]
    clock.advance(S)
    assert push(target, [(A, [(NS + 20, "x" * 100_000)])]).status == 204


def test_per_stream_rate_refuses_a_stream_as_a_whole_where_streams_are_split() -> None:
    target = target_of("loki-default", per_stream_rate_limit_burst_mb=1.0)
    large = [(NS + i, "x" * 200_000) for i in range(6)]
    answer = push(target, [(A, large), (B, [(NS, "y")])])
    assert answer.status == 429
    assert b"total ignored: 6 out of 6" in answer.body
    assert b"(limit: 3MB/sec)" in answer.body
    assert [(labels["s"], at) for labels, at in stored(target)] == [("b", [0])]
    assert push(target, [(A, large[:5])]).status == 204  # the refused ones have cost nothing


def test_the_stream_limit_stores_the_streams_that_there_are() -> None:
    target = target_of("loki-default", max_streams=2)
    streams: Streams = [(f'{{s="{i}"}}', [(NS + i, "x")]) for i in range(4)]
    status, text = said(push(target, streams))
    assert status == 429
    assert text == (
        "maximum active stream limit exceeded when trying to create stream "
        '{s="3", service_name="unknown_service"}, reduce the number of active streams (reduce '
        "labels or reduce label values), or contact your Loki administrator to see if the limit "
        "can be increased, user: 'fake'\n"
    )
    assert [labels["s"] for labels, _ in stored(target)] == ["0", "1"]
    assert push(target, streams[:2]).status == 204
    assert push(target, streams[3:]).status == 429


@pytest.mark.parametrize(
    ("offset", "status"),
    [(-3600 * S, 204), (-3600 * S - 1, 400), (-3599 * S, 204), (-3601 * S, 400)],
)
def test_out_of_order_window(offset: int, status: int) -> None:
    target = target_of("loki-raised")
    push(target, [(A, [(NS, "newest")])])
    answer = push(target, [(A, [(NS + offset, "x"), (NS, "good")]), (B, [(NS + offset, "x")])])
    assert answer.status == status
    ours = {labels["s"]: at for labels, at in stored(target)}
    assert ours["b"] == [offset]  # another stream has its own window
    assert ours["a"] == ([offset, 0, 0] if status == 204 else [0, 0])


def test_the_window_moves_within_a_request_and_not_with_refused_entries() -> None:
    target = target_of("loki-raised", clock=ManualClock(NS))
    hour = 3600 * S
    entries = [(NS - 3 * hour, "1"), (NS, "2"), (NS - 2 * hour, "3"), (NS - hour, "4")]
    status, text = said(push(target, [(A, entries)]))
    assert (status, text) == (
        400,
        (
            "entry with timestamp 2026-11-23 21:19:37 +0000 UTC ignored, reason: 'entry too far "
            "behind, entry timestamp is: 2026-11-23T21:19:37Z, oldest acceptable timestamp is: "
            "2026-11-23T22:19:37Z',\nuser 'fake', total ignored: 1 out of 4 for stream: "
            '{s="a"}\n'
        ),
    )
    assert stored(target) == [({"s": "a"}, [-3 * hour, -hour, 0])]


def test_ten_refused_entries_are_listed_at_most() -> None:
    target = target_of("loki-raised")
    push(target, [(A, [(NS, "newest")])])
    answer = push(target, [(A, [(NS - 5000 * S + i, "x") for i in range(30)])])
    assert answer.body.count(b"ignored, reason") == 10
    assert b"total ignored: 30 out of 30" in answer.body


def test_times_by_the_wall_clock() -> None:
    target = target_of("loki-default")
    week, grace = 168 * 3600 * S, 600 * S
    for ns, status in (
        (NS - week, 204), (NS - week - 1, 400), (NS + grace, 204), (NS + grace + 1, 400),
    ):  # fmt: skip
        assert push(target, [(f'{{s="{ns}"}}', [(ns, "x")])]).status == status
    streams: Streams = [(A, [(NS + 2 * grace, "x")] * 20 + [(NS, "good")])]
    status, text = said(push(target, streams))
    assert (status, text) == (
        400,
        (
            '20 errors like: entry for stream \'{s="a", service_name="unknown_service"}\' has '
            "timestamp too new: 2026-11-23T23:39:37Z\n"
        ),
    )
    assert [at for labels, at in stored(target) if labels["s"] == "a"] == [[0]]


def test_long_lines_and_bad_streams_leave_the_rest() -> None:
    target = target_of("loki-default", max_line_size=10, max_label_names=2)
    streams: Streams = [
        (A, [(NS, "x" * 11), (NS + 1, "x" * 10)]),
        ('{s="c",b="2",c="3"}', [(NS, "x")]),
        ('{s="1",s="2"}', [(NS, "x")]),
        ('{s="d",b="2",service_name="own"}', [(NS, "x")]),
        ("nonsense", [(NS, "x")]),
    ]
    status, text = said(push(target, streams))
    assert (status, text.split("; ")) == (
        400,
        [
            (
                'entry for stream \'{b="2", c="3", s="c", service_name="unknown_service"}\' has 3 '
                "label names"
            ),
            "limit 2",
            "stream '{s=\"1\",s=\"2\"}' has duplicate label name: 's'",
            "error parsing labels: 1:1: parse error: syntax error: unexpected 'n', expecting {",
            (
                "max entry size '10' bytes exceeded for stream "
                '\'{s="a", service_name="unknown_service"}\' while adding an entry with length '
                "'11' bytes\n"
            ),
        ],
    )
    assert [at for _, at in stored(target)] == [[0], [1]]


def test_message_size_is_counted_as_the_protobuf_library_does() -> None:
    entries = [(NS + i * 10**8, "x" * (i * 37 % 300)) for i in range(50)] + [(0, ""), (S, "y")]
    message = message_of([(A, entries)])
    for entry in message.streams[0].entries:
        entry.structured_metadata.add(name="detected_level", value="unknown")
    message.streams[0].hash = (1 << 64) - 1
    columns = decode_push_request(message_of([(A, entries)]).SerializeToString())
    own = entry_sizes(columns.timestamps_ns, columns.line_lengths, levels=True)
    # an empty timestamp is written all the same
    message.streams[0].entries[50].timestamp.SetInParent()
    assert stream_size(A, int(own.sum())) == len(message.SerializeToString())


@pytest.mark.parametrize(("n", "status"), [(28_600, 204), (28_800, 500)])
def test_pushes_above_a_message_are_refused(n: int, status: int) -> None:
    target = target_of("loki-default")
    answer = push(target, [(A, [(NS + 3 * 10**8 + i, f"{i:0100d}") for i in range(n)])])
    assert answer.status == status
    if status == 500:
        text = answer.body.decode()
        assert text.startswith(
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max ("
        )
        assert text.endswith(" vs. 4194304)\n")
    assert len(stored(target)) == (1 if status == 204 else 0)


def test_answers_above_a_message() -> None:
    for how, drop_s, status in (("hang", 7.0, 0), ("reset", 0.0, 0), ("500", None, 500)):
        config = TargetConfig(
            like="loki-default", oversized_answer=how, oversized_answer_hang_s=7.0  # type: ignore[arg-type]
        )  # fmt: skip
        clock = ManualClock(NS)
        target = Target(config, clock=clock)
        for part in range(2):
            clock.advance(10 * S)
            entries = [(NS + part * 1500 + i, "x" * 1990 + f"{i:010d}") for i in range(1500)]
            assert push(target, [(f'{{s="{part}"}}', entries)]).status == 204
        assert query(target, limit=2000).status == 200
        answer = query(target, limit=3000)
        assert (answer.status, answer.drop_after_s) == (status, drop_s)
        if status == 500:
            assert b"trying to send message larger than max (6" in answer.body


def test_busy_streams_are_split_in_turn() -> None:
    clock = ManualClock(NS)
    target = target_of("loki-default", clock)
    line = "x" * 200_000
    assert push(target, [(A, [(NS + i, line) for i in range(16)])]).status == 204  # 3.2 MB
    assert [labels.get("__stream_shard__") for labels, _ in stored(target)] == [None]
    clock.advance(S)
    assert push(target, [(A, [(NS + 100 + i, "y") for i in range(5)])]).status == 204
    assert push(target, [(A, [(NS + 200 + i, "z") for i in range(2)])]).status == 204
    shards = {labels.get("__stream_shard__"): at for labels, at in stored(target)}
    assert shards == {
        None: list(range(16)),
        "0": [100, 103, 200],
        "1": [101, 104, 201],
        "2": [102],
    }
    clock.advance(2 * S)  # quiet again
    assert push(target, [(A, [(NS + 300, "w")])]).status == 204
    assert stored(target, start=NS + 300)[0][0] == {"s": "a", "service_name": "unknown_service"}


def test_old_entries_are_invisible_until_flushed() -> None:
    clock = ManualClock(NS)
    target = target_of("loki-default", clock)
    hours = 3600 * S
    push(target, [(A, [(NS - 5 * hours, "old")]), (B, [(NS - 2 * hours, "young")])])
    wanted = {"start": NS - 6 * hours}
    assert [labels["s"] for labels, _ in stored(target, **wanted)] == ["b"]
    path = f"/loki/api/v1/series?start={NS - 6 * hours}"
    assert json.loads(target.answer("GET", path, {}, b"").body)["data"] == [
        {"s": "b", "service_name": "unknown_service"}
    ]
    assert target.answer("POST", "/flush", {}, b"").status == 204
    assert [labels["s"] for labels, _ in stored(target, **wanted)] == ["a", "b"]
    push(target, [(A, [(NS - 5 * hours, "old"), (NS - 5 * hours + 1, "later")])])
    assert stored(target, **wanted)[0][1] == [-5 * hours]
    target.answer("POST", "/flush", {}, b"")
    assert stored(target, **wanted)[0][1] == [-5 * hours, -5 * hours + 1]


def test_queries_have_limits() -> None:
    target = target_of("loki-default")
    raised = target_of("loki-raised")
    month = {"start": NS - 744 * 3600 * S, "end": NS}
    text = "the query time range exceeds the limit (query length: 744h0m0s, limit: 30d1h)"
    assert said(query(target, **month)) == (400, text)
    assert query(target, start=NS - 721 * 3600 * S, end=NS).status == 200
    assert query(target, limit=5001).status == 400
    assert query(raised, **month, limit=1_000_000).status == 200
    assert query(target, step="0.1").status == 400
    assert query(target, step="1h").status == 200


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("level=error n=0", "error"), ("x lvl=wrn y", "warn"), ('a=1 severity="Info"', "info"),
        ("level=nonsense debug", "debug"), ("some info here", "info"), ("some INFO", "info"),
        ("some Info", "unknown"), ("an error", "unknown"), ("an [error]", "error"),
        ("err: x", "error"), ("warn", "unknown"), ("WARNING", "warn"), ("warn: x", "warn"),
        ("critical: x", "critical"), ("debug", "debug"), ("trace", "unknown"),
        ('{"level":"fatal"}', "fatal"), ('{"a":{"lvl":"dbg"}}', "debug"), ('{"x":1}', "unknown"),
        ('{"level":', "unknown"), ("", "unknown"), ("VryhMITjWV", "unknown"),
    ],
)  # fmt: skip
def test_levels(line: str, level: str) -> None:
    assert levels.of_line(line) == level
    around = [b"plain", line.encode(), b"plain", line.encode()]
    assert levels.of_lines(around) == ["unknown", level, "unknown", level]


def test_levels_of_labels_come_first() -> None:
    target = target_of("loki-default")
    push(target, [('{s="a",level="WARN"}', [(NS, "some info")])])
    answer = query(target)
    stream = json.loads(answer.body)["data"]["result"][0]["stream"]
    assert stream["detected_level"] == "warn"
    assert levels.of_labels((("s", "a"),)) is None
    assert levels.of_labels((("lvl", "odd"),)) == "odd"


def test_service_name() -> None:
    assert with_service_name((("app", "x"), ("job", "y"))) == (
        ("app", "x"), ("job", "y"), ("service_name", "x"),
    )  # fmt: skip
    assert with_service_name((("service_name", "own"),)) == (("service_name", "own"),)
    assert with_service_name((("a", "b"),))[1] == ("service_name", "unknown_service")


def test_labels_and_series() -> None:
    target = target_of("loki-default")
    push(target, [('{s="a",x="1"}', [(NS, "l")]), (B, [(NS - 3 * 3600 * S + 5, "l")])])
    target.answer("GET", "/flush", {}, b"")
    window = f"start={NS - 1}&end={NS + 1}"

    def ask(path: str) -> Any:
        answer = target.answer("GET", f"/loki/api/v1/{path}", {}, b"")
        assert answer.status == 200, answer.body
        assert answer.body.endswith(b"\n")
        return json.loads(answer.body).get("data")

    assert ask(f"labels?end={NS + 1}") == ["s", "service_name", "x"]
    assert ask(f"labels?{window}&query=%7Bs%3D%22a%22%7D") == ["s", "service_name", "x"]
    assert ask(f"label/s/values?{window}") == ["a"]
    assert ask(f"label/s/values?end={NS + 1}") == ["a", "b"]
    assert ask(f"label/none/values?{window}") is None
    assert ask(f"series?{window}") == [{"s": "a", "service_name": "unknown_service", "x": "1"}]
    two = "match[]=%7Bs%3D%22b%22%7D&match[]=%7Bx%3D%221%22%7D"
    assert [one["s"] for one in ask(f"series?{two}&end={NS + 1}")] == ["a", "b"]
    assert target.answer("GET", "/loki/api/v1/series?match[]=x", {}, b"").status == 400
    assert target.answer("GET", "/loki/api/v1/labels?start=x", {}, b"").status == 400


def test_compressed_pushes() -> None:
    import gzip  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    body = bytes(cramjam.snappy.compress_raw(message_of([(A, [(NS, "x")])]).SerializeToString()))
    raw = zlib.compressobj(wbits=-15)
    deflated = raw.compress(body) + raw.flush()
    for encoding, content, status in (
        ("gzip", gzip.compress(body), 204),
        ("deflate", deflated, 204),
        ("deflate", zlib.compress(body), 400),
        ("gzip", body, 400),
        ("gzip", gzip.compress(body)[:-9], 400),
    ):
        target = target_of("loki-default")
        headers = PROTO | {"content-encoding": encoding}
        assert target.answer("POST", "/loki/api/v1/push", headers, content).status == status


def test_limits_off_is_the_default() -> None:
    assert TargetConfig().applied == Limits(max_entries_limit=5000)
    assert not TargetConfig().applied.guards_logs
