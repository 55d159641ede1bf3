from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.target import matchers
from looker.target.label_index import LabelIndex
from looker.target.matchers import Matcher, SelectorError

names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.dictionaries(names, values, min_size=1, max_size=4))
def test_labels_survive_their_label_string(labels: dict[str, str]) -> None:
    pairs = tuple(sorted(labels.items()))
    assert matchers.parse_labels(matchers.label_string(pairs)) == pairs


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{b="2", a="1"}', (("a", "1"), ("b", "2"))),
        ('{a="1",}', (("a", "1"),)),
        ('{ a = "1" , b=""}', (("a", "1"),)),
        (r'{a="\"\\\n\x41\101\u00e4\U0001F600"}', (("a", '"\\\nAAä😀'),)),
        (r"{a=`\n`}", (("a", "\\n"),)),
        (r'{a="\xc3\xa4"}', (("a", "ä"),)),
    ],
)
def test_label_strings(text: str, labels: matchers.Labels) -> None:
    assert matchers.parse_labels(text) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "at least one label pair"),
        ('{a=""}', "at least one label pair"),
        ('{a="1",a="2"}', "duplicate label name: 'a'"),
        ('a="1"', "unexpected 'a'"),
        ('{a="1"', "unexpected \\$end"),
        ('{a=~"1"}', "expecting"),
        ('{a="1"} x', "unexpected 'x'"),
        (r'{a="\q"}', "invalid syntax"),
        ('{a="1" b="2"}', "expecting , or }"),
    ],
)
def test_what_is_no_label_string(text: str, message: str) -> None:
    with pytest.raises(SelectorError, match=message):
        matchers.parse_labels(text)


def test_selectors() -> None:
    assert matchers.parse_stream_selector('{a="1", b!="2",c=~"x|y",d!~"z.*"}') == (
        Matcher("a", "=", "1"),
        Matcher("b", "!=", "2"),
        Matcher("c", "=~", "x|y"),
        Matcher("d", "!~", "z.*"),
    )
    assert matchers.parse_vector_selector("up") == (Matcher("__name__", "=", "up"),)
    assert matchers.parse_vector_selector("a:b{c='d'}") == (
        Matcher("__name__", "=", "a:b"),
        Matcher("c", "=", "d"),
    )


@pytest.mark.parametrize("text", ["", "{}", '{a!="b"}', '{a=~".*"}', '{a=~"("}', '{a="b"} |= "c"'])
def test_what_is_no_stream_selector(text: str) -> None:
    with pytest.raises(SelectorError):
        matchers.parse_stream_selector(text)


def test_index_selects_as_each_matcher_says() -> None:
    index = LabelIndex(lambda labels: labels)
    for i in (3, 1, 2):
        index.add((("g", "x" if i < 3 else "y"), ("i", str(i))))
    index.add((("g", "x"),))

    def select(*conditions: Matcher) -> list[int]:
        return index.select(conditions).tolist()

    group = Matcher("g", "=", "x")
    assert select(group) == [3, 1, 2]  # ordered by labels
    assert select(group, Matcher("i", "=~", "1|2")) == [1, 2]
    assert select(group, Matcher("i", "=", "")) == [3]
    assert select(group, Matcher("i", "!=", "1")) == [3, 2]
    assert select(Matcher("i", "=~", ".+")) == [1, 2, 0]
    assert select(Matcher("g", "=", "none")) == []
    index.add((("g", "x"), ("i", "0")))
    assert select(group) == [3, 4, 1, 2]
