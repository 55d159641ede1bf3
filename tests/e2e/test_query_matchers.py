"""Field cases 4, 7 and 19, as runs: what a target wants of queries and makes of labels."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

import pytest
from aiohttp import web

from servers import Answer, Proxy, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward

SMALL = (
    *("--n-concurrent-streams", "4", "--n-entries-per-stream-fragment", "5", "--n-workers", "1"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--target-metrics-url", "off"),
    *("--read-grace-seconds", "0"),
)
REFUSAL = "stream selector is missing required matchers [env], labels present in the query were"


@pytest.fixture(scope="module", name="target")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


class Strict(Proxy):
    """Answers no query of samples or series whose selector has no ``env``."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(("/query_range", "/query", "/series")):
            asked = unquote_plus(request.query_string + (await request.text()))
            if 'env="test"' not in asked:
                return web.Response(status=400, text=f"{REFUSAL} [looker_group]")
        return await super()._answer(request)


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_target_that_wants_a_matcher(tmp_path: Path, target: str, mode: str) -> None:
    arguments = ("--label", "env", "test", "--invocation-id", f"wants-{mode}")
    api = ("--read-api", "query") if mode == "metrics" else ()
    with Strict(target) as proxy:
        refused = looker(tmp_path, mode, proxy.url, *SMALL, *arguments, *api, "--force")
        assert refused.code == 3
        assert refused.report["verdict"] == "unknown"
        words = "give a matcher that it wants: --query-matcher 'NAME=\"VALUE\"'"
        assert words in json.dumps(refused.report).replace('\\"', '"')

        given = (*api, "--label", "env", "test", "--query-matcher", 'env="test"')
        ledger = str(tmp_path / "ledger")
        passed = looker(tmp_path, mode, proxy.url, *SMALL, *given, "--ledger", ledger)
        assert passed.code == 0, passed.said
        assert passed.read["samples_validated"] == 40
        # a ledger remembers it
        again = looker(tmp_path, "verify", ledger, *api)
        assert again.code == 0, again.said
        # and the collision with an earlier run is seen
        taken = looker(
            tmp_path, mode, proxy.url, *SMALL, *given, "--invocation-id", f"wants-{mode}"
        )
        assert taken.code == 2, taken.said
        assert "has data of" in taken.stderr


def test_what_is_asked_by_hand_has_the_matchers(tmp_path: Path, target: str) -> None:
    async def lossy(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        found = json.loads(answer.body)
        for one in found["data"]["result"]:
            del one["values"][0]
        return Answer(200, json.dumps(found).encode(), answer.headers)

    with Proxy(target, read=lossy) as proxy:
        result = looker(
            tmp_path,
            *("logs", proxy.url, *SMALL),
            *("--label", "env", "test", "--query-matcher", 'env="test"'),
        )
    assert result.code == 1, result.said
    query = result.read["examples"][0]["query"]
    for words in (shlex.split(query["curl"]), shlex.split(query["logcli"])):
        assert any(word.endswith(', env="test"}') for word in words), words


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_label_that_the_target_drops(tmp_path: Path, target: str, mode: str) -> None:
    async def drop(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        body = answer.body.replace(b'"replica":"r1",', b"").replace(b',"replica":"r1"', b"")
        return Answer(answer.status, body, answer.headers)

    api = ("--read-api", "query") if mode == "metrics" else ()
    given = ("--label", "cluster", "c", "--label", "replica", "r1")
    with Proxy(target, read=drop) as proxy:
        strict = looker(tmp_path, mode, proxy.url, *SMALL, *api, *given)
        assert strict.code == 1
        assert strict.read["mismatches"]["wrong_labels"] >= 4
        lax = looker(tmp_path, mode, proxy.url, *SMALL, *api, *given, "--ignore-label", "replica")
    assert lax.code == 0, lax.said
    assert lax.read["samples_validated"] == 40


def test_what_identity_rests_on_is_always_checked(tmp_path: Path) -> None:
    for name in ("looker_uniquename", "looker_group", "__name__"):
        result = looker(tmp_path, "metrics", "http://127.0.0.1:1", "--ignore-label", name)
        assert result.code == 2
        assert f"--ignore-label: {name} is a label by which Looker knows its own" in result.stderr


@pytest.mark.parametrize("api", ["query", "remote-read"])
def test_names_of_prometheus_3_are_written_and_verified(
    tmp_path: Path, target: str, api: str
) -> None:
    build = {"version": "3.5.0", "revision": "r", "branch": "b", "goVersion": "g"}

    async def told(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        if b'"goVersion"' in answer.body:
            return Answer(200, json.dumps({"status": "success", "data": build}).encode())
        return answer

    names = ("--label", "a.b", "x", "--label", "h\xf6he/m", "y")
    with Proxy(target, other=told) as proxy:
        result = looker(tmp_path, "metrics", proxy.url, *SMALL, *names, "--read-api", api)
    assert result.code == 0, result.said
    assert result.read["samples_validated"] == 40
    assert result.report["target"]["version"] == "3.5.0"


def test_names_of_prometheus_3_are_refused_for_logs(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", "http://127.0.0.1:1", "--label", "a.b", "x")
    assert result.code == 2
    assert "'a.b' is no label name of Loki's ([a-zA-Z_][a-zA-Z0-9_]*)" in result.stderr
