"""Field case 53: what equals a secret is struck out of foreign words, however it is encoded."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from looker.model import secrecy
from looker.model.mismatch import MAX_EXAMPLE_CHARS, Findings, MismatchExample, MismatchKind
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = 'glc_eyJvIjoi/MTIz+NDU2-Nzg5==&<ab>"c'  # noqa: S105 - nobody's
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "percent": lambda text: quote(text, safe=""),
    "percent, small letters": lambda text: quote(text, safe="").lower(),
    "percent, all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "JSON, all by number": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "HTML": html.escape,
    "HTML, by decimals": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML, by hexadecimals": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "Python or Go": repr,
    "bytes by number": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "bytes in octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "hexadecimal": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in base64": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
}


def bare(text: str) -> set[str]:
    """Return the stretches of eight letters and digits of a text."""
    letters = "".join(char for char in text if char.isalnum())
    return {letters[at : at + 8] for at in range(len(letters) - 7)}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_token_is_struck_out_in_every_encoding(encoding: str) -> None:
    secrecy.keep_authorization(f"Bearer {TOKEN}")
    encoded = ENCODINGS[encoding](TOKEN)
    said = one_line(f"you sent {encoded} to me", 1000)
    assert "***" in said
    assert said.startswith("you sent ")
    assert said.endswith(" to me")
    assert not bare(encoded) & bare(said)


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_a_token_within_a_longer_text_in_base64_is_struck_out(n_before: int) -> None:
    secrecy.keep_authorization(f"Bearer {TOKEN}")
    packed = base64.b64encode(b"x" * n_before + TOKEN.encode() + b" and more").decode()
    said = one_line(packed, 1000)
    # what is left may hold a byte or two at its ends
    assert "***" in said
    assert len(said) < len(packed) - len(TOKEN)
    assert TOKEN[4:20].encode() not in base64.b64decode(
        said.partition("***")[2].rjust(4 * 20, "A")[-4 * 20 :] + "==", validate=False
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("password", ["päss/w#rd?", "hunter2", "s3cret!s3cret!"])
def test_a_password_is_struck_out_with_and_without_its_user(password: str, encoding: str) -> None:
    secrecy.keep_userinfo(f"looker:{quote(password, safe='')}")
    if encoding in {"HTML, by decimals", "HTML, by hexadecimals", "JSON, all by number"}:
        password = password.encode().decode()
    encode = ENCODINGS[encoding]
    forms = [f"{password}:looker", f"looker:{password}"]
    if len(password) > 7 or "base64" not in encoding or encoding == "base64":
        forms.append(password)
    for form in forms:
        said = one_line(f"you sent {encode(form)} to me", 1000)
        assert "***" in said, (form, said)
        assert encode(password) not in said


def test_a_basic_header_is_struck_out_as_it_was_sent() -> None:
    header = "Basic " + base64.b64encode(b"u:pw").decode()
    secrecy.keep_authorization(header)
    assert one_line(f"authorization: {header}", 100) == "authorization: Basic ***"
    assert one_line("u:pw, pw", 100) == "u:***, ***"


def test_a_user_name_alone_is_a_token() -> None:
    secrecy.keep_userinfo("ghp_0123456789abcdef:")
    assert one_line("by ghp_0123456789abcdef", 100) == "by ***"


def test_what_is_no_secret_stays() -> None:
    secrecy.keep_userinfo("prometheus:pw")
    words = "prometheus: 429 for tenant a, spwn, 5pw, limit: 100"
    assert one_line(words, 100) == words


@pytest.mark.parametrize("n_before", range(60, 110))
def test_no_beginning_of_a_secret_is_left_by_a_cut(n_before: int) -> None:
    token = ALPHABET
    secrecy.keep(token)
    # the line is cut by who says it, by what is read of it, and by the room for it
    for text in (f"{'x' * n_before} {token}", f"{'x' * n_before} {token[:12]}"):
        assert "abcd" not in one_line(text, 100)
        assert "abcd" not in one_line(text.replace(" ", " " * 700), 100)
        assert "abcd" not in one_line(text.encode(), 100)


def test_a_cut_is_where_it_was_without_secrets() -> None:
    text = "a b " * 300
    before = one_line(text, 100)
    secrecy.keep(ALPHABET)
    assert one_line(text, 100) == before == ("a b " * 25)


def test_a_line_shows_no_control_characters_nor_changes_of_direction() -> None:
    said = one_line("a\x1b[31mb\x07c\u202ed\u2066e\u200bf\x9bg\r\nh\u2028i", 100)
    assert said == "a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg h i"
    assert one_line(b"\xff\xfe ok", 100) == "\ufffd\ufffd ok"


def test_the_newest_secrets_are_kept() -> None:
    for number in range(200):
        secrecy.keep(f"token-number-{number:04d}-end")
    assert one_line("token-number-0199-end", 100) == "***"
    assert len(secrecy._KEEPER._secrets) <= 64


def test_what_a_target_repeats_in_a_line_is_not_in_an_example() -> None:
    secrecy.keep(TOKEN)
    findings = Findings()
    for n_before in (0, 3 * MAX_EXAMPLE_CHARS):
        findings.keep(
            MismatchExample(
                kind=MismatchKind.CORRUPT,
                stream="s",
                cycle=0,
                expected="x" * (n_before + 100),
                received="x" * n_before + f"yy {TOKEN} " + "z" * 40 * n_before,
            )
        )
    for example in findings.examples:
        assert example.received is not None
        assert "yy *** " in example.received
        assert len(example.received) <= MAX_EXAMPLE_CHARS
    assert [one.first_difference for one in findings.examples] == [0, 3 * MAX_EXAMPLE_CHARS]
