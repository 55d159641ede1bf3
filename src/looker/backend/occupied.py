"""Noticing, before anything is written, that streams of a run's name are on the target already.

Two runs of one invocation id write to the same streams: what the one wrote is unexpected to the
other.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from looker.backend.probe import Probe
from looker.errors import TargetError, UsageError
from looker.model.config import NS_PER_S
from looker.model.labels import GROUP, UNIQUENAME
from looker.model.query import RangeQuery
from looker.model.url import redacted
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.backend.api import Target
    from looker.model.config import RunConfig

LOG = logging.getLogger(__name__)

_MAX_NAME_CHARS: Final = 200
_LEAST_LOOK_BACK_S: Final = 3600.0
"""For so long Loki takes entries behind a stream's newest one, and Prometheus samples."""
_AHEAD_S: Final = 600.0
"""Further ahead of their clocks servers take nothing."""


def refuse_if_occupied(config: RunConfig, target: Target, now_ns: int) -> None:
    """Raise UsageError where the target has samples of this invocation id.

    One question, for the first group of any generation: every run has it, and it holds at most a
    thousand streams. Where the target does not answer it, that is logged, and the run goes on.
    """
    since_ns, until_ns = _range_ns(config, now_ns)
    # only the dot means something
    name = config.invocation_id.replace(".", "[.]")
    matcher = (GROUP, "=~", f"{name}-[0-9]+-g0+")
    query = RangeQuery(matcher, since_ns, until_ns, 1)
    try:
        found = _first_stream(config, target, query)
    except (TargetError, LookupError, TypeError, AttributeError) as error:
        LOG.warning(
            "it was not found out whether %s has data of %s already: %s",
            redacted(target.url),
            config.invocation_id,
            error or type(error).__name__,
        )
        return
    if found is not None:
        raise UsageError(
            "--invocation-id",
            f"{redacted(target.url)} has data of {config.invocation_id} already (stream {found}):"
            " give another id, or none, or --force",
        )


def _range_ns(config: RunConfig, now_ns: int) -> tuple[int, int]:
    """Return the time range in which samples of both runs could meet."""
    if config.start_time_ns is not None:
        begin_ns = config.start_time_ns
        return begin_ns, begin_ns + max(config.width_ns, int(_LEAST_LOOK_BACK_S * NS_PER_S))
    width_s = config.width_ns / NS_PER_S
    look_back_s = max(_LEAST_LOOK_BACK_S, config.max_lag_s + width_s)
    return now_ns - int(look_back_s * NS_PER_S), now_ns + int(_AHEAD_S * NS_PER_S)


def _first_stream(config: RunConfig, target: Target, query: RangeQuery) -> str | None:
    """Return the unique name of a stream in the answer; None where there is none."""
    is_loki = target.is_logs
    if is_loki:
        path = target.query_path
        parameters: dict[str, Any] = {
            "query": query.selector(target.matchers),
            "start": query.start_ns,
            "end": query.end_ns,
            "limit": query.limit,
        }
    else:
        path = re.sub("/[^/]*$", "/series", target.query_path)
        parameters = {
            "match[]": query.selector(target.matchers),
            "start": query.start_ns // NS_PER_S,
            "end": query.end_ns // NS_PER_S,
            "limit": query.limit,
        }
    data = ask(config, target, path, parameters)
    elements = [one["stream"] for one in data["result"]] if is_loki else data
    if not elements:
        return None
    return one_line(str(elements[0].get(UNIQUENAME, elements[0])), _MAX_NAME_CHARS)


def ask(config: RunConfig, target: Target, path: str, parameters: Mapping[str, Any]) -> Any:
    """Return ``data`` of a successful JSON answer; TargetError says why there is none.

    LookupError where the answer has no data.
    """
    with Probe(config, target.url, target.headers().get("Authorization")) as probe:
        answer = probe.get(path, **parameters)
        if answer.status_code != 200:
            raise TargetError(f"{redacted(target.url)} answers {answer.said} for {path}")
    return answer.json()["data"]
