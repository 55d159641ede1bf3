"""Soak: runs with random parameters, with and without injected faults, for as long as is wanted.

    python benchmarks/soak.py --seconds 1800
    python benchmarks/soak.py --seconds 1800 --logs-url http://127.0.0.1:3100

Each run draws its parameters from the whole option space, and its target: the embedded one (as any
of the servers that it can be like, often with a fault) or a real one: that of a URL, for metrics
by default a Prometheus that lives as long as the soak; before many of them stands a proxy that lies
(``soak_liars.py``). A run is judged against what its target says it has injected, and against the
lies that were told: one that was not reported is *missed*, a report of something that was not
injected is a *false alarm*. Beside them one run goes on all the time, whose memory is watched. Both
counts must be 0 in the end; exit code 1 says they are not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers import Prometheus, Run, embedded_target, spawned
from soak_liars import Liar
from soak_parameters import Drawn, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from soak_liars import Lie

_RUN_LIMIT_S: Final = 180.0
_WATCH_S: Final = 5.0


@dataclass
class Tally:
    """What the soak has seen; all counts are of single runs but the first two."""

    samples_written: int = 0
    samples_verified: int = 0
    parameter_sets: int = 0
    with_faults: int = 0
    faults_injected: Counter[str] = field(default_factory=Counter)
    with_lies: int = 0
    lies_told: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)
    peak_rss_mb: list[float] = field(default_factory=list)


def injected_by(url: str) -> Counter[str]:
    """Return how often each kind of fault has struck at a target so far."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("looker_target_faults_injected_total{"):
            kind = line.partition('kind="')[2].partition('"')[0]
            found[kind] += int(float(line.rpartition(" ")[2]))
    return +found


def soak(
    seconds: float, seed: int, directory: Path, urls: dict[str, str]
) -> tuple[Tally, list[tuple[float, float]]]:
    """Return the tally, and the memory of the run that goes on: (s since its start, MB).

    ``urls`` are those of real servers, by mode.
    """
    rng = random.Random(seed)  # noqa: S311 - drawing parameters is no secret
    tally = Tally()
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        if "metrics" not in urls and (prometheus := stack.enter_context(_prometheus(directory))):
            urls = {**urls, "metrics": prometheus.url}
        memory = stack.enter_context(_steady(directory, urls.get("metrics"), tally))
        while time.monotonic() < end:
            drawn = draw(rng, urls)
            tally.parameter_sets += 1
            if drawn.like is None:
                _run_through(directory, drawn, urls[drawn.mode], tally, rng)
            else:
                with embedded_target(directory, *drawn.target_arguments) as url:
                    _run_through(directory, drawn, url, tally, rng)
            _show(tally, end)
    return tally, memory


def _run_through(directory: Path, drawn: Drawn, url: str, tally: Tally, rng: random.Random) -> None:
    """Run, through a proxy that lies where that is drawn."""
    if drawn.lie is None:
        _run(directory, drawn, url, tally)
        return
    liar = Liar(drawn.lie, rng)
    with liar.proxy(url) as proxy:
        _run(directory, drawn, proxy.url, tally, liar)


def _run(directory: Path, drawn: Drawn, url: str, tally: Tally, liar: Liar | None = None) -> None:
    with Run(directory, drawn.mode, url, *drawn.arguments) as run, _peak_of(run) as peak:
        try:
            result = run.result(_RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            tally.false_alarms.append(f"hung: {drawn}")
            return
    injected = injected_by(url) if drawn.fault else Counter[str]()
    tally.peak_rss_mb.append(peak[0] / 1e6)
    tally.verdicts[result.report.get("verdict", "none")] += 1
    for cycle in result.report.get("cycles", ()):
        tally.samples_written += cycle["write"]["samples_acked"]
        tally.samples_verified += (cycle["read"] or {}).get("samples_validated", 0)
    tally.faults_injected.update(injected)
    tally.with_faults += bool(injected)
    n_lies = 0 if liar is None else liar.n_struck
    if drawn.lie is not None and n_lies:
        tally.with_lies += 1
        tally.lies_told[drawn.lie.name] += n_lies
    if drawn.lie is not None and n_lies:
        wrong = _judged_lie(drawn.lie, _mismatches(result.report), result.code)
    else:
        wrong = judged(drawn, injected, result.code, result.report)
    for bucket, what in wrong:
        words = f"{what}; {drawn}; exit {result.code}; {result.stderr[-400:]!r}"
        (tally.missed if bucket == "missed" else tally.false_alarms).append(words)
        print(f"\n{bucket}: {words}", flush=True)
    shutil.rmtree(run.directory, ignore_errors=True)


def judged(
    drawn: Drawn, injected: Counter[str], code: int, report: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a report: (``missed`` or ``false alarm``, what)."""
    found = _mismatches(report)
    n_injected = injected[drawn.fault.kind] if drawn.fault else 0
    if not drawn.fault or not n_injected or drawn.fault.passes:
        if sum(found.values()):
            yield "false alarm", f"mismatches {dict(found)} though nothing was damaged"
        elif code != 0:
            yield "false alarm", f"{report.get('verdict')} where it should have passed"
        return
    kind = drawn.fault.found_as
    if kind is None:
        if code != drawn.fault.exit_code:
            yield "missed", f"exit code {drawn.fault.exit_code} was expected"
        if sum(found.values()) and not drawn.fault.may_mismatch:
            yield "false alarm", f"mismatches {dict(found)} though only answers were refused"
        return
    if code != 1 or not any(found[one] for one in (kind, *drawn.fault.or_as)):
        yield "missed", f"{n_injected} x {drawn.fault.kind} are not in {dict(found)}"
    elif drawn.fault.exact and drawn.single_cycle and found[kind] != n_injected:
        bucket = "missed" if found[kind] < n_injected else "false alarm"
        yield bucket, f"{n_injected} x {drawn.fault.kind}, but {dict(found)}"


def _mismatches(report: dict[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for cycle in report.get("cycles", ()):
        # a cycle whose write phase was ended has no read phase
        found.update((cycle["read"] or {}).get("mismatches", {}))
    return found


def _judged_lie(lie: Lie, found: Counter[str], code: int) -> Iterator[tuple[str, str]]:
    seen, is_found = +found, lie.codes == (1,)
    if is_found and (code != 1 or not seen):
        yield "missed", f"{lie.name}: it was told, and not found: {dict(seen)}"
    elif not is_found and code == 1:
        yield "false alarm", f"{lie.name}: mismatches {dict(seen)}"
    elif code not in lie.codes:
        yield "false alarm", f"{lie.name}: exit code {code}, where one of {lie.codes} was due"


@contextlib.contextmanager
def _prometheus(directory: Path) -> Iterator[Prometheus | None]:
    if shutil.which("prometheus") is None:
        print("prometheus is not on PATH: the embedded target only", flush=True)
        yield None
        return
    store = directory / "prometheus"
    store.mkdir()
    with Prometheus(store) as prometheus:
        yield prometheus


@contextlib.contextmanager
def _steady(
    directory: Path, real_url: str | None, tally: Tally
) -> Iterator[list[tuple[float, float]]]:
    """Run cycles without end, and watch the memory of coordinator and worker together."""
    memory: list[tuple[float, float]] = []
    over = threading.Event()
    arguments = (
        "metrics", "--n-cycles", "0", "--n-concurrent-streams", "1000",
        "--n-entries-per-stream-fragment", "10", "--n-fragments-per-push-message", "500",
        "--metrics-time-increment-ms", "100", "--min-lag-seconds", "5", "--max-lag-seconds", "60",
        "--stop-write-after-n-fragments-per-stream", "4", "--n-workers", "1",
    )  # fmt: skip
    url = (real_url,) if real_url is not None else ("--change-streams-every-n-cycles", "1")
    with Run(directory, *arguments, *url) as run:

        def watch() -> None:
            begun = time.monotonic()
            while not over.wait(_WATCH_S):
                sizes = [_rss(pid) for pid in (run.pid, *spawned(run.pid))]
                memory.append((time.monotonic() - begun, sum(sizes) / 1e6))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield memory
        finally:
            over.set()
            thread.join()
            run.send(signal.SIGINT)
            result = run.result(_RUN_LIMIT_S)
            cycles = result.report["totals"]
            tally.samples_written += cycles["write"]["samples_acked"]
            tally.samples_verified += cycles["read"]["samples_validated"]
            if sum(cycles["read"]["mismatches"].values()) or result.code != 130:
                tally.false_alarms.append(f"the run without end: {result.said[-2000:]}")


@contextlib.contextmanager
def _peak_of(run: Run) -> Iterator[list[int]]:
    """Watch the memory of a run: the largest sum of its processes, in bytes."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], sum(_rss(pid) for pid in (run.pid, *spawned(run.pid))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _rss(pid: int) -> int:
    with contextlib.suppress(OSError):
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _show(tally: Tally, end: float) -> None:
    left = max(0.0, end - time.monotonic())
    print(
        f"\r{left:5.0f} s left, {tally.parameter_sets} parameter sets,"
        f" {tally.samples_verified:,} samples verified,"
        f" {tally.faults_injected.total():,} faults in {tally.with_faults} runs,"
        f" {tally.lies_told.total():,} lies in {tally.with_lies} runs,"
        f" {len(tally.missed)} missed, {len(tally.false_alarms)} false alarms",
        end="",
        flush=True,
    )


def growth(memory: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median memory (MB) of the second and of the last quarter of a soak."""
    quarter = len(memory) // 4
    sizes = [size for _, size in memory]
    if not quarter:
        return 0.0, 0.0
    return statistics.median(sizes[quarter : 2 * quarter]), statistics.median(sizes[-quarter:])


def main() -> int:
    """Soak, and print what came of it, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=None, help="default: random")
    for mode, of in (("logs", "a Loki"), ("metrics", "a Prometheus, Cortex or Mimir")):
        parser.add_argument(f"--{mode}-url", help=f"of {of} that takes what it is sent")
    given = parser.parse_args()
    urls = {"logs": given.logs_url, "metrics": given.metrics_url}
    urls = {mode: url for mode, url in urls.items() if url is not None}
    seed = random.randrange(2**32) if given.seed is None else given.seed  # noqa: S311 - as above
    with tempfile.TemporaryDirectory(prefix="looker-soak-") as directory:
        tally, memory = soak(given.seconds, seed, Path(directory), urls)
    early, late = growth(memory)
    figures = {
        "seed": seed,
        "seconds": given.seconds,
        "samples_written": tally.samples_written,
        "samples_verified": tally.samples_verified,
        "parameter_sets": tally.parameter_sets,
        "runs_with_faults": tally.with_faults,
        "faults_injected": dict(sorted(tally.faults_injected.items())),
        "n_faults_injected": tally.faults_injected.total(),
        "runs_with_lies": tally.with_lies,
        "lies_told": dict(sorted(tally.lies_told.items())),
        "n_lies_told": tally.lies_told.total(),
        "verdicts": dict(tally.verdicts),
        "missed": tally.missed,
        "false_alarms": tally.false_alarms,
        "steady_rss_mb_second_quarter": round(early, 1),
        "steady_rss_mb_last_quarter": round(late, 1),
        "largest_run_rss_mb": round(max(tally.peak_rss_mb, default=0.0), 1),
    }
    print("\n" + json.dumps(figures, indent=2))
    return 1 if tally.missed or tally.false_alarms else 0


if __name__ == "__main__":
    sys.exit(main())
