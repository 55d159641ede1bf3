"""Two runs of one name: the second is refused before it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from servers import (
    Answer,
    Prometheus,
    Proxy,
    embedded_target,
    looker,
    new_id,
    shared_prometheus,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Forward

SMALL: Final = (
    *("--n-concurrent-streams", "20", "--n-entries-per-stream-fragment", "5"),
    *("--n-workers", "1", "--stop-write-after-n-fragments-per-stream", "2"),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_target(tmp_path_factory.mktemp("target")) as url:
        yield url


def is_refused(tmp_path: Path, mode: str, url: str, name: str, *options: str) -> None:
    with Proxy(url) as proxy:
        result = looker(tmp_path, mode, proxy.url, *SMALL, "--invocation-id", name, *options)
        assert proxy.n_pushes == 0
    assert result.code == 2, result.said
    assert result.report == {}
    last = result.stderr.splitlines()[-1]
    assert f"--invocation-id: {proxy.url} has data of {name} already (stream {name}-0-" in last
    assert last.endswith("give another id, or none, or --force")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_a_name_with_data_is_refused_unless_forced(tmp_path: Path, target: str, mode: str) -> None:
    name = f"a.b-{new_id()}"
    first = looker(tmp_path, mode, target, *SMALL, "--invocation-id", name)
    assert first.code == 0, first.said
    assert "already" not in first.stderr
    is_refused(tmp_path, mode, target, name)
    # whatever the number of streams and workers
    is_refused(tmp_path, mode, target, name, "--n-concurrent-streams", "5000")
    # names that only look alike
    for other in (f"{name}2", name[:-1], name.replace(".", "x")):
        result = looker(tmp_path, mode, target, *SMALL, "--invocation-id", other)
        assert result.code == 0, result.said
    forced = looker(tmp_path, mode, target, *SMALL, "--invocation-id", name, "--force")
    assert forced.code in (0, 1, 3), forced.said
    assert forced.write["pushes_acked"] + forced.write["pushes_rejected"] > 0


@pytest.mark.prometheus
def test_prometheus_is_asked_too(tmp_path: Path, prometheus: Prometheus) -> None:
    name = new_id()
    first = looker(tmp_path, "metrics", prometheus.url, *SMALL, "--invocation-id", name)
    assert first.code == 0, first.said
    is_refused(tmp_path, "metrics", prometheus.url, name)
    is_refused(tmp_path, "metrics", prometheus.url, name, "--read-api", "query")


def test_a_fixed_start_is_looked_at_where_it_is(tmp_path: Path, target: str) -> None:
    name = new_id()
    options = ("--log-start-time", "2001-01-01T00:00:00Z", "--skip-read")
    assert looker(tmp_path, "logs", target, *SMALL, "--invocation-id", name, *options).code == 0
    is_refused(tmp_path, "logs", target, name, *options)
    # nothing can meet there
    result = looker(tmp_path, "logs", target, *SMALL, "--invocation-id", name)
    assert result.code == 0, result.said


def test_a_random_name_is_not_asked_for_and_no_answer_is_no_hindrance(
    tmp_path: Path, target: str
) -> None:
    asked: list[int] = []

    async def refuse_first(number: int, forward: Forward) -> Answer:
        asked.append(number)
        return Answer(503, b"busy", {}) if len(asked) == 1 else await forward()

    with Proxy(target, read=refuse_first) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL, "--invocation-id", new_id())
    assert result.code == 0, result.said
    assert "it was not found out whether" in result.stderr
    n_with_question = len(asked)
    asked[:] = [0]
    with Proxy(target, read=refuse_first) as proxy:
        result = looker(tmp_path, "logs", proxy.url, *SMALL)
    assert result.code == 0, result.said
    assert "it was not found out whether" not in result.stderr
    assert len(asked) - 1 == n_with_question - 1
