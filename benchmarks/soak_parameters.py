"""What a soak draws: the parameters of a run, its target, and the fault that this injects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from soak_liars import LIES

if TYPE_CHECKING:
    import random
    from collections.abc import Container

    from soak_liars import Lie

_MAX_SAMPLES: Final = 300_000
_MAX_LINE_BYTES: Final = 30_000_000
_MAX_WIDTH_S: Final = 60.0


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and what must be reported of it (docs/verification.md)."""

    kind: str
    parameters: str
    found_as: str | None = None
    or_as: tuple[str, ...] = ()
    """What else it may be found as: where answers to the repeats of a query differ."""
    exact: bool = False
    exit_code: int = 0
    logs_only: bool = False
    may_mismatch: bool = False

    @property
    def passes(self) -> bool:
        return self.found_as is None and self.exit_code == 0


_RARELY: Final = "rate=0.001"
_SOMETIMES: Final = "rate=0.05"
FAULTS: Final = (
    Fault("drop-entry", _RARELY, "missing", exact=True),
    Fault("drop-fragment", _SOMETIMES, "missing"),
    Fault("duplicate-entry", _RARELY, "duplicate", exact=True),
    Fault("duplicate-fragment", _SOMETIMES, "duplicate"),
    Fault("corrupt-byte", _RARELY, "corrupt", exact=True),
    Fault("truncate-line", _RARELY, "corrupt", exact=True, logs_only=True),
    Fault("shift-timestamp", _RARELY, "missing"),
    Fault("foreign-entry", _RARELY, "unexpected"),
    Fault("swap-entries", "every=50", "out_of_order"),
    Fault("wrong-label", "every=7", "wrong_labels"),
    Fault("merge-streams", "every=11", "missing", or_as=("transient", "inconsistent")),
    Fault("split-streams", _SOMETIMES),
    Fault("http-429", _SOMETIMES),
    Fault("http-500", _SOMETIMES),
    Fault("http-503", _SOMETIMES + ":on=both"),
    Fault("retry-after", "every=20:seconds=0.2"),
    Fault("slow", _SOMETIMES + ":seconds=0.1:on=both"),
    Fault("reset-before-store", _SOMETIMES),
    Fault("reset-after-store", _SOMETIMES),
    Fault("store-then-500", _SOMETIMES),
    Fault("ack-without-store", _SOMETIMES, "missing"),
    Fault("truncated-json", _SOMETIMES, exit_code=3, may_mismatch=True),
    Fault("wrong-content-type", _SOMETIMES, exit_code=3, may_mismatch=True),
)
_LIKE: Final = {
    "logs": ("looker", "loki-default", "loki-raised"),
    "metrics": ("looker", "prometheus", "cortex-default", "cortex"),
}
_SLOW: Final = ("loki-default", "cortex-default")
"""Those that limit the rate: what is written to them is kept small."""


@dataclass(frozen=True)
class Drawn:
    """One run: mode, arguments, and its target; ``like`` None is a real server.

    A target has a ``fault``, or a proxy before it tells a ``lie``, or neither.
    """

    mode: str
    arguments: tuple[str, ...]
    like: str | None
    target_arguments: tuple[str, ...]
    fault: Fault | None
    lie: Lie | None

    @property
    def single_cycle(self) -> bool:
        """Whether each sample is read once: kept streams' earlier ones may be read again."""
        return self.arguments[self.arguments.index("--n-cycles") + 1] == "1"

    def __str__(self) -> str:
        against = "a real server" if self.like is None else " ".join(self.target_arguments)
        lie = "" if self.lie is None else f" through a proxy that lies: {self.lie.name}"
        return f"looker {self.mode} {' '.join(self.arguments)} against {against}{lie}"


def draw(rng: random.Random, real_modes: Container[str]) -> Drawn:
    """Draw a run of some seconds; half of those of ``real_modes`` are for a real server."""
    mode = rng.choice(("logs", "metrics"))
    real = mode in real_modes and rng.random() < 0.5
    like = None if real else rng.choice(_LIKE[mode])
    fault = None
    if like is not None and rng.random() < 0.5:
        fault = rng.choice([one for one in FAULTS if mode == "logs" or not one.logs_only])
    target: tuple[str, ...] = ()
    if like is not None:
        target = ("--like", like)
        if fault is not None:
            words = f"{fault.kind}:{fault.parameters}"
            target += ("--fault", words, "--fault-seed", str(rng.randrange(1000)))
    verify, lie, grace_s = "content", None, 30.0
    if fault is None:
        verify = rng.choice(("content", "content", "content", "checksum", "count"))
        if rng.random() < 0.7:
            lie = rng.choice([one for one in LIES if one.is_for(like, verify)])
            grace_s = lie.grace_s
    elif fault.found_as:
        grace_s = 0.2
    arguments = _arguments(rng, mode, like)
    arguments += ["--verify", verify, "--read-grace-seconds", str(grace_s)]
    if fault is None and lie is None and rng.random() < 0.2:
        n_streams = int(arguments[arguments.index("--n-concurrent-streams") + 1])
        arguments += ["--read-n-streams-only", str(rng.randint(1, n_streams))]
    return Drawn(mode, tuple(arguments), like, target, fault, lie)


def _arguments(rng: random.Random, mode: str, like: str | None) -> list[str]:
    budget = _MAX_SAMPLES // (10 if like in _SLOW else 1)
    n_workers = rng.choice((1, 2))
    n_cycles = rng.choice((1, 1, 2, 3))
    n_fragments = rng.randint(1, 5)
    # Loki as it comes takes 5,000 streams, of all generations together
    most_streams = 5000 // n_cycles if like == "loki-default" else 3000
    n_streams = max(n_workers, _log_uniform(rng, 1, min(3000, most_streams)))
    n_chars = _log_uniform(rng, 20, 3000)
    if mode == "logs":
        budget = min(budget, _MAX_LINE_BYTES // (10 if like in _SLOW else 1) // n_chars)
    most = max(1, budget // (n_cycles * n_fragments * n_streams))
    n_samples = _log_uniform(rng, 1, min(3000, most))
    per_message = min(n_streams, _log_uniform(rng, 1, max(1, min(500, 20_000 // n_samples))))
    arguments = [
        "--n-concurrent-streams", str(n_streams),
        "--n-entries-per-stream-fragment", str(n_samples),
        "--n-fragments-per-push-message", str(per_message),
        "--stop-write-after-n-fragments-per-stream", str(n_fragments),
        "--n-cycles", str(n_cycles),
        "--change-streams-every-n-cycles", str(rng.choice((0, 0, 1, 2))),
        "--n-workers", str(n_workers),
        "--compressability", rng.choice(("min", "medium", "max")),
        "--seed", str(rng.randrange(2**53)),
        "--retry-post-min-delay-seconds", "0.05",
        "--retry-post-max-delay-seconds", "1",
        "--retry-post-deadline-seconds", "60",
    ]  # fmt: skip
    # what all fragments of a stream cover in time must fit into the lag, or it waits for wall time
    widest_s = _MAX_WIDTH_S / (n_samples * n_fragments * n_cycles)
    if mode == "logs":
        step_ns = _log_uniform(rng, 1, max(1, int(widest_s * 1e9)))
        arguments += ["--log-time-increment-ns", str(step_ns), "--n-chars-per-msg", str(n_chars)]
        if rng.random() < 0.2 and n_samples * n_streams < 100_000:
            arguments.append("--no-include-time-in-msg")
    else:
        step_ms = _log_uniform(rng, 1, max(1, int(widest_s * 1e3)))
        arguments += ["--metrics-time-increment-ms", str(step_ms)]
        arguments += ["--read-api", rng.choice(("auto", "remote-read", "query"))]
    if rng.random() < 0.3:
        arguments.append("--no-align-phases")
    if rng.random() < 0.3:
        arguments += ["--label", "zone", rng.choice(("eu", 'a "quoted" one', "b\\c", "naïve"))]
    return arguments


def _log_uniform(rng: random.Random, low: int, high: int) -> int:
    """Draw from ``[low, high]``, each order of magnitude as likely as the others."""
    return min(high, max(low, round(math.exp(rng.uniform(math.log(low), math.log(high + 0.49))))))
