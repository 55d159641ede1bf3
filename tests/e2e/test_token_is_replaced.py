"""Field case 17: the token's file is replaced while a run goes on, and the old token is refused."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from looker.backend.credentials import TokenFile
from looker.errors import UsageError
from servers import Proxy, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Answer, Forward

SMALL = (
    *("--n-concurrent-streams", "4", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "3", "--n-workers", "2"),
    *("--target-metrics-every-seconds", "0.1"),
)


@pytest.fixture(scope="module", name="target")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


class Gate(Proxy):
    """Lets in who has the token of the hour."""

    wanted = "first"
    n_refused = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.wanted}":
            self.n_refused += 1
            return web.Response(status=401, text="token has expired")
        return await super()._answer(request)


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_token_is_read_again_when_it_is_refused(tmp_path: Path, target: str, mode: str) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")

    def replace(token: str) -> None:
        # as Kubernetes and vault agents do
        other = tmp_path / "token.new"
        other.write_text(f"{token}\n")
        other.replace(file)
        gate.wanted = token

    async def push(number: int, forward: Forward) -> Answer:
        answer = await forward()
        if number == 4:
            replace("second")
        return answer

    async def read(number: int, forward: Forward) -> Answer:
        answer = await forward()
        if number == 0:
            replace("third")
        return answer

    with Gate(target, push=push, read=read) as gate:
        result = looker(
            tmp_path, mode, gate.url, *SMALL, "--bearer-token-file", str(file), "--read-api", "auto"
        )
        assert gate.wanted == "third"
    assert result.code == 0, result.said
    assert result.report["verdict"] == "passed"
    assert result.read["samples_validated"] == 4 * 5 * 3
    assert result.write["pushes_acked"] == 12
    assert result.write["pushes_unresolved"] == result.write["pushes_rejected"] == 0
    assert gate.n_refused >= 1
    assert not {"second", "third"} & set(json.dumps(result.report).split('"'))


def test_a_token_that_stays_refused_ends_the_run_with_the_reason(
    tmp_path: Path, target: str
) -> None:
    file = tmp_path / "token"
    file.write_text("first")

    async def push(number: int, forward: Forward) -> Answer:
        answer = await forward()
        if number == 4:
            gate.wanted = "second"
        return answer

    with Gate(target, push=push) as gate:
        result = looker(tmp_path, "logs", gate.url, *SMALL, "--bearer-token-file", str(file))
    assert result.code == 3
    assert "401 token has expired" in result.write["refusal"]
    assert result.write["responses_by_status"]["401"] >= 1


class TestTokenFile:
    def test_it_is_read_when_it_has_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now_s)
        path = tmp_path / "token"
        path.write_text("one")
        file = TokenFile(path)
        assert file.header() == "Bearer one"
        path.write_text("two!")
        # it is not asked for more than once a second
        assert file.header() == "Bearer one"
        now_s = 101.1
        assert file.header() == "Bearer two!"

    def test_it_is_read_at_once_where_a_token_was_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("one")
        file = TokenFile(path)
        assert file.header() == "Bearer one"
        assert not file.has_renewed("Bearer one")
        stat = path.stat()
        path.write_text("two")
        # even if it looks the same
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert file.has_renewed("Bearer one")
        assert file.header() == "Bearer two"
        assert not file.has_renewed("Bearer two")

    @pytest.mark.parametrize("content", [None, "", " \n", "two words", "t\xf6ken"])
    def test_while_there_is_no_token_the_last_one_holds(
        self, tmp_path: Path, content: str | None
    ) -> None:
        path = tmp_path / "token"
        path.write_text("one")
        file = TokenFile(path)
        assert file.header() == "Bearer one"
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        assert not file.has_renewed("Bearer one")
        assert file.header() == "Bearer one"
        # a worker begins with what the run began with
        assert TokenFile(path, "Bearer one").header() == "Bearer one"
        with pytest.raises(UsageError, match=r"^--bearer-token-file: "):
            TokenFile(path).header()
