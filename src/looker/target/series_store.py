"""Metric samples in memory: columns by push, by the rules of what may be appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from looker.target.append_rules import NEVER, strict
from looker.target.effort import checked
from looker.target.label_index import LABEL_BYTES as INDEXED_BYTES
from looker.target.label_index import NAME_BYTES, PAIR_BYTES, LabelIndex
from looker.target.memory import PUSH_BYTES, MemoryLimitError
from looker.target.runs import Runs, ranges
from looker.target.series_labels import canonical, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from looker.target.append_rules import Batch
    from looker.target.damage import StoreDamage
    from looker.target.matchers import Labels, Matcher
    from looker.target.memory import Budget
    from looker.target.runs import Run
    from looker.wire.decode import SeriesColumns

    Offsets = NDArray[np.int64]
    Bits = NDArray[np.uint64]
    _Part = tuple[Run, Offsets, Offsets, Offsets]
    Rule = Callable[["Owner", Offsets, SeriesColumns], Batch]

SAMPLE_BYTES = 24  # series, time, value
SERIES_BYTES = 600  # Python objects of one series, besides its labels
TENANT_BYTES = 4000
LABEL_BYTES = NAME_BYTES + PAIR_BYTES + INDEXED_BYTES
"""The most that a label takes once it is indexed."""
TAKEN_BYTES = 64  # of each sample that a query takes, while they are put in order


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


class Owner:
    """The series of one tenant: numbered as they come, indexed only when somebody asks."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.blobs: list[bytes] = []
        self.index = LabelIndex(lambda labels: labels)
        self.latest_ms = np.empty(0, np.int64)
        self.latest_bits = np.empty(0, np.uint64)
        self.newest_ms: int | None = None  # of all series, where a rule asks for it
        self.runs = Runs()
        self.reserved_bytes = 0
        """Set aside for series that are not indexed yet: at most what they will take."""

    def reserve(self, n: int) -> None:
        """Make room for ``n`` series in the columns of latest samples."""
        have = len(self.latest_ms)
        if n > have:
            more = max(n, 2 * have) - have
            self.latest_ms = np.append(self.latest_ms, np.full(more, NEVER))
            self.latest_bits = np.append(self.latest_bits, np.zeros(more, np.uint64))

    def index_all(self, budget: Budget) -> None:
        """Index what came since the last query; what that takes is then known."""
        for blob in checked(self.blobs[len(self.index.labels) :]):
            labels = parse(blob)
            n_bytes, most = self.index.cost((labels,)), _most_bytes(blob)
            self.index.add(labels)
            self.reserved_bytes -= most
            budget.held_bytes -= most - n_bytes

    def select(self, matchers: Sequence[Matcher], budget: Budget) -> Offsets:
        """Index what came since the last query, and search."""
        self.index_all(budget)
        return self.index.select(matchers)


@dataclass(eq=False)
class Draft:
    """A request whose series have numbers, of which nothing is stored yet.

    ``numbers`` int64 (s,) is -1 where a series is left out. ``fresh`` gives new spellings of
    label sets their number, ``added`` are the canonical blobs that are new.
    """

    tenant: str
    owner: Owner
    numbers: Offsets
    fresh: dict[bytes, int]
    added: list[bytes]


class SeriesStore:
    """Every tenant's series, within one budget; ``rule`` says what ``push`` takes.

    ``damage``, if any, is done to all that is stored, behind the rules.
    """

    def __init__(
        self, budget: Budget, rule: Rule = strict, damage: StoreDamage | None = None
    ) -> None:
        self.budget = budget
        self._rule = rule
        self._damage = damage
        self._tenants: dict[str, Owner] = {}

    def push(self, tenant: str, columns: SeriesColumns) -> None:
        """Store all that the rule takes of a request, or raise and store none.

        Raises AppendError, MemoryLimitError, DecodeError for labels that are none.
        """
        draft = self.begin(tenant, columns.label_blobs())
        self.commit(draft, self._rule(draft.owner, draft.numbers, columns))

    def known(self, tenant: str) -> Mapping[bytes, int]:
        """Return the label blobs that came before, with their numbers."""
        owner = self._tenants.get(tenant)
        return {} if owner is None else owner.numbers

    def begin(self, tenant: str, blobs: Sequence[bytes]) -> Draft:
        """Give the series of a request numbers; DecodeError for labels that are none."""
        owner = self._tenants.get(tenant) or Owner()
        get = owner.numbers.get
        numbers = np.array([get(blob, -1) for blob in blobs], np.int64)
        fresh: dict[bytes, int] = {}
        added: list[bytes] = []
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            fresh, added = _number_new(owner, [blobs[i] for i in unknown.tolist()])
            numbers[unknown] = [fresh[blobs[i]] for i in unknown.tolist()]
        owner.reserve(len(owner.blobs) + len(added))
        return Draft(tenant, owner, numbers, fresh, added)

    def commit(self, draft: Draft, batch: Batch) -> None:
        """Store a request's new series and the samples to append; MemoryLimitError."""
        owner = draft.owner
        labels_bytes = sum(SERIES_BYTES + 4 * len(blob) for blob in draft.fresh)
        if draft.tenant not in self._tenants:
            labels_bytes += TENANT_BYTES + len(draft.tenant)
        stored = batch if self._damage is None else self._damage.samples(batch)
        reserved_bytes = sum(map(_most_bytes, draft.added)) if draft.added else 0
        self._take(PUSH_BYTES + len(stored.times) * SAMPLE_BYTES + labels_bytes + reserved_bytes)
        owner.reserved_bytes += reserved_bytes
        self._tenants[draft.tenant] = owner
        owner.numbers.update(draft.fresh)
        owner.blobs += draft.added
        owner.runs.append(stored.series, stored.times, stored.bits)
        # Of several samples of a series the last assignment stays: they ascend in time.
        owner.latest_ms[batch.series] = batch.times
        owner.latest_bits[batch.series] = batch.bits
        if self._rule is not strict and len(batch.times):
            newest = int(batch.times.max())
            owner.newest_ms = newest if owner.newest_ms is None else max(owner.newest_ms, newest)

    def _take(self, n_bytes: int) -> None:
        """Count bytes as held, if need be after what is set aside is known; MemoryLimitError."""
        try:
            self.budget.take(n_bytes)
        except MemoryLimitError:
            if not any(owner.reserved_bytes for owner in self._tenants.values()):
                raise
            for owner in self._tenants.values():
                owner.index_all(self.budget)
            self.budget.take(n_bytes)

    def find(
        self, tenant: str, matchers: Sequence[Matcher], start_ms: int, stop_ms: int
    ) -> list[Labels]:
        """List the series that have samples within [start, stop), in label order."""
        owner = self._tenants.get(tenant)
        if owner is None:
            return []
        numbers = owner.select(matchers, self.budget)
        hits = [run.segments(numbers, start_ms, stop_ms)[0] for run in owner.runs.sorted_runs()]
        found = np.unique(np.concatenate([np.zeros(0, np.int64), *hits]))
        return [owner.index.labels[number] for number in numbers[found].tolist()]

    def query(
        self, tenant: str, matchers: Sequence[Matcher], start_ms: int, stop_ms: int
    ) -> Samples:
        """Take all samples of a time range [start, stop) of the series that match.

        LoanError where they take too much memory.
        """
        owner = self._tenants.get(tenant)
        nothing = Samples([], [], np.zeros(0, np.int64), np.zeros(0, np.int64), _no_bits())
        if owner is None:
            return nothing
        numbers = owner.select(matchers, self.budget)
        parts = [
            (run, *run.segments(numbers, start_ms, stop_ms)) for run in owner.runs.sorted_runs()
        ]
        n_samples = sum(int((ends - begins).sum()) for _, _, begins, ends in parts)
        if not n_samples:
            return nothing
        with self.budget.loan(TAKEN_BYTES * n_samples):
            ranks, times, bits = _gathered(parts)
        found, counts = np.unique(ranks, return_counts=True)
        chosen = numbers[found].tolist()
        return Samples(
            [owner.index.labels[n] for n in chosen],
            [owner.blobs[n] for n in chosen],
            counts.astype(np.int64),
            times,
            bits,
        )


def _most_bytes(blob: bytes) -> int:
    """Return the most that a series with these labels takes in an index.

    Each of its labels has a tag, and its name another one, which are newlines.
    """
    return LABEL_BYTES * ((blob.count(b"\n") + 1) // 2)


def _gathered(parts: Sequence[_Part]) -> tuple[Offsets, Offsets, Bits]:
    """Take the samples of segments, by series and time: (ranks, times, bits)."""
    gathered = []
    for run, ranks, begins, ends in parts:
        at = ranges(begins, ends)
        gathered.append((np.repeat(ranks, ends - begins), run.times[at], run.columns[0][at]))
    ranks, times, bits = (np.concatenate(column) for column in zip(*gathered, strict=True))
    if bool((ranks[1:] < ranks[:-1]).any()):
        # Runs ascend in time, so a stable sort by series keeps each in time order.
        order = np.argsort(ranks, kind="stable")
        ranks, times, bits = ranks[order], times[order], bits[order]
    return ranks, times, bits


def _no_bits() -> Bits:
    return np.zeros(0, np.uint64)


def _number_new(owner: Owner, blobs: list[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Give numbers to unknown label blobs: (number of each, canonical blobs that are new).

    Two blobs can be the same labels in another order, so numbers go to the canonical form.
    """
    fresh: dict[bytes, int] = {}
    added: list[bytes] = []
    base = len(owner.blobs)
    for blob, form in canonical(list(dict.fromkeys(blobs))):
        number = owner.numbers.get(form)
        if number is None:
            number = fresh.get(form)
        if number is None:
            number = base + len(added)
            added.append(form)
        fresh[blob] = fresh[form] = number
    return fresh, added
