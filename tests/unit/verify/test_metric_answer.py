"""Every kind of mismatch forged into answers of remote read and of the query API."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, settings
from hypothesis import strategies as st

import referee
from looker.errors import DecodeError
from looker.model.config import Compressability
from looker.model.mismatch import MAX_EXAMPLES
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.proof import ChecksumLedger
from looker.wire.proto import prometheus_pb2
from referee import MAYBE, MS, NS, REJECTED, Elements, History, bits_of, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.verify.proof import PageProof

# three series of two fragments of four samples, 250 ms apart
HISTORY = referee.history(metrics=True)
N = 24
STEP = 250 * MS


def window(history: History) -> int:
    return history.page().start_ns // MS


def by_remote_read(elements: Elements, history: History) -> PageProof:
    body = referee.read_response(elements)
    return RemoteReadAnswers(history.content).compare(body, history.page().expectation)


def by_query(elements: Elements, history: History) -> PageProof:
    body = referee.matrix_response(elements)
    return QueryAnswers().compare(body, history.page().expectation, window(history))


def by_cortex_query(elements: Elements, history: History) -> PageProof:
    body = referee.matrix_response(elements, cortex=True)
    return QueryAnswers().compare(body, history.page().expectation, window(history))


READERS = [by_remote_read, by_query, by_cortex_query]
Reader = "Callable[[Elements, History], PageProof]"


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def no_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the answer was parsed in full")

    monkeypatch.setattr(RemoteReadAnswers, "_aligned", refuse)


def n_proved(proof: PageProof, history: History = HISTORY) -> int:
    ledger = ChecksumLedger(history.rows(), history.content)
    ledger.add(proof)
    return ledger.check(0)


@pytest.mark.parametrize("compressability", Compressability)
def test_a_faithful_answer_passes(read: Any, compressability: Compressability) -> None:
    history = referee.history(metrics=True, compressability=compressability)
    proof = read(history.elements(), history)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}
    assert proof.findings.added_labels == set()
    assert n_proved(proof, history) == 6


@pytest.mark.parametrize("n_samples", [1, 2, 100])
@pytest.mark.parametrize("n_streams", [1, 12])
def test_a_regular_remote_read_answer_is_not_parsed(
    n_samples: int, n_streams: int, no_slow_path: None
) -> None:
    history = referee.history(metrics=True, n_streams=n_streams, n_samples=n_samples)
    proof = by_remote_read(history.elements(), history)
    n = 2 * n_streams * n_samples
    assert summary(proof.findings) == {"n_expected": n, "n_validated": n}
    assert n_proved(proof, history) == 2 * n_streams


def test_series_of_unequal_length_are_not_parsed(no_slow_path: None) -> None:
    history = HISTORY.changed(3, state=MAYBE).changed(4, state=REJECTED)
    proof = by_remote_read(history.elements(), history)
    assert summary(proof.findings) == {"n_expected": 16, "n_validated": 16}
    assert n_proved(proof, history) == 4


def test_an_answer_with_all_that_is_in_doubt_is_not_parsed(no_slow_path: None) -> None:
    history = HISTORY.changed(3, state=MAYBE).changed(4, state=REJECTED)
    proof = by_remote_read(HISTORY.elements(), history)
    found = {"n_expected": 16, "n_validated": 16, "n_optional_seen": 8}
    assert summary(proof.findings) == found
    assert n_proved(proof, history) == 6


def test_both_ways_agree() -> None:
    body = referee.read_response(HISTORY.elements())
    expectation = HISTORY.page().expectation
    answers = RemoteReadAnswers(HISTORY.content)
    fast, full = answers.compare(body, expectation), answers._aligned(body, expectation)
    query = by_query(HISTORY.elements(), HISTORY)
    for name in ("seen", "exact"):
        assert getattr(fast, name).tolist() == getattr(full, name).tolist()
        assert getattr(fast, name).tolist() == getattr(query, name).tolist()
    sums = [referee.sums_by_row(proof) for proof in (fast, full, query)]
    assert sums[0] == sums[1] == sums[2]
    assert summary(fast.findings) == summary(full.findings) == summary(query.findings)


@pytest.mark.parametrize("second", [1_080_000_000, NS // 10**9, 2_150_000_000])
def test_every_millisecond_of_a_second_is_read_exactly(second: int) -> None:
    # a thousandfold is not always whole: in 2004 and in 2038 it rounds the other way
    history = referee.history(metrics=True, n_streams=1, n_fragments=1, n_samples=1000, step_ns=MS)
    history = history.changed(0, start_ns=second * 10**9)
    for read in READERS:
        proof = read(history.elements(), history)
        assert summary(proof.findings) == {"n_expected": 1000, "n_validated": 1000}


def set_sample(element: int, at: int, change: Callable[[Any], Any]) -> Callable[[Elements], None]:
    def apply(elements: Elements) -> None:
        samples = elements[element][1]
        samples[at] = change(samples[at])

    return apply


def swap_values(elements: Elements) -> None:
    samples = elements[1][1]
    (t2, x2), (t3, x3) = samples[2:4]
    samples[2:4] = [(t2, x3), (t3, x2)]


OTHER = {"__name__": "up", "job": "x"}
CASES: dict[str, tuple[Callable[[Elements], Any], dict[str, int], int]] = {
    "in another order": (lambda e: e.reverse(), {}, 6),
    "a series in two parts": (
        lambda e: e.__setitem__(slice(1, 2), [(e[1][0], e[1][1][:3]), (e[1][0], e[1][1][3:])]),
        {},
        6,
    ),
    "a series in two parts, the later first": (
        lambda e: e.__setitem__(slice(1, 2), [(e[1][0], e[1][1][3:]), (e[1][0], e[1][1][:3])]),
        {},
        6,
    ),
    "missing first": (lambda e: e[0][1].pop(0), {"missing": 1, "n_validated": N - 1}, 5),
    "missing last": (lambda e: e[2][1].pop(), {"missing": 1, "n_validated": N - 1}, 5),
    "missing series": (lambda e: e.pop(1), {"missing": 8, "n_validated": N - 8}, 4),
    "missing all": (lambda e: e.clear(), {"missing": N, "n_validated": 0}, 0),
    "empty series": (lambda e: e[1][1].clear(), {"missing": 8, "n_validated": N - 8}, 4),
    "duplicate": (lambda e: e[0][1].insert(3, e[0][1][3]), {"duplicate": 1}, 6),
    "duplicate at the end": (
        lambda e: e[0][1].append(e[0][1][3]),
        {"duplicate": 1, "out_of_order": 1},
        6,
    ),
    "one bit of the mantissa": (
        set_sample(0, 5, lambda sample: (sample[0], sample[1] ^ 1)),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "the sign": (
        set_sample(2, 0, lambda sample: (sample[0], sample[1] ^ 1 << 63)),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "zero": (
        set_sample(1, 0, lambda sample: (sample[0], 0)),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "NaN": (
        set_sample(1, 0, lambda sample: (sample[0], bits_of(float("nan")))),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "another value beside the right one": (
        lambda e: e[0][1].insert(1, (e[0][1][1][0], bits_of(3.0))),
        {"unexpected": 1},
        6,
    ),
    "backward": (lambda e: e[0][1].reverse(), {"out_of_order": 7}, 6),
    "two samples swapped": (
        lambda e: e[1][1].__setitem__(slice(2, 4), e[1][1][3:1:-1]),
        {"out_of_order": 1},
        6,
    ),
    "two values swapped": (swap_values, {"corrupt": 2, "n_validated": N - 2}, 5),
    "values of two series swapped": (
        lambda e: e.__setitem__(slice(0, 2), [(e[0][0], e[1][1]), (e[1][0], e[0][1])]),
        {"corrupt": 16, "n_validated": N - 16},
        2,
    ),
    "a timestamp shifted": (
        set_sample(1, 4, lambda sample: (sample[0] + MS, sample[1])),
        {"missing": 1, "unexpected": 1, "n_validated": N - 1},
        5,
    ),
    "a sample nobody wrote": (
        lambda e: e[2][1].insert(2, (e[2][1][2][0] - 7 * MS, bits_of(2.0))),
        {"unexpected": 1},
        6,
    ),
    "a series of somebody else": (
        lambda e: e.append((dict(OTHER), e[0][1][:3])),
        {"unexpected": 3},
        6,
    ),
    "a series that was not asked for": (
        lambda e: e.append((referee.labels(HISTORY.content.scheme, 5), e[0][1][:2])),
        {"unexpected": 2},
        6,
    ),
    "another metric name": (
        lambda e: e[1][0].__setitem__("__name__", "looker_metric_1"),
        {"wrong_labels": 1},
        6,
    ),
    "no metric name": (lambda e: e[1][0].pop("__name__"), {"wrong_labels": 1}, 6),
    "a label too many": (lambda e: e[0][0].__setitem__("x", "y"), {"wrong_labels": 1}, 6),
}


@pytest.mark.parametrize("case", CASES)
def test_forged(case: str, read: Any) -> None:
    change, counters, proved = CASES[case]
    elements = copy.deepcopy(HISTORY.elements())
    change(elements)
    proof = read(elements, HISTORY)
    expected = {"n_expected": N, "n_validated": N, **counters}
    assert summary(proof.findings) == {name: n for name, n in expected.items() if n}
    assert n_proved(proof) == proved
    assert proof.n_received == sum(len(samples) for _, samples in elements)
    assert len(proof.findings.examples) == min(MAX_EXAMPLES, proof.findings.n_mismatches)


def test_an_example_shows_the_bits(read: Any) -> None:
    elements = HISTORY.elements()
    time_ns, bits = elements[1][1][5]
    elements[1][1][5] = (time_ns, bits ^ 1)
    (one,) = read(elements, HISTORY).findings.examples
    assert (one.kind, one.stream, one.fragment, one.position, one.timestamp_ns) == (
        "corrupt",
        "id.x-0-01",
        1,
        1,
        time_ns,
    )
    assert one.expected == f"0x{bits:016x} ({referee.float_of(bits)!r})"
    assert one.received == f"0x{bits ^ 1:016x} ({referee.float_of(bits ^ 1)!r})"
    assert one.first_difference == len("0x") + 15
    assert one.labels == referee.labels(HISTORY.content.scheme, 1)


@given(st.integers(0, 23), st.integers(0, 63))
def test_any_bit_of_a_value_is_seen(number: int, bit: int) -> None:
    elements = HISTORY.elements()
    set_sample(number // 8, number % 8, lambda sample: (sample[0], sample[1] ^ 1 << bit))(elements)
    for read in (by_remote_read, by_query):
        proof = read(elements, HISTORY)
        assert summary(proof.findings) == {"n_expected": N, "n_validated": N - 1, "corrupt": 1}
        assert n_proved(proof) == 5


def shifted_by_bit(bit: int) -> bytes:
    """Return a remote read answer with one bit of one timestamp in ms flipped."""
    message = prometheus_pb2.ReadResponse.FromString(referee.read_response(HISTORY.elements()))
    sample = message.results[0].timeseries[1].samples[3]
    flipped = sample.timestamp ^ 1 << bit
    sample.timestamp = flipped - (1 << 64 if flipped >> 63 else 0)
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("bit", range(64))
def test_any_bit_of_a_timestamp_is_seen(bit: int) -> None:
    proof = RemoteReadAnswers(HISTORY.content).compare(
        shifted_by_bit(bit), HISTORY.page().expectation
    )
    counts = summary(proof.findings)
    assert (counts["missing"], counts["unexpected"]) == (1, 1)
    assert counts["n_validated"] == N - 1


def test_retry_duplicates_and_optional_pieces(read: Any) -> None:
    history = HISTORY.changed(3, n_repeats=1).changed(1, state=MAYBE).changed(4, state=REJECTED)
    faithful = {"n_expected": 16, "n_validated": 16}
    proof = read(history.elements(), history)
    assert summary(proof.findings) == faithful
    assert n_proved(proof, history) == 4
    elements = history.elements(optional=True)
    proof = read(elements, history)
    assert summary(proof.findings) == {**faithful, "n_optional_seen": 4}
    assert n_proved(proof, history) == 5
    elements[1][1][5:5] = elements[1][1][5:6]
    del elements[0][1][6:]
    found = {**faithful, "n_optional_seen": 2, "retry_duplicates": 1}
    proof = read(elements, history)
    assert summary(proof.findings) == found
    assert n_proved(proof, history) == 4
    elements[0][1][5] = (elements[0][1][5][0], bits_of(1.5))
    found |= {"n_optional_seen": 1, "corrupt": 1}
    assert summary(read(elements, history).findings) == found
    all_written = read(HISTORY.elements(), history)
    assert summary(all_written.findings) == {**faithful, "n_optional_seen": 8}


@pytest.mark.parametrize("reverse", [False, True])
def test_ignored_and_external_labels_are_tolerated_and_named(reverse: bool) -> None:
    elements = [
        (dict(sorted({**own, "zone": "eu"}.items())), samples)
        for own, samples in HISTORY.elements()
    ]
    if reverse:
        elements.reverse()
    body, expectation = referee.read_response(elements), HISTORY.page().expectation
    for answers in (
        RemoteReadAnswers(HISTORY.content, frozenset({"zone"})),
        RemoteReadAnswers(HISTORY.content, external_labels=(("zone", "eu"),)),
    ):
        proof = answers.compare(body, expectation)
        assert summary(proof.findings) == {"n_expected": N, "n_validated": N}
        assert proof.findings.added_labels == {"zone"}
        assert n_proved(proof) == 6
    query = QueryAnswers(frozenset({"zone"}))
    found = query.compare(referee.matrix_response(elements), expectation, window(HISTORY)).findings
    assert summary(found) == {"n_expected": N, "n_validated": N}
    assert found.added_labels == {"zone"}


def test_external_labels_are_predicted(no_slow_path: None) -> None:
    elements = [
        (dict(sorted({**own, "zone": "eu"}.items())), samples)
        for own, samples in HISTORY.elements()
    ]
    answers = RemoteReadAnswers(HISTORY.content, external_labels=(("zone", "eu"),))
    found = answers.compare(referee.read_response(elements), HISTORY.page().expectation).findings
    assert summary(found) == {"n_expected": N, "n_validated": N}


@pytest.mark.parametrize("extra", referee.EXTRA_LABELS)
def test_labels_of_the_users_are_looked_at(extra: tuple[tuple[str, str], ...], read: Any) -> None:
    history = referee.history(metrics=True, extra=extra)
    assert summary(read(history.elements(), history).findings) == {
        "n_expected": N,
        "n_validated": N,
    }
    for name, _ in extra:
        elements = history.elements()
        del elements[1][0][name]
        found = read(elements, history).findings
        assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": 1}


def test_an_external_label_is_a_wrong_label() -> None:
    elements = [({**own, "zone": "eu"}, samples) for own, samples in HISTORY.elements()]
    found = by_remote_read(elements, HISTORY).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": 3}


@pytest.mark.parametrize("extra", [0, 1])
def test_the_sample_at_the_open_end_of_a_range_is_not_judged(extra: int) -> None:
    # Prometheus 2 returns [start, end], Prometheus 3 and Cortex (start, end]
    content = HISTORY.content
    page = HISTORY.pages(9)[1]
    start_ms, end_ms = page.start_ns // MS, page.end_ns // MS - 1
    asked = start_ms - 1
    elements = []
    for own, samples in HISTORY.elements():
        before = [(asked * MS, bits_of(0.5))] * extra
        inside = [one for one in samples if start_ms <= one[0] // MS <= end_ms]
        elements.append((own, before + inside))
    body = referee.matrix_response(elements)
    found = QueryAnswers().compare(body, page.expectation, start_ms).findings
    n = page.expectation.n_samples
    assert n == 9
    assert summary(found) == {"n_expected": n, "n_validated": n}
    assert content.step_ns == STEP


def test_both_ends_of_the_window_are_judged() -> None:
    first, last = window(HISTORY), HISTORY.page().end_ns // MS - 1
    assert (first, last) == (NS // MS, NS // MS + 8 * 250 - 1)
    elements = HISTORY.elements()
    elements[0][1].append((last * MS, bits_of(0.5)))
    assert summary(by_query(elements, HISTORY).findings) == {
        "n_expected": N,
        "n_validated": N,
        "unexpected": 1,
    }
    elements[0][1].pop()
    elements[0][1].insert(0, ((first - 1) * MS, bits_of(0.5)))
    assert summary(by_query(elements, HISTORY).findings) == {"n_expected": N, "n_validated": N}


# -- what is no answer

GOOD = referee.matrix_response(HISTORY.elements())
NO_MATRIX = {
    "empty": b"",
    "HTML": b"<html><body>504</body></html>",
    "null": b"null",
    "list": b"[]",
    "error": b'{"status":"error","errorType":"bad_data","error":"x"}',
    "streams": b'{"status":"success","data":{"resultType":"streams","result":[]}}',
    "vector": GOOD.replace(b'"matrix"', b'"vector"'),
    "no result": b'{"status":"success","data":{"resultType":"matrix"}}',
    "numbers": b'{"status":"success","data":{"resultType":"matrix","result":[1]}}',
    "no values": GOOD.replace(b'"values"', b'"histograms"', 1),
    "no labels": GOOD.replace(b'"metric"', b'"labels"', 1),
    "null labels": GOOD.replace(b'"metric":{', b'"metric":null,"x":{', 1),
    "a row too short": GOOD.replace(b'"values":[', b'"values":[[1],', 1),
    "a row too long": GOOD.replace(b'"values":[', b'"values":[[1,"2",3],', 1),
    "words": GOOD.replace(b'"values":[', b'"values":[[1,"many"],', 1),
    "null value": GOOD.replace(b'"values":[', b'"values":[[1,null],', 1),
    "null time": GOOD.replace(b'"values":[', b'"values":[[null,"1"],', 1),
    "time in words": GOOD.replace(b'"values":[', b'"values":[["noon","1"],', 1),
    "bare NaN": GOOD.replace(b'"values":[', b'"values":[[NaN,"1"],', 1),
    "something behind it": GOOD + b"{}",
}


def test_rows_that_make_up_for_each_other_are_refused() -> None:
    body = GOOD.replace(b'"values":[', b'"values":[[1],[1,"2","3"],', 1)
    with pytest.raises(DecodeError):
        QueryAnswers().compare(body, HISTORY.page().expectation, window(HISTORY))


@pytest.mark.parametrize("body", NO_MATRIX.values(), ids=NO_MATRIX)
def test_what_is_no_matrix_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        QueryAnswers().compare(body, HISTORY.page().expectation, window(HISTORY))


@given(st.integers(0, len(GOOD) - 1))
def test_a_truncated_matrix_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        QueryAnswers().compare(GOOD[:length], HISTORY.page().expectation, window(HISTORY))


@pytest.mark.parametrize("seconds", [b"1e300", b"-1e300", b"9223372036854775.808"])
def test_a_time_beyond_64_bits_is_refused(seconds: bytes) -> None:
    body = GOOD.replace(b'"values":[', b'"values":[[' + seconds + b',"1"],', 1)
    with pytest.raises(DecodeError):
        QueryAnswers().compare(body, HISTORY.page().expectation, window(HISTORY))


SMALL = referee.history(metrics=True, n_streams=2, n_fragments=1, n_samples=2)
SMALL_ANSWER = json.loads(referee.matrix_response(SMALL.elements()))
strange = st.sampled_from([None, 0, True, "", "x", [], [[]], {}, {"a": []}, [1, 2], "12"])


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += nodes(inner, (*path, key))
    return found


@given(st.sampled_from(nodes(SMALL_ANSWER)), strange)
@settings(max_examples=400)
def test_no_type_in_any_place_is_more_than_a_bad_answer(path: tuple[Any, ...], value: Any) -> None:
    answer: Any = {"root": copy.deepcopy(SMALL_ANSWER)}
    target, key = answer, "root"
    for step in path:
        target, key = target[key], step
    target[key] = value
    body = json.dumps(answer["root"], separators=(",", ":")).encode()
    try:
        proof = QueryAnswers().compare(body, SMALL.page().expectation, window(SMALL))
    except DecodeError:
        return
    assert proof.findings.n_expected == 4


READ = referee.read_response(HISTORY.elements())


@pytest.mark.parametrize(
    "body", [b"<html><body>504</body></html>", b'{"status":"success"}', READ + b"\x0a\x7f", b"\xff"]
)
def test_what_is_no_read_response_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        RemoteReadAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)


@given(st.integers(1, len(READ) - 1))
def test_a_truncated_read_response_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        RemoteReadAnswers(HISTORY.content).compare(READ[:length], HISTORY.page().expectation)


@pytest.mark.parametrize("body", [b"", b"\x0a\x00"])
def test_an_answer_without_series_misses_all(body: bytes) -> None:
    proof = RemoteReadAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)
    assert summary(proof.findings) == {"n_expected": N, "missing": N}


@given(st.data())
@settings(max_examples=300)
def test_any_change_of_one_byte_shows(data: st.DataObject) -> None:
    body = bytearray(READ)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        proof = RemoteReadAnswers(HISTORY.content).compare(bytes(body), HISTORY.page().expectation)
    except (DecodeError, ProtobufError):
        return
    assert proof.findings.n_mismatches > 0


def test_labels_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(DecodeError):
        RemoteReadAnswers(HISTORY.content).compare(
            READ.replace(b"__name__", b"\xff_name__", 1), HISTORY.page().expectation
        )


def test_any_other_sample_outside_the_range_is_unexpected() -> None:
    elements = HISTORY.elements()
    begin_ms = window(HISTORY)
    elements[0][1].insert(0, ((begin_ms - 2) * MS, bits_of(0.5)))
    body = referee.matrix_response(elements)
    found = QueryAnswers().compare(body, HISTORY.page().expectation, begin_ms).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "unexpected": 1}
