"""With what requests are authorised: nothing, a user and password of the URL, or a token's file.

A token may be replaced while a run goes on: its file is looked at again, at most once a second,
and read when it has changed; and at once where a target has refused the token.
"""

from __future__ import annotations

import base64
import re
import time
from typing import TYPE_CHECKING, Final

from looker.errors import UsageError
from looker.files import read_file
from looker.model.secrecy import keep_authorization
from looker.model.url import keep_secrets_of, userpass, without_userinfo

if TYPE_CHECKING:
    from pathlib import Path

    from looker.model.config import RunConfig

OPTION: Final = "--bearer-token-file"
_LOOK_EVERY_S: Final = 1.0


_FILES: Final[dict[Path, TokenFile]] = {}


def credentials(config: RunConfig, url: str) -> tuple[str, str | None]:
    """Return the URL without user and password, and the value of the Authorization header.

    They are secrets of this process from then on. UsageError where there is no token in its file.
    """
    keep_secrets_of(url)
    base = without_userinfo(url).rstrip("/")
    pair = userpass(url)
    if config.bearer_token_file is None:
        if pair is None:
            return base, None
        header = f"Basic {base64.b64encode(pair).decode('ascii')}"
        keep_authorization(header)
        return base, header
    if pair is not None:
        raise UsageError(OPTION, "contradicts the user name in the URL")
    file = _FILES[config.bearer_token_file] = TokenFile(config.bearer_token_file)
    return base, file.header()


def sent_with(authorization: str | None) -> str:
    """Say which credentials a request came with, and never what they are."""
    if authorization is None:
        return "no credentials were sent"
    if authorization.startswith("Basic "):
        return "the user name and password of the URL were sent"
    return f"the token of {OPTION} was sent"


class TokenFile:
    """A file with a token, as it is now; ``first`` holds as long as there is none in it."""

    def __init__(self, path: Path, first: str | None = None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._header = first
        self._look_at_s = 0.0

    def header(self) -> str:
        """Return the Authorization header; UsageError where there never was a token.

        While a file is being replaced, its last token holds.
        """
        now_s = time.monotonic()
        if self._header is not None and now_s < self._look_at_s:
            return self._header
        self._look_at_s = now_s + _LOOK_EVERY_S
        try:
            found = self._path.stat()
        except OSError:
            # reading it says what is wrong
            return self._read()
        stamp = found.st_mtime_ns, found.st_size, found.st_ino
        if self._header is None or stamp != self._stamp:
            self._stamp = stamp
            return self._read()
        return self._header

    def has_renewed(self, refused: str) -> bool:
        """Read the file, as a target has refused a header of it; tell whether it is another now."""
        return self._read() != refused

    def _read(self) -> str:
        try:
            token = read_file(self._path).decode("ascii").strip()
            problem = f"{self._path} holds no token, or more than one word"
        except (OSError, UnicodeDecodeError):
            token, problem = "", f"cannot read a token from {self._path}"
        if re.fullmatch(r"[\x21-\x7e]+", token):
            self._header = f"Bearer {token}"
            keep_authorization(self._header)
        elif self._header is None:
            raise UsageError(OPTION, problem)
        return self._header


def token_file(path: Path, first: str | None) -> TokenFile:
    """Return what this process knows of a token's file, whose header was ``first`` at first."""
    return _FILES.setdefault(path, TokenFile(path, first))
