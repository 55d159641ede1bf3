"""How often ``looker compare`` shows a difference where there is none, from recorded runs.

A sweep of the same server under two names is what is compared. Which run of a pair is whose is then
chance, so each repetition takes some of the pairs, deals each pair's runs to the sides anew, and
compares.

    python benchmarks/false_alarms.py DIR --pairs 10 --repetitions 1000
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

from looker.analysis.comparison import Finding, compare
from looker.analysis.reports import Side
from looker.analysis.sides import Match, read_matches


def dealt(match: Match, n_pairs: int, chance: random.Random) -> Match:
    """Return some pairs in their order, each dealt to the sides at random."""
    runs = list(zip(match.baseline.reports, match.contender.reports, strict=True))
    chosen = [runs[at] for at in sorted(chance.sample(range(len(runs)), n_pairs))]
    pairs = [pair[::-1] if chance.random() < 0.5 else pair for pair in chosen]
    sides = [
        Side(name, reports) for name, reports in zip("ab", zip(*pairs, strict=True), strict=True)
    ]
    return Match(*sides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    (match,) = read_matches(given.sweep, []).matches
    chance = random.Random(given.seed)  # noqa: S311 - no secret is made of it
    alarms = 0
    shown: Counter[str] = Counter()
    for _ in range(given.repetitions):
        (contest,) = compare([dealt(match, given.pairs, chance)]).contests
        found = [one.path for one in contest.differences if one.finding is not Finding.NOTHING]
        alarms += bool(found)
        shown.update(found)
    n = given.repetitions
    print(f"{len(match.baseline.reports)} pairs recorded; {n} comparisons of {given.pairs} pairs:")
    n_figures = len(contest.differences)
    print(f"no difference in any of {n_figures} figures: {n - alarms} ({1 - alarms / n:.1%})")
    for path, count in shown.most_common():
        print(f"  {path}: shown {count} times")


if __name__ == "__main__":
    main()
