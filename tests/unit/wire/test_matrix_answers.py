"""Matrix answers parsed as a flat list of numbers, against parsing them as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import referee
from looker.errors import DecodeError
from looker.wire import prometheus_json
from looker.wire.prometheus_json import parse_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.wire.prometheus_json import Matrix

HISTORY = referee.history(metrics=True, n_streams=3, n_samples=3)
CORTEX = {"prometheus": False, "cortex": True}


def columns(parse: Callable[[bytes], Matrix | None], body: bytes) -> Any:
    """Return all that was parsed, None for what is left to another parser, or the refusal."""
    try:
        matrix = parse(body)
    except DecodeError:
        return "refused"
    if matrix is None:
        return None
    return (
        matrix.metrics,
        matrix.counts.tolist(),
        matrix.timestamps_ms.tolist(),
        matrix.bits.tolist(),
    )


def parse_any(body: bytes) -> Matrix:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prometheus_json, "_parse_numbers", lambda *_: None)
        return parse_matrix(body)


def numbers_of(body: bytes) -> Matrix | None:
    parted = prometheus_json._without_samples(body)
    return None if parted is None else prometheus_json._parse_numbers(*parted)


def both(body: bytes) -> tuple[Any, Any]:
    return columns(numbers_of, body), columns(parse_any, body)


def answer(values: str, *, labels: str = '{"a":"b"}') -> bytes:
    series = f'{{"metric":{labels},"values":[{values}]}}'
    data = f'{{"resultType":"matrix","result":[{series}]}}'
    return f'{{"status":"success","data":{data}}}'.encode()


@pytest.mark.parametrize("cortex", CORTEX.values(), ids=CORTEX)
@pytest.mark.parametrize("n_samples", [1, 2, 100])
def test_what_servers_write_is_parsed_as_a_flat_list(cortex: bool, n_samples: int) -> None:
    history = referee.history(metrics=True, n_streams=12, n_samples=n_samples)
    elements = history.elements()
    # series of different lengths
    elements[3] = (elements[3][0], elements[3][1][:1])
    found, plain = both(referee.matrix_response(elements, cortex=cortex))
    assert found == plain
    assert found[1] == [len(samples) for _, samples in elements]
    assert found[3] == [bits for _, samples in elements for _, bits in samples]


@pytest.mark.parametrize(
    "value",
    ["0.1", "-1e-7", "12", "1e+21", "123456789012345678901", "9007199254740993", "4.9e-324"],
)
def test_values_are_the_same_floats(value: str) -> None:
    found, plain = both(answer(f'[1,"{value}"],[2.5,"3"]'))
    assert found == plain != "refused"
    assert found[3][0] == referee.bits_of(float(value))


@pytest.mark.parametrize(
    "values",
    [
        '[1,"NaN"]',
        '[1,"+Inf"]',
        '[1,"0"]',
        '[1,"-0"]',
        '[1,"1_0"]',
        '[1,"1e999"]',
        '[1,"+1"]',
        '[1, "2"]',
        '[1,"2"], [3,"4"]',
        "[1,2]",
        '[1,"2 "]',
        '[1,"2\t"]',
        '["1","2"]',
        '[true,"1"]',
        '[1,"true"]',
        '[1,"null"]',
        '[1,""]',
        "",
        "[]",
        '[1,"2,3"]',
        '[1,2,"3"]',
        '[1,"2,"3"],[4"]',
        '[1,"2"],["3"]',
        '[,"2"]',
        '[1,"2],[3"]',
        '[1,"[2"]',
        '[1,"2]"]',
        '[1,"{}"]',
        '[1,"2"],',
        '[1,"2"]]],[[',
        '[1,"2\\""]',
        '[9e99,"2"]',
        '[12345678901234567890123,"2"]',
    ],
)
def test_anything_else_is_left_to_parsing(values: str) -> None:
    found, plain = both(answer(values))
    assert found in (None, plain)
    body = answer(f'[5,"6"],{values},[7,"8"]')
    found, plain = both(body)
    assert found in (None, plain)
    assert columns(parse_matrix, body) == plain


@pytest.mark.parametrize(
    "labels",
    [
        '{"a":"\\"values\\":[["}',
        '{"a":"\\"]]"}',
        '{"values":"x"}',
        "{}",
        "[]",
        '{"a":1}',
        '{"a":[[]]}',
    ],
)
def test_labels_of_any_kind(labels: str) -> None:
    body = answer('[1,"2"],[3,"4"]', labels=labels)
    found, plain = both(body)
    assert found in (None, plain)
    assert columns(parse_matrix, body) == plain


def test_histograms_and_other_fields_are_not_overlooked() -> None:
    body = json.loads(referee.matrix_response(HISTORY.elements()))
    body["data"]["result"][1]["histograms"] = [[1, {}]]
    found, plain = both(json.dumps(body, separators=(",", ":")).encode())
    assert found in (None, plain)
    assert both(b"{}") == (None, "refused")


@given(
    st.data(),
    st.booleans(),
    st.sampled_from(["change", "cut", "repeat", "insert"]),
    st.integers(1, 60),
)
@settings(max_examples=400, deadline=None)
@example(data=None, cortex=False, kind="none", size=1)
def test_damage_is_never_parsed_otherwise(
    data: st.DataObject | None, cortex: bool, kind: str, size: int
) -> None:
    body = bytearray(referee.matrix_response(HISTORY.elements(), cortex=cortex))
    if data is not None:
        at = data.draw(st.integers(0, len(body) - 1))
        if kind == "change":
            body[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del body[at : at + size]
        elif kind == "repeat":
            body[at:at] = body[at : at + size]
        else:
            body[at:at] = data.draw(st.sampled_from([b'"', b",", b"]", b"[", b" ", b"0", b'"],["']))
    found, plain = both(bytes(body))
    assert found in (None, plain)
    assert (data is not None) or found is not None
    assert columns(parse_matrix, bytes(body)) == plain
