"""What Cortex does with a remote write before it is stored: validation, rate, series limits.

The distributor leaves out series with bad labels or times and limits the tenant's rate; the
ingester limits series and stores every sample that fits. Only the first error is told.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from looker.target import go_text
from looker.target.append_rules import (
    DUPLICATE,
    OUT_OF_BOUNDS,
    OUT_OF_ORDER,
    Batch,
    by_series,
    head_max_ms,
    judge,
    rising,
)
from looker.target.matchers import label_string, quote
from looker.target.rates import TokenBucket
from looker.target.series_labels import DuplicateLabelError, parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.target.append_rules import Judged
    from looker.target.limits import Limits
    from looker.target.matchers import Labels
    from looker.target.series_store import Draft, SeriesStore
    from looker.wire.decode import SeriesColumns

    Offsets = NDArray[np.int64]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MINUS_ZERO = np.uint64(1 << 63)
_MS = 1_000_000
_ADDRESS = "127.0.0.1:9096"


class WriteError(Exception):
    """What is answered instead of success; the rest of the request may be stored."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CortexIngest:
    """Takes remote writes into a store as Cortex would."""

    def __init__(self, store: SeriesStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._buckets: dict[str, TokenBucket] = {}
        self._n_of_metric: dict[str, dict[str, int]] = {}

    def push(self, tenant: str, columns: SeriesColumns, now_ns: int) -> None:
        """Store what the limits allow; WriteError for what they do not, MemoryLimitError."""
        columns, complaint = self._validated(tenant, columns, now_ns)
        n_samples = len(columns.timestamps_ms)
        if n_samples:
            self._limit_rate(tenant, n_samples, now_ns)
            failure = self._ingest(tenant, columns)
            if failure is not None:
                raise WriteError(
                    400,
                    "maxFailure (quorum) on a given error family, "
                    f"addr={_ADDRESS} state=ACTIVE zone=, rpc error: code = Code(400) desc = "
                    f"user={tenant}: err: {failure}",
                )
        if complaint is not None:
            raise WriteError(400, complaint)

    def _validated(
        self, tenant: str, columns: SeriesColumns, now_ns: int
    ) -> tuple[SeriesColumns, str | None]:
        """Leave out series that the distributor refuses: (the rest, its first complaint)."""
        complaints: dict[int, str] = {}
        blobs = columns.label_blobs()
        known = self._store.known(tenant)
        for i, blob in enumerate(blobs):
            if blob not in known:
                refusal = self._refusal(blob)
                if refusal is not None:
                    complaints[i] = refusal
        if self._limits.creation_grace_period_s:
            latest = now_ns // _MS + int(self._limits.creation_grace_period_s * 1000)
            owner = np.repeat(np.arange(len(blobs)), columns.counts)
            for at in np.flatnonzero(columns.timestamps_ms > latest).tolist():
                i = int(owner[at])
                name = dict(parse(blobs[i])).get("__name__", "") if i not in complaints else ""
                complaints.setdefault(
                    i,
                    f"timestamp too new: {int(columns.timestamps_ms[at])} metric: {quote(name)}",
                )
        if not complaints:
            return columns, None
        kept = np.ones(len(blobs), np.bool_)
        kept[list(complaints)] = False
        return _where(columns, kept), complaints[min(complaints)]

    def _refusal(self, blob: bytes) -> str | None:
        """Say what is wrong with a label set; None where nothing is."""
        try:
            labels = parse(blob)
        except DuplicateLabelError as error:
            return f"duplicate label name: {quote(error.name)} metric {quote('')}"
        metric = dict(labels).get("__name__")
        if metric is None:
            return "sample missing metric name"
        if _METRIC.fullmatch(metric) is None:
            return f"sample invalid metric name: {quote(metric)}"
        most = self._limits.max_label_names
        if most and len(labels) > most:
            return (
                f"series has too many labels (actual: {len(labels)}, limit: {most}) "
                f"series: '{_metric_text(labels)}'"
            )
        for name, _ in labels:
            if _NAME.fullmatch(name) is None:
                return f"sample invalid label: {quote(name)} metric {quote(_metric_text(labels))}"
        return None

    def _limit_rate(self, tenant: str, n_samples: int, now_ns: int) -> None:
        """Refuse the whole request where the tenant's rate is used up."""
        rate = self._limits.ingestion_rate
        if not rate:
            return
        bucket = self._buckets.setdefault(
            tenant, TokenBucket(rate, self._limits.ingestion_burst_size)
        )
        if not bucket.allow(n_samples, now_ns):
            raise WriteError(
                429,
                f"ingestion rate limit ({go_text.float_v(rate)}) exceeded while adding "
                f"{n_samples} samples and 0 metadata",
            )

    def _ingest(self, tenant: str, columns: SeriesColumns) -> str | None:
        """Store every sample that fits; returns the first complaint."""
        bits = columns.value_bits
        if bool((bits == _MINUS_ZERO).any()):
            # Cortex' own encoding leaves zeros out, whatever their sign is.
            columns = replace(columns, value_bits=np.where(bits == _MINUS_ZERO, np.uint64(0), bits))
        draft = self._store.begin(tenant, columns.label_blobs())
        failures: list[tuple[int, str]] = []
        counts: dict[str, int] = {}
        if draft.added and (self._limits.max_series_per_user or self._limits.max_series_per_metric):
            counts = self._limit_series(draft, columns, failures)
        batch = by_series(draft.numbers, columns)
        batch = batch.where(batch.series >= 0)
        head_ms = head_max_ms(draft.owner, columns)
        judged = judge(draft.owner, batch, head_ms)
        wrong = np.flatnonzero(judged.wrong)
        if len(wrong):
            first = int(min(wrong.tolist(), key=batch.place))
            failures.append((batch.place(first), _complaint(draft, batch, judged, first, head_ms)))
        self._store.commit(draft, rising(batch.where(~(judged.wrong | judged.repeated))))
        for metric, n in counts.items():
            of_metric = self._n_of_metric.setdefault(tenant, {})
            of_metric[metric] = of_metric.get(metric, 0) + n
        return min(failures)[1] if failures else None

    def _limit_series(
        self, draft: Draft, columns: SeriesColumns, failures: list[tuple[int, str]]
    ) -> dict[str, int]:
        """Take new series out of a draft that are too many; returns those of each metric."""
        base = len(draft.owner.blobs)
        stored = self._n_of_metric.get(draft.tenant, {})
        counts: dict[str, int] = {}
        number_of: dict[int, int] = {}
        reasons: dict[int, str] = {}
        kept: list[bytes] = []
        for number, blob in enumerate(draft.added, base):
            metric = dict(parse(blob)).get("__name__", "")
            reason = self._series_reason(
                base + len(kept), metric, stored.get(metric, 0) + counts.get(metric, 0)
            )
            if reason is None:
                counts[metric] = counts.get(metric, 0) + 1
                number_of[number] = base + len(kept)
                kept.append(blob)
            else:
                number_of[number] = -1
                reasons[number] = reason
        if reasons:
            begins = np.cumsum(columns.counts) - columns.counts
            for i in np.flatnonzero(draft.numbers >= base).tolist():
                number = int(draft.numbers[i])
                if number in reasons:
                    failures.append((int(begins[i]), reasons[number]))
                draft.numbers[i] = number_of[number]
            draft.added = kept
            renumbered = ((blob, number_of.get(n, n)) for blob, n in draft.fresh.items())
            draft.fresh = {blob: number for blob, number in renumbered if number >= 0}
        return counts

    def _series_reason(self, n_of_user: int, metric: str, n_of_metric: int) -> str | None:
        """Say why a tenant with so many series cannot have one more; None where it can."""
        per_user, per_metric = self._limits.max_series_per_user, self._limits.max_series_per_metric
        raised = "please contact administrator to raise it"
        if per_user and n_of_user >= per_user:
            return f"per-user series limit of {per_user} exceeded, {raised} {_local(per_user)}"
        if per_metric and n_of_metric >= per_metric:
            return (
                f"per-metric series limit of {per_metric} exceeded for metric {metric}, "
                f"{raised} {_local(per_metric)}"
            )
        return None


def _local(limit: int) -> str:
    return f"(local limit: {limit} global limit: 0 actual local limit: {limit})"


def _metric_text(labels: Labels) -> str:
    """Write labels as a metric: ``name{a="b"}``."""
    name = dict(labels).get("__name__", "")
    others = tuple(pair for pair in labels if pair[0] != "__name__")
    return name + label_string(others) if others else name or "{}"


def _complaint(draft: Draft, batch: Batch, judged: Judged, position: int, head_ms: int) -> str:
    """Say why a sample was not stored."""
    owner = draft.owner
    number, time_ms = int(batch.series[position]), int(batch.times[position])
    known = len(owner.blobs)
    blob = owner.blobs[number] if number < known else draft.added[number - known]
    series = label_string(parse(blob))
    stamp = go_text.rfc3339_nano(time_ms * _MS)
    reason = judged.reason(position)
    if reason == OUT_OF_BOUNDS:
        newest = go_text.rfc3339_nano(head_ms * _MS)
        return f"{reason}. timestamp={stamp}, tsdbHeadMaxTimestamp={newest}, series={series}"
    if reason == OUT_OF_ORDER:
        return f"{reason}. timestamp={stamp}, series={series}"
    pair = np.array([owner.latest_bits[number], batch.bits[position]]).view(np.float64).tolist()
    existing, given = (go_text.float_v(value) for value in pair)
    return (
        f"{DUPLICATE} {time_ms}; overrides not allowed: existing {existing}, "
        f"new value {given}. series={series}"
    )


def _where(columns: SeriesColumns, kept: NDArray[np.bool_]) -> SeriesColumns:
    """Keep some of the series."""
    samples = np.repeat(kept, columns.counts)
    return replace(
        columns,
        label_offsets=columns.label_offsets[kept],
        label_lengths=columns.label_lengths[kept],
        counts=columns.counts[kept],
        timestamps_ms=columns.timestamps_ms[samples],
        value_bits=columns.value_bits[samples],
    )
