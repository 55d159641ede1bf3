"""What one push and one validated answer cost, against another checkout of Looker.

    python benchmarks/against_checkout.py CHECKOUT [--rounds N]

Both checkouts work in processes of their own, in turn, round by round, so that drift of the machine
meets both alike; the ratio is the median of the rounds' ratios of CPU time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import IO, Any, Final, Self, cast

_HERE: Final = Path(__file__).parent.parent
_LOADS: Final = {
    "logs: 1,000 entries of 100 characters": ("logs", 100, 1000, 1, 100),
    "logs: 8,500 entries of 100 characters": ("logs", 100, 8500, 1, 100),
    "logs: 100 streams of 10 entries of 100 characters": ("logs", 1000, 10, 100, 100),
    "logs: 100 entries of 5,000 characters": ("logs", 100, 100, 1, 5000),
    "metrics: 1,000 samples of a series": ("metrics", 100, 1000, 1, 100),
    "metrics: 5,000 series of 5 samples": ("metrics", 50_000, 5, 5000, 100),
}
_S_PER_ROUND: Final = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--rounds", type=int, default=101)
    given = parser.parse_args()
    print("| load | what | this, ms | other, ms | ratio |\n| --- | --- | ---: | ---: | ---: |")
    for title, load in _LOADS.items():
        with ExitStack() as stack:
            sides = [stack.enter_context(_Side(path, load)) for path in (_HERE, given.checkout)]
            for what in ("push", "validate"):
                for side in sides:
                    side.cpu_s(what)
                pairs = [[side.cpu_s(what) for side in sides] for _ in range(given.rounds)]
                ratio = statistics.median(one / other for one, other in pairs)
                mine, theirs = (statistics.median(costs) for costs in zip(*pairs, strict=True))
                print(
                    f"| {title} | {what} | {1e3 * mine:.3f} | {1e3 * theirs:.3f} | {ratio:.3f} |",
                    flush=True,
                )


class _Side:
    """A process that works with one checkout."""

    def __init__(self, checkout: Path, load: tuple[Any, ...]) -> None:
        folders = (checkout / name for name in ("src", "benchmarks", "tests"))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", *map(str, load)],
            env={**os.environ, "PYTHONPATH": ":".join(map(str, folders))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def cpu_s(self, what: str) -> float:
        """Return the CPU time of doing something once, on average of a short while."""
        asked, answer = (
            cast("IO[str]", end) for end in (self._process.stdin, self._process.stdout)
        )
        print(what, file=asked, flush=True)
        return float(answer.readline())


async def work(mode: str, *shape: str) -> None:
    """Do what is asked on standard input, with the checkout that is on the path."""
    from load import config, targets  # noqa: PLC0415 - of that checkout
    from looker.engine.read_phase import comparison  # noqa: PLC0415
    from looker.model.config import Mode  # noqa: PLC0415
    from stages import _pages  # noqa: PLC0415

    n_streams, n_samples, n_fragments, n_chars = map(int, shape)
    one = config(
        Mode(mode),
        n_streams=n_streams,
        n_samples_per_fragment=n_samples,
        n_fragments_per_message=n_fragments,
        n_chars_per_line=n_chars,
    )
    async with targets() as both:
        load = await both.load(one)
        pages = _pages(load)
        compare: Any = comparison(load.config, load.target, load.recorded._content)
        # whether to parse in full, where the checkout asks for it
        asked = (False,) * (len(signature(compare).parameters) - 2)

        async def push() -> int:
            encoded, rows = load.stages.generate()
            bodies = load.stages.compress(encoded)
            await load.stages.push(load.client, encoded, rows, bodies)
            return len(bodies)

        async def validate() -> int:
            for body, page in pages:
                assert compare(body, page, *asked).findings.n_mismatches == 0
            return len(pages)

        for line in sys.stdin:
            n_done, begun_s, spent_s = 0, time.process_time(), 0.0
            while spent_s < _S_PER_ROUND:
                n_done += await (push() if line == "push\n" else validate())
                spent_s = time.process_time() - begun_s
            print(spent_s / n_done, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        import uvloop

        uvloop.run(work(*sys.argv[2:]))
    else:
        main()
