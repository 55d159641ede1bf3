"""Label sets and their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from looker.model.labels import LabelScheme, group_size_for
from looker.wire.loki import stream_labels
from looker.wire.prometheus import series_labels
from looker.wire.proto import prometheus_pb2

SIZES = (1, 2, 10, 11, 100, 101, 1001, 10_000, 10_001, 123_456)


def scheme(
    n_streams: int, group_size: int = 1, *, metrics: bool = False, born: int = 0
) -> LabelScheme:
    return LabelScheme("id", born, n_streams, group_size, metrics)


@st.composite
def schemes(draw: st.DrawFn) -> LabelScheme:
    n_streams = draw(st.one_of(st.sampled_from(SIZES), st.integers(1, 200_000)))
    own = scheme(
        n_streams,
        draw(st.integers(1, 1000)),
        metrics=draw(st.booleans()),
        born=draw(st.integers(0, 10**6)),
    )
    return replace(own, extra=draw(st.sampled_from(referee.EXTRA_LABELS)))


def test_labels_of_a_log_stream() -> None:
    assert list(scheme(25, 10, born=3).labels(7).items()) == [
        ("looker_group", "id-3-g0"),
        ("looker_uniquename", "id-3-07"),
    ]


def test_labels_of_a_series() -> None:
    assert list(scheme(20_001, 1000, metrics=True).labels(20_000).items()) == [
        ("__name__", "looker_metric_2"),
        ("looker_group", "id-0-g20"),
        ("looker_uniquename", "id-0-20000"),
    ]


@pytest.mark.parametrize(
    ("n_streams", "digits", "name_digits"),
    [(1, 1, 1), (10, 1, 1), (11, 2, 1), (1001, 4, 1), (100_000, 5, 1), (100_001, 6, 2)],
)
def test_digits(n_streams: int, digits: int, name_digits: int) -> None:
    assert scheme(n_streams).stream_digits == digits
    assert scheme(n_streams).name_digits == name_digits


@given(schemes(), st.data())
def test_labels_are_the_referees_and_numbers_come_back(
    own: LabelScheme, data: st.DataObject
) -> None:
    stream = data.draw(st.integers(0, own.n_streams - 1))
    labels = own.labels(stream)
    assert labels == referee.labels(own, stream)
    assert list(labels) == sorted(labels)
    assert own.stream_of(labels["looker_uniquename"]) == stream


@given(schemes(), st.data())
def test_encoded_labels_are_the_referees(own: LabelScheme, data: st.DataObject) -> None:
    streams = data.draw(st.lists(st.integers(0, own.n_streams - 1), min_size=1, max_size=5))
    expected = [referee.labels(own, stream) for stream in streams]
    if own.metrics:
        blobs = series_labels(own).render(np.array(streams, np.uint32))
        found = [
            {x.name: x.value for x in prometheus_pb2.TimeSeries.FromString(blob.tobytes()).labels}
            for blob in blobs
        ]
        assert found == expected
    else:
        texts = stream_labels(own).render(np.array(streams, np.uint32))
        assert [text.tobytes().decode() for text in texts] == [
            referee.selector(labels) for labels in expected
        ]


@pytest.mark.parametrize("n_streams", [11, 1001])
def test_order_by_text_is_order_by_number(n_streams: int) -> None:
    own = scheme(n_streams, 10)
    names = [referee.selector(own.labels(stream)) for stream in range(n_streams)]
    assert names == sorted(names)
    assert len({len(name) for name in names}) == 1


OTHER_NAMES = [
    "id-0-1",
    "id-0-001",
    "id-0-25",
    "id-0-99",
    "id-1-07",
    "id-00-07",
    "ie-0-07",
    "id-0-+7",
    "id-0-0x",
    "xid-0-07",
    "id-0-g0",
    "id-0-",
]


@pytest.mark.parametrize(
    "name",
    ["", "id-0- 7", "id-0-7 ", "id-0-07\n", "id-0-0\N{ARABIC-INDIC DIGIT SEVEN}", *OTHER_NAMES],
)
def test_names_of_other_streams_are_of_none(name: str) -> None:
    assert scheme(25).stream_of(name) is None


def test_streams_of_other_generations_are_of_none() -> None:
    own = scheme(25)
    for other in (replace(own, born_in_cycle=1), replace(own, invocation_id="other")):
        assert own.stream_of(other.uniquename(3)) is None


def test_groups() -> None:
    own = scheme(25, 10)
    assert own.n_groups == 3
    assert [own.labels(stream)["looker_group"] for stream in (0, 9, 10, 24)] == [
        "id-0-g0",
        "id-0-g0",
        "id-0-g1",
        "id-0-g2",
    ]


@given(st.integers(1, 10**8), st.integers(1, 64))
def test_group_sizes(n_streams: int, n_workers: int) -> None:
    size = group_size_for(n_streams, n_workers)
    assert 1 <= size <= 1000
    n_groups = -(-n_streams // size)
    assert n_groups >= min(n_streams, 8 * n_workers)
    assert size == 1000 or n_groups <= 16 * n_workers or size == 1
