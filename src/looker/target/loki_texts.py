"""What Loki says when it refuses something, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.target import go_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from looker.target.matchers import SelectorError

_MOST_LISTED = 10
TIMED_OUT = (
    "request timed out, decrease the duration of the request or add more label matchers (prefer "
    "exact match over regex match) to reduce the amount of data processed"
)


def grouped(messages: Sequence[str]) -> str:
    """Join messages; equal ones are counted."""
    counts: dict[str, int] = {}
    for message in messages:
        counts[message] = counts.get(message, 0) + 1
    return "; ".join(text if n == 1 else f"{n} errors like: {text}" for text, n in counts.items())


def labels_error(error: SelectorError) -> str:
    """Say what is wrong with a label string."""
    text = str(error)
    if text.startswith("syntax error"):
        return f"error parsing labels: 1:{error.column}: parse error: {text}"
    return text


def too_many_labels(labels: str, n_names: int, limit: int) -> str:
    """Refuse a stream for its number of labels."""
    return f"entry for stream '{labels}' has {n_names} label names; limit {limit}"


def too_old(labels: str, time_ns: int, oldest_ns: int) -> str:
    """Refuse an entry by the wall clock."""
    return (
        f"entry for stream '{labels}' has timestamp too old: {go_text.rfc3339(time_ns)}, "
        f"oldest acceptable timestamp is: {go_text.rfc3339(oldest_ns)}"
    )


def too_new(labels: str, time_ns: int) -> str:
    """Refuse an entry of the future."""
    return f"entry for stream '{labels}' has timestamp too new: {go_text.rfc3339(time_ns)}"


def too_long(labels: str, size: int, limit: int) -> str:
    """Refuse a line for its length."""
    return (
        f"max entry size '{limit}' bytes exceeded for stream '{labels}' "
        f"while adding an entry with length '{size}' bytes"
    )


def rate_limited(tenant: str, rate: int, n_lines: int, n_bytes: int) -> str:
    """Refuse a whole request for the tenant's rate."""
    return (
        f"ingestion rate limit exceeded for user {tenant} (limit: {rate} bytes/sec) while "
        f"attempting to ingest '{n_lines}' lines totaling '{n_bytes}' bytes, reduce log volume or "
        "contact your Loki administrator to see if the limit can be increased"
    )


def message_too_large(how: str, n_bytes: int, limit: int) -> str:
    """Refuse a message between the server's parts."""
    what = "grpc: received" if how == "received" else "trying to send"
    return (
        f"rpc error: code = ResourceExhausted desc = {what} message larger than max "
        f"({n_bytes} vs. {limit})"
    )


def too_many_streams(labels: str, tenant: str) -> str:
    """Refuse a new stream."""
    return (
        f"maximum active stream limit exceeded when trying to create stream {labels}, reduce the "
        "number of active streams (reduce labels or reduce label values), or contact your Loki "
        f"administrator to see if the limit can be increased, user: '{tenant}'"
    )


def stream_rate(rate: int, labels: str, size: int) -> str:
    """Refuse an entry for its stream's rate."""
    return (
        f"Per stream rate limit exceeded (limit: {go_text.byte_size(rate)}/sec) while attempting "
        f"to ingest for stream '{labels}' totaling {go_text.byte_size(size)}, consider splitting "
        "a stream via additional labels or contact your Loki administrator to see if the limit "
        "can be increased"
    )


def too_far_behind(time_ns: int, oldest_ns: int) -> str:
    """Refuse an entry that is out of order for too long."""
    return (
        f"entry too far behind, entry timestamp is: {go_text.rfc3339(time_ns)}, "
        f"oldest acceptable timestamp is: {go_text.rfc3339(oldest_ns)}"
    )


class Refused:
    """The entries of one stream that are refused: their number, and the first reasons."""

    def __init__(self) -> None:
        self.n = 0
        self.status = 0
        self._listed: list[str] = []

    def add(self, time_ns: int, status: int, reason: Callable[[], str]) -> None:
        """Add an entry; what is answered is the last one's status."""
        self.n += 1
        self.status = status
        if self.n <= _MOST_LISTED:
            stamp = go_text.time_string(time_ns)
            self._listed.append(f"entry with timestamp {stamp} ignored, reason: '{reason()}',\n")

    def text(self, tenant: str, labels: str, n_entries: int) -> str:
        """Sum them up, of so many entries of the stream in all."""
        return (
            f"{''.join(self._listed)}user '{tenant}', total ignored: {self.n} out of {n_entries} "
            f"for stream: {labels}"
        )


def query_too_long(length_ms: int, limit_s: float) -> str:
    """Refuse a query for its time range."""
    return (
        "the query time range exceeds the limit (query length: "
        f"{go_text.duration_string(length_ms)}, limit: {go_text.model_duration(limit_s)})"
    )
