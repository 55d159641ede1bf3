"""Finding out what a target is, and whether it can serve a run, before anything is written.

All of it takes a handful of small requests. What stands in the way is said in one line.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.backend.probe import DATE_RESOLUTION_S, Probe
from looker.errors import TargetError, UsageError
from looker.model.config import Mode, ReadApi
from looker.model.secrecy import keep_authorization
from looker.model.url import keep_secrets_of, userpass, without_userinfo
from looker.model.words import one_line
from looker.wire.prometheus import read_request
from looker.wire.snappy import compress

if TYPE_CHECKING:
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
        "grpc_server_max_recv_msg_size",
        "grpc_server_max_send_msg_size",
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
    ),
}
_LIMITS[Product.MIMIR] = _LIMITS[Product.CORTEX]


@dataclass(frozen=True, slots=True)
class _Found:
    """A product at its paths."""

    product: Product
    push_path: str
    query_path: str
    read_path: str | None
    build: dict[str, Any]


def discover(
    config: RunConfig, url: str, *, embedded: bool = False, read_only: bool = False
) -> Target:
    """Return what is at ``url``; TargetError, in one line, where it cannot serve the run.

    Where nothing is to be written (``read_only``) it need not take writes, nor have the same time.
    """
    base, authorization = credentials(config, url)
    with Probe(config, base, authorization) as probe:
        return _discover(config, probe, base, authorization, embedded=embedded, read_only=read_only)


def credentials(config: RunConfig, url: str) -> tuple[str, str | None]:
    """Return the URL without user and password, and the value of the Authorization header."""
    keep_secrets_of(url)
    base = without_userinfo(url).rstrip("/")
    pair = userpass(url)
    authorization = None
    if config.bearer_token_file is not None:
        if pair is not None:
            raise UsageError("--bearer-token-file", "contradicts the user name in the URL")
        try:
            token = config.bearer_token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            file = config.bearer_token_file
            raise UsageError("--bearer-token-file", f"cannot read a token from {file}") from error
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise UsageError("--bearer-token-file", "holds no token, or more than one word")
        authorization = f"Bearer {token}"
    elif pair is not None:
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    keep_authorization(authorization)
    return base, authorization


def _discover(
    config: RunConfig,
    probe: Probe,
    base: str,
    authorization: str | None,
    *,
    embedded: bool,
    read_only: bool,
) -> Target:
    found = _find_loki(probe) if config.mode is Mode.LOGS else _find_metrics(probe)
    _check_ready(probe, found.product)
    if not read_only:
        _check_skew(config, probe)
    limits = _limits(probe, found.product)
    if not read_only and limits.get("web.enable-remote-write-receiver") == "false":
        raise TargetError(
            f"{base} takes no remote write: start Prometheus with"
            " --web.enable-remote-write-receiver"
        )
    read_api, read_path, query_path = ReadApi.AUTO, found.read_path, found.query_path
    if config.mode is Mode.METRICS:
        read_api, read_path, query_path = _read_side(config, probe, found)
    elif config.query_path is not None:
        query_path = config.query_path
    build = found.build
    if not build.get("version"):
        build = {
            **_build_from_metrics(probe, found.product),
            **{k: v for k, v in build.items() if v},
        }
    return Target(
        url=base,
        product=found.product,
        push_path=config.push_path or found.push_path,
        query_path=query_path,
        read_path=read_path,
        read_api=read_api,
        version=_word(build, "version"),
        revision=_word(build, "revision"),
        tenant=config.tenant,
        authorization=authorization,
        embedded=embedded,
        clock_skew_s=None if probe.skew_s is None else round(probe.skew_s, 1),
        limits=limits,
        external_labels=_external_labels(probe, found.product),
    )


def _find_loki(probe: Probe) -> _Found:
    answer = probe.get("/loki/api/v1/status/buildinfo")
    build = answer.json() if answer.status_code == 200 else {}
    if answer.status_code == 200 and "version" not in build:
        raise TargetError(
            f"{probe.base} does not answer as Loki does: {answer.said} for"
            " /loki/api/v1/status/buildinfo"
        )
    if answer.status_code in (200, 404):
        # wants a tenant where pushes do; and answers where an old Loki has no build information,
        # or a gateway forwards the data paths only
        second = probe.get("/loki/api/v1/labels")
        if answer.status_code == second.status_code == 404:
            raise TargetError(
                f"{probe.base} does not answer as Loki does: 404 for /loki/api/v1/labels"
                " (a metrics server? then: looker metrics URL)"
            )
    else:
        raise _not_ready(probe, answer)
    return _Found(Product.LOKI, "/loki/api/v1/push", "/loki/api/v1/query_range", None, build)


def _find_metrics(probe: Probe) -> _Found:
    answer = probe.get("/api/v1/status/buildinfo")
    if answer.status_code == 200:
        build = answer.data()
        if "mimir" in str(build.get("application", "")).lower():
            return _cortex(Product.MIMIR, build)
        if build:
            return _Found(
                Product.PROMETHEUS, "/api/v1/write", "/api/v1/query", "/api/v1/read", build
            )
    second = probe.get("/prometheus/api/v1/query", query="1")
    if second.status_code == 404:
        raise TargetError(
            f"{probe.base} answers neither as Prometheus nor as Cortex does: {answer.status_code}"
            " for /api/v1/status/buildinfo, 404 for /prometheus/api/v1/query"
            " (Loki? then: looker logs URL)"
        )
    if second.status_code != 200:
        raise _not_ready(probe, second)
    if not second.data():
        raise TargetError(
            f"{probe.base} answers neither as Prometheus nor as Cortex does: {second.said} for"
            " /prometheus/api/v1/query"
        )
    return _cortex(Product.CORTEX, {})


def _cortex(product: Product, build: dict[str, Any]) -> _Found:
    prefix = "/prometheus/api/v1"
    return _Found(product, "/api/v1/push", f"{prefix}/query", f"{prefix}/read", build)


def _read_side(config: RunConfig, probe: Probe, found: _Found) -> tuple[ReadApi, str | None, str]:
    """Return by which interface metrics are read back, and its paths."""
    wanted, path = config.read_api, config.query_path
    if wanted is ReadApi.QUERY:
        return ReadApi.QUERY, found.read_path, path or found.query_path
    read_path = path or found.read_path
    if read_path is not None and _has_remote_read(probe, read_path):
        return ReadApi.REMOTE_READ, read_path, found.query_path
    if wanted is ReadApi.REMOTE_READ:
        raise TargetError(f"{probe.base} has no remote read at {read_path}: use --read-api query")
    return ReadApi.QUERY, None, path or found.query_path


def _has_remote_read(probe: Probe, path: str) -> bool:
    nothing = read_request(0, 1, [("looker_group", "=", "none")])
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Read-Version": "0.1.0",
    }
    answer = probe.post(path, bytes(compress(nothing)), headers)
    kind = answer.headers.get("Content-Type", "")
    return answer.status_code == 200 and kind.startswith("application/x-protobuf")


def _check_ready(probe: Probe, product: Product) -> None:
    path = "/-/ready" if product is Product.PROMETHEUS else "/ready"
    answer = probe.get(path)
    if answer.status_code == 503:
        raise _not_ready(probe, answer)


def _not_ready(probe: Probe, answer: Reply) -> TargetError:
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


def _build_from_metrics(probe: Probe, product: Product) -> dict[str, Any]:
    """Return version and revision of ``*_build_info``: Cortex has no other place for them."""
    answer = probe.told("/metrics")
    if answer is None:
        return {}
    name = "cortex" if product is Product.MIMIR else product.value
    line = re.search(rf"^{name}_build_info\{{(.*)\}}", answer.text, re.MULTILINE)
    if line is None:
        return {}
    return dict(re.findall(r'(version|revision)="([^"]*)"', line.group(1)))


def _word(build: dict[str, Any], name: str) -> str | None:
    """Return what build information says under a name; None where that is no word."""
    value = build.get(name)
    return one_line(value, _MAX_TOLD_CHARS) or None if isinstance(value, str) else None
