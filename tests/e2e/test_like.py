"""Servers in their default configuration, and the original's command lines, end to end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from servers import Result, embedded_target, looker

if TYPE_CHECKING:
    from pathlib import Path

NO_MISMATCH: Final = {
    "missing": 0,
    "duplicate": 0,
    "corrupt": 0,
    "out_of_order": 0,
    "unexpected": 0,
    "wrong_labels": 0,
    "transient": 0,
    "inconsistent": 0,
}
SHORT_RETRIES: Final = (
    *("--retry-post-min-delay-seconds", "0.2", "--retry-post-max-delay-seconds", "1"),
)


def passed(result: Result, n_samples: int) -> None:
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    assert result.write["samples_acked"] == n_samples
    assert result.read["samples_expected"] == n_samples
    assert result.read["samples_validated"] == n_samples
    assert result.read["mismatches"] == NO_MISMATCH


def test_the_first_command_line_of_the_originals_readme(tmp_path: Path) -> None:
    with embedded_target(tmp_path) as url:
        result = looker(
            tmp_path,
            url,
            *("--n-concurrent-streams", "2", "--n-entries-per-stream-fragment", "100"),
            *("--n-chars-per-msg", "100", "--stop-write-after-n-fragments-per-stream", "2"),
        )
    passed(result, 400)


def test_the_second_command_line_of_the_originals_readme_for_some_seconds(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "loki-raised", "--ingestion-rate-mb", "4") as url:
        result = looker(
            tmp_path,
            url,
            *("--n-concurrent-streams", "10", "--n-entries-per-stream-fragment", "12000"),
            *("--n-chars-per-msg", "90", "--stop-write-after-n-seconds", "3"),
            *SHORT_RETRIES,
        )
    passed(result, result.write["samples_acked"])
    assert result.write["samples_acked"] > 5 * 12_000
    assert result.write["responses_by_status"]["429"] > 0
    assert result.write["limited_by"] == "rate_limit"
    assert "it is not its capacity" in " ".join(result.stdout.split())


def test_the_originals_metrics_mode_with_the_later_names(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "prometheus") as url:
        result = looker(
            tmp_path,
            url,
            "--metrics-mode",
            *("--n-series", "30", "--n-samples-per-series-fragment", "7"),
            *("--cycle-stop-write-after-n-fragments", "3", "--n-fragments-per-push-message", "4"),
            *("--read-n-series-only", "10", "--change-series-every-n-cycles", "1"),
            *("--n-cycles", "2", "--max-concurrent-writes", "2"),
        )
    assert (result.code, result.report["verdict"]) == (0, "passed"), result.said
    assert [cycle["generation"] for cycle in result.report["cycles"]] == [0, 1]
    assert result.report["totals"]["write"]["samples_acked"] == 2 * 30 * 7 * 3
    assert result.report["totals"]["read"]["samples_validated"] == 2 * 10 * 7 * 3


@pytest.mark.parametrize(
    ("like", "mode", "product", "adds"),
    [
        ("loki-default", "logs", "loki", ["detected_level", "service_name"]),
        ("loki-raised", "logs", "loki", []),
        ("cortex-default", "metrics", "cortex", []),
        ("cortex", "metrics", "cortex", []),
        ("prometheus", "metrics", "prometheus", []),
    ],
)
def test_each_server_passes_as_it_comes(
    tmp_path: Path, like: str, mode: str, product: str, adds: list[str]
) -> None:
    with embedded_target(tmp_path, "--like", like) as url:
        result = looker(
            tmp_path,
            mode,
            url,
            *("--n-concurrent-streams", "40", "--n-entries-per-stream-fragment", "50"),
            *("--stop-write-after-n-fragments-per-stream", "3", "--label", "job", 'a "b" \\ c'),
        )
    passed(result, 40 * 50 * 3)
    assert result.report["target"]["product"] == product
    assert result.report["target"]["adds"] == adds


@pytest.mark.parametrize("read_api", ["remote-read", "query"])
def test_cortex_is_read_by_either_interface(tmp_path: Path, read_api: str) -> None:
    with embedded_target(tmp_path, "--like", "cortex") as url:
        result = looker(
            tmp_path,
            *("metrics", url, "--read-api", read_api, "--n-concurrent-streams", "500"),
            *("--n-entries-per-stream-fragment", "4", "--n-fragments-per-push-message", "50"),
            *("--stop-write-after-n-fragments-per-stream", "2"),
        )
    passed(result, 500 * 4 * 2)
    assert result.read["queries"] < 100


def test_external_labels_are_tolerated_and_named(tmp_path: Path) -> None:
    label = ("--external-label", "region=eu")
    with embedded_target(tmp_path, "--like", "prometheus", *label) as url:
        result = looker(
            tmp_path,
            *("metrics", url, "--n-concurrent-streams", "20", "--ignore-label", "region"),
            *("--n-entries-per-stream-fragment", "5"),
            *("--stop-write-after-n-fragments-per-stream", "2"),
        )
    passed(result, 200)
    assert result.report["target"]["adds"] == ["region"]


def largest_fitting(result: Result) -> int:
    found = re.search(r"largest --n-entries-per-stream-fragment that fits is (\d+)", result.said)
    assert found is not None, result.said
    return int(found[1])


def test_a_fragment_that_can_never_fit_ends_the_run_and_names_what_fits(tmp_path: Path) -> None:
    one = ("--n-concurrent-streams", "1", "--stop-write-after-n-fragments-per-stream", "1")
    with embedded_target(tmp_path, "--like", "loki-default") as url:
        # timestamps as short as they get first, then as long as they get
        second = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
        short = ("--log-start-time", (second + timedelta(microseconds=10_000)).isoformat())
        long = ("--log-start-time", (second + timedelta(microseconds=900_000)).isoformat())
        size = ("--n-entries-per-stream-fragment", "40000")
        result = looker(tmp_path, "logs", url, *one, *size, *short)
        assert (result.code, result.report["verdict"]) == (3, "unknown")
        assert "4194304" in result.said
        assert result.write["pushes_rejected"] == 1
        assert result.write["duration_s"] < 5
        fitting = ("--n-entries-per-stream-fragment", str(largest_fitting(result)))
        passed(looker(tmp_path, "logs", url, *one, *fitting, *long), largest_fitting(result))


def test_more_samples_than_a_burst_never_fit_either(tmp_path: Path) -> None:
    one = ("--n-concurrent-streams", "1", "--stop-write-after-n-fragments-per-stream", "1")
    with embedded_target(tmp_path, "--like", "cortex-default") as url:
        size = ("--n-entries-per-stream-fragment", "60000")
        result = looker(tmp_path, "metrics", url, *one, *size)
        assert result.code == 3
        assert result.write["duration_s"] < 5
        assert 49_000 < largest_fitting(result) <= 50_000


def test_a_message_of_several_fragments_that_is_too_large_is_divided(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "loki-default") as url:
        result = looker(
            tmp_path,
            *("logs", url, "--n-concurrent-streams", "16", "--n-workers", "1"),
            *("--n-entries-per-stream-fragment", "3000", "--n-fragments-per-push-message", "16"),
            *("--stop-write-after-n-fragments-per-stream", "1", *SHORT_RETRIES),
        )
    passed(result, 16 * 3000)
    assert result.write["pushes_divided"] >= 1
    assert result.write["fragments_per_push_mean"] < 16


def test_a_line_that_is_too_long_is_refused_with_the_longest_that_fits(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "loki-default") as url:
        result = looker(
            tmp_path,
            *("logs", url, "--n-concurrent-streams", "1", "--n-chars-per-msg", "300000"),
            *("--n-entries-per-stream-fragment", "2"),
        )
    assert result.code == 3
    assert "the largest --n-chars-per-msg that fits is 262144" in result.said


def test_long_lines_make_smaller_pages(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--like", "loki-default", "--oversized-answer", "reset") as url:
        result = looker(
            tmp_path,
            *("logs", url, "--n-concurrent-streams", "2", "--n-chars-per-msg", "3000"),
            *("--n-entries-per-stream-fragment", "1200", *SHORT_RETRIES),
            *("--stop-write-after-n-fragments-per-stream", "1"),
        )
    passed(result, 2400)


def test_streams_that_share_all_their_timestamps(tmp_path: Path) -> None:
    start = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    limit = ("--max-entries-limit", "100")
    with embedded_target(tmp_path, "--like", "loki-default", *limit) as url:
        result = looker(
            tmp_path,
            *("logs", url, "--n-concurrent-streams", "2500", "--log-start-time", start),
            *("--n-entries-per-stream-fragment", "3", "--n-fragments-per-push-message", "500"),
            *("--stop-write-after-n-fragments-per-stream", "1", "--n-workers", "1"),
        )
    passed(result, 7500)


def test_a_tenant_is_asked_for(tmp_path: Path) -> None:
    with embedded_target(tmp_path, "--require-tenant") as url:
        refused = looker(tmp_path, "logs", url)
        assert refused.code == 3
        assert "--tenant" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) <= 3
        small = ("--n-concurrent-streams", "2", "--n-entries-per-stream-fragment", "10")
        passed(looker(tmp_path, "logs", url, *small, "--tenant", "team-a"), 200)


def test_a_target_below_a_path_prefix_and_by_paths_of_its_own(tmp_path: Path) -> None:
    small = ("--n-concurrent-streams", "2", "--n-entries-per-stream-fragment", "10")
    with embedded_target(tmp_path, "--like", "cortex") as url:
        result = looker(
            tmp_path,
            *("metrics", url, *small, "--push-path", "/api/prom/push"),
            *("--query-path", "/api/prom/api/v1/read"),
        )
    passed(result, 200)


def test_a_start_time_too_old_to_be_read_back(tmp_path: Path) -> None:
    old = ("--log-start-time", (datetime.now(UTC) - timedelta(hours=4)).isoformat())
    small = ("--n-concurrent-streams", "2", "--n-entries-per-stream-fragment", "10")
    with embedded_target(tmp_path) as url:
        refused = looker(tmp_path, "logs", url, *small, *old)
        assert refused.code == 2
        assert refused.stderr.startswith("looker: --log-start-time: ")
        passed(looker(tmp_path, "logs", url, *small, *old, "--force"), 200)
        unread = looker(tmp_path, "logs", url, *small, *old, "--skip-read")
        assert (unread.code, unread.report["verdict"]) == (0, "not_checked")


def test_environment_and_file_and_command_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('n_series = 3\nn_entries_per_stream_fragment = 4\nlabel = {env = "test"}\n')
    fragments = ("--stop-write-after-n-fragments-per-stream", "1")
    with embedded_target(tmp_path) as url:
        result = looker(
            tmp_path,
            *("logs", url, "--config", str(file), *fragments, "--n-chars-per-msg", "40"),
            LOOKER_N_ENTRIES_PER_STREAM_FRAGMENT="5",
            LOOKER_N_CHARS_PER_MSG="50",
        )
    passed(result, 3 * 5)
    config = result.report["config"]
    assert (config["n_chars_per_line"], config["labels"]) == (40, [["env", "test"]])


def test_allowed_rejections_do_not_fail_the_run(tmp_path: Path) -> None:
    many = ("--n-concurrent-streams", "30", "--n-entries-per-stream-fragment", "5")
    with embedded_target(tmp_path, "--like", "loki-default", "--max-streams", "10") as url:
        result = looker(tmp_path, "logs", url, *many)
        assert result.code == 3
        assert "lower --n-concurrent-streams" in result.said
    with embedded_target(tmp_path, "--like", "loki-default", "--max-streams", "10") as url:
        allowed = looker(tmp_path, "logs", url, *many, "--allow-rejected")
    assert (allowed.code, allowed.report["verdict"]) == (0, "passed"), allowed.said
    assert allowed.write["pushes_unresolved"] > 0
    assert allowed.read["mismatches"] == NO_MISMATCH
