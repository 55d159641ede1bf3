"""Regular expressions of matchers, as the servers take them: RE2, in time linear in the text.

Python's own expressions have other rules, and some of them take for ever.
"""

from __future__ import annotations

from typing import Any

import re2

MAX_PATTERNS = 500
"""So many of them may a query have: each takes memory."""
_MEMORY_BYTES = 64 << 20
_MAX_MEMORY_BYTES = 8 << 20
_SPECIAL = frozenset(r"\.+*?()[]{}^$")


class PatternError(ValueError):
    """What was given is no regular expression; the message is as Go's."""


def is_pattern(text: str) -> bool:
    """Tell whether a regular expression is more than a list of plain texts."""
    return not _SPECIAL.isdisjoint(text)


class Pattern:
    """A regular expression that has to match the whole of a text."""

    def __init__(self, text: str, n_patterns: int = 1) -> None:
        """Raise PatternError where it is none, or too large; ``n_patterns`` share the memory."""
        self.alternatives: frozenset[str] | None = None
        """All that it matches, where it is a list of plain texts."""
        self._compiled: Any = None
        if not is_pattern(text):
            self.alternatives = frozenset(text.split("|"))
            return
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.dot_nl = True
        options.max_mem = min(_MAX_MEMORY_BYTES, _MEMORY_BYTES // max(1, n_patterns))
        try:
            self._compiled = re2.compile(text.encode(), options)
        except re2.error as error:
            told = error.args[0] if error.args else b""
            reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
            raise PatternError(f"error parsing regexp: {reason}") from None
        except UnicodeEncodeError:
            raise PatternError("error parsing regexp: invalid UTF-8") from None
        finally:
            # the library keeps what was compiled last, however large
            re2.purge()

    def matches(self, text: str) -> bool:
        """Tell whether it matches the whole of ``text``."""
        if self.alternatives is not None:
            return text in self.alternatives
        return self._compiled.fullmatch(text.encode(errors="replace")) is not None
