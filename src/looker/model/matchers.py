"""Label matchers: what of all streams a query is for."""

from __future__ import annotations

import re
from typing import Final

from looker.errors import UsageError
from looker.model.labels import GROUP, UNIQUENAME, matcher_text
from looker.model.metric_selector import unescaped

OPTION: Final = "--query-matcher"
_MATCHER: Final = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\\n]|\\.)*)"|([^\s"{},]*))\s*'
)

Matcher = tuple[str, str, str]
"""Label, operator (``=``, ``!=``, ``=~``, ``!~``), value."""


def matcher_of(text: str) -> Matcher:
    """Return what ``name="value"`` means, quoted or, as shells leave it, not; else UsageError."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise UsageError(OPTION, f'{text!r} is no matcher like env="test" or env=~"te.*"')
    name, operator, quoted, bare = found.groups()
    return name, operator, bare if quoted is None else unescaped(quoted)


def check_matchers(matchers: tuple[Matcher, ...], labels: tuple[tuple[str, str], ...]) -> None:
    """Raise UsageError where a run's streams, which have ``labels``, would not be selected."""
    written = dict(labels)
    for matcher in matchers:
        name, operator, value = matcher
        text = matcher_text(*matcher)
        if name in (UNIQUENAME, GROUP):
            raise UsageError(OPTION, f"{text}: by {name} Looker itself selects")
        if name in written and _selects(operator, value, written[name]) is False:
            raise UsageError(
                OPTION,
                f"{text} does not select the run's streams: they have {name}={written[name]}",
            )


def _selects(operator: str, value: str, label: str) -> bool | None:
    """Tell whether a label is matched; None where only the target can tell."""
    if operator in ("=", "!="):
        return (label == value) is (operator == "=")
    try:
        # Go's expressions, which are anchored, are much the same
        return (re.fullmatch(value, label) is not None) is (operator == "=~")
    except (re.error, OverflowError):
        return None


def selector(matchers: tuple[Matcher, ...]) -> str:
    """Return matchers as LogQL and PromQL write them: ``{a="x", b=~"y"}``."""
    return "{" + ", ".join(matcher_text(*one) for one in matchers) + "}"
