"""Metric samples in memory: columns by push, with the TSDB's rules on what may be appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from looker.errors import DecodeError
from looker.target.label_index import LabelIndex
from looker.target.memory import PUSH_BYTES
from looker.target.runs import Runs, group_starts, ranges
from looker.wire.layout import mask_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from looker.target.matchers import Labels, Matcher
    from looker.target.memory import Budget
    from looker.wire.decode import SeriesColumns

    Offsets = NDArray[np.int64]
    Bits = NDArray[np.uint64]

SAMPLE_BYTES = 24  # series, time, value
SERIES_BYTES = 1000  # Python objects of one series, besides its label text
OUT_OF_ORDER = "out of order sample"
DUPLICATE = "duplicate sample for timestamp"
_NEVER = np.iinfo(np.int64).min


class AppendError(Exception):
    """A sample breaks the order of its series; nothing of the request was stored."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of selected series, series after series in label order, ascending in time.

    ``labels``, ``blobs`` (their protobuf fields) and ``counts`` have one item per series (s,);
    ``times_ms`` int64 and ``value_bits`` uint64 one per sample (n,).
    """

    labels: list[Labels]
    blobs: list[bytes]
    counts: Offsets
    times_ms: Offsets
    value_bits: Bits


class _Tenant:
    """The series of one tenant: numbered as they come, indexed only when somebody asks."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.blobs: list[bytes] = []
        self.index = LabelIndex(lambda labels: labels)
        self.latest_ms = np.empty(0, np.int64)
        self.latest_bits = np.empty(0, np.uint64)
        self.runs = Runs()

    def reserve(self, n: int) -> None:
        """Make room for ``n`` series in the columns of latest samples."""
        have = len(self.latest_ms)
        if n > have:
            more = max(n, 2 * have) - have
            self.latest_ms = np.append(self.latest_ms, np.full(more, _NEVER))
            self.latest_bits = np.append(self.latest_bits, np.zeros(more, np.uint64))

    def select(self, matchers: Sequence[Matcher]) -> Offsets:
        """Index what came since the last query, and search."""
        for blob in self.blobs[len(self.index.labels) :]:
            self.index.add(_parse(blob))
        return self.index.select(matchers)


class SeriesStore:
    """Every tenant's series, within one budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._tenants: dict[str, _Tenant] = {}

    def push(self, tenant: str, columns: SeriesColumns) -> None:
        """Store all samples, or raise and store none.

        A sample equal to its series' latest one is passed over, as the TSDB does. Unlike there,
        samples of one request are held against each other too, never dropped in silence. Raises
        AppendError, MemoryLimitError, DecodeError for labels that are none.
        """
        owner = self._tenants.get(tenant) or _Tenant()
        blobs = columns.label_blobs()
        get = owner.numbers.get
        numbers = np.array([get(blob, -1) for blob in blobs], np.int64)
        fresh: dict[bytes, int] = {}
        added: list[bytes] = []
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            fresh, added = _number_new(owner, [blobs[i] for i in unknown.tolist()])
            numbers[unknown] = [fresh[blobs[i]] for i in unknown.tolist()]
        owner.reserve(len(owner.blobs) + len(added))
        new = _appendable(owner, numbers, columns)
        labels_bytes = sum(SERIES_BYTES + 4 * len(blob) for blob in fresh)
        self._budget.take(PUSH_BYTES + len(new[0]) * SAMPLE_BYTES + labels_bytes)
        self._tenants[tenant] = owner
        owner.numbers.update(fresh)
        owner.blobs += added
        owner.runs.append(*new)
        # Of several samples of a series the last assignment stays: they ascend in time.
        owner.latest_ms[new[0]] = new[1]
        owner.latest_bits[new[0]] = new[2]

    def query(
        self, tenant: str, matchers: Sequence[Matcher], start_ms: int, stop_ms: int
    ) -> Samples:
        """Take all samples of a time range [start, stop) of the series that match."""
        owner = self._tenants.get(tenant)
        nothing = Samples([], [], np.zeros(0, np.int64), np.zeros(0, np.int64), _no_bits())
        if owner is None:
            return nothing
        numbers = owner.select(matchers)
        gathered = []
        for run in owner.runs.sorted_runs():
            ranks, begins, ends = run.segments(numbers, start_ms, stop_ms)
            at = ranges(begins, ends)
            gathered.append((np.repeat(ranks, ends - begins), run.times[at], run.columns[0][at]))
        if not gathered:
            return nothing
        ranks, times, bits = (np.concatenate(parts) for parts in zip(*gathered, strict=True))
        if bool((ranks[1:] < ranks[:-1]).any()):
            # Runs ascend in time, so a stable sort by series keeps each in time order.
            order = np.argsort(ranks, kind="stable")
            ranks, times, bits = ranks[order], times[order], bits[order]
        found, counts = np.unique(ranks, return_counts=True)
        chosen = numbers[found].tolist()
        return Samples(
            [owner.index.labels[n] for n in chosen],
            [owner.blobs[n] for n in chosen],
            counts.astype(np.int64),
            times,
            bits,
        )


def _no_bits() -> Bits:
    return np.zeros(0, np.uint64)


def _appendable(
    owner: _Tenant, numbers: Offsets, columns: SeriesColumns
) -> tuple[Offsets, Offsets, Bits]:
    """Hold samples against the latest ones: (series, times, bits) to append."""
    series = np.repeat(numbers, columns.counts)
    times, bits = columns.timestamps_ms, columns.value_bits
    order = None
    if bool((series[1:] < series[:-1]).any()):
        order = np.argsort(series, kind="stable")
        series, times, bits = series[order], times[order], bits[order]
    before_ms, before_bits = np.empty_like(times), np.empty_like(bits)
    before_ms[1:], before_bits[1:] = times[:-1], bits[:-1]
    first = group_starts(series)
    before_ms[first] = owner.latest_ms[series[first]]
    before_bits[first] = owner.latest_bits[series[first]]
    later = times > before_ms
    if not bool(later.all()):
        known = before_ms != _NEVER
        repeated = (times == before_ms) & (bits == before_bits) & known
        wrong = np.flatnonzero(~(later | repeated | ~known))
        if len(wrong):
            worst = wrong[0] if order is None else wrong[np.argmin(order[wrong])]
            raise AppendError(OUT_OF_ORDER if times[worst] < before_ms[worst] else DUPLICATE)
        series, times, bits = series[~repeated], times[~repeated], bits[~repeated]
    return series, times, bits


def _number_new(owner: _Tenant, blobs: list[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Give numbers to unknown label blobs: (number of each, canonical blobs that are new).

    Two blobs can be the same labels in another order, so numbers go to the canonical form.
    """
    fresh: dict[bytes, int] = {}
    added: list[bytes] = []
    base = len(owner.blobs)
    for blob, canonical in _canonical(list(dict.fromkeys(blobs))):
        number = owner.numbers.get(canonical)
        if number is None:
            number = fresh.get(canonical)
        if number is None:
            number = base + len(added)
            added.append(canonical)
        fresh[blob] = fresh[canonical] = number
    return fresh, added


def _canonical(blobs: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Pair each blob with its canonical form: sorted by name, none empty.

    Blobs that differ from a canonical one in values of equal lengths only are canonical too,
    which is seen for all of them at once.
    """
    by_size: dict[int, list[bytes]] = {}
    for blob in blobs:
        by_size.setdefault(len(blob), []).append(blob)
    pairs = []
    for size, group in by_size.items():
        model = _encode(_parse(group[0]))
        marked = mask_labels(model, names=True)
        if size == 0 or len(model) != size or marked is None or marked[1] != size:
            pairs += [(blob, _encode(_parse(blob))) for blob in group]
            continue
        joined = b"".join(group)
        _require_utf8(joined)
        rows = np.frombuffer(joined, np.uint8).reshape(-1, size)
        differs = (rows ^ np.frombuffer(model, np.uint8)) & np.frombuffer(marked[0], np.uint8)
        others: list[bool] = np.any(differs, axis=1).tolist()
        pairs += [
            (blob, _encode(_parse(blob)) if other else blob)
            for blob, other in zip(group, others, strict=True)
        ]
    return pairs


def _require_utf8(joined: bytes) -> None:
    """Raise DecodeError unless the strings in ``joined`` are UTF-8.

    Tags and lengths below 128 stand between them, so all can be looked at as one.
    """
    try:
        joined.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"not a valid label set: {error}") from error


def _parse(blob: bytes) -> Labels:
    """Decode a label blob: sorted, without empty values; DecodeError for a name given twice."""
    from google.protobuf.message import DecodeError as ProtobufError  # noqa: PLC0415

    from looker.wire.proto.prometheus_pb2 import TimeSeries  # noqa: PLC0415

    try:
        labels = TimeSeries.FromString(blob).labels
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a valid label set: {error}") from error
    pairs = tuple(sorted((label.name, label.value) for label in labels if label.value))
    if len({name for name, _ in pairs}) < len(pairs):
        raise DecodeError("label name is not unique")
    return pairs


def _encode(labels: Labels) -> bytes:
    """Encode labels as the fields of a TimeSeries."""
    from looker.wire.proto.prometheus_pb2 import Label, TimeSeries  # noqa: PLC0415

    fields = [Label(name=name, value=value) for name, value in labels]
    encoded: bytes = TimeSeries(labels=fields).SerializeToString()
    return encoded
