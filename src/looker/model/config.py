"""The configuration of a run, and the rules that its values keep."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from looker.errors import UsageError
from looker.model.labels import (
    GROUP,
    METRIC_NAME,
    UNIQUENAME,
    group_size_for,
    is_classic_name,
)
from looker.model.matchers import check_matchers
from looker.model.mismatch import DEFAULT_MAX_EXAMPLES, MAX_EXAMPLES
from looker.model.retry import RetryPolicy
from looker.model.target_options import check_target_metrics
from looker.model.url_rules import check_base_url

if TYPE_CHECKING:
    from pathlib import Path


class Mode(StrEnum):
    """What is written: log entries or metric samples."""

    LOGS = "logs"
    METRICS = "metrics"


class Compressability(StrEnum):
    """How well the generated content compresses."""

    MIN = "min"
    MEDIUM = "medium"
    MAX = "max"


class ReadApi(StrEnum):
    """By which interface metrics are read back."""

    AUTO = "auto"
    REMOTE_READ = "remote-read"
    QUERY = "query"


class ReadShape(StrEnum):
    """How what was written is asked for, beside the exact pages that tell what is there."""

    EXACT = "exact"
    """By those pages alone."""
    WIDE = "wide"
    """Many streams and the whole time range at once."""
    LIMITED = "limited"
    """With a limit, and the next page from the last timestamp; and once with the default limit."""
    BACKWARD = "backward"
    """The newest entries first."""
    MIXED = "mixed"
    """One of them for each selection, at random."""


class VerifyMode(StrEnum):
    """How much of what came back is checked, from the strongest to the weakest."""

    CONTENT = "content"
    """Regenerated bit by bit, and by the checksum of sending."""
    CHECKSUM = "checksum"
    """By the checksum of sending alone, per fragment."""
    COUNT = "count"
    """Streams and timestamps only."""
    OFF = "off"
    """Nothing is read back."""


NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
TIME_PREFIX_CHARS: Final = 20
"""19 digits of a timestamp in nanoseconds, and a colon."""
DEFAULT_MIN_LAG_S: Final = 30.0
DEFAULT_MAX_LAG_S: Final = 120.0
MAX_LABEL_NAME_BYTES: Final = 1024
MAX_LINE_CHARS: Final = 1_000_000
MAX_FRAGMENT_BYTES: Final = 512 * 1024 * 1024
MAX_STREAMS: Final = 100_000_000
MAX_WIDTH_S: Final = 366 * 86_400
MAX_LAG_S: Final = 10 * 366 * 86_400
MIN_START_TIME_NS: Final = 315_532_800 * NS_PER_S
MAX_START_TIME_NS: Final = 4_102_444_800 * NS_PER_S
LOKI_WINDOW_S: Final = 3_600
"""Loki, as it comes, takes entries that are so far behind their stream's newest one."""
MAX_LOG_AGE_S: Final = 7_200
"""Loki (one process, as it comes) does not return unflushed entries older than some 2.6 h."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that a run is told; the defaults make a run of some seconds.

    ``url`` None means the embedded target. ``max_lag_s`` None means the larger of 120 s and five
    fragment widths. ``n_workers`` and the concurrency limits are numbers by the time a
    configuration is made: their defaults depend on the host, see :func:`looker.cli.options`.
    ``fail_if`` are conditions as :mod:`looker.model.threshold` reads them.
    ``target_metrics_url`` None means the target's own ``/metrics``, ``off`` none at all;
    ``target_metrics`` are selectors as :mod:`looker.model.metric_selector` reads them.
    ``n_warm_up_cycles`` come before the ``n_cycles`` that are measured (0: without end).
    ``start_time_ns`` switches the coupling to wall time off. ``id_is_given`` tells that the
    invocation id is not random. ``streams_per_group`` is given where streams that exist already are
    read by another number of workers than wrote them.
    """

    mode: Mode
    url: str | None
    invocation_id: str
    seed: int
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
    max_concurrent_writes: int
    max_concurrent_reads: int
    step_ns: int
    min_lag_s: float
    max_lag_s: float
    n_workers: int
    align_phases: bool
    tenant: str | None
    retry: RetryPolicy
    report: Path | None
    log_level: str
    include_time: bool = True
    start_time_ns: int | None = None
    stop_after_n_seconds_jitter: float = 0.0
    labels: tuple[tuple[str, str], ...] = ()
    ignore_labels: tuple[str, ...] = ()
    query_matchers: tuple[tuple[str, str, str], ...] = ()
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
    streams_per_group: int | None = None
    max_examples: int = DEFAULT_MAX_EXAMPLES
    verify: VerifyMode = VerifyMode.CONTENT
    id_is_given: bool = False
    out_of_order_fraction: float = 0.0
    duplicate_fraction: float = 0.0
    request_timeout_s: float = 60.0
    batch_deadline_ms: float = 0.0
    fail_if: tuple[str, ...] = ()
    target_metrics_url: str | None = None
    target_metrics: tuple[str, ...] = ()
    target_metrics_every_s: float = 1.0
    n_warm_up_cycles: int = 0

    @property
    def asks_queries(self) -> bool:
        """Whether anything is read back: in cycles, or by spot checks."""
        return not self.skip_read or self.spot_check_every_s is not None

    @property
    def width_ns(self) -> int:
        """Time from a fragment's first sample to its last one, ns."""
        return (self.n_samples_per_fragment - 1) * self.step_ns

    @property
    def group_size(self) -> int:
        """Number of streams that share a group label."""
        if self.streams_per_group is not None:
            return self.streams_per_group
        return group_size_for(self.n_streams, self.n_workers)

    @property
    def payload_bytes_per_fragment(self) -> int:
        """Line bytes of a fragment (logs), or 16 bytes per sample (metrics)."""
        per_sample = self.n_chars_per_line if self.mode is Mode.LOGS else 16
        return per_sample * self.n_samples_per_fragment

    def is_warm_up(self, cycle: int) -> bool:
        """Tell whether a cycle, counted from 0, comes before those that are measured."""
        return cycle < self.n_warm_up_cycles

    def is_last(self, cycle: int) -> bool:
        """Tell whether no cycle follows, unless something ends the run before."""
        return 0 < self.n_cycles <= cycle + 1 - self.n_warm_up_cycles

    def generation_of(self, cycle: int) -> int:
        """Return the generation whose streams a cycle writes to; both count from 0."""
        every = self.change_streams_every_n_cycles
        return cycle // every if every else 0

    def born_in_cycle(self, generation: int) -> int:
        """Return the cycle in which a generation's streams are made."""
        return generation * self.change_streams_every_n_cycles


def default_max_lag_s(min_lag_s: float, width_ns: int) -> float:
    """Return the larger of 120 s, five fragment widths, and what ``min_lag_s`` demands."""
    width_s = width_ns / NS_PER_S
    return max(DEFAULT_MAX_LAG_S, 5 * width_s, min_lag_s + 3 * width_s)


def check(config: RunConfig) -> None:
    """Raise UsageError, naming the option, for the first value or combination that is wrong."""
    _check_numbers(config)
    _check_text(config)
    _check_times(config)
    check_target_metrics(
        config.target_metrics_url, config.target_metrics, config.target_metrics_every_s
    )
    if config.stop_after_n_fragments is None and config.stop_after_n_seconds is None:
        raise UsageError(
            "--stop-write-after-n-fragments-per-stream",
            "give this or --stop-write-after-n-seconds, or a write phase has no end",
        )
    if config.n_workers > config.n_streams:
        raise UsageError(
            "--n-workers", f"{config.n_workers} workers cannot share {config.n_streams} stream(s)"
        )
    for option, limit in (
        ("--max-concurrent-writes", config.max_concurrent_writes),
        ("--max-concurrent-reads", config.max_concurrent_reads),
    ):
        if limit < config.n_workers:
            raise UsageError(
                option, f"must be at least the number of workers ({config.n_workers}), not {limit}"
            )
    if config.n_fragments_per_message > config.n_streams:
        raise UsageError(
            "--n-fragments-per-push-message",
            "the fragments of a message are of different streams: must be at most the number of"
            f" streams ({config.n_streams}), not {config.n_fragments_per_message}",
        )
    if config.read_n_streams is not None:
        if config.skip_read:
            raise UsageError("--read-n-streams-only", "contradicts --skip-read")
        if config.read_n_streams > config.n_streams:
            raise UsageError(
                "--read-n-streams-only",
                f"must be at most the number of streams ({config.n_streams}),"
                f" not {config.read_n_streams}",
            )
    if config.mode is Mode.LOGS and config.read_api is not ReadApi.AUTO:
        raise UsageError("--read-api", "is for metrics; logs are read back by query_range")
    _check_shape(config)


def _check_shape(config: RunConfig) -> None:
    if config.mode is Mode.METRICS and config.read_shape in (
        ReadShape.LIMITED,
        ReadShape.BACKWARD,
    ):
        raise UsageError(
            "--read-shape",
            f"{config.read_shape.value} is for logs: answers with metrics have neither a limit of"
            " samples nor a direction; exact, wide and mixed are for both",
        )


_INTEGERS: Final = {
    "n_streams": ("--n-concurrent-streams", 1, MAX_STREAMS),
    "n_samples_per_fragment": ("--n-entries-per-stream-fragment", 1, 10_000_000),
    "n_fragments_per_message": ("--n-fragments-per-push-message", 1, 1_000_000),
    "n_chars_per_line": ("--n-chars-per-msg", 1, MAX_LINE_CHARS),
    "stop_after_n_fragments": ("--stop-write-after-n-fragments-per-stream", 1, 2**32 - 1),
    "n_cycles": ("--n-cycles", 0, 2**32 - 1),
    "n_warm_up_cycles": ("--n-warm-up-cycles", 0, 1_000_000),
    "change_streams_every_n_cycles": ("--change-streams-every-n-cycles", 0, 2**32 - 1),
    "read_n_streams": ("--read-n-streams-only", 1, MAX_STREAMS),
    "max_concurrent_writes": ("--max-concurrent-writes", 1, 10_000),
    "max_concurrent_reads": ("--max-concurrent-reads", 1, 10_000),
    "n_workers": ("--n-workers", 1, 1024),
    "max_examples": ("--max-examples", 0, MAX_EXAMPLES),
    "seed": ("--seed", 0, 2**64 - 1),
    "http_server_port": ("--http-server-port", 1, 65_535),
}


def _check_numbers(config: RunConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in _INTEGERS or value is None:
            continue
        option, low, high = _INTEGERS[field.name]
        if not low <= value <= high:
            raise UsageError(option, f"must be from {low} to {high}, not {value}")
    if (
        config.mode is Mode.LOGS
        and config.include_time
        and config.n_chars_per_line < TIME_PREFIX_CHARS
    ):
        raise UsageError(
            "--n-chars-per-msg",
            f"must be at least {TIME_PREFIX_CHARS}, as a line begins with its time, not"
            f" {config.n_chars_per_line} (or: --no-include-time-in-msg)",
        )
    if config.payload_bytes_per_fragment * config.n_fragments_per_message > MAX_FRAGMENT_BYTES:
        raise UsageError(
            "--n-entries-per-stream-fragment",
            f"a push message of {config.n_fragments_per_message} fragment(s) would be larger than"
            f" {MAX_FRAGMENT_BYTES >> 20} MiB",
        )


def _check_text(config: RunConfig) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,100}", config.invocation_id):
        raise UsageError(
            "--invocation-id",
            "must be 1 to 100 letters, digits, '_', '.' or '-', as it becomes part of labels",
        )
    if config.url is not None:
        try:
            check_base_url(config.url)
        except ValueError as error:
            raise UsageError("URL", str(error)) from None
    tenant = config.tenant
    if tenant is not None and not re.fullmatch(r"[A-Za-z0-9!\-_.*'()|]{1,150}", tenant):
        raise UsageError(
            "--tenant", "must be 1 to 150 letters, digits or one of !-_.*'()| (X-Scope-OrgID)"
        )

    for option, path in (("--push-path", config.push_path), ("--query-path", config.query_path)):
        if path is not None and not re.fullmatch(r"/[^\s?#]*", path):
            raise UsageError(option, f"must begin with '/', without '?' and '#', not {path!r}")
    _check_labels(config)
    if config.insecure_skip_verify and config.ca_file is not None:
        raise UsageError("--insecure-skip-verify", "contradicts --ca-file")
    for option, file in (
        ("--bearer-token-file", config.bearer_token_file),
        ("--ca-file", config.ca_file),
    ):
        if file is not None and not file.is_file():
            raise UsageError(option, f"there is no file {file}")


def _check_labels(config: RunConfig) -> None:
    names = [name for name, _ in config.labels]
    for name, value in config.labels:
        if not is_classic_name(name):
            _check_utf8_name(config, name)
        if name in (UNIQUENAME, GROUP) or name.startswith("__"):
            raise UsageError("--label", f"the name {name} is reserved")
        if names.count(name) > 1:
            raise UsageError("--label", f"{name} is given twice")
        if not 1 <= len(value.encode("utf-8", "surrogateescape")) <= 1024:
            raise UsageError("--label", f"the value of {name} must have 1 to 1024 bytes")
        if not value.isprintable():
            raise UsageError("--label", f"the value of {name} must be printable")
    for name in config.ignore_labels:
        if name in (UNIQUENAME, GROUP, METRIC_NAME):
            raise UsageError("--ignore-label", f"{name} is a label by which Looker knows its own")
    check_matchers(config.query_matchers, config.labels)


def _check_utf8_name(config: RunConfig, name: str) -> None:
    """Raise UsageError where a label's name is none of Prometheus 3 either."""
    if config.mode is Mode.LOGS:
        raise UsageError(
            "--label",
            f"{name!r} is no label name of Loki's ([a-zA-Z_][a-zA-Z0-9_]*): it takes others, and"
            " then answers no query for such streams",
        )
    n_bytes = len(name.encode("utf-8", "surrogateescape"))
    if not 1 <= n_bytes <= MAX_LABEL_NAME_BYTES or not name.isprintable():
        raise UsageError(
            "--label", f"a name must have 1 to {MAX_LABEL_NAME_BYTES} bytes, all printable"
        )


def _check_times(config: RunConfig) -> None:
    step_option = (
        "--log-time-increment-ns" if config.mode is Mode.LOGS else "--metrics-time-increment-ms"
    )
    if config.step_ns > MAX_WIDTH_S * NS_PER_S:
        raise UsageError(step_option, "is more than a year")
    if config.step_ns < 1:
        raise UsageError(step_option, "must be at least 1: two samples of one time are one sample")
    width_s = config.width_ns / NS_PER_S
    if width_s > MAX_WIDTH_S:
        raise UsageError(step_option, f"a fragment would be {width_s:.0f} s wide, more than a year")
    jitter = config.stop_after_n_seconds_jitter
    if jitter and not 0 <= jitter <= (config.stop_after_n_seconds or 0):
        raise UsageError(
            "--stop-write-after-n-seconds-jitter",
            f"must be from 0 to --stop-write-after-n-seconds, not {jitter:g}",
        )
    if config.start_time_ns is not None and not (
        MIN_START_TIME_NS <= config.start_time_ns < MAX_START_TIME_NS
    ):
        raise UsageError("--log-start-time", "must be a time from 1980 to 2100")
    seconds = config.stop_after_n_seconds
    if seconds is not None and not 0 < seconds < 10**9:
        raise UsageError("--stop-write-after-n-seconds", f"must be positive, not {seconds:g}")
    _check_durations(config)
    _check_lags(config, width_s)
    _check_disorder(config)


def _check_durations(config: RunConfig) -> None:
    every_s = config.spot_check_every_s
    if every_s is not None and not 0.1 <= every_s < 10**9:
        raise UsageError("--spot-check-every", f"must be at least 0.1 s, not {every_s:g}")
    if not 0 <= config.read_grace_s < 10**6:
        raise UsageError(
            "--read-grace-seconds", f"must not be negative, not {config.read_grace_s:g}"
        )
    if not 0.001 <= config.request_timeout_s <= 86_400:
        raise UsageError(
            "--request-timeout-seconds",
            f"must be from 0.001 to 86400, not {config.request_timeout_s:g}",
        )
    if not 0 <= config.batch_deadline_ms <= 3_600_000:
        raise UsageError(
            "--batch-deadline-ms",
            f"must be from 0 to 3600000 (an hour), not {config.batch_deadline_ms:g}",
        )


def _check_disorder(config: RunConfig) -> None:
    for option, fraction in (
        ("--out-of-order-fraction", config.out_of_order_fraction),
        ("--duplicate-fraction", config.duplicate_fraction),
    ):
        if not 0 <= fraction <= 1:
            raise UsageError(option, f"must be from 0 to 1, not {fraction:g}")
    behind_s = (config.width_ns + config.n_samples_per_fragment * config.step_ns) / NS_PER_S
    if config.out_of_order_fraction and config.mode is Mode.LOGS and behind_s > LOKI_WINDOW_S:
        raise UsageError(
            "--out-of-order-fraction",
            f"entries would be up to {behind_s:.0f} s behind their stream's newest one, and Loki"
            f" takes {LOKI_WINDOW_S} s: lower --log-time-increment-ns or"
            " --n-entries-per-stream-fragment",
        )


def _check_lags(config: RunConfig, width_s: float) -> None:
    if not config.min_lag_s >= 0:
        raise UsageError("--min-lag-seconds", f"must not be negative, not {config.min_lag_s:g}")
    if not config.max_lag_s <= MAX_LAG_S:
        raise UsageError(
            "--max-lag-seconds", f"must be at most {MAX_LAG_S}, not {config.max_lag_s:g}"
        )
    needed_s = config.min_lag_s + 3 * width_s
    if not config.max_lag_s >= needed_s:
        raise UsageError(
            "--max-lag-seconds",
            f"must be at least the minimum lag plus three fragment widths ({needed_s:g} s),"
            f" not {config.max_lag_s:g}",
        )
    if config.max_lag_s <= config.min_lag_s:
        raise UsageError("--max-lag-seconds", "must be larger than --min-lag-seconds")


def checked_retry(
    deadline_s: float, min_delay_s: float, max_delay_s: float, jitter: float
) -> RetryPolicy:
    """Return the retry policy; UsageError, naming the option, where a number is wrong."""
    for option, value in (
        ("--retry-post-deadline-seconds", deadline_s),
        ("--retry-post-min-delay-seconds", min_delay_s),
        ("--retry-post-max-delay-seconds", max_delay_s),
    ):
        if not 0 <= value < 10**9:
            raise UsageError(option, f"must not be negative, not {value:g}")
    if min_delay_s < 0.001:
        raise UsageError("--retry-post-min-delay-seconds", "must be at least 0.001")
    if max_delay_s < min_delay_s:
        raise UsageError(
            "--retry-post-max-delay-seconds",
            f"must be at least the minimum delay ({min_delay_s:g}), not {max_delay_s:g}",
        )
    if not 0 <= jitter <= 1:
        raise UsageError("--retry-post-jitter", f"must be from 0 to 1, not {jitter:g}")
    return RetryPolicy(deadline_s, min_delay_s, max_delay_s, jitter)
