"""The checksum is a proof: what a proxy changes so that a weak sum would not see it is found."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.wire.proto import prometheus_pb2
from looker.wire.snappy import compress, decompress
from servers import Answer, Proxy, Result, embedded_target, looker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Forward, Script

    Change = Callable[[int, int], int]
    """Returns other bits for the bits of a value and its number in its series."""

N_STREAMS, N_FRAGMENTS, N_SAMPLES = 4, 2, 20
N_ALL: Final = N_STREAMS * N_FRAGMENTS * N_SAMPLES
SMALL: Final = (
    *("--n-concurrent-streams", str(N_STREAMS)),
    *("--n-entries-per-stream-fragment", str(N_SAMPLES)),
    *("--stop-write-after-n-fragments-per-stream", str(N_FRAGMENTS)),
    *("--n-workers", "1", "--read-grace-seconds", "0", "--seed", "3"),
)
SIGN: Final = 1 << 63


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def through(read: Script, tmp_path: Path, mode: str, target: str, *arguments: str) -> Result:
    with Proxy(target, read=read) as proxy:
        return looker(tmp_path, mode, proxy.url, *SMALL, *arguments)


def bits_of(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def float_of(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def altered(change: Change, api: str) -> Script:
    """Return a script that changes the values of each answer."""

    async def by_query(_: int, forward: Forward) -> Answer:
        answer = await forward()
        said = json.loads(answer.body)
        for series in said["data"]["result"]:
            for number, pair in enumerate(series["values"]):
                pair[1] = repr(float_of(change(bits_of(float(pair[1])), number)))
        return Answer(answer.status, json.dumps(said).encode(), answer.headers)

    async def by_remote_read(_: int, forward: Forward) -> Answer:
        answer = await forward()
        said = prometheus_pb2.ReadResponse.FromString(decompress(answer.body, 1 << 24))
        for result in said.results:
            for series in result.timeseries:
                for number, sample in enumerate(series.samples):
                    sample.value = float_of(change(bits_of(sample.value), number))
        body = bytes(compress(said.SerializeToString()))
        return Answer(answer.status, body, answer.headers)

    return by_query if api == "query" else by_remote_read


def negate(bits: int, _: int) -> int:
    return bits ^ SIGN


def absolute(bits: int, _: int) -> int:
    return bits & ~SIGN


def flip(bit: int) -> Change:
    """Flip a bit of two samples of the first fragment."""
    return lambda bits, number: bits ^ 1 << bit if number < 2 else bits


CHANGES: Final = {
    "negate": (negate, N_ALL, N_ALL),
    "flip 63": (flip(63), N_STREAMS * N_SAMPLES, N_STREAMS * 2),
    "flip 61": (flip(61), N_STREAMS * N_SAMPLES, N_STREAMS * 2),
    "flip 57": (flip(57), N_STREAMS * N_SAMPLES, N_STREAMS * 2),
    "flip 52": (flip(52), N_STREAMS * N_SAMPLES, N_STREAMS * 2),
}
"""What is done, and how many samples are corrupt by checksum and by content."""


@pytest.mark.parametrize("api", ["query", "remote-read"])
@pytest.mark.parametrize("name", CHANGES)
def test_changed_values_are_corrupt_by_checksum(
    tmp_path: Path, target: str, name: str, api: str
) -> None:
    """Field case 37: a proxy changes values in ways that cancelled out."""
    change, n_corrupt, _ = CHANGES[name]
    result = through(
        altered(change, api),
        *(tmp_path, "metrics", target, "--verify", "checksum", "--read-api", api),
    )
    assert result.code == 1, result.said
    counts = {kind: n for kind, n in result.read["mismatches"].items() if n}
    assert counts == {"corrupt": n_corrupt}
    assert result.read["samples_validated"] == N_ALL - n_corrupt


@pytest.mark.parametrize("api", ["query", "remote-read"])
def test_absolute_values_are_corrupt_by_checksum(tmp_path: Path, target: str, api: str) -> None:
    """Field case 37: with any number of negative ones in a fragment."""
    read = altered(absolute, api)
    result = through(
        read, *(tmp_path, "metrics", target, "--verify", "checksum", "--read-api", api)
    )
    assert result.code == 1, result.said
    # of twenty random values, some are negative
    assert result.read["mismatches"]["corrupt"] == N_ALL


@pytest.mark.parametrize("api", ["query", "remote-read"])
@pytest.mark.parametrize("name", ["negate", "flip 63"])
def test_changed_values_are_corrupt_by_content(
    tmp_path: Path, target: str, name: str, api: str
) -> None:
    """Field case 38: it is the target's fault, and counted, not Looker's own."""
    change, _, n_corrupt = CHANGES[name]
    read = altered(change, api)
    result = through(read, *(tmp_path, "metrics", target, "--read-api", api))
    assert result.code == 1, result.said
    counts = {kind: n for kind, n in result.read["mismatches"].items() if n}
    assert counts == {"corrupt": n_corrupt}
    assert "Traceback" not in result.stderr


async def set_bit_7(_: int, forward: Forward) -> Answer:
    """Set bit 7 of a character in the first two lines of each stream: that is no UTF-8."""
    answer = await forward()
    body = bytearray(answer.body)
    for values in re.finditer(rb'"values":\[\["\d{19}","', answer.body):
        second = answer.body.index(b'],["', values.end()) + len(b'],["1234567890123456789","')
        for line in (values.end(), second):
            body[line + 30] |= 0x80
    return Answer(answer.status, bytes(body), answer.headers)


def test_bit_7_of_two_lines_is_corrupt_by_checksum(tmp_path: Path, target: str) -> None:
    """Field case 37: an answer that is no UTF-8 does not pass."""
    result = through(set_bit_7, tmp_path, "logs", target, "--verify", "checksum")
    assert result.code == 1, result.said
    counts = {kind: n for kind, n in result.read["mismatches"].items() if n}
    assert counts == {"corrupt": N_STREAMS * N_SAMPLES}


def test_bit_7_of_two_lines_does_not_pass_by_content(tmp_path: Path, target: str) -> None:
    result = through(set_bit_7, tmp_path, "logs", target)
    assert result.code == 3, result.said
    assert result.report["verdict"] == "unknown"


# --- ledgers of format 2 -------------------------------------------------------------------------

RECORDED: Final = Path(__file__).parents[1] / "golden" / "ledgers"


def replayed(mode: str, target: str, tmp_path: Path) -> Path:
    """Push what was pushed when a ledger of format 2 was kept; return the ledger."""
    recorded: dict[str, Any] = json.loads(
        (RECORDED / f"format-2-{mode}.json").read_text(encoding="utf-8")
    )
    for push in recorded["pushes"]:
        request = urllib.request.Request(
            target + push["path"],
            base64.b64decode(push["body"]),
            {"Content-Type": push["type"], "Content-Encoding": "snappy"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status in (200, 204)
    path = tmp_path / "run.ledger"
    path.write_bytes(base64.b64decode(recorded["ledger"]))
    assert path.read_bytes()[8] == 2
    return path


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_ledger_of_format_2_is_verified(tmp_path: Path, mode: str) -> None:
    """It was made by Looker 8c14fd8, whose checksum it holds."""
    with embedded_target(tmp_path) as target:
        ledger = replayed(mode, target, tmp_path)
        for verify in ("content", "checksum", "count"):
            result = looker(tmp_path, "verify", str(ledger), target, "--verify", verify)
            assert result.code == 0, result.said
            assert result.read["samples_validated"] == 4 * 6 * 2 * 2
            proved = 0 if verify == "count" else 16
            assert result.read["fragments_proved_by_checksum"] == proved
            warned = "its checksum does not see" in result.stderr
            assert warned == (verify == "checksum")
        with Proxy(target, read=set_bit_7 if mode == "logs" else altered(negate, "query")) as proxy:
            words = ("verify", str(ledger), proxy.url, "--read-grace-seconds", "0")
            api = ("--read-api", "query") if mode == "metrics" else ()
            result = looker(tmp_path, *words, *api)
    # the comparison of bytes finds what the former checksum does not see
    if mode == "metrics":
        assert result.code == 1, result.said
        assert result.read["mismatches"]["corrupt"] == 4 * 6 * 2 * 2
    else:
        assert result.code == 3, result.said


def test_verify_refuses_a_pipe_at_once(tmp_path: Path) -> None:
    """Field case 52."""
    fifo = tmp_path / "run.ledger"
    os.mkfifo(fifo)
    result = looker(tmp_path, "verify", str(fifo))
    assert result.code == 2, result.said
    assert "it is a pipe, and has to be a regular file" in result.stderr
    assert len(result.stderr.splitlines()) == 1
