"""Fuzzes every decoder for a number of cases: ``python tests/fuzz/drive.py --cases 1000000``.

Each case is a function of (seed, surface, number), so that ``--only SURFACE --first N --cases 1``
plays one again. The findings are printed, and the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path[:0] = [str(Path(__file__).parents[1])]

from mutation import mutated  # noqa: E402 - needs the path
from surfaces import surfaces  # noqa: E402 - likewise

if TYPE_CHECKING:
    from surfaces import Surface

SLOWEST_CASE_S: Final = 5.0
MAX_GROWTH_BYTES: Final = 1 << 30
MAX_SHOWN: Final = 3


class TooSlowError(BaseException):
    """A case took so long that it may never end; no check may take it for an answer."""


def case(surface: Surface, seed: int, number: int) -> bytes:
    """Return the bytes of a case."""
    chance = random.Random(f"{seed} {surface.name} {number}")  # noqa: S311 - to be played again
    return mutated(chance.choice(surface.seeds), surface.seeds, chance)


def fuzz(surface: Surface, seed: int, first: int, n_cases: int) -> dict[str, Any]:
    """Run cases; return how many were taken, refused, and the findings by kind."""
    taken = 0
    slowest_s = 0.0
    findings: Counter[str] = Counter()
    shown: list[str] = []
    for number in range(first, first + n_cases):
        body = case(surface, seed, number)
        begun_s = time.perf_counter()
        try:
            signal.setitimer(signal.ITIMER_REAL, SLOWEST_CASE_S)
            try:
                taken += surface.check(body)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (Exception, TooSlowError) as error:  # noqa: BLE001 - whatever escapes is a finding
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            kind = f"{type(error).__name__} at {place}: {str(error)[:100]!r}"
            findings[kind] += 1
            if findings[kind] == 1 and len(shown) < MAX_SHOWN:
                shown.append(f"{surface.name} case {number}: {body[:3000]!r}")
                shown.append("".join(traceback.format_exception(error, limit=-6))[-3000:])
        slowest_s = max(slowest_s, time.perf_counter() - begun_s)
    return {
        "surface": surface.name,
        "n": n_cases,
        "taken": taken,
        "slowest_s": slowest_s,
        "findings": findings,
        "shown": shown,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


def _begin() -> None:
    """Bound what a case may take, in a process that does nothing else."""

    def too_slow(*_: object) -> None:
        raise TooSlowError(f"took longer than {SLOWEST_CASE_S} s")

    signal.signal(signal.SIGALRM, too_slow)
    globals()["_surfaces"] = {surface.name: surface for surface in surfaces()}
    status = Path("/proc/self/statm").read_text(encoding="ascii").split()
    limit = int(status[0]) * resource.getpagesize() + MAX_GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _share(job: tuple[str, int, int, int]) -> dict[str, Any]:
    name, seed, first, n_cases = job
    return fuzz(globals()["_surfaces"][name], seed, first, n_cases)


def main() -> int:
    """Fuzz, print a line for each surface, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", default="", help="surfaces with this in their name")
    options = parser.parse_args()
    chosen = [surface for surface in surfaces() if options.only in surface.name]
    weight = sum(surface.weight for surface in chosen)
    jobs = []
    for surface in chosen:
        n_cases = max(1, options.cases * surface.weight // weight)
        step = max(1, min(5000, n_cases))
        jobs += [
            (surface.name, options.seed, options.first + at, min(step, n_cases - at))
            for at in range(0, n_cases, step)
        ]
    begun_s = time.monotonic()
    found: dict[str, Counter[str]] = {surface.name: Counter() for surface in chosen}
    figures: dict[str, Counter[str]] = {surface.name: Counter() for surface in chosen}
    slowest_s, peak_bytes = 0.0, 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, _begin) as pool:
        for one in pool.imap_unordered(_share, jobs):
            figures[one["surface"]].update({"n": one["n"], "taken": one["taken"]})
            for kind in one["findings"].keys() - found[one["surface"]].keys():
                sys.stdout.write(f"FINDING in {one['surface']}: {kind}\n")
            if one["findings"].keys() - found[one["surface"]].keys():
                sys.stdout.write("\n".join(one["shown"]) + "\n")
                sys.stdout.flush()
            found[one["surface"]].update(one["findings"])
            slowest_s = max(slowest_s, one["slowest_s"])
            peak_bytes = max(peak_bytes, one["peak_bytes"])
    for name, counts in figures.items():
        n_findings = found[name].total()
        sys.stdout.write(
            f"{name:30} {counts['n']:>9,} cases, {counts['taken']:>9,} taken for something,"
            f" {n_findings} finding(s)\n"
        )
    total = sum(counts["n"] for counts in figures.values())
    n_findings = sum(one.total() for one in found.values())
    sys.stdout.write(
        f"{total:,} cases in {time.monotonic() - begun_s:.0f} s, the slowest {slowest_s:.2f} s,"
        f" at most {peak_bytes >> 20} MiB; {n_findings} finding(s)\n"
    )
    return 1 if n_findings else 0


if __name__ == "__main__":
    sys.exit(main())
