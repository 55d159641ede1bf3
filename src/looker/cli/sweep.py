"""One sweep: its file's options as run configurations, its runs as processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shlex
import signal
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.text import Text

from looker.analysis.foresight import foreseen
from looker.cli.arguments import USAGE_ERROR, key_aliases
from looker.cli.ending import code_of
from looker.cli.environment import as_list
from looker.cli.run import configure_log, run
from looker.cli.run_command import run_command
from looker.cli.values import strict
from looker.clock import SystemClock
from looker.errors import ExitCode, LookerError, UsageError
from looker.interruption import end_at_once, end_in_order
from looker.model.config import Mode
from looker.model.url import keep_secrets_of, presentable
from looker.model.words import one_line
from looker.observe import terminal
from looker.spawning import end_with_parent, held_back
from looker.sweep.definition import MODE, read_definition
from looker.sweep.plan import plan_of
from looker.sweep.runner import Sweep
from looker.sweep.store import SweepStore, read_record
from looker.sweep.summary import show_summary
from looker.sweep.view import SweepView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from looker.analysis.foresight import Foresight
    from looker.model.config import RunConfig
    from looker.sweep.plan import Plan, SweepRun

LOG = logging.getLogger(__name__)

_URL: Final = "url"
_HELD_BACK: Final = {signal.SIGINT, signal.SIGTERM}


def sweep(file: Path, out: Path, *, again: bool) -> ExitCode:
    """Run what is not done yet (``again``: and what failed); return the gravest exit code."""
    _drop_environment()
    (plan, foresight), store = _checked_plan(file), SweepStore(out)
    store.refuse_if_foreign(plan, again=again)
    if not foresight.is_enough:
        LOG.warning("%s", foresight.told())
    with store.locked():

        def failed(one: SweepRun) -> bool:
            return again and read_record(store.place(one)).error is not None

        with SweepView(len(plan.runs)) as view:
            running = Sweep(
                plan,
                store,
                SystemClock(),
                config_of=_config_of,
                launch=RunProcess,
                view=view,
                again=failed,
            )
            code = running.run()
        show_summary(out, running.table.rows())
    if running.interrupted:
        LOG.warning("not all is done: the same command goes on from here")
    else:
        LOG.info("all runs: %s", out / "results.sqlite")
    return code


def show_plan(file: Path, out: Path) -> None:
    """Print what would be run, in order, and how to run each by hand."""
    _drop_environment()
    (plan, foresight), store = _checked_plan(file), SweepStore(out)
    store.refuse_if_foreign(plan)
    console = terminal.console()
    heads = ("", "target", "point", "repeat", "")
    rows = []
    n_done = 0
    for number, one in enumerate(plan.runs, 1):
        said = ""
        if store.is_done(one):
            said = "done" if store.damage(one) is None else "damaged: done again"
        n_done += said == "done"
        rows.append([str(number), one.target.name, one.point.name, str(one.repeat), said])
    for line in terminal.laid_out([(head, "left") for head in heads], rows, console, n_keys=3):
        console.print(line)
    console.print()
    for one in plan.runs:
        if one.repeat == 1:
            for name in ("reset", "start", "serve"):
                command = getattr(one.target, name)
                if command is not None:
                    _show(console, f"{name}: {command}")
            words = ["looker", str(one.options[MODE]), *words_of(one.options)]
            _show(console, shlex.join(map(presentable, words)))
            if one.target.stop is not None:
                _show(console, f"stop: {one.target.stop}")
    n_runs = len(plan.runs)
    console.print()
    _show(console, foresight.told())
    _show(console, f"{n_runs} runs, {n_done} of them done; nothing was run")


def _show(console: Console, line: str) -> None:
    """Print a line as it may be shown, in one piece."""
    console.print(Text(one_line(presentable(line), len(line))), soft_wrap=True)


def _checked_plan(file: Path) -> tuple[Plan, Foresight]:
    """Return the plan of a file of which every run has a sound configuration.

    And what its repeats will be able to show.
    """
    known = dict.fromkeys(name for mode in Mode for name in _parameters(mode))
    definition = read_definition(file, list(known), key_aliases())
    plan, configs = plan_of(definition), []
    for one in plan.runs:
        if one.repeat == 1:
            try:
                config = _config_of(one, Path(os.devnull))
            except LookerError as error:
                where = f"{file}: target {one.target.name}, point {one.point.name}"
                raise UsageError(where, str(error)) from error
            # what a server prints, or a run says, is shown here as well
            keep_secrets_of(config.url)
            keep_secrets_of(config.target_metrics_url)
            configs.append(config)
    return plan, foreseen(
        configs,
        n_repeats=definition.repeats,
        n_points=len(plan.points),
        n_targets=len(definition.targets),
    )


def _drop_environment() -> None:
    """Let the file alone say what is run: runs are compared, and taken up again elsewhere."""
    variables = {
        variable
        for mode in Mode
        for parameter in _parameters(mode).values()
        for variable in as_list(parameter.envvar)
    }
    for variable in sorted(variables & os.environ.keys()):
        LOG.warning("%s is not used: a sweep's options stand in its file", variable)
        del os.environ[variable]


_made: Final[list[RunConfig]] = []


def _make(config: RunConfig) -> ExitCode:
    _made.append(config)
    return ExitCode.PASSED


@cache
def _command(mode: Mode) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(run_command(mode, _make))
    return strict(typer.main.get_command(app))


def _parameters(mode: Mode) -> dict[str, Any]:
    """Return the parameters of a run by name."""
    return {parameter.name: parameter for parameter in _command(mode).params}


def _config_of(one: SweepRun, report: Path) -> RunConfig:
    """Return a run's configuration; LookerError, naming the option, where it cannot work."""
    words = [*words_of(one.options), f"--seed={one.seed}", f"--report={report}"]
    try:
        _command(Mode(one.options[MODE])).main(words, prog_name="looker", standalone_mode=False)
    except USAGE_ERROR as error:
        raise LookerError(error.format_message()) from error
    return _made.pop()


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of the command line, the URL at the end."""
    parameters = _parameters(Mode(options[MODE]))
    words = [
        word
        for name, value in options.items()
        if name not in (MODE, _URL)
        for word in _option_words(parameters[name], value)
    ]
    return [*words, str(options[_URL])] if _URL in options else words


def _option_words(parameter: Any, value: object) -> Iterator[str]:
    name = parameter.opts[0]
    if isinstance(value, dict):
        yield from (f"{name}={key}={text}" for key, text in value.items())
    elif isinstance(value, list):
        yield from (f"{name}={_text(item)}" for item in value)
    elif not parameter.is_flag:
        yield f"{name}={_text(value)}"
    elif not isinstance(value, bool):
        raise UsageError(name, f"must be true or false, not {value!r}")
    elif value:
        yield name
    elif parameter.secondary_opts:
        yield parameter.secondary_opts[0]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class RunProcess:
    """A run in a process of its own, which ends when this one does."""

    def __init__(self, config: RunConfig, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_child, args=(config, log), name="looker-run")
        with held_back(_HELD_BACK):
            self._process.start()

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit code; None while it goes on."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def interrupt(self) -> None:
        """Tell it to end in order."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once; its workers end by themselves."""
        self._process.kill()


def _child(config: RunConfig, log: Path) -> None:
    """Run once, with all that is printed in a file; exit with the run's code."""
    # a Ctrl-C is for the sweep, which tells its runs
    os.setpgid(0, 0)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    end_at_once()
    end_in_order()
    # without the sweep it is in the way: it will be run again; its workers end by themselves
    end_with_parent(ExitCode.INTERRUPTED)

    def act() -> int:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        configure_log(config.log_level)
        return run(config)

    sys.exit(int(code_of(act)))
