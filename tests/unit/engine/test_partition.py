"""Workers' shares: nothing is lost, nothing is shared."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from looker.engine.partition import shares, split
from referee import log_config

if TYPE_CHECKING:
    from looker.model.config import RunConfig


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    n_streams = draw(st.one_of(st.integers(1, 60), st.integers(1, 2_000_000)))
    n_workers = draw(st.integers(1, min(64, n_streams)))
    return replace(
        log_config(),
        n_streams=n_streams,
        n_workers=n_workers,
        max_concurrent_writes=draw(st.integers(n_workers, 300)),
        max_concurrent_reads=draw(st.integers(n_workers, 300)),
        read_n_streams=draw(st.one_of(st.none(), st.integers(1, n_streams))),
    )


@given(configs())
@example(replace(log_config(), n_streams=8, n_workers=8, max_concurrent_writes=9))
@example(replace(log_config(), n_streams=1001, n_workers=1, max_concurrent_writes=1))
def test_shares_make_up_the_run(config: RunConfig) -> None:
    found = shares(config)
    assert [share.worker for share in found] == list(range(config.n_workers))
    at = 0
    for share in found:
        assert share.first_stream == at
        at = share.end_stream
        assert share.n_streams >= 1
        assert share.first_stream % config.group_size == 0
        assert share.n_writers >= 1
        assert share.n_readers >= 1
    assert at == config.n_streams
    assert sum(share.n_streams for share in found) == config.n_streams
    assert sum(share.n_writers for share in found) == config.max_concurrent_writes
    assert sum(share.n_readers for share in found) == config.max_concurrent_reads
    for limits in ("n_writers", "n_readers"):
        values = [getattr(share, limits) for share in found]
        assert max(values) - min(values) <= 1
    groups = [-(-share.n_streams // config.group_size) for share in found]
    assert max(groups) - min(groups) <= 1


@given(configs())
def test_read_quotas_add_up(config: RunConfig) -> None:
    quotas = [share.read_n_streams for share in shares(config)]
    if config.read_n_streams is None:
        assert quotas == [None] * config.n_workers
        return
    assert sum(quota for quota in quotas if quota is not None) == config.read_n_streams
    for share in shares(config):
        assert share.read_n_streams is not None
        assert 0 <= share.read_n_streams <= share.n_streams
        fair = config.read_n_streams * share.n_streams / config.n_streams
        assert abs(share.read_n_streams - fair) < 1


@pytest.mark.parametrize(
    ("n_streams", "n_workers", "bounds"),
    [
        (10, 3, [(0, 3), (3, 6), (6, 10)]),
        (100, 2, [(0, 48), (48, 100)]),
        (2500, 2, [(0, 1248), (1248, 2500)]),
    ],
)
def test_examples(n_streams: int, n_workers: int, bounds: list[tuple[int, int]]) -> None:
    config = replace(log_config(), n_streams=n_streams, n_workers=n_workers)
    found = [(share.first_stream, share.end_stream) for share in shares(config)]
    assert found == bounds


@given(st.integers(0, 10**9), st.integers(1, 1000))
def test_split_is_even(amount: int, n_parts: int) -> None:
    marks = [split(amount, n_parts, part) for part in range(n_parts + 1)]
    assert (marks[0], marks[-1]) == (0, amount)
    sizes = {high - low for low, high in itertools.pairwise(marks)}
    assert max(sizes) - min(sizes) <= 1
