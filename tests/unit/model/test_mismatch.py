"""Examples of mismatches: the first difference, shortened content, times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.model.mismatch import (
    MAX_EXAMPLE_CHARS,
    MismatchExample,
    MismatchKind,
    first_difference,
    rfc3339_ns,
    shortened,
)

texts = st.text("ab", max_size=40)


@pytest.mark.parametrize(
    ("expected", "received", "at"),
    [("abc", "abc", None), ("abc", "abd", 2), ("abc", "ab", 2), ("", "a", 0), ("x", "", 0)],
)
def test_the_first_difference(expected: str, received: str, at: int | None) -> None:
    assert first_difference(expected, received) == at


@given(texts, texts)
def test_texts_are_equal_before_their_first_difference(one: str, other: str) -> None:
    at = first_difference(one, other)
    if at is None:
        assert one == other
    else:
        assert one[:at] == other[:at]
        assert one[at : at + 1] != other[at : at + 1]


@given(texts, texts, st.integers(8, 60))
def test_shortened_texts_fit_and_differ_at_the_same_character(
    one: str, other: str, room: int
) -> None:
    at = first_difference(one, other) or 0
    short = [shortened(text, at, room) for text in (one, other)]
    assert all(text is not None and len(text) <= room for text in short)
    if len(one) <= room * 2 // 3:
        assert short[0] == one
    mark = first_difference(str(short[0]), str(short[1]))
    assert (mark is None) == (one == other)
    if mark is not None:
        # an ellipsis may stand where only one of them was cut
        whole = (one[at : at + 1], other[at : at + 1])
        cut = (str(short[0])[mark : mark + 1], str(short[1])[mark : mark + 1])
        assert cut == whole


def test_long_content_is_shortened_around_the_difference() -> None:
    expected = "a" * 100_000
    received = expected[:70_000] + "b" + expected[70_001:]
    one = MismatchExample(
        MismatchKind.CORRUPT, "s", 0, expected=expected, received=received
    ).marked()
    assert one.first_difference == 70_000
    assert one.expected is not None
    assert one.received is not None
    assert len(one.expected) == len(one.received) == MAX_EXAMPLE_CHARS
    assert one.received.startswith("…a")
    assert one.received.endswith("a…")
    assert one.received.count("b") == 1


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (10**21, None),
    ],
)
def test_times_have_nanoseconds(time_ns: int, text: str | None) -> None:
    assert rfc3339_ns(time_ns) == text
