"""Names that would be in the way of a sweep's own files, or of a terminal: field case 56."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from looker.errors import UsageError
from looker.sweep.definition import read_definition

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sweep.json", "keeps files of its own under names that begin with sweep.json or results"),
        ("results.sqlite", "keeps files of its own"),
        ("Results.SQLite-journal", "keeps files of its own"),
        (".", "letters, digits and . _ + -"),
        ("..", "letters, digits and . _ + -"),
        (".lock", "the first one a letter or digit"),
        ("a/b", "letters, digits and . _ + -"),
        ("/etc", "letters, digits and . _ + -"),
        ("", "letters, digits and . _ + -"),
        ("x" * 101, "at most 100"),
        ("x" * 100_000, "at most 100"),
        ("a\x1b]0;title\x07", "letters, digits and . _ + -"),
        ("a\nb", "letters, digits and . _ + -"),
        ("a\n", "letters, digits and . _ + -"),
        ("a\0", "letters, digits and . _ + -"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}a", "letters, digits and . _ + -"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, name: str, words: str
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f'[base]\nmode = "logs"\n[[targets]]\nname = {json.dumps(name)}\n')
    with pytest.raises(UsageError) as refusal:
        read_definition(file, [], {})
    said = str(refusal.value)
    assert words in said
    assert said.isprintable()
    assert len(said) < 400 + len(str(file))


def test_a_key_that_a_terminal_would_obey_is_refused_in_printable_words(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('[base]\nmode = "logs"\n"\\u001b[2J" = 1\n')
    with pytest.raises(UsageError, match="unknown key") as refusal:
        read_definition(file, [], {})
    assert str(refusal.value).isprintable()
