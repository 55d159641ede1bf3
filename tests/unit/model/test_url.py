"""What URLs may be, and what is shown of them: field cases 16 and 54."""

from __future__ import annotations

import pytest

from looker.model.url import presentable, redacted, userpass, without_userinfo
from looker.model.url_rules import check_base_url


@pytest.mark.parametrize(
    "url",
    [
        *("http://h", "https://h:3100", "http://h:1/", "http://h/loki", "HTTP://h", "http://h:"),
        *("http://[::1]:3100", "http://10.0.0.1:9090/prometheus", "http://ä.example", "http://a_b"),
        *("http://u:p@h", "http://us@er:p@h", "http://u:a%40b%2F@h:1/x", "http://h."),
        "http://localhost:8001/api/v1/namespaces/x/services/loki:3100/proxy",
    ],
)
def test_base_urls_that_will_do(url: str) -> None:
    check_base_url(url)


def refusal_of(url: str) -> str:
    try:
        check_base_url(url)
    except ValueError as error:
        return str(error)
    return "nothing is wrong"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must begin with http:// or https:// and name a host, not ''"),
        ("localhost:3100", "must begin with http:// or https://: is http://localhost:3100 meant?"),
        ("loki", "must begin with http:// or https://: is http://loki meant?"),
        ("//h:1/x", "must begin with http:// or https://: is http://h:1/x meant?"),
        ("h:1/api/v1/push", "must begin with http:// or https://: is http://h:1 meant?"),
        ("u:pw@h:1", "must begin with http:// or https://: is http://***@h:1 meant?"),
        ("u:p/?#w@h:1", "must begin with http:// or https://: is http://***@h:1 meant?"),
        ("http:/h", "must begin with http:// or https:// and name a host, not 'http:/h'"),
        ("http:h", "must begin with http:// or https:// and name a host, not 'http:h'"),
        ("ftp://h", "must begin with http:// or https://, not ftp://"),
        ("grpc://u:pw@h", "must begin with http:// or https://, not grpc://"),
        ("http://", "must begin with http:// or https:// and name a host, like http://localhost"),
        ("http://u:pw@/x", "must begin with http:// or https:// and name a host, like http://loc"),
        ("http://h o", "must have no spaces and nothing that cannot be printed, not 'http://h o'"),
        ("http://h\x1b[1m", "must have no spaces and nothing that cannot be printed, not "),
        ("http://h\n", "must have no spaces and nothing that cannot be printed, not 'http://h\\n'"),
        ("http://::1:3100", "an IPv6 address stands in brackets: is http://[::1]:3100 meant?"),
        ("http://::1", "an IPv6 address stands in brackets: is http://[::1] meant?"),
        ("http://fe80::1:9/x", "an IPv6 address stands in brackets: is http://[fe80::1:9] meant?"),
        ("http://a:b:c", "'a:b:c' has more than one ':', and is no IPv6 address"),
        ("http://[::1", "the bracket of [::1 is not closed"),
        ("http://[::1]3100", "behind the bracket of [::1]3100 may only be ':' and a port"),
        ("http://[localhost]:1", "'localhost' in brackets is no IPv6 address"),
        ("http://[]", "'' in brackets is no IPv6 address"),
        ("http://a..b", "'a..b' is no name of a host"),
        ("http://.a", "'.a' is no name of a host"),
        ("http://a%20b", "'a%20b' is no name of a host"),
        ("http://-a", "'-a' is no name of a host"),
        (f"http://{'a' * 64}", f"{'a' * 64!r} is no name of a host"),
        (f"http://{'a.' * 200}", "'a.a."),
        ("http://h:0", "the port must be a number from 1 to 65535, not '0'"),
        ("http://h:65536", "the port must be a number from 1 to 65535, not '65536'"),
        ("http://h:http", "the port must be a number from 1 to 65535, not 'http'"),
        ("http://h:-1", "the port must be a number from 1 to 65535, not '-1'"),
        ("http://h:٣", "the port must be a number from 1 to 65535, not '٣'"),
        ("http://u:p/w@h", "has an '@' behind the first '/', '?' or '#': in a password these are"),
        ("http://u:p?w@h", "has an '@' behind the first '/', '?' or '#': in a password these are"),
        ("http://u:p#w@h", "has an '@' behind the first '/', '?' or '#': in a password these are"),
        ("http://u:p[w@h", "has a bracket in its user name or password: write %5B and %5D"),
        ("http://h\uff0fx", "'h\uff0fx' is no name of a host"),
        (
            "http://h:1/x?a=b",
            "a base URL has no '?' with a query behind it: is http://h:1/x meant?",
        ),
        ("http://h/?", "a base URL has no '?' with a query behind it: is http://h meant?"),
        ("http://h/#x", "a base URL has no '#' with a fragment behind it: is http://h meant?"),
        (
            "http://h/loki/api/v1/query_range?query={a=1}",
            "a base URL has no '?' with a query behind it: is http://h meant?",
        ),
    ],
)
def test_base_urls_that_will_not(url: str, said: str) -> None:
    refusal = refusal_of(url)
    assert refusal.startswith(said)
    assert refusal.isprintable()
    assert "pw" not in refusal


@pytest.mark.parametrize(
    ("path", "base"),
    [
        *(("/loki/api/v1/push", ""), ("/loki/api/v1/push/", ""), ("/x/loki/api/v1/push", "/x")),
        *(("/loki/api/v1/query_range", ""), ("/loki/api/v1", ""), ("/otlp/v1/logs", "")),
        *(("/otlp", ""), ("/v1/logs", ""), ("/api/v1/write", ""), ("/api/v1/push", "")),
        *(("/x/api/v1/query", "/x"), ("/api/v1/query_range", ""), ("/api/v1/otlp/v1/metrics", "")),
        *(("/ready", ""), ("/-/ready", ""), ("/metrics", ""), ("/p/graph", "/p")),
        (
            "/api/v1/namespaces/a/services/b:1/proxy/loki/api/v1/push",
            "/api/v1/namespaces/a/services/b:1/proxy",
        ),
    ],
)
def test_a_pasted_address_of_an_api_names_the_base_url(path: str, base: str) -> None:
    """Field case 16."""
    refusal = refusal_of(f"https://u:pw@h:1{path}")
    assert refusal == f"{path} is no part of a base URL: give https://h:1{base}"


@pytest.mark.parametrize(
    ("path", "bases"),
    [
        (
            "/prometheus/api/v1/write",
            "http://h (Cortex, Mimir) or http://h/prometheus (Prometheus below that path)",
        ),
        (
            "/api/prom/push",
            "http://h (with --push-path /api/prom/push where that is the only one)",
        ),
    ],
)
def test_a_pasted_address_that_may_mean_two_things(path: str, bases: str) -> None:
    refusal = refusal_of(f"http://h{path}")
    assert refusal == f"{path} is no part of a base URL: give {bases}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@host:1/p", "http://***@host:1/p"),
        ("http://host:1/p", "http://host:1/p"),
        ("http://me:s/e?c#r@et@host:1/p", "http://***@host:1/p"),
        ("http://me:1/2@host", "http://***@host"),
        ("me:secret@host:1", "***@host:1"),
        ("//me:secret@host:1", "//***@host:1"),
        ("http://me%3Asecret@[::1", "http://***@[::1"),
        ("ftp://secret@host", "ftp://***@host"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    """Field case 54: also where it is wrong."""
    assert redacted(url) == shown


def test_a_setting_is_shown_without_user_and_password() -> None:
    """Field case 54: a word of a command line as well."""
    assert presentable("--target-metrics-url=http://u:p/w@h/m") == (
        "--target-metrics-url=http://***@h/m"
    )
    assert (
        presentable("from http://u:p@h to https://v:q#@i") == "from http://***@h to https://***@i"
    )
    assert presentable(3) == 3
    assert presentable("me@home") == "me@home"


def test_user_and_password_are_decoded_for_the_header() -> None:
    assert userpass("http://me:a%40b%E4@h") == b"me:a@b\xe4"
    assert userpass("http://token@h") == b"token:"
    assert userpass("http://h") is None
    assert without_userinfo("http://us@er:p@h:1/x?y=z") == "http://h:1/x?y=z"
