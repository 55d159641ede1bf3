"""What one push and one validated answer are made of, as Markdown tables.

    python benchmarks/stages.py [--mode logs|metrics] [--rounds N] [--n-samples N] [--n-chars N]

The real functions run under cProfile (by CPU time), which counts numpy's operators to the function
that holds them. Own times are summed up by module, those of libraries go to the modules that call
them; the shares are then laid on the CPU time that the same work takes without the profiler.
Sending is measured without it, against a target that discards.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

import looker
from load import config, markdown, targets
from looker.engine.read_phase import ReadPhase, answer_bytes, comparison
from looker.model.calibration import Stage
from looker.model.config import Mode
from looker.model.query import RangeQuery
from looker.verify.parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from load import Load

ROUNDS: Final = 100
_LEAST_SHARE: Final = 0.005
_CLOCKS: Final = ("<built-in method time.process_time>", "<built-in method time.monotonic>")
_PACKAGE: Final = str(Path(looker.__file__).parent)
_NAMES: Final = {
    "generate/population.py": "pick streams",
    "generate/mixer.py": "hashes",
    "generate/content.py": "sample numbers, timestamps",
    "generate/lines.py": "text of the lines",
    "generate/values.py": "values",
    "generate/logs.py": "fill entries",
    "generate/metrics.py": "fill samples",
    "generate/encoder.py": "blocks and messages",
    "wire/loki.py": "heads and timestamps",
    "wire/prometheus.py": "heads and timestamps",
    "wire/columns.py": "digits, varints, labels",
    "wire/records.py": "scatter and gather",
    "wire/checksum.py": "checksum",
    "wire/snappy.py": "snappy",
    "verify/ledger.py": "ledger",
    "verify/log_answer.py": "predict and compare",
    "verify/metric_answer.py": "predict and compare",
    "verify/expectation.py": "what is expected",
    "verify/proof.py": "proof",
    "wire/loki_answer.py": "form of the answer",
}
"""A module that is not here goes by its own name."""

Function = tuple[str, int, str]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mode", type=Mode, choices=list(Mode), help="default: both")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--n-samples", type=int, default=1000, help="samples in a push")
    parser.add_argument("--n-chars", type=int, default=100, help="characters of a line")
    given = parser.parse_args(words)
    for mode in list(Mode) if given.mode is None else [given.mode]:
        print(uvloop.run(_tables(mode, max(1, given.rounds), given.n_samples, given.n_chars)))


async def _tables(mode: Mode, rounds: int, n_samples: int, n_chars: int) -> str:
    load_config = config(mode, n_samples_per_fragment=n_samples, n_chars_per_line=n_chars)
    async with targets() as both:
        load = await both.load(load_config)
        return f"{await _push_table(load, rounds)}\n{_answer_table(load, rounds)}"


async def _push_table(load: Load, rounds: int) -> str:
    """Write batches; profile all but the sending."""
    profile, stages = cProfile.Profile(time.thread_time), load.stages
    for profiled in (True, False):
        stages.take_work()
        for _ in range(rounds):
            if profiled:
                profile.enable()
            encoded, rows = stages.generate()
            bodies = stages.compress(encoded)
            profile.disable()
            await stages.push(load.client, encoded, rows, bodies)
    work = stages.take_work()
    n_pushes = work[Stage.PUSH].n_samples / load.config.n_samples_per_fragment
    made_s = work[Stage.GENERATE].cpu_s + work[Stage.COMPRESS].cpu_s
    costs = _laid_on(_by_module(profile), made_s)
    costs["send, and take the answer"] = work[Stage.PUSH].cpu_s
    n_samples, unit = load.config.n_samples_per_fragment, _unit(load)
    return _table(f"{load.config.mode.value}: one push of {n_samples:,} {unit}", costs, n_pushes)


def _answer_table(load: Load, rounds: int) -> str:
    """Compare recorded answers; profile all of it."""
    pages = _pages(load)
    compare = comparison(load.config, load.target, load.recorded._content)

    def validate() -> None:
        for body, page in pages:
            proof = compare(body, page, False)  # noqa: FBT003 - not parsed in full
            assert proof.findings.n_validated == page.expectation.n_samples

    validate()
    profile = cProfile.Profile(time.thread_time)
    for _ in range(rounds):
        profile.runcall(validate)
    begun_s = time.process_time()
    for _ in range(rounds):
        validate()
    costs = _laid_on(_by_module(profile), time.process_time() - begun_s)
    n_samples = sum(page.expectation.n_samples for _, page in pages) / len(pages)
    title = f"{load.config.mode.value}: one validated answer of {n_samples:,.0f} {_unit(load)}"
    return _table(title, costs, rounds * len(pages))


def _pages(load: Load) -> list[tuple[bytes, Any]]:
    """Return what was recorded: the answers, and the pages that say what is expected of them."""
    recorded = load.recorded
    phase = ReadPhase(
        config=load.config,
        target=load.target,
        client=recorded._client,
        content=recorded._content,
        parts=(),
        cycle=0,
        n_readers=1,
        clock=recorded._clock,
        stop=_Never(),  # type: ignore[arg-type]
    )
    part = Part(*recorded._streams, recorded._ledger.rows_of(*recorded._streams))
    answers = recorded._client._answers  # type: ignore[attr-defined]
    limits = phase._limits
    longest = answer_bytes(load.config, recorded._content, load.target, limits)

    def asked(page: Any) -> RangeQuery:
        matcher, start_ns, end_ns = page.selection.matcher, page.start_ns, page.end_ns
        return RangeQuery(
            matcher, start_ns, end_ns, limits.max_answer, max_answer_bytes=longest(page)
        )

    return [(answers[asked(page)], page) for page in phase._pages(part)]


class _Never:
    """An event that nobody waits for."""

    def is_set(self) -> bool:
        return False


def _by_module(profile: cProfile.Profile) -> Counter[str]:
    """Return own times by module; a library's time is its caller's."""
    stats: Mapping[Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    shares: dict[Function, dict[str, float]] = {}

    def owners(function: Function, seen: frozenset[Function]) -> dict[str, float]:
        """Return which modules a function's own time belongs to, as shares."""
        if function[0].startswith(_PACKAGE):
            return {function[0][len(_PACKAGE) + 1 :]: 1.0}
        if function in shares:
            return shares[function]
        callers = {
            caller: figures
            for caller, figures in stats[function][4].items()
            if caller in stats and caller not in seen
        }
        # by own time below each caller, or by calls where it has none
        at = 2 if any(figures[2] for figures in callers.values()) else 1
        whole = sum(figures[at] for figures in callers.values())
        found: Counter[str] = Counter()
        for caller, figures in callers.items():
            for module, share in owners(caller, seen | {function}).items():
                found[module] += share * figures[at] / whole
        result = dict(found) or {"other": 1.0}
        shares[function] = result
        return result

    times: Counter[str] = Counter()
    for function, (_, _, own_s, _, _) in stats.items():
        if function[2] in _CLOCKS:
            continue
        for module, share in owners(function, frozenset()).items():
            times[_NAMES.get(module, module)] += share * own_s
    return times


def _laid_on(times: Counter[str], whole_s: float) -> Counter[str]:
    """Return the same shares of another whole."""
    total = sum(times.values())
    return Counter({name: whole_s * part / total for name, part in times.items()})


def _table(title: str, costs: Counter[str], n: float) -> str:
    whole = sum(costs.values())
    shown = [(name, cost) for name, cost in costs.most_common() if cost >= _LEAST_SHARE * whole]
    shown.append(("all else", whole - sum(cost for _, cost in shown)))
    rows = [[name, f"{1e6 * cost / n:,.1f}", f"{100 * cost / whole:.1f} %"] for name, cost in shown]
    rows.append(["**together**", f"**{1e6 * whole / n:,.1f}**", "**100 %**"])
    return markdown(title, ["stage", "CPU µs", "share"], rows)


def _unit(load: Load) -> str:
    return "entries" if load.config.mode is Mode.LOGS else "samples"


if __name__ == "__main__":
    main()
