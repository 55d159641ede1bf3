"""URL, curl line and logcli line: what a shell makes of them, and that no secret is in them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from looker.backend.api import Target
from looker.backend.by_hand import by_hand
from looker.backend.outcomes import Product
from looker.model.config import Mode, ReadApi
from looker.model.mismatch import MismatchExample, MismatchKind
from servers import run_config

LABELS = {"looker_group": "it's-0-g0", "looker_uniquename": "it's-0-1", "team": 'a "b" $HOME'}
AT = 1_700_000_000_123_456_789
LOKI = Target(
    *("http://h:1/p", Product.LOKI, "/loki/api/v1/push", "/loki/api/v1/query_range", None),
    *(ReadApi.AUTO, "3.0", None, None),
)
PROMETHEUS = Target(
    *("http://h:1", Product.PROMETHEUS, "/api/v1/write", "/api/v1/query", "/api/v1/read"),
    *(ReadApi.REMOTE_READ, "2.42", None, None),
)
LOGS = run_config(None, mode=Mode.LOGS, step_ns=10)


def example(**changes: Any) -> MismatchExample:
    one = MismatchExample(MismatchKind.CORRUPT, "it's-0-1", 0, labels=LABELS, timestamp_ns=AT)
    return replace(one, **changes)


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def curl_parameters(line: str) -> dict[str, str]:
    words = shlex.split(line)
    return dict(
        words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "--data-urlencode"
    )


def test_loki_is_asked_for_the_entries_around_the_time() -> None:
    asked = by_hand(LOGS, LOKI, example(), 0, 1)
    assert asked is not None
    expected = {
        "query": """{looker_uniquename="it's-0-1"}""",
        "start": str(AT - 50),
        "end": str(AT + 51),
        "limit": "100",
        "direction": "forward",
    }
    assert asked.url.startswith("http://h:1/p/loki/api/v1/query_range?")
    assert parameters(asked.url) == expected
    assert shlex.split(asked.curl)[:4] == [
        *("curl", "-sS", "-G", "http://h:1/p/loki/api/v1/query_range")
    ]
    assert curl_parameters(asked.curl) == expected
    assert asked.logcli is not None
    assert shlex.split(asked.logcli) == [
        *("logcli", "query", "--addr=http://h:1/p"),
        "--from=2023-11-14T22:13:20.123456739Z",
        "--to=2023-11-14T22:13:20.123456840Z",
        *("--limit=100", "--forward", "--output=jsonl", expected["query"]),
    ]


def test_prometheus_is_asked_for_the_raw_samples_around_the_time() -> None:
    at = 1_700_000_000_123_000_000
    asked = by_hand(run_config(None), PROMETHEUS, example(timestamp_ns=at), 0, 1)
    assert asked is not None
    # a millisecond apart: five on both sides, and one more at the open end
    assert (
        parameters(asked.url)
        == curl_parameters(asked.curl)
        == {
            "query": """{looker_uniquename="it's-0-1"}[11ms]""",
            "time": "1700000000.128",
        }
    )
    assert asked.url.startswith("http://h:1/api/v1/query?")
    assert asked.logcli is None


@pytest.mark.parametrize("target", [LOKI, PROMETHEUS])
def test_without_a_time_the_label_sets_are_asked_for(target: Target) -> None:
    asked = by_hand(LOGS, target, example(timestamp_ns=None), 10**18, 2 * 10**18)
    assert asked is not None
    assert urlsplit(asked.url).path.endswith("/api/v1/series")
    scale = 1 if target is LOKI else 10**9
    found = curl_parameters(asked.curl)
    assert found["match[]"] == """{looker_uniquename="it's-0-1"}"""
    assert float(found["start"]) * scale == 10**18
    assert float(found["end"]) * scale == 2 * 10**18
    if target is LOKI:
        assert asked.logcli is not None
        assert shlex.split(asked.logcli)[1] == "series"


def test_a_foreign_stream_is_selected_by_all_its_labels() -> None:
    asked = by_hand(LOGS, LOKI, example(labels={"b": 'x"\\', "a": "$(id) `id`"}), 0, 1)
    assert asked is not None
    assert curl_parameters(asked.curl)["query"] == r'{b="x\"\\", a="$(id) `id`"}'
    assert by_hand(LOGS, LOKI, example(labels=None), 0, 1) is None


def test_access_is_given_without_secrets() -> None:
    target = replace(LOKI, tenant="a|b", authorization="Bearer s3cret")
    config = replace(
        LOGS,
        bearer_token_file=Path("/etc/to ken"),
        ca_file=Path("/etc/c a.pem"),
        insecure_skip_verify=True,
    )
    asked = by_hand(config, target, example(), 0, 1)
    assert asked is not None
    assert asked.logcli is not None
    words = shlex.split(asked.curl)
    assert "X-Scope-OrgID: a|b" in words
    assert "Authorization: Bearer $(cat '/etc/to ken')" in words
    assert words[-3:] == ["--cacert", "/etc/c a.pem", "--insecure"]
    assert {
        *("--org-id=a|b", "--bearer-token-file=/etc/to ken"),
        *("--ca-cert=/etc/c a.pem", "--tls-skip-verify"),
    } <= set(shlex.split(asked.logcli))
    assert "s3cret" not in str(asked)


@pytest.mark.parametrize(
    ("authorization", "curl", "logcli"),
    [
        (
            "Basic bWU6czNjcmV0",
            '-u "$USERNAME:$PASSWORD"',
            '--username="$USERNAME" --password="$PASSWORD"',
        ),
        ("Bearer s3cret", '-H "Authorization: Bearer $TOKEN"', '--bearer-token="$TOKEN"'),
    ],
)
def test_other_secrets_are_variables_to_be_set(authorization: str, curl: str, logcli: str) -> None:
    asked = by_hand(LOGS, replace(LOKI, authorization=authorization), example(), 0, 1)
    assert asked is not None
    assert curl in asked.curl
    assert asked.logcli is not None
    assert logcli in asked.logcli
    assert "s3cret" not in str(asked)
    assert "bWU6czNjcmV0" not in str(asked)


def test_there_is_no_logcli_line_for_a_path_of_ones_own() -> None:
    asked = by_hand(LOGS, replace(LOKI, query_path="/mine"), example(), 0, 1)
    assert asked is not None
    assert asked.logcli is None
    assert by_hand(LOGS, LOKI, example(timestamp_ns=2**63 - 1), 0, 1) is not None


@pytest.mark.parametrize("target", [LOKI, PROMETHEUS], ids=["loki", "prometheus"])
def test_field_case_56_a_stream_s_name_is_not_obeyed_by_a_terminal(target: Target) -> None:
    """Nor is anything changed that is asked for: an answer may hold any name."""
    name = "x\x1b[2J\x1b]0;t\x07\u202e\ud800"
    asked = by_hand(LOGS, target, example(labels={name: "it's"}), 0, 1)
    assert asked is not None
    for line in (asked.url, asked.curl, asked.logcli or ""):
        assert line.isprintable()
    # as Prometheus 3 quotes names
    selector = r"""{"x\u001b[2J\u001b]0;t\u0007\u202e\ud800"="it's"}"""
    pairs = dict(parse_qsl(urlsplit(asked.url).query))
    assert pairs["query"].startswith(selector)
    assert any(word.startswith(f"query={selector}") for word in shlex.split(asked.curl))
