"""Every kind of mismatch forged into Loki's answers, and every counter's value."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import referee
from looker.errors import DecodeError
from looker.model.config import Compressability
from looker.model.fragment import MAX_REPEATS
from looker.model.mismatch import MAX_EXAMPLES, MismatchKind
from looker.verify.log_answer import LogAnswers
from looker.verify.proof import ChecksumLedger
from referee import LEVEL_UNKNOWN, MAYBE, NS, REJECTED, Elements, History, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.model.mismatch import Findings
    from looker.verify.proof import PageProof

# three streams of two fragments of four entries
HISTORY = referee.history()
N = 24
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "categorized": {"metadata": LEVEL_UNKNOWN, "flags": True},
    "categorized, nothing added": {"metadata": {}, "flags": True},
}


@pytest.fixture
def no_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the answer was parsed in full")

    monkeypatch.setattr(LogAnswers, "_aligned", refuse)


def slow(body: bytes, history: History) -> PageProof:
    return LogAnswers(history.content)._aligned(body, history.page().expectation)


def compare(elements: Elements, history: History = HISTORY, **form: Any) -> PageProof:
    body = referee.streams_response(elements, **form)
    return LogAnswers(history.content).compare(body, history.page().expectation)


def n_proved(proof: PageProof, history: History = HISTORY) -> int:
    ledger = ChecksumLedger(history.rows(), history.content)
    ledger.add(proof)
    return ledger.check(0)


# -- faithful answers


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("added", [{}, {"service_name": "unknown_service"}])
@pytest.mark.parametrize("compressability", Compressability)
@pytest.mark.parametrize("n_chars", [20, 21, 45, 300])
def test_a_regular_answer_passes_without_being_parsed(
    form: dict[str, Any],
    added: dict[str, str],
    compressability: Compressability,
    n_chars: int,
    no_slow_path: None,
) -> None:
    history = referee.history(n_chars=n_chars, compressability=compressability)
    elements = [({**own, **added}, samples) for own, samples in history.elements()]
    proof = compare(elements, history, **form)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}
    assert proof.findings.examples == []
    assert added.keys() <= proof.findings.added_labels
    assert proof.n_received == N
    assert n_proved(proof, history) == 6


@pytest.mark.parametrize("extra", referee.EXTRA_LABELS)
def test_labels_of_the_users_are_looked_at(extra: tuple[tuple[str, str], ...]) -> None:
    history = referee.history(extra=extra)
    proof = compare(history.elements(), history)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}
    assert proof.findings.added_labels == set()
    for name, _ in extra:
        elements = history.elements()
        elements[1][0][name] = "other"
        found = compare(elements, history).findings
        assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": 1}


@pytest.mark.parametrize("name", ["service_name", "detected_level"])
def test_a_label_that_loki_would_add_may_be_the_users(name: str) -> None:
    history = referee.history(extra=((name, "mine"),))
    proof = compare(history.elements(), history)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}


def test_ignored_labels_are_tolerated_and_named() -> None:
    elements = [({**own, "zone": "eu"}, rows) for own, rows in HISTORY.elements()]
    for changed in (elements, elements[::-1]):
        body = referee.streams_response(changed)
        answers = LogAnswers(HISTORY.content, frozenset({"zone"}))
        found = answers.compare(body, HISTORY.page().expectation).findings
        assert summary(found) == {"n_expected": N, "n_validated": N}
        assert found.added_labels == {"zone"}
        found = LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation).findings
        assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": 3}


def test_one_stream_with_one_entry(no_slow_path: None) -> None:
    history = referee.history(n_streams=1, n_fragments=1, n_samples=1)
    assert summary(compare(history.elements(), history).findings) == {
        "n_expected": 1,
        "n_validated": 1,
    }


def test_answers_of_several_blocks(no_slow_path: None) -> None:
    history = referee.history(n_streams=2, n_fragments=2, n_samples=700, n_chars=100)
    proof = compare(history.elements(), history, **FORMS["categorized"])
    assert summary(proof.findings) == {"n_expected": 2800, "n_validated": 2800}
    assert n_proved(proof, history) == 4


def test_the_form_is_learnt_again_where_it_changes(no_slow_path: None) -> None:
    answers = LogAnswers(HISTORY.content)
    for form in (*FORMS.values(), *FORMS.values()):
        body = referee.streams_response(HISTORY.elements(), **form)
        proof = answers.compare(body, HISTORY.page().expectation)
        assert summary(proof.findings) == {"n_expected": N, "n_validated": N}


def test_regular_pages_of_a_cut_fragment(no_slow_path: None) -> None:
    answers = LogAnswers(HISTORY.content)
    ledger = ChecksumLedger(HISTORY.rows(), HISTORY.content)
    total = 0
    found = HISTORY.pages(7)
    assert len(found) == 4
    for page in found:
        elements = [
            (own, [row for row in rows if page.start_ns <= row[0] < page.end_ns])
            for own, rows in HISTORY.elements()
        ]
        body = referee.streams_response([element for element in elements if element[1]])
        proof = answers.compare(body, page.expectation)
        total += proof.findings.n_validated
        assert proof.findings.n_mismatches == 0
        ledger.add(proof)
    assert total == N
    assert ledger.check(0) == 6


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_both_ways_agree_on_a_faithful_answer(form: dict[str, Any]) -> None:
    body = referee.streams_response(HISTORY.elements(), **form)
    fast = LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)
    full = slow(body, HISTORY)
    for name in ("seen", "exact"):
        assert getattr(fast, name).tolist() == getattr(full, name).tolist()
    assert referee.sums_by_row(fast) == referee.sums_by_row(full)
    assert summary(fast.findings) == summary(full.findings)


def test_both_ways_name_what_the_server_added() -> None:
    body = referee.streams_response(HISTORY.elements(), **FORMS["categorized"])
    full = slow(body, HISTORY)
    assert full.findings.added_labels == {"detected_level"}
    fast = LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)
    assert fast.findings.added_labels == full.findings.added_labels


# -- answers of another layout that are as good


def reorder(elements: Elements) -> Elements:
    return elements[::-1]


def split_by_level(elements: Elements) -> Elements:
    return [
        ({**own, "detected_level": level}, rows[first::2])
        for own, rows in elements
        for first, level in enumerate(("info", "unknown"))
    ]


def split_by_shard(elements: Elements) -> Elements:
    (own, rows), *rest = elements
    return [({**own, "__stream_shard__": "0"}, rows[5:]), (own, rows[:5]), *rest]


def one_shard_each(elements: Elements) -> Elements:
    return [
        ({**own, "__stream_shard__": str(number)}, rows)
        for number, (own, rows) in enumerate(elements)
    ]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("change", [reorder, split_by_level, split_by_shard, one_shard_each])
def test_another_layout_passes(
    change: Callable[[Elements], Elements], form: dict[str, Any]
) -> None:
    proof = compare(change(HISTORY.elements()), **form)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}
    assert n_proved(proof) == 6


def test_spaces_and_escapes_do_not_matter() -> None:
    answer = json.loads(referee.streams_response(HISTORY.elements(), **FORMS["categorized"]))
    body = json.dumps(answer, indent=1).replace("@", "\\u0040").encode()
    proof = LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}


def test_levels_that_vary_by_row_pass() -> None:
    answer = json.loads(referee.streams_response(HISTORY.elements(), **FORMS["categorized"]))
    rows = answer["data"]["result"][1]["values"]
    rows[3][2]["structuredMetadata"]["detected_level"] = "error"
    body = json.dumps(answer, separators=(",", ":")).encode()
    proof = LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N}


# -- forged mismatches


def forge(change: Callable[[Elements], Any], history: History = HISTORY) -> Elements:
    elements = copy.deepcopy(history.elements())
    change(elements)
    return elements


def altered(row: tuple[int, str], position: int, letter: str = "c") -> tuple[int, str]:
    time_ns, text = row
    assert text[position] != letter
    return time_ns, text[:position] + letter + text[position + 1 :]


def set_row(element: int, row: int, change: Callable[[Any], Any]) -> Callable[[Elements], None]:
    def apply(elements: Elements) -> None:
        rows = elements[element][1]
        rows[row] = change(rows[row])

    return apply


def swap_rows(elements: Elements) -> None:
    rows = elements[1][1]
    rows[2], rows[3] = rows[3], rows[2]


def swap_texts(elements: Elements) -> None:
    rows = elements[1][1]
    (t2, x2), (t3, x3) = rows[2:4]
    rows[2:4] = [(t2, x3), (t3, x2)]


def set_label(element: int, name: str, value: str) -> Callable[[Elements], None]:
    return lambda elements: elements[element][0].__setitem__(name, value)


OTHER = {"looker_group": "other-0-g0", "looker_uniquename": "other-0-00"}
CASES: dict[str, tuple[Callable[[Elements], Any], dict[str, int], int]] = {
    "missing first": (lambda e: e[0][1].pop(0), {"missing": 1, "n_validated": N - 1}, 5),
    "missing last": (lambda e: e[2][1].pop(), {"missing": 1, "n_validated": N - 1}, 5),
    "missing fragment": (
        lambda e: e[1][1].__delitem__(slice(4, 8)),
        {"missing": 4, "n_validated": N - 4},
        5,
    ),
    "missing stream": (lambda e: e.pop(1), {"missing": 8, "n_validated": N - 8}, 4),
    "missing all": (lambda e: e.clear(), {"missing": N, "n_validated": 0}, 0),
    "duplicate": (lambda e: e[0][1].insert(3, e[0][1][3]), {"duplicate": 1}, 6),
    "duplicate in another element": (
        lambda e: e.append(({**e[1][0], "__stream_shard__": "1"}, e[1][1][2:5])),
        {"duplicate": 3},
        6,
    ),
    "duplicate at the end": (
        lambda e: e[0][1].append(e[0][1][3]),
        {"duplicate": 1, "out_of_order": 1},
        6,
    ),
    "corrupt first byte of the text": (
        set_row(0, 0, lambda row: altered(row, 20, "~")),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "corrupt last byte": (
        set_row(2, 7, lambda row: altered(row, 44, "~")),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "corrupt time in the line": (
        set_row(1, 1, lambda row: altered(row, 3, "0")),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "replaced by a character of two bytes": (
        set_row(1, 1, lambda row: (row[0], row[1][:-2] + "ä")),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "truncated": (
        set_row(1, 4, lambda row: (row[0], row[1][:-1])),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "empty": (set_row(1, 4, lambda row: (row[0], "")), {"corrupt": 1, "n_validated": N - 1}, 5),
    "lengthened": (
        set_row(1, 4, lambda row: (row[0], row[1] + "@")),
        {"corrupt": 1, "n_validated": N - 1},
        5,
    ),
    "corrupt twice": (
        lambda e: e[0][1].__setitem__(
            slice(1, 2), [(e[0][1][1][0], "x" * 45), (e[0][1][1][0], "y" * 45)]
        ),
        {"corrupt": 1, "unexpected": 1, "n_validated": N - 1},
        5,
    ),
    "a corrupt copy beside the right one": (
        lambda e: e[0][1].insert(1, (e[0][1][1][0], "x" * 45)),
        {"unexpected": 1},
        6,
    ),
    "two entries swapped": (swap_rows, {"out_of_order": 1}, 6),
    "backward": (
        lambda e: e[0][1].reverse(),
        {"out_of_order": 7},
        6,
    ),
    "two texts swapped": (swap_texts, {"corrupt": 2, "n_validated": N - 2}, 5),
    "texts of two streams swapped": (
        lambda e: (
            e[0].__class__,
            e.__setitem__(slice(0, 2), [(e[0][0], e[1][1]), (e[1][0], e[0][1])]),
        ),
        {"corrupt": 16, "n_validated": N - 16},
        2,
    ),
    "a timestamp shifted": (
        set_row(1, 4, lambda row: (row[0] + 1, row[1])),
        {"missing": 1, "unexpected": 1, "n_validated": N - 1},
        5,
    ),
    "a timestamp shifted beyond the next": (
        set_row(1, 4, lambda row: (row[0] + 1001, row[1])),
        {"missing": 1, "unexpected": 1, "out_of_order": 1, "n_validated": N - 1},
        5,
    ),
    "an entry nobody wrote": (
        lambda e: e[2][1].append((NS + 10**9, "what")),
        {"unexpected": 1},
        6,
    ),
    "an entry before all others": (
        lambda e: e[0][1].insert(0, (5, "what")),
        {"unexpected": 1},
        6,
    ),
    "a stream of another run": (
        lambda e: e.append((dict(OTHER), e[0][1][:3])),
        {"unexpected": 3},
        6,
    ),
    "a stream that was not asked for": (
        lambda e: e.append((referee.labels(HISTORY.content.scheme, 5), e[0][1][:2])),
        {"unexpected": 2},
        6,
    ),
    "a stream number beyond the last": (
        lambda e: e.append(({**OTHER, "looker_uniquename": "id.x-0-12"}, e[0][1][:2])),
        {"unexpected": 2},
        6,
    ),
    "a stream of another generation": (
        set_label(1, "looker_uniquename", "id.x-1-01"),
        {"missing": 8, "unexpected": 8, "n_validated": N - 8},
        4,
    ),
    "no labels": (
        lambda e: e.__setitem__(1, ({}, e[1][1])),
        {"missing": 8, "unexpected": 8, "n_validated": N - 8},
        4,
    ),
    "wrong group": (set_label(1, "looker_group", "id.x-0-g1"), {"wrong_labels": 1}, 6),
    "a label too many": (set_label(0, "extra", "1"), {"wrong_labels": 1}, 6),
    "a label too few": (lambda e: e[2][0].pop("looker_group"), {"wrong_labels": 1}, 6),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("case", CASES)
def test_forged(case: str, form: dict[str, Any]) -> None:
    change, counters, proved = CASES[case]
    proof = compare(forge(change), **form)
    expected = {"n_expected": N, "n_validated": N, **counters}
    assert summary(proof.findings) == {name: n for name, n in expected.items() if n}
    assert n_proved(proof) == proved
    assert proof.n_received == sum(len(rows) for _, rows in forge(change))
    assert_examples(proof.findings)


def assert_examples(findings: Findings) -> None:
    by_kind = dict.fromkeys(MismatchKind, 0)
    for one in findings.examples:
        by_kind[one.kind] += 1
        assert one.to_json()["kind"] == one.kind
    assert len(findings.examples) == min(MAX_EXAMPLES, findings.n_mismatches)
    assert all(by_kind[kind] <= findings.counts[kind] for kind in MismatchKind)


def test_an_example_says_all_that_is_known() -> None:
    proof = compare(forge(set_row(1, 6, lambda row: altered(row, 30, "~"))))
    (one,) = proof.findings.examples
    time_ns, text = HISTORY.elements()[1][1][6]
    assert one.to_json() == {
        "kind": "corrupt",
        "stream": "id.x-0-01",
        "cycle": 0,
        "fragment": 1,
        "position": 2,
        "timestamp_ns": time_ns,
        "timestamp": f"{np.datetime64(time_ns, 'ns')}Z",
        "expected": text,
        "received": text[:30] + "~" + text[31:],
        "first_difference": 30,
        "seen_as": None,
        "received_later": None,
        "answers": None,
        "labels": referee.labels(HISTORY.content.scheme, 1),
    }
    (one,) = compare(forge(lambda e: e[2][1].pop(0))).findings.examples
    assert (one.kind, one.stream, one.fragment, one.position) == ("missing", "id.x-0-02", 0, 0)
    assert (one.expected, one.received) == (HISTORY.elements()[2][1][0][1], None)
    assert one.first_difference is None


def test_an_example_out_of_order_names_its_place() -> None:
    def swap(elements: Elements) -> None:
        rows = elements[1][1]
        rows[5], rows[6] = rows[6], rows[5]

    (one,) = compare(forge(swap)).findings.examples
    assert (one.kind, one.fragment, one.position) == ("out_of_order", 1, 1)
    assert one.expected == one.received == HISTORY.elements()[1][1][5][1]


def test_an_example_of_nobodys_stream_shows_its_labels() -> None:
    foreign = {"app": "x", "looker_uniquename": "other-0-1"}
    (one,) = compare(forge(lambda e: e.append((foreign, [(1, "a")])))).findings.examples
    assert (one.kind, one.labels, one.timestamp_ns, one.received) == ("unexpected", foreign, 1, "a")


def test_wrong_labels_are_shown_as_selectors() -> None:
    (one,) = compare(forge(lambda e: e[1][0].update(looker_group="other"))).findings.examples
    own = referee.labels(HISTORY.content.scheme, 1)
    assert one.labels == own
    assert one.expected == referee.selector(own)
    assert one.received == referee.selector({**own, "looker_group": "other"})
    assert one.first_difference == len('{looker_group="')


def test_metadata_nobody_wrote_is_unexpected() -> None:
    metadata = {"structuredMetadata": {"trace_id": "7"}}
    found = summary(compare(HISTORY.elements(), metadata=metadata, flags=True).findings)
    assert found == {"n_expected": N, "n_validated": N, "unexpected": N}
    found = summary(compare(HISTORY.elements(), metadata={"parsed": {"a": "b"}}).findings)
    assert found == {"n_expected": N, "n_validated": N, "unexpected": N}


@given(st.integers(0, 23), st.integers(0, 44), st.integers(1, 127), st.sampled_from(list(FORMS)))
def test_any_change_of_one_character_is_corrupt(
    number: int, position: int, flip: int, form: str
) -> None:
    def change(row: tuple[int, str]) -> tuple[int, str]:
        time_ns, text = row
        return time_ns, text[:position] + chr(ord(text[position]) ^ flip) + text[position + 1 :]

    proof = compare(forge(set_row(number // 8, number % 8, change)), **FORMS[form])
    assert summary(proof.findings) == {"n_expected": N, "n_validated": N - 1, "corrupt": 1}
    assert n_proved(proof) == 5


@given(st.data(), st.sampled_from(list(FORMS)))
@settings(max_examples=300)
def test_any_change_of_one_byte_of_the_answer_shows_or_does_not_matter(
    data: st.DataObject, form: str
) -> None:
    body = bytearray(referee.streams_response(HISTORY.elements(), **FORMS[form]))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        proof = LogAnswers(HISTORY.content).compare(bytes(body), HISTORY.page().expectation)
    except DecodeError:
        return
    # whatever is still an answer is judged alike by a reader that only parses
    try:
        assert summary(proof.findings) == summary(slow(bytes(body), HISTORY).findings)
    except DecodeError:
        pytest.fail("taken for an answer without being one")


# -- retries and indeterminate fragments


def again(times: int) -> Callable[[Elements], Any]:
    """Return fragment 1 of stream 1 ``times`` times more, as another shard."""
    return lambda e: [
        e.append(({**e[1][0], "__stream_shard__": str(n)}, e[1][1][4:])) for n in range(times)
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_duplicates_of_a_fragment_that_was_sent_again_are_counted_apart(times: int) -> None:
    history = HISTORY.changed(3, n_repeats=times)
    proof = compare(forge(again(times)), history)
    assert summary(proof.findings) == {
        "n_expected": N,
        "n_validated": N,
        "retry_duplicates": 4 * times,
    }
    assert n_proved(proof, history) == 6
    assert proof.findings.examples == []


@pytest.mark.parametrize(("n_repeats", "times", "found"), [(1, 3, 2), (2, 3, 1), (254, 256, 2)])
def test_more_copies_than_attempts_are_duplicates(n_repeats: int, times: int, found: int) -> None:
    history = HISTORY.changed(3, n_repeats=n_repeats)
    assert summary(compare(forge(again(times)), history).findings) == {
        "n_expected": N,
        "n_validated": N,
        "retry_duplicates": 4 * n_repeats,
        "duplicate": 4 * found,
    }


def test_what_was_sent_ever_so_often_may_come_back_ever_so_often() -> None:
    history = HISTORY.changed(3, n_repeats=MAX_REPEATS)
    findings = compare(forge(again(MAX_REPEATS + 2)), history).findings
    assert summary(findings)["retry_duplicates"] == 4 * (MAX_REPEATS + 2)
    assert findings.examples == []


def test_other_duplicates_are_no_retry_duplicates() -> None:
    history = HISTORY.changed(2, n_repeats=1)
    assert summary(compare(forge(again(1)), history).findings) == {
        "n_expected": N,
        "n_validated": N,
        "duplicate": 4,
    }


def test_a_corrupt_retry_duplicate_is_unexpected() -> None:
    history = HISTORY.changed(3, n_repeats=1)

    def change(elements: Elements) -> None:
        again(1)(elements)
        elements[-1][1][1] = altered(elements[-1][1][1], 25, "~")

    assert summary(compare(forge(change), history).findings) == {
        "n_expected": N,
        "n_validated": N,
        "retry_duplicates": 3,
        "unexpected": 1,
    }


OPTIONAL = HISTORY.changed(3, state=MAYBE).changed(4, state=REJECTED)


def test_optional_pieces_may_be_absent(no_slow_path: None) -> None:
    proof = compare(OPTIONAL.elements(), OPTIONAL)
    assert summary(proof.findings) == {"n_expected": 16, "n_validated": 16}
    assert n_proved(proof, OPTIONAL) == 4


def test_optional_pieces_may_be_there() -> None:
    proof = compare(OPTIONAL.elements(optional=True), OPTIONAL)
    assert summary(proof.findings) == {"n_expected": 16, "n_validated": 16, "n_optional_seen": 4}
    assert n_proved(proof, OPTIONAL) == 5


def test_an_answer_with_all_that_is_in_doubt_is_not_parsed(no_slow_path: None) -> None:
    for states in ({3: MAYBE}, {3: REJECTED, 4: MAYBE}, dict.fromkeys(range(6), REJECTED)):
        history = HISTORY
        for index, state in states.items():
            history = history.changed(index, state=state)
        proof = compare(HISTORY.elements(), history)
        n_doubt = 4 * len(states)
        found = {"n_expected": N - n_doubt, "n_validated": N - n_doubt, "n_optional_seen": n_doubt}
        assert summary(proof.findings) == {name: n for name, n in found.items() if n}
        assert n_proved(proof, history) == 6


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_optional_pieces_may_be_there_in_part(kept: int) -> None:
    elements = OPTIONAL.elements(optional=True)
    del elements[1][1][4 + kept :]
    proof = compare(elements, OPTIONAL)
    assert summary(proof.findings) == {"n_expected": 16, "n_validated": 16, "n_optional_seen": kept}
    assert n_proved(proof, OPTIONAL) == 4


def test_a_corrupt_optional_entry_is_corrupt() -> None:
    elements = OPTIONAL.elements(optional=True)
    elements[1][1][6] = altered(elements[1][1][6], 40, "~")
    proof = compare(elements, OPTIONAL)
    assert summary(proof.findings) == {
        "n_expected": 16,
        "n_validated": 16,
        "n_optional_seen": 3,
        "corrupt": 1,
    }
    assert n_proved(proof, OPTIONAL) == 4


def test_a_rejected_fragment_may_be_there_and_must_be_exact() -> None:
    """A refusal may be the answer to a repeat that somebody in between made."""
    elements = HISTORY.elements()
    proof = compare(elements, OPTIONAL)
    assert summary(proof.findings) == {"n_expected": 16, "n_validated": 16, "n_optional_seen": 8}
    assert n_proved(proof, OPTIONAL) == 6
    (row,) = [row for row in elements[2][1] if row[0] == OPTIONAL.written[4].start_ns]
    elements[2][1][elements[2][1].index(row)] = altered(row, 40, "~")
    assert summary(compare(elements, OPTIONAL).findings) == {
        "n_expected": 16,
        "n_validated": 16,
        "n_optional_seen": 7,
        "corrupt": 1,
    }


def test_nothing_but_optional_pieces() -> None:
    history = referee.history(n_streams=1, n_fragments=1).changed(0, state=MAYBE)
    assert summary(compare([], history).findings) == {}
    found = compare(history.elements(optional=True), history).findings
    assert summary(found) == {"n_optional_seen": 4}


def test_entries_of_an_earlier_cycle_are_checked_but_not_counted() -> None:
    history = HISTORY.changed(0, cycle=0)
    for index in (1, 3, 5):
        history = history.changed(index, cycle=1)
    history = history.changed(3, start_ns=NS + 1500)
    history = history.changed(2, start_ns=NS - 10**6)
    page = history.page(cycle=1)
    elements = [
        (own, [row for row in rows if page.start_ns <= row[0] < page.end_ns])
        for own, rows in history.elements()
    ]
    answers = LogAnswers(history.content)
    body = referee.streams_response(elements)
    assert summary(answers.compare(body, page.expectation).findings) == {
        "n_expected": 12,
        "n_validated": 12,
    }
    # the last two entries of stream 0's first fragment lie in the page's range
    del elements[0][1][0]
    body = referee.streams_response(elements)
    assert summary(answers.compare(body, page.expectation).findings) == {
        "n_expected": 12,
        "n_validated": 12,
        "missing": 1,
    }


# -- what is no answer

GOOD = referee.streams_response(HISTORY.elements(), metadata=LEVEL_UNKNOWN, flags=True)
NO_ANSWERS = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html><body>504 Gateway Time-out</body></html>",
    "text": b"parse error at line 1, col 4: syntax error\n",
    "null": b"null",
    "number": b"5",
    "list": b"[]",
    "error": b'{"status":"error","errorType":"x","error":"y"}',
    "matrix": b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
    "matrix of streams": GOOD.replace(b'"streams"', b'"matrix"'),
    "vector": b'{"status":"success","data":{"resultType":"vector","result":[]}}',
    "no result": b'{"status":"success","data":{"resultType":"streams"}}',
    "null result": b'{"status":"success","data":{"resultType":"streams","result":null}}',
    "numbers": b'{"status":"success","data":{"resultType":"streams","result":[1,2]}}',
    "no values": b'{"status":"success","data":{"resultType":"streams","result":[{"stream":{}}]}}',
    "null labels": GOOD.replace(b'"stream":{', b'"stream":null,"x":{', 1),
    "null row": GOOD.replace(b'"values":[', b'"values":[null,', 1),
    "empty row": GOOD.replace(b'"values":[', b'"values":[[],', 1),
    "row without a line": GOOD.replace(b'"values":[', b'"values":[["1"],', 1),
    "row with a number as line": GOOD.replace(b'"values":[', b'"values":[["1",2],', 1),
    "time in words": GOOD.replace(b'"values":[', b'"values":[["noon","x"],', 1),
    "time beyond 64 bits": GOOD.replace(
        b'"values":[', b'"values":[["9' + b"9" * 19 + b'","x"],', 1
    ),
    "NaN": GOOD.replace(b'"values":[', b'"values":[NaN,', 1),
    "something behind it": GOOD + b"{}",
    "two answers": GOOD + GOOD,
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        LogAnswers(HISTORY.content).compare(body, HISTORY.page().expectation)


@given(st.integers(0, len(GOOD) - 3))
def test_a_truncated_answer_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        LogAnswers(HISTORY.content).compare(GOOD[:length], HISTORY.page().expectation)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += nodes(inner, (*path, key))
    return found


SMALL = referee.history(n_streams=2, n_fragments=1, n_samples=2)
SMALL_ANSWER = json.loads(
    referee.streams_response(SMALL.elements(), metadata=LEVEL_UNKNOWN, flags=True)
)


@pytest.mark.parametrize("flip", [1, 0x20])
def test_no_byte_of_an_answer_may_change_its_meaning_unseen(flip: int) -> None:
    good = referee.streams_response(SMALL.elements(), metadata=LEVEL_UNKNOWN, flags=True)
    expectation = SMALL.page().expectation
    for at in range(len(good)):
        body = bytearray(good)
        body[at] ^= flip
        try:
            parsed = summary(slow(bytes(body), SMALL).findings)
        except DecodeError:
            with pytest.raises(DecodeError):
                LogAnswers(SMALL.content).compare(bytes(body), expectation)
            continue
        found = LogAnswers(SMALL.content).compare(bytes(body), expectation).findings
        assert summary(found) == parsed, at


strange = st.sampled_from([None, 0, 1.5, True, "", "x", [], [[]], {}, {"a": []}, {"a": None}])


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
        proof = LogAnswers(SMALL.content).compare(body, SMALL.page().expectation)
    except DecodeError:
        return
    assert proof.findings.n_expected == 4


def test_an_answer_in_a_list_is_refused() -> None:
    with pytest.raises(DecodeError):
        LogAnswers(HISTORY.content).compare(b"[" + GOOD + b"]", HISTORY.page().expectation)
