"""The referee is the hdrhistogram package, the HdrHistogram project's Python port."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from looker.model.histogram import HIGHEST_US, LOWEST_US, SIGNIFICANT_DIGITS, Histogram

PERCENTILES = (0, 1e-9, 1, 25, 50, 75, 90, 99, 99.9, 99.99, 100, 200)

# Half of them near the borders of slots, where an index is off by one if anywhere.
durations_us = st.one_of(
    st.integers(0, HIGHEST_US),
    st.builds(
        lambda bits, offset: min(max((1 << bits) + offset, 0), HIGHEST_US),
        st.integers(0, 31),
        st.integers(-2, 2),
    ),
)
many_durations_us = st.lists(durations_us, max_size=60)


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record_us(value)
    return histogram


def referee_of(values: list[int]) -> HdrHistogram:
    referee = HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)
    for value in values:
        assert referee.record_value(value)
    return referee


def wrapped(inner: bytes, *, trailing: bytes = b"") -> str:
    compressed = zlib.compress(inner) + trailing
    outer = struct.pack(">II", 0x1C849314, len(compressed))
    return base64.b64encode(outer + compressed).decode()


def inner_of(
    counts: bytes,
    *,
    cookie: int = 0x1C849313,
    n_counts: int | None = None,
    offset: int = 0,
    digits: int = 3,
    lowest: int = 1,
    highest: int = HIGHEST_US,
    ratio: float = 1.0,
) -> bytes:
    n = len(counts) if n_counts is None else n_counts
    return struct.pack(">IIIIQQd", cookie, n, offset, digits, lowest, highest, ratio) + counts


def decoded_or_refusal(encoded: str) -> Histogram | str:
    try:
        return Histogram.from_base64(encoded)
    except ValueError as error:
        return str(error)


@given(many_durations_us)
def test_figures_are_the_referees(values: list[int]) -> None:
    ours, theirs = histogram_of(values), referee_of(values)
    assert ours.n == theirs.get_total_count() == len(values)
    assert ours.min_us == theirs.get_min_value()
    assert ours.max_us == theirs.get_max_value()
    assert ours.mean_us == theirs.get_mean_value()
    for p in PERCENTILES:
        assert ours.percentile_us(p) == theirs.get_value_at_percentile(p), p


@given(many_durations_us)
def test_the_referee_decodes_ours(values: list[int]) -> None:
    decoded = HdrHistogram.decode(histogram_of(values).to_base64())
    theirs = referee_of(values)
    assert list(decoded.counts) == list(theirs.counts)
    assert decoded.get_total_count() == len(values)
    for p in PERCENTILES:
        assert decoded.get_value_at_percentile(p) == theirs.get_value_at_percentile(p)


@given(many_durations_us)
def test_we_decode_the_referees(values: list[int]) -> None:
    assert Histogram.from_base64(referee_of(values).encode().decode()) == histogram_of(values)


@given(st.lists(st.integers(-(2**62), 2**62) | durations_us, max_size=60))
def test_many_at_once_count_like_one_by_one(values: list[int]) -> None:
    at_once = Histogram()
    at_once.record_many_us(np.array(values, dtype=np.int64))
    assert at_once == histogram_of(values)


@given(many_durations_us, many_durations_us, many_durations_us)
def test_merging_is_associative_and_commutative(
    a_us: list[int], b_us: list[int], c_us: list[int]
) -> None:
    a, b, c = histogram_of(a_us), histogram_of(b_us), histogram_of(c_us)
    everything = histogram_of(a_us + b_us + c_us)
    assert Histogram.merged([a, b, c]) == everything
    assert Histogram.merged([c, Histogram(), b, a]) == everything
    assert Histogram.merged([a, Histogram.merged([b, c])]) == everything
    assert Histogram.merged([Histogram.merged([a, b]), c]) == everything
    assert a == histogram_of(a_us)


@given(many_durations_us)
def test_serializing_loses_nothing(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert Histogram.from_base64(histogram.to_base64()) == histogram


@pytest.mark.parametrize("count", [1, 63, 64, 2**13, 2**55 - 1, 2**55, 2**63 - 1])
def test_counts_of_every_encoded_length(count: int) -> None:
    histogram = Histogram()
    histogram._counts = {7: count, 9: 1}
    assert Histogram.from_base64(histogram.to_base64()) == histogram
    decoded = HdrHistogram.decode(histogram.to_base64())
    # The referee reads only seven of the ninth byte's eight bits.
    count &= 2**62 - 1
    assert (decoded.counts[7], decoded.counts[8], decoded.counts[9]) == (count, 0, 1)


def test_a_full_histogram_is_read_back() -> None:
    histogram = Histogram()
    histogram._counts = dict.fromkeys(range(23 << 10), 2**63 - 1)
    assert Histogram.from_base64(histogram.to_base64()) == histogram


def test_adding_to_itself_doubles() -> None:
    histogram = histogram_of([1, 5_000])
    histogram.add(histogram)
    assert histogram == histogram_of([1, 1, 5_000, 5_000])


def test_values_out_of_range_are_clamped_and_counted() -> None:
    assert histogram_of([-5, HIGHEST_US + 1, 2**70]) == histogram_of([0, HIGHEST_US, HIGHEST_US])


def test_summary_is_in_milliseconds() -> None:
    histogram = histogram_of([1_000] * 90 + [1_500] * 9 + [2_000])
    summary = histogram.summary_ms()
    assert (summary.mean, summary.max) == (1.055, 2.0)
    assert (summary.p50, summary.p90, summary.p99, summary.p99_9) == (1.0, 1.0, 1.5, 2.0)
    assert Histogram.from_base64(summary.histogram) == histogram


@given(many_durations_us.filter(bool))
def test_summary_shows_the_histograms_figures(values: list[int]) -> None:
    histogram = histogram_of(values)
    summary = histogram.summary_ms()
    assert summary.mean == histogram.mean_us / 1000
    assert summary.p50 == histogram.percentile_us(50) / 1000
    assert summary.p90 == histogram.percentile_us(90) / 1000
    assert summary.p99 == histogram.percentile_us(99) / 1000
    assert summary.p99_9 == histogram.percentile_us(99.9) / 1000
    assert summary.max == histogram.max_us / 1000


def test_nothing_recorded_is_no_measurement() -> None:
    histogram = Histogram()
    summary = histogram.summary_ms()
    assert (summary.mean, summary.p50, summary.p90) == (None, None, None)
    assert (summary.p99, summary.p99_9, summary.max) == (None, None, None)
    assert Histogram.from_base64(summary.histogram) == histogram
    assert (histogram.n, histogram.min_us, histogram.max_us, histogram.mean_us) == (0, 0, 0, 0.0)
    assert histogram.percentile_us(99) == 0


def test_it_shows_its_range() -> None:
    assert repr(histogram_of([3, 4])) == "<Histogram n=2 min_us=3 max_us=4>"


def test_it_equals_only_histograms() -> None:
    assert histogram_of([3]) != 3
    assert histogram_of([3]) != histogram_of([3, 3])


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("", "too short for a header"),
        ("HISTFAAAABx4", "header says 28"),
        ("HIST~AAA", "not base64"),
        ("HISTÄAAA", "not base64"),
        ("HIST", "too short for a header"),
        (base64.b64encode(struct.pack(">II", 0x1C849301, 0)).decode(), "not HdrHistogram V2"),
        (base64.b64encode(struct.pack(">II", 0x1C849314, 1) + b"?").decode(), "cut short"),
        (base64.b64encode(struct.pack(">II", 0x1C849314, 2) + b"??").decode(), "not a zlib"),
        (wrapped(inner_of(b""), trailing=b"?"), "followed by other bytes"),
        (wrapped(b""), "too short for an inner header"),
        (wrapped(inner_of(b"", cookie=0x1C849301)), "inner cookie"),
        (wrapped(inner_of(b"", offset=1)), "offset 1"),
        (wrapped(inner_of(b"", digits=2)), "digits"),
        (wrapped(inner_of(b"", lowest=2)), "lowest"),
        (wrapped(inner_of(b"", highest=HIGHEST_US + 1)), "highest"),
        (wrapped(inner_of(b"", ratio=0.5)), "ratio"),
        (wrapped(inner_of(b"\x02", n_counts=2)), "header says 2"),
        (wrapped(inner_of(b"\x02\x80")), "end within a number"),
        (wrapped(inner_of(b"\xff" * 9)), "more than 23552 slots"),
        (wrapped(inner_of(b"\x00" * 23_553)), "more than 23552 slots"),
        (wrapped(b"\x00" * 10**7), "more than 212008 bytes"),
    ],
)
def test_malformed_text_is_refused(encoded: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Histogram.from_base64(encoded)


@given(many_durations_us, st.data())
@settings(max_examples=50)
def test_cut_or_altered_text_is_refused_or_read(values: list[int], data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(histogram_of(values).to_base64()))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="histogram: "):
        Histogram.from_base64(base64.b64encode(raw[:position]).decode())
    # The nibble of a word size, and zlib's header bits, may change without changing the content.
    altered = decoded_or_refusal(base64.b64encode(raw).decode())
    assert altered == histogram_of(values) or str(altered).startswith("histogram: ")


@given(many_durations_us, st.lists(durations_us, max_size=8).map(sorted))
def test_counts_up_to_are_the_referees(values: list[int], bounds: list[int]) -> None:
    referee = referee_of(values)
    # the referee numbers slots as we do, and counts a bound's slot as a whole
    expected = [
        sum(
            count
            for slot, count in enumerate(referee.counts)
            if count and slot <= referee._counts_index_for(bound)
        )
        for bound in bounds
    ]
    assert histogram_of(values).counts_up_to(bounds) == expected


@given(many_durations_us, st.integers(1, 2047), st.integers(0, 20))
def test_counts_up_to_the_end_of_a_slot_are_exact(
    values: list[int], first: int, doublings: int
) -> None:
    bound = min((first << doublings), HIGHEST_US) - 1
    if bound == HIGHEST_US - 1:
        bound = HIGHEST_US
    assert histogram_of(values).counts_up_to([bound]) == [sum(value <= bound for value in values)]


def test_counts_up_to_negative_and_large_bounds() -> None:
    histogram = histogram_of([0, 1, 5000, HIGHEST_US])
    assert histogram.counts_up_to([-1, 0, 1, 4999, 5000, 10 * HIGHEST_US]) == [1, 1, 2, 2, 3, 4]
    assert histogram.counts_up_to([]) == []
    assert Histogram().counts_up_to([1, 2]) == [0, 0]


@given(many_durations_us)
def test_the_sum_counts_slots_by_their_middle(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.sum_us == pytest.approx(sum(values), rel=1e-3)
    assert histogram.mean_us * histogram.n == pytest.approx(histogram.sum_us)


@given(many_durations_us, many_durations_us)
def test_what_was_counted_since_is_what_was_added(earlier: list[int], later: list[int]) -> None:
    assert histogram_of(earlier + later).since(histogram_of(earlier)) == histogram_of(later)


@given(many_durations_us, st.integers(0, 50), st.integers(0, 50))
def test_parts_have_their_share_of_small_and_large(
    values: list[int], share: int, further: int
) -> None:
    whole = max(1, share + further)
    histogram = histogram_of(values)
    part, rest = histogram.divided(share, whole)
    assert Histogram.merged([part, rest]) == histogram
    assert part.n == len(values) * share // whole
    for bound in (10, 1_000, 1_000_000):
        slot = histogram.counts_up_to([bound])[0]
        assert part.counts_up_to([bound])[0] == slot * share // whole


@given(many_durations_us, st.integers(1, 70_000))
def test_packed_is_the_same(values: list[int], times: int) -> None:
    histogram = histogram_of(values)
    for _ in range(times.bit_length()):
        histogram.add(histogram)
    slots, counts = histogram.packed()
    assert slots.itemsize == 2
    assert Histogram.unpacked(slots, counts) == histogram
