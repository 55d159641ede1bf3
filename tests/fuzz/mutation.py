"""Mutating bytes: blindly, by splicing, and by what they mean as JSON or protobuf."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

MAX_BYTES: Final = 1 << 16
NUMBERS: Final = (
    *(b"0", b"-1", b"1", b"127", b"128", b"255", b"65536", b"2147483648", b"4294967296"),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809"),
    *(b"18446744073709551616", b"1e999", b"-1e999", b"1e-999", b"NaN", b"Infinity", b"9" * 400),
    *(b"1.5", b"0x10", b"1_000", b" 1", b"01", b"+1", b"\xd9\xa1"),
)
PIECES: Final = (
    *(b"", b"\x00", b"\xff", b"\x80", b"\x0a", b"\x12", b"\x0a\x00", b"\x12\x00", b"\x09", b"\x10"),
    *(b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0c", b"\x02"),
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"null", b"true", b"[]", b"{}", b'""'),
    *(b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\r\n", b"\t"),
    *(b'"status":"success",', b'"result":[],', b'"values":[],', b'"stream":{},', b'"data":{},'),
    *(b"[" * 1100, b'{"a":' * 1100),
)
VALUES: Final = (
    *(None, True, False, 0, -1, 1.5, 2**63, 2**64, 10**400, 1e300, "", "0", "-1", "x", "\x00"),
    *("NaN", "+Inf", "1e999", "1_0", " 1", "\u0661", "9" * 30, [], {}, [[]], {"a": []}, ["1", "x"]),
    *([0, "1"], {"structuredMetadata": {"a": "b"}}, {"parsed": {}}, "1700000000000000000"),
)


def mutated(seed: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return ``seed``, changed in one to four ways."""
    body = seed
    for _ in range(chance.choice((1, 1, 1, 1, 2, 3, 4))):
        ways = _JSON_WAYS if body[:1] in (b"{", b"[") else _WAYS
        body = chance.choice(ways)(body, seeds, chance)
    return body[:MAX_BYTES]


def _span(body: bytes, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(body) + 1)
    longest = chance.choice((1, 2, 4, 16, 64, len(body)))
    return begin, min(len(body), begin + chance.randint(0, longest))


def _flip(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    if not body:
        return body
    changed = bytearray(body)
    changed[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _set(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    if not body:
        return body
    changed = bytearray(body)
    changed[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(changed)


def _delete(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    begin, end = _span(body, chance)
    return body[:begin] + body[end:]


def _repeat(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    begin, end = _span(body, chance)
    return body[:end] + body[begin:end] * chance.choice((1, 1, 2, 20)) + body[end:]


def _insert(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    begin, _ = _span(body, chance)
    return body[:begin] + chance.choice(PIECES) + body[begin:]


def _cut(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _splice(body: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    begin, end = _span(body, chance)
    from_, to = _span(other, chance)
    return body[:begin] + other[from_:to] + body[end:]


def _swap(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    a, b = sorted(_span(body, chance))
    c, d = sorted(_span(body[b:], chance))
    c, d = b + c, b + d
    return body[:a] + body[c:d] + body[b:c] + body[a:b] + body[d:]


def _number(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    found = list(re.finditer(rb"[0-9]+", body))
    if not found:
        return _set(body, _seeds, chance)
    begin, end = chance.choice(found).span()
    return body[:begin] + chance.choice(NUMBERS) + body[end:]


def _character(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Exchange one letter or digit for another, which leaves every form as it is."""
    found = list(re.finditer(rb"[0-9A-Za-z]", body))
    if not found:
        return body
    at = chance.choice(found).start()
    return body[:at] + chance.choice((b"0", b"1", b"9", b"a", b"Z", b"e")) + body[at + 1 :]


def _token(body: bytes, _seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Repeat, remove or exchange whole words of JSON, so that it stays nearly JSON."""
    tokens = re.findall(rb'"[^"]*"|[\[\]{},:]|[^"\[\]{},:]+', body)
    if not tokens:
        return body
    at = chance.randrange(len(tokens))
    match chance.randrange(4):
        case 0:
            del tokens[at]
        case 1:
            tokens.insert(at, tokens[at])
        case 2:
            other = chance.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        case _:
            tokens[at] = chance.choice(tokens)
    return b"".join(tokens)


def _node(body: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Change a value somewhere within JSON, which stays JSON."""
    try:
        whole: Any = json.loads(body)
    except (ValueError, RecursionError):
        return _token(body, seeds, chance)
    place, parent, key = whole, None, None
    while isinstance(place, list | dict) and place and (parent is None or chance.random() < 0.85):
        parent = place
        key = chance.randrange(len(place)) if isinstance(place, list) else chance.choice([*place])
        place = parent[key]
    if parent is None:
        return json.dumps(chance.choice(VALUES)).encode()
    match chance.randrange(5):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(chance.randrange(len(parent) + 1), place)
        case 2 if isinstance(parent, list):
            chance.shuffle(parent)
        case 3 if isinstance(place, str) and place:
            at = chance.randrange(len(place))
            parent[key] = place[:at] + chance.choice("0aA_\u00e9\ud800 ") + place[at + 1 :]
        case _:
            parent[key] = chance.choice(VALUES)
    separators = chance.choice(((",", ":"), (", ", ": ")))
    return json.dumps(whole, separators=separators, ensure_ascii=chance.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


_WAYS: Final = (_flip, _set, _delete, _repeat, _insert, _cut, _splice, _swap, _number, _character)
_JSON_WAYS: Final = (*_WAYS, _token, *(_node,) * 6, *(_character,) * 4)
