"""What the samples that came add to the sums of their fragments' blocks, for the checksum."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from looker.verify.expectation import Expectation

_LEAST_PER_RUN: Final = 32
"""Samples, of all rows, for which a step of its own per run pays."""


@dataclass(frozen=True, eq=False, slots=True)
class BlockSums:
    """Parts of sums: of which piece, of which block of its fragment, and how much.

    ``values`` uint64 (s,), ``pieces`` intp (s,), ``blocks`` int64 (s,). Where the last two are
    None, fragments have one block, and there is a value for each piece.
    """

    values: NDArray[np.uint64]
    pieces: NDArray[np.intp] | None = None
    blocks: NDArray[np.int64] | None = None

    def places(self, rows: NDArray[np.intp], n_blocks: int) -> NDArray[np.intp]:
        """Return where each value goes among those of all rows, ``n_blocks`` each.

        ``rows`` are the pieces'.
        """
        if self.pieces is None or self.blocks is None:
            return rows
        return rows[self.pieces] * n_blocks + self.blocks

    @classmethod
    def joined(cls, parts: Sequence[tuple[NDArray[np.intp], BlockSums]]) -> BlockSums:
        """Return all parts as one: each with the numbers by which its pieces go in the whole."""
        values = np.concatenate([one.values for _, one in parts])
        pieces = [numbers if one.pieces is None else numbers[one.pieces] for numbers, one in parts]
        blocks = [
            np.zeros(len(one.values), np.int64) if one.blocks is None else one.blocks
            for _, one in parts
        ]
        return cls(values, np.concatenate(pieces), np.concatenate(blocks))


@dataclass(frozen=True, slots=True)
class _Run:
    """Pieces side by side, ``n`` of the same positions in their fragments.

    Their samples begin in column ``begin``, their sums at ``at``, each of ``n_blocks``.
    """

    begin: int
    n: int
    position: int
    size: int
    first_block: int
    n_blocks: int
    at: int

    @property
    def end(self) -> int:
        return self.begin + self.n * self.size


class GridSums:
    """Sums up a grid of samples, in the order of an expectation, that is taken in parts.

    As a rule all rows have their pieces alike, and most pieces are alike: whole fragments.
    """

    def __init__(
        self,
        expectation: Expectation,
        shape: tuple[int, int],
        common: Iterable[tuple[int, int]] | None,
    ) -> None:
        """Begin with nothing: ``common`` are each row's pieces (position, samples).

        None where rows do not have them alike.
        """
        self._expectation = expectation
        self._checksum = checksum = expectation.content.checksum()
        self._n_columns = shape[1]
        self._n_rows = 1 if common is None else shape[0]
        alike = _alike(expectation) if common is None else _grouped(common)
        self._runs: list[_Run] | None = None
        if alike is None:
            self._single = np.empty(expectation.n_samples, np.uint64)
            return
        self._runs, begin, at = [], 0, 0
        for position, size, n in alike:
            first_block = position // checksum.samples_per_block
            n_blocks = (position + size - 1) // checksum.samples_per_block - first_block + 1
            run = _Run(begin, n, position, size, first_block, n_blocks, at)
            self._runs.append(run)
            begin, at = run.end, at + n * n_blocks
        self._sums = np.zeros((self._n_rows, at), np.uint64)

    def add(
        self, rows: slice, columns: slice, words: NDArray[np.uint64], *, overwrite: bool = False
    ) -> None:
        """Take a block: whole rows, or a part of one; its samples' words (rows, columns, n_words).

        With ``overwrite`` they may be used as scratch.
        """
        if self._n_rows == 1 or self._runs is None:
            begin = rows.start * self._n_columns + columns.start
            words = words.reshape(1, -1, words.shape[-1])
            rows, columns = slice(0, 1), slice(begin, begin + words.shape[1])
        if self._runs is None:
            positions = self._expectation.sample_positions[columns]
            _, self._single[columns] = self._checksum.of_single(words[0], positions)
            return
        parts = [*self._parts(self._runs, columns)]
        for own, factors in self._checksum.passes(words, overwrite=overwrite):
            for run, first, n, begin, places in parts:
                size = places.stop - places.start
                part = factors[:, begin : begin + n * size]
                if n > 1:
                    part = part.reshape(len(part), n, size, -1)
                blocks, sums = self._checksum.of_part(own, part, places)
                at = run.at + first * run.n_blocks + blocks.start - run.first_block
                sums = sums.reshape(len(part), -1)
                self._sums[rows, at : at + sums.shape[1]] += sums

    def _parts(
        self, runs: list[_Run], columns: slice
    ) -> Iterator[tuple[_Run, int, int, int, slice]]:
        """Yield what pieces a block has: run, number of the first, how many, column, positions."""
        for run in runs:
            at, end = max(run.begin, columns.start), min(run.end, columns.stop)
            while at < end:
                number, cut = divmod(at - run.begin, run.size)
                n = 1 if cut else max(1, (end - at) // run.size)
                size = min(run.size - cut, end - at)
                first = run.position + cut
                yield run, number, n, at - columns.start, slice(first, first + size)
                at += n * size

    def sums(self) -> BlockSums:
        """Return the sums, once all blocks were taken."""
        expectation, checksum = self._expectation, self._checksum
        if self._runs is None:
            blocks = expectation.sample_positions // checksum.samples_per_block
            return BlockSums(self._single, expectation.piece_of, blocks)
        values = self._sums.reshape(-1)
        if checksum.n_blocks == 1:
            return BlockSums(values)
        n_blocks = np.repeat([run.n_blocks for run in self._runs], [run.n for run in self._runs])
        pieces = np.repeat(np.arange(len(expectation.counts)), np.tile(n_blocks, self._n_rows))
        of_row = [
            np.tile(np.arange(run.first_block, run.first_block + run.n_blocks), run.n)
            for run in self._runs
        ]
        return BlockSums(values, pieces, np.tile(np.concatenate(of_row), self._n_rows))


def _grouped(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (position, samples, how many) of pieces that are alike side by side."""
    return [(*piece, len([*same])) for piece, same in itertools.groupby(pieces)]


def _alike(expectation: Expectation) -> list[tuple[int, int, int]] | None:
    """Return the same of all pieces of an expectation; None where few are alike."""
    counts, positions = expectation.counts, expectation.positions
    new = np.ones(len(counts), np.bool_)
    np.not_equal(counts[1:], counts[:-1], out=new[1:])
    new[1:] |= positions[1:] != positions[:-1]
    firsts = np.flatnonzero(new)
    if len(firsts) * _LEAST_PER_RUN > expectation.n_samples + _LEAST_PER_RUN:
        return None
    n_alike = np.diff(firsts, append=len(counts))
    columns = positions[firsts].tolist(), counts[firsts].tolist(), n_alike.tolist()
    return [*zip(*columns, strict=True)]
