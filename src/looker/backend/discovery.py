"""Finding out what a target is, before anything is sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.errors import TargetError
from looker.model.config import Mode, ReadApi
from looker.wire.prometheus import read_request
from looker.wire.snappy import compress

if TYPE_CHECKING:
    from looker.model.config import RunConfig

_TIMEOUT_S: Final = 5.0


def discover(config: RunConfig, url: str, *, embedded: bool = False) -> Target:
    """Return what is at ``url``; TargetError, in one line, where it cannot serve the run."""
    base = url.rstrip("/")
    headers = {} if config.tenant is None else {"X-Scope-OrgID": config.tenant}
    with httpx.Client(
        headers=headers, timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False
    ) as client:
        try:
            if config.mode is Mode.LOGS:
                return _loki(client, base, config, embedded=embedded)
            return _metrics(client, base, config, embedded=embedded)
        except (httpx.TransportError, httpx.InvalidURL, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise TargetError(f"cannot reach {base}: {reason}") from error


def _loki(client: httpx.Client, base: str, config: RunConfig, *, embedded: bool) -> Target:
    answer = client.get(f"{base}/loki/api/v1/status/buildinfo")
    _check_access(answer, base)
    build = _json(answer) if answer.status_code == 200 else {}
    if answer.status_code != 200:
        # an old Loki, or one behind a gateway that forwards the data paths only
        probe = client.get(f"{base}/loki/api/v1/labels")
        _check_access(probe, base)
        if probe.status_code != 200:
            raise TargetError(
                f"{base} does not answer as Loki does: {probe.status_code} for"
                " /loki/api/v1/labels (is it a metrics server? then: looker metrics URL)"
            )
    return Target(
        url=base,
        product=Product.LOKI,
        push_path="/loki/api/v1/push",
        query_path="/loki/api/v1/query_range",
        read_path=None,
        read_api=ReadApi.AUTO,
        version=build.get("version") or None,
        revision=build.get("revision") or None,
        tenant=config.tenant,
        embedded=embedded,
    )


def _metrics(client: httpx.Client, base: str, config: RunConfig, *, embedded: bool) -> Target:
    answer = client.get(f"{base}/api/v1/status/buildinfo")
    _check_access(answer, base)
    build = _json(answer).get("data", {}) if answer.status_code == 200 else {}
    if build:
        product, push_path, prefix = Product.PROMETHEUS, "/api/v1/write", ""
    else:
        product, push_path, prefix = Product.CORTEX, "/api/v1/push", "/prometheus"
        probe = client.get(f"{base}{prefix}/api/v1/query", params={"query": "1"})
        _check_access(probe, base)
        if probe.status_code != 200:
            raise TargetError(
                f"{base} answers neither as Prometheus nor as Cortex does:"
                f" {answer.status_code} for /api/v1/status/buildinfo, {probe.status_code} for"
                " /prometheus/api/v1/query (is it Loki? then: looker logs URL)"
            )
    read_path = f"{prefix}/api/v1/read"
    has_read = _has_remote_read(client, base + read_path)
    if config.read_api is ReadApi.REMOTE_READ and not has_read:
        raise TargetError(f"{base} has no remote read at {read_path}; use --read-api query")
    use_read = has_read and config.read_api is not ReadApi.QUERY
    return Target(
        url=base,
        product=product,
        push_path=push_path,
        query_path=f"{prefix}/api/v1/query",
        read_path=read_path if has_read else None,
        read_api=ReadApi.REMOTE_READ if use_read else ReadApi.QUERY,
        version=build.get("version") or None,
        revision=build.get("revision") or None,
        tenant=config.tenant,
        embedded=embedded,
    )


def _has_remote_read(client: httpx.Client, url: str) -> bool:
    nothing = read_request(0, 1, [("looker_group", "=", "none")])
    answer = client.post(
        url,
        content=bytes(compress(nothing)),
        headers={
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Read-Version": "0.1.0",
        },
    )
    kind = answer.headers.get("Content-Type", "")
    return answer.status_code == 200 and kind.startswith("application/x-protobuf")


def _check_access(answer: httpx.Response, base: str) -> None:
    if answer.status_code == 401 and "no org id" in answer.text:
        raise TargetError(f"{base} wants a tenant: give --tenant ID (X-Scope-OrgID)")
    if answer.status_code in (401, 403):
        said = f"{answer.status_code} {answer.text[:100].strip()}"
        raise TargetError(f"{base} refuses access: {said}")
    if 300 <= answer.status_code < 400:
        raise TargetError(
            f"{base} redirects to {answer.headers.get('Location', 'elsewhere')}: give that URL"
        )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        parsed = answer.json()
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
