"""Names of labels that a target takes, found out before writing: field cases 19 and 48."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rawserver import Peer, RawServer

from looker.backend.discovery import discover
from looker.errors import UsageError
from looker.model.config import Mode
from servers import run_config

OWN = {"revision": "a", "branch": "b", "goVersion": "c"}


def check(mode: Mode, build: dict[str, str], settings: str = "", **changes: Any) -> None:
    told = json.dumps({"status": "success", "data": build, **build}).encode()

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            if request.path.endswith("/buildinfo"):
                peer.answer(told)
            elif request.path == "/config":
                peer.answer(settings.encode())
            elif request.path.endswith("/labels"):
                peer.answer(b'{"status":"success"}')
            else:
                peer.answer(b"404 page not found", status="404 Not Found")

    with RawServer(script) as server:
        url = server.url.removesuffix("/push")
        discover(run_config(url, mode=mode, **changes), url)


@pytest.mark.parametrize(
    ("build", "shown"),
    [
        ({"version": "2.42.0", **OWN}, "prometheus 2.42.0"),
        ({"version": "2.24.0"}, "unknown 2.24.0"),
        ({"version": "3.0.0"}, "unknown 3.0.0"),
        ({"version": "3.0.0", "application": "Grafana Mimir"}, "mimir 3.0.0"),
    ],
)
def test_names_of_prometheus_3_are_refused_elsewhere(build: dict[str, str], shown: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check(Mode.METRICS, build, labels=(("a.b", "x"),))
    assert str(refusal.value) == (
        "--label: 'a.b' is a name that only Prometheus takes, since 3.0, not"
        f" {shown}: give one of letters, digits and underscores"
    )


@pytest.mark.parametrize("version", ["3.0.0", "3.5.1", "v3.1.0", "10.0.0"])
def test_prometheus_3_takes_any_name(version: str) -> None:
    check(Mode.METRICS, {"version": version, **OWN}, labels=(("a.b", "x"), ('ü "q', "y")))


def test_what_loki_itself_adds_is_no_name_for_a_label() -> None:
    labels = (("detected_level", "x"),)
    for settings in ("", "limits_config:\n  discover_log_levels: true\n"):
        with pytest.raises(UsageError) as refusal:
            check(Mode.LOGS, {"version": "3.4.0"}, settings, labels=labels)
        assert str(refusal.value).startswith(
            "--label: detected_level is what Loki itself adds to every entry (discover_log_levels)"
        )
        assert str(refusal.value).endswith("--ignore-label detected_level_extracted")
    check(Mode.LOGS, {"version": "3.4.0"}, "l:\n  discover_log_levels: false\n", labels=labels)
    check(
        Mode.LOGS,
        {"version": "3.4.0"},
        labels=labels,
        ignore_labels=("detected_level_extracted",),
    )
    check(Mode.LOGS, {"version": "3.4.0"}, labels=(("level", "x"), ("service_name", "y")))
