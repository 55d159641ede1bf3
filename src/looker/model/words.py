"""Foreign words as they may be shown: in a message, a report, on a terminal."""

from __future__ import annotations

from typing import Final

_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


def one_line(text: str | bytes, max_chars: int) -> str:
    """Return the beginning of a text as one line of at most ``max_chars`` printable characters.

    Bytes are taken for UTF-8. White space becomes one space; control characters (which a terminal
    would obey), lone surrogates and broken UTF-8 become U+FFFD.
    """
    # four bytes a character at most; the rest is room for white space
    begin = text[: 8 * max_chars]
    if isinstance(begin, bytes):
        begin = begin.decode("utf-8", "replace")
    words = " ".join(begin.split())[:max_chars]
    return "".join(char if char.isprintable() else _UNPRINTABLE for char in words)
