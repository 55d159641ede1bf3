"""What the target used, told by whole runs: its own page, none, hostile ones, a target killed."""

from __future__ import annotations

import json
import re
import signal
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.model.target_usage import FIGURES
from servers import Result, Run, embedded_target, looker, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL: Final = (
    *("--n-concurrent-streams", "200", "--n-entries-per-stream-fragment", "100"),
    *("--n-workers", "1"),
)
TOTAL: Final = 200 * 100 * 10


def used(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.said
    found = result.report["totals"]["target"]
    assert isinstance(found, dict), result.report["target_usage"]
    return found


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_the_embedded_target_tells_what_it_uses(tmp_path: Path, mode: str) -> None:
    result = looker(tmp_path, mode, *SMALL, "--n-cycles", "2", "--n-chars-per-msg", "100")
    found = used(result)
    assert list(found) == [*FIGURES, "metrics"]
    for name in FIGURES:
        assert found[name] > 0, name
    write = result.report["totals"]["write"]
    assert write["samples_acked"] == 2 * TOTAL
    assert found["write_cpu_s_per_gb"] == pytest.approx(
        found["write_cpu_s"] * 1e9 / write["payload_bytes_acked"]
    )
    assert found["write_cpu_s_per_million_samples"] == pytest.approx(
        found["write_cpu_s"] * 1e6 / (2 * TOTAL)
    )
    assert found["read_cpu_s_per_million_samples"] == pytest.approx(
        found["read_cpu_s"] * 1e6 / (2 * TOTAL)
    )
    assert found["write_cpu_s"] + found["read_cpu_s"] <= found["cpu_s"]
    assert found["rss_bytes_start"] < found["rss_bytes_max"]
    assert found["rss_bytes_end"] <= found["rss_bytes_max"] < 4e9
    held = found["metrics"]["looker_target_held_bytes"]
    assert held["start"] == 0
    assert held["end"] == held["max"] > 2 * TOTAL
    told = result.report["target_usage"]
    assert told["metrics_url"] == result.report["target"]["url"] + "/metrics"
    assert (told["n_failed"], told["error"], told["restarted"]) == (0, None, False)
    columns = [told["series"][name] for name in ("at_s", "cpu_s", "rss_bytes")]
    assert {len(column) for column in columns} == {told["n_scrapes"]}
    assert told["n_scrapes"] >= 6
    for column in columns[:2]:
        assert column == sorted(column)
    line = re.search(r"^target used: .*", result.stdout, re.MULTILINE)
    assert line is not None, result.said
    form = r"target used: \S+ CPU s writing \(\S+ s per GB\), \S+ reading; \S+ MB resident at most"
    assert re.fullmatch(form, line[0])


def test_a_warm_up_is_left_out(tmp_path: Path) -> None:
    result = looker(tmp_path, "metrics", *SMALL, "--n-warm-up-cycles", "1", "--n-cycles", "1")
    found, series = used(result), result.report["target_usage"]["series"]
    assert result.report["totals"]["write"]["samples_acked"] == TOTAL
    assert 0 < found["write_cpu_s"] < found["cpu_s"] < series["cpu_s"][-1] - series["cpu_s"][0]
    assert found["write_cpu_s_per_million_samples"] == pytest.approx(
        found["write_cpu_s"] * 1e6 / TOTAL
    )
    assert found["metrics"]["looker_target_held_bytes"]["start"] > 0


def test_off_asks_nothing(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", *SMALL, "--target-metrics-url", "off")
    assert result.code == 0, result.said
    assert result.report["target_usage"] is None
    assert result.report["totals"]["target"] is None
    assert "target used" not in result.stdout


def test_conditions_on_what_the_target_used(tmp_path: Path) -> None:
    selector = 'looker_target_requests_total{status="200"}'
    result = looker(
        *(tmp_path, "metrics", *SMALL, "--target-metric", selector),
        *("--fail-if", "target.write_cpu_s_per_gb > 0"),
        *("--fail-if", "rss_bytes_max < 1000000"),
        *("--fail-if", f"target.metrics.{selector}.end >= 1"),
    )
    assert result.code == 4, result.said
    assert [one["breached"] for one in result.report["thresholds"]] == [True, False, True]
    assert all(one["value"] > 0 for one in result.report["thresholds"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fail-if", "target.metrics.up.end > 1"), "up is not kept: give --target-metric"),
        (
            ("--fail-if", "target.cpu_s > 1", "--target-metrics-url", "off"),
            "the target is not asked (--target-metrics-url)",
        ),
        (("--target-metrics-url", "host:80"), "must begin with http:// or https://"),
        (("--target-metric", "a b"), "'a b' is no metric's name"),
        (("--target-metrics-every-seconds", "0"), "must be at least 0.1, not 0"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    result = looker(tmp_path, "logs", *options)
    assert result.code == 2, result.said
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_phases_that_are_not_aligned_have_no_figures(tmp_path: Path) -> None:
    result = looker(tmp_path, "metrics", *SMALL, "--no-align-phases")
    found = used(result)
    for name in FIGURES:
        in_a_phase = name.startswith(("write_", "read_"))
        assert (found[name] is None) is in_a_phase, name
    assert re.search(r"target used: \S+ CPU s; \S+ MB resident", result.stdout)


def test_without_reading_there_are_no_figures_of_reading(tmp_path: Path) -> None:
    found = used(looker(tmp_path, "metrics", *SMALL, "--skip-read"))
    assert found["write_cpu_s"] > 0
    assert found["read_cpu_s"] is None


class _Pages(BaseHTTPRequestHandler):
    """Answers each question as the server's ``script`` says."""

    server: Any

    def do_GET(self) -> None:
        self.server.n_asked += 1
        self.server.script(self, self.server.n_asked)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[ThreadingHTTPServer]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    server.daemon_threads = True
    server.n_asked = 0
    server.ending = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.ending.set()
    server.shutdown()
    thread.join()
    server.server_close()


def send(handler: Any, body: bytes, status: int = 200, kind: str = "text/plain") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def not_found(handler: Any, _n: int) -> None:
    send(handler, b"404 page not found", 404)


def html(handler: Any, _n: int) -> None:
    send(handler, b"<!doctype html><title>process_cpu_seconds_total</title>", kind="text/html")


def moved(handler: Any, _n: int) -> None:
    handler.send_response(301)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def endless(handler: Any, _n: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"a" * 65536)


def stalls(handler: Any, _n: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"process_cpu_seconds_total 1\n")
    handler.wfile.flush()
    handler.server.ending.wait(60)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (not_found, "answers 404 '404 page not found'"),
        (html, "the page has none of the metrics"),
        (moved, "redirects to /elsewhere, which is not followed"),
        (endless, "the page is longer than 32 MiB"),
        (stalls, "no whole page"),
    ],
)
def test_whatever_the_page_is_the_run_passes(
    tmp_path: Path, pages: Any, script: Callable[[Any, int], None], said: str
) -> None:
    def guarded(handler: Any, n: int) -> None:
        try:
            script(handler, n)
        except OSError:
            handler.close_connection = True

    pages.script = guarded
    url = f"http://user:secret@127.0.0.1:{pages.server_address[1]}/metrics"
    result = looker(tmp_path, "metrics", *SMALL, "--target-metrics-url", url)
    assert result.code == 0, result.said
    assert result.report["totals"]["target"] is None
    told = result.report["target_usage"]
    assert told["n_scrapes"] == 0
    assert said in told["error"]
    assert "secret" not in json.dumps(result.report) + result.stdout + result.stderr
    assert result.stderr.count("WARNING what the target uses is not known: ") == 1
    assert "target used" not in result.stdout


def n_received(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    found = re.search(r"^looker_target_records_received_total (\d+)$", page, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_one_question_that_hangs_costs_one_answer(tmp_path: Path, pages: Any) -> None:
    asked_while_writing: list[int] = []

    with embedded_target(tmp_path) as url:

        def script(handler: Any, n: int) -> None:
            if n_received(url):
                asked_while_writing.append(n)
            # the first one may be that of the phase's beginning
            if len(asked_while_writing) == 2:
                asked_while_writing.append(n)
                handler.server.ending.wait(60)
                return
            body = f"process_cpu_seconds_total {n}\nprocess_resident_memory_bytes {1000 * n}\n"
            send(handler, body.encode())

        pages.script = script
        result = looker(
            *(tmp_path, "metrics", url, "--n-workers", "1", "--n-concurrent-streams", "10"),
            *("--n-entries-per-stream-fragment", "10", "--stop-write-after-n-seconds", "6"),
            *("--metrics-time-increment-ms", "10", "--target-metrics-every-seconds", "0.3"),
            *("--target-metrics-url", f"http://127.0.0.1:{pages.server_address[1]}/"),
        )
    found = used(result)
    told = result.report["target_usage"]
    assert (told["n_failed"], told["restarted"]) == (1, False)
    assert "no complete answer in time" in told["error"]
    assert found["write_cpu_s"] > 0
    # the last question may have come too late for an answer
    assert found["rss_bytes_max"] in (1000 * pages.n_asked, 1000 * (pages.n_asked - 1))


def test_a_process_begun_anew_has_no_cpu_figures(tmp_path: Path, pages: Any) -> None:
    def script(handler: Any, n: int) -> None:
        body = f"process_cpu_seconds_total {n}\nprocess_start_time_seconds {1e9 + 60 * (n > 2)}\n"
        send(handler, body.encode())

    pages.script = script
    url = f"http://127.0.0.1:{pages.server_address[1]}/"
    result = looker(tmp_path, "metrics", *SMALL, "--target-metrics-url", url)
    found = used(result)
    assert result.report["target_usage"]["restarted"] is True
    assert all(found[name] is None for name in FIGURES)
    assert "target used" not in result.stdout


def test_a_target_killed_in_the_middle(tmp_path: Path) -> None:
    with Run(tmp_path, "target", "--port", "0") as target:
        target.wait_for("listens at http")
        url = target.text("stderr").split("listens at ")[1].split()[0]
        with Run(
            *(tmp_path, "metrics", url, *SMALL, "--stop-write-after-n-seconds", "60"),
            *("--retry-post-deadline-seconds", "1", "--retry-post-min-delay-seconds", "0.2"),
            *("--retry-post-max-delay-seconds", "0.2", "--target-metrics-every-seconds", "0.1"),
        ) as run:
            run.wait_for("write phase begins")
            wait_until(lambda: n_received(url) > 0, "something is written")
            target.send(signal.SIGKILL)
            result = run.result()
    assert result.code == 3, result.said
    told = result.report["target_usage"]
    assert told["n_scrapes"] >= 1
    assert told["n_failed"] >= 1
    assert "no whole page" in told["error"]
    found = result.report["totals"]["target"]
    assert found["write_cpu_s"] is None
    assert found["rss_bytes_max"] > 0
    assert "Traceback" not in result.stderr


def test_what_targets_used_is_compared_by_name(tmp_path: Path) -> None:
    for side, options in (
        ("old", ("--target-metric", "looker_target_held_bytes")),
        ("new", ("--target-metrics-every-seconds", "0.5")),
    ):
        (tmp_path / side).mkdir()
        path = tmp_path / side / "a.report.json"
        wrote = looker(tmp_path, "metrics", *SMALL, *options, "--report", str(path))
        assert wrote.code == 0, wrote.said
    result = looker(
        *(tmp_path, "compare", str(tmp_path / "old"), str(tmp_path / "new"), "--format", "json"),
        *("--metric", "target.write_cpu_s_per_gb", "--metric", "rss_bytes_per_stream"),
        *("--metric", "target.metrics.looker_target_held_bytes.end"),
    )
    assert result.code == 0, result.said
    (contender,) = json.loads(result.stdout)["contenders"]
    found = {one["metric"]: one for one in contender["metrics"]}
    assert {name: one["better"] for name, one in found.items()} == {
        "target.write_cpu_s_per_gb": "lower",
        "target.rss_bytes_per_stream": "lower",
        "target.metrics.looker_target_held_bytes.end": None,
    }
    assert all(one[side]["n"] == 1 for one in found.values() for side in ("baseline", "contender"))


def test_verify_does_not_ask(tmp_path: Path) -> None:
    ledger = tmp_path / "run.ledger"
    with embedded_target(tmp_path) as url:
        wrote = looker(
            *(tmp_path, "metrics", url, *SMALL, "--ledger", str(ledger)),
            *("--target-metrics-every-seconds", "0.5", "--target-metric", "up"),
        )
        assert used(wrote)["metrics"]["up"] == {"start": None, "end": None, "max": None}
        result = looker(tmp_path, "verify", str(ledger))
    assert result.code == 0, result.said
    assert result.report["target_usage"] is None
    assert result.report["totals"]["target"] is None
    assert result.report["config"]["target_metrics_url"] == "off"
