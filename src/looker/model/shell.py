"""Words for a shell's command line that a terminal can show: no more is in them than is seen."""

from __future__ import annotations

import shlex


def quoted(word: str) -> str:
    """Return a word such that bash, zsh or ksh read it back as it is, in printable characters only.

    Where it has others, which a terminal would obey, they stand as the bytes of their UTF-8 in
    ``$'…'``.
    """
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    # in octal, as a hexadecimal number would take digits that follow it for its own
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogatepass"))
