"""Whether runs may be compared: what of host, mode and options differs between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from looker.analysis.reports import Report, Side

FREE: Final = frozenset(
    {
        # names and places of a run
        "seed",
        "invocation_id",
        "id_is_given",
        "report",
        "log_level",
        "http_server_port",
        # where the target is, which is what is compared
        "url",
        "tenant",
        "push_path",
        "query_path",
        "bearer_token_file",
        "ca_file",
        "insecure_skip_verify",
        # what the target is asked of itself beside the load
        "target_metrics_url",
        "target_metrics",
        "target_metrics_every_s",
        # what is made of a result
        "force",
        "fail_if",
        "max_examples",
    }
)
"""Settings that may differ: they change nothing of the load."""
WHETHER: Final = frozenset({"ledger", "start_time_ns"})
"""Settings of which only counts whether they were given."""
_MAX_NAMED: Final = 6
_MAX_CHARS: Final = 80
_ABSENT: Final = "absent"


def unlike(sides: Sequence[Side]) -> list[str]:
    """Return a line for each setting in which the runs differ, with its values by side."""
    found = [[dict(_settings(report)) for report in side.reports] for side in sides]
    names = dict.fromkeys(name for runs in found for run in runs for name in run)
    lines = []
    for name in names:
        by_side = [dict.fromkeys(run.get(name, _ABSENT) for run in runs) for runs in found]
        if len({value for values in by_side for value in values}) > 1:
            said = (
                f"{' and '.join(values)} in {side.name}"
                for values, side in zip(by_side, sides, strict=True)
            )
            lines.append(f"{name} is {', '.join(said)}")
    return lines


def named(lines: Sequence[str], max_named: int = _MAX_NAMED) -> str:
    """Return the lines as one, not too long."""
    more = len(lines) - max_named
    return "; ".join(lines[:max_named]) + (f"; and {more} more" if more > 0 else "")


def _settings(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the names and values, as JSON, of what must be the same."""
    plain = report.plain
    yield "mode", _value(plain["mode"])
    if plain["mode"] == "verify":
        yield "ledger.mode", _value(_of_ledger(plain))
    yield "looker_version", _value(plain["looker_version"])
    yield from _leaves("environment", plain["environment"])
    config = {key: value for key, value in plain["config"].items() if key not in FREE}
    for key in WHETHER & config.keys():
        config[key] = "given" if config[key] is not None else None
    yield from _leaves("config", config)


def _of_ledger(plain: Mapping[str, Any]) -> object:
    ledger = plain.get("ledger")
    return ledger.get("mode") if isinstance(ledger, dict) else None


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name, _value(value)
        return
    for key in sorted(value):
        yield from _leaves(f"{name}.{key}", value[key])


def _value(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 1]}…"
