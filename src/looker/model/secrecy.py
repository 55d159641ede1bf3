"""What must not be shown, and striking it out of what others say.

A process knows the secrets of its run: whoever makes use of one keeps it here first. A target, or
a gateway before it, may repeat them in whatever it answers, in any of the encodings that headers
and bodies go through, and cut off anywhere. So not the whole of a secret is looked for, but every
stretch of eight characters of it, in the text as it reads when its escapes are undone.
"""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

STRUCK: Final = "***"
"""Stands where something was struck out."""
_STRETCH: Final = 8
"""A shorter secret is struck out where it stands as a word."""
_LONGEST_ESCAPE: Final = 16
_MAX_KEPT: Final = 64
"""Tokens that are replaced while a run goes on: the oldest are forgotten."""

_ESCAPE: Final = re.compile(
    r"%(?:25)*([0-9A-Fa-f]{2})"  # in URLs, also encoded again and again
    r"|\\+u([0-9A-Fa-f]{4})|\\+u\{([0-9A-Fa-f]{1,6})\}|\\+x([0-9A-Fa-f]{2})"
    r"|\\+([0-3][0-7]{2})|\\+([^ux0-7])"
    r"|&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});"
)
_WORD: Final = re.compile("[0-9a-z\x80-\xff]")
# base64 for URLs reads like the usual one, a plus sign of a form like a space
_ALIKE: Final = str.maketrans("-_ ", "+/+")


@dataclass(frozen=True, slots=True)
class _Known:
    """How the secrets of a run may read: folded, and without escapes."""

    stretches: frozenset[str]
    words: tuple[str, ...]


class _Keeper:
    """The secrets of this process."""

    def __init__(self) -> None:
        self._secrets: dict[str, frozenset[str]] = {}
        self._known: _Known | None = None

    def keep(self, secret: str, readings: Iterable[str]) -> None:
        if secret in self._secrets:
            return
        # another thread may be reading: what it reads is replaced, never changed
        newest = list(self._secrets.items())[1 - _MAX_KEPT :]
        self._secrets = {**dict(newest), secret: frozenset(readings)}
        self._known = None

    def known(self) -> _Known | None:
        """Return how the secrets may read; None where there are none."""
        secrets = self._secrets
        if not secrets:
            return None
        known = self._known
        if known is None:
            readings = frozenset[str]().union(*secrets.values())
            known = self._known = _Known(
                frozenset(
                    one[at : at + _STRETCH]
                    for one in readings
                    for at in range(len(one) - _STRETCH + 1)
                ),
                # what has neither letters nor digits is everywhere
                tuple(one for one in readings if len(one) < _STRETCH and _WORD.search(one)),
            )
        return known


_KEEPER: Final = _Keeper()


def keep(secret: str) -> None:
    """Let nothing show ``secret`` from now on."""
    if secret:
        _KEEPER.keep(secret, {_folded(_bytewise(secret)), *_encoded(secret)})


def keep_authorization(header: str | None) -> None:
    """Let nothing show what an Authorization header holds: token, or password and both together."""
    scheme, _, credentials = (header or "").partition(" ")
    keep(credentials)
    if scheme.lower() != "basic":
        return
    try:
        pair = base64.b64decode(credentials, validate=True).decode("utf-8", "surrogateescape")
    except ValueError:
        return
    _keep_pair(pair)


def keep_userinfo(userinfo: str) -> None:
    """Let nothing show what stands before the ``@`` of a URL: as it is, and decoded."""
    _keep_pair(userinfo)
    _keep_pair(unquote_to_bytes(userinfo).decode("utf-8", "surrogateescape"))


def _keep_pair(pair: str) -> None:
    """Let nothing show a password; nor a user name that comes without one, as tokens do."""
    user, _, password = pair.partition(":")
    keep(password or user)
    if password:
        # a name is no secret: only the encoded pair is
        for both in (pair, f"{password}:{user}"):
            _KEEPER.keep(both, _encoded(both))


def struck(text: str, n_chars: int | None = None) -> str:
    """Return a text, or its first ``n_chars`` characters, with every secret struck out."""
    known = _KEEPER.known()
    if known is None:
        return text if n_chars is None else text[:n_chars]
    if n_chars is None:
        n_chars = len(text)
    # a secret that goes on behind the cut shows there what it is
    window = text[: n_chars + _STRETCH * _LONGEST_ESCAPE]
    spans = _found(window, known)
    pieces, at = [], 0
    for begin, end in spans:
        if begin >= n_chars:
            break
        pieces += [window[at:begin], STRUCK]
        at = end
    pieces.append(window[at:n_chars] if at < n_chars else "")
    return "".join(pieces)


def _found(text: str, known: _Known) -> list[tuple[int, int]]:
    """Return where secrets stand, from and to, in order and apart."""
    plain, places = _without_escapes(text)
    folded = _folded(plain)
    found = [
        (at, at + _STRETCH)
        for at in range(len(folded) - _STRETCH + 1)
        if folded[at : at + _STRETCH] in known.stretches
    ]
    for word in known.words:
        at = folded.find(word)
        while at >= 0:
            end = at + len(word)
            if not _in_word(folded, at, end):
                found.append((at, end))
            at = folded.find(word, at + 1)
    spans: list[tuple[int, int]] = []
    for at, end in sorted(found):
        begin = at if places is None else places[at][0]
        stop = end if places is None else places[end - 1][1]
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((begin, stop))
    return spans


def _in_word(text: str, at: int, end: int) -> bool:
    """Tell whether ``text[at:end]`` is a part of a longer word."""
    return text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()


def _without_escapes(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Return a text with its escapes undone, one character a byte of UTF-8, and their places.

    A place is where in ``text`` a character begins and ends; None where all are where they were.
    """
    if text.isascii() and not any(mark in text for mark in "%\\&"):
        return text, None
    plain: list[str] = []
    places: list[tuple[int, int]] = []

    def add(chars: str, begin: int, end: int) -> None:
        plain.append(chars)
        places.extend([(begin, end)] * len(chars))

    at = 0
    for escape in _ESCAPE.finditer(text):
        for one in range(at, escape.start()):
            add(_bytewise(text[one]), one, one + 1)
        add(_meant(escape), escape.start(), escape.end())
        at = escape.end()
    for one in range(at, len(text)):
        add(_bytewise(text[one]), one, one + 1)
    return "".join(plain), places


def _meant(escape: re.Match[str]) -> str:
    percent, utf16, code, byte, octal, char, entity = escape.groups()
    if percent is not None or byte is not None:
        return chr(int(percent or byte, 16))
    if utf16 is not None or code is not None:
        number = int(utf16 or code, 16)
        return _bytewise(chr(number)) if number < 0x110000 else "?"
    if octal is not None:
        return chr(int(octal, 8))
    if char is not None:
        return " " if char in "bfnrt" else _bytewise(char)
    return _bytewise(html.unescape(f"&{entity};"))


def _bytewise(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _folded(text: str) -> str:
    lowered = text.lower()
    # of latin-1, no letter becomes two
    return lowered.translate(_ALIKE)


def _encoded(secret: str) -> set[str]:
    """Return what a secret reads like in base64, wherever that begins, and in hexadecimal."""
    raw = secret.encode("utf-8", "surrogateescape")
    whole = base64.b64encode(raw)
    readings = {raw.hex()}
    # a header may be encoded once more, as a whole
    readings |= {_base64(one, n_before) for one in (raw, whole) for n_before in (0, 1, 2)}
    # less than that may stand for anything, but as a whole it is what a header has
    readings = {one for one in readings if len(one) >= _STRETCH} | {_base64(raw, 0)}
    return {_folded(one) for one in readings}


def _base64(raw: bytes, n_before: int) -> str:
    """Return base64 as far as it does not depend on the ``n_before`` bytes before ``raw``."""
    first = -(-8 * n_before // 6)
    return base64.b64encode(bytes(n_before) + raw)[first:].rstrip(b"=").decode("ascii")
