"""The limits of the servers that the target can stand for, and what each of them ships with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from looker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Like = Literal["looker", "loki-default", "loki-raised", "cortex-default", "cortex", "prometheus"]
Product = Literal["looker", "loki", "cortex", "prometheus"]
LIKES: Final[tuple[Like, ...]] = get_args(Like)
_HOUR: Final = 3600.0


def product_of(like: Like) -> Product:
    """Return which product's paths and rules a ``--like`` means."""
    family = like.partition("-")[0]
    if family in {"loki", "cortex", "prometheus"}:
        return family  # type: ignore[return-value]
    return "looker"


def _limit(default: float, products: str, text: str) -> Any:
    """Make a field: for which products it is, and what the command line says about it."""
    return field(default=default, metadata={"products": products.split(), "help": text})


@dataclass(frozen=True)
class Limits:
    """Limits by the servers' names for them; 0 (or False) means none.

    MB and KB are 2**20 and 2**10 bytes, as these servers count. Raises UsageError for a value
    that cannot be.
    """

    ingestion_rate_mb: float = _limit(
        0.0, "looker loki", "Line megabytes per second that a tenant may push."
    )
    ingestion_burst_size_mb: float = _limit(
        0.0, "looker loki", "Line megabytes of one push, and what may be saved up."
    )
    per_stream_rate_limit_mb: float = _limit(
        0.0, "looker loki", "Line megabytes per second of one stream."
    )
    per_stream_rate_limit_burst_mb: float = _limit(
        0.0, "looker loki", "What one stream may save up, in line megabytes."
    )
    max_entries_limit: int = _limit(0, "looker loki", "Greatest limit of a query.")
    max_line_size: int = _limit(0, "looker loki", "Greatest length of a line in bytes.")
    max_streams: int = _limit(0, "looker loki", "Active streams of a tenant.")
    max_label_names: int = _limit(
        0, "looker loki cortex", "Labels of a stream (service_name not counted) or series."
    )
    max_grpc_message_mb: float = _limit(
        0.0, "looker loki", "Greatest push or answer between the server's parts."
    )
    reject_old_samples_max_age_s: float = _limit(
        0.0, "looker loki", "Age, by the wall clock, beyond which an entry is refused."
    )
    creation_grace_period_s: float = _limit(
        0.0, "looker loki cortex", "How far ahead of the wall clock a timestamp may be."
    )
    out_of_order_window_s: float = _limit(
        0.0, "looker loki", "How far behind its stream's newest entry an entry may be."
    )
    max_query_length_s: float = _limit(0.0, "looker loki", "Greatest time range of a query.")
    query_look_back_s: float = _limit(
        0.0, "looker loki", "Entries older than this are invisible until they are flushed."
    )
    shard_streams_desired_rate_kb: float = _limit(
        0.0, "looker loki", "Rate above which a stream is split by __stream_shard__."
    )
    discover_service_name: bool = _limit(
        False,  # noqa: FBT003 - a default
        "looker loki",
        "Add the label service_name.",
    )
    discover_log_levels: bool = _limit(
        False,  # noqa: FBT003 - a default
        "looker loki",
        "Add the structured metadata detected_level.",
    )
    ingestion_rate: float = _limit(0.0, "cortex", "Samples per second that a tenant may push.")
    ingestion_burst_size: int = _limit(
        0, "cortex", "Samples of one push, and what may be saved up."
    )
    max_series_per_metric: int = _limit(0, "cortex", "Series of one metric name.")
    max_series_per_user: int = _limit(0, "cortex", "Series of a tenant.")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, option in OPTION_OF.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise UsageError(option, f"{value:g} is not a finite number from 0 on")
        for rate, burst in _PAIRS:
            if getattr(self, rate) and not getattr(self, burst):
                raise UsageError(OPTION_OF[burst], f"must be above 0 where {OPTION_OF[rate]} is")

    @property
    def guards_logs(self) -> bool:
        """Whether anything is to be looked at when logs are pushed."""
        guards = (
            self.ingestion_rate_mb,
            self.per_stream_rate_limit_mb,
            self.max_line_size,
            self.max_streams,
            self.max_label_names,
            self.max_grpc_message_mb,
            self.reject_old_samples_max_age_s,
            self.creation_grace_period_s,
            self.out_of_order_window_s,
            self.shard_streams_desired_rate_kb,
            self.discover_service_name,
        )
        return any(guards)


_PAIRS: Final = (
    ("ingestion_rate_mb", "ingestion_burst_size_mb"),
    ("per_stream_rate_limit_mb", "per_stream_rate_limit_burst_mb"),
    ("ingestion_rate", "ingestion_burst_size"),
)
OPTION_OF: Final[dict[str, str]] = {
    one.name: "--" + one.name.removesuffix("_s").replace("_", "-") for one in fields(Limits)
}
"""The command line's option of every field; times (``_s``) are durations there, such as 10m."""

PRESETS: Final[dict[Like, Limits]] = {
    "looker": Limits(max_entries_limit=5000),
    "loki-default": Limits(
        ingestion_rate_mb=4.0,
        ingestion_burst_size_mb=6.0,
        per_stream_rate_limit_mb=3.0,
        per_stream_rate_limit_burst_mb=15.0,
        max_entries_limit=5000,
        max_line_size=262_144,
        max_streams=5000,
        max_label_names=15,
        max_grpc_message_mb=4.0,
        reject_old_samples_max_age_s=168 * _HOUR,
        creation_grace_period_s=_HOUR / 6,
        out_of_order_window_s=_HOUR,
        max_query_length_s=721 * _HOUR,
        query_look_back_s=2.6 * _HOUR,
        shard_streams_desired_rate_kb=1536.0,
        discover_service_name=True,
        discover_log_levels=True,
    ),
    "loki-raised": Limits(
        ingestion_rate_mb=10_000.0,
        ingestion_burst_size_mb=10_000.0,
        per_stream_rate_limit_mb=10_240.0,
        per_stream_rate_limit_burst_mb=10_240.0,
        max_label_names=50,
        max_grpc_message_mb=100.0,
        creation_grace_period_s=_HOUR / 6,
        out_of_order_window_s=_HOUR,
    ),
    "cortex-default": Limits(
        ingestion_rate=25_000.0,
        ingestion_burst_size=50_000,
        max_series_per_metric=50_000,
        max_series_per_user=5_000_000,
        max_label_names=30,
        creation_grace_period_s=_HOUR / 6,
    ),
    "cortex": Limits(
        ingestion_rate=100_000_000.0,
        ingestion_burst_size=100_000_000,
        max_label_names=60,
        creation_grace_period_s=_HOUR / 6,
    ),
    "prometheus": Limits(),
}


def limits_of(like: Like, changes: Mapping[str, Any]) -> Limits:
    """Return the limits of ``like`` with single ones changed; None leaves one as it is.

    Times may be durations such as 10m. Raises UsageError for a limit that the product does not
    have, and for a value that cannot be. A rate given without its burst brings a burst in the
    proportion that the server comes with.
    """
    product = product_of(like)
    given: dict[str, Any] = {}
    for one in fields(Limits):
        value = changes.get(one.name)
        if value is None:
            continue
        option = OPTION_OF[one.name]
        if product not in one.metadata["products"]:
            raise UsageError(option, f"is no limit of --like {like}")
        given[one.name] = seconds_of(option, value) if one.name.endswith("_s") else value
    for rate, burst in _PAIRS:
        # a rate given alone would not be felt before a burst of another size is used up
        if given.get(rate) and burst not in given:
            defaults = PRESETS[
                "cortex-default" if burst == "ingestion_burst_size" else "loki-default"
            ]
            ratio = getattr(defaults, burst) / getattr(defaults, rate)
            given[burst] = type(getattr(defaults, burst))(given[rate] * ratio)
    return replace(PRESETS[like], **given)


def seconds_of(option: str, value: object) -> float:
    """Parse a duration; a number is taken as seconds."""
    from looker.target.answers import duration_ms  # noqa: PLC0415

    if isinstance(value, int | float):
        return float(value)
    ms = 0 if value == "0" else duration_ms(str(value))
    if ms is None:
        raise UsageError(option, f"{value!r} is no duration such as 90s, 10m or 7d")
    return ms / 1000
