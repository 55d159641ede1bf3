"""The commands ``looker logs`` and ``looker metrics``: one set of options, some defaults differ.

Annotations are evaluated here: those of a command speak of the mode that it is made for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from looker.cli.arguments import option as _option
from looker.cli.arguments import url_argument
from looker.cli.options import DEFAULTS, Options, configuration
from looker.cli.shared_options import (
    BearerTokenFile,
    CaFile,
    IgnoreLabel,
    InsecureSkipVerify,
    LogLevel,
    QueryMatcher,
    ReadApiOption,
    ReadShapeOption,
)
from looker.errors import ExitCode
from looker.model.config import Compressability, Mode, ReadApi, ReadShape, RunConfig, VerifyMode
from looker.model.mismatch import DEFAULT_MAX_EXAMPLES

_TIMES: Final = "Wall-time coupling"
_RETRIES: Final = "Retries"
_TARGET_USAGE: Final = "What the target uses"


def _run(config: RunConfig) -> ExitCode:
    from looker.cli.run import run  # noqa: PLC0415 - only a run needs what it imports

    return run(config)


def run_command(mode: Mode, act: Callable[[RunConfig], ExitCode] = _run) -> Callable[..., None]:
    """Return the command for a mode: the options are the same, some defaults differ.

    ``act`` is done with the configuration that the options make.
    """
    defaults = DEFAULTS[mode]
    streams = "log streams" if mode is Mode.LOGS else "series"
    entries = "entries" if mode is Mode.LOGS else "samples"

    def command(
        *,
        url: Annotated[
            str | None,
            url_argument(
                help="Base URL of the target; without it Looker starts its own embedded target."
            ),
        ] = None,
        n_concurrent_streams: Annotated[
            int, _option("--n-concurrent-streams", help=f"Number of {streams}.")
        ] = defaults.n_streams,
        n_entries_per_stream_fragment: Annotated[
            int,
            _option(
                "--n-entries-per-stream-fragment",
                help=f"Number of {entries} that a stream grows by with each push.",
            ),
        ] = defaults.n_samples,
        n_fragments_per_push_message: Annotated[
            int,
            _option(
                "--n-fragments-per-push-message",
                help="Fragments, of different streams, in one push message.",
            ),
        ] = 1,
        batch_deadline_ms: Annotated[
            float,
            _option(
                "--batch-deadline-ms",
                help="Let a message wait so long for more fragments, until it has all of them; 0"
                " sends what is ready.",
            ),
        ] = 0.0,
        n_chars_per_msg: Annotated[
            int,
            _option(
                "--n-chars-per-msg", help="Characters of a log line, its time included (logs)."
            ),
        ] = 100,
        compressability: Annotated[
            Compressability, _option("--compressability", help="How well the content compresses.")
        ] = Compressability.MIN,
        stop_write_after_n_fragments_per_stream: Annotated[
            int | None,
            _option(
                "--stop-write-after-n-fragments-per-stream",
                help="End a write phase when each stream has grown by this many fragments"
                " (default: 10, unless there is a limit in seconds).",
                show_default=False,
            ),
        ] = None,
        stop_write_after_n_seconds: Annotated[
            float | None,
            _option(
                "--stop-write-after-n-seconds",
                help="End a write phase after this time.",
                show_default=False,
            ),
        ] = None,
        n_cycles: Annotated[
            int, _option("--n-cycles", help="Number of write/read cycles; 0 goes on without end.")
        ] = 1,
        n_warm_up_cycles: Annotated[
            int,
            _option(
                "--n-warm-up-cycles",
                help="Cycles before the others that are checked likewise, but not in the totals.",
            ),
        ] = 0,
        change_streams_every_n_cycles: Annotated[
            int,
            _option(
                "--change-streams-every-n-cycles",
                help="Use new streams after this many cycles; 0 never does.",
            ),
        ] = 0,
        skip_read: Annotated[
            bool,
            _option(
                "--skip-read", help="Write only, as --verify off; the verdict is 'not_checked'."
            ),
        ] = False,
        read_n_streams_only: Annotated[
            int | None,
            _option(
                "--read-n-streams-only",
                help="Read back this many streams, chosen at random in each cycle (default: all).",
                show_default=False,
            ),
        ] = None,
        read_api: ReadApiOption = ReadApi.AUTO,
        read_shape: ReadShapeOption = ReadShape.EXACT,
        read_grace_seconds: Annotated[
            float,
            _option(
                "--read-grace-seconds",
                help="How long to ask again for samples that are not there yet.",
            ),
        ] = 30.0,
        max_concurrent_writes: Annotated[
            int | None,
            _option(
                "--max-concurrent-writes",
                help="Pushes in flight, over all workers (default: the larger of 10 and twice the"
                " workers, at most the number of streams).",
                show_default=False,
            ),
        ] = None,
        max_concurrent_reads: Annotated[
            int | None,
            _option(
                "--max-concurrent-reads",
                help="Queries in flight, over all workers (default: as for writes).",
                show_default=False,
            ),
        ] = None,
        log_time_increment_ns: Annotated[
            int | None,
            _option(
                "--log-time-increment-ns",
                help="Nanoseconds between the entries of a stream (logs; default: 1).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        metrics_time_increment_ms: Annotated[
            int | None,
            _option(
                "--metrics-time-increment-ms",
                help="Milliseconds between the samples of a series (metrics; default: 1).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        min_lag_seconds: Annotated[
            float | None,
            _option(
                "--min-lag-seconds",
                help="Keep each stream's newest sample at least this far behind wall time"
                " (default: 30).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        max_lag_seconds: Annotated[
            float | None,
            _option(
                "--max-lag-seconds",
                help="Let a stream that is further behind leap forward (default: the larger of"
                " 120 and five times a fragment's width in time).",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        n_workers: Annotated[
            int | None,
            _option(
                "--n-workers",
                help="Worker processes (default: the cores that Looker may use, by affinity and"
                " cgroup quota; at most the number of streams and of concurrent requests).",
                show_default=False,
            ),
        ] = None,
        align_phases: Annotated[
            bool,
            _option(
                "--align-phases/--no-align-phases", help="Begin each phase on all workers together."
            ),
        ] = True,
        seed: Annotated[
            int | None,
            _option(
                "--seed",
                help="The same seed writes the same content (default: random).",
                show_default=False,
            ),
        ] = None,
        invocation_id: Annotated[
            str | None,
            _option(
                "--invocation-id",
                help="Begins every stream's unique name (default: looker- and random characters).",
                show_default=False,
            ),
        ] = None,
        tenant: Annotated[
            str | None, _option("--tenant", help="Value of X-Scope-OrgID.", show_default=False)
        ] = None,
        retry_post_deadline_seconds: Annotated[
            float,
            _option(
                "--retry-post-deadline-seconds",
                help="Give a push up when this time is over.",
                rich_help_panel=_RETRIES,
            ),
        ] = 420.0,
        retry_post_min_delay_seconds: Annotated[
            float,
            _option(
                "--retry-post-min-delay-seconds",
                help="Pause before the first retry; it doubles each time.",
                rich_help_panel=_RETRIES,
            ),
        ] = 3.0,
        retry_post_max_delay_seconds: Annotated[
            float,
            _option(
                "--retry-post-max-delay-seconds",
                help="Longest pause between retries.",
                rich_help_panel=_RETRIES,
            ),
        ] = 30.0,
        retry_post_jitter: Annotated[
            float,
            _option(
                "--retry-post-jitter",
                help="Fraction of a pause, 0 to 1, that chance may take off.",
                rich_help_panel=_RETRIES,
            ),
        ] = 0.5,
        request_timeout_seconds: Annotated[
            float,
            _option(
                "--request-timeout-seconds",
                help="How long a push or a query may take, once; then it is tried again.",
                rich_help_panel=_RETRIES,
            ),
        ] = 60.0,
        report: Annotated[
            Path | None,
            _option(
                "--report",
                help="Where the JSON report goes (default: <invocation id>.report.json).",
                show_default=False,
            ),
        ] = None,
        log_level: LogLevel = "info",
        stop_write_after_n_seconds_jitter: Annotated[
            float,
            _option(
                "--stop-write-after-n-seconds-jitter",
                help="Vary that time by up to this much, at random, in each cycle.",
            ),
        ] = 0.0,
        log_start_time: Annotated[
            str | None,
            _option(
                "--log-start-time",
                help="Let all streams start at this time (RFC 3339), uncoupled from wall time.",
                show_default=False,
                rich_help_panel=_TIMES,
            ),
        ] = None,
        include_time_in_msg: Annotated[
            bool,
            _option(
                "--include-time-in-msg/--no-include-time-in-msg",
                help="Begin each line with its time in nanoseconds (logs).",
            ),
        ] = True,
        label: Annotated[
            list[str] | None,
            _option(
                "--label",
                metavar="KEY VALUE",
                help="A further label of every stream; may be given several times.",
                show_default=False,
            ),
        ] = None,
        ignore_label: IgnoreLabel = None,
        query_matcher: QueryMatcher = None,
        allow_rejected: Annotated[
            bool,
            _option(
                "--allow-rejected", help="Pushes that the target refused do not make exit code 3."
            ),
        ] = False,
        stop_on_mismatch: Annotated[
            bool, _option("--stop-on-mismatch", help="End the run after a cycle with a mismatch.")
        ] = False,
        force: Annotated[
            bool,
            _option(
                "--force",
                help="Go on where a start time is too old to be read back, or the target has data"
                " of the invocation id already.",
            ),
        ] = False,
        bearer_token_file: BearerTokenFile = None,
        ca_file: CaFile = None,
        insecure_skip_verify: InsecureSkipVerify = False,
        push_path: Annotated[
            str | None,
            _option(
                "--push-path",
                help="Path of the push endpoint, behind the URL (default: found out).",
                show_default=False,
            ),
        ] = None,
        query_path: Annotated[
            str | None,
            _option(
                "--query-path",
                help="Path of the read endpoint, behind the URL: query_range for logs; read or"
                " query for metrics, as --read-api says (default: found out).",
                show_default=False,
            ),
        ] = None,
        ledger: Annotated[
            Path | None,
            _option(
                "--ledger",
                help="New file that keeps what was pushed, for `looker verify` at any later time.",
                show_default=False,
            ),
        ] = None,
        spot_check_every: Annotated[
            float | None,
            _option(
                "--spot-check-every",
                metavar="SECONDS",
                help="Read some older fragments again, at random, each time these seconds are over,"
                " in write phases too (default: never).",
                show_default=False,
            ),
        ] = None,
        http_server_port: Annotated[
            int | None,
            _option(
                "--http-server-port",
                help="Port of Looker's own /metrics (default: the first free one of 8900-8990).",
                show_default=False,
            ),
        ] = None,
        out_of_order_fraction: Annotated[
            float,
            _option(
                "--out-of-order-fraction",
                help="Write this fraction, 0 to 1, of each two successive fragments in the wrong"
                " order.",
            ),
        ] = 0.0,
        duplicate_fraction: Annotated[
            float,
            _option(
                "--duplicate-fraction",
                help="Send this fraction, 0 to 1, of the acknowledged messages once more.",
            ),
        ] = 0.0,
        verify: Annotated[
            VerifyMode | None,
            _option(
                "--verify",
                help="What is checked: content (regenerated, and by the checksum of sending;"
                " default), checksum alone, count (streams and timestamps only), or off.",
                show_default=False,
            ),
        ] = None,
        max_examples: Annotated[
            int,
            _option(
                "--max-examples", help="How many mismatches of a cycle to show in full, 0 to 100."
            ),
        ] = DEFAULT_MAX_EXAMPLES,
        fail_if: Annotated[
            list[str] | None,
            _option(
                "--fail-if",
                metavar="CONDITION",
                help="End with exit code 4 if this holds for the totals of the report, like"
                " 'write.service_ms.p99 > 500'; may be given several times.",
                show_default=False,
            ),
        ] = None,
        target_metrics_url: Annotated[
            str | None,
            _option(
                "--target-metrics-url",
                help="Where the target's own metrics are, to tell what it uses while the run goes"
                " on (default: /metrics behind the URL); 'off' asks for none.",
                show_default=False,
                rich_help_panel=_TARGET_USAGE,
            ),
        ] = None,
        target_metric: Annotated[
            list[str] | None,
            _option(
                "--target-metric",
                metavar="NAME",
                help="A further metric of the target to keep in the report, summed over its label"
                ' sets, as name or name{label="value"}; may be given several times.',
                show_default=False,
                rich_help_panel=_TARGET_USAGE,
            ),
        ] = None,
        target_metrics_every_seconds: Annotated[
            float,
            _option(
                "--target-metrics-every-seconds",
                help="How often to ask, beside the beginning and end of each phase.",
                rich_help_panel=_TARGET_USAGE,
            ),
        ] = 1.0,
        config: Annotated[
            Path | None,
            _option(
                "--config",
                help="TOML file of these options, with underscores; the command line beats the"
                " environment (LOOKER_...), and that beats the file.",
                show_default=False,
            ),
        ] = None,
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
            n_warm_up_cycles=n_warm_up_cycles,
            change_streams_every_n_cycles=change_streams_every_n_cycles,
            skip_read=skip_read,
            read_n_streams=read_n_streams_only,
            read_api=read_api,
            read_shape=read_shape,
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
            stop_after_n_seconds_jitter=stop_write_after_n_seconds_jitter,
            start_time=log_start_time,
            include_time=include_time_in_msg,
            labels=tuple(label or ()),
            ignore_labels=tuple(ignore_label or ()),
            query_matchers=tuple(query_matcher or ()),
            allow_rejected=allow_rejected,
            stop_on_mismatch=stop_on_mismatch,
            force=force,
            bearer_token_file=bearer_token_file,
            ca_file=ca_file,
            insecure_skip_verify=insecure_skip_verify,
            push_path=push_path,
            query_path=query_path,
            http_server_port=http_server_port,
            ledger=ledger,
            spot_check_every_s=spot_check_every,
            max_examples=max_examples,
            verify=verify,
            out_of_order_fraction=out_of_order_fraction,
            duplicate_fraction=duplicate_fraction,
            request_timeout_s=request_timeout_seconds,
            batch_deadline_ms=batch_deadline_ms,
            fail_if=tuple(fail_if or ()),
            target_metrics_url=target_metrics_url,
            target_metrics=tuple(target_metric or ()),
            target_metrics_every_s=target_metrics_every_seconds,
            config=config,
        )
        raise typer.Exit(int(act(configuration(given))))

    return command
