"""Predicting a remote read answer, and comparing it in blocks.

Its layout and its labels are known, so labels are compared as bytes; samples are decoded, each of
their bytes, and compared with the regenerated ones as numbers, which takes less than encoding them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.encoder import blocks
from looker.model.config import NS_PER_MS
from looker.verify.block_sums import BlockSums
from looker.verify.grid import Grid
from looker.wire.checksum import words_of_values
from looker.wire.columns import varint
from looker.wire.prometheus import SAMPLE_BYTES, series_head_width, series_heads
from looker.wire.records import gather
from looker.wire.sample_blocks import decode_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from looker.generate.values import ValueContent
    from looker.verify.expectation import Expectation
    from looker.wire.columns import NumberedText

_SAMPLES_PER_BLOCK: Final = 32_768


def predicted_sums(
    body: bytes, expectation: Expectation, labels: NumberedText, *, regenerate: bool = True
) -> BlockSums | None:
    """Return the sums for the checksum, of the received bytes.

    None where the answer is not as predicted: series in the order of their labels, each with its
    samples in the order of time. Without ``regenerate``, values are taken as they come.
    """
    counts = expectation.stream_counts
    classes, class_of = np.unique(counts, return_inverse=True)
    head_widths = [series_head_width(labels.width, n) for n in classes.tolist()]
    series_bytes = np.array(head_widths, np.int64)[class_of] + counts * SAMPLE_BYTES
    total = int(series_bytes.sum())
    frame = b"\x0a" + varint(total)
    if len(body) != len(frame) + total or not body.startswith(frame):
        return None
    begins = np.cumsum(series_bytes) - series_bytes + len(frame)
    buffer = np.frombuffer(body, np.uint8)
    if len(classes) == 1:
        return _class_sums(
            buffer, begins, expectation, labels, head_widths[0], regenerate=regenerate
        )
    n_pieces = len(expectation.counts)
    class_of_piece = np.repeat(class_of, np.diff(expectation.first_pieces, append=n_pieces))
    parts = []
    for number, head_width in enumerate(head_widths):
        pieces = class_of_piece == number
        found = _class_sums(
            buffer,
            begins[class_of == number],
            expectation.of(pieces),
            labels,
            head_width,
            regenerate=regenerate,
        )
        if found is None:
            return None
        parts.append((np.flatnonzero(pieces), found))
    return BlockSums.joined(parts)


def _class_sums(
    buffer: NDArray[np.uint8],
    begins: NDArray[np.int64],
    expectation: Expectation,
    labels: NumberedText,
    head_width: int,
    *,
    regenerate: bool,
) -> BlockSums | None:
    """Compare the series that have one number of samples; ``begins`` (s,) is where they are."""
    grid = Grid(expectation, NS_PER_MS)
    n_series, n_samples = grid.shape
    heads = series_heads(labels, n_samples).render(expectation.stream_numbers)
    if not np.array_equal(gather(buffer, begins, head_width), heads):
        return None
    size = head_width + n_samples * SAMPLE_BYTES
    side_by_side = bool((np.diff(begins) == size).all())
    values = expectation.content.values() if regenerate else None
    for part, columns in blocks(n_series, n_samples, _SAMPLES_PER_BLOCK):
        source, begin = buffer, int(begins[part.start])
        n = part.stop - part.start
        if n > 1 and not side_by_side:
            source, begin = gather(buffer, begins[part], size).reshape(-1), 0
        begin += head_width + columns.start * SAMPLE_BYTES
        found = decode_samples(source, begin, (n, columns.stop - columns.start), size)
        if found is None:
            return None
        if not _take(grid, values, (part, columns), *found):
            return None
    return grid.sums()


def sums_of_columns(
    expectation: Expectation,
    streams: NDArray[np.int64],
    counts: NDArray[np.int64],
    timestamps_ms: NDArray[np.int64],
    bits: NDArray[np.uint64],
    *,
    regenerate: bool = True,
) -> BlockSums | None:
    """Return the same of parsed samples; None where they are not all that is expected, in order.

    ``streams`` and ``counts`` (s,) are the series', the samples of which follow each other.
    """
    if not np.array_equal(streams, expectation.stream_numbers):
        return None
    if not np.array_equal(counts, expectation.stream_counts):
        return None
    grid = Grid(expectation, NS_PER_MS)
    values = expectation.content.values() if regenerate else None
    times, found = timestamps_ms.reshape(grid.shape), bits.reshape(grid.shape)
    for part, columns in blocks(*grid.shape, _SAMPLES_PER_BLOCK):
        if not _take(grid, values, (part, columns), times[part, columns], found[part, columns]):
            return None
    return grid.sums()


def _take(
    grid: Grid,
    values: ValueContent | None,
    place: tuple[slice, slice],
    timestamps_ms: NDArray[np.int64],
    bits: NDArray[np.uint64],
) -> bool:
    """Compare a block of received samples, and take them for the checksum if they are right."""
    if not (timestamps_ms == grid.timestamps(*place)).all():
        return False
    if values is not None and not np.array_equal(bits, grid.bits(values, *place)):
        return False
    grid.add(*place, words_of_values(bits))
    return True
