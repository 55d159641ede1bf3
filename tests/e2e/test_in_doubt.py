"""What is known to be stored is known from reading only, whatever answers pushes get.

A proxy stores what is pushed, or does not, and answers as it likes. Never may what was stored
count as unexpected, nor a refusal or an odd success as proof of anything.
"""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from in_process import Cycle, one_cycle
from looker.model.config import Mode, ReadApi, VerifyMode
from looker.model.mismatch import MismatchKind
from looker.model.retry import RetryPolicy
from looker.model.verdict import Verdict
from looker.target.config import TargetConfig
from looker.target.server import serving
from servers import RESET, Answer, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Forward

N_SAMPLES: Final = 5
N_PUSHES: Final = 8
N_ODD: Final = N_PUSHES // 2
FAST: Final = RetryPolicy(60.0, 0.01, 0.02, 0.5)
RATE: Final = b"ingestion rate limit (9) exceeded while adding 5 samples and 0 metadata"
HA: Final = b"replicas did not match, rejecting sample: replica=r2, elected=r1"
ALREADY: Final = b"rpc error: code = AlreadyExists desc = store locally: out of order sample"
KINDS: Final = {
    "logs": (Mode.LOGS, ReadApi.AUTO),
    "remote-read": (Mode.METRICS, ReadApi.REMOTE_READ),
    "query": (Mode.METRICS, ReadApi.QUERY),
}


@pytest.fixture(name="target", scope="module")
def embedded() -> Iterator[str]:
    """Serve one embedded target in this process for all tests."""
    with serving(TargetConfig()) as server:
        yield server.url


@dataclass
class OnlyOdd:
    """A push script that is honest but for each second message, of which it answers in turn.

    ``answers`` are those to the first and further attempts; the last one stands for all that
    follow, None is the backend's. Only the first attempt is stored, and only if ``stores``.
    """

    answers: tuple[Answer | None, ...]
    stores: bool = True
    numbers: dict[bytes, int] = field(default_factory=dict)
    attempts: Counter[bytes] = field(default_factory=Counter)

    async def __call__(self, _number: int, forward: Forward) -> Answer:
        body: bytes = forward.body  # type: ignore[attr-defined]
        number = self.numbers.setdefault(body, len(self.numbers))
        if number % 2 == 0:
            return await forward()
        attempt = self.attempts[body]
        self.attempts[body] += 1
        answer = self.answers[min(attempt, len(self.answers) - 1)]
        if answer is None or (self.stores and attempt == 0):
            stored = await forward()
            return stored if answer is None else answer
        return answer


def cycle_through(target: str, kind: str, script: Any, **changes: Any) -> Cycle:
    mode, read_api = KINDS[kind]
    changes = {"n_streams": N_PUSHES, "stop_after_n_fragments": 1, "retry": FAST, **changes}
    with Proxy(target, push=script) as proxy:
        return one_cycle(proxy.url, mode=mode, read_api=read_api, **changes)


def assert_books(cycle: Cycle, n_acked: int, n_doubt: int, n_found: int) -> None:
    """Hold all figures about what was acknowledged, in doubt and found against each other."""
    write, read, told = cycle.write, cycle.read, cycle.report.to_json()
    assert dict(read.findings.counts) == dict.fromkeys(MismatchKind, 0)
    assert write.samples_acked == n_acked
    assert write.samples_in_doubt == n_doubt
    assert read.findings.n_expected == read.findings.n_validated == n_acked
    assert read.findings.n_optional_seen == n_found
    assert told["write"]["samples_in_doubt"] == n_doubt
    assert told["read"]["samples_indeterminate_found"] == n_found
    assert told["write"]["samples_stored"] == n_acked + n_found
    duration_s = told["write"]["duration_s"]
    assert told["write"]["samples_stored_per_s"] == pytest.approx((n_acked + n_found) / duration_s)


STORED_BEFORE: Final = {
    "Thanos without quorum": (Answer(503, b"quorum not reached"), Answer(409, b"conflict")),
    "Thanos, in other words": (Answer(503), Answer(409, ALREADY)),
    "a conflict without words": (Answer(502), Answer(409)),
    "Cortex out of time": (
        Answer(500, b"context deadline exceeded"),
        Answer(400, b"user=fake: err: out of order sample. timestamp=2026-11-28T07:46:24Z"),
    ),
    "reset": (RESET, Answer(400, b"duplicate sample for timestamp")),
    "a first try that nobody saw, then a rate limit": (
        Answer(429, RATE),
        Answer(400, b"entry too far behind"),
    ),
    "under a gateway's status": (Answer(504), Answer(422, b"out of order sample")),
    "a longer way": (Answer(503), Answer(429, RATE), Answer(529), Answer(409, b"conflict")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", STORED_BEFORE)
def test_a_repeat_that_is_refused_as_stored_before_goes_on(
    target: str, kind: str, case: str
) -> None:
    """Field cases 1 and 32."""
    cycle = cycle_through(target, kind, OnlyOdd(STORED_BEFORE[case]))
    assert cycle.write.refusal is None
    assert cycle.write.pushes_indeterminate == N_ODD
    assert cycle.write.pushes_acked == N_PUSHES - N_ODD
    n_doubt = N_ODD * N_SAMPLES
    assert_books(cycle, N_PUSHES * N_SAMPLES - n_doubt, n_doubt, n_doubt)
    assert cycle.report.verdict is Verdict.PASSED


REFUSALS: Final = {
    **{str(status): Answer(status, b"no") for status in (400, 401, 403, 404, 405, 415, 418, 507)},
    "409": Answer(409, ALREADY),
    "422": Answer(422, b"out of bounds"),
    "413": Answer(413, b"<html>413 Request Entity Too Large</html>"),
    "too large by words": Answer(400, b"decoded size exceeds the 9 bytes limit"),
    "series limit": Answer(400, b"per-user series limit of 5 exceeded"),
    **{str(status): Answer(status) for status in (201, 203, 205, 206, 260, 303, 307)},
    "202 by Cortex' HA tracker": Answer(202, HA),
    "200 with a login page": Answer(200, b"<!doctype html><title>Log in</title>"),
    "200 with an error": Answer(200, b'{"status":"error","error":"disk full"}'),
}


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize("kind", ["logs", "remote-read"])
@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_or_an_odd_success_leaves_in_doubt_what_was_sent(
    target: str, kind: str, case: str, stores: bool
) -> None:
    """Field cases 2, 3 and 45, and a refusal whose first try nobody saw."""
    answer = REFUSALS[case]
    cycle = cycle_through(target, kind, OnlyOdd((answer,), stores))
    # the write phase ends with the second message
    assert cycle.write.pushes_acked == 1
    assert cycle.write.pushes_rejected + cycle.write.pushes_unresolved == 1
    refusal = cycle.write.refusal
    assert refusal is not None
    assert refusal.startswith(f"{answer.status} {answer.body.decode()}".strip())
    assert_books(cycle, N_SAMPLES, N_SAMPLES, N_SAMPLES * stores)
    assert cycle.report.verdict is Verdict.PASSED
    (said,) = cycle.write.reasons.to_json()[str(answer.status)]
    assert said == {"text": answer.body.decode(), "count": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [401, 403, 404, 413, 303, 206, 409])
def test_a_gateways_error_after_storing_and_another_refusal_of_the_repeat(
    target: str, kind: str, status: int
) -> None:
    """Field case 44."""
    cycle = cycle_through(target, kind, OnlyOdd((Answer(502), Answer(status, b"no"))))
    assert cycle.write.pushes_unresolved == 1
    assert cycle.write.refusal is not None
    assert_books(cycle, N_SAMPLES, N_SAMPLES, N_SAMPLES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verify", [VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT])
@pytest.mark.parametrize("case", ["401", "409", "413", "201", "303", "202 by Cortex' HA tracker"])
def test_a_run_that_goes_on_behind_refusals_finds_all_that_was_stored(
    target: str, kind: str, verify: VerifyMode, case: str
) -> None:
    cycle = cycle_through(
        target, kind, OnlyOdd((REFUSALS[case],)), allow_rejected=True, verify=verify
    )
    n_doubt = N_ODD * N_SAMPLES
    assert cycle.write.pushes_rejected + cycle.write.pushes_unresolved == N_ODD
    assert_books(cycle, N_PUSHES * N_SAMPLES - n_doubt, n_doubt, n_doubt)
    assert cycle.report.verdict is Verdict.PASSED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verify", [VerifyMode.CONTENT, VerifyMode.CHECKSUM, VerifyMode.COUNT])
def test_a_plain_success_that_stores_nothing_is_a_lie_that_reading_finds(
    target: str, kind: str, verify: VerifyMode
) -> None:
    cycle = cycle_through(target, kind, OnlyOdd((Answer(204),), stores=False), verify=verify)
    assert cycle.write.samples_acked == N_PUSHES * N_SAMPLES
    assert cycle.write.samples_in_doubt == 0
    assert cycle.read.findings.counts[MismatchKind.MISSING] == N_ODD * N_SAMPLES
    assert cycle.read.findings.n_mismatches == N_ODD * N_SAMPLES
    assert cycle.report.verdict is Verdict.FAILED


@pytest.mark.parametrize("kind", ["logs", "remote-read"])
@pytest.mark.parametrize(
    ("first", "n_parts"),
    [(Answer(413), 2), (Answer(400, b"decoded size exceeds the 9 bytes limit"), 4)],
)
def test_parts_of_a_message_that_was_stored_as_a_whole_are_repeats(
    target: str, kind: str, first: Answer, n_parts: int
) -> None:
    """A message of four fragments is stored, refused as too large, and its parts are known."""

    async def script(number: int, forward: Forward) -> Answer:
        if number == 0:
            await forward()
            return first
        return Answer(400, b"out of order sample") if number <= n_parts else await forward()

    cycle = cycle_through(target, kind, script, n_fragments_per_message=4)
    assert cycle.write.pushes_divided == 1
    assert cycle.write.refusal is None
    assert cycle.write.pushes_indeterminate == n_parts
    assert_books(cycle, 4 * N_SAMPLES, 4 * N_SAMPLES, 4 * N_SAMPLES)


@pytest.mark.parametrize("kind", ["logs", "remote-read"])
def test_parts_that_are_not_sent_any_more_were_sent_with_the_whole(target: str, kind: str) -> None:
    """502 after storing, 413 to the repeat, and 403 to the first part: the others end in doubt."""
    answers = iter([Answer(502), Answer(413), Answer(403, b"no")])

    async def script(number: int, forward: Forward) -> Answer:
        if number == 0:
            await forward()
        return next(answers)

    cycle = cycle_through(target, kind, script, n_streams=4, n_fragments_per_message=4)
    assert cycle.write.samples_acked == 0
    assert cycle.write.samples_in_doubt == 4 * N_SAMPLES
    assert cycle.read.findings.n_optional_seen == 4 * N_SAMPLES
    assert cycle.read.findings.n_mismatches == 0
    # nothing had to be there
    assert cycle.report.verdict is Verdict.UNKNOWN


def test_what_was_never_sent_is_not_in_doubt(target: str) -> None:
    """Nobody listens where it is pushed to."""
    away = RetryPolicy(0.2, 0.05, 0.1, 0.5)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    cycle = one_cycle(
        target, mode=Mode.LOGS, n_streams=4, retry=away, elsewhere=f"http://127.0.0.1:{port}"
    )
    assert cycle.write.pushes_rejected == 1
    assert cycle.write.refusal is not None
    assert "ConnectError" in cycle.write.refusal
    assert (cycle.write.samples_acked, cycle.write.samples_in_doubt) == (0, 0)
    assert len(cycle.ledger.rows_of(0, 4)) == 0


@pytest.mark.parametrize("status", [529, 503, 429])
@pytest.mark.parametrize("kind", ["logs", "remote-read"])
def test_a_rate_limit_is_waited_for_and_counted_under_any_status(
    target: str, kind: str, status: int
) -> None:
    """Field case 11."""
    answer = Answer(status, RATE, {"Retry-After": "0.2"})
    cycle = cycle_through(target, kind, OnlyOdd((answer, None), stores=False))
    assert cycle.write.pushes_acked == N_PUSHES
    assert cycle.write.pushes_retried == N_ODD
    assert cycle.write.rate_limited_s >= 0.2 * N_ODD
    assert cycle.write.limited_by.value == "rate_limit"
    assert_books(cycle, N_PUSHES * N_SAMPLES, 0, 0)


# --- whatever the answers ------------------------------------------------------------------------

REPLIES: Final = (
    RESET,
    *(Answer(status) for status in (201, 202, 203, 206, 301, 303, 400, 401, 403, 404, 408)),
    *(Answer(status) for status in (409, 413, 415, 422, 429, 500, 501, 502, 503, 504, 507, 529)),
    *(Answer(status, RATE) for status in (200, 403, 429, 503, 529)),
    *(Answer(status, ALREADY) for status in (400, 409, 500)),
    *(Answer(200, text) for text in (b"ok", b'{"error":"x"}', b"<html>")),
    Answer(202, HA),
    Answer(400, b"decoded size exceeds the 9 bytes limit"),
)
attempts = st.tuples(st.sampled_from(REPLIES), st.booleans())


@pytest.mark.parametrize("kind", ["logs", "remote-read"])
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(attempts, min_size=1, max_size=6), st.sampled_from([1, 3]), st.booleans())
def test_a_right_target_is_never_failed(
    target: str, kind: str, sequence: list[tuple[Answer, bool]], per_message: int, allow: bool
) -> None:
    """Any answer after storing, or without: what comes back is right, so nothing is found wrong.

    But for plain successes that store nothing: those are lies, which reading finds.
    """

    async def script(number: int, forward: Forward) -> Answer:
        if number >= len(sequence):
            return await forward()
        answer, stores = sequence[number]
        acknowledges = answer.status == 200 and answer.body == b"ok"
        acknowledges |= answer.status == 202 and not answer.body
        if stores or acknowledges:
            stored = await forward()
            if acknowledges and stored.status >= 300:
                return stored
        return answer

    cycle = cycle_through(
        target,
        kind,
        script,
        n_streams=3,
        stop_after_n_fragments=2,
        n_fragments_per_message=per_message,
        allow_rejected=allow,
        retry=RetryPolicy(0.1, 0.001, 0.002, 0.5),
    )
    assert cycle.report.verdict is not Verdict.FAILED
    found = cycle.read.findings
    assert dict(found.counts) == dict.fromkeys(MismatchKind, 0)
    assert found.n_validated == found.n_expected == cycle.write.samples_acked
    assert found.n_optional_seen <= cycle.write.samples_in_doubt
