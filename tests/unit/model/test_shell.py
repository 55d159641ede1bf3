"""Words for a command line: bash reads them back as they are, and a terminal obeys none of them."""

from __future__ import annotations

import shlex
import subprocess

from looker.model.shell import quoted

WORDS = [
    "plain",
    "",
    "two words",
    "it's $HOME `x` \\ \"",
    "esc \x1b[2J\x1b]0;title\x07 bell",
    'it\'s \x1b and \\ and $(x) `y` "z" 1',
    "\x9b31m c1",
    "line\nend\ttab\r",
    "digits behind \x011234",
    "é ü 中 \N{RIGHT-TO-LEFT OVERRIDE} bidi",
    "\udcff lone \ud800",
]


def test_field_case_56_nothing_of_a_word_is_obeyed_by_a_terminal() -> None:
    for word in WORDS:
        assert quoted(word).isprintable(), word


def test_a_word_without_such_characters_is_quoted_as_ever() -> None:
    for word in WORDS[:4]:
        assert quoted(word) == shlex.quote(word)
    assert quoted("it's \x1b[0m") == r"$'it\'s \033[0m'"


def test_bash_reads_them_back_as_they_are() -> None:
    line = " ".join(map(quoted, WORDS))
    found = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, timeout=60, check=True
    )
    words = [word.encode("utf-8", "surrogatepass") for word in WORDS]
    assert found.stdout.split(b"\0")[:-1] == words
