"""Faults: how they are asked for, when they strike, and what they do to columns."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cramjam
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.errors import UsageError
from looker.target.append_rules import Batch
from looker.target.config import TargetConfig, config_of
from looker.target.damage import AnswerDamage, StoreDamage
from looker.target.faults import KINDS, Fault, Faults, Schedule, parse_faults
from looker.target.loki_store import Page
from looker.target.server import Target, serving
from looker.wire.proto import loki_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[3] / "docs"
NS = 1_795_475_977_000_000_000


# --- asking ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["drop-entry"], [Fault("drop-entry", times=1)]),
        (["drop-entry:every=3"], [Fault("drop-entry", every=3, times=None)]),
        (["drop-entry:rate=0.25"], [Fault("drop-entry", rate=0.25, times=None)]),
        (["drop-entry:times=4:after=7"], [Fault("drop-entry", times=4, after=7)]),
        (["drop-entry:every=3:times=2"], [Fault("drop-entry", every=3, times=2)]),
        (
            ["http-500:every=2, slow:seconds=0.5:on=query", "hang:on=both"],
            [
                Fault("http-500", every=2, times=None),
                Fault("slow", seconds=0.5, on="query"),
                Fault("hang", seconds=600.0, on="both"),
            ],
        ),
        ([], []),
    ],
)
def test_faults_are_parsed(texts: list[str], found: list[Fault]) -> None:
    assert parse_faults(texts) == tuple(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked_for_alone(kind: str) -> None:
    (fault,) = parse_faults([kind])
    assert (fault.kind, fault.times, fault.after) == (kind, 1, 0)
    assert fault.seconds == (KINDS[kind].seconds or 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("corupt-byte", "'corupt-byte' is no kind of fault: did you mean corrupt-byte?"),
        ("http500", "'http500' is no kind of fault: did you mean http-500?"),
        ("?", "'?' is no kind of fault: there is drop-fragment, "),
        ("", "'' is no kind of fault: there is drop-fragment, "),
        ("hang,", "'' is no kind of fault: there is drop-fragment, "),
        ("drop-entry:evry=3", "drop-entry takes no 'evry': did you mean every?"),
        ("drop-entry:seconds=3", "drop-entry takes no 'seconds': there is every, rate, "),
        ("drop-entry:on=push", "drop-entry takes no 'on': there is every, rate, times, after"),
        ("reset-before-store:on=query", "reset-before-store takes no 'on'"),
        ("drop-entry:every", "drop-entry:every is not of the form NAME=VALUE"),
        ("drop-entry:every=", "drop-entry:every= is not of the form NAME=VALUE"),
        ("drop-entry:every=2:every=2", "drop-entry: every is given twice"),
        ("drop-entry:every=2:rate=0.1", "drop-entry: give either every or rate"),
        ("drop-entry:every=0", "drop-entry: every=0 is not a whole number from 1 on"),
        ("drop-entry:every=1.5", "drop-entry: every=1.5 is not a whole number from 1 on"),
        ("drop-entry:times=0", "drop-entry: times=0 is not a whole number from 1 on"),
        ("drop-entry:after=-1", "drop-entry: after=-1 is not a whole number from 0 on"),
        ("drop-entry:rate=1.1", "drop-entry: rate=1.1 is not a probability from 0 to 1"),
        ("drop-entry:rate=nan", "drop-entry: rate=nan is not a probability from 0 to 1"),
        ("slow:seconds=-1", "slow: seconds=-1 is not a number of seconds, up to a day"),
        ("slow:seconds=inf", "slow: seconds=inf is not a number of seconds, up to a day"),
        ("hang:on=reads", "hang: on=reads is none of push, query, both"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_of({"fault": [text]})
    assert str(caught.value).startswith(f"--fault: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_stores_nothing_takes_only_what_happens_to_pushes(kind: str) -> None:
    possible = {
        *("http-429", "http-500", "http-503", "retry-after", "slow", "hang"),
        *("reset-before-store", "reset-after-store", "store-then-500"),
    }
    if kind in possible:
        assert TargetConfig(mode="null", faults=parse_faults([kind])).faults[0].kind == kind
    else:
        with pytest.raises(UsageError, match="has no meaning with --mode null"):
            TargetConfig(mode="null", faults=parse_faults([kind]))


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="--fault-seed: -1 is below 0"):
        TargetConfig(fault_seed=-1)


@pytest.mark.parametrize("page", ["target.md", "verification.md"])
def test_every_kind_is_documented(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text[text.index("\n## Faults") :].partition("\n## ")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    documented = [kind for row in rows for kind in re.findall(r"`([a-z0-9-]+)`", row)]
    kinds = [kind for kind in documented if kind in KINDS]
    assert sorted(kinds) == sorted(KINDS)
    assert page != "target.md" or kinds == list(KINDS)
    others = {"every", "rate", "times", "after", "on", "seconds"}
    assert {kind for kind in documented if not kind.startswith("-")} - set(KINDS) - others == set()


# --- schedules ---------------------------------------------------------------------------------


def struck(schedule: Schedule, parts: Sequence[int]) -> list[bool]:
    return list(chain.from_iterable(schedule.take(n).tolist() for n in parts))


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.integers(1, 9),
    st.integers(0, 12),
    st.none() | st.integers(1, 6),
)
def test_every_nth_opportunity_is_struck_exactly(
    parts: list[int], every: int, after: int, times: int | None
) -> None:
    schedule = Schedule(Fault("drop-entry", every=every, after=after, times=times), (0, 0))
    expected, n_struck = [], 0
    for number in range(1, sum(parts) + 1):
        hit = number > after and (number - after) % every == 0
        hit = hit and (times is None or n_struck < times)
        expected.append(hit)
        n_struck += hit
    assert struck(schedule, parts) == expected


@given(st.lists(st.integers(0, 60), max_size=8), st.floats(0, 1), st.integers(0, 5))
def test_a_rate_makes_the_same_choices_however_opportunities_come(
    parts: list[int], rate: float, seed: int
) -> None:
    fault = Fault("drop-entry", rate=rate, times=None)
    one = struck(Schedule(fault, (seed, 0)), parts)
    assert one == struck(Schedule(fault, (seed, 0)), [1] * sum(parts))
    assert all(one) or rate < 1
    assert not any(one) or rate > 0


def test_a_rate_is_met() -> None:
    schedule = Schedule(Fault("drop-entry", rate=0.1, times=None), (0, 0))
    n_struck = int(schedule.take(100_000).sum())
    # more than ten standard deviations
    assert abs(n_struck - 10_000) < 1000
    other = Schedule(Fault("drop-entry", rate=0.1, times=None), (1, 0)).take(100_000)
    assert 0 < int(other.sum()) != n_struck


def test_what_several_faults_of_a_kind_strike_is_counted_once() -> None:
    faults = Faults(parse_faults(["drop-entry:every=2,drop-entry:every=3"]), 0)
    found = faults.take("drop-entry", 12)
    assert found is not None
    assert found.tolist() == [1, 2, 3, 5, 7, 8, 9, 11]
    assert faults.n_injected["drop-entry"] == 8
    assert faults.totals == "drop-entry 8"
    assert faults.take("drop-fragment", 12) is None


# --- what is stored ----------------------------------------------------------------------------

Entry = tuple[int, int, bytes]


def stored(texts: list[str], entries: list[Entry], *, half: bool = False) -> list[Entry]:
    """Return what a push of entries is stored as: (stream, time, line)."""
    damage = StoreDamage(Faults(parse_faults(texts), 0))
    damage.keeps_half = half
    lines = [line for _, _, line in entries]
    sizes = np.array([len(line) for line in lines], np.int64)
    owners, times, offsets, lengths, buffer = damage.log_entries(
        np.array([entry[0] for entry in entries], np.int64),
        np.array([entry[1] for entry in entries], np.int64),
        np.cumsum(sizes) - sizes,
        sizes,
        np.frombuffer(b"".join(lines), np.uint8),
    )
    text = buffer.tobytes()
    return [
        (owner, time, text[offset : offset + length])
        for owner, time, offset, length in zip(
            owners.tolist(), times.tolist(), offsets.tolist(), lengths.tolist(), strict=True
        )
    ]


PUSH: list[Entry] = [
    *((7, NS + i, b"line %d of seven" % i) for i in range(4)),
    *((9, NS + i, b"line %d of nine" % i) for i in range(3)),
]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("drop-entry:every=3", [0, 1, 3, 4, 6]),
        ("drop-fragment", [4, 5, 6]),
        ("drop-fragment:after=1", [0, 1, 2, 3]),
        ("duplicate-entry:every=3", [0, 1, 2, 2, 3, 4, 5, 5, 6]),
        ("duplicate-fragment:after=1", [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]),
        ("drop-fragment,duplicate-fragment", [4, 4, 5, 5, 6, 6]),
        ("drop-entry,duplicate-entry", [1, 1, 2, 3, 4, 5, 6]),
        ("drop-fragment,drop-entry:every=2", [4, 6]),
        ("swap-entries,http-500,wrong-label", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_is_kept_and_how_often(text: str, places: list[int]) -> None:
    assert stored([text], PUSH) == [PUSH[at] for at in places]


def test_half_of_each_fragment_is_kept() -> None:
    assert stored([], PUSH, half=True) == [PUSH[at] for at in (0, 1, 4)]


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("corrupt-byte", {0: (7, NS, b"line 0 \x6ef seven")}),
        ("truncate-line:after=4", {4: (9, NS, b"line 0 ")}),
        (
            "shift-timestamp:every=1",
            {
                0: (7, NS + 1, b"line 0 of seven"),
                1: (7, NS + 2, b"line 1 of seven"),
                2: (7, NS + 1, b"line 2 of seven"),
                3: (7, NS + 2, b"line 3 of seven"),
                4: (9, NS + 1, b"line 0 of nine"),
                5: (9, NS, b"line 1 of nine"),
                6: (9, NS + 1, b"line 2 of nine"),
            },
        ),
        (
            "corrupt-byte,truncate-line",
            {0: (7, NS, b"line 0 \x6ef seven"), 1: (7, NS + 1, b"line 1 ")},
        ),
    ],
)
def test_what_is_changed(text: str, changed: dict[int, Entry]) -> None:
    assert stored([text], PUSH) == [changed.get(at, one) for at, one in enumerate(PUSH)]


def test_an_entry_that_nobody_wrote_stands_beside_another() -> None:
    found = stored(["foreign-entry:after=2"], PUSH)
    assert found == [*PUSH, (7, NS + 2, b"looker target: an entry that nobody wrote")]


def test_lines_without_text_cannot_be_damaged() -> None:
    push = [(1, NS, b""), (1, NS + 1, b"x"), (1, NS + 2, b"")]
    assert stored(["corrupt-byte:every=1"], push) == [push[0], (1, NS + 1, b"y"), push[2]]
    assert stored(["truncate-line:every=1"], push) == [push[0], (1, NS + 1, b""), push[2]]


ENTRY_KINDS = [kind for kind in KINDS if KINDS[kind].opportunity in {"entry", "fragment"}]


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(ENTRY_KINDS), st.integers(1, 4)), max_size=5),
)
def test_counts_add_up(sizes: list[int], chosen: list[tuple[str, int]]) -> None:
    """Each fault that was counted shows, and nothing else does."""
    push = [
        (n, NS + 10 * i, b"%d %d" % (n, i)) for n, size in enumerate(sizes) for i in range(size)
    ]
    faults = Faults(parse_faults([f"{kind}:every={every}" for kind, every in chosen]), 0)
    times = np.array([entry[1] for entry in push], np.int64)
    batch = StoreDamage(faults).samples(
        Batch(
            np.array([entry[0] for entry in push], np.int64),
            times,
            np.arange(1000, 1000 + len(push)).astype(np.uint64),
        )
    )
    n = faults.n_injected
    original = {(s, t): 1000 + at for at, (s, t, _) in enumerate(push)}
    seen: dict[tuple[int, int], list[int]] = {}
    for s, t, b in zip(
        batch.series.tolist(), batch.times.tolist(), batch.bits.tolist(), strict=True
    ):
        seen.setdefault((s, t), []).append(b)
    shifted = [key for key in seen if key not in original]
    assert len(shifted) == n["shift-timestamp"]
    exact = [key for key in original if original[key] in seen.get(key, [])]
    corrupt = [key for key in original if original[key] ^ 1 in seen.get(key, [])]
    assert len(corrupt) == n["corrupt-byte"]
    foreign = [
        key for key in original if original[key] ^ 0x0008_0000_0000_0001 in seen.get(key, [])
    ]
    assert len(foreign) == n["foreign-entry"]
    assert n["truncate-line"] == 0
    doubled = sum(len(bits) - len(set(bits)) for bits in seen.values())
    lost = [key for key in original if key not in exact and key not in corrupt]
    if not n["drop-fragment"] and not n["duplicate-fragment"]:
        assert doubled == n["duplicate-entry"]
        assert len(lost) == n["drop-entry"] + n["shift-timestamp"]


# --- what is answered --------------------------------------------------------------------------

LABELS = [(("app", n), ("looker_uniquename", n)) for n in "abc"]
COUNTS = [4, 1, 3]
TIMES = [10, 20, 30, 40, 15, 5, 25, 45]


def answered(
    text: str, *, cache_control: str = "", times: int = 1
) -> list[tuple[tuple[tuple[str, str], ...], list[int]]]:
    """Return the labels and times of an answer's elements, asked for so many times."""
    page = Page(
        LABELS,
        np.array(COUNTS),
        np.array(TIMES, np.int64),
        np.arange(8),
        np.ones(8, np.int64),
        np.frombuffer(b"01234567", np.uint8),
    )
    damage = AnswerDamage(Faults(parse_faults([text]), 0))
    for _ in range(times):
        found = damage.page(page, cache_control)
    # an entry's line stays with its time
    assert found.times.tolist() == [TIMES[at] for at in found.offsets.tolist()]
    bounds = np.concatenate([[0], np.cumsum(found.counts)]).tolist()
    assert damage.n_found == 8 * times
    return [
        (labels, found.times[begin:end].tolist())
        for labels, (begin, end) in zip(found.labels, pairwise(bounds), strict=True)
    ]


A, B, C = LABELS
WHOLE = [(A, [10, 20, 30, 40]), (B, [15]), (C, [5, 25, 45])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("drop-entry", WHOLE),
        ("swap-entries", [(A, [20, 10, 30, 40]), *WHOLE[1:]]),
        ("swap-entries:every=1", [(A, [20, 10, 40, 30]), (B, [15]), (C, [25, 5, 45])]),
        ("swap-entries:every=3", [*WHOLE[:2], (C, [25, 5, 45])]),
        ("wrong-label:after=1", [WHOLE[0], ((("app", "bx"), B[1]), [15]), WHOLE[2]]),
        ("merge-streams", [(A, [10, 15, 20, 30, 40]), (C, [5, 25, 45])]),
        ("merge-streams:every=2", [(A, [10, 20, 30, 40]), (B, [5, 15, 25, 45])]),
        ("merge-streams:every=1", [(A, [5, 10, 15, 20, 25, 30, 40, 45])]),
        ("split-streams", [(A, [10, 30]), (A, [20, 40]), *WHOLE[1:]]),
        (
            "split-streams:every=1",
            [(A, [10, 30]), (A, [20, 40]), (B, [15]), (C, [5, 45]), (C, [25])],
        ),
        ("short-page", [(A, [10, 20]), (B, [15]), (C, [5])]),
        ("stale-read", []),
    ],
)
def test_what_is_answered(
    text: str, found: list[tuple[tuple[tuple[str, str], ...], list[int]]]
) -> None:
    assert answered(text) == found


def test_what_is_answered_wrong_may_be_right_when_it_is_asked_for_again() -> None:
    for text in ("swap-entries", "wrong-label", "split-streams", "short-page", "stale-read"):
        assert answered(text, times=2) == WHOLE


def test_the_first_stream_of_an_answer_goes_to_the_last_of_the_one_before() -> None:
    # three elements, of which the very first has none before it: the third opportunity
    (first, *others) = answered("merge-streams:every=3", times=2)
    assert first == (C, [10, 20, 30, 40])
    assert others == WHOLE[1:]


@pytest.mark.parametrize("cache_control", ["no-cache", "no-store", "max-age=0, no-cache"])
def test_who_asks_past_caches_gets_nothing_stale(cache_control: str) -> None:
    assert answered("stale-read:every=1") == []
    assert answered("stale-read:every=1", cache_control=cache_control) == WHOLE


# --- requests, without a socket ----------------------------------------------------------------


def push_body(n: int = 4) -> bytes:
    message = loki_pb2.PushRequest()
    stream = message.streams.add(labels='{a="b"}')
    for i in range(n):
        entry = stream.entries.add(line=f"line {i}")
        entry.timestamp.seconds, entry.timestamp.nanos = divmod(NS + i, 10**9)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


class Asked:
    """A target with faults, pushed to and asked without a socket."""

    def __init__(self, *texts: str, mode: str = "memory") -> None:
        self.target = Target(config_of({"fault": list(texts), "mode": mode}))

    def push(self) -> int:
        headers = {"content-type": "application/x-protobuf"}
        return self.target.answer("POST", "/loki/api/v1/push", headers, push_body()).status

    def found(self) -> int:
        """How many entries are there."""
        query = f"/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=0&end={NS + 9}"
        answer = self.target.answer("GET", query, {}, b"")
        result = orjson.loads(answer.body)["data"]["result"]
        return sum(len(one["values"]) for one in result)

    def counters(self) -> dict[str, int]:
        """The counters of injected faults, as they are scraped."""
        text = self.target.answer("GET", "/metrics", {}, b"").body.decode()
        pairs = re.findall(r'looker_target_faults_injected_total\{kind="([^"]+)"\} (\d+)', text)
        return {kind: int(n) for kind, n in pairs}


def test_without_faults_nothing_is_in_the_way_and_all_counters_are_zero() -> None:
    asked = Asked()
    assert asked.push() == 204
    assert asked.found() == 4
    assert asked.counters() == dict.fromkeys(KINDS, 0)
    target = asked.target
    assert target._faulty is None
    assert target.store.logs._damage is target.store.series._damage is None
    assert Asked(mode="null").target.discards("POST", "/loki/api/v1/push") is not None


@pytest.mark.parametrize(
    ("text", "status", "n_stored"),
    [
        ("http-429", 429, 0),
        ("http-500", 500, 0),
        ("http-503", 503, 0),
        ("retry-after", 429, 0),
        ("hang", 0, 0),
        ("reset-before-store", 0, 0),
        ("reset-after-store", 0, 4),
        ("ack-without-store", 204, 0),
        ("store-then-500", 500, 4),
        ("partial-400", 400, 2),
        ("slow", 204, 4),
        ("truncated-json,wrong-content-type", 204, 4),
    ],
)
def test_what_becomes_of_a_push(text: str, status: int, n_stored: int) -> None:
    asked = Asked(*(f"{one}:times=1" for one in text.split(",")))
    headers = {"content-type": "application/x-protobuf"}
    answer = asked.target.answer("POST", "/loki/api/v1/push", headers, push_body())
    assert answer.status == status
    assert asked.target.counters.answered == {status: 1}
    assert answer.delay_s == (1.0 if text == "slow" else 0.0)
    assert answer.headers.get("Retry-After") == ("1" if text == "retry-after" else None)
    assert answer.drop_after_s == {"hang": 600.0}.get(text, None if status else 0.0)
    asked.target._faulty = None
    assert asked.found() == n_stored
    injected = {kind: n for kind, n in asked.counters().items() if n}
    assert injected == ({} if "," in text else {text: 1})


@pytest.mark.parametrize(
    ("text", "status"),
    [("http-503:on=query", 503), ("hang:on=both:after=1", 0), ("slow:on=query", 200)],
)
def test_only_queries_that_find_something_are_struck(text: str, status: int) -> None:
    asked = Asked(text)
    assert asked.push() == 204
    nothing = f"/loki/api/v1/query_range?query=%7Ba%3D%22x%22%7D&start=0&end={NS + 9}"
    for path in ("/ready", "/metrics", "/loki/api/v1/labels", nothing):
        assert asked.target.answer("GET", path, {}, b"").status == 200
    query = nothing.replace("x", "b")
    answer = asked.target.answer("GET", query, {}, b"")
    assert (answer.status, answer.delay_s) == (status, 1.0 if status == 200 else 0.0)
    assert asked.target.answer("GET", query, {}, b"").status == 200


def test_answers_are_cut_off_or_misnamed() -> None:
    query = f"/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=0&end={NS + 9}"
    asked = Asked("truncated-json", "wrong-content-type")
    assert asked.push() == 204
    first, second, third = (asked.target.answer("GET", query, {}, b"") for _ in range(3))
    assert first.body == third.body[: len(third.body) // 2]
    assert second.content_type == "text/html; charset=utf-8"
    assert replace(second, content_type=third.content_type) == third


def test_the_first_fault_that_strikes_decides() -> None:
    asked = Asked("slow:every=1", "http-500:every=2", "ack-without-store:every=1")
    headers = {"content-type": "application/x-protobuf"}
    answers = [
        asked.target.answer("POST", "/loki/api/v1/push", headers, push_body()) for _ in range(4)
    ]
    assert [answer.status for answer in answers] == [204, 500, 204, 500]
    assert {answer.delay_s for answer in answers} == {1.0}
    assert asked.found() == 0
    injected = {kind: n for kind, n in asked.counters().items() if n}
    assert injected == {"slow": 4, "http-500": 2, "ack-without-store": 2}


def test_a_push_that_is_discarded_may_be_struck() -> None:
    asked = Asked("store-then-500:every=2", mode="null")
    assert asked.target.discards("POST", "/loki/api/v1/push") is None
    assert [asked.push() for _ in range(4)] == [204, 500, 204, 500]


def test_repeats_are_kept_where_duplicates_are_asked_for() -> None:
    asked = Asked("duplicate-entry:after=1000000")
    assert [asked.push(), asked.push(), asked.found()] == [204, 204, 8]
    asked = Asked("drop-entry:after=1000000")
    assert [asked.push(), asked.push(), asked.found()] == [204, 204, 4]


# --- over a socket -----------------------------------------------------------------------------

POST = b"POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n"


def exchange(text: str, raw: bytes) -> bytes:
    """Send raw bytes to a target with a fault, and receive until it closes or resets."""
    with serving(config_of({"fault": [text]})) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(raw)
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65536):
                    parts.append(part)
    return b"".join(parts)


def test_a_late_answer_comes_before_those_to_later_requests() -> None:
    body = push_body()
    push = POST + b"Content-Length: %d\r\n" % len(body)
    raw = (
        push + b"\r\n" + body
        + b"GET /ready HTTP/1.1\r\n\r\n"
        + push + b"Connection: close\r\n\r\n" + body
    )  # fmt: skip
    for text in ("slow:seconds=0.2", "slow:seconds=0.2:every=1"):
        answers = exchange(text, raw).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"204", b"200", b"204"]


def test_a_client_may_leave_before_a_late_answer() -> None:
    with serving(config_of({"fault": ["slow:seconds=0.1"]})) as server:
        host, port = server.url.removeprefix("http://").split(":")
        body = push_body()
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=30) as client:
                client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert client.recv(65536).startswith(b"HTTP/1.1 204")
        assert server.target.faults.n_injected["slow"] == 1


@pytest.mark.parametrize("text", ["hang:seconds=0.1", "reset-before-store", "reset-after-store"])
def test_a_dropped_connection_brings_no_answer(text: str) -> None:
    body = push_body()
    assert exchange(text, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body) == b""
