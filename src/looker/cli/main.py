"""The command line: the commands of ``looker``, and how its errors end.

Nothing heavy is imported before it is needed, so that ``looker --version`` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from looker.cli.arguments import USAGE_ERROR, configured, rewritten
from looker.cli.calibrate_command import calibrate_command
from looker.cli.compare_command import compare_command
from looker.cli.ending import code_of, shielded
from looker.cli.environment import refuse_what_would_not_count, variables_of
from looker.cli.report_command import report_command
from looker.cli.run_command import run_command
from looker.cli.sweep_command import sweep_command
from looker.cli.values import strict
from looker.cli.verify_command import verify_command
from looker.errors import ExitCode, OutputError, UsageError
from looker.model.config import Mode
from looker.target.limit_options import with_limit_options
from looker.version import __version__

_HELP: Final = {"-h", "--help"}

app: Final = typer.Typer(
    name="looker",
    help=(
        "Black-box storage testing and benchmarking for Loki, Cortex, Mimir and Prometheus:"
        " writes synthetic streams or series, reads them back, and proves every acknowledged"
        " sample, bit by bit."
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"looker {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[  # its callback does the work
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


app.command("logs", help="Write log streams, read them back, and prove every entry.")(
    run_command(Mode.LOGS)
)
app.command("metrics", help="Write metric series, read them back, and prove every sample.")(
    run_command(Mode.METRICS)
)
app.command("verify", help="Read back at a later time what a run has kept in its ledger.")(
    verify_command
)
app.command("sweep", help="Run a matrix of options on several targets, repeatedly, in turn.")(
    sweep_command
)
app.command("compare", help="Compare repeated runs by their reports, and say how certain it is.")(
    compare_command
)
app.command("report", help="Make one HTML page of the reports of runs, to look at offline.")(
    report_command
)
app.command(
    "calibrate",
    help="Show, in half a minute, the largest load that this host can offer, and what limits it.",
)(calibrate_command)


@app.command("target", help="Serve the embedded target: Loki's and Prometheus' APIs, in memory.")
@with_limit_options
def _target(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 3100,
    mode: Annotated[
        str, typer.Option(help="memory stores; null acknowledges and discards.")
    ] = "memory",
    max_memory_mb: Annotated[
        int, typer.Option(help="When this much is stored, further pushes are refused for good.")
    ] = 1024,
    like: Annotated[
        str,
        typer.Option(
            help="Behave as this server: looker (all paths, no limits), loki-default, loki-raised,"
            " cortex-default, cortex or prometheus."
        ),
    ] = "looker",
    range_boundary: Annotated[
        str | None,
        typer.Option(
            help="Whether a range selector includes its oldest instant: closed (Prometheus 2)"
            " or open (Prometheus 3, Cortex). Default: as --like."
        ),
    ] = None,
    external_label: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE that remote read adds to every series; repeatable."),
    ] = None,
    require_tenant: Annotated[
        bool, typer.Option("--require-tenant", help="Answer 401 without X-Scope-OrgID.")
    ] = False,
    oversized_answer: Annotated[
        str,
        typer.Option(
            help="What a log answer above --max-grpc-message-mb ends in: hang, reset, 500."
        ),
    ] = "hang",
    oversized_answer_hang: Annotated[
        str, typer.Option(help="How long such an answer hangs before the connection is closed.")
    ] = "60s",
    query_timeout: Annotated[
        str,
        typer.Option(help="How much CPU time a request may take before it is refused; 0 is any."),
    ] = "10s",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:NAME=VALUE…][,…]",
            help="Damage what is stored or answered, as docs/target.md lists: drop-entry,"
            " corrupt-byte:every=1000, http-500:rate=0.01, slow:seconds=2:on=query;"
            " repeatable. Alone, a KIND strikes once.",
        ),
    ] = None,
    fault_seed: Annotated[
        int, typer.Option(help="Begins the random numbers of faults with a rate.")
    ] = 0,
    log_level: Annotated[
        str, typer.Option(help="Least level of log lines: debug, info, warning or error.")
    ] = "info",
    **limits: Any,
) -> None:
    from looker.cli.run import serve  # noqa: PLC0415

    settings: dict[str, Any] = {
        "host": host,
        "port": port,
        "mode": mode,
        "max_memory_mb": max_memory_mb,
        "like": like,
        "range_boundary": range_boundary,
        "external_label": external_label,
        "require_tenant": require_tenant,
        "oversized_answer": oversized_answer,
        "oversized_answer_hang_s": oversized_answer_hang,
        "query_timeout_s": query_timeout,
        "fault": fault,
        "fault_seed": fault_seed,
        **limits,
    }
    serve(settings, log_level)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error is one line on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(code_of(lambda: _done(words), USAGE_ERROR))


def _done(given: list[str]) -> int:
    """Do what the words say; return the exit code."""
    words = rewritten(given)
    group: Any = typer.main.get_command(app)
    commands = group.commands
    if words and words[0] in commands and not _HELP & set(words):
        refuse_what_would_not_count(variables_of(commands.values()), None)
        _refuse_nowhere()
    for command in commands.values():
        strict(command)
        command.callback = shielded(command.callback)
    known = {
        name: [parameter.name for parameter in command.params] for name, command in commands.items()
    }
    try:
        code = group.main(
            words,
            prog_name="looker",
            standalone_mode=False,
            default_map=configured(words, known),
        )
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except SystemExit as stop:
        # the parser's own way out where it cannot write
        raise OutputError("cannot write the output") from stop
    return code if isinstance(code, int) else ExitCode.PASSED


def _refuse_nowhere() -> None:
    """Raise UsageError where the working directory is gone: no process can be started in it."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the working directory", "is gone: change to one that is there") from error
