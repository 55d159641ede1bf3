"""What the page is made of: sections of texts, tables, cards and charts, without any HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Figure = dict[str, Any]
"""A plotly figure: ``data`` and ``layout``, JSON-ready."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its text, what it is sorted by, and its tone (a CSS class)."""

    text: str
    sort_by: float | str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``numeric`` are the columns that are set flush right.

    A caption that only says what the heading above it says is not shown (``titled``).
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    titled: bool = False


@dataclass(frozen=True, slots=True)
class RunTable:
    """The table of all runs, which can be filtered and sorted; ``facets`` are a row's choices."""

    kind: ClassVar[str] = "runs"
    table: Table
    facets: Mapping[str, Sequence[str]]
    """Of each facet (target, verdict), the value of each row."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its heading, and what it says in words.

    Without ``table`` the page makes one from the figure's traces.
    """

    kind: ClassVar[str] = "chart"
    title: str
    says: str
    figure: Figure
    table: Table | None = None
    wide: bool = False
    variants: Mapping[str, Figure] = field(default_factory=dict)
    """Other figures in its place, by the numbers of what is chosen: see ``Choices``."""


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts side by side where there is room."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True, slots=True)
class Choices:
    """Charts that all show what the reader chooses; selectors: name and what there is of each."""

    kind: ClassVar[str] = "choices"
    selectors: Sequence[tuple[str, Sequence[str]]]
    charts: Sequence[Chart]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``tone``: note, warning or error."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = "note"


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines of one kind."""

    kind: ClassVar[str] = "listing"
    title: str
    lines: Sequence[str]
    tone: str = "note"


@dataclass(frozen=True, slots=True)
class Card:
    """A key figure: its name, value, and what else belongs to it."""

    name: str
    value: str
    more: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    """Key figures."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Mark:
    """Text of which a part is marked: before, the part, after."""

    before: str
    marked: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One mismatch in full; ``sides`` are what was expected and received, by name."""

    kind: ClassVar[str] = "evidence"
    title: str
    meaning: str
    facts: Sequence[tuple[str, str]]
    sides: Sequence[tuple[str, Mark]]
    commands: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks behind a summary that opens them."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence[Block]
    tone: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


Block = (
    Table | RunTable | Chart | Charts | Choices | Text | Listing | Cards | Evidence | Fold | Heading
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page; ``anchor`` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
