from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from looker.cli.arguments import ALIASES, configured, rewritten
from looker.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://127.0.0.1:3100"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([URL, "--n-cycles", "2"], ["logs", URL, "--n-cycles", "2"]),
        ([URL, "--metrics-mode"], ["metrics", URL]),
        (["--metrics-mode", "--n-cycles", "2", URL], ["metrics", "--n-cycles", "2", URL]),
        (["--n-cycles", "2", URL], ["logs", "--n-cycles", "2", URL]),
        (["logs", URL], ["logs", URL]),
        (["metrisc", URL], ["metrisc", URL]),
        (["--version"], ["--version"]),
        ([], []),
    ],
)
def test_the_originals_form_becomes_a_command(words: list[str], expected: list[str]) -> None:
    assert rewritten(words) == expected


def test_labels_become_one_word() -> None:
    assert rewritten(["logs", "--label", "a", "b=c", "--label", "d", "", "--seed", "1"]) == [
        "logs",
        "--label=a=b=c",
        "--label=d=",
        "--seed",
        "1",
    ]
    with pytest.raises(UsageError, match="--label: wants two words"):
        rewritten(["logs", "--label", "a"])


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_two_spellings_of_one_option_are_refused(alias: str) -> None:
    with pytest.raises(UsageError, match=f"{alias}: is another name of {ALIASES[alias]}"):
        rewritten(["logs", ALIASES[alias], "3", f"{alias}=3"])
    assert rewritten(["logs", alias, "3"]) == ["logs", alias, "3"]


KNOWN = {"logs": ["n_concurrent_streams", "n_cycles", "label", "config"]}


def test_a_configuration_file_gives_defaults_by_either_name(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('n_series = 7\nn_cycles = 2\nlabel = {env = "test"}\n')
    expected = {"logs": {"n_concurrent_streams": 7, "n_cycles": 2, "label": ["env=test"]}}
    assert configured(["logs", "--config", str(file)], KNOWN) == expected
    assert configured(["logs", f"--config={file}"], KNOWN) == expected
    assert configured(["logs"], KNOWN) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_cycle = 1", "unknown key n_cycle; is n_cycles meant?"),
        ("n_series = 1\nn_concurrent_streams = 2", "gives n_concurrent_streams twice"),
        ("n_cycles = ", "is not TOML"),
        ("label = 3", "label wants a table"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        configured(["logs", "--config", str(file)], KNOWN)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        configured(["logs", "--config", str(tmp_path / "none.toml")], KNOWN)


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.toml"
    file.write_text("n_cycles = 5\n")
    monkeypatch.setenv("LOOKER_CONFIG", str(file))
    assert configured(["logs"], KNOWN) == {"logs": {"n_cycles": 5}}


def test_the_file_is_of_the_commands_that_have_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKER_CONFIG", str(tmp_path / "none.toml"))
    assert configured(["target"], {"target": ["host", "port"]}) == {}
