"""What a page of an answer must hold, as columns that any sample can be regenerated from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.generate.logs import TIMESTAMP_DIGITS
from looker.wire.columns import store_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.content import Content
    from looker.generate.lines import LineContent
    from looker.generate.values import ValueContent


@dataclass(frozen=True, eq=False)
class Expectation:
    """Pieces of fragments, ``p`` of them, sorted by stream and time.

    ``streams`` uint32, ``fragments`` uint32, ``positions`` int64 (of a piece's first sample in its
    fragment), ``counts`` int64, ``start_ns`` int64 (of the piece's first sample), ``rows`` intp
    (which ledger row), ``n_repeats`` uint8 (copies of a fragment that may be there beside the
    first), and two flags: ``required`` (acknowledged: must be there; the others may be),
    ``counted`` (of the cycle that is read).
    """

    content: Content
    streams: NDArray[np.uint32]
    fragments: NDArray[np.uint32]
    positions: NDArray[np.int64]
    counts: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    rows: NDArray[np.intp]
    required: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    n_repeats: NDArray[np.uint8]

    @classmethod
    def of_rows(
        cls, content: Content, rows: NDArray[Any], first: int, n_samples: int
    ) -> Expectation:
        """Expect ``n_samples`` of each fragment (LEDGER_DTYPE) from position ``first`` on."""
        n_rows = len(rows)
        return cls(
            content=content,
            streams=rows["stream"],
            fragments=rows["fragment"],
            positions=np.full(n_rows, first, np.int64),
            counts=np.full(n_rows, n_samples, np.int64),
            start_ns=rows["start_ns"] + first * content.step_ns,
            rows=np.arange(n_rows),
            required=np.ones(n_rows, np.bool_),
            counted=np.ones(n_rows, np.bool_),
            n_repeats=rows["n_repeats"],
        )

    @cached_property
    def n_samples(self) -> int:
        """Number of samples in all pieces, required or not."""
        return int(self.counts.sum())

    @cached_property
    def first_pieces(self) -> NDArray[np.intp]:
        """The first piece of each stream, intp (s,)."""
        first = np.ones(len(self.streams), np.bool_)
        np.not_equal(self.streams[1:], self.streams[:-1], out=first[1:])
        return np.flatnonzero(first)

    @cached_property
    def stream_numbers(self) -> NDArray[np.uint32]:
        """The streams, each once, uint32 (s,)."""
        return self.streams[self.first_pieces]

    @cached_property
    def stream_counts(self) -> NDArray[np.int64]:
        """The number of samples of each stream, int64 (s,)."""
        if len(self.first_pieces) == len(self.counts):
            return self.counts
        totals: NDArray[np.int64] = np.add.reduceat(self.counts, self.first_pieces)
        return totals

    @cached_property
    def piece_of(self) -> NDArray[np.intp]:
        """The piece of each sample, intp (n_samples,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def sample_positions(self) -> NDArray[np.int64]:
        """The position of each sample in its fragment, int64 (n_samples,)."""
        begins = np.cumsum(self.counts) - self.counts
        numbers = np.arange(self.n_samples, dtype=np.int64)
        numbers += np.repeat(self.positions - begins, self.counts)
        return numbers

    @cached_property
    def timestamps_ns(self) -> NDArray[np.int64]:
        """The timestamp of each sample, int64 (n_samples,)."""
        origin = self.start_ns - self.positions * self.content.step_ns
        times: NDArray[np.int64] = origin[self.piece_of]
        times += self.sample_positions * self.content.step_ns
        return times

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The keys of the pieces' fragments, uint64 (p,)."""
        return self.content.keys(self.streams, self.fragments)

    def lines(self, samples: NDArray[np.intp] | slice) -> NDArray[np.uint8]:
        """Return the lines of some samples, uint8 (k, n_chars)."""
        digits = self.digits(samples)
        out = np.empty((len(digits), self.content.n_chars), np.uint8)
        self.store_lines(out, samples, digits)
        return out

    def digits(self, samples: NDArray[np.intp] | slice) -> NDArray[np.uint8]:
        """Return the timestamps of some samples as decimal digits, uint8 (k, 19)."""
        timestamps = self.timestamps_ns[samples]
        digits = np.empty((len(timestamps), TIMESTAMP_DIGITS), np.uint8)
        store_digits(digits, timestamps)
        return digits

    def store_lines(
        self, out: NDArray[np.uint8], samples: NDArray[np.intp] | slice, digits: NDArray[np.uint8]
    ) -> None:
        """Store the lines of some samples into ``out`` (k, n_chars)."""
        self._lines.store_time(out, digits)
        keys = self.keys[self.piece_of[samples]]
        self._lines.store_text_at(out, keys, self.sample_positions[samples])

    @cached_property
    def _lines(self) -> LineContent:
        return self.content.lines()

    @cached_property
    def _values(self) -> ValueContent:
        return self.content.values()

    def bits(self, samples: NDArray[np.intp] | slice) -> NDArray[np.uint64]:
        """Return the bit patterns of the values of some samples, uint64 (k,)."""
        keys = self.keys[self.piece_of[samples]]
        return self._values.bits_at(keys, self.sample_positions[samples])

    def required_only(self) -> Expectation:
        """Return the same without the pieces that need not be there."""
        return self if self.required.all() else self.of(self.required)

    def likely(self) -> list[Expectation]:
        """Return what an answer is likely to hold as a whole, the likeliest first.

        What must be there alone, and with all that may be: pieces in doubt were mostly stored
        whole, or not at all.
        """
        required = self.required_only()
        both = [required] if required is self else [required, self]
        return [one for one in both if one.n_samples]

    def with_required(self, rows: NDArray[np.bool_]) -> Expectation:
        """Return the same, where what must be there is of the rows that are marked in ``rows``."""
        return replace(self, required=rows[self.rows])

    def optional(self) -> Expectation:
        """Return the same, where nothing must be there."""
        return replace(self, required=np.zeros(len(self.required), np.bool_))

    def joined(self, other: Expectation) -> Expectation:
        """Return the pieces of both."""
        columns = [spec.name for spec in fields(self) if spec.name != "content"]
        both: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns
        }
        order = np.lexsort((both["start_ns"], both["streams"]))
        return replace(self, **{name: values[order] for name, values in both.items()})

    def of(self, keep: NDArray[np.bool_]) -> Expectation:
        """Return the same with the pieces that are marked in ``keep`` (p,)."""
        return Expectation(
            self.content,
            self.streams[keep],
            self.fragments[keep],
            self.positions[keep],
            self.counts[keep],
            self.start_ns[keep],
            self.rows[keep],
            self.required[keep],
            self.counted[keep],
            self.n_repeats[keep],
        )

    def between(self, begin_ns: int, end_ns: int) -> Expectation:
        """Return the same with the samples in ``[begin_ns, end_ns)``."""
        step_ns = self.content.step_ns
        # the first sample at or behind each end
        first = np.clip(-((self.start_ns - begin_ns) // step_ns), 0, self.counts)
        last = np.clip(-((self.start_ns - end_ns) // step_ns), 0, self.counts)
        within = replace(
            self,
            positions=self.positions + first,
            counts=last - first,
            start_ns=self.start_ns + first * step_ns,
        )
        return within.of(last > first)
