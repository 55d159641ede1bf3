"""Label strings and selectors, as LogQL and PromQL write them, with Go's string escapes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Literal

from looker.target.effort import checked
from looker.target.patterns import MAX_PATTERNS, Pattern, PatternError, is_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

Operator = Literal["=", "!=", "=~", "!~"]
Labels = tuple[tuple[str, str], ...]

_BY_PATTERN = frozenset({"=~", "!~"})
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPACE = re.compile(r"\s*")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`([^`]*)`')
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\'"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|.)""",
    re.DOTALL,
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTED = {'"': '\\"', "\\": "\\\\"} | {text: f"\\{letter}" for letter, text in _SIMPLE.items()}


class SelectorError(ValueError):
    """What was given is no selector; ``column`` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class Matcher:
    """One condition on a label; an absent label has the empty value."""

    name: str
    operator: Operator
    value: str
    n_patterns: int = field(default=1, compare=False)
    """How many regular expressions share the memory for them."""

    @cached_property
    def _pattern(self) -> Pattern:
        return Pattern(self.value, self.n_patterns)

    @property
    def alternatives(self) -> frozenset[str] | None:
        """All values that fulfil the condition, where they are listed; else None."""
        match self.operator:
            case "=":
                return frozenset((self.value,))
            case "=~":
                return self._pattern.alternatives
            case _:
                return None

    def matches(self, value: str) -> bool:
        """Whether a label of this value fulfils the condition; patterns match as a whole."""
        match self.operator:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "=~":
                return self._pattern.matches(value)
            case "!~":
                return not self._pattern.matches(value)


def validated(matchers: Sequence[Matcher]) -> list[Matcher]:
    """Return matchers whose regular expressions are some; PatternError for others, or too many."""
    patterns = sum(one.operator in _BY_PATTERN and is_pattern(one.value) for one in matchers)
    if patterns > MAX_PATTERNS:
        raise PatternError(f"{patterns:,} regular expressions, more than {MAX_PATTERNS}")
    found = []
    for one in checked(matchers):
        if one.operator in _BY_PATTERN:
            one = replace(one, n_patterns=patterns)  # noqa: PLW2901 - the same, but for memory
            one.matches("")
        found.append(one)
    return found


def unquote(body: str) -> str:
    """Resolve Go's escapes in the inside of a quoted string; ValueError for an unknown one.

    Escapes of single bytes (octal and hexadecimal) are joined to UTF-8.
    """
    if "\\" not in body:
        return body
    parts, at = bytearray(), 0
    for escape in _ESCAPE.finditer(body):
        parts += body[at : escape.start()].encode()
        at = escape.end()
        simple, hexadecimal, short, long, octal = escape.groups()
        if simple is not None:
            parts += _SIMPLE.get(simple, simple).encode()
        elif hexadecimal is not None:
            parts.append(int(hexadecimal, 16))
        elif octal is not None and int(octal, 8) < 256:
            parts.append(int(octal, 8))
        elif short is not None or long is not None:
            parts += chr(int(short or long, 16)).encode()
        else:
            raise ValueError("invalid syntax")
    parts += body[at:].encode()
    return parts.decode(errors="replace")


def quote(text: str) -> str:
    """Quote as Go's strconv.Quote does."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    parts = []
    for character in text:
        if character in _QUOTED:
            parts.append(_QUOTED[character])
        elif character.isprintable():
            parts.append(character)
        elif character < "\x80":
            parts.append(f"\\x{ord(character):02x}")
        elif character <= "\uffff":
            parts.append(f"\\u{ord(character):04x}")
        else:
            parts.append(f"\\U{ord(character):08x}")
    return '"' + "".join(parts) + '"'


def label_string(labels: Labels) -> str:
    """Write sorted labels as the servers do: ``{a="x", b="y"}``."""
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


class _Reader:
    """A position within the text of a selector."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, expected: str) -> SelectorError:
        """Describe what stands here instead of what was expected."""
        self._skip()
        rest = self.text[self.at :]
        found = "$end" if not rest else repr(rest[0])
        return SelectorError(f"syntax error: unexpected {found}{expected}", self.at + 1)

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, *choices: str) -> str | None:
        """Consume the first of ``choices`` that stands here."""
        self._skip()
        for choice in choices:
            if self.text.startswith(choice, self.at):
                self.at += len(choice)
                return choice
        return None

    def pattern(self, pattern: re.Pattern[str]) -> str | None:
        """Consume what ``pattern`` matches here."""
        self._skip()
        match = pattern.match(self.text, self.at)
        if match is None or not match.group():
            return None
        self.at = match.end()
        return match.group()

    def string(self) -> str:
        """Consume a quoted string."""
        self._skip()
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self.fail(", expecting STRING")
        double, single, raw = match.groups()
        try:
            value: str = raw if raw is not None else unquote(double if single is None else single)
        except ValueError as error:
            raise SelectorError(str(error), self.at + 1) from None
        self.at = match.end()
        return value

    def matchers(self, operators: tuple[str, ...]) -> list[Matcher]:
        """Consume ``name op "value", ...}`` behind an opening brace."""
        found: list[Matcher] = []
        for _ in checked(count()):
            if self.take("}") is not None:
                break
            name = self.pattern(_NAME)
            if name is None:
                raise self.fail(", expecting IDENTIFIER or }")
            operator = self.take(*operators)
            if operator is None:
                raise self.fail(", expecting " + " or ".join(operators))
            found.append(Matcher(name, operator, self.string()))  # type: ignore[arg-type]
            if self.take(",") is None and not self.text.startswith("}", self.at):
                raise self.fail(", expecting , or }")
        return found

    def end(self) -> None:
        """Raise SelectorError unless all was consumed."""
        self._skip()
        if self.at < len(self.text):
            raise self.fail("")


def parse_labels(text: str) -> Labels:
    """Parse a stream's label string: sorted by name, empty values dropped.

    Raises SelectorError for another form, for a name given twice and for no label at all.
    """
    reader = _Reader(text)
    if reader.take("{") is None:
        raise reader.fail(", expecting {")
    labels = [(found.name, found.value) for found in reader.matchers(("=",))]
    reader.end()
    times_named = Counter(name for name, _ in labels)
    twice = next((name for name, _ in labels if times_named[name] > 1), None)
    if twice is not None:
        raise SelectorError(f"stream '{text}' has duplicate label name: '{twice}'", 1)
    kept = tuple(sorted((name, value) for name, value in labels if value))
    if not kept:
        raise SelectorError("at least one label pair is required per stream", 1)
    return kept


def parse_stream_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a LogQL stream selector; SelectorError for anything else, a pipeline included."""
    reader = _Reader(text)
    if reader.take("{") is None:
        raise reader.fail("")
    return _finish(
        reader,
        reader.matchers(("=~", "!~", "!=", "=")),
        "queries require at least one regexp or equality matcher that does not have an "
        'empty-compatible value. For instance, app=~".*" does not meet this requirement, '
        'but app=~".+" will',
    )


def parse_vector_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a PromQL vector selector without range; SelectorError for anything else."""
    reader = _Reader(text)
    metric = reader.pattern(_METRIC)
    found = [] if metric is None else [Matcher("__name__", "=", metric)]
    if reader.take("{") is not None:
        found += reader.matchers(("=~", "!~", "!=", "="))
    elif metric is None:
        raise reader.fail("")
    return _finish(reader, found, "vector selector must contain at least one non-empty matcher")


def _finish(reader: _Reader, found: list[Matcher], too_wide: str) -> tuple[Matcher, ...]:
    """Refuse trailing text, wrong patterns and selectors of everything."""
    reader.end()
    try:
        found = validated(found)
    except PatternError as error:
        raise SelectorError(str(error), 1) from None
    if not any(m.operator in {"=", "=~"} and not m.matches("") for m in found):
        raise SelectorError(too_wide, 1)
    return tuple(found)
