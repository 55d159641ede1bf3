"""Sums from metrics pages, held to the parser of Prometheus' own client library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from looker.errors import DecodeError
from looker.model.metric_selector import selector_of
from looker.wire.metrics_text import summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAMES = ("a_total", "a_total_bytes", "xa_total", "go:heap", "b")


def sums(page: str, *selectors: str) -> dict[str, float]:
    return summed(page.encode(), [selector_of(text) for text in selectors])


def referee(
    page: str, name: str, families: Callable[[str], Iterable[object]] = plain_families
) -> list[float]:
    """Return the values of a metric's samples, parsed by the client library."""
    return [
        sample.value
        for family in families(page)
        for sample in family.samples  # type: ignore[attr-defined]
        if sample.name == name
    ]


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


labels = st.dictionaries(
    st.sampled_from(["l", "code", "b"]),
    st.text(st.sampled_from('a_total b{}"\\\n,=# 1é'), max_size=12),
    max_size=3,
)
values = st.one_of(
    st.floats(-1e6, 1e6).map(repr),
    st.integers(-(10**12), 10**12).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1.8446744073709552e+19", "0"]),
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(NAMES))
    if draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from([f"# HELP {name} a_total 5", "# a_total 7", "", "# b{} 1"]))
    pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in draw(labels).items())
    blank = draw(st.sampled_from([" ", "  ", "\t"]))
    head = name + (f"{{{pairs}}}" if pairs or draw(st.booleans()) else "")
    time = draw(st.sampled_from(["", " 1395066363000"]))
    return f"{head}{blank}{draw(values)}{time}"


@given(st.lists(lines(), max_size=20))
def test_sums_are_those_of_the_reference_parser(page_lines: list[str]) -> None:
    page = "\n".join(page_lines) + "\n"
    found = sums(page, *NAMES)
    for name in NAMES:
        expected = referee(page, name)
        assert (name in found) == bool(expected)
        if expected:
            assert found[name] == pytest.approx(sum(expected), rel=1e-9, abs=1e-6, nan_ok=True)


@given(labels, labels)
def test_a_selector_wants_its_labels_and_takes_more(
    wanted: dict[str, str], there: dict[str, str]
) -> None:
    def text(pairs: dict[str, str]) -> str:
        return ",".join(f'{key}="{escaped(value)}"' for key, value in pairs.items())

    page = f"a{{{text(there)}}} 2\na{{{text(wanted | {'more': '1'})}}} 5\n"
    selector = f"a{{{text(wanted)}}}"
    selected = 2 if wanted.items() <= there.items() else 0
    assert sums(page, selector) == {selector: 5 + selected}


def test_openmetrics_with_exemplars_and_timestamps() -> None:
    page = (
        "# TYPE process_cpu_seconds counter\n"
        "# UNIT process_cpu_seconds seconds\n"
        'process_cpu_seconds_total 1.25 1520879607.789 # {trace_id="a_total 5"} 0.5 1.0\n'
        "process_cpu_seconds_created 1520872607.123 1520879607.789\n"
        "# EOF\n"
    )
    assert sums(page, "process_cpu_seconds_total") == {"process_cpu_seconds_total": 1.25}
    assert referee(page, "process_cpu_seconds_total", open_families) == [1.25]


def test_what_is_no_number_makes_no_number() -> None:
    found = sums('a{x="1"} NaN\na{x="2"} 3\nb +Inf\nc{x="1"} +Inf\nc{x="2"} -Inf\n', "a", "b", "c")
    assert math.isnan(found["a"])
    assert found["b"] == math.inf
    assert math.isnan(found["c"])
    assert sums("a 1e308\na 1e308\n", "a") == {"a": math.inf}


@pytest.mark.parametrize(
    "page", ["", "<html>process_cpu_seconds_total 5</html>", "# a 5\n", "ab 5\nxa 5", "b_a 1"]
)
def test_a_page_without_the_metric_has_no_sum(page: str) -> None:
    assert sums(page, "a", "process_cpu_seconds_total") == {}


def test_the_first_and_the_last_line_and_blanks_before_a_name() -> None:
    assert sums("a 1\n \ta 2\r\na 4", "a") == {"a": 7}


@pytest.mark.parametrize(
    "line",
    ["a", "a ", "a x", 'a{l="1" 5', 'a{l="1"}', "a 1_000", 'a{l="open 5', "a{} é"],
)
def test_a_wanted_line_that_is_none_is_an_error(line: str) -> None:
    with pytest.raises(DecodeError, match="no line of a metrics page"):
        sums(f"b 1\n{line}\nb 2\n", "a", "b")
    # and where nobody wants it, nobody looks
    assert sums(f"b 1\n{line}\nb 2\n", "b") == {"b": 3}


def big_page(n_lines: int) -> str:
    """Return a page like that of a large server: most of it is histograms."""
    parts = ["# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds."]
    for number in range(n_lines - 20):
        family = number // 50
        parts.append(
            f'cortex_request_duration_seconds_{family}_bucket{{route="api_v1_push",method="POST",'
            f'status_code="200",ws="false",le="{number % 50}"}} {number * 7}'
        )
        if number % 1000 == 0:
            parts.append(f'cortex_ingester_memory_series{{user="u{number}"}} {number}')
    parts += ["process_cpu_seconds_total 1234.5", "process_resident_memory_bytes 4.3057152e+07"]
    return "\n".join(parts) + "\n"


def test_a_page_of_ten_thousand_lines() -> None:
    page = big_page(10_000)
    names = (
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "cortex_ingester_memory_series",
        "cortex_request_duration_seconds_7_bucket",
        "not_there",
    )
    found = sums(page, *names)
    assert found == {name: sum(referee(page, name)) for name in names[:-1]}
    one = 'cortex_request_duration_seconds_7_bucket{le="3"}'
    assert sums(page, one) == {one: (7 * 50 + 3) * 7}


@given(st.binary(max_size=80), st.sampled_from([b"", b"a{", b'a{l="', b"a ", b"\na "]))
def test_whatever_the_bytes_are_there_are_sums_or_one_error(noise: bytes, before: bytes) -> None:
    selectors = [selector_of(text) for text in ("a", 'a{l="1"}')]
    try:
        found = summed(before + noise, selectors)
    except DecodeError:
        return
    assert found.keys() <= {"a", 'a{l="1"}'}
    assert all(isinstance(value, float) for value in found.values())


def test_a_hostile_line_is_passed_in_linear_time() -> None:
    # each of a million names is in the same line: walking back from each would take hours
    page = b"# " + b"a " * 2_000_000 + b"\na 1\n"
    assert summed(page, [selector_of("a")]) == {"a": 1}
    quotes = b"a{" + b'l="' * 200_000 + b"\na 2\n"
    with pytest.raises(DecodeError):
        summed(quotes, [selector_of("a")])
