"""Field cases 53 and 54: a token that the target repeats, or a password, is nowhere to be read."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from servers import Answer, Proxy, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward, Result, Script

TOKEN = "tk-Zm9vYmFy/c2VjcmV0+dG9rZW4="  # noqa: S105 - nobody's
ECHOES = {
    "plain": TOKEN,
    "percent": quote(TOKEN, safe=""),
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "cut": TOKEN[:14],
}
SMALL = (
    *("--n-concurrent-streams", "2", "--n-entries-per-stream-fragment", "5", "--n-workers", "1"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--read-grace-seconds", "0"),
    *("--target-metrics-url", "off"),
)


@pytest.fixture(scope="module", name="target")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def heads() -> str:
    """Return what a target says that repeats a request's headers."""
    return "; ".join(f"authorization: Bearer {echo}" for echo in ECHOES.values())


def assert_secret(result: Result, tmp_path: Path) -> None:
    """Assert that no file and no line has any of what was repeated."""
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "token"]
    assert len(written) >= 3
    for path in written:
        content = path.read_bytes()
        for name, echo in ECHOES.items():
            assert echo.encode() not in content, (path, name)
            assert json.dumps(echo).encode() not in content, (path, name)
    assert "***" in result.said + json.dumps(result.report), result.said


def run(tmp_path: Path, target: str, push: Script | None, read: Script | None) -> Result:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    own = tmp_path / "own"
    own.mkdir()
    scripts = {name: one for name, one in (("push", push), ("read", read)) if one is not None}

    async def told(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        if b'"version"' in answer.body:
            return Answer(200, json.dumps({"version": TOKEN}).encode(), answer.headers)
        return answer

    with Proxy(target, other=told, **scripts) as proxy:
        result = looker(
            own,
            *("logs", proxy.url, *SMALL, "--bearer-token-file", str(token)),
            *("--ledger", str(own / "ledger")),
        )
        assert proxy.authorizations == {f"Bearer {TOKEN}"}
    assert result.report["target"]["version"] == "***"
    assert_secret(result, own)
    return result


def test_a_refused_push_that_repeats_the_token(tmp_path: Path, target: str) -> None:
    async def push(_number: int, _forward: Forward) -> Answer:
        return Answer(400, f"bad request: {heads()}".encode())

    result = run(tmp_path, target, push, None)
    assert result.code == 3
    assert "400 bad request: authorization: Bearer ***" in result.write["refusal"]


def test_a_refused_query_that_repeats_the_token(tmp_path: Path, target: str) -> None:
    async def read(_number: int, _forward: Forward) -> Answer:
        return Answer(400, f"bad query: {heads()}".encode())

    result = run(tmp_path, target, None, read)
    assert result.code == 3
    assert "bad query: authorization: Bearer ***" in json.dumps(result.report)


def test_lines_and_labels_that_repeat_the_token(tmp_path: Path, target: str) -> None:
    async def read(_number: int, forward: Forward) -> Answer:
        answer = await forward()
        found = json.loads(answer.body)
        result = found["data"]["result"]
        if result:
            result[0]["values"][0][1] = heads()
            result.append({"stream": {"authorization": heads()}, "values": [["1", heads()]]})
        return Answer(200, json.dumps(found).encode(), answer.headers)

    result = run(tmp_path, target, None, read)
    assert result.code == 1
    assert {one["kind"] for one in result.read["examples"]} == {"corrupt", "unexpected"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://me:hunter2/x@127.0.0.1:1", 2),
        ("http://me:hunter2#x@127.0.0.1:1", 2),
        ("http://me:hunter2?x@127.0.0.1:1", 2),
        ("me:hunter2@127.0.0.1:1", 2),
        ("ftp://me:hunter2@127.0.0.1:1", 2),
        ("http://me:hunter2@[127.0.0.1:1", 2),
        ("http://me:hunter2@127.0.0.1:99999", 2),
        ("http://me:hunter2@127.0.0.1:1/?a=b", 2),
        ("http://me:hunter2%2Fx@127.0.0.1:1", 3),
    ],
)
def test_a_wrong_url_is_told_without_its_password(tmp_path: Path, url: str, code: int) -> None:
    result = looker(tmp_path, "logs", url)
    assert result.code == code, result.said
    assert "hunter2" not in result.said
    assert result.stderr.splitlines()[-1].startswith("looker: ")
    assert "Traceback" not in result.stderr
