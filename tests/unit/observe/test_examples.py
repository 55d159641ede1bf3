"""Mismatches on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from looker.model.mismatch import MismatchExample, MismatchKind
from looker.observe.examples import show_examples

LABELS = {"looker_group": "id-0-g0", "looker_uniquename": "id-0-1"}
QUERY = {"url": "http://h/q?" + "x" * 150, "curl": "curl " + "y" * 150, "logcli": None}


def shown(
    *, mode: str = "logs", width: int = 80, query: dict[str, Any] = QUERY, **changes: Any
) -> list[str]:
    one = MismatchExample(
        **{
            "kind": MismatchKind.CORRUPT,
            "stream": "id-0-1",
            "cycle": 3,
            "fragment": 1,
            "position": 2,
            "timestamp_ns": 1_700_000_000_123_456_789,
            "labels": LABELS,
            **changes,
        }
    ).marked()
    read = {
        "mismatches": {"missing": 0, one.kind.value: 1234},
        "examples": [{**one.to_json(), "query": query}],
    }
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    show_examples({"mode": mode, "cycles": [{"cycle": 3, "read": read}]}, console)
    return text.getvalue().splitlines()


def test_all_that_is_known_is_shown() -> None:
    lines = shown(width=120, expected="abcdef", received="abcxef")
    assert lines == [
        "",
        "cycle 3: 1,234 corrupt; the first of them:",
        "  corrupt: id-0-1",
        '    {looker_group="id-0-g0", looker_uniquename="id-0-1"}',
        (
            "    cycle 3, fragment 1, sample 2, time 1700000000123456789 ns"
            " = 2023-11-14T22:13:20.123456789Z"
        ),
        "    expected: abcdef",
        "    received: abcxef",
        "                 ^ byte 3",
        f"    url: {QUERY['url']}",
        f"    {QUERY['curl']}",
    ]


@pytest.mark.parametrize("at", [0, 5, 30, 66, 70, 500, 998])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_caret_stands_below_the_differing_byte(at: int, width: int) -> None:
    expected = "".join(chr(ord("a") + number % 26) for number in range(1000))
    lines = shown(width=width, expected=expected, received=expected[:at] + "#" + expected[at + 1 :])
    (pointer,) = (line for line in lines if "^" in line)
    first = next(n for n, line in enumerate(lines) if line.startswith("    expected: "))
    column = pointer.index("^")
    # nothing of it is wrapped
    assert lines[first + 1].startswith("    received: ")
    assert lines[first + 2] == pointer
    assert lines[first][column] == expected[at]
    assert lines[first + 1][column] == "#"
    assert f"byte {at}" in pointer
    assert all(len(line) <= width for line in lines[first : first + 3])


def test_the_caret_counts_wide_characters_and_dots() -> None:
    lines = shown(mode="metrics", expected="漢\x1b[2Jab", received="漢\x1b[2Jac")
    assert lines[-5:-2] == [
        "    expected: 漢·[2Jab",
        "    received: 漢·[2Jac",
        "                     ^ character 6",
    ]


def test_what_came_short_is_marked_behind_its_end() -> None:
    lines = shown(expected="abcdef", received="abc")
    assert lines[-4:-2] == ["    received: abc", "                 ^ byte 3"]


def test_equal_and_one_sided_contents_have_no_caret() -> None:
    assert not any("^" in line for line in shown(expected="abc", received="abc"))
    assert not any("^" in line for line in shown(expected="abc"))
    assert "    expected: abc" in shown(expected="abc")
    assert "    received: abc" in shown(received="abc", fragment=None, position=None)


def test_terminals_are_not_obeyed_and_lone_surrogates_are_printed() -> None:
    lines = shown(received="a\x1b]0;x\x07\ud800b", labels={"a": "\x1b[2J"})
    assert "    received: a·]0;x··b" in lines
    # in a selector, as the target would read it
    assert '    {a="\\u001b[2J"}' in lines


def test_field_case_56_a_stream_s_name_is_not_obeyed() -> None:
    name = "x\x1b[2J\x1b]0;t\x07"
    query = {**QUERY, "url": f"http://{name}", "curl": f"curl {name}"}
    lines = shown(width=120, query=query, expected="a", received="b", stream=name)
    assert all(line.isprintable() for line in lines)
    assert "  corrupt: x·[2J·]0;t·" in lines
