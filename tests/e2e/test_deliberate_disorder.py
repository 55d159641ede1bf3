"""Deliberate disorder: what was sent is counted exactly, and read back as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from looker.generate.disorder import Disorder
from servers import (
    Prometheus,
    Result,
    embedded_target,
    looker,
    require_prometheus,
    shared_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N_STREAMS, N_FRAGMENTS, N_SAMPLES = 20, 6, 5
N_ALL: Final = N_STREAMS * N_FRAGMENTS * N_SAMPLES
SMALL: Final = (
    *("--n-concurrent-streams", str(N_STREAMS), "--n-workers", "2"),
    *("--n-entries-per-stream-fragment", str(N_SAMPLES)),
    *("--stop-write-after-n-fragments-per-stream", str(N_FRAGMENTS)),
)
WINDOW: Final = "storage:\n  tsdb:\n    out_of_order_time_window: {}\n"


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Serve a Prometheus that takes samples out of order."""
    require_prometheus()
    with Prometheus(tmp_path_factory.mktemp("lenient"), WINDOW.format("30m")) as server:
        yield server


def fractions(late: float, again: float) -> tuple[str, ...]:
    return ("--out-of-order-fraction", str(late), "--duplicate-fraction", str(again))


def chosen(result: Result, late: float, again: float, n_fragments: int) -> tuple[int, int]:
    """Return how many samples are late, and come again, where messages hold one fragment."""
    disorder = Disorder(result.report["config"]["seed"], 0, late, again)
    streams = np.repeat(np.arange(N_STREAMS, dtype=np.uint32), n_fragments)
    fragments = np.tile(np.arange(n_fragments, dtype=np.uint32), N_STREAMS)
    return (
        int(disorder.late(streams, fragments).sum()) * N_SAMPLES,
        int(disorder.repeated(streams, fragments).sum()) * N_SAMPLES,
    )


def assert_clean(read: dict[str, Any], n_all: int = N_ALL) -> None:
    assert read["samples_expected"] == read["samples_validated"] == n_all
    assert read["mismatches"] == dict.fromkeys(read["mismatches"], 0)
    assert read["retry_duplicates"] == 0


@pytest.mark.parametrize("like", ["looker", "loki-default"])
@pytest.mark.parametrize("verify", ["content", "checksum"])
def test_loki_takes_both(tmp_path: Path, like: str, verify: str) -> None:
    with embedded_target(tmp_path, "--like", like) as url:
        result = looker(tmp_path, "logs", url, *SMALL, *fractions(0.5, 0.3), "--verify", verify)
    assert result.code == 0, result.said
    n_late, n_again = chosen(result, 0.5, 0.3, N_FRAGMENTS)
    write = result.write
    assert (write["out_of_order_sent"], write["duplicates_sent"]) == (n_late, n_again)
    assert 0 < n_late < N_ALL / 2
    assert 0 < n_again < N_ALL
    assert write["duplicates_refused"] == 0
    assert write["samples_acked"] == N_ALL
    assert write["pushes_acked"] == N_STREAMS * N_FRAGMENTS
    assert write["pushes_retried"] == 0
    assert write["responses_by_status"] == {
        "204": N_STREAMS * N_FRAGMENTS + n_again // N_SAMPLES,
    }
    assert_clean(result.read)
    assert result.read["fragments_proved_by_checksum"] == N_STREAMS * N_FRAGMENTS
    assert f"{n_late:,}" in result.stdout
    assert "entries out of order" in result.stdout
    assert "entries sent again" in result.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("--n-cycles", "3", "--stop-write-after-n-fragments-per-stream", "3"),
        ("--n-cycles", "2", "--change-streams-every-n-cycles", "1"),
        ("--n-fragments-per-push-message", "10"),
        ("--n-entries-per-stream-fragment", "1"),
        ("--log-start-time", "2001-01-01T00:00:00Z", "--force"),
        ("--log-time-increment-ns", "1000000000", "--n-concurrent-streams", "5"),
    ],
    ids=" ".join,
)
def test_all_is_read_back_however_it_was_cut(tmp_path: Path, options: tuple[str, ...]) -> None:
    # all pairs are swapped, everything comes twice
    result = looker(tmp_path, "logs", *SMALL, *fractions(1, 1), *options)
    assert result.code == 0, result.said
    totals = result.report["totals"]
    write = totals["write"]
    assert write["duplicates_sent"] == write["samples_acked"]
    assert_clean(totals["read"], write["samples_acked"])
    if "3" in options:
        # of the fragments 0 to 8 of each stream, 1, 3, 5 and 7 are late
        assert write["out_of_order_sent"] == N_STREAMS * 4 * N_SAMPLES
    else:
        assert write["out_of_order_sent"] == write["samples_acked"] / 2


@pytest.mark.parametrize("read_api", ["remote-read", "query"])
def test_prometheus_with_a_window_takes_what_is_late(
    tmp_path: Path, lenient: Prometheus, read_api: str
) -> None:
    result = looker(
        tmp_path,
        *("metrics", lenient.url, *SMALL, *fractions(0.5, 0.3), "--read-api", read_api),
    )
    assert result.code == 0, result.said
    n_late, n_again = chosen(result, 0.5, 0.3, N_FRAGMENTS)
    write = result.write
    assert (write["out_of_order_sent"], write["duplicates_sent"]) == (n_late, n_again)
    assert 0 < n_late < N_ALL / 2
    assert write["samples_acked"] == N_ALL
    assert_clean(result.read)


@pytest.mark.prometheus
def test_prometheus_refuses_repeats_of_what_is_stored(
    tmp_path: Path, prometheus: Prometheus
) -> None:
    result = looker(tmp_path, "metrics", prometheus.url, *SMALL, *fractions(0, 0.3))
    assert result.code == 0, result.said
    _, n_again = chosen(result, 0, 0.3, N_FRAGMENTS)
    write = result.write
    assert write["duplicates_sent"] == write["duplicates_refused"] == n_again > 0
    assert write["responses_by_status"]["400"] == n_again // N_SAMPLES
    assert write["pushes_acked"] == N_STREAMS * N_FRAGMENTS
    assert write["refusal"] is None
    assert write["pushes_indeterminate"] == write["pushes_unresolved"] == 0
    assert_clean(result.read)


@pytest.mark.prometheus
def test_a_target_that_takes_nothing_late_is_left_alone(
    tmp_path: Path, prometheus: Prometheus
) -> None:
    result = looker(tmp_path, "metrics", prometheus.url, *SMALL, *fractions(0.5, 0))
    assert result.code == 2, result.said
    last = result.stderr.splitlines()[-1]
    assert "--out-of-order-fraction: samples would be up to 0.009 s late" in last
    assert "takes 0 s: set storage.tsdb.out_of_order_time_window there" in last
    assert result.report == {}


def test_a_window_that_is_too_short_is_named(tmp_path: Path, lenient: Prometheus) -> None:
    result = looker(
        tmp_path,
        *("metrics", lenient.url, *SMALL, *fractions(0.5, 0)),
        *("--metrics-time-increment-ms", "600000"),
    )
    assert result.code == 2, result.said
    assert "takes 1800 s" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("metrics", *fractions(0.5, 0)), "the embedded target takes no samples out of order"),
        (("logs", *fractions(1.5, 0)), "--out-of-order-fraction: must be from 0 to 1, not 1.5"),
        (("logs", *fractions(0, -1)), "--duplicate-fraction: must be from 0 to 1, not -1"),
        (
            ("logs", *fractions(1, 0), "--log-time-increment-ns", "600000000000"),
            "--out-of-order-fraction: entries would be up to 5400 s behind",
        ),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    result = looker(tmp_path, options[0], *SMALL, *options[1:])
    assert result.code == 2, result.said
    assert said in " ".join(result.stderr.split())
