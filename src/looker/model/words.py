"""Foreign words as they may be shown: in a message, a report, on a terminal.

Whatever a target says in words comes in by way of :func:`one_line`.
"""

from __future__ import annotations

from typing import Final

from looker.model.secrecy import struck

_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"
_ROOM: Final = 8
"""Four bytes a character at most; the rest is room for white space."""
_BEHIND_CHARS: Final = 256
"""What is read of a text behind that, as a secret may go on there."""


def one_line(text: str | bytes, max_chars: int) -> str:
    """Return the beginning of a text as one line of at most ``max_chars`` printable characters.

    Bytes are taken for UTF-8. White space becomes one space; control characters (which a terminal
    would obey), lone surrogates and broken UTF-8 become U+FFFD. Secrets of the run are struck out,
    and so is what is left of one that was cut off.
    """
    n_chars = _ROOM * max_chars
    begin = text[: n_chars + _BEHIND_CHARS]
    if isinstance(begin, bytes):
        begin = begin.decode("utf-8", "replace")
    words = " ".join(struck(begin, n_chars).split())[:max_chars]
    return "".join(char if char.isprintable() else _UNPRINTABLE for char in words)


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey, or cannot show, is U+FFFD.

    Line ends and tabs stay.
    """
    return "".join(char if char.isprintable() or char in "\n\t" else _UNPRINTABLE for char in text)
