"""What workers measure and the coordinator merges: one schema for queue, disk and comparison.

Merging is associative and commutative, so parts can be added up in any order. Rates are derived
after merging: what was acknowledged, over the time from the first start to the last end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from looker.model.config import VerifyMode
from looker.model.histogram import Histogram
from looker.model.limit import LimitedBy, ReadTimeSpent, TimeSpent
from looker.model.mismatch import Findings, MismatchKind
from looker.model.reasons import Reasons
from looker.model.verdict import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION: Final = 1
_MAX_CAUSE_CHARS: Final = 500
_NS_PER_S: Final = 1_000_000_000
_NO_OBJECTION: Final = (Verdict.PASSED, Verdict.NOT_CHECKED)


@dataclass(slots=True)
class PhaseTimes:
    """When a phase began and ended, wall time in ns; 0 where it never did."""

    started_ns: int = 0
    finished_ns: int = 0
    idle_ns: int = 0
    """Time between phases that followed each other; not part of the duration."""

    @property
    def duration_s(self) -> float:
        """Seconds from the first start to the last end."""
        return max(0, self.finished_ns - self.started_ns - self.idle_ns) / _NS_PER_S

    def merge(self, other: PhaseTimes) -> None:
        """Cover the other's time too."""
        starts = [time for time in (self.started_ns, other.started_ns) if time]
        self.started_ns = min(starts, default=0)
        self.finished_ns = max(self.finished_ns, other.finished_ns)

    def to_json(self) -> dict[str, Any]:
        """Return the times in RFC 3339 and the duration."""
        return {
            "started_at": rfc3339(self.started_ns),
            "finished_at": rfc3339(self.finished_ns),
            "duration_s": self.duration_s,
        }


@dataclass(slots=True)
class WriteReport:
    """One write phase, of one worker or merged.

    Times in seconds; ``writers_s`` is the time of all writers together (their number times the
    duration), of which each part is of one kind: a request was under way (``requesting_s``), the
    next attempt was waited for, after 429 (``rate_limited_s``) or another failure
    (``retry_paused_s``), there was no message to send, as the generator was making it
    (``starved_generator_s``), wall time allowed none (``starved_throttle_s``), it waited to be
    filled (``batching_s``; ``batching_throttled_s`` of these as wall time allowed no more), or
    every stream had its fragments under way (``starved_streams_s``), or the writer had no more to
    do (``tail_s``). ``workers_s`` is the workers' time, ``throttled_s`` that part of it in which
    no stream was allowed to go on, ``generating_s`` that in which they were making messages;
    ``cpu_s`` is what they computed, ``loop_cpu_s`` the event loops' part of that. ``service`` is of
    answers that accepted, ``refused_service`` of all others. ``samples_in_doubt`` were sent, in
    part at least, and not acknowledged: only reading can tell what became of them.
    """

    times: PhaseTimes = field(default_factory=PhaseTimes)
    samples_acked: int = 0
    samples_in_doubt: int = 0
    payload_bytes_acked: int = 0
    wire_bytes_sent: int = 0
    fragments_pushed: int = 0
    pushes_acked: int = 0
    pushes_retried: int = 0
    pushes_divided: int = 0
    pushes_rejected: int = 0
    pushes_indeterminate: int = 0
    pushes_unresolved: int = 0
    responses_by_status: Counter[str] = field(default_factory=Counter)
    reasons: Reasons = field(default_factory=Reasons)
    rate_limited_s: float = 0.0
    throttled_s: float = 0.0
    requesting_s: float = 0.0
    retry_paused_s: float = 0.0
    starved_throttle_s: float = 0.0
    starved_generator_s: float = 0.0
    starved_streams_s: float = 0.0
    batching_s: float = 0.0
    batching_throttled_s: float = 0.0
    tail_s: float = 0.0
    writers_s: float = 0.0
    workers_s: float = 0.0
    forward_leaps: int = 0
    out_of_order_sent: int = 0
    duplicates_sent: int = 0
    duplicates_refused: int = 0
    wall_went_back_s: float = 0.0
    generating_s: float = 0.0
    cpu_s: float = 0.0
    loop_cpu_s: float = 0.0
    service: Histogram = field(default_factory=Histogram)
    refused_service: Histogram = field(default_factory=Histogram)
    push: Histogram = field(default_factory=Histogram)
    loop_delay: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    refusal: str | None = None

    def merge(self, other: WriteReport) -> None:
        """Add another worker's or cycle's figures."""
        self.times.merge(other.times)
        for spec in fields(self):
            mine, theirs = getattr(self, spec.name), getattr(other, spec.name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, Reasons):
                mine.merge(theirs)
            elif isinstance(mine, int | float):
                setattr(self, spec.name, mine + theirs)
        self.refusal = _first_text(self.refusal, other.refusal)

    @property
    def n_pushes(self) -> int:
        """Pushes that came to an end."""
        return (
            self.pushes_acked
            + self.pushes_rejected
            + self.pushes_indeterminate
            + self.pushes_unresolved
        )

    @property
    def samples_per_s(self) -> float:
        """Acknowledged samples per second of the phase."""
        return _rate(self.samples_acked, self.times.duration_s)

    @property
    def starved_s(self) -> float:
        """Time that writers waited for a message, for whatever cause."""
        starved_s = self.starved_throttle_s + self.starved_generator_s + self.starved_streams_s
        return starved_s + self.batching_s

    @property
    def limited_by(self) -> LimitedBy | None:
        """What held the phase back most; None where there was no time."""
        return TimeSpent.of([self]).limited_by

    @property
    def latency_distorted(self) -> bool:
        """Whether the event loop's delay exceeds a tenth of the median service time."""
        if not self.service.n or not self.loop_delay.n:
            return False
        return self.loop_delay.percentile_us(50) > 0.1 * self.service.percentile_us(50)

    def to_json(self, read: ReadReport | None = None) -> dict[str, Any]:
        """Return the figures as JSON-ready values; ``read`` is what was read back of the phase."""
        duration = self.times.duration_s
        stored = None
        if read is not None and not read.skipped:
            stored = self.samples_acked + read.findings.n_optional_seen
        return {
            **self.times.to_json(),
            "samples_acked": self.samples_acked,
            "samples_in_doubt": self.samples_in_doubt,
            "samples_stored": stored,
            "payload_bytes_acked": self.payload_bytes_acked,
            "wire_bytes_sent": self.wire_bytes_sent,
            "samples_per_s": self.samples_per_s,
            "samples_stored_per_s": None if stored is None else _rate(stored, duration),
            "payload_mb_per_s": _rate(self.payload_bytes_acked / 1e6, duration),
            "pushes_acked": self.pushes_acked,
            "pushes_retried": self.pushes_retried,
            "pushes_divided": self.pushes_divided,
            "pushes_rejected": self.pushes_rejected,
            "pushes_indeterminate": self.pushes_indeterminate,
            "pushes_unresolved": self.pushes_unresolved,
            "responses_by_status": dict(sorted(self.responses_by_status.items())),
            "reasons_by_status": self.reasons.to_json(),
            "fragments_per_push_mean": _rate(self.fragments_pushed, self.n_pushes),
            "rate_limited_s": self.rate_limited_s,
            "throttled_s": self.throttled_s,
            "starved_s": self.starved_s,
            "generating_s": self.generating_s,
            "forward_leaps": self.forward_leaps,
            "out_of_order_sent": self.out_of_order_sent,
            "duplicates_sent": self.duplicates_sent,
            "duplicates_refused": self.duplicates_refused,
            "wall_went_back_s": self.wall_went_back_s,
            "limited_by": self.limited_by,
            "limited_by_shares": TimeSpent.of([self]).shares,
            "latency_distorted": self.latency_distorted,
            "service_ms": asdict(self.service.summary_ms()),
            "refused_service_ms": asdict(self.refused_service.summary_ms()),
            "push_ms": asdict(self.push.summary_ms()),
            "loop_delay_ms": asdict(self.loop_delay.summary_ms()),
            "lag_ms": asdict(self.lag.summary_ms()),
            "latency_ms": None,
            "cpu_s": self.cpu_s,
            "loop_cpu_s": self.loop_cpu_s,
            "cpu_s_per_million_samples": _rate(self.cpu_s * 1e6, self.samples_acked),
            "refusal": self.refusal,
        }


@dataclass(slots=True)
class ReadReport:
    """One read phase, of one worker or merged.

    Times in seconds; ``readers_s`` is the time of all readers together, of which each part is of
    one kind: a query was under way (``requesting_s``), the next attempt was waited for, after 429
    (``rate_limited_s``) or another failure (``retry_paused_s``), what was missing was given time to
    appear (``grace_paused_s``), the reader had no more to do (``tail_s``), or Looker itself was at
    work, planning and comparing (``looker_s``). ``queries`` are those that were answered,
    ``queries_retried`` further attempts; ``service`` is of answers that accepted,
    ``refused_service`` of all others.
    """

    skipped: bool = False
    complete: bool = True
    times: PhaseTimes = field(default_factory=PhaseTimes)
    streams_selected: int = 0
    queries: int = 0
    queries_retried: int = 0
    queries_shaped: int = 0
    """Of those that were answered, the ones of ``--read-shape``."""
    responses_by_status: Counter[str] = field(default_factory=Counter)
    reasons: Reasons = field(default_factory=Reasons)
    requesting_s: float = 0.0
    rate_limited_s: float = 0.0
    retry_paused_s: float = 0.0
    looker_s: float = 0.0
    grace_paused_s: float = 0.0
    tail_s: float = 0.0
    readers_s: float = 0.0
    fragments_proved: int = 0
    payload_bytes_validated: int = 0
    streams_visible_at_first_ask: int = 0
    findings: Findings = field(default_factory=Findings)
    first_ask_after: Histogram = field(default_factory=Histogram)
    visible_after: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    refused_service: Histogram = field(default_factory=Histogram)
    cpu_s: float = 0.0
    error: str | None = None
    verify: VerifyMode = VerifyMode.CONTENT
    missing_because: str | None = None
    """Why missing samples say nothing about the target, if they do not."""

    def merge(self, other: ReadReport) -> None:
        """Add another worker's or cycle's figures."""
        self.skipped = self.skipped and other.skipped
        self.complete = self.complete and other.complete
        self.times.merge(other.times)
        self.streams_selected += other.streams_selected
        self.queries += other.queries
        self.queries_retried += other.queries_retried
        self.queries_shaped += other.queries_shaped
        self.responses_by_status.update(other.responses_by_status)
        self.reasons.merge(other.reasons)
        for name in ReadTimeSpent.names():
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.fragments_proved += other.fragments_proved
        self.payload_bytes_validated += other.payload_bytes_validated
        self.findings.merge(other.findings)
        self.streams_visible_at_first_ask += other.streams_visible_at_first_ask
        self.first_ask_after.add(other.first_ask_after)
        self.visible_after.add(other.visible_after)
        self.service.add(other.service)
        self.refused_service.add(other.refused_service)
        self.cpu_s += other.cpu_s
        self.error = _first_text(self.error, other.error)
        self.missing_because = _first_text(self.missing_because, other.missing_because)
        # of all together, no more is proved than by the weakest
        self.verify = max(self.verify, other.verify, key=list(VerifyMode).index)

    @property
    def limited_by(self) -> LimitedBy | None:
        """What held the phase back most; None where there was no time."""
        return ReadTimeSpent.of([self]).limited_by

    @property
    def verdict(self) -> Verdict:
        """What this phase has shown.

        A cycle of which nothing had to be there (every push was refused, say) shows nothing. Nor
        does one whose only mismatches are missing samples for which there is another cause.
        """
        if self.skipped:
            return Verdict.NOT_CHECKED
        if self.n_telling_mismatches:
            return Verdict.FAILED
        if not self.complete or self.error is not None or not self.findings.n_expected:
            return Verdict.UNKNOWN
        found = self.findings
        # of an answer in another shape, what is missing was validated before
        if found.n_validated != found.n_expected or found.counts[MismatchKind.MISSING]:
            return Verdict.UNKNOWN
        return Verdict.PASSED

    @property
    def n_telling_mismatches(self) -> int:
        """Mismatches that are the target's fault."""
        return _n_telling(self.findings, self.missing_because)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        found = self.findings
        return {
            "skipped": self.skipped,
            "verify": (VerifyMode.OFF if self.skipped else self.verify).value,
            "verdict": self.verdict.value,
            **self.times.to_json(),
            "streams_selected": self.streams_selected,
            "samples_expected": found.n_expected,
            "samples_validated": found.n_validated,
            "samples_indeterminate_found": found.n_optional_seen,
            "fragments_proved_by_checksum": self.fragments_proved,
            "queries": self.queries,
            "queries_shaped": self.queries_shaped,
            "queries_retried": self.queries_retried,
            "responses_by_status": dict(sorted(self.responses_by_status.items())),
            "reasons_by_status": self.reasons.to_json(),
            "rate_limited_s": self.rate_limited_s,
            "limited_by": self.limited_by,
            "limited_by_shares": ReadTimeSpent.of([self]).shares,
            "samples_per_s": _rate(found.n_validated, self.times.duration_s),
            "payload_mb_per_s": _rate(self.payload_bytes_validated / 1e6, self.times.duration_s),
            "mismatches": {kind.value: n for kind, n in found.counts.items()},
            "missing_because": _cause(found, self.missing_because),
            "missing_explained": found.n_missing_explained,
            "statements": found.told(),
            "retry_duplicates": found.retry_duplicates,
            "examples": [example.to_json() for example in found.examples],
            "service_ms": asdict(self.service.summary_ms()),
            "refused_service_ms": asdict(self.refused_service.summary_ms()),
            "streams_visible_at_first_ask": self.streams_visible_at_first_ask,
            "first_ask_after_ms": asdict(self.first_ask_after.summary_ms()),
            "streams_awaited": self.visible_after.n,
            "visible_after_ms": asdict(self.visible_after.summary_ms()),
            "cpu_s": self.cpu_s,
            "error": self.error,
        }


@dataclass(slots=True)
class SpotCheckReport:
    """The spot checks during a cycle, of one worker or merged.

    ``checks_uncached`` of the checks asked past any cache of results; ``n_mismatches_uncached`` is
    what these have found.
    """

    checks: int = 0
    checks_uncached: int = 0
    fragments: int = 0
    fragments_proved: int = 0
    queries: int = 0
    n_mismatches_uncached: int = 0
    findings: Findings = field(default_factory=Findings)
    service: Histogram = field(default_factory=Histogram)
    error: str | None = None
    missing_because: str | None = None

    def add(self, check: ReadReport, n_fragments: int, *, uncached: bool) -> None:
        """Add one check."""
        self.checks += 1
        self.fragments += n_fragments
        self.fragments_proved += check.fragments_proved
        self.queries += check.queries
        if uncached:
            self.checks_uncached += 1
            self.n_mismatches_uncached += check.findings.n_mismatches
        self.findings.merge(check.findings)
        self.service.add(check.service)
        self.error = _first_text(self.error, check.error)
        self.missing_because = _first_text(self.missing_because, check.missing_because)

    def merge(self, other: SpotCheckReport) -> None:
        """Add another worker's or cycle's figures."""
        self.checks += other.checks
        self.checks_uncached += other.checks_uncached
        self.fragments += other.fragments
        self.fragments_proved += other.fragments_proved
        self.queries += other.queries
        self.n_mismatches_uncached += other.n_mismatches_uncached
        self.findings.merge(other.findings)
        self.service.add(other.service)
        self.error = _first_text(self.error, other.error)
        self.missing_because = _first_text(self.missing_because, other.missing_because)

    @property
    def verdict(self) -> Verdict:
        """What the checks have shown."""
        found = self.findings
        if _n_telling(found, self.missing_because):
            return Verdict.FAILED
        if self.error is not None or found.n_validated != found.n_expected:
            return Verdict.UNKNOWN
        return Verdict.PASSED if found.n_validated else Verdict.NOT_CHECKED

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        found = self.findings
        return {
            "verdict": self.verdict.value,
            "checks": self.checks,
            "checks_uncached": self.checks_uncached,
            "fragments": self.fragments,
            "fragments_proved_by_checksum": self.fragments_proved,
            "queries": self.queries,
            "samples_expected": found.n_expected,
            "samples_validated": found.n_validated,
            "mismatches": {kind.value: n for kind, n in found.counts.items()},
            "missing_because": _cause(found, self.missing_because),
            "missing_explained": found.n_missing_explained,
            "statements": found.told(),
            "mismatches_uncached": self.n_mismatches_uncached,
            "retry_duplicates": found.retry_duplicates,
            "examples": [example.to_json() for example in found.examples],
            "service_ms": asdict(self.service.summary_ms()),
            "error": self.error,
        }


@dataclass(slots=True)
class CycleReport:
    """One cycle, of one worker or merged; ``read`` is None where it was never reached.

    ``spot_check`` is None where no spot check was made while the cycle lasted.
    """

    cycle: int
    generation: int
    write: WriteReport = field(default_factory=WriteReport)
    read: ReadReport | None = None
    spot_check: SpotCheckReport | None = None

    def merge(self, other: CycleReport) -> None:
        """Add another worker's part of the same cycle."""
        self.write.merge(other.write)
        self.read = merged_read([self.read, other.read])
        self.spot_check = merged_spot_check([self.spot_check, other.spot_check])

    @property
    def verdict(self) -> Verdict:
        """What this cycle has shown.

        Spot checks can spoil it, and make up for nothing.
        """
        verdict = self.read.verdict if self.read is not None else Verdict.UNKNOWN
        if self.spot_check is None or self.spot_check.verdict in _NO_OBJECTION:
            return verdict
        return worst((verdict, self.spot_check.verdict))

    def to_json(self) -> dict[str, Any]:
        """Return the cycle as JSON-ready values."""
        return {
            "cycle": self.cycle,
            "generation": self.generation,
            "verdict": self.verdict.value,
            "write": self.write.to_json(self.read),
            "read": None if self.read is None else self.read.to_json(),
            "spot_check": None if self.spot_check is None else self.spot_check.to_json(),
        }


def in_sequence(times: Iterable[PhaseTimes]) -> PhaseTimes:
    """Return the time of phases that followed each other: durations add up."""
    phases = [phase for phase in times if phase.started_ns]
    if not phases:
        return PhaseTimes()
    started = min(phase.started_ns for phase in phases)
    finished = max(phase.finished_ns for phase in phases)
    busy = sum(phase.finished_ns - phase.started_ns - phase.idle_ns for phase in phases)
    return PhaseTimes(started, finished, finished - started - busy)


def merged_write(reports: Iterable[WriteReport]) -> WriteReport:
    """Merge write phases; the parts stay as they are."""
    total = WriteReport()
    for report in reports:
        total.merge(report)
    return total


def merged_read(reports: Iterable[ReadReport | None]) -> ReadReport | None:
    """Merge read phases; the parts stay as they are. None where there is none."""
    total: ReadReport | None = None
    for report in reports:
        if report is None:
            continue
        if total is None:
            total = ReadReport(skipped=report.skipped)
        total.merge(report)
    return total


def merged_spot_check(reports: Iterable[SpotCheckReport | None]) -> SpotCheckReport | None:
    """Merge spot checks; the parts stay as they are. None where there is none."""
    total: SpotCheckReport | None = None
    for report in reports:
        if report is not None:
            total = SpotCheckReport() if total is None else total
            total.merge(report)
    return total


def rfc3339(time_ns: int) -> str | None:
    """Return a wall time in UTC with microseconds; None for 0."""
    if not time_ns:
        return None
    moment = datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _rate(amount: float, duration: float) -> float:
    return amount / duration if duration else 0.0


def _n_telling(found: Findings, missing_because: str | None) -> int:
    """Return the number of mismatches that are the target's fault."""
    n_missing = found.counts[MismatchKind.MISSING]
    return found.n_mismatches - (n_missing if missing_because else found.n_missing_explained)


def _cause(found: Findings, missing_because: str | None) -> str | None:
    """Return why missing samples say nothing about the target, if some do not."""
    if not found.counts[MismatchKind.MISSING]:
        return None
    if missing_because is None and found.n_missing_explained:
        words = "; ".join(found.statements)
        return f"the answers say themselves that they are not whole: {words}"[:_MAX_CAUSE_CHARS]
    return missing_because


def _first_text(mine: str | None, theirs: str | None) -> str | None:
    # the smaller one, so that the order of merging does not show
    return min((text for text in (mine, theirs) if text is not None), default=None)
