"""How the embedded target is to behave."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from looker.errors import UsageError
from looker.target.faults import Fault, parse_faults
from looker.target.limits import (
    LIKES,
    PRESETS,
    Like,
    Limits,
    Product,
    limits_of,
    product_of,
    seconds_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Boundary = Literal["closed", "open"]
Oversized = Literal["hang", "reset", "500"]
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TIMES = {
    "oversized_answer_hang_s": "--oversized-answer-hang",
    "query_timeout_s": "--query-timeout",
}


@dataclass(frozen=True)
class TargetConfig:
    """Settings of the embedded target.

    ``port`` 0 takes a free one. ``mode`` "null" acknowledges and discards. ``like`` names the
    server whose paths, texts and limits are served; "looker" serves all paths, without limits.
    ``limits`` replaces the limits that ``like`` brings. ``range_boundary`` says whether a range
    selector includes its oldest instant ("closed", as Prometheus 2) or not ("open", as
    Prometheus 3 and Cortex); the lookback of 5 minutes follows it; None is as ``like`` does.
    ``external_labels`` are added by remote read. ``require_tenant`` refuses requests without
    X-Scope-OrgID. ``oversized_answer`` says what becomes of a log query's answer above
    ``max_grpc_message_mb``: "hang" for so many seconds and then close, "reset", or "500".
    ``query_timeout_s`` is how much CPU time a request may take, 0 any.
    ``faults`` are injected, those with a ``rate`` by a generator that ``fault_seed`` begins.
    Raises UsageError for a setting that cannot work.
    """

    host: str = "127.0.0.1"
    port: int = 0
    mode: Literal["memory", "null"] = "memory"
    max_memory_mb: int = 1024
    like: Like = "looker"
    limits: Limits | None = None
    range_boundary: Boundary | None = None
    external_labels: tuple[tuple[str, str], ...] = ()
    require_tenant: bool = False
    oversized_answer: Oversized = "hang"
    oversized_answer_hang_s: float = 60.0
    query_timeout_s: float = 10.0
    faults: tuple[Fault, ...] = ()
    fault_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.port <= 65535:
            raise UsageError("--port", f"{self.port} is not within 0 and 65535")
        if self.mode not in {"memory", "null"}:
            raise UsageError("--mode", f"{self.mode!r} is neither memory nor null")
        if self.max_memory_mb < 1:
            raise UsageError("--max-memory-mb", f"{self.max_memory_mb} is below 1")
        self._check_likeness()
        for name, option in _TIMES.items():
            if not 0 <= getattr(self, name) <= 86_400:
                raise UsageError(option, "the time must be within 0 seconds and a day")
        names = [name for name, _ in self.external_labels]
        if len(set(names)) < len(names):
            raise UsageError("--external-label", "a name is given twice")
        if names and self.product not in {"looker", "prometheus"}:
            raise UsageError("--external-label", f"--like {self.like} adds none")
        self._check_faults()

    def _check_likeness(self) -> None:
        if self.like not in LIKES:
            raise UsageError("--like", f"{self.like!r} is none of {', '.join(LIKES)}")
        if self.range_boundary not in {None, "closed", "open"}:
            raise UsageError("--range-boundary", f"{self.range_boundary!r} is not closed or open")
        if self.oversized_answer not in {"hang", "reset", "500"}:
            raise UsageError(
                "--oversized-answer", f"{self.oversized_answer!r} is none of hang, reset, 500"
            )

    def _check_faults(self) -> None:
        if self.fault_seed < 0:
            raise UsageError("--fault-seed", f"{self.fault_seed} is below 0")
        for fault in self.faults:
            if self.mode == "null" and fault.needs_store:
                raise UsageError(
                    "--fault", f"{fault.kind} has no meaning with --mode null, which stores nothing"
                )

    @property
    def product(self) -> Product:
        """Whose paths and rules are served."""
        return product_of(self.like)

    @property
    def applied(self) -> Limits:
        """The limits in force."""
        return PRESETS[self.like] if self.limits is None else self.limits

    @property
    def boundary(self) -> Boundary:
        """The range boundary in force."""
        if self.range_boundary is not None:
            return self.range_boundary
        return "open" if self.product == "cortex" else "closed"


def config_of(settings: Mapping[str, Any]) -> TargetConfig:
    """Make a configuration of the command line's values; a limit that is None is ``like``'s.

    ``external_label`` is a list of NAME=VALUE, ``fault`` one of faults; times may be durations.
    Raises UsageError.
    """
    limit_names = {one.name for one in fields(Limits)}
    plain = {name: value for name, value in settings.items() if name not in limit_names}
    plain["external_labels"] = _labels(plain.pop("external_label", None) or ())
    plain["faults"] = parse_faults(plain.pop("fault", None) or ())
    for name, option in _TIMES.items():
        given = plain.get(name)
        if isinstance(given, str):
            plain[name] = seconds_of(option, given)
    config = TargetConfig(**plain)
    changes = {name: value for name, value in settings.items() if name in limit_names}
    return TargetConfig(**plain, limits=limits_of(config.like, changes))


def _labels(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value or _NAME.fullmatch(name) is None:
            raise UsageError("--external-label", f"{text!r} is not of the form NAME=VALUE")
        pairs.append((name, value))
    return tuple(sorted(pairs))
