"""From options to a run configuration: defaults that depend on the host or on other options."""

from __future__ import annotations

import os
import secrets
import string
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from looker.errors import UsageError
from looker.model.config import (
    DEFAULT_MIN_LAG_S,
    MAX_LOG_AGE_S,
    NS_PER_MS,
    NS_PER_S,
    Compressability,
    Mode,
    ReadApi,
    ReadShape,
    RunConfig,
    VerifyMode,
    check,
    checked_retry,
    default_max_lag_s,
)
from looker.model.matchers import matcher_of
from looker.model.mismatch import DEFAULT_MAX_EXAMPLES
from looker.model.target_usage import OFF, known_metrics
from looker.observe.environment import usable_cores
from looker.observe.report_place import STANDARD_OUTPUT, is_same_file, refuse_no_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_WRITERS: Final = 10
DEFAULT_N_FRAGMENTS: Final = 10
_OF_CONTENT: Final = ("mismatches.corrupt", "fragments_proved_by_checksum")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What differs between logs and metrics: a run of some seconds on two cores."""

    n_streams: int
    n_samples: int


DEFAULTS: Final = {
    Mode.LOGS: Defaults(n_streams=100, n_samples=1000),
    Mode.METRICS: Defaults(n_streams=1000, n_samples=500),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was given on the command line; None where a default is to be found."""

    mode: Mode
    url: str | None
    invocation_id: str | None
    seed: int | None
    n_streams: int
    n_samples_per_fragment: int
    n_fragments_per_message: int
    n_chars_per_line: int
    compressability: Compressability
    stop_after_n_fragments: int | None
    stop_after_n_seconds: float | None
    n_cycles: int
    change_streams_every_n_cycles: int
    skip_read: bool
    read_n_streams: int | None
    read_api: ReadApi
    read_grace_s: float
    max_concurrent_writes: int | None
    max_concurrent_reads: int | None
    log_step_ns: int | None
    metrics_step_ms: int | None
    min_lag_s: float | None
    max_lag_s: float | None
    n_workers: int | None
    align_phases: bool
    tenant: str | None
    retry_deadline_s: float
    retry_min_delay_s: float
    retry_max_delay_s: float
    retry_jitter: float
    report: Path | None
    log_level: str
    stop_after_n_seconds_jitter: float = 0.0
    start_time: str | None = None
    include_time: bool = True
    labels: tuple[str, ...] = ()
    ignore_labels: tuple[str, ...] = ()
    query_matchers: tuple[str, ...] = ()
    allow_rejected: bool = False
    stop_on_mismatch: bool = False
    force: bool = False
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    push_path: str | None = None
    query_path: str | None = None
    http_server_port: int | None = None
    ledger: Path | None = None
    spot_check_every_s: float | None = None
    read_shape: ReadShape = ReadShape.EXACT
    max_examples: int = DEFAULT_MAX_EXAMPLES
    verify: VerifyMode | None = None
    out_of_order_fraction: float = 0.0
    duplicate_fraction: float = 0.0
    request_timeout_s: float = 60.0
    batch_deadline_ms: float = 0.0
    fail_if: tuple[str, ...] = ()
    target_metrics_url: str | None = None
    target_metrics: tuple[str, ...] = ()
    target_metrics_every_s: float = 1.0
    n_warm_up_cycles: int = 0
    config: Path | None = None


def configuration(given: Options, cores: Callable[[], int] = usable_cores) -> RunConfig:
    """Return the checked configuration; UsageError, naming the option, where it cannot work."""
    step_ns = _step_ns(given)
    width_ns = max(0, given.n_samples_per_fragment - 1) * max(1, step_ns)
    min_lag_s = DEFAULT_MIN_LAG_S if given.min_lag_s is None else given.min_lag_s
    max_lag_s = given.max_lag_s
    if max_lag_s is None:
        max_lag_s = default_max_lag_s(min_lag_s, width_ns)
    n_workers = given.n_workers
    if n_workers is None:
        limits = (given.n_streams, given.max_concurrent_writes, given.max_concurrent_reads)
        n_workers = max(1, min(cores(), *(limit for limit in limits if limit is not None)))
    concurrency = max(1, min(max(_WRITERS, 2 * n_workers), given.n_streams))
    stop_after_n_fragments = given.stop_after_n_fragments
    if stop_after_n_fragments is None and given.stop_after_n_seconds is None:
        stop_after_n_fragments = DEFAULT_N_FRAGMENTS
    invocation_id = given.invocation_id
    if invocation_id is None:
        invocation_id = "looker-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
    verify = _verify(given)
    config = RunConfig(
        mode=given.mode,
        url=given.url,
        invocation_id=invocation_id,
        # 53 bits, so that every reader of the JSON report gets them right
        seed=secrets.randbits(53) if given.seed is None else given.seed,
        n_streams=given.n_streams,
        n_samples_per_fragment=given.n_samples_per_fragment,
        n_fragments_per_message=given.n_fragments_per_message,
        n_chars_per_line=given.n_chars_per_line,
        compressability=given.compressability,
        stop_after_n_fragments=stop_after_n_fragments,
        stop_after_n_seconds=given.stop_after_n_seconds,
        n_cycles=given.n_cycles,
        change_streams_every_n_cycles=given.change_streams_every_n_cycles,
        skip_read=verify is VerifyMode.OFF,
        read_n_streams=given.read_n_streams,
        read_api=given.read_api,
        read_grace_s=given.read_grace_s,
        max_concurrent_writes=given.max_concurrent_writes or concurrency,
        max_concurrent_reads=given.max_concurrent_reads or concurrency,
        step_ns=step_ns,
        min_lag_s=min_lag_s,
        max_lag_s=max_lag_s,
        n_workers=n_workers,
        align_phases=given.align_phases,
        tenant=given.tenant,
        retry=checked_retry(
            given.retry_deadline_s,
            given.retry_min_delay_s,
            given.retry_max_delay_s,
            given.retry_jitter,
        ),
        report=report_path(given.report) or Path(f"{invocation_id}.report.json"),
        log_level=given.log_level,
        stop_after_n_seconds_jitter=given.stop_after_n_seconds_jitter,
        start_time_ns=_start_time_ns(given),
        include_time=given.include_time,
        labels=tuple(_label(word) for word in given.labels),
        ignore_labels=given.ignore_labels,
        query_matchers=tuple(map(matcher_of, given.query_matchers)),
        allow_rejected=given.allow_rejected,
        stop_on_mismatch=given.stop_on_mismatch,
        force=given.force,
        bearer_token_file=given.bearer_token_file,
        ca_file=given.ca_file,
        insecure_skip_verify=given.insecure_skip_verify,
        push_path=given.push_path,
        query_path=given.query_path,
        http_server_port=given.http_server_port,
        ledger=given.ledger,
        spot_check_every_s=given.spot_check_every_s,
        read_shape=given.read_shape,
        max_examples=given.max_examples,
        verify=verify,
        out_of_order_fraction=given.out_of_order_fraction,
        duplicate_fraction=given.duplicate_fraction,
        id_is_given=given.invocation_id is not None,
        request_timeout_s=given.request_timeout_s,
        batch_deadline_ms=given.batch_deadline_ms,
        fail_if=given.fail_if,
        target_metrics_url=given.target_metrics_url,
        target_metrics=given.target_metrics,
        target_metrics_every_s=given.target_metrics_every_s,
        n_warm_up_cycles=given.n_warm_up_cycles,
    )
    for option, value in (
        ("--max-concurrent-writes", given.max_concurrent_writes),
        ("--max-concurrent-reads", given.max_concurrent_reads),
    ):
        if value is not None and value < 1:
            raise UsageError(option, f"must be at least 1, not {value}")
    check(config)
    check_report(
        config.report,
        {
            "--bearer-token-file": config.bearer_token_file,
            "--ca-file": config.ca_file,
            "--config": given.config,
        },
    )
    _check_ledger(config.ledger, config.report)
    if config.fail_if:
        _check_thresholds(config)
    return config


def _verify(given: Options) -> VerifyMode:
    if not given.skip_read:
        return given.verify or VerifyMode.CONTENT
    if given.verify not in (None, VerifyMode.OFF):
        raise UsageError("--verify", f"{given.verify} contradicts --skip-read")
    return VerifyMode.OFF


def _label(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _start_time_ns(given: Options) -> int | None:
    if given.start_time is None:
        return None
    for option, value in (
        ("--min-lag-seconds", given.min_lag_s),
        ("--max-lag-seconds", given.max_lag_s),
    ):
        if value is not None:
            raise UsageError(option, "has no meaning with --log-start-time")
    try:
        start = datetime.fromisoformat(given.start_time)
    except ValueError as error:
        raise UsageError(
            "--log-start-time",
            f"must be a time like 2026-01-31T12:00:00Z (RFC 3339), not {given.start_time!r}",
        ) from error
    if start.tzinfo is None:
        raise UsageError("--log-start-time", "must say its offset from UTC, or Z")
    start_ns = int(start.timestamp()) * NS_PER_S + start.microsecond * 1000
    age_s = time.time() - start_ns / NS_PER_S
    reads_nothing = _verify(given) is VerifyMode.OFF
    if given.mode is Mode.LOGS and age_s > MAX_LOG_AGE_S and not (reads_nothing or given.force):
        raise UsageError(
            "--log-start-time",
            "Loki does not return unflushed entries older than some 2.6 h: must be at most 2 h ago"
            " (or: --skip-read, --force)",
        )
    return start_ns


def _step_ns(given: Options) -> int:
    if given.mode is Mode.LOGS:
        if given.metrics_step_ms is not None:
            raise UsageError(
                "--metrics-time-increment-ms", "is for metrics; for logs: --log-time-increment-ns"
            )
        return 1 if given.log_step_ns is None else given.log_step_ns
    if given.log_step_ns is not None:
        raise UsageError(
            "--log-time-increment-ns", "is for logs; for metrics: --metrics-time-increment-ms"
        )
    return NS_PER_MS * (1 if given.metrics_step_ms is None else given.metrics_step_ms)


def _check_thresholds(config: RunConfig) -> None:
    """Raise UsageError for a condition that is none, or on a figure that there will not be."""
    # a run without conditions starts without what reading them imports
    from looker.model.figures import metric_of  # noqa: PLC0415
    from looker.model.threshold import OPTION, cannot_hold, parsed  # noqa: PLC0415

    kept = {*known_metrics(), *(text.strip() for text in config.target_metrics)}
    never = [(begin, why) for is_so, begins, why in _never(config) if is_so for begin in begins]
    for expr in config.fail_if:
        threshold = parsed(expr)
        why = next((why for begin, why in never if threshold.path.startswith(begin)), None)
        metric = metric_of(threshold.path)
        if metric is not None and metric not in kept:
            why = why or f"{metric} is not kept: give --target-metric"
        if why is None and cannot_hold(threshold):
            why = f"{threshold.path} is never below 0: the condition could never hold"
        if why is not None:
            raise UsageError(OPTION, f"{expr!r}: {why}")


def _never(config: RunConfig) -> list[tuple[bool, tuple[str, ...], str]]:
    """Return whether a run will not have figures, what their paths begin with, and why not."""
    parts = ("read.", "spot_check.")
    of_content = [f"{part}{name}" for part in parts for name in _OF_CONTENT]
    return [
        (config.skip_read, ("read.",), "nothing is read (--skip-read, --verify off)"),
        (
            config.spot_check_every_s is None,
            ("spot_check.",),
            "there are no spot checks (--spot-check-every)",
        ),
        (
            config.target_metrics_url == OFF,
            ("target.",),
            "the target is not asked (--target-metrics-url)",
        ),
        (
            not config.align_phases,
            ("target.write_cpu_s", "target.read_cpu_s"),
            "phases overlap (--no-align-phases)",
        ),
        (
            config.verify is VerifyMode.COUNT,
            tuple(of_content),
            "content is not checked (--verify count)",
        ),
        (
            not config.out_of_order_fraction,
            ("write.out_of_order_sent",),
            "nothing is to be out of order (--out-of-order-fraction)",
        ),
        (
            not config.duplicate_fraction,
            ("write.duplicates_",),
            "nothing is sent again on purpose (--duplicate-fraction)",
        ),
    ]


def report_path(given: Path | None) -> Path | None:
    """Return where a report goes that is given as ``-``: standard output."""
    return STANDARD_OUTPUT if given is not None and str(given) == "-" else given


def check_report(path: Path | None, inputs: Mapping[str, Path | None] | None = None) -> None:
    """Raise UsageError where a report cannot be written, or would replace what is read.

    ``inputs`` are files by the option that names them.
    """
    if path is None:
        return
    refuse_no_place("--report", path)
    for name, other in (inputs or {}).items():
        if other is not None and is_same_file(path, other):
            raise UsageError("--report", f"{path} is {name}, too: give another file")


def _check_ledger(path: Path | None, report: Path | None) -> None:
    if path is None:
        return
    if os.path.lexists(path):
        raise UsageError("--ledger", f"{path} exists already: give another file")
    refuse_no_place("--ledger", path)
    if report is not None and path.resolve() == report.resolve():
        raise UsageError("--ledger", f"{path} is to be the report: give another file")
