"""What the options about the target's own metrics take, and what they refuse in one line."""

from __future__ import annotations

import pytest

from looker.errors import UsageError
from looker.model.metric_selector import MetricSelector, selector_of
from looker.model.target_options import check_target_metrics


@pytest.mark.parametrize(
    "url",
    [None, "off", "http://h/metrics", "https://u:p@h:9090/a/b?format=text", "http://[::1]:3100"],
)
def test_urls_that_will_do(url: str | None) -> None:
    check_target_metrics(url, (), 1.0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        *((url, "must begin with http://") for url in ("", "on", "h:9090/m", "ftp://h/m")),
        *((url, "must begin with http://") for url in ("http://", "http:///m")),
        ("http://h:99999/m", "the port must be a number from 1 to 65535, not '99999'"),
        ("http://h:0/m", "the port must be a number from 1 to 65535, not '0'"),
        (r"http://[::1/m", r"the bracket of [::1 is not closed"),
        ("http://h/m#top", "must have no '#'"),
        ("http://h/a b", "must have no spaces"),
    ],
)
def test_urls_that_will_not(url: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_target_metrics(url, (), 1.0)
    assert str(refusal.value).startswith(f"--target-metrics-url: {said}")


@pytest.mark.parametrize("url", ["ftp://user:secret@h/m", "http://user:secret@[h/m"])
def test_a_refusal_does_not_show_the_password(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_target_metrics(url, (), 1.0)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "name", "labels"),
    [
        ("up", "up", ()),
        (" a:b_c1 ", "a:b_c1", ()),
        ("a{}", "a", ()),
        ('a{x="1"}', "a", (("x", "1"),)),
        ('a {x = "1" , y="b}c,d",}', "a", (("x", "1"), ("y", "b}c,d"))),
        (r'a{x="q\"u\\o\n"}', "a", (("x", 'q"u\\o\n'),)),
    ],
)
def test_selectors(text: str, name: str, labels: tuple[tuple[str, str], ...]) -> None:
    assert selector_of(text) == MetricSelector(text.strip(), name, labels)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1a", "a b", "a-b", "{x='1'}", "a{x=1}", "a{x}", 'a{x="1"', 'a{x="1"}b'),
        *('a{x=~"1"}', 'a{x="1" y="2"}', r'a{x="\d"}', 'a{x!="1"}'),
    ],
)
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--target-metric: "):
        check_target_metrics(None, (text,), 1.0)


def test_off_asks_for_no_metrics() -> None:
    with pytest.raises(UsageError, match=r"^--target-metric: contradicts --target-metrics-url off"):
        check_target_metrics("off", ("a",), 1.0)


@pytest.mark.parametrize("every_s", [0.0, -1.0, 0.09, 1e6, float("nan"), float("inf")])
def test_how_often(every_s: float) -> None:
    with pytest.raises(UsageError, match=r"^--target-metrics-every-seconds: must be at least 0.1"):
        check_target_metrics(None, (), every_s)
