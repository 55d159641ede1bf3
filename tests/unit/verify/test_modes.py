"""The weaker ways to check: what each of them still finds, and that nothing is regenerated."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.errors import DecodeError
from looker.model.config import VerifyMode
from looker.model.mismatch import Findings, MismatchKind
from looker.verify import judging
from looker.verify.expectation import Expectation
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.modes import SumsOfSending, ledger_for
from looker.verify.proof import ChecksumLedger
from referee import MAYBE, MS, REJECTED, Elements, History

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.verify.proof import PageProof

# three streams of two fragments of four samples
N, PER_FRAGMENT = 24, 4
LOGS, METRICS = referee.history(), referee.history(metrics=True)
CHECKSUM, COUNT = VerifyMode.CHECKSUM, VerifyMode.COUNT


def by_query_range(mode: VerifyMode, elements: Elements, history: History) -> PageProof:
    body = referee.streams_response(elements)
    answers = LogAnswers(history.content, mode=mode)
    return answers.compare(body, history.page().expectation)


def by_remote_read(mode: VerifyMode, elements: Elements, history: History) -> PageProof:
    body = referee.read_response(elements)
    answers = RemoteReadAnswers(history.content, mode=mode)
    return answers.compare(body, history.page().expectation)


def by_query(mode: VerifyMode, elements: Elements, history: History) -> PageProof:
    body = referee.matrix_response(elements)
    page = history.page()
    answers = QueryAnswers(mode=mode)
    return answers.compare(body, page.expectation, page.start_ns // MS)


WAYS = {
    "logs": (by_query_range, LOGS),
    "read": (by_remote_read, METRICS),
    "query": (by_query, METRICS),
}


def judged(
    way: str, mode: VerifyMode, change: Callable[[Elements], Any], history: History | None = None
) -> tuple[Findings, int]:
    compare, usual = WAYS[way]
    history = history or usual
    elements = copy.deepcopy(history.elements(optional=True))
    change(elements)
    proof = compare(mode, elements, history)
    ledger = ledger_for(mode, history.rows(), history.content)
    ledger.add(proof)
    n_proved = ledger.check(0)
    findings = Findings()
    findings.merge(proof.findings)
    if isinstance(ledger, SumsOfSending):
        findings.merge(ledger.findings)
    return findings, n_proved


def lose(elements: Elements) -> None:
    del elements[1][1][5]


def alter(elements: Elements) -> None:
    """Change the content of one sample in a way that no other check sees."""
    rows = elements[1][1]
    time_ns, content = rows[5]
    rows[5] = (time_ns, content ^ 1 if isinstance(content, int) else content[:-1] + "~")


def alter_first(elements: Elements) -> None:
    """Change the content of the first sample of all."""
    rows = elements[0][1]
    time_ns, content = rows[0]
    rows[0] = (time_ns, content ^ 1 if isinstance(content, int) else content[:-1] + "~")


def exchange(elements: Elements) -> None:
    """Exchange the contents of two samples of one fragment."""
    rows = elements[1][1]
    rows[5], rows[6] = (rows[5][0], rows[6][1]), (rows[6][0], rows[5][1])


def repeat(elements: Elements) -> None:
    rows = elements[1][1]
    rows.insert(5, rows[5])


def repeat_altered(elements: Elements) -> None:
    rows = elements[1][1]
    time_ns, content = rows[5]
    rows.insert(6, (time_ns, content ^ 1 if isinstance(content, int) else content[:-1] + "~"))


def swap(elements: Elements) -> None:
    rows = elements[1][1]
    rows[5], rows[6] = rows[6], rows[5]


def relabel(elements: Elements) -> None:
    elements[1][0]["looker_group"] = "other"


def nothing(elements: Elements) -> None:
    pass


# change, mismatches and proved fragments by checksum, mismatches by count
CASES: list[tuple[Any, dict[str, int], int, dict[str, int]]] = [
    (nothing, {}, 6, {}),
    (lose, {"missing": 1}, 5, {"missing": 1}),
    (alter, {"corrupt": PER_FRAGMENT}, 5, {}),
    (exchange, {"corrupt": PER_FRAGMENT}, 5, {}),
    (repeat, {"duplicate": 1}, 6, {"duplicate": 1}),
    (repeat_altered, {"unexpected": 1}, 6, {"duplicate": 1}),
    (swap, {"out_of_order": 1}, 6, {"out_of_order": 1}),
    (relabel, {"wrong_labels": 1}, 6, {"wrong_labels": 1}),
]


def counts(findings: Findings) -> dict[str, int]:
    return {kind.value: n for kind, n in findings.counts.items() if n}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("change", "found", "proved", "_count"), CASES)
def test_checksum_finds_what_is_not_as_sent(
    way: str, change: Any, found: dict[str, int], proved: int, _count: Any
) -> None:
    findings, n_proved = judged(way, CHECKSUM, change)
    assert counts(findings) == found
    assert n_proved == proved
    assert findings.n_expected == N
    # of a fragment that is not whole, nothing is validated
    assert findings.n_validated == proved * PER_FRAGMENT


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("change", "_found", "_proved", "found"), CASES)
def test_count_looks_at_times_only(
    way: str, change: Any, _found: Any, _proved: Any, found: dict[str, int]
) -> None:
    findings, n_proved = judged(way, COUNT, change)
    assert counts(findings) == found
    assert n_proved == 0
    assert findings.n_expected == N
    assert findings.n_validated == N - found.get("missing", 0)


@pytest.mark.parametrize("mode", [CHECKSUM, COUNT])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_regenerated(
    way: str, mode: VerifyMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("content was regenerated")

    monkeypatch.setattr(Expectation, "keys", property(refuse))
    for parsed in (False, True):
        if parsed:
            for answers in (LogAnswers, RemoteReadAnswers):
                monkeypatch.setattr(answers, "_predicted", lambda *_: None)
        findings, n_proved = judged(way, mode, nothing)
        assert findings.n_validated == N
        assert n_proved == (6 if mode is CHECKSUM else 0)


@pytest.fixture
def no_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the answer was parsed in full")

    monkeypatch.setattr(judging, "align", refuse)


@pytest.mark.parametrize("mode", [CHECKSUM, COUNT])
@pytest.mark.parametrize("way", ["logs", "read"])
@pytest.mark.parametrize("ragged", [False, True])
def test_regular_answers_are_not_parsed(
    way: str, mode: VerifyMode, ragged: bool, no_parsing: None
) -> None:
    history = WAYS[way][1]
    if ragged:
        # streams that differ in their number of samples
        history = history.changed(3, state=REJECTED)
    n, n_whole = (N - 4, 5) if ragged else (N, 6)
    for change in (nothing, alter_first):
        altered = change is alter_first
        findings, n_proved = judged(way, mode, change, history)
        wrong = altered and mode is CHECKSUM
        assert counts(findings) == ({"corrupt": PER_FRAGMENT} if wrong else {})
        assert findings.n_expected == n
        assert findings.n_validated == n - (PER_FRAGMENT if wrong else 0)
        assert n_proved == (n_whole - wrong if mode is CHECKSUM else 0)


@pytest.mark.parametrize("mode", [CHECKSUM, COUNT])
def test_rows_cannot_hide_in_a_line(mode: VerifyMode) -> None:
    history = referee.history(n_chars=100)
    body = referee.streams_response(history.elements())
    line = str(history.elements()[1][1][5][1]).encode()
    hidden = b'"],["1234567890123456789","'
    forged = body.replace(line, line[:30] + hidden + line[30 + len(hidden) :])
    assert len(forged) == len(body)
    answers = LogAnswers(history.content, mode=mode)
    findings = answers.compare(forged, history.page().expectation).findings
    assert findings.counts[MismatchKind.UNEXPECTED] == 1


@pytest.mark.parametrize("mode", [CHECKSUM, COUNT])
@pytest.mark.parametrize("n_cut", [1, 50, 400])
def test_a_short_answer_is_none(mode: VerifyMode, n_cut: int) -> None:
    body = referee.streams_response(LOGS.elements())
    answers = LogAnswers(LOGS.content, mode=mode)
    page = LOGS.page()
    assert answers.compare(body, page.expectation).findings.n_mismatches == 0
    with pytest.raises(DecodeError):
        answers.compare(body.rstrip()[:-n_cut], page.expectation)


@pytest.mark.parametrize("way", WAYS)
def test_a_corrupt_fragment_is_shown_with_both_checksums(way: str) -> None:
    findings, _ = judged(way, CHECKSUM, alter)
    (one,) = findings.examples
    history = WAYS[way][1]
    rows = history.rows()
    row = rows[(rows["stream"] == 1) & (rows["fragment"] == 1)][0]
    assert (one.kind, one.stream, one.fragment, one.position) == (
        *(MismatchKind.CORRUPT, referee.uniquename(history.content.scheme, 1), 1, None),
    )
    assert one.timestamp_ns == row["start_ns"]
    assert one.expected == f"checksum 0x{int(row['checksum']):016x}"
    assert one.received != one.expected
    assert one.labels == referee.labels(history.content.scheme, 1)


def test_pages_that_share_a_fragment_add_up() -> None:
    page = LOGS.page()
    halves = page.halves()
    assert halves is not None
    answers = LogAnswers(LOGS.content, mode=CHECKSUM)
    ledger = SumsOfSending(LOGS.rows(), LOGS.content)
    for half in halves:
        inside: Elements = [
            (own, [row for row in rows if half.start_ns <= row[0] < half.end_ns])
            for own, rows in LOGS.elements()
        ]
        ledger.add(answers.compare(referee.streams_response(inside), half.expectation))
    assert ledger.check(0) == 6
    assert ledger.findings.n_validated == N


@given(st.sampled_from(sorted(WAYS)), st.integers(0, N - 1), st.integers(0, 51))
def test_any_bit_of_content_is_seen_by_the_checksum(way: str, number: int, bit: int) -> None:
    def flip(elements: Elements) -> None:
        rows = elements[number // 8][1]
        time_ns, content = rows[number % 8]
        if isinstance(content, int):
            rows[number % 8] = (time_ns, content ^ 1 << bit)
        else:
            at = bit % len(content)
            other = "~" if content[at] != "~" else "}"
            rows[number % 8] = (time_ns, content[:at] + other + content[at + 1 :])

    findings, n_proved = judged(way, CHECKSUM, flip)
    assert counts(findings) == {"corrupt": PER_FRAGMENT}
    assert n_proved == 5


@pytest.mark.parametrize("mode", [CHECKSUM, COUNT])
def test_indeterminate_fragments_may_be_there_or_not(mode: VerifyMode) -> None:
    history = LOGS.changed(3, state=MAYBE)  # stream 1, fragment 1
    findings, _ = judged("logs", mode, nothing, history)
    assert counts(findings) == {}
    assert (findings.n_expected, findings.n_validated) == (N - 4, N - 4)
    assert findings.n_optional_seen == 4
    findings, _ = judged("logs", mode, lose, history)
    assert counts(findings) == {}
    assert findings.n_expected == findings.n_validated == N - 4


def test_the_full_check_has_both_proofs() -> None:
    rows = LOGS.rows()
    assert type(ledger_for(VerifyMode.CONTENT, rows, LOGS.content)) is ChecksumLedger
    assert np.count_nonzero(rows["checksum"]) == 6
