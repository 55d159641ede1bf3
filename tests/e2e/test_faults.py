"""Every fault that the embedded target injects: what Looker reports of it, exactly."""

from __future__ import annotations

import re
import signal
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.errors import ExitCode
from looker.model.config import Mode, ReadApi
from looker.model.mismatch import MismatchKind
from looker.model.retry import RetryPolicy
from looker.model.verdict import Verdict
from looker.target.config import config_of
from looker.target.faults import KINDS
from looker.target.server import serving
from servers import PATIENCE_S, Run, embedded_target, looker, run_config, run_engine

if TYPE_CHECKING:
    from pathlib import Path

    from looker.model.report import ReadReport, WriteReport

N_STREAMS: Final = 20
N_FRAGMENTS: Final = 2
N_SAMPLES: Final = 5
PER_STREAM: Final = N_FRAGMENTS * N_SAMPLES
N_PUSHES: Final = N_STREAMS * N_FRAGMENTS
N_ALL: Final = N_STREAMS * PER_STREAM
PER_ANSWER: Final = 2 * PER_STREAM
"""A group is two streams; each is read back by one query."""
N_ANSWERS: Final = N_ALL // PER_ANSWER
EVERY: Final = 7
FINAL: Final = RetryPolicy(0.8, 0.05, 0.1, 0.5)
"""Gives up while a test waits."""


@dataclass(frozen=True)
class Api:
    """What is written, and how it is read back."""

    mode: Mode
    read_api: ReadApi
    step_ns: int

    @property
    def is_logs(self) -> bool:
        return self.mode is Mode.LOGS


APIS: Final = {
    "logs": Api(Mode.LOGS, ReadApi.AUTO, 10),
    "remote-read": Api(Mode.METRICS, ReadApi.REMOTE_READ, 10_000_000),
    "query": Api(Mode.METRICS, ReadApi.QUERY, 10_000_000),
}


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> Api:
    return APIS[request.param]


@pytest.fixture(name="writer", params=["logs", "remote-read"])
def one_api_of_each_mode(request: pytest.FixtureRequest) -> Api:
    """For what concerns pushes, which are the same however they are read back."""
    return APIS[request.param]


@dataclass(frozen=True)
class Ended:
    """A run against a target with faults."""

    exit_code: ExitCode
    verdict: Verdict
    write: WriteReport
    read: ReadReport
    injected: dict[str, int]
    example_kinds: set[str]

    @property
    def mismatches(self) -> dict[str, int]:
        """Those kinds that were found at all."""
        return {kind.value: n for kind, n in self.read.findings.counts.items() if n}

    def assert_all_written(self) -> None:
        """Every push was acknowledged at once."""
        assert self.write.pushes_acked == N_PUSHES
        assert self.write.samples_acked == N_ALL
        assert self.write.pushes_retried == self.write.pushes_indeterminate == 0
        assert self.write.pushes_rejected == self.write.pushes_unresolved == 0
        assert self.write.refusal is None

    def assert_passed(self) -> None:
        """All that was acknowledged came back, and nothing else."""
        assert self.verdict is Verdict.PASSED
        assert self.mismatches == {}
        findings = self.read.findings
        assert findings.n_expected == findings.n_validated == self.write.samples_acked
        assert self.read.error is None


def run(api: Api, *faults: str, like: str = "looker", **changes: Any) -> Ended:
    """Run Looker against a target with faults, both in this process but for the workers."""
    settings = {
        "mode": api.mode,
        "read_api": api.read_api,
        "step_ns": api.step_ns,
        "n_streams": N_STREAMS,
        "n_samples_per_fragment": N_SAMPLES,
        "stop_after_n_fragments": N_FRAGMENTS,
        **changes,
    }
    with serving(config_of({"fault": list(faults), "like": like})) as server:
        report = run_engine(run_config(server.url, **settings))
        injected = {kind: n for kind, n in server.target.faults.n_injected.items() if n}
    # no fault of a target's is one of Looker's own
    assert report.faults == []
    totals = report.totals()
    assert totals.read is not None
    examples = {example.kind.value for example in totals.read.findings.examples}
    return Ended(report.exit_code, report.verdict, totals.write, totals.read, injected, examples)


def test_without_a_fault_nothing_is_found_or_counted(api: Api) -> None:
    ended = run(api)
    assert ended.exit_code is ExitCode.PASSED
    ended.assert_all_written()
    ended.assert_passed()
    assert ended.injected == {}
    assert ended.read.queries == N_ANSWERS


# --- what is stored or answered wrong ----------------------------------------------------------

FOUND: Final[dict[str, dict[str, int]]] = {
    "drop-fragment": {"missing": N_SAMPLES},
    "duplicate-fragment": {"duplicate": N_SAMPLES},
    "drop-entry": {"missing": 1},
    "duplicate-entry": {"duplicate": 1},
    "corrupt-byte": {"corrupt": 1},
    "truncate-line": {"corrupt": 1},
    "shift-timestamp": {"missing": 1, "unexpected": 1},
    "foreign-entry": {"unexpected": 1},
    "swap-entries": {"out_of_order": 1},
    "wrong-label": {"wrong_labels": 1},
    "merge-streams": {"missing": PER_STREAM, "unexpected": PER_STREAM},
    "split-streams": {},
    "stale-read": {"missing": PER_ANSWER},
    "short-page": {"missing": PER_ANSWER // 2},
    "ack-without-store": {"missing": N_SAMPLES},
}
"""What one fault of each kind is reported as, where nothing is asked for again."""
N_OPPORTUNITIES: Final = {
    "entry": N_ALL,
    "fragment": N_PUSHES,
    "pair": N_ALL // 2,
    "element": N_STREAMS,
    "answer": N_ANSWERS,
    "push": N_PUSHES,
}


@pytest.mark.parametrize("kind", FOUND)
def test_each_damage_is_found_and_counted_exactly(api: Api, kind: str) -> None:
    ended = run(api, f"{kind}:every={EVERY}")
    n = N_OPPORTUNITIES[KINDS[kind].opportunity] // EVERY
    found = FOUND[kind]
    if kind == "truncate-line" and not api.is_logs:
        n, found = 0, {}  # a sample has no length
    assert ended.injected == ({kind: n} if n else {})
    assert ended.mismatches == {mismatch: n * each for mismatch, each in found.items()}
    assert ended.example_kinds <= set(found)
    assert bool(ended.example_kinds) == bool(found)
    ended.assert_all_written()
    if not found:
        ended.assert_passed()
        assert ended.exit_code is ExitCode.PASSED
        return
    assert ended.verdict is Verdict.FAILED
    assert ended.exit_code is ExitCode.MISMATCH
    inexact = n * (found.get("missing", 0) + found.get("corrupt", 0))
    assert ended.read.findings.n_expected == N_ALL
    assert ended.read.findings.n_validated == N_ALL - inexact
    assert ended.read.complete
    assert ended.read.error is None


@pytest.mark.parametrize("kind", ["corrupt-byte", "shift-timestamp", "duplicate-entry"])
def test_one_fault_among_many_samples_without_gaps_is_found(api: Api, kind: str) -> None:
    """Times follow one another as closely as they can: a shifted one lands on another's place."""
    step_ns = 1 if api.is_logs else 1_000_000
    size = {"n_streams": 4, "n_samples_per_fragment": 3000, "max_lag_s": 4000.0}
    ended = run(api, f"{kind}:after=4321", step_ns=step_ns, **size)
    assert ended.injected == {kind: 1}
    assert ended.mismatches == FOUND[kind]
    assert ended.read.findings.n_expected == 4 * 2 * 3000
    assert ended.exit_code is ExitCode.MISMATCH


def test_counts_of_several_faults_add_up(api: Api) -> None:
    kinds = (
        *("drop-fragment", "duplicate-fragment", "drop-entry", "duplicate-entry"),
        *("corrupt-byte", "foreign-entry", "wrong-label", "swap-entries"),
    )
    ended = run(api, ",".join(f"{kind}:every=9" for kind in kinds))
    assert set(ended.injected) == set(kinds)
    expected: dict[str, int] = {}
    for kind, n in ended.injected.items():
        for mismatch, each in FOUND[kind].items():
            expected[mismatch] = expected.get(mismatch, 0) + n * each
    assert ended.mismatches == expected


@pytest.mark.parametrize(
    ("kind", "n_asked_again"),
    [
        ("stale-read:every=1", N_ANSWERS),
        ("short-page:every=3", N_ANSWERS - 2),
    ],
)
def test_what_is_right_within_the_grace_period_passes(
    api: Api, kind: str, n_asked_again: int
) -> None:
    ended = run(api, kind, read_grace_s=PATIENCE_S, max_concurrent_reads=1)
    assert sum(ended.injected.values()) == n_asked_again
    ended.assert_all_written()
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED
    # and once more when it had come
    assert ended.read.queries == N_ANSWERS + 2 * n_asked_again


def test_streams_that_were_once_merged_were_seen_so(api: Api) -> None:
    """Field case 39: the answers that came within the grace period were right."""
    ended = run(api, "merge-streams:times=2", read_grace_s=PATIENCE_S)
    assert ended.mismatches == {"transient": 2 * PER_STREAM}
    assert ended.example_kinds == {"transient"}
    assert ended.verdict is Verdict.FAILED
    assert ended.exit_code is ExitCode.MISMATCH
    assert ended.read.findings.n_validated == N_ALL


def test_samples_that_come_and_go_are_inconsistent(api: Api) -> None:
    # every other answer is cut, so that what was late is gone when it is asked for once more
    fault = "short-page:every=2:times=2"
    ended = run(api, fault, read_grace_s=PATIENCE_S, max_concurrent_reads=1)
    assert ended.injected == {"short-page": 2}
    assert ended.mismatches == {"inconsistent": PER_ANSWER // 2}
    assert ended.verdict is Verdict.FAILED
    assert ended.read.findings.n_validated == N_ALL


# --- pushes that fail at first -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("http-429", "429"),
        ("http-500", "500"),
        ("http-503", "503"),
        ("reset-before-store", "ReadError"),
    ],
)
def test_a_push_that_was_not_stored_is_sent_again(writer: Api, fault: str, said: str) -> None:
    ended = run(writer, f"{fault}:every={EVERY}")
    # a repeat is an opportunity as well
    n = ended.injected[fault]
    assert n == (N_PUSHES + n) // EVERY == 6
    assert ended.write.pushes_acked == N_PUSHES
    assert ended.write.pushes_retried == n
    assert ended.write.responses_by_status == {"204": N_PUSHES, said: n}
    assert (ended.write.rate_limited_s > 0) == (said == "429")
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED


def test_retry_after_is_waited_for(writer: Api) -> None:
    ended = run(writer, "retry-after:seconds=1.5")
    assert ended.injected == {"retry-after": 1}
    assert ended.write.responses_by_status == {"204": N_PUSHES, "429": 1}
    assert ended.write.pushes_retried == 1
    assert ended.write.rate_limited_s >= 1.49
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("reset-after-store", "ReadError"),
        ("store-then-500", "500"),
        ("slow:seconds=60", "ReadTimeout"),
    ],
)
def test_a_push_that_was_stored_all_the_same_is_resolved(
    writer: Api, fault: str, said: str
) -> None:
    kind = fault.partition(":")[0]
    ended = run(writer, fault, request_timeout_s=4.0)
    write = ended.write
    assert ended.injected == {kind: 1}
    assert write.pushes_retried == 1
    assert write.pushes_unresolved == write.pushes_rejected == 0
    if writer.is_logs:
        # the same entries once more: they are kept once
        assert write.responses_by_status == {"204": N_PUSHES, said: 1}
        assert (write.pushes_acked, write.pushes_indeterminate) == (N_PUSHES, 0)
    else:
        # refused as a repeat, so they were stored before
        assert write.responses_by_status == {"204": N_PUSHES - 1, said: 1, "400": 1}
        assert (write.pushes_acked, write.pushes_indeterminate) == (N_PUSHES - 1, 1)
        assert ended.read.findings.n_optional_seen == N_SAMPLES
    assert ended.read.findings.retry_duplicates == 0
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED


def test_entries_that_a_retry_has_doubled_are_counted_apart() -> None:
    # with this fault, though it never strikes, the target keeps equal entries
    ended = run(APIS["logs"], "store-then-500:times=3", "duplicate-entry:after=1000000")
    assert ended.injected == {"store-then-500": 3}
    assert ended.write.pushes_retried == 3
    assert ended.read.findings.retry_duplicates == 3 * N_SAMPLES
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED


def test_copies_that_no_retry_has_made_are_duplicates() -> None:
    # the first push: stored twice at once, then not acknowledged, and stored a third time
    ended = run(APIS["logs"], "store-then-500:times=1", "duplicate-fragment:times=1")
    assert ended.injected == {"store-then-500": 1, "duplicate-fragment": 1}
    assert ended.read.findings.retry_duplicates == N_SAMPLES
    assert ended.mismatches == {MismatchKind.DUPLICATE: N_SAMPLES}
    assert ended.exit_code is ExitCode.MISMATCH


def test_a_push_that_hangs_is_sent_again_after_the_time_limit(writer: Api) -> None:
    ended = run(writer, "hang", request_timeout_s=4.0)
    assert ended.injected == {"hang": 1}
    assert ended.write.responses_by_status == {"204": N_PUSHES, "ReadTimeout": 1}
    assert ended.write.pushes_acked == N_PUSHES
    assert ended.write.pushes_retried == 1
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED


def test_slow_answers_only_take_longer(api: Api) -> None:
    ended = run(api, "slow:seconds=0.1:every=1:on=both")
    assert ended.injected == {"slow": N_PUSHES + N_ANSWERS}
    ended.assert_all_written()
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED
    for service, n in ((ended.write.service, N_PUSHES), (ended.read.service, N_ANSWERS)):
        assert service.n == n
        assert service.percentile_us(0) >= 99_000


# --- pushes that fail for good -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault", "said", "is_allowed"),
    [
        ("logs", "http-429", "429 Too Many Requests", False),
        ("logs", "http-503", "503 Service Unavailable", True),
        # of samples, the repeat would be refused as one, which resolves it
        ("logs", "store-then-500", "500 Internal Server Error", False),
        ("remote-read", "http-500", "500 Internal Server Error", False),
        ("remote-read", "reset-before-store", "ReadError: ", True),
    ],
)
def test_a_push_that_is_never_answered_for_is_unresolved(
    name: str, fault: str, said: str, is_allowed: bool
) -> None:
    ended = run(APIS[name], f"{fault}:every=1:after=20", retry=FINAL, allow_rejected=is_allowed)
    write = ended.write
    assert ended.injected == {fault: write.pushes_retried + write.pushes_unresolved}
    assert write.pushes_acked == 20
    assert write.pushes_rejected == write.pushes_indeterminate == 0
    if is_allowed:
        assert write.pushes_unresolved == N_PUSHES - 20
    else:
        # as many as were on the wire
        assert 1 <= write.pushes_unresolved <= 4
    assert write.refusal is not None
    assert write.refusal.startswith("given up after ")
    assert said in write.refusal
    optional = write.pushes_unresolved * N_SAMPLES if fault == "store-then-500" else 0
    assert ended.read.findings.n_optional_seen == optional
    ended.assert_passed()
    assert ended.exit_code is (ExitCode.PASSED if is_allowed else ExitCode.TARGET)


def test_a_push_that_was_limited_to_the_end_is_rejected(writer: Api) -> None:
    limit = "retry-after:seconds=0.1:every=1:after=20"
    ended = run(writer, limit, retry=FINAL)
    assert ended.write.pushes_acked == 20
    assert 1 <= ended.write.pushes_rejected <= 4
    assert ended.write.pushes_unresolved == ended.write.pushes_indeterminate == 0
    assert ended.write.rate_limited_s > 0
    assert ended.write.refusal is not None
    assert "429 ingestion rate limit exceeded" in ended.write.refusal
    ended.assert_passed()
    assert ended.exit_code is ExitCode.TARGET


@pytest.mark.parametrize("is_allowed", [False, True])
def test_nothing_acknowledged_is_never_a_pass(writer: Api, is_allowed: bool) -> None:
    ended = run(writer, "http-500:every=1", retry=FINAL, allow_rejected=is_allowed)
    assert ended.write.pushes_acked == 0
    assert ended.write.pushes_unresolved >= 1
    assert ended.verdict is Verdict.UNKNOWN
    assert ended.exit_code is ExitCode.TARGET


@pytest.mark.parametrize(
    ("name", "like", "is_allowed"),
    [
        ("logs", "looker", False),
        ("logs", "looker", True),
        ("logs", "loki-raised", False),
        ("remote-read", "cortex", False),
        ("query", "cortex", True),
    ],
)
def test_a_push_that_was_stored_in_part_is_unresolved(
    name: str, like: str, is_allowed: bool
) -> None:
    ended = run(APIS[name], "partial-400:after=20", like=like, allow_rejected=is_allowed)
    write = ended.write
    assert ended.injected == {"partial-400": 1}
    assert (write.pushes_unresolved, write.pushes_rejected, write.pushes_retried) == (1, 0, 0)
    assert write.responses_by_status["400"] == 1
    assert write.refusal is not None
    assert write.refusal.startswith("400 half of each fragment is too old")
    assert ended.read.findings.n_optional_seen == N_SAMPLES // 2
    if is_allowed:
        assert write.pushes_acked == N_PUSHES - 1
    ended.assert_passed()
    assert ended.exit_code is (ExitCode.PASSED if is_allowed else ExitCode.TARGET)


@pytest.mark.parametrize(
    ("name", "like", "is_allowed"),
    [
        ("remote-read", "looker", False),
        ("remote-read", "prometheus", True),
        ("query", "prometheus", False),
        ("query", "looker", True),
    ],
)
def test_what_is_stored_of_a_push_that_prometheus_refused_is_in_doubt_too(
    name: str, like: str, is_allowed: bool
) -> None:
    """Prometheus stores all of a push or nothing; but somebody before it may repeat pushes."""
    ended = run(APIS[name], "partial-400:after=20", like=like, allow_rejected=is_allowed)
    assert ended.injected == {"partial-400": 1}
    assert (ended.write.pushes_rejected, ended.write.pushes_unresolved) == (1, 0)
    assert ended.write.samples_in_doubt == N_SAMPLES
    assert ended.read.findings.n_optional_seen == N_SAMPLES // 2
    ended.assert_passed()
    assert ended.exit_code is (ExitCode.PASSED if is_allowed else ExitCode.TARGET)


# --- answers that are none ---------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["truncated-json", "wrong-content-type"])
def test_an_answer_that_is_none_leaves_the_verdict_unknown(api: Api, fault: str) -> None:
    ended = run(api, f"{fault}:after=3")
    assert ended.injected == {fault: 1}
    ended.assert_all_written()
    assert ended.mismatches == {}
    assert ended.read.error is not None
    if fault == "wrong-content-type":
        assert "answered with text/html" in ended.read.error
    else:
        reason = "snappy" if api.read_api is ReadApi.REMOTE_READ else "the answer is not JSON"
        assert reason in ended.read.error
    assert ended.read.findings.n_validated < N_ALL
    assert ended.verdict is Verdict.UNKNOWN
    assert ended.exit_code is ExitCode.TARGET


@pytest.mark.parametrize(
    "faults", [("hang",), ("http-429", "http-500", "http-503", "retry-after:seconds=0.1")]
)
def test_a_query_that_gets_no_answer_at_first_is_asked_again(
    api: Api, faults: tuple[str, ...]
) -> None:
    ended = run(api, *(f"{fault}:on=query" for fault in faults), request_timeout_s=4.0)
    assert ended.injected == {fault.partition(":")[0]: 1 for fault in faults}
    ended.assert_all_written()
    ended.assert_passed()
    assert ended.exit_code is ExitCode.PASSED
    # an attempt without an answer has no service time
    assert ended.read.queries == N_ANSWERS + (0 if faults == ("hang",) else len(faults))


@pytest.mark.parametrize("fault", ["http-503", "hang"])
def test_a_query_that_gets_no_answer_leaves_the_verdict_unknown(api: Api, fault: str) -> None:
    ended = run(api, f"{fault}:on=query:every=1:after=3", retry=FINAL, request_timeout_s=3.0)
    assert ended.injected[fault] >= 1
    assert ended.write.pushes_acked == N_PUSHES
    assert ended.mismatches == {}
    assert ended.read.error is not None
    assert "a query got no answer after " in ended.read.error
    assert ("503" if fault == "http-503" else "no complete answer in time") in ended.read.error
    assert ended.verdict is Verdict.UNKNOWN
    assert ended.exit_code is ExitCode.TARGET


# --- the command line --------------------------------------------------------------------------

SMALL: Final = (
    *("--n-concurrent-streams", str(N_STREAMS), "--n-workers", "1"),
    *("--n-entries-per-stream-fragment", str(N_SAMPLES)),
    *("--stop-write-after-n-fragments-per-stream", str(N_FRAGMENTS)),
    *("--read-grace-seconds", "0", "--retry-post-min-delay-seconds", "0.1"),
)


def scraped(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    pairs = re.findall(r'looker_target_faults_injected_total\{kind="([^"]+)"\} (\d+)', text)
    return {kind: int(n) for kind, n in pairs}


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_the_command_line_injects_counts_and_finds(tmp_path: Path, mode: str) -> None:
    faults = ("--fault", "corrupt-byte:every=20,http-500:every=8", "--fault", "drop-fragment")
    with Run(tmp_path, "target", "--port", "0", *faults) as target:
        target.wait_for("listens at http")
        url = target.text("stderr").split("listens at ")[1].split()[0]
        result = looker(tmp_path, mode, url, *SMALL)
        counted = scraped(url)
        target.send(signal.SIGTERM)
        ended = target.result()
    assert result.code == 1, result.said
    injected = {kind: n for kind, n in counted.items() if n}
    # one entry in twenty of those whose fragment is stored
    n_corrupt = (N_ALL - N_SAMPLES) // 20
    assert injected == {"drop-fragment": 1, "corrupt-byte": n_corrupt, "http-500": 5}
    found = {kind: n for kind, n in result.read["mismatches"].items() if n}
    assert found == {"missing": N_SAMPLES, "corrupt": n_corrupt}
    assert result.write["pushes_retried"] == 5
    assert f"failed: {N_SAMPLES + n_corrupt} mismatch(es)" in result.stdout
    assert "Traceback" not in result.stderr
    assert ended.code == 0
    said = f"faults injected: corrupt-byte {n_corrupt}, http-500 5, drop-fragment 1"
    assert ended.stderr.rstrip().endswith(said)


def test_without_the_option_all_counters_are_zero(tmp_path: Path) -> None:
    with embedded_target(tmp_path) as url:
        result = looker(tmp_path, "logs", url, *SMALL)
        assert scraped(url) == dict.fromkeys(KINDS, 0)
    assert result.code == 0, result.said


def test_the_same_seed_makes_the_same_choices(tmp_path: Path) -> None:
    counts = []
    for seed in ("3", "3", "4"):
        options = ("--fault", "drop-entry:rate=0.2", "--fault-seed", seed)
        with embedded_target(tmp_path, *options) as url:
            result = looker(tmp_path, "logs", url, *SMALL)
            assert result.code == 1, result.said
            counts.append(scraped(url)["drop-entry"])
            assert result.read["mismatches"]["missing"] == counts[-1]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fault", "corupt-byte"), "'corupt-byte' is no kind of fault: did you mean"),
        (("--fault", "slow:second=1"), "slow takes no 'second': did you mean seconds?"),
        (("--fault-seed", "-1"), "--fault-seed: -1 is below 0"),
        (("--mode", "null", "--fault", "drop-entry"), "has no meaning with --mode null"),
    ],
)
def test_a_wrong_fault_is_refused_in_one_line(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = looker(tmp_path, "target", "--port", "0", *options)
    assert result.code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_kind_is_tried_here() -> None:
    tried = {
        *FOUND,
        *("http-429", "http-500", "http-503", "retry-after", "slow", "hang"),
        *("reset-before-store", "reset-after-store", "store-then-500", "partial-400"),
        *("truncated-json", "wrong-content-type"),
    }
    assert tried == set(KINDS)
    # the other two are of answers that contradict each other
    of_one_answer = set(MismatchKind) - {MismatchKind.TRANSIENT, MismatchKind.INCONSISTENT}
    assert {mismatch for found in FOUND.values() for mismatch in found} == of_one_answer
