"""Further matchers of every query: how they are given, and written (field case 7)."""

from __future__ import annotations

import pytest

from looker.errors import UsageError
from looker.model.matchers import check_matchers, matcher_of, selector
from looker.model.query import RangeQuery


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ('env="test"', ("env", "=", "test")),
        ("env=test", ("env", "=", "test")),
        (' env =~ "te.*" ', ("env", "=~", "te.*")),
        ('env!="a"', ("env", "!=", "a")),
        ('env!~"a|b"', ("env", "!~", "a|b")),
        (r'env="a\"b\\c"', ("env", "=", 'a"b\\c')),
        ('env=""', ("env", "=", "")),
    ],
)
def test_matchers(text: str, matcher: tuple[str, str, str]) -> None:
    assert matcher_of(text) == matcher


@pytest.mark.parametrize("text", ["", "env", '{env="a"}', 'a.b="c"', 'env="a', 'env="a",b="c"'])
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--query-matcher: .* is no matcher like env="):
        matcher_of(text)


def test_a_selector_has_all_matchers() -> None:
    query = RangeQuery(("looker_group", "=", "g"), 0, 1, 1)
    assert query.selector() == '{looker_group="g"}'
    also = (("env", "=~", 'te".*'), ("a.b", "!=", "\x1b"))
    assert query.selector(also) == ('{looker_group="g", env=~"te\\".*", "a.b"!="\\u001b"}')
    assert selector(also[:1]) == '{env=~"te\\".*"}'


@pytest.mark.parametrize(
    ("matcher", "said"),
    [
        (("env", "=", "prod"), 'env="prod" does not select the run\'s streams: they have env=test'),
        (("env", "!=", "test"), 'env!="test" does not select'),
        (("env", "=~", "pro.*"), 'env=~"pro.*" does not select'),
        (("env", "!~", "t.*"), 'env!~"t.*" does not select'),
        (("looker_group", "=", "x"), "by looker_group Looker itself selects"),
    ],
)
def test_matchers_that_select_nothing_are_refused(matcher: tuple[str, str, str], said: str) -> None:
    with pytest.raises(UsageError, match=r"^--query-matcher: ") as refusal:
        check_matchers((matcher,), (("env", "test"),))
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "matcher",
    [
        *(("env", "=", "test"), ("env", "=~", "te.*"), ("env", "!=", "x"), ("env", "!~", "x")),
        # of what the target adds nothing is known, nor of Go's own expressions
        *(("service_name", "=~", ".+"), ("env", "=~", "(?P<x")),
    ],
)
def test_matchers_that_may_select(matcher: tuple[str, str, str]) -> None:
    check_matchers((matcher,), (("env", "test"),))
