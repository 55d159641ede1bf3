"""How the CPU cost of a sample grows with the shape of the load, as Markdown tables.

    python benchmarks/growth.py [--mode logs|metrics] [--rounds N] [--quick]

The rows of a table take turns, round by round, so that drift of the machine meets all alike; a
figure is the median of its rounds. Costs are CPU nanoseconds per sample of one process, of each
stage; what is to be looked at is the last column, relative to the table's first row.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import uvloop

from load import CLOCK, config, markdown, targets
from looker.engine.calibration import calibrate, worker_counts
from looker.model.calibration import WRITE_STAGES, Stage, StageWork
from looker.model.config import Mode
from looker.observe.environment import environment, usable_cores

if TYPE_CHECKING:
    from load import Load, Targets

ROUNDS: Final = 31
QUICK_ROUNDS: Final = 2
_LEAST_SAMPLES: Final = 10_000
"""A round of fewer samples is repeated: it would be too short to be measured."""
_WORKERS_S: Final = 40.0


@dataclass(frozen=True)
class Growth:
    """One table: what grows, through which values, and what stays as it is."""

    title: str
    field: str
    values: tuple[int, ...]
    fixed: dict[str, int]
    modes: tuple[Mode, ...] = (Mode.LOGS, Mode.METRICS)
    per_char: bool = False


TABLES: Final = (
    Growth(
        "streams; 1 fragment of 1,000 {unit} per message",
        "n_streams",
        (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000),
        {},
    ),
    Growth(
        "characters per line; 1 fragment of 100 {unit} per message",
        "n_chars_per_line",
        (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
        {"n_samples_per_fragment": 100},
        modes=(Mode.LOGS,),
        per_char=True,
    ),
    Growth(
        "{unit} per fragment; 10 fragments per message",
        "n_samples_per_fragment",
        (1, 5, 10, 100, 1_000, 10_000),
        {"n_fragments_per_message": 10},
    ),
    Growth(
        "fragments per message; 10 {unit} per fragment",
        "n_fragments_per_message",
        (1, 10, 100, 1_000),
        {"n_samples_per_fragment": 10, "n_streams": 10_000},
    ),
)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mode", type=Mode, choices=list(Mode), help="default: both")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="few rounds and rows: that it runs")
    given = parser.parse_args(words)
    modes = list(Mode) if given.mode is None else [given.mode]
    rounds = QUICK_ROUNDS if given.quick else max(1, given.rounds)
    uvloop.run(_tables(modes, rounds, quick=given.quick))
    for mode in modes:
        print(_workers(mode, 1.0 if given.quick else _WORKERS_S), flush=True)


async def _tables(modes: list[Mode], rounds: int, *, quick: bool) -> None:
    async with targets() as both:
        for mode in modes:
            for growth in TABLES:
                if mode in growth.modes:
                    values = growth.values[:2] if quick else growth.values
                    least = 1 if quick else _LEAST_SAMPLES
                    print(await _table(both, growth, mode, values, rounds, least), flush=True)


async def _table(
    both: Targets, growth: Growth, mode: Mode, values: tuple[int, ...], rounds: int, least: int
) -> str:
    loads = [
        await both.load(config(mode, **{**growth.fixed, growth.field: value})) for value in values
    ]
    costs: list[list[dict[Stage, float]]] = [[] for _ in loads]
    for _ in range(rounds):
        for load, found in zip(loads, costs, strict=True):
            found.append(await _costs(load, least))
    rows, first = [], 0.0
    for value, found in zip(values, costs, strict=True):
        medians = {stage: statistics.median(one[stage] for one in found) for stage in Stage}
        whole = statistics.median(sum(one.values()) for one in found)
        first = first or whole
        row = [f"{value:,}", *(f"{medians[stage]:,.0f}" for stage in Stage), f"{whole:,.0f}"]
        if growth.per_char:
            row.append(f"{whole / value / (first / values[0]):.3g}")
        rows.append([*row, f"{whole / first:.3g}"])
    heads = ["", *(f"{stage.value}, ns" for stage in Stage), "together, ns"]
    heads += ["per character, ratio"] * growth.per_char
    unit = "entries" if mode is Mode.LOGS else "samples"
    title = f"{mode.value}: {growth.title.format(unit=unit)}"
    return markdown(title, [*heads, "per sample, ratio"], rows)


async def _costs(load: Load, least: int) -> dict[Stage, float]:
    """Return the CPU ns per sample of each stage, of a round of at least so many samples."""
    work = dict.fromkeys(Stage, StageWork())
    while min(part.n_samples for part in work.values()) < least:
        for stage, part in (await load.round()).items():
            work[stage] = work[stage].plus(part)
    return {stage: part.cpu_ns_per_sample for stage, part in work.items()}


def _workers(mode: Mode, seconds: float) -> str:
    """Measure real write phases by 1 to N workers."""
    counts = worker_counts(usable_cores())
    configs = [config(mode, n_streams=1000, n_workers=n) for n in counts]
    found = calibrate([configs], seconds, environment=dict(environment()), clock=CLOCK)
    rows: list[list[str]] = []
    measured = found.loads[0].measured
    for one in measured:
        cost = one.write.cpu_s * 1e9 / one.write.samples_acked
        alone = sum(one.work[stage].cpu_ns_per_sample for stage in WRITE_STAGES)
        rows.append(
            [
                f"{one.n_workers:,}",
                f"{alone:,.0f}",
                f"{cost:,.0f}",
                f"{one.write.samples_per_s:,.0f}",
                f"{one.write.samples_per_s / measured[0].write.samples_per_s:.2f}",
            ]
        )
    heads = ["", "stages of writing, ns", "written, ns", "written, samples/s", "samples/s, ratio"]
    return markdown(f"{mode.value}: workers; 1,000 streams, 1,000 per message", heads, rows)


if __name__ == "__main__":
    main()
