"""What is no regular file is refused at once, whoever would read it (field case 52)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from looker.analysis.reports import read_side
from looker.cli import arguments
from looker.errors import UsageError
from looker.files import open_to_read, read_file
from looker.sweep.definition import read_definition
from looker.verify.ledger_format import LedgerError
from looker.verify.ledger_reader import LedgerFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        yield path


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_file(path) == read_file(link) == b"abc"
    with open_to_read(path) as file:
        assert file.read(2) == b"ab"


def test_a_pipe_is_refused_without_waiting_for_a_writer(fifo: Path) -> None:
    with pytest.raises(OSError, match="it is a pipe, and has to be a regular file"):
        open_to_read(fifo)


def test_a_socket_is_refused(unix_socket: Path) -> None:
    with pytest.raises(OSError, match="it is a socket, and has to be a regular file"):
        open_to_read(unix_socket)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/tty"])
def test_a_device_is_refused(path: str) -> None:
    with pytest.raises(OSError, match="it is a device, and has to be a regular file"):
        open_to_read(Path(path))


def test_what_is_not_there_and_a_directory_are_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_to_read(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_to_read(tmp_path)


READERS: dict[str, Callable[[Path], object]] = {
    "config": lambda path: arguments._read(path, ["seed"]),
    "sweep": lambda path: read_definition(path, [], {}),
    "compare": lambda path: read_side(path, "BASELINE"),
}


@pytest.mark.parametrize("reader", READERS)
def test_each_file_that_is_named_has_to_be_a_regular_one(reader: str, fifo: Path) -> None:
    """Field case 52."""
    with pytest.raises(UsageError, match=f"cannot read {fifo}: it is a pipe"):
        READERS[reader](fifo)


def test_a_ledger_has_to_be_a_regular_file(tmp_path: Path, fifo: Path) -> None:
    """Field case 52: `looker verify FIFO` waited for good."""
    with pytest.raises(OSError, match="it is a pipe"):
        LedgerFile(fifo)
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(LedgerError, match="is no ledger of Looker's"):
        LedgerFile(empty)
