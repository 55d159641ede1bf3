"""The label sets of one generation of streams.

Every stream and series carries ``looker_uniquename``, unique over all runs, and ``looker_group``,
by which some hundred to a thousand streams are selected with one matcher. Numbers are zero-padded,
so all label sets of a generation have the same width, and their order by text is their order by
number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNIQUENAME: Final = "looker_uniquename"
GROUP: Final = "looker_group"
METRIC_NAME: Final = "__name__"
MAX_GROUP_SIZE: Final = 1000
_CLASSIC_NAME: Final = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")
LOKI_ADDS: Final = frozenset(
    {
        "service_name",
        "detected_level",
        "__stream_shard__",
        "__time_shard__",
        "__backfill__",
        "__backfill_shard__",
        "__tenant_id__",
    }
)
"""Labels and metadata that Loki adds by itself: the last one where several tenants are read."""
METRICS_ADD: Final = frozenset({"__tenant_id__"})
"""Labels that Cortex and Mimir add by themselves, where several tenants are read."""
LEVEL: Final = "detected_level"
LEVEL_BESIDE: Final = "detected_level_extracted"
"""What Loki calls the level that it adds to an entry whose stream has a label of that name."""
SERIES_PER_METRIC_NAME: Final = 10_000
"""Cortex refuses more than 50,000 series per metric name by default."""


def selector_text(labels: Mapping[str, str]) -> str:
    """Return labels as LogQL and PromQL write them: ``{a="x", b="y"}``."""
    return selector_of(labels.items())


def selector_of(labels: Iterable[tuple[str, str]]) -> str:
    """Return names and values as `selector_text` does, also where a name comes twice."""
    return "{" + ", ".join(matcher_text(name, "=", value) for name, value in labels) + "}"


def matcher_text(name: str, operator: str, value: str) -> str:
    """Return a matcher as LogQL and PromQL write it: ``a="x"``, in Prometheus 3 ``"a.b"="x"``."""
    shown = name if is_classic_name(name) else f'"{escaped(name)}"'
    return f'{shown}{operator}"{escaped(value)}"'


def is_classic_name(name: str) -> bool:
    """Tell whether a label's name is one that all products take: letters, digits, underscores."""
    return _CLASSIC_NAME.fullmatch(name) is not None


def escaped(value: str) -> str:
    """Return a value as it stands between double quotes in LogQL and PromQL.

    What cannot be printed stands by its number, as both languages have Go's escapes.
    """
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _by_number(char) for char in text)


def _by_number(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def group_size_for(n_streams: int, n_workers: int) -> int:
    """Return how many streams share a group label: at least eight groups per worker if possible.

    Workers own whole groups, so small groups keep the workers' shares equal.
    """
    return max(1, min(MAX_GROUP_SIZE, n_streams // (8 * n_workers)))


@dataclass(frozen=True, slots=True)
class LabelScheme:
    """How the labels of a generation's streams are made from their numbers.

    ``born_in_cycle`` is the cycle in which the generation's streams were made; ``extra`` are
    further labels, the same for all streams; ``unchecked`` those of them that the target may drop
    or rewrite.
    """

    invocation_id: str
    born_in_cycle: int
    n_streams: int
    group_size: int
    metrics: bool
    extra: tuple[tuple[str, str], ...] = ()
    unchecked: frozenset[str] = frozenset()

    @property
    def stream_digits(self) -> int:
        """Number of decimal digits of a stream number."""
        return len(str(self.n_streams - 1))

    @property
    def n_groups(self) -> int:
        """Number of groups; the last may be smaller than the others."""
        return -(-self.n_streams // self.group_size)

    @property
    def group_digits(self) -> int:
        """Number of decimal digits of a group number."""
        return len(str(self.n_groups - 1))

    @property
    def name_digits(self) -> int:
        """Number of decimal digits of a metric name's number."""
        return len(str((self.n_streams - 1) // SERIES_PER_METRIC_NAME))

    @property
    def prefix(self) -> str:
        """What the unique names of this generation's streams begin with."""
        return f"{self.invocation_id}-{self.born_in_cycle}-"

    def uniquename(self, stream: int) -> str:
        """Return the value of ``looker_uniquename`` of a stream."""
        return f"{self.prefix}{stream:0{self.stream_digits}d}"

    def group(self, group: int) -> str:
        """Return the value of ``looker_group`` of the streams of a group."""
        return f"{self.prefix}g{group:0{self.group_digits}d}"

    def metric_name(self, stream: int) -> str:
        """Return a series' metric name."""
        return f"looker_metric_{stream // SERIES_PER_METRIC_NAME:0{self.name_digits}d}"

    def labels(self, stream: int) -> dict[str, str]:
        """Return a stream's complete label set, sorted by name."""
        labels = {
            GROUP: self.group(stream // self.group_size),
            UNIQUENAME: self.uniquename(stream),
            **dict(self.extra),
        }
        if self.metrics:
            labels[METRIC_NAME] = self.metric_name(stream)
        return dict(sorted(labels.items()))

    def is_like(
        self, expected: Mapping[str, str], labels: Mapping[str, Any], tolerated: frozenset[str]
    ) -> bool:
        """Tell whether a label set that came back is that of a stream with ``expected`` labels.

        Apart from ``tolerated`` ones that nobody wrote, and from what the target may drop or
        rewrite.
        """
        # a user may have written one of the labels that servers add
        passed_over = (tolerated - expected.keys()) | self.unchecked
        own = {name: value for name, value in labels.items() if name not in passed_over}
        return own == {
            name: value for name, value in expected.items() if name not in self.unchecked
        }

    def templates(self) -> list[tuple[str, list[bytes | tuple[int, int]]]]:
        """Return names and values of the labels, sorted by name, for all streams at once.

        A value is made of parts: bytes, or (digits, divisor) for a zero-padded
        ``stream // divisor``.
        """
        prefix = self.prefix.encode()
        templates: dict[str, list[bytes | tuple[int, int]]] = {
            GROUP: [prefix + b"g", self._number(self.group_digits, self.group_size)],
            UNIQUENAME: [prefix, self._number(self.stream_digits, 1)],
        }
        for name, value in self.extra:
            templates[name] = [value.encode()]
        if self.metrics:
            templates[METRIC_NAME] = [
                b"looker_metric_",
                self._number(self.name_digits, SERIES_PER_METRIC_NAME),
            ]
        return sorted(templates.items())

    def _number(self, digits: int, divisor: int) -> bytes | tuple[int, int]:
        """Return the part for ``stream // divisor``; a constant where that is 0 for all."""
        return (digits, divisor) if self.n_streams > divisor else b"0" * digits

    def stream_of(self, uniquename: str) -> int | None:
        """Return the number in a unique name of this generation, else None."""
        if not uniquename.startswith(self.prefix):
            return None
        digits = uniquename[len(self.prefix) :]
        if len(digits) != self.stream_digits or not re.fullmatch("[0-9]+", digits):
            return None
        stream = int(digits)
        return stream if stream < self.n_streams else None
