"""What was once seen wrong stays seen: successive answers to one question, in each way and mode."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

import liars
import referee
from looker.clock import SystemClock
from looker.engine.page_reader import PageReader
from looker.errors import TargetError
from looker.model.config import VerifyMode
from looker.model.mismatch import Findings
from looker.model.report import ReadReport
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.modes import SumsOfSending, ledger_for
from looker.verify.pages import PageLimits
from referee import MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from looker.backend.attempts import Attempts
    from looker.model.query import RangeQuery
    from looker.verify.proof import PageProof

LOGS, METRICS = referee.history(n_chars=60), referee.history(metrics=True)
N, PER_FRAGMENT = 24, 4
CONTENT, CHECKSUM, COUNT = VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT
WAYS = {
    "logs": (LOGS, liars.LOGS, referee.streams_response),
    "query": (METRICS, liars.QUERY, referee.matrix_response),
    "read": (METRICS, liars.REMOTE_READ, referee.read_response),
}
KINDS = sorted(liars.LIES)


class Liar:
    """Answers in turn with what it was given; the last one for ever. None: no answer."""

    def __init__(self, history: referee.History, way: str, answers: Sequence[Any]) -> None:
        self._history, self._answers = history, list(answers)
        _, self._codec, self._encode = WAYS[way]
        self.asked: list[RangeQuery] = []

    async def fetch(self, query: RangeQuery, attempts: Attempts, *, divisible: bool) -> bytes:
        del divisible
        self.asked.append(query)
        attempts.n_attempts += 1
        attempts.service_ns.append(1000)
        lies = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if lies is None:
            raise TargetError("a query got no answer")
        inside = [
            (own, [row for row in rows if query.start_ns <= row[0] < query.end_ns])
            for own, rows in self._history.elements()
        ]
        body = self._encode([one for one in inside if one[1]])
        says: dict[str, Any] = {}
        if isinstance(lies, tuple):
            lies, says = lies
        return liars.lie(self._codec, body, lies, **says) if lies or says else body


def asked(
    way: str,
    mode: VerifyMode,
    answers: Sequence[Any],
    *,
    grace_s: float = 60.0,
    max_answer: int = 1000,
) -> tuple[Findings, Liar, str | None]:
    """Return what is found where a question is answered so, the client, and the error."""
    history = WAYS[way][0]
    client = Liar(history, way, answers)
    compare: Any
    if way == "logs":
        logs = LogAnswers(history.content, mode=mode)
        compare = lambda body, page, full: logs.compare(body, page.expectation, in_full=full)  # noqa: E731
    elif way == "query":
        query = QueryAnswers(mode=mode)
        compare = lambda body, page, full: query.compare(  # noqa: E731
            body, page.expectation, page.start_ns // MS, in_full=full
        )
    else:
        remote = RemoteReadAnswers(history.content, mode=mode)
        compare = lambda body, page, full: remote.compare(body, page.expectation, in_full=full)  # noqa: E731
    proofs: list[PageProof] = []
    error = None

    async def no_pause(_: float) -> None:
        pass

    async def read() -> None:
        nonlocal error
        with ThreadPoolExecutor(1) as executor, pytest.MonkeyPatch.context() as patch:
            reader = PageReader(
                client=cast("Any", client),
                compare=compare,
                executor=executor,
                limits=PageLimits(1000, max_answer),
                answer_bytes=lambda _: 1 << 20,
                grace_s=grace_s,
                clock=SystemClock(),
                stop=asyncio.Event(),
                report=ReadReport(),
                by_content=mode is CHECKSUM,
            )
            patch.setattr("looker.engine.page_reader.asyncio.sleep", no_pause)
            try:
                await reader.read(history.page(), proofs)
            except TargetError as stopped:
                error = str(stopped)

    asyncio.run(read())
    ledger = ledger_for(mode, history.rows(), history.content)
    findings = Findings()
    for proof in proofs:
        ledger.add(proof)
        findings.merge(proof.findings)
    ledger.check(0)
    if isinstance(ledger, SumsOfSending):
        findings.merge(ledger.findings)
    return findings, client, error


def counts(findings: Findings) -> dict[str, int]:
    return {kind.value: n for kind, n in findings.counts.items() if n}


every_way = pytest.mark.parametrize("way", WAYS)
every_mode = pytest.mark.parametrize("mode", [CONTENT, CHECKSUM, COUNT])


@every_way
@every_mode
@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_answer_that_lacks_a_sample_stays_seen(
    way: str, mode: VerifyMode, name: str
) -> None:
    """Field case 39: the repeat, which is right, does not undo what the first answer showed."""
    lie, _ = liars.LIES[name]
    found, client, _ = asked(way, mode, [[lie, liars.lacking], []])
    if name == "corrupt" and mode is COUNT:
        assert counts(found) == {}
    else:
        assert counts(found) == {"transient": 1}
    assert found.n_validated == found.n_expected == N
    # the one that was right is confirmed
    assert len(client.asked) == 3


@every_way
@every_mode
@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_answer_that_persists_is_counted_once(
    way: str, mode: VerifyMode, name: str
) -> None:
    lie, kind = liars.LIES[name]
    found, _, _ = asked(way, mode, [[lie, liars.lacking], [lie], [lie]])
    if name == "corrupt" and mode is COUNT:
        assert counts(found) == {}
    elif name == "corrupt" and mode is CHECKSUM:
        assert counts(found) == {"corrupt": PER_FRAGMENT}
    else:
        assert counts(found) == {kind: 1}


@every_way
@every_mode
@pytest.mark.parametrize("name", KINDS)
def test_without_grace_it_is_asked_once(way: str, mode: VerifyMode, name: str) -> None:
    lie, kind = liars.LIES[name]
    found, client, _ = asked(way, mode, [[lie, liars.lacking], []], grace_s=0.0)
    expected = {kind: 1, "missing": 1}
    if name == "corrupt" and mode is not CONTENT:
        expected = {"missing": 1} | ({"corrupt": PER_FRAGMENT} if mode is CHECKSUM else {})
    assert counts(found) == expected
    assert len(client.asked) == 1


@every_way
@every_mode
def test_what_is_right_at_once_is_asked_once(way: str, mode: VerifyMode) -> None:
    found, client, _ = asked(way, mode, [[]])
    assert counts(found) == {}
    assert len(client.asked) == 1


@every_way
@every_mode
@pytest.mark.parametrize(
    ("answers", "expected", "n_asked"),
    [
        # late, and then there for good
        ([["lacking"], [], []], {}, 3),
        ([["lacking"], ["lacking"], [], []], {}, 4),
        # comes, goes and comes
        ([["lacking"], [], ["lacking"], [], []], {"inconsistent": 1}, 5),
        ([["lacking"], [], ["lacking"], [], ["lacking"], [], []], {"inconsistent": 1}, 7),
        ([["empty"], [], ["empty"], [], []], {"inconsistent": N}, 5),
        ([["lacking"], ["empty"], [], []], {"inconsistent": N - 1}, 4),
    ],
)
def test_what_comes_and_goes_is_inconsistent(
    way: str, mode: VerifyMode, answers: Any, expected: dict[str, int], n_asked: int
) -> None:
    lies = [[getattr(liars, name) for name in names] for names in answers]
    found, client, _ = asked(way, mode, lies)
    assert counts(found) == expected
    assert found.n_validated == found.n_expected == N
    assert len(client.asked) == n_asked


@pytest.mark.parametrize("way", ["logs", "query"])
@every_mode
def test_a_partial_answer_does_not_contradict_a_whole_one(way: str, mode: VerifyMode) -> None:
    """What comes and goes is explained where the answers that lack it say so."""
    partial = ([liars.lacking], {"warnings": ["one store did not answer"]})
    lacking = [liars.lacking]
    found, client, _ = asked(way, mode, [lacking, [], partial, [], []])
    assert counts(found) == {}
    assert found.statements == {"warning: one store did not answer": 1}
    assert found.n_validated == N
    assert len(client.asked) == 5
    # what it lacked is no surprise, and is not asked for once more when it has come
    found, client, _ = asked(way, mode, [partial, partial, []])
    assert counts(found) == {}
    assert found.statements == {"warning: one store did not answer": 2}
    assert len(client.asked) == 3
    found, _, _ = asked(way, mode, [lacking, [], lacking, partial, [], []])
    assert counts(found) == {"inconsistent": 1}


@every_way
@every_mode
def test_what_came_late_and_wrong_stays_seen(way: str, mode: VerifyMode) -> None:
    answers = [[liars.empty], [liars.corrupt], [], []]
    found, client, _ = asked(way, mode, answers)
    assert counts(found) == ({} if mode is COUNT else {"transient": 1})
    assert len(client.asked) == (3 if mode is COUNT else 4)


@every_way
def test_what_was_there_and_is_not_at_the_end_is_not_missing_as_well(way: str) -> None:
    lacking, empty = [liars.lacking], [liars.empty]

    found, client, error = asked(way, CONTENT, [lacking, empty, None])
    assert counts(found) == {"inconsistent": N - 1}
    assert error == "a query got no answer"
    assert len(client.asked) == 3


@every_way
def test_what_was_seen_before_the_target_went_away_counts(way: str) -> None:
    found, _, error = asked(way, CONTENT, [[liars.duplicate, liars.lacking], None])
    assert counts(found) == {"duplicate": 1}
    assert error == "a query got no answer"


@every_mode
@pytest.mark.parametrize("name", KINDS)
def test_halves_do_not_undo_what_a_cut_answer_showed(mode: VerifyMode, name: str) -> None:
    """A full answer is asked for in halves: what it showed counts all the same."""
    lie, _ = liars.LIES[name]
    found, client, _ = asked("logs", mode, [[lie], []], max_answer=N)
    assert len(client.asked) == 3
    if name == "corrupt" and mode is COUNT:
        assert counts(found) == {}
    else:
        assert counts(found) == {"transient": 1}
    assert found.n_validated == N


@every_way
def test_a_transient_mismatch_is_shown_with_both_answers(way: str) -> None:
    found, _, _ = asked(way, CONTENT, [[liars.corrupt, liars.lacking], []])
    (one,) = found.examples
    history = WAYS[way][0]
    assert (one.kind, one.seen_as) == ("transient", "corrupt")
    assert one.stream == referee.uniquename(history.content.scheme, 0)
    assert one.timestamp_ns == history.elements()[0][1][-2][0]
    assert one.received != one.expected
    assert one.received_later == one.expected
    assert one.answers == "answer 1 of 3 showed it corrupt, the last one did not"


def test_an_inconsistent_sample_is_shown_with_the_answers_that_had_it() -> None:
    answers = [[liars.lacking], [], [liars.lacking], [], []]
    found, _, _ = asked("logs", CONTENT, answers)
    (one,) = found.examples
    time_ns, text = LOGS.elements()[-1][1][-1]
    assert (one.kind, one.timestamp_ns, one.expected) == ("inconsistent", time_ns, text)
    assert one.answers == "of 5 answers, number 2, 4, 5 had it, the others did not"
