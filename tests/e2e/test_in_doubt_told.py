"""What a run tells of pushes that were not acknowledged: words, samples, what would fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from in_process import one_cycle
from looker.model.config import Mode, ReadApi
from looker.model.retry import RetryPolicy
from looker.target.config import TargetConfig
from looker.target.server import serving
from looker.wire.snappy import uncompressed_length
from servers import Answer, Proxy, looker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward, Result

SMALL: Final = (
    *("--n-concurrent-streams", "10", "--n-workers", "1", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-fragments-per-push-message", "1"),
    *("--max-concurrent-writes", "1", "--retry-post-min-delay-seconds", "0.01"),
    *("--retry-post-max-delay-seconds", "0.02"),
)
N_PUSHES: Final = 20
N_ALL: Final = N_PUSHES * 5
TIMED_OUT: Final = b"rpc error: code = DeadlineExceeded desc = context deadline exceeded"
ORDER: Final = (
    b"user=fake: err: out of order sample. timestamp=2026-11-28T07:46:%02dZ, series={a=%d}"
)


@pytest.fixture(name="target", scope="module")
def embedded() -> Iterator[str]:
    """Serve one embedded target in this process for all tests."""
    with serving(TargetConfig()) as server:
        yield server.url


def in_words(result: Result) -> str:
    """Return what was printed, without its line breaks and columns."""
    return " ".join(result.stdout.replace("│", " ").split())


@pytest.mark.parametrize("command", ["logs", "metrics"])
def test_what_a_busy_host_left_in_doubt_is_told_with_the_servers_words(
    tmp_path: Path, target: str, command: str
) -> None:
    """Field case 32: pushes are stored, time out, and their repeats are out of order."""
    seen: dict[bytes, int] = {}

    async def script(_number: int, forward: Forward) -> Answer:
        body: bytes = forward.body  # type: ignore[attr-defined]
        is_repeat = body in seen
        number = seen.setdefault(body, len(seen))
        if number % 5 > 1:
            return await forward()
        if is_repeat:
            return Answer(400, ORDER % (number, number))
        await forward()
        return Answer(500, TIMED_OUT)

    ledger = ("--ledger", str(tmp_path / "kept.ledger"))
    with Proxy(target, push=script) as proxy:
        result = looker(tmp_path, command, proxy.url, *SMALL, *ledger)
    unit = "entries" if command == "logs" else "samples"
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    write, read = result.write, result.read
    assert write["samples_acked"] == read["samples_validated"] == 60
    assert write["samples_in_doubt"] == read["samples_indeterminate_found"] == 40
    assert write["samples_stored"] == N_ALL
    assert write["samples_stored_per_s"] == pytest.approx(N_ALL / write["duration_s"])
    assert write["reasons_by_status"]["500"] == [{"text": TIMED_OUT.decode(), "count": 8}]
    (refused,) = write["reasons_by_status"]["400"]
    assert (refused["count"], "out of order sample" in refused["text"]) == (8, True)
    assert result.report["totals"]["write"]["samples_stored"] == N_ALL
    told = in_words(result)
    assert f"exactly as written; 40 {unit} that were never acknowledged were found exact" in told
    assert f"the target said: answer 500, 8 times: {TIMED_OUT.decode()}" in told
    assert re.search(r"the target said: answer 400, 8 times: user=fake: err: out of order", told)
    assert re.search(rf"{unit} in doubt 40 ", told)
    assert "found of what was in doubt 40 " in told
    later = looker(tmp_path, "verify", str(tmp_path / "kept.ledger"), target)
    assert (later.code, later.report["verdict"]) == (0, "passed"), later.said
    assert later.read["samples_indeterminate_found"] == 40
    assert f"40 {unit} that were never acknowledged were found exact" in in_words(later)


def test_a_gateway_that_turns_204_into_201(tmp_path: Path, target: str) -> None:
    """Field case 2: from some push on; the run ends, and what was stored is found."""

    async def script(number: int, forward: Forward) -> Answer:
        stored = await forward()
        return stored if number < 4 else Answer(201)

    with Proxy(target, push=script) as proxy:
        ended = looker(tmp_path, "logs", proxy.url, *SMALL)
        goes_on = looker(tmp_path, "logs", proxy.url, *SMALL, "--allow-rejected")
    assert (ended.code, ended.report["verdict"]) == (3, "passed"), ended.said
    assert ended.write["pushes_acked"] == 4
    assert ended.read["samples_indeterminate_found"] == ended.write["samples_in_doubt"] == 5
    assert "201; this status is no acknowledgement: 200, 202 and 204 are" in in_words(ended)
    # the second run has 201 from the first push on: nothing had to be there, all was found
    assert (goes_on.code, goes_on.report["verdict"]) == (3, "unknown"), goes_on.said
    assert goes_on.read["samples_indeterminate_found"] == goes_on.write["samples_stored"] == N_ALL
    assert "100 entries that were never acknowledged were found exact" in in_words(goes_on)


def test_a_ledger_of_refused_pushes_is_read_back_as_in_doubt(tmp_path: Path, target: str) -> None:
    """Field case 44: 502 after storing and 403 to the repeat; each fourth push, none ends it."""
    attempts: dict[bytes, int] = {}

    async def script(_number: int, forward: Forward) -> Answer:
        body: bytes = forward.body  # type: ignore[attr-defined]
        attempt = attempts[body] = attempts.get(body, 0) + 1
        if len(attempts) % 4:
            return await forward()
        if attempt == 1:
            await forward()
            return Answer(502)
        return Answer(403, b"not now")

    ledger = ("--ledger", str(tmp_path / "kept.ledger"), "--allow-rejected")
    with Proxy(target, push=script) as proxy:
        result = looker(tmp_path, "metrics", proxy.url, *SMALL, *ledger)
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    assert result.write["pushes_unresolved"] == 5
    assert result.read["samples_indeterminate_found"] == result.write["samples_in_doubt"] == 25
    later = looker(
        tmp_path, "verify", str(tmp_path / "kept.ledger"), target, "--verify", "checksum"
    )
    assert (later.code, later.report["verdict"]) == (0, "passed"), later.said
    assert later.read["samples_indeterminate_found"] == 25


@pytest.mark.parametrize("mode", Mode)
def test_a_path_that_is_none_is_named_with_the_option(target: str, mode: Mode) -> None:
    """Field case 1."""

    async def script(_number: int, _forward: Forward) -> Answer:
        return Answer(404, b"404 page not found")

    with Proxy(target, push=script) as proxy:
        cycle = one_cycle(proxy.url, mode=mode)
    path = "/loki/api/v1/push" if mode is Mode.LOGS else "/api/v1/write"
    assert cycle.write.refusal == (
        f"404 404 page not found; {path} is no path of pushes there: see --push-path"
    )
    assert cycle.write.samples_in_doubt == 5


# --- too large -----------------------------------------------------------------------------------

LIMIT: Final = 30_000
MIMIR: Final = (
    b"the incoming push request has been rejected because its message size of %d bytes is larger"
    b" than the allowed limit of 30000 bytes (err-mimir-distributor-max-write-message-size)"
)
VICTORIA: Final = (
    b"too big unpacked request; mustn't exceed `-maxInsertRequestSize=30000` bytes; got %d bytes"
)
SIZES: Final = {
    "Prometheus": (400, b"decoded size exceeds the 30000 bytes limit"),
    "Mimir": (413, MIMIR),
    "Cortex": (400, b"received message larger than max (%d vs 30000)"),
    "VictoriaMetrics": (400, VICTORIA),
    "nginx": (413, b"<html><head><title>413 Request Entity Too Large</title></head></html>"),
}


def limited(server: str) -> Any:
    """Return a push script with a server's limit for messages, as they are unpacked."""

    async def script(_number: int, forward: Forward) -> Answer:
        n_bytes = uncompressed_length(forward.body)  # type: ignore[attr-defined]
        if n_bytes <= LIMIT:
            return await forward()
        status, text = SIZES[server]
        return Answer(status, text % n_bytes if b"%d" in text else text)

    return script


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("server", SIZES)
def test_a_message_that_is_too_large_is_divided(target: str, mode: Mode, server: str) -> None:
    """Field case 35."""
    with Proxy(target, push=limited(server)) as proxy:
        cycle = one_cycle(
            proxy.url,
            mode=mode,
            read_api=ReadApi.AUTO,
            n_streams=40,
            n_samples_per_fragment=100,
            n_fragments_per_message=40,
            n_chars_per_line=50,
        )
    assert cycle.write.refusal is None
    assert cycle.write.pushes_divided >= 1
    assert cycle.write.samples_acked == cycle.read.findings.n_validated == 40 * 2 * 100
    assert cycle.read.findings.n_mismatches == 0
    assert cycle.write.samples_in_doubt == 0


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("n_chars", [30, 500])
@pytest.mark.parametrize("server", ["Prometheus", "Mimir"])
def test_the_largest_fragment_that_fits_is_named(
    target: str, mode: Mode, server: str, n_chars: int
) -> None:
    """Field case 35, for one fragment: what is named fits, and little more does."""

    def written(n_samples: int) -> tuple[str | None, int]:
        cycle = one_cycle(
            proxy.url,
            mode=mode,
            n_streams=1,
            n_samples_per_fragment=n_samples,
            n_chars_per_line=n_chars,
            stop_after_n_fragments=1,
            retry=RetryPolicy(5.0, 0.01, 0.02, 0.5),
        )
        return cycle.write.refusal, cycle.write.samples_acked

    with Proxy(target, push=limited(server)) as proxy:
        refusal, _ = written(2500)
        assert refusal is not None
        named = re.search(
            r"the largest --n-entries-per-stream-fragment that fits is (\d+)", refusal
        )
        assert named is not None, refusal
        largest = int(named[1])
        assert written(largest) == (None, largest)
        # a hundredth, and labels, at most
        refusal, _ = written(largest + 2 + largest // 50)
        assert refusal is not None
