"""The command ``looker calibrate``: what this host can do, before any benchmark is believed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from looker.cli.arguments import option
from looker.cli.options import DEFAULTS, Options, configuration, report_path
from looker.cli.shared_options import LogLevel  # noqa: TC001 - annotations are evaluated
from looker.errors import UsageError
from looker.model.config import MAX_LAG_S, Compressability, Mode, ReadApi, RunConfig

MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 3600.0


def calibrate_command(
    mode: Annotated[
        str | None,
        typer.Argument(help="logs or metrics (default: both).", show_default=False),
    ] = None,
    *,
    n_concurrent_streams: Annotated[
        int | None,
        option(
            "--n-concurrent-streams",
            help="Number of streams or series (default: as for a run, 100 or 1000).",
            show_default=False,
        ),
    ] = None,
    n_entries_per_stream_fragment: Annotated[
        int | None,
        option(
            "--n-entries-per-stream-fragment",
            help="Entries or samples in a fragment (default: as for a run, 1000 or 500).",
            show_default=False,
        ),
    ] = None,
    n_fragments_per_push_message: Annotated[
        int, option("--n-fragments-per-push-message", help="Fragments in one push message.")
    ] = 1,
    n_chars_per_msg: Annotated[
        int, option("--n-chars-per-msg", help="Characters of a log line (logs).")
    ] = 100,
    compressability: Annotated[
        Compressability, option("--compressability", help="How well the content compresses.")
    ] = Compressability.MIN,
    n_workers: Annotated[
        int | None,
        option(
            "--n-workers",
            help="Most worker processes (default: the cores that Looker may use).",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, option("--seconds", help="About how long it may take altogether.")
    ] = 30.0,
    as_json: Annotated[
        bool, option("--json", help="Print the figures as JSON instead of a table.")
    ] = False,
    report: Annotated[
        Path | None,
        option(
            "--report", help="Write the figures to this file, as JSON, too.", show_default=False
        ),
    ] = None,
    log_level: LogLevel = "info",
) -> None:
    """Measure, and show."""
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise UsageError(
            "--seconds", f"must be from {MIN_SECONDS:g} to {MAX_SECONDS:g}, not {seconds:g}"
        )
    report = report_path(report)
    modes = list(Mode) if mode is None else [_mode(mode)]

    def shaped(for_mode: Mode, n: int | None) -> RunConfig:
        defaults = DEFAULTS[for_mode]
        n_samples, n_streams = n_entries_per_stream_fragment, n_concurrent_streams
        return configuration(
            Options(
                mode=for_mode,
                url=None,
                invocation_id=None,
                seed=None,
                n_streams=defaults.n_streams if n_streams is None else n_streams,
                n_samples_per_fragment=defaults.n_samples if n_samples is None else n_samples,
                n_fragments_per_message=n_fragments_per_push_message,
                n_chars_per_line=n_chars_per_msg,
                compressability=compressability,
                stop_after_n_fragments=None,
                stop_after_n_seconds=seconds,
                n_cycles=1,
                change_streams_every_n_cycles=0,
                skip_read=False,
                read_n_streams=None,
                read_api=ReadApi.AUTO,
                read_grace_s=0.0,
                max_concurrent_writes=None,
                max_concurrent_reads=None,
                log_step_ns=None,
                metrics_step_ms=None,
                min_lag_s=None,
                # so far behind wall time that no stream ever has to wait for it
                max_lag_s=MAX_LAG_S,
                n_workers=n,
                align_phases=True,
                tenant=None,
                retry_deadline_s=10.0,
                retry_min_delay_s=0.1,
                retry_max_delay_s=1.0,
                retry_jitter=0.5,
                # None would stand for a file in this directory, which need not be writable
                report=report or Path(os.devnull),
                log_level=log_level,
            )
        )

    largest = {one: shaped(one, n_workers) for one in modes}
    # only measuring needs what is imported here
    from looker.cli.calibrate import calibrate_and_show  # noqa: PLC0415
    from looker.engine.calibration import worker_counts  # noqa: PLC0415

    loads = [
        [shaped(one, n) for n in worker_counts(config.n_workers)] for one, config in largest.items()
    ]
    calibrate_and_show(loads, seconds, as_json=as_json, report=report, log_level=log_level)


def _mode(word: str) -> Mode:
    try:
        return Mode(word)
    except ValueError:
        raise UsageError("MODE", f"must be logs or metrics, not {word!r}") from None
