"""Whether an answer's own words contradict its status: a success that tells of none."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import orjson

_PAGE: Final = re.compile(r"<(!doctype|html|\?xml|head|body|script)", re.IGNORECASE)
_NONE_OF: Final = re.compile(
    r"\b(?:no|0|zero|without(?: any)?) (?:err|fail|reject|drop|discard|ignor|skip|dup|conflict)\w*"
    r"|\w+\"?\s*[:=]\s*(?:0|false|null|none)\b"
)
"""``no errors``, ``rejected=0``: words that are denied."""
_BAD: Final = re.compile(
    r"\b("
    r"err(or)?s?|reject\w*|refus\w*|den(y|ies|ied)|fail\w*|invalid|illegal|malformed|abort\w*"
    r"|(did|was|were|is|are|can|could|do|does|has|have) ?not|cannot|\w+n't|no (?!content)\w+"
    r"|not (match|allow|accept|stor|permit|author|found|support|implement|process|written)\w*"
    r"|unauthori[sz]ed|unauthenticated|forbidden|exceed\w*|limit(ed|s)?|throttl\w*|quota"
    r"|drop(ped|ping|s)?|discard\w*|ignor\w*|skip\w*|de-?dup\w*|duplicates?|conflicts?"
    r"|too (old|new|large|big|many|long|far|late|early)|out[ -]of[ -](order|bounds)|partial\w*"
    r"|time(d)?[ -]?out|unavailable|overload\w*|maintenance|read[ -]?only|full|expired|block(ed|s)"
    r"|bad (request|gateway|data)|internal server|panic|exception|(log|sign) ?-?(in|on)|login"
    r"|captcha|redirect\w*|disabled|suspended"
    r")\b"
)
_BAD_KEY: Final = re.compile(r"err|reject|refus|fail|den(y|ied)|drop|discard|ignored|skipped")
_BAD_STATUS: Final = re.compile(r"err|fail|reject|refus|den(y|ied)|invalid|forbid|unauth|partial")
_BAD_CODE: Final = re.compile("[345][0-9]{2}")
_STATUS_KEYS: Final = frozenset({"status", "code", "statuscode", "status_code", "result"})
_SUCCESS_KEYS: Final = frozenset({"success", "ok", "accepted", "acknowledged"})
_MAX_DEPTH: Final = 4
_MAX_BYTES: Final = 2000


@lru_cache(64)
def contradicts(body: bytes) -> bool:
    """Tell whether the body of a success says that it is none.

    A page for a browser does (a gateway's login), so does JSON that tells of errors or of what
    was rejected, and so do plain words like "rejecting sample".
    """
    begin = body[:_MAX_BYTES].lstrip()
    if begin[:1] in (b"{", b"["):
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
        else:
            return _tells_of_errors(told, _MAX_DEPTH)
    text = begin.decode("utf-8", "replace")
    if _PAGE.match(text):
        return True
    return _BAD.search(_NONE_OF.sub(" ", text.lower())) is not None


def _tells_of_errors(told: Any, depth: int) -> bool:
    if depth < 0:
        return False
    if isinstance(told, list):
        return any(_tells_of_errors(one, depth - 1) for one in told)
    if not isinstance(told, dict):
        return False
    return any(
        _is_bad(name.lower(), value) or _tells_of_errors(value, depth - 1)
        for name, value in told.items()
    )


def _is_bad(key: str, value: Any) -> bool:
    if key in _STATUS_KEYS:
        return _is_bad_status(value)
    if key in _SUCCESS_KEYS:
        return value is False
    return _BAD_KEY.search(key) is not None and _is_something(value)


def _is_bad_status(value: Any) -> bool:
    if isinstance(value, bool):
        return not value
    if not isinstance(value, int | str):
        return False
    text = str(value).lower()
    return _BAD_CODE.fullmatch(text) is not None or _BAD_STATUS.search(text) is not None


def _is_something(value: Any) -> bool:
    """Whether a count, a flag or a text is not of nothing; 64-bit numbers come as text at times."""
    return bool(value) and value not in ("0", "false", "none", "null", "ok")
