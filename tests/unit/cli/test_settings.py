"""Settings that would not count are refused in one line: the environment, nothing, odd numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from looker.cli.environment import OF_TESTS, refuse_what_would_not_count, variables_of
from looker.cli.main import app, main
from looker.cli.values import types_of
from looker.errors import ExitCode, UsageError
from looker.model.numerals import decimal, whole_number

if TYPE_CHECKING:
    from looker.cli.verify import Wanted
    from looker.model.config import RunConfig

URL = "http://127.0.0.1:1"
ROOT = Path(__file__).parents[3]
group: Any = typer.main.get_command(app)
KNOWN = variables_of(group.commands.values())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunConfig]:
    """The configurations of the runs that would have been; none is run."""
    found: list[RunConfig] = []

    def run(config: RunConfig) -> ExitCode:
        found.append(config)
        return ExitCode.PASSED

    monkeypatch.setattr("looker.cli.run.run", run)
    monkeypatch.chdir(tmp_path)
    return found


def ended(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    code = end.value.code
    assert isinstance(code, int)
    return code


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line that a command is refused in."""
    assert ended(*words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("looker: ")
    assert err.count("\n") == 1
    return err.removeprefix("looker: ").rstrip("\n")


@pytest.mark.parametrize("mode", ["logs", "metrics"])
def test_field_case_21_the_url_of_the_environment_counts(
    runs: list[RunConfig], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("LOOKER_URL", URL)
    assert ended(mode) == 0
    assert ended(mode, "http://127.0.0.1:2") == 0
    assert [config.url for config in runs] == [URL, "http://127.0.0.1:2"]


def test_field_case_21_the_url_of_the_environment_counts_for_verify(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str | None] = []

    def read_back(wanted: Wanted) -> ExitCode:
        found.append(wanted.url)
        return ExitCode.PASSED

    monkeypatch.setattr("looker.cli.verify.read_back", read_back)
    monkeypatch.setenv("LOOKER_URL", URL)
    assert ended("verify", "x.ledger") == 0
    assert ended("verify", "x.ledger", "http://127.0.0.1:2") == 0
    assert found == [URL, "http://127.0.0.1:2"]


@pytest.mark.parametrize(
    "name", ["LOOKER_URL", "LOOKER_N_CYCLES", "LOOKER_CONFIG", "LOOKER_N_SERIES", "LOOKER_TENANT"]
)
@pytest.mark.parametrize("value", ["", " "])
def test_field_case_21_a_variable_that_is_empty_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said = refused(capfd, "logs")
    assert said == f"{name}: is set, but empty: give it a value, or unset it"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["logs", ""], "URL"),
        (["metrics", ""], "URL"),
        (["verify", "x.ledger", ""], "URL"),
        (["verify", ""], "FILE"),
        (["calibrate", ""], "MODE"),
        (["compare", ""], "BASELINE"),
        (["compare", "a", ""], "CONTENDER"),
        (["report", ""], "PATH"),
        (["sweep", "", "--out", "x"], "FILE"),
        (["sweep", "x.toml", "--out", ""], "--out"),
        (["logs", "--tenant", ""], "--tenant"),
        (["logs", "--report="], "--report"),
        (["logs", "--ledger", " "], "--ledger"),
        (["logs", "--n-cycles", ""], "--n-cycles"),
        (["logs", "--fail-if", "samples_per_s > 1", "--fail-if", ""], "--fail-if"),
        (["logs", "--config", ""], "--config"),
        (["target", "--host", ""], "--host"),
    ],
)
def test_field_case_21_an_empty_argument_is_refused(
    capfd: pytest.CaptureFixture[str], words: list[str], name: str
) -> None:
    said = refused(capfd, *words)
    assert said == f"{name}: is empty: give a value, or leave it out"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("LOOKER_N_CYCLE", "is LOOKER_N_CYCLES meant?"),
        ("LOOKER_URLS", "is LOOKER_URL meant?"),
        ("LOOKER_CONCURRENT_STREAMS", "is LOOKER_N_CONCURRENT_STREAMS meant?"),
        ("LOOKER_XYZZY", "docs/usage.md has the options"),
    ],
)
@pytest.mark.parametrize("command", [["logs"], ["compare", "a", "b"], ["target"]])
def test_field_case_21_a_misspelt_variable_is_refused_with_the_nearest(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    near: str,
    command: list[str],
) -> None:
    monkeypatch.setenv(name, "5")
    assert refused(capfd, *command) == f"{name}: is no setting of Looker's; {near}"


def test_both_names_of_an_option_count_in_the_environment(
    runs: list[RunConfig], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKER_N_SERIES", "7")
    assert ended("metrics") == 0
    assert [config.n_streams for config in runs] == [7]
    monkeypatch.setenv("LOOKER_N_CONCURRENT_STREAMS", "8")
    said = refused(capfd, "metrics")
    assert "LOOKER_N_SERIES: is another name of LOOKER_N_CONCURRENT_STREAMS" in said


def test_a_variable_of_another_command_is_no_mistake() -> None:
    refuse_what_would_not_count(KNOWN, {"LOOKER_SAMPLE_FRACTION": "0.5", "PATH": "", "LOOKERX": ""})


def test_what_kubernetes_sets_is_not_looker_s() -> None:
    """Every pod has these, for a service named looker or looker-target."""
    environment = {
        "LOOKER_SERVICE_HOST": "10.0.0.1",
        "LOOKER_SERVICE_PORT": "8900",
        "LOOKER_SERVICE_PORT_HTTP_METRICS": "8900",
        "LOOKER_PORT": "tcp://10.0.0.1:8900",
        "LOOKER_PORT_8900_TCP": "tcp://10.0.0.1:8900",
        "LOOKER_PORT_8900_TCP_ADDR": "10.0.0.1",
        "LOOKER_TARGET_SERVICE_HOST": "10.0.0.2",
    }
    refuse_what_would_not_count(KNOWN, environment)
    with pytest.raises(UsageError, match="is no setting"):
        refuse_what_would_not_count(KNOWN, {"LOOKER_PORTS": "1"})


def test_the_variables_of_the_tests_are_declared() -> None:
    """The command line is run in the environment of the tests: it must not refuse that."""
    used = {
        name
        for folder in ("tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'environ(?:\.get\(|\[)"(LOOKER_[A-Z_]+)"', path.read_text())
    }
    assert used <= OF_TESTS | KNOWN
    assert "LOOKER_REQUIRE_REAL_SERVERS" in used


def test_help_is_there_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKER_XYZZY", "5")
    assert ended("logs", "--help") == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_cycle = 5", "unknown key n_cycle; is n_cycles meant?"),
        ("n_cycles = 2.5", "--n-cycles: must be a whole number, not 2.5"),
        ("n_cycles = true", "--n-cycles: must be a whole number, not True"),
        ("read_grace_seconds = nan", "--read-grace-seconds: must be a number, not nan"),
        ("read_grace_seconds = true", "--read-grace-seconds: must be a number, not True"),
        ("skip_read = 3", "--skip-read: must be true or false, not 3"),
        ("tenant = 5", "--tenant: must be text, in quotes, not 5"),
        ('tenant = ""', "--tenant: is empty"),
        ('fail_if = [""]', "--fail-if: is empty"),
        ('url = ""', "URL: is empty"),
    ],
)
def test_a_file_of_options_is_as_strict(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "looker.toml"
    file.write_text(f"{text}\n")
    assert message in refused(capfd, "logs", "--config", str(file))


def test_a_time_of_toml_is_a_time(runs: list[RunConfig], tmp_path: Path) -> None:
    file = tmp_path / "looker.toml"
    file.write_text("log_start_time = 2026-01-31T12:00:00Z\nn_cycles = 2\nskip_read = true\n")
    assert ended("logs", "--config", str(file)) == 0
    assert (runs[0].start_time_ns, runs[0].n_cycles) == (1769860800 * 10**9, 2)


ARABIC = "\N{ARABIC-INDIC DIGIT ONE}"
ODD = ("nan", "inf", "-inf", "1e400", "-0", "-0.0", "1_000", ARABIC, "0x10", "1,5", "five", "-")


def test_numbers_are_finite_and_of_ascii_digits() -> None:
    for word in set(ODD) - {"-0", "-0.0"}:
        assert (whole_number(word), decimal(word)) == (None, None), word
    for word, number in (("0", 0), ("+5", 5), ("-3", -3), ("007", 7), ("9" * 30, int("9" * 30))):
        assert whole_number(word) == number
    for word, value in (("1.5", 1.5), ("-2e-3", -0.002), (".5", 0.5), ("5.", 5.0), ("3", 3.0)):
        assert decimal(word) == value
    assert whole_number("1.0") is None
    assert whole_number("9" * 5000) is None
    assert decimal("") is None


def numeric() -> list[tuple[str, str, str]]:
    """Return each option of a number, of each command, with one of the odd ones in turn."""
    found = []
    for name, command in group.commands.items():
        types = types_of(command)
        for parameter in command.params:
            if types.get(parameter.name) in (int, float):
                found.append((name, parameter.opts[0], ODD[len(found) % len(ODD)]))
    return found


@pytest.mark.parametrize(("command", "option", "odd"), numeric())
def test_every_option_of_a_number_refuses_odd_ones(
    capfd: pytest.CaptureFixture[str], command: str, option: str, odd: str
) -> None:
    given = {"verify": ["x.ledger"], "compare": ["a", "b"], "sweep": ["x.toml"]}.get(command, [])
    said = refused(capfd, command, *given, f"{option}={odd}")
    assert re.fullmatch(rf"{option}: must be a (whole )?number, not '.+'", said)


def test_every_command_of_numbers_is_among_them() -> None:
    assert {command for command, _, _ in numeric()} >= {
        *("logs", "metrics", "verify", "compare", "calibrate", "target")
    }
    assert len(numeric()) > 60
