"""The command line: ``looker logs``, ``looker metrics``, ``looker target``.

Nothing heavy is imported before it is needed, so that ``looker --version`` answers at once.
Annotations are evaluated here: those of the commands speak of the mode that they are made for.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import looker
from looker.cli.options import DEFAULTS, Options, configuration
from looker.errors import ExitCode, LookerError
from looker.model.config import Compressability, Mode, ReadApi

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

_TIMES: Final = "Wall-time coupling"
_RETRIES: Final = "Retries"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"looker {looker.__version__}")
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


def _run_command(mode: Mode) -> Callable[..., None]:
    """Return the command for a mode: the options are the same, some defaults differ."""
    defaults = DEFAULTS[mode]
    streams = "log streams" if mode is Mode.LOGS else "series"
    entries = "entries" if mode is Mode.LOGS else "samples"

    def command(
        *,
        url: Annotated[
            str | None,
            typer.Argument(
                help="Base URL of the target; without it Looker starts its own embedded target.",
                show_default=False,
            ),
        ] = None,
        n_concurrent_streams: Annotated[
            int, typer.Option(help=f"Number of {streams}.")
        ] = defaults.n_streams,
        n_entries_per_stream_fragment: Annotated[
            int,
            typer.Option(help=f"Number of {entries} that a stream grows by with each push."),
        ] = defaults.n_samples,
        n_fragments_per_push_message: Annotated[
            int, typer.Option(help="Fragments, of different streams, in one push message.")
        ] = 1,
        n_chars_per_msg: Annotated[
            int, typer.Option(help="Characters of a log line, its time included (logs).")
        ] = 100,
        compressability: Annotated[
            Compressability, typer.Option(help="How well the content compresses.")
        ] = Compressability.MIN,
        stop_write_after_n_fragments_per_stream: Annotated[
            int | None,
            typer.Option(
                help="End a write phase when each stream has grown by this many fragments"
                " (default: 10, unless there is a limit in seconds).",
                show_default=False,
            ),
        ] = None,
        stop_write_after_n_seconds: Annotated[
            float | None,
            typer.Option(help="End a write phase after this time.", show_default=False),
        ] = None,
        n_cycles: Annotated[
            int, typer.Option(help="Number of write/read cycles; 0 goes on without end.")
        ] = 1,
        change_streams_every_n_cycles: Annotated[
            int, typer.Option(help="Use new streams after this many cycles; 0 never does.")
        ] = 0,
        skip_read: Annotated[
            bool, typer.Option("--skip-read", help="Write only; the verdict is 'not_checked'.")
        ] = False,
        read_n_streams_only: Annotated[
            int | None,
            typer.Option(
                help="Read back this many streams, chosen at random in each cycle (default: all).",
                show_default=False,
            ),
        ] = None,
        read_api: Annotated[
            ReadApi, typer.Option(help="How to read metrics back; auto prefers remote-read.")
        ] = ReadApi.AUTO,
        read_grace_seconds: Annotated[
            float,
            typer.Option(help="How long to ask again for samples that are not there yet."),
        ] = 30.0,
        max_concurrent_writes: Annotated[
            int | None,
            typer.Option(
                help="Pushes in flight, over all workers (default: the larger of 10 and twice the"
                " workers, at most the number of streams).",
                show_default=False,
            ),
        ] = None,
        max_concurrent_reads: Annotated[
            int | None,
            typer.Option(
                help="Queries in flight, over all workers (default: as for writes).",
                show_default=False,
            ),
        ] = None,
        log_time_increment_ns: Annotated[
            int | None,
            typer.Option(
                help="Nanoseconds between the entries of a stream (logs; default: 1).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        metrics_time_increment_ms: Annotated[
            int | None,
            typer.Option(
                help="Milliseconds between the samples of a series (metrics; default: 1).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        min_lag_seconds: Annotated[
            float | None,
            typer.Option(
                help="Keep each stream's newest sample at least this far behind wall time"
                " (default: 30).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        max_lag_seconds: Annotated[
            float | None,
            typer.Option(
                help="Let a stream that is further behind leap forward (default: the larger of"
                " 120 and five times a fragment's width in time).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        n_workers: Annotated[
            int | None,
            typer.Option(
                help="Worker processes (default: the cores that Looker may use, by affinity and"
                " cgroup quota; at most the number of streams and of concurrent requests).",
                show_default=False,
            ),
        ] = None,
        align_phases: Annotated[
            bool, typer.Option(help="Begin each phase on all workers together.")
        ] = True,
        seed: Annotated[
            int | None,
            typer.Option(
                help="The same seed writes the same content (default: random).",
                show_default=False,
            ),
        ] = None,
        invocation_id: Annotated[
            str | None,
            typer.Option(
                help="Begins every stream's unique name (default: looker- and random characters).",
                show_default=False,
            ),
        ] = None,
        tenant: Annotated[
            str | None, typer.Option(help="Value of X-Scope-OrgID.", show_default=False)
        ] = None,
        retry_post_deadline_seconds: Annotated[
            float,
            typer.Option(help="Give a push up when this time is over.", rich_help_panel=_RETRIES),
        ] = 420.0,
        retry_post_min_delay_seconds: Annotated[
            float,
            typer.Option(
                help="Pause before the first retry; it doubles each time.",
                rich_help_panel=_RETRIES,
            ),
        ] = 3.0,
        retry_post_max_delay_seconds: Annotated[
            float, typer.Option(help="Longest pause between retries.", rich_help_panel=_RETRIES)
        ] = 30.0,
        retry_post_jitter: Annotated[
            float,
            typer.Option(
                help="Fraction of a pause, 0 to 1, that chance may take off.",
                rich_help_panel=_RETRIES,
            ),
        ] = 0.5,
        report: Annotated[
            Path | None,
            typer.Option(
                help="Where the JSON report goes (default: <invocation id>.report.json).",
                show_default=False,
            ),
        ] = None,
        log_level: Annotated[
            str, typer.Option(help="Least level of log lines: debug, info, warning or error.")
        ] = "info",
    ) -> None:
        given = Options(
            mode=mode,
            url=url,
            invocation_id=invocation_id,
            seed=seed,
            n_streams=n_concurrent_streams,
            n_samples_per_fragment=n_entries_per_stream_fragment,
            n_fragments_per_message=n_fragments_per_push_message,
            n_chars_per_line=n_chars_per_msg,
            compressability=compressability,
            stop_after_n_fragments=stop_write_after_n_fragments_per_stream,
            stop_after_n_seconds=stop_write_after_n_seconds,
            n_cycles=n_cycles,
            change_streams_every_n_cycles=change_streams_every_n_cycles,
            skip_read=skip_read,
            read_n_streams=read_n_streams_only,
            read_api=read_api,
            read_grace_s=read_grace_seconds,
            max_concurrent_writes=max_concurrent_writes,
            max_concurrent_reads=max_concurrent_reads,
            log_step_ns=log_time_increment_ns,
            metrics_step_ms=metrics_time_increment_ms,
            min_lag_s=min_lag_seconds,
            max_lag_s=max_lag_seconds,
            n_workers=n_workers,
            align_phases=align_phases,
            tenant=tenant,
            retry_deadline_s=retry_post_deadline_seconds,
            retry_min_delay_s=retry_post_min_delay_seconds,
            retry_max_delay_s=retry_post_max_delay_seconds,
            retry_jitter=retry_post_jitter,
            report=report,
            log_level=log_level,
        )
        config = configuration(given)
        from looker.cli.run import run  # noqa: PLC0415 - only a run needs what it imports

        raise typer.Exit(int(run(config)))

    return command


app.command("logs", help="Write log streams, read them back, and prove every entry.")(
    _run_command(Mode.LOGS)
)
app.command("metrics", help="Write metric series, read them back, and prove every sample.")(
    _run_command(Mode.METRICS)
)


@app.command("target", help="Serve the embedded target: Loki's and Prometheus' APIs, in memory.")
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
    range_boundary: Annotated[
        str,
        typer.Option(
            help="Whether a range selector includes its oldest instant: closed (Prometheus 2)"
            " or open (Prometheus 3, Cortex)."
        ),
    ] = "closed",
    log_level: Annotated[
        str, typer.Option(help="Least level of log lines: debug, info, warning or error.")
    ] = "info",
) -> None:
    from looker.cli.run import serve  # noqa: PLC0415

    settings: dict[str, Any] = {
        "host": host,
        "port": port,
        "mode": mode,
        "max_memory_mb": max_memory_mb,
        "range_boundary": range_boundary,
    }
    serve(settings, log_level)


# typer brings its own copy of click; the base of its usage errors is reached by a public name
_USAGE_ERROR: Final[type[Any]] = typer.BadParameter.__mro__[1]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error is one line on standard error."""
    try:
        code = app(arguments, prog_name="looker", standalone_mode=False)
    except LookerError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except _USAGE_ERROR as error:
        _complain(error.format_message())
        sys.exit(ExitCode.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    sys.exit(code if isinstance(code, int) else ExitCode.PASSED)


def _complain(message: str) -> None:
    typer.echo(f"looker: {' '.join(message.split())}", err=True)
