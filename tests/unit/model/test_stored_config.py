"""A configuration as plain values: what is kept, and what comes back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from looker.model.config import Compressability, RunConfig
from looker.model.retry import RetryPolicy
from looker.model.stored_config import restored, stored
from referee import log_config

LEFT_OUT = {
    "url",
    "report",
    "log_level",
    "bearer_token_file",
    "ca_file",
    "http_server_port",
    "ledger",
    "fail_if",
    "target_metrics_url",
    "target_metrics",
    "target_metrics_every_s",
}


@given(
    labels=st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,8}", fullmatch=True),
            st.text(
                st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=9
            ).filter(str.isprintable),
        ),
        unique_by=lambda label: label[0],
        max_size=3,
    ),
    compressability=st.sampled_from(Compressability),
    seconds=st.one_of(st.none(), st.floats(0.5, 1000)),
    seed=st.integers(0, 2**64 - 1),
)
def test_what_is_stored_comes_back(
    labels: list[tuple[str, str]],
    compressability: Compressability,
    seconds: float | None,
    seed: int,
) -> None:
    config = replace(
        log_config(),
        labels=tuple(labels),
        compressability=compressability,
        stop_after_n_seconds=seconds,
        seed=seed,
        ignore_labels=("Added",) if labels else (),
        retry=RetryPolicy(5.0, 1.0, 2.0, 0.25),
    )
    plain = json.loads(json.dumps(stored(config)))
    assert restored(plain) == replace(config, url=None, streams_per_group=config.group_size)


def test_what_is_of_the_host_is_left_out() -> None:
    config = replace(
        log_config(),
        url="http://user:secret@host",
        bearer_token_file=Path("/run/token"),
        report=Path("r.json"),
    )
    plain = stored(config)
    assert {field.name for field in fields(RunConfig)} - plain.keys() == LEFT_OUT
    assert "secret" not in json.dumps(plain)
    assert "token" not in json.dumps(plain)
