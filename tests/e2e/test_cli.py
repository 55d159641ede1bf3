"""The command line as a user meets it: exit codes, one-line errors, output, report."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

import looker as looker_package
from looker.cli.main import main
from servers import (
    Answer,
    Prometheus,
    Proxy,
    embedded_target,
    free_port,
    looker,
    new_id,
    raw_server,
    shared_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward

SMALL: Final = (
    *("--n-concurrent-streams", "8", "--n-entries-per-stream-fragment", "5"),
    *("--stop-write-after-n-fragments-per-stream", "2", "--n-workers", "1"),
)
SECRET: Final = "hunter2-secret"  # noqa: S105 - nobody's


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve one embedded target for all tests."""
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


# --- wrong words: nothing is sent, exit code 2 ---------------------------------------------------

# an URL that is never asked
URL: Final = "http://127.0.0.1:1"

WRONG: Final[dict[str, str]] = {
    # values that are no values
    f"logs {URL} --n-concurrent-streams many": "--n-concurrent-streams",
    f"logs {URL} --n-concurrent-streams 1.5": "--n-concurrent-streams",
    f"logs {URL} --n-concurrent-streams": "--n-concurrent-streams",
    f"logs {URL} --stop-write-after-n-seconds soon": "--stop-write-after-n-seconds",
    f"logs {URL} --compressability best": "--compressability",
    f"metrics {URL} --read-api best": "--read-api",
    f"logs {URL} --log-level loud": "--log-level",
    # out of range
    f"logs {URL} --n-concurrent-streams 0": "--n-concurrent-streams",
    f"logs {URL} --n-concurrent-streams -1": "--n-concurrent-streams",
    f"logs {URL} --n-concurrent-streams 100000001": "--n-concurrent-streams",
    f"logs {URL} --n-entries-per-stream-fragment 0": "--n-entries-per-stream-fragment",
    f"logs {URL} --n-entries-per-stream-fragment 10000001": "--n-entries-per-stream-fragment",
    f"logs {URL} --n-fragments-per-push-message 0": "--n-fragments-per-push-message",
    f"logs {URL} --n-chars-per-msg 19": "--n-chars-per-msg",
    f"logs {URL} --n-chars-per-msg 0 --no-include-time-in-msg": "--n-chars-per-msg",
    f"logs {URL} --n-chars-per-msg 1000001": "--n-chars-per-msg",
    f"logs {URL} --stop-write-after-n-fragments-per-stream 0": "--stop-write-after-n-fragments",
    f"logs {URL} --stop-write-after-n-seconds 0": "--stop-write-after-n-seconds",
    f"logs {URL} --stop-write-after-n-seconds -3": "--stop-write-after-n-seconds",
    f"logs {URL} --stop-write-after-n-seconds nan": "--stop-write-after-n-seconds",
    f"logs {URL} --stop-write-after-n-seconds inf": "--stop-write-after-n-seconds",
    f"logs {URL} --n-cycles -1": "--n-cycles",
    f"logs {URL} --change-streams-every-n-cycles -1": "--change-streams-every-n-cycles",
    f"logs {URL} --read-n-streams-only 0": "--read-n-streams-only",
    f"logs {URL} --read-grace-seconds -1": "--read-grace-seconds",
    f"logs {URL} --read-grace-seconds nan": "--read-grace-seconds",
    f"logs {URL} --max-concurrent-writes 0": "--max-concurrent-writes",
    f"logs {URL} --max-concurrent-reads -2": "--max-concurrent-reads",
    f"logs {URL} --n-workers 0": "--n-workers",
    f"logs {URL} --n-workers 1025 --n-concurrent-streams 5000": "--n-workers",
    f"logs {URL} --seed -1": "--seed",
    f"logs {URL} --seed 18446744073709551616": "--seed",
    f"logs {URL} --log-time-increment-ns 0": "--log-time-increment-ns",
    f"metrics {URL} --metrics-time-increment-ms 0": "--metrics-time-increment-ms",
    f"metrics {URL} --metrics-time-increment-ms 100000000": "--metrics-time-increment-ms",
    f"logs {URL} --min-lag-seconds -1": "--min-lag-seconds",
    f"logs {URL} --min-lag-seconds nan": "--min-lag-seconds",
    f"logs {URL} --max-lag-seconds nan": "--max-lag-seconds",
    f"logs {URL} --retry-post-deadline-seconds -1": "--retry-post-deadline-seconds",
    f"logs {URL} --retry-post-deadline-seconds nan": "--retry-post-deadline-seconds",
    f"logs {URL} --retry-post-min-delay-seconds 0": "--retry-post-min-delay-seconds",
    f"logs {URL} --retry-post-max-delay-seconds -1": "--retry-post-max-delay-seconds",
    f"logs {URL} --retry-post-jitter 1.5": "--retry-post-jitter",
    f"logs {URL} --retry-post-jitter nan": "--retry-post-jitter",
    f"logs {URL} --http-server-port 70000": "--http-server-port",
    # texts
    "logs localhost:3100": "URL",
    "logs ftp://127.0.0.1": "URL",
    "logs http://": "URL",
    "logs http://127.0.0.1:3100/?tenant=a": "URL",
    f"logs {URL} http://127.0.0.1:2": "unexpected",
    f"logs {URL} --invocation-id a{{b}}": "--invocation-id",
    f"logs {URL} --invocation-id {'x' * 101}": "--invocation-id",
    f"logs {URL} --tenant a/b": "--tenant",
    f"logs {URL} --label a-b c": "--label",
    f"logs {URL} --label looker_group c": "--label",
    f"logs {URL} --label __name__ c": "--label",
    f"logs {URL} --label a b --label a c": "--label",
    f"logs {URL} --label a": "--label",
    f"logs {URL} --ignore-label looker_uniquename": "--ignore-label",
    f"logs {URL} --log-start-time yesterday": "--log-start-time",
    f"logs {URL} --log-start-time 2026-01-31T12:00:00": "--log-start-time",
    f"logs {URL} --log-start-time 1970-01-01T00:00:00Z --skip-read": "--log-start-time",
    f"logs {URL} --log-start-time 2001-01-01T00:00:00Z": "--log-start-time",
    f"logs {URL} --push-path push": "--push-path",
    f"logs {URL} --query-path /a?b": "--query-path",
    f"logs {URL} --bearer-token-file /nowhere/token": "--bearer-token-file",
    f"logs {URL} --ca-file /nowhere/ca.pem": "--ca-file",
    f"logs {URL} --config /nowhere/looker.toml": "--config",
    # combinations
    f"logs {URL} --n-concurrent-streams 2 --n-workers 3": "--n-workers",
    f"logs {URL} --n-workers 3 --max-concurrent-writes 2": "--max-concurrent-writes",
    f"logs {URL} --n-workers 3 --max-concurrent-reads 2": "--max-concurrent-reads",
    f"logs {URL} --n-concurrent-streams 2 --n-fragments-per-push-message 3": "--n-fragments-per",
    f"logs {URL} --n-concurrent-streams 2 --read-n-streams-only 3": "--read-n-streams-only",
    f"logs {URL} --skip-read --read-n-streams-only 3": "--read-n-streams-only",
    f"logs {URL} --min-lag-seconds 100 --max-lag-seconds 50": "--max-lag-seconds",
    f"logs {URL} --min-lag-seconds 100 --max-lag-seconds 100": "--max-lag-seconds",
    f"metrics {URL} --metrics-time-increment-ms 1000 --max-lag-seconds 60": "--max-lag-seconds",
    f"logs {URL} --retry-post-min-delay-seconds 5 --retry-post-max-delay-seconds 1": "--retry-post",
    f"logs {URL} --metrics-time-increment-ms 1": "--metrics-time-increment-ms",
    f"metrics {URL} --log-time-increment-ns 1": "--log-time-increment-ns",
    f"logs {URL} --read-api query": "--read-api",
    f"metrics {URL} --read-shape backward": "--read-shape",
    f"logs {URL} --n-chars-per-msg 1000000 --n-entries-per-stream-fragment 1000": "--n-entries",
    f"logs {URL} --n-concurrent-streams 1 --n-series 1": "--n-series",
    f"logs {URL} --insecure-skip-verify --ca-file pyproject.toml": "--insecure-skip-verify",
    f"logs {URL} --log-start-time 2026-01-31T12:00:00Z --min-lag-seconds 5": "--min-lag-seconds",
    f"logs {URL} --stop-write-after-n-seconds-jitter 5": "--stop-write-after-n-seconds-jitter",
    # a calibration
    "calibrate traces": "MODE: must be logs or metrics, not 'traces'",
    "calibrate logs metrics": "unexpected",
    f"calibrate {URL}": "MODE",
    "calibrate --seconds 0.5": "--seconds",
    "calibrate --seconds 3601": "--seconds",
    "calibrate --seconds nan": "--seconds",
    "calibrate --seconds soon": "--seconds",
    "calibrate --n-workers 0": "--n-workers",
    "calibrate logs --n-workers 3 --n-concurrent-streams 2": "--n-workers",
    "calibrate logs --n-chars-per-msg 19": "--n-chars-per-msg",
    "calibrate metrics --n-entries-per-stream-fragment 0": "--n-entries-per-stream-fragment",
    "calibrate --n-concurrent-streams 0": "--n-concurrent-streams",
    "calibrate --n-fragments-per-push-message 101": "--n-fragments-per-push-message",
    "calibrate --compressability best": "--compressability",
    "calibrate --report /nowhere/calibration.json": "--report",
    "calibrate --log-level loud": "--log-level",
    "calibrate --n-cycles 2": "--n-cycles",
    # words that are none
    f"logs {URL} --n-steams 5": "--n-steams",
    "loggs": "loggs",
    f"read {URL}": "read",
    "target --mode full": "--mode",
    "target --port 70000": "--port",
    "target --port http": "--port",
    "target --max-memory-mb 0": "--max-memory-mb",
    "target --range-boundary shut": "--range-boundary",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_are_refused_in_one_line_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(SystemExit) as ended:
        main(words.split(" "))
    out, err = capfd.readouterr()
    assert ended.value.code == 2, err
    assert out == ""
    assert err.startswith("looker: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert WRONG[words].lower() in err.lower()
    assert not list(tmp_path.glob("*.json"))


def test_wrong_words_end_the_process_the_same_way(tmp_path: Path) -> None:
    result = looker(tmp_path, "logs", URL, "--n-workers", "0")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == "looker: --n-workers: must be from 1 to 1024, not 0\n"
    assert not result.reports


@pytest.mark.parametrize(
    ("report", "words"),
    [("", "directory"), ("missing/report.json", "missing"), ("file/report.json", "file")],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, report: str, words: str
) -> None:
    (tmp_path / "file").touch()
    result = looker(tmp_path, "logs", URL, "--report", f"{tmp_path}/{report}")
    assert result.code == 2, result.said
    assert result.stderr.startswith("looker: --report: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_refused_before_the_run(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    result = looker(tmp_path, "logs", URL, "--report", f"{closed}/report.json")
    assert result.code == 2, result.said


def test_a_report_that_cannot_be_written_in_the_end(tmp_path: Path, target: str) -> None:
    """The directory goes away while the run goes on: the result is shown all the same."""
    directory = tmp_path / "reports"
    directory.mkdir()

    async def remove(_number: int, forward: Forward) -> Answer:
        if directory.exists():
            directory.rmdir()
        return await forward()

    with Proxy(target, push=remove) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, "--report", f"{directory}/r.json")
    assert result.code == 74, result.said
    assert "passed: all 80 entries" in result.stdout
    assert f"cannot write the report {directory}/r.json: No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_pipe_for_the_report_stays_a_pipe(tmp_path: Path, target: str) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = looker(tmp_path, "logs", target, *SMALL, "--report", str(link))
        assert result.code == 0, result.said
        report = json.loads(os.read(reader, 1 << 20))
    finally:
        os.close(reader)
    assert report["verdict"] == "passed"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()


def test_a_link_to_a_report_stays_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "runs").mkdir()
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "runs" / "report.json")
    result = looker(tmp_path, "logs", target, *SMALL, "--report", str(link))
    assert result.code == 0, result.said
    assert link.is_symlink()
    report = json.loads((tmp_path / "runs" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "passed"


def test_a_report_among_the_output(tmp_path: Path, target: str) -> None:
    # by another name than /dev/stderr, so that a fault could not replace that for everybody
    path = "/proc/self/fd/2"
    result = looker(tmp_path, "logs", target, *SMALL, "--n-cycles", "2", "--report", path)
    assert result.code == 0, result.said
    # one report only, when the run is over
    assert result.stderr.count('"schema_version"') == 1
    report, _ = json.JSONDecoder().raw_decode(result.stderr[result.stderr.index("{") :])
    assert report["verdict"] == "passed"
    # what stands before and behind it is whole, too
    assert "passed: all 160 entries" in result.stdout
    assert "write phase begins" in result.stderr
    assert f"report: {path}" in result.stderr


# --- version, help -----------------------------------------------------------------------------


def test_version(tmp_path: Path) -> None:
    result = looker(tmp_path, "--version")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"looker {looker_package.__version__}\n"


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", [[], ["logs"], ["metrics"], ["calibrate"], ["target"]])
def test_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], word: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, word])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert out.startswith("Usage: ")
    for expected in command or ["logs", "metrics", "calibrate", "target", "--version"]:
        assert expected in out


# --- wrong targets: exit code 3 ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["logs", "metrics"])
class TestWrongTargets:
    def refused(self, tmp_path: Path, *words: str) -> str:
        """Run, and return the one line that says what is wrong."""
        result = looker(tmp_path, *words, "--log-level", "error", *SMALL)
        assert result.code == 3, result.said
        assert result.stdout == ""
        assert result.stderr.startswith("looker: ")
        assert result.stderr.count("\n") == 1
        # field case 28: a report says so, too
        assert (result.report["verdict"], result.report["exit_code"]) == ("unknown", 3)
        assert result.stderr == f"looker: {result.report['error']}\n"
        return result.stderr

    def test_nothing_listens(self, tmp_path: Path, mode: str) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        assert f"cannot reach {url}: " in self.refused(tmp_path, mode, url)

    def test_a_host_that_does_not_exist(self, tmp_path: Path, mode: str) -> None:
        url = "http://nowhere.invalid:3100"
        assert f"cannot reach {url}: " in self.refused(tmp_path, mode, url)

    @pytest.mark.parametrize(
        "reply", [None, b"220 mail.invalid ESMTP\r\n", b"\x15\x03\x01\x00\x02"]
    )
    def test_what_listens_does_not_speak_http(
        self, tmp_path: Path, mode: str, reply: bytes | None
    ) -> None:
        with raw_server(reply) as url:
            assert f"cannot reach {url}: " in self.refused(tmp_path, mode, url)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(404, b"404 page not found"), "404"),
            (Answer(500, b"ouch"), "500"),
            (Answer(503, b"starting\n"), "not ready: 503 starting"),
            (Answer(403, b"go\naway"), "refuses access: 403 go away"),
            (Answer(401, b"password?"), "refuses access: 401 password?"),
            (Answer(401, b"no org id"), "--tenant"),
            (Answer(302, b"", {"Location": "http://elsewhere.invalid/"}), "elsewhere.invalid"),
            (Answer(200, b"<html>Welcome to nginx!</html>", {"Content-Type": "text/html"}), ""),
            (Answer(200, b'{"data": "yes"}', {"Content-Type": "application/json"}), ""),
            (Answer(200, b"[]", {"Content-Type": "application/json"}), ""),
            (Answer(200, b"", {}), ""),
        ],
        ids=lambda value: value if isinstance(value, str) else str(value.status),
    )
    def test_another_kind_of_server(
        self, tmp_path: Path, mode: str, answer: Answer, words: str
    ) -> None:
        async def always(_number: int, _forward: Forward) -> Answer:
            return answer

        with Proxy("", other=always, push=always, read=always) as proxy:
            said = self.refused(tmp_path, mode, proxy.url)
            assert words in said
            assert proxy.url in said
            assert proxy.n_pushes == 0


@pytest.mark.prometheus
def test_logs_to_a_metrics_server(tmp_path: Path, prometheus: Prometheus) -> None:
    result = looker(tmp_path, "logs", prometheus.url, *SMALL)
    assert result.code == 3, result.said
    assert "looker metrics URL" in result.stderr
    assert "looker metrics URL" in result.report["error"]


# --- the report --------------------------------------------------------------------------------

MISMATCHES: Final = {
    "missing": 0,
    "duplicate": 0,
    "corrupt": 0,
    "out_of_order": 0,
    "unexpected": 0,
    "wrong_labels": 0,
}
NUMBER: Final = (int, float)
TEXT_OR_NONE: Final = (str, type(None))
SUMMARY: Final = {
    "mean": NUMBER,
    "p50": NUMBER,
    "p90": NUMBER,
    "p99": NUMBER,
    "p99_9": NUMBER,
    "max": NUMBER,
    "histogram": str,
}
WRITE: Final = {
    "started_at": str,
    "finished_at": str,
    "duration_s": float,
    "samples_acked": int,
    "payload_bytes_acked": int,
    "wire_bytes_sent": int,
    "samples_per_s": float,
    "payload_mb_per_s": float,
    "pushes_acked": int,
    "pushes_retried": int,
    "pushes_rejected": int,
    "pushes_indeterminate": int,
    "pushes_unresolved": int,
    "responses_by_status": dict,
    "fragments_per_push_mean": float,
    "rate_limited_s": float,
    "throttled_s": float,
    "forward_leaps": int,
    "limited_by": str,
    "service_ms": SUMMARY,
    "push_ms": SUMMARY,
    "latency_ms": type(None),
    "cpu_s": float,
    "refusal": type(None),
}
READ: Final = {
    "skipped": bool,
    "verdict": str,
    "started_at": str,
    "finished_at": str,
    "duration_s": float,
    "streams_selected": int,
    "samples_expected": int,
    "samples_validated": int,
    "queries": int,
    "payload_mb_per_s": float,
    "mismatches": dict.fromkeys(MISMATCHES, int),
    "retry_duplicates": int,
    "examples": list,
    "service_ms": SUMMARY,
    "streams_visible_at_first_ask": int,
    "first_ask_after_ms": SUMMARY,
    "streams_awaited": int,
    "visible_after_ms": dict,
    "cpu_s": float,
    "error": type(None),
}
REPORT: Final = {
    "schema_version": int,
    "looker_version": str,
    "invocation_id": str,
    "mode": str,
    "finished": bool,
    "verdict": str,
    "exit_code": int,
    "error": type(None),
    "started_at": str,
    "finished_at": str,
    "config": {"seed": int, "url": str, "n_streams": int, "n_workers": int, "retry": dict},
    "environment": {"hostname": str, "platform": str, "n_cpus": int, "python": str},
    "target": {
        "url": str,
        "product": str,
        "version": TEXT_OR_NONE,
        "revision": TEXT_OR_NONE,
        "embedded": bool,
        "adds": list,
        "limits": dict,
    },
    "cycles": list,
    "totals": {"write": WRITE, "read": READ},
}
CYCLE: Final = {
    "cycle": int,
    "generation": int,
    "verdict": str,
    "write": WRITE,
    "read": READ,
    "workers": list,
}
WORKER: Final = {"worker": int, "pid": int, "host": str, "write": WRITE, "read": READ}
SUMS: Final = {
    "write": [
        "samples_acked",
        "payload_bytes_acked",
        "wire_bytes_sent",
        "pushes_acked",
        "pushes_retried",
        "pushes_rejected",
        "pushes_indeterminate",
        "pushes_unresolved",
        "forward_leaps",
        "cpu_s",
        "rate_limited_s",
        "throttled_s",
    ],
    "read": [
        "streams_selected",
        "samples_expected",
        "samples_validated",
        "queries",
        "retry_duplicates",
        "cpu_s",
    ],
}


def conforms(value: Any, schema: Any, place: str = "report") -> None:
    """Check that all keys of a schema are there, with values of its types."""
    if not isinstance(schema, dict):
        assert isinstance(value, schema), f"{place} is {value!r}"
        assert not isinstance(value, float) or math.isfinite(value), place
        return
    assert isinstance(value, dict), place
    assert schema.keys() <= value.keys(), f"{place} lacks {schema.keys() - value.keys()}"
    for key, part in schema.items():
        conforms(value[key], part, f"{place}.{key}")


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_the_report_has_the_documented_form_and_adds_up(
    tmp_path: Path, target: str, mode: str
) -> None:
    result = looker(tmp_path, mode, target, *SMALL, "--n-workers", "2", "--n-cycles", "2")
    assert result.code == 0, result.said
    report = result.report
    conforms(report, REPORT)
    assert report["schema_version"] == 1
    assert report["mode"] == mode
    assert (report["verdict"], report["exit_code"]) == ("passed", 0)
    assert report["target"]["embedded"] is False
    # the default name
    (path,) = result.reports
    assert path.name == f"{report['invocation_id']}.report.json"
    assert re.fullmatch(r"looker-[a-z0-9]{8}", report["invocation_id"])
    assert str(path.name) in result.stderr
    assert [cycle["cycle"] for cycle in report["cycles"]] == [0, 1]
    for cycle in report["cycles"]:
        conforms(cycle, CYCLE, "cycle")
        assert [worker["worker"] for worker in cycle["workers"]] == [0, 1]
        assert len({worker["pid"] for worker in cycle["workers"]}) == 2
        for worker in cycle["workers"]:
            conforms(worker, WORKER, "worker")
        _check_sums(cycle, cycle["workers"])
        write, read = cycle["write"], cycle["read"]
        assert write["samples_acked"] == read["samples_expected"] == 80
        per_sample = 100 if mode == "logs" else 16
        assert write["payload_bytes_acked"] == 80 * per_sample
        assert write["samples_per_s"] == pytest.approx(80 / write["duration_s"])
        times = [
            datetime.fromisoformat(phase[key])
            for phase in (write, read)
            for key in ("started_at", "finished_at")
        ]
        assert times == sorted(times)
        # merged from the first start to the last end
        for name in ("write", "read"):
            parts = [worker[name] for worker in cycle["workers"]]
            assert cycle[name]["started_at"] == min(part["started_at"] for part in parts)
            assert cycle[name]["finished_at"] == max(part["finished_at"] for part in parts)
    _check_sums(report["totals"], report["cycles"])


def _check_sums(whole: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    for phase, names in SUMS.items():
        for name in names:
            total = sum(part[phase][name] for part in parts)
            assert whole[phase][name] == pytest.approx(total), name
    for kind in MISMATCHES:
        assert whole["read"]["mismatches"][kind] == 0
    responses: dict[str, int] = defaultdict(int)
    for part in parts:
        for status, n in part["write"]["responses_by_status"].items():
            responses[status] += n
    assert whole["write"]["responses_by_status"] == responses


def test_the_report_goes_where_it_is_told(tmp_path: Path, target: str) -> None:
    path = tmp_path / "elsewhere" / "mine.json"
    path.parent.mkdir()
    path.write_text("what was there before", encoding="utf-8")
    result = looker(tmp_path, "logs", target, *SMALL, "--report", str(path))
    assert result.code == 0, result.said
    assert not result.reports
    assert json.loads(path.read_text(encoding="utf-8"))["verdict"] == "passed"
    # nothing temporary beside it
    assert list(path.parent.iterdir()) == [path]
    assert str(path) in result.stderr


# --- content -----------------------------------------------------------------------------------


@pytest.mark.prometheus
def test_the_same_seed_writes_the_same_content(tmp_path: Path, prometheus: Prometheus) -> None:
    values = {}
    for name, seed in ((new_id(), "7"), (new_id(), "7"), (new_id(), "8")):
        result = looker(
            tmp_path,
            *("metrics", prometheus.url, *SMALL, "--invocation-id", name, "--seed", seed),
        )
        assert result.code == 0, result.said
        assert result.report["invocation_id"] == name
        assert result.report["config"]["seed"] == int(seed)
        assert result.reports[0].name == f"{name}.report.json"
        values[name] = {
            series.removeprefix(name): stored.values
            for series, stored in prometheus.stored(name).items()
        }
    first, same, other = values.values()
    assert len(first) == 8
    assert all(len(series) == 10 for series in first.values())
    assert first == same
    assert first.keys() == other.keys()
    assert not {value for series in first.values() for value in series} & {
        value for series in other.values() for value in series
    }


def test_a_seed_of_chance_is_in_the_report_and_can_be_repeated(tmp_path: Path, target: str) -> None:
    first = looker(tmp_path, "logs", target, *SMALL)
    second = looker(tmp_path, "logs", target, *SMALL)
    seeds = {first.report["config"]["seed"], second.report["config"]["seed"]}
    assert len(seeds) == 2
    again = looker(tmp_path, "logs", target, *SMALL, "--seed", str(max(seeds)))
    assert again.report["config"]["seed"] == max(seeds)


# --- secrets -----------------------------------------------------------------------------------


def hidden(result_text: str, directory: Path) -> None:
    assert SECRET not in result_text
    for file in directory.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def test_the_password_of_a_url_is_used_and_never_shown(tmp_path: Path, target: str) -> None:
    url = target.replace("http://", f"http://anna:{SECRET}@")
    result = looker(tmp_path, "logs", url, *SMALL, "--log-level", "debug")
    assert result.code == 0, result.said
    hidden(result.said, tmp_path)
    assert result.report["target"]["url"].endswith(target.removeprefix("http://"))


def test_the_password_is_sent_with_every_request(tmp_path: Path, target: str) -> None:
    async def forward_it(_number: int, forward: Forward) -> Answer:
        return await forward()

    with Proxy(target, push=forward_it) as proxy:
        url = proxy.url.replace("http://", f"http://anna:{SECRET}@")
        result = looker(tmp_path, "logs", url, *SMALL)
        assert result.code == 0, result.said
        assert len(proxy.authorizations) == 1
        (authorization,) = proxy.authorizations
    assert authorization is not None
    assert authorization.startswith("Basic ")


@pytest.mark.parametrize("reply", [None, b"220 mail\r\n"])
def test_the_password_is_not_shown_when_the_target_fails(
    tmp_path: Path, reply: bytes | None
) -> None:
    with raw_server(reply) as url:
        result = looker(tmp_path, "logs", url.replace("http://", f"http://anna:{SECRET}@"))
    assert result.code == 3, result.said
    hidden(result.said, tmp_path)


def test_the_password_is_not_shown_when_the_url_is_wrong(tmp_path: Path) -> None:
    for url in (f"ftp://anna:{SECRET}@127.0.0.1", f"http://anna:{SECRET}@127.0.0.1/?a=b"):
        result = looker(tmp_path, "logs", url)
        assert result.code == 2, result.said
        hidden(result.said, tmp_path)


def test_the_password_is_not_shown_when_pushes_fail(tmp_path: Path, target: str) -> None:
    async def refuse(_number: int, _forward: Forward) -> Answer:
        return Answer(403, b"no")

    with Proxy(target, push=refuse) as proxy:
        url = proxy.url.replace("http://", f"http://anna:{SECRET}@")
        result = looker(tmp_path, "logs", url, *SMALL)
    assert result.code == 3, result.said
    hidden(result.said, tmp_path)


# --- what a run is asked to do -------------------------------------------------------------------


def test_reading_can_be_skipped(tmp_path: Path, target: str) -> None:
    async def never(_number: int, _forward: Forward) -> Answer:
        raise AssertionError("nothing is to be read")

    with Proxy(target, read=never) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, "--skip-read", "--n-cycles", "2")
        assert proxy.n_reads == 0
    assert result.code == 0, result.said
    assert (result.report["verdict"], result.report["exit_code"]) == ("not_checked", 0)
    for cycle in result.report["cycles"]:
        assert cycle["verdict"] == "not_checked"
        assert cycle["read"]["skipped"] is True
        assert cycle["read"]["samples_expected"] == 0
    assert "not_checked: nothing was read back, as you asked" in result.stdout


@pytest.mark.prometheus
@pytest.mark.parametrize("n_cycles", [1, 3])
def test_the_number_of_cycles_is_exact(
    tmp_path: Path, prometheus: Prometheus, n_cycles: int
) -> None:
    name = new_id()
    result = looker(
        tmp_path,
        *("metrics", prometheus.url, *SMALL, "--n-cycles", str(n_cycles), "--invocation-id", name),
    )
    assert result.code == 0, result.said
    assert [cycle["cycle"] for cycle in result.report["cycles"]] == list(range(n_cycles))
    stored = prometheus.stored(name)
    assert {len(series.values) for series in stored.values()} == {n_cycles * 2 * 5}
    assert result.stderr.count("write phase begins") == n_cycles


def test_a_tenant_is_sent_with_every_request(tmp_path: Path, target: str) -> None:
    with Proxy(target) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, "--tenant", "team-a")
        assert result.code == 0, result.said
        assert proxy.tenants == {"team-a"}


def test_log_level_error_leaves_standard_error_empty(tmp_path: Path, target: str) -> None:
    result = looker(tmp_path, "logs", target, *SMALL, "--log-level", "error")
    assert (result.code, result.stderr) == (0, "")
    assert "passed" in result.stdout


def test_output_without_a_terminal_has_no_control_characters(tmp_path: Path, target: str) -> None:
    result = looker(tmp_path, "logs", target, *SMALL)
    assert result.code == 0, result.said
    for text in (result.stdout, result.stderr):
        assert "\x1b" not in text
        assert "\r" not in text
