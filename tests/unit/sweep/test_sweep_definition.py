"""A sweep's file: what it means, and what is said of a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from looker.errors import UsageError
from looker.sweep.definition import Definition, Order, SweepTarget, read_definition

if TYPE_CHECKING:
    from pathlib import Path

KNOWN: Final = ("url", "n_workers", "n_concurrent_streams", "tenant", "label", "fail_if", "seed")
ALIASES: Final = {"n_series": "n_concurrent_streams"}
WHOLE: Final = """
repeats = 3
order = "random"
seed = 7
cool_down_seconds = 1.5
run_time_limit_seconds = 60
time_limit_seconds = 3600
[base]
mode = "metrics"
n_series = 10
label = {env = "test"}
fail_if = ["write.pushes_retried > 0"]
[matrix]
n_workers = [1, 2]
[[targets]]
name = "a-1.0"
url = "http://127.0.0.1:3100"
start = "start a"
stop = "stop a"
reset = "rm -r data"
ready_url = "http://127.0.0.1:3100/ready"
ready_timeout_seconds = 5
tenant = "x"
[[targets]]
name = "b"
url = "http://127.0.0.1:3200"
serve = "b --port 3200"
"""


def read(tmp_path: Path, text: str) -> Definition:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return read_definition(path, KNOWN, ALIASES)


def test_all_of_a_file_is_understood(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Definition(
        base={
            "mode": "metrics",
            "n_concurrent_streams": 10,
            "label": {"env": "test"},
            "fail_if": ["write.pushes_retried > 0"],
        },
        matrix={"n_workers": [1, 2]},
        targets=[
            SweepTarget(
                "a-1.0",
                {"url": "http://127.0.0.1:3100", "tenant": "x"},
                start="start a",
                stop="stop a",
                reset="rm -r data",
                ready_url="http://127.0.0.1:3100/ready",
                ready_timeout_s=5.0,
            ),
            SweepTarget("b", {"url": "http://127.0.0.1:3200"}, serve="b --port 3200"),
        ],
        repeats=3,
        order=Order.RANDOM,
        seed=7,
        cool_down_s=1.5,
        run_time_limit_s=60.0,
        time_limit_s=3600.0,
    )


@pytest.mark.parametrize(
    ("more", "name"), [("", "embedded"), ('url = "http://127.0.0.1:3100"', "target")]
)
def test_a_short_file_has_one_target_and_ten_repeats(tmp_path: Path, more: str, name: str) -> None:
    found = read(tmp_path, f'[base]\nmode = "logs"\n{more}')
    assert [target.name for target in found.targets] == [name]
    assert (found.repeats, found.order, found.matrix) == (10, Order.INTERLEAVED, {})


BASE: Final = '[base]\nmode = "logs"\n'
TARGET: Final = BASE + '[[targets]]\nname = "a"\nurl = "http://a"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("repaets = 3\n" + BASE, "has an unknown key repaets; is repeats meant?"),
        (BASE + "n_worker = 3", "[base] has an unknown key n_worker; is n_workers meant?"),
        (BASE + "[matrix]\nn_seris = [3]", "an unknown key n_seris; is n_series meant?"),
        (TARGET + 'strat = "x"', "the target a has an unknown key strat; is start meant?"),
        ("n_workers = 3\n" + BASE, "n_workers belongs under [base], [matrix] or [[targets]]"),
        (BASE + "n_workers = 1\n[matrix]\nn_workers = [2]", "is in [base] and in [matrix]"),
        (TARGET + "n_workers = 1\n[matrix]\nn_workers = [2]", "and in the target a"),
        (BASE + "n_series = 1\nn_concurrent_streams = 1", "twice, under two names"),
        (BASE + "[matrix]\nn_workers = 2", "must be a list of values, like [1, 2]"),
        (BASE + "[matrix]\nn_workers = []", "must be a list of values, like [1, 2]"),
        (BASE + "[matrix]\nn_workers = [1, 2, 1]", "has the same value twice"),
        ("[base]\nn_workers = 1", 'give mode = "logs" or mode = "metrics"'),
        ('[base]\nmode = "log"', 'must be "logs" or "metrics", not \'log\''),
        (BASE + "seed = 3", "give it at the top of the file"),
        (BASE + 'report = "x"', "the sweep gives each run its own"),
        (BASE + "label = 3", "wants a table, like label"),
        (BASE + "tenant = {a = 1}", "must be a value, or a list of them"),
        ("repeats = 0\n" + BASE, "repeats must be a whole number of at least 1, not 0"),
        ("repeats = true\n" + BASE, "repeats must be a whole number of at least 1, not True"),
        ('order = "abba"\n' + BASE, 'order must be "interleaved" or "random"'),
        ("time_limit_seconds = 0\n" + BASE, "must be a number of seconds above 0, not 0"),
        ("cool_down_seconds = -1\n" + BASE, "must be a number of seconds of at least 0"),
        ("time_limit_seconds = nan\n" + BASE, "must be a number of seconds above 0, not nan"),
        (TARGET + '[[targets]]\nname = "a"', "two [[targets]] have the name a"),
        (BASE + '[[targets]]\nurl = "x"', "[[targets]] number 1 wants a name"),
        (BASE + '[[targets]]\nname = "a/b"', "wants a name of letters, digits"),
        (BASE + '[[targets]]\nname = ".."', "wants a name of letters, digits"),
        (TARGET + 'start = "x"\nserve = "y"', "has start and serve"),
        (TARGET + "start = 3", "start must be text, not 3"),
        (BASE + '[[targets]]\nname = "a"\nserve = "x"', "is to be started, but has no url"),
        ("targets = 3\n" + BASE, "targets must be tables, each under [[targets]]"),
        ("base = 3", "base must be a table: [base]"),
        ("repeats = 60000\n" + TARGET + "[matrix]\nn_workers = [1, 2]", "these are 120,000 runs"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_what_is_wrong(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        read(tmp_path, text)
    assert words in str(refusal.value)
    assert str(tmp_path / "sweep.toml") in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"^FILE: "):
        read_definition(path, KNOWN, ALIASES)


def test_a_date_becomes_the_text_that_an_option_wants(tmp_path: Path) -> None:
    known: Any = ("log_start_time",)
    path = tmp_path / "x.toml"
    path.write_text(BASE + "log_start_time = 2026-01-31T12:00:00Z")
    found = read_definition(path, known, {})
    assert found.base["log_start_time"] == "2026-01-31T12:00:00+00:00"
