"""What Loki does with a push before it is stored: limits, added labels, split streams.

In the order of the server's parts: the distributor checks labels and entries, then the tenant's
rate, and splits busy streams; the message to the ingester has a greatest size; the ingester
limits streams, their rates and how far behind an entry may be. Ordinary pushes are handled as
columns; only what breaks a limit is looked at entry by entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from looker.target import loki_texts as texts
from looker.target.loki_size import entry_sizes, stream_size
from looker.target.loki_streams import StreamNames
from looker.target.matchers import SelectorError, label_string
from looker.target.rates import Buckets, Throughput, TokenBucket
from looker.target.runs import ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.target.limits import Limits
    from looker.target.loki_store import LokiStore
    from looker.wire.decode import LogColumns

    Offsets = NDArray[np.int64]

_MIB = 1 << 20
_NANOS = 1_000_000_000
_NEVER = np.iinfo(np.int64).min
_TENANT_BYTES = 4000
_MOST_CHARS = 1 << 20


class IngestError(Exception):
    """What is answered instead of success; the rest of the request may be stored."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, eq=False)
class _Entries:
    """Entries that are still to be stored: their position in the request, stream and size."""

    at: Offsets
    streams: Offsets
    times: Offsets
    sizes: Offsets

    def where(self, kept: NDArray[np.bool_]) -> _Entries:
        if bool(kept.all()):
            return self
        return _Entries(self.at[kept], self.streams[kept], self.times[kept], self.sizes[kept])


class _Last:
    """The error of what stands last in a request."""

    def __init__(self) -> None:
        self._at = -1
        self.error: IngestError | None = None

    def is_later(self, at: int) -> bool:
        """Tell whether an error at this entry would be the last so far."""
        return at > self._at

    def note(self, at: int, error: IngestError) -> None:
        """Take an error as the last one."""
        self._at, self.error = at, error


class Complaints:
    """Why parts of a request are refused, as many of the reasons as one answer may be long."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._n_chars = 0

    @property
    def full(self) -> bool:
        """Whether no more of them are told."""
        return self._n_chars > _MOST_CHARS

    def add(self, text: str) -> None:
        """Add a reason."""
        if not self.full:
            self.texts.append(text)
            self._n_chars += len(text)


class _Tenant:
    """What the limits know about one tenant's streams."""

    def __init__(self, limits: Limits) -> None:
        self.names = StreamNames(limits.discover_service_name)
        self.rate = TokenBucket(
            limits.ingestion_rate_mb * _MIB, limits.ingestion_burst_size_mb * _MIB
        )
        self.throughput = Throughput()
        self.buckets = Buckets(
            int(limits.per_stream_rate_limit_mb * _MIB),
            int(limits.per_stream_rate_limit_burst_mb * _MIB),
        )
        self.newest_ns = np.empty(0, np.int64)

    def reserve(self, n: int) -> None:
        """Make room for ``n`` streams' newest times."""
        have = len(self.newest_ns)
        if n > have:
            more = max(n, 2 * have) - have
            self.newest_ns = np.append(self.newest_ns, np.full(more, _NEVER))


class LokiIngest:
    """Takes pushes into a store as Loki would."""

    def __init__(self, store: LokiStore, limits: Limits) -> None:
        self._store = store
        self._budget = store.budget
        self._limits = limits
        self._tenants: dict[str, _Tenant] = {}

    def push(self, name: str, columns: LogColumns, now_ns: int) -> None:
        """Store what the limits allow; IngestError for what they do not, MemoryLimitError."""
        tenant = self._tenants.get(name)
        if tenant is None:
            self._budget.take(_TENANT_BYTES + len(name))
            tenant = self._tenants[name] = _Tenant(self._limits)
        complaints = Complaints()
        bases = self._bases(tenant, columns, complaints)
        entries = self._checked(tenant, columns, bases, now_ns, complaints)
        if len(entries.at) == 0:
            self._finish(complaints)
            return
        self._limit_rate(tenant, name, entries, now_ns)
        split = self._split(tenant, entries, now_ns)
        self._limit_message(tenant, columns, split)
        failure = self._ingest(tenant, name, columns, split, now_ns)
        if failure is not None:
            raise failure
        self._finish(complaints)

    @staticmethod
    def _finish(complaints: Complaints) -> None:
        if complaints.texts:
            raise IngestError(400, texts.grouped(complaints.texts))

    def _bases(self, tenant: _Tenant, columns: LogColumns, complaints: Complaints) -> Offsets:
        """Give the pushed label strings numbers, -1 for those that are refused; int64 (s,)."""
        found = []
        for text in columns.label_strings():
            number = tenant.names.known(text)
            if number is None:
                try:
                    number = tenant.names.add(text, self._limits.max_label_names, self._budget)
                except SelectorError as error:
                    number = -1
                    complaints.add(texts.labels_error(error))
            found.append(number)
        return np.array(found, np.int64)

    def _checked(
        self,
        tenant: _Tenant,
        columns: LogColumns,
        bases: Offsets,
        now_ns: int,
        complaints: Complaints,
    ) -> _Entries:
        """Leave out entries too old, too new or too long."""
        limits = self._limits
        times, sizes = columns.timestamps_ns, columns.line_lengths
        streams = np.repeat(bases, columns.counts)
        kept = streams >= 0
        oldest, latest, longest = _NEVER, np.iinfo(np.int64).max, np.iinfo(np.int64).max
        if limits.reject_old_samples_max_age_s:
            oldest = now_ns - int(limits.reject_old_samples_max_age_s * _NANOS)
        if limits.creation_grace_period_s:
            latest = now_ns + int(limits.creation_grace_period_s * _NANOS)
        if limits.max_line_size:
            longest = limits.max_line_size
        bad = kept & ((times < oldest) | (times > latest) | (sizes > longest))
        for at in np.flatnonzero(bad).tolist():
            if complaints.full:
                break
            labels = label_string(tenant.names.labels[int(streams[at])])
            if times[at] < oldest:
                complaints.add(texts.too_old(labels, int(times[at]), oldest))
            elif times[at] > latest:
                complaints.add(texts.too_new(labels, int(times[at])))
            else:
                complaints.add(texts.too_long(labels, int(sizes[at]), longest))
        return _Entries(np.arange(len(times)), streams, times, sizes).where(kept & ~bad)

    def _limit_rate(self, tenant: _Tenant, name: str, entries: _Entries, now_ns: int) -> None:
        """Refuse the whole request where the tenant's rate is used up."""
        if not self._limits.ingestion_rate_mb:
            return
        n_bytes = int(entries.sizes.sum())
        if not tenant.rate.allow(n_bytes, now_ns):
            text = texts.rate_limited(name, int(tenant.rate.rate), len(entries.at), n_bytes)
            raise IngestError(429, text)

    def _split(self, tenant: _Tenant, entries: _Entries, now_ns: int) -> _Entries:
        """Give the entries of busy streams to shards in turn; streams become names' targets."""
        desired = self._limits.shard_streams_desired_rate_kb * 1024
        present, inverse = np.unique(entries.streams, return_inverse=True)
        targets = tenant.names.targets(present)
        streams = targets[inverse]
        if desired:
            rates = tenant.throughput.rates(present, now_ns)
            for i in np.flatnonzero(rates > desired).tolist():
                own = np.flatnonzero(inverse == i)
                n_shards = int(np.ceil(rates[i] / desired))
                streams[own] = tenant.names.shards(int(present[i]), n_shards, len(own))
        return _Entries(entries.at, streams, entries.times, entries.sizes)

    def _limit_message(self, tenant: _Tenant, columns: LogColumns, entries: _Entries) -> None:
        """Refuse the whole request where its parts could not be sent to the ingester."""
        most = int(self._limits.max_grpc_message_mb * _MIB)
        levels = self._limits.discover_log_levels
        # Far below the limit there is nothing to count: an entry has less than 80 bytes more.
        if not most or len(columns.buffer) + 80 * len(entries.at) < most // 2:
            return
        present = np.unique(entries.streams)
        per_entry = entry_sizes(entries.times, entries.sizes, levels=levels)
        totals = np.bincount(
            np.searchsorted(present, entries.streams), weights=per_entry, minlength=len(present)
        )
        n_bytes = sum(
            stream_size(label_string(tenant.names.target_labels(target)), int(total))
            for target, total in zip(present.tolist(), totals.tolist(), strict=True)
        )
        if n_bytes > most:
            raise IngestError(500, texts.message_too_large("received", n_bytes, most))

    def _ingest(
        self, tenant: _Tenant, name: str, columns: LogColumns, entries: _Entries, now_ns: int
    ) -> IngestError | None:
        """Store what the ingester accepts; returns the last of its complaints."""
        failures = _Last()
        entries = self._limit_streams(tenant, name, entries, failures)
        if bool((entries.streams[1:] < entries.streams[:-1]).any()):
            order = np.argsort(entries.streams, kind="stable")
            entries = _Entries(
                entries.at[order], entries.streams[order], entries.times[order],
                entries.sizes[order],
            )  # fmt: skip
        kept = self._admit(tenant, name, entries, now_ns, failures)
        stored = entries.where(kept)
        if len(stored.at):
            labels = tenant.names.active_labels
            self._store.append(name, labels, stored.streams, columns, stored.at)
            if self._limits.shard_streams_desired_rate_kb:
                bases = tenant.names.bases_of(stored.streams)
                tenant.throughput.add(bases, stored.sizes.astype(np.float64))
        return failures.error

    def _limit_streams(
        self,
        tenant: _Tenant,
        name: str,
        entries: _Entries,
        failures: _Last,
    ) -> _Entries:
        """Turn targets into active streams, as many as there may be."""
        present, first = np.unique(entries.streams, return_index=True)
        active = np.empty(len(present), np.int64)
        for i in np.argsort(first, kind="stable").tolist():
            number = tenant.names.activate(int(present[i]), self._limits.max_streams)
            active[i] = -1 if number is None else number
            if number is None and failures.is_later(int(entries.at[first[i]])):
                labels = label_string(tenant.names.target_labels(int(present[i])))
                text = texts.too_many_streams(labels, name)
                failures.note(int(entries.at[first[i]]), IngestError(429, text))
        streams = active[np.searchsorted(present, entries.streams)]
        tenant.reserve(len(tenant.names.active_labels))
        renamed = _Entries(entries.at, streams, entries.times, entries.sizes)
        return renamed.where(streams >= 0)

    def _admit(
        self,
        tenant: _Tenant,
        name: str,
        entries: _Entries,
        now_ns: int,
        failures: _Last,
    ) -> NDArray[np.bool_]:
        """Say which entries, sorted by stream, their streams accept."""
        kept = np.ones(len(entries.at), np.bool_)
        if len(entries.at) == 0:
            return kept
        present, begins = np.unique(entries.streams, return_index=True)
        ends = np.append(begins[1:], len(entries.streams))
        window = int(self._limits.out_of_order_window_s * _NANOS)
        newest = np.maximum.reduceat(entries.times, begins)
        doubtful = np.zeros(len(present), np.bool_)
        if window:
            highest = np.maximum(newest, tenant.newest_ns[present])
            doubtful = np.minimum.reduceat(entries.times, begins) < highest - window
        limited = bool(self._limits.per_stream_rate_limit_mb)
        amounts = np.add.reduceat(entries.sizes, begins).astype(np.float64)
        if limited:
            doubtful |= tenant.buckets.tokens(present, now_ns) < amounts
        plain = ~doubtful
        if limited:
            tenant.buckets.take(present[plain], amounts[plain])
        tenant.newest_ns[present[plain]] = np.maximum(
            tenant.newest_ns[present[plain]], newest[plain]
        )
        for i in np.flatnonzero(doubtful).tolist():
            at = slice(int(begins[i]), int(ends[i]))
            refused = self._admit_one(tenant, int(present[i]), entries, at, kept, now_ns)
            if refused.n and failures.is_later(int(entries.at[begins[i]])):
                labels = label_string(tenant.names.active_labels[int(present[i])])
                text = refused.text(name, labels, at.stop - at.start)
                failures.note(int(entries.at[begins[i]]), IngestError(refused.status, text))
        return kept

    def _admit_one(
        self,
        tenant: _Tenant,
        stream: int,
        entries: _Entries,
        at: slice,
        kept: NDArray[np.bool_],
        now_ns: int,
    ) -> texts.Refused:
        """Go through one stream's entries; returns those that are refused."""
        window = int(self._limits.out_of_order_window_s * _NANOS)
        rate = int(tenant.buckets.rate)
        number = np.array([stream])
        budget = float(tenant.buckets.tokens(number, now_ns)[0]) if rate else float("inf")
        # Where streams may be split, Loki limits the stream's part of a request as a whole.
        whole = bool(self._limits.shard_streams_desired_rate_kb)
        highest, used = int(tenant.newest_ns[stream]), 0
        labels = label_string(tenant.names.active_labels[stream])
        refused = texts.Refused()
        rows = zip(
            range(at.start, at.stop),
            entries.times[at].tolist(),
            entries.sizes[at].tolist(),
            strict=True,
        )
        for position, time, size in rows:
            if not whole and used + size > budget:
                refused.add(time, 429, partial(texts.stream_rate, rate, labels, size))
                kept[position] = False
                continue
            if not whole:
                used += size  # taken even by an entry that is too far behind
            if window and highest != _NEVER and time < highest - window:
                refused.add(time, 400, partial(texts.too_far_behind, time, highest - window))
                kept[position] = False
                continue
            if whole:
                used += size
            highest = max(highest, time)
        if whole and used > budget:
            accepted = ranges(np.array([at.start]), np.array([at.stop]))[kept[at]]
            sizes, times = entries.sizes[accepted].tolist(), entries.times[accepted].tolist()
            kept[at] = False
            refused = texts.Refused()
            for time, size in zip(times, sizes, strict=True):
                refused.add(time, 429, partial(texts.stream_rate, rate, labels, size))
            return refused
        if rate:
            tenant.buckets.take(number, np.array([float(used)]))
        tenant.newest_ns[stream] = highest
        return refused
