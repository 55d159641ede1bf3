"""Finding out what a target is, and whether it can serve a run, before anything is written.

All of it takes a handful of small requests. What stands in the way is said in one line.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from looker.backend.api import Target
from looker.backend.credentials import credentials
from looker.backend.label_names import check_label_names
from looker.backend.outcomes import Product
from looker.backend.probe import DATE_RESOLUTION_S, Probe
from looker.errors import TargetError
from looker.model.config import NS_PER_S, Mode, ReadApi
from looker.model.labels import GROUP
from looker.model.matchers import selector
from looker.model.words import one_line
from looker.wire.prometheus import read_request
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from looker.backend.probe import Reply
    from looker.model.config import RunConfig

_MAX_TOLD_CHARS: Final = 200
"""Longer than any version, revision or limit is."""
_LIMITS: Final = {
    Product.LOKI: (
        "ingestion_rate_mb",
        "ingestion_burst_size_mb",
        "per_stream_rate_limit",
        "per_stream_rate_limit_burst",
        "max_line_size",
        "max_label_names_per_series",
        "max_global_streams_per_user",
        "max_entries_limit_per_query",
        "max_query_length",
        "discover_log_levels",
        "grpc_server_max_recv_msg_size",
        "grpc_server_max_send_msg_size",
        "reject_old_samples",
        "reject_old_samples_max_age",
    ),
    Product.CORTEX: (
        "ingestion_rate",
        "ingestion_burst_size",
        "max_series_per_user",
        "max_series_per_metric",
        "max_label_names_per_series",
        "out_of_order_time_window",
    ),
    Product.PROMETHEUS: (
        "storage.remote.read-sample-limit",
        "query.max-samples",
        "web.enable-remote-write-receiver",
        "storage.tsdb.min-block-duration",
    ),
}
_LIMITS[Product.MIMIR] = _LIMITS[Product.CORTEX]


@dataclass(frozen=True, slots=True)
class _Found:
    """A product at its paths, and what it tells of itself; ``named`` is its name on /metrics."""

    product: Product
    push_path: str
    query_path: str
    read_path: str | None
    build: dict[str, Any]
    named: str | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    """What a run wants of a target: only that is asked for."""

    writes: bool
    reads: bool


def discover(
    config: RunConfig, url: str, *, embedded: bool = False, read_only: bool = False
) -> Target:
    """Return what is at ``url``; TargetError, in one line, where it cannot serve the run.

    Where nothing is to be written (``read_only``) it need not take writes, nor have the same time;
    where nothing is to be read, it need not answer queries. A gateway may forward no more than the
    paths for that: what is not told is not known.
    """
    base, authorization = credentials(config, url)
    use = _Use(writes=not read_only, reads=read_only or config.asks_queries)
    with Probe(config, base, authorization) as probe:
        return _discover(config, probe, base, authorization, embedded=embedded, use=use)


def _discover(
    config: RunConfig,
    probe: Probe,
    base: str,
    authorization: str | None,
    *,
    embedded: bool,
    use: _Use,
) -> Target:
    is_logs = config.mode is Mode.LOGS
    found = _find_loki(config, probe, use) if is_logs else _find_metrics(config, probe, use)
    _check_ready(probe, found)
    if use.writes:
        _check_skew(config, probe)
    limits = _limits(probe, found.product)
    if use.writes and limits.get("web.enable-remote-write-receiver") == "false":
        raise TargetError(
            f"{base} takes no remote write: start Prometheus with"
            " --web.enable-remote-write-receiver"
        )
    found = _with_version(probe, found)
    product = found.product if embedded else _product(found, limits)
    read_api, read_path, query_path = ReadApi.AUTO, found.read_path, found.query_path
    if not is_logs:
        read_api, read_path, query_path = _read_side(config, probe, found, use)
    elif config.query_path is not None:
        query_path = config.query_path
    target = Target(
        url=base,
        product=product,
        push_path=config.push_path or found.push_path,
        query_path=query_path,
        read_path=read_path,
        read_api=read_api,
        version=_word(found.build, "version"),
        revision=_word(found.build, "revision"),
        tenant=config.tenant,
        authorization=authorization,
        embedded=embedded,
        clock_skew_s=None if probe.skew_s is None else round(probe.skew_s, 1),
        limits=limits,
        external_labels=_external_labels(probe, product),
        token_file=config.bearer_token_file,
        matchers=config.query_matchers,
    )
    if use.writes:
        check_label_names(config, target)
    return target


# --- logs ---------------------------------------------------------------------------------------

_NO_GROUP: Final = (GROUP, "=", "none")
_LOKI_BUILD: Final = "/loki/api/v1/status/buildinfo"
_LOKI_LABELS: Final = "/loki/api/v1/labels"


def _find_loki(config: RunConfig, probe: Probe, use: _Use) -> _Found:
    found = _Found(Product.LOKI, "/loki/api/v1/push", "/loki/api/v1/query_range", None, {})
    answer = probe.ask(_LOKI_BUILD)
    build = answer.json() if answer.status_code == 200 else {}
    # wants a tenant where queries do; and answers where an old Loki has no build information
    second = probe.ask(_LOKI_LABELS)
    if "version" in build:
        if use.reads:
            probe.check(second)
        return replace(found, build=build)
    if _are_labels(second):
        # a gateway may forward the data paths only, and show a page of its own for the others
        return found
    if use.reads:
        return _loki_by_its_query(config, probe, found, (answer, second))
    return _by_its_push(config, probe, (found,), (answer, second))


def _loki_by_its_query(
    config: RunConfig, probe: Probe, found: _Found, before: tuple[Reply, ...]
) -> _Found:
    """Return what answers queries, where it tells nothing else; TargetError where none does."""
    path = config.query_path or found.query_path
    now_ns = time.time_ns()
    nothing = selector((_NO_GROUP, *config.query_matchers))
    third = probe.ask(path, query=nothing, start=now_ns - NS_PER_S, end=now_ns)
    # what refuses this very query has understood it
    streams = _is_success(third) and third.data().get("resultType") == "streams"
    if streams or (third.status_code == 400 and not _is_page(third)):
        return found
    answers = (*before, third)
    _raise_denial(probe, answers)
    junk = next((one for one in answers if one.status_code == 200), None)
    if junk is not None:
        raise TargetError(
            f"{probe.base} does not answer as Loki does: {junk.said} for {probe.path_of(junk)}"
        )
    if all(one.status_code == 404 for one in answers):
        raise TargetError(
            f"{probe.base} does not answer as Loki does: 404 for {_LOKI_LABELS} and {path}"
            " (a metrics server? then: looker metrics URL; another path? then: --query-path)"
        )
    raise _not_ready(probe, answers)


# --- metrics ------------------------------------------------------------------------------------

_PROMETHEUS_BUILD: Final = "/api/v1/status/buildinfo"
_AT_PROMETHEUS: Final = _Found(
    Product.PROMETHEUS, "/api/v1/write", "/api/v1/query", "/api/v1/read", {}
)
_AT_CORTEX: Final = _Found(
    Product.CORTEX, "/api/v1/push", "/prometheus/api/v1/query", "/prometheus/api/v1/read", {}
)


def _find_metrics(config: RunConfig, probe: Probe, use: _Use) -> _Found:
    answer = probe.ask(_PROMETHEUS_BUILD)
    build = answer.data() if answer.status_code == 200 else {}
    if "mimir" in str(build.get("application", "")).lower():
        return replace(_AT_CORTEX, product=Product.MIMIR, build=build)
    if build:
        return replace(_AT_PROMETHEUS, build=build)
    answers = [answer]
    for found in (_AT_CORTEX, replace(_AT_PROMETHEUS, product=Product.UNKNOWN)):
        answers.append(probe.ask(found.query_path, query="1"))
        if _is_success(answers[-1]) and answers[-1].data():
            return found
    if not use.reads:
        return _by_its_push(config, probe, (_AT_CORTEX, _AT_PROMETHEUS), tuple(answers))
    for found in (_AT_CORTEX, replace(_AT_PROMETHEUS, product=Product.UNKNOWN)):
        if _has_remote_read(probe, config.query_path or str(found.read_path)):
            return found
    _raise_denial(probe, answers)
    if all(one.status_code == 404 for one in answers):
        raise TargetError(
            f"{probe.base} answers neither as Prometheus nor as Cortex does: 404 for"
            f" {_PROMETHEUS_BUILD}, {_AT_CORTEX.query_path} and {_AT_PROMETHEUS.query_path}"
            " (Loki? then: looker logs URL; another path? then: --query-path)"
        )
    junk = next((one for one in answers[1:] if one.status_code == 200), None)
    if junk is not None:
        raise TargetError(
            f"{probe.base} answers neither as Prometheus nor as Cortex does: {junk.said} for"
            f" {probe.path_of(junk)}"
        )
    raise _not_ready(probe, answers)


# --- both ---------------------------------------------------------------------------------------


_VICTORIA: Final = "vm"
_BUILD_METRIC: Final = re.compile(
    r"^(loki|cortex|prometheus|mimir|vm)_(?:build_info|app_version)\{(.*)\}", re.MULTILINE
)


def _by_its_push(
    config: RunConfig, probe: Probe, candidates: tuple[_Found, ...], answers: tuple[Reply, ...]
) -> _Found:
    """Return what takes pushes, as far as that can be told without one; nothing is to be read.

    A path for pushes answers GET with 405, or as its gateway does; one that is not there with 404.
    """
    if config.push_path is not None:
        return replace(candidates[0], product=Product.UNKNOWN)
    asked = [(one, probe.ask(one.push_path)) for one in candidates]
    for statuses in ((405,), None):
        there = [
            one
            for one, reply in asked
            if (reply.status_code != 404 if statuses is None else reply.status_code in statuses)
        ]
        if len(there) == 1:
            return replace(there[0], product=Product.UNKNOWN)
    _raise_denial(probe, answers)
    paths = " and ".join(one.push_path for one in candidates)
    if all(reply.status_code == 404 for _, reply in asked):
        other = "looker logs URL" if len(candidates) > 1 else "looker metrics URL"
        raise TargetError(
            f"{probe.base} takes no pushes: 404 for {paths} (another kind of server? then: {other};"
            " another path? then: --push-path)"
        )
    raise TargetError(f"{probe.base} does not tell which of {paths} takes pushes: give --push-path")


def _raise_denial(probe: Probe, answers: Iterable[Reply]) -> None:
    """Raise the reason that most likely holds for all, where access is refused or redirected."""
    for answer in reversed([*answers]):
        probe.check(answer)


def _is_success(answer: Reply) -> bool:
    return answer.status_code == 200 and answer.json().get("status") == "success"


def _are_labels(answer: Reply) -> bool:
    # Loki leaves an empty list out
    names = answer.json().get("data", [])
    return (
        _is_success(answer)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
    )


def _is_page(answer: Reply) -> bool:
    """Tell whether an answer is one for a browser: a gateway's own."""
    return answer.content.lstrip()[:1] == b"<"


def _with_version(probe: Probe, found: _Found) -> _Found:
    """Return what is found with what its metrics page tells, where that is wanted.

    Cortex has no other place for its version; VictoriaMetrics tells Prometheus' in the usual one.
    """
    build = found.build
    if build.get("version") and (found.product is not Product.PROMETHEUS or _is_full(build)):
        return found
    answer = probe.told("/metrics")
    told = None if answer is None else _BUILD_METRIC.search(answer.text)
    if told is None:
        return found
    here = dict(re.findall(r'(?<![a-z_])(version|revision)="([^"]*)"', told[2]))
    if told[1] == _VICTORIA:
        return replace(found, build=here, named=told[1])
    known = {name: value for name, value in build.items() if value}
    return replace(found, build={**here, **known}, named=told[1])


def _is_full(build: Mapping[str, Any]) -> bool:
    """Tell whether build information is Prometheus' own.

    Others tell less, and Thanos as much, of versions that begin with 0.
    """
    told = build.keys() >= {"version", "revision", "branch", "goVersion"}
    return told and not str(build["version"]).startswith("0.")


def _product(found: _Found, limits: Mapping[str, str]) -> Product:
    """Return the product as far as it is known: what answers like one may be another."""
    if found.named == _VICTORIA:
        return Product.VICTORIAMETRICS
    known = bool(limits) or found.named == found.product
    match found.product:
        case Product.LOKI:
            known = known or "version" in found.build
        case Product.MIMIR:
            known = True
        case Product.PROMETHEUS:
            known = known or _is_full(found.build)
    return found.product if known else Product.UNKNOWN


def _read_side(
    config: RunConfig, probe: Probe, found: _Found, use: _Use
) -> tuple[ReadApi, str | None, str]:
    """Return by which interface metrics are read back, and its paths."""
    wanted, path = config.read_api, config.query_path
    if wanted is ReadApi.QUERY or not use.reads:
        return ReadApi.QUERY, found.read_path, path or found.query_path
    read_path = path or found.read_path
    if read_path is not None and _has_remote_read(probe, read_path):
        return ReadApi.REMOTE_READ, read_path, found.query_path
    if wanted is ReadApi.REMOTE_READ:
        raise TargetError(f"{probe.base} has no remote read at {read_path}: use --read-api query")
    return ReadApi.QUERY, None, path or found.query_path


def _has_remote_read(probe: Probe, path: str) -> bool:
    nothing = read_request(0, 1, [_NO_GROUP])
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Read-Version": "0.1.0",
    }
    answer = probe.post(path, bytes(compress(nothing)), headers)
    kind = answer.headers.get("Content-Type", "")
    return answer.status_code == 200 and kind.startswith("application/x-protobuf")


def _check_ready(probe: Probe, found: _Found) -> None:
    path = "/-/ready" if found.push_path == _AT_PROMETHEUS.push_path else "/ready"
    answer = probe.ask(path)
    # a gateway that does not forward this path may have a page of its own
    if answer.status_code == 503 and not _is_page(answer):
        raise _not_ready(probe, [answer])


def _not_ready(probe: Probe, answers: Sequence[Reply]) -> TargetError:
    """Return why nothing is known: the words of the last answer that is no 404."""
    answer = next((one for one in reversed(answers) if one.status_code != 404), answers[-1])
    said = one_line(answer.content, 200)
    return TargetError(f"{probe.base} is not ready: {answer.status_code} {said}".rstrip())


def _check_skew(config: RunConfig, probe: Probe) -> None:
    if probe.skew_s is None or config.start_time_ns is not None:
        return
    if abs(probe.skew_s) > max(config.min_lag_s, 1.0) + DATE_RESOLUTION_S:
        direction = "behind" if probe.skew_s < 0 else "ahead of"
        raise TargetError(
            f"the clock of {probe.base} is {abs(probe.skew_s):.0f} s {direction} this host's: set"
            " the clocks, or --min-lag-seconds above that"
        )


def _limits(probe: Probe, product: Product) -> dict[str, str]:
    """Return what the target tells of its limits; nothing where it tells nothing."""
    if product not in _LIMITS:
        return {}
    path = "/api/v1/status/flags" if product is Product.PROMETHEUS else "/config"
    answer = probe.told(path)
    if answer is None:
        return {}
    if product is Product.PROMETHEUS:
        flags = answer.data()
        return {
            name: one_line(str(flags[name]), _MAX_TOLD_CHARS)
            for name in _LIMITS[product]
            if name in flags
        }
    limits = {}
    text = answer.text
    for name in _LIMITS[product]:
        # the first of a name stands in the global part; overrides come later
        line = re.search(
            rf"^[ \t]*{re.escape(name)}:[ \t]*([^\s]{{1,{_MAX_TOLD_CHARS}}})[ \t\r]*$",
            text,
            re.MULTILINE,
        )
        if line is not None:
            limits[name] = one_line(line.group(1), _MAX_TOLD_CHARS)
    return limits


def _external_labels(probe: Probe, product: Product) -> tuple[tuple[str, str], ...]:
    """Return the external labels that Prometheus' own configuration tells of."""
    if product is not Product.PROMETHEUS:
        return ()
    answer = probe.told("/api/v1/status/config")
    if answer is None:
        return ()
    text = str(answer.data().get("yaml", ""))
    block = re.search(r"^  external_labels:\n((?:    .+\n)+)", text, re.MULTILINE)
    if block is None:
        return ()
    labels = []
    for line in block.group(1).splitlines():
        name, _, value = line.strip().partition(":")
        if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            labels.append((name, value.strip().strip("'\"")))
    return tuple(labels)


def _word(build: dict[str, Any], name: str) -> str | None:
    """Return what build information says under a name; None where that is no word."""
    value = build.get(name)
    return one_line(value, _MAX_TOLD_CHARS) or None if isinstance(value, str) else None
