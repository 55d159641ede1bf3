"""Messages between processes: in pieces, torn, damaged, and to one that does not read."""

from __future__ import annotations

import os
import threading
from multiprocessing import Pipe

import pytest

from looker.engine.channel import DamagedMessageError, Inbox, Outbox, Receiver, Sender

LARGE = {"words": ["x" * 1000] * 300}
"""More than a pipe holds."""


def test_a_message_is_there_when_all_of_it_has_come() -> None:
    reader, writer = Pipe(duplex=False)
    inbox = Inbox(reader)
    other_reader, other_writer = Pipe(duplex=False)
    Sender(other_writer).put(["first", 1])
    frame = os.read(other_reader.fileno(), 1 << 16)
    for byte in frame[:-1]:
        os.write(writer.fileno(), bytes([byte]))
        assert inbox.take() == []
    os.write(writer.fileno(), frame[-1:] + frame + frame[:5])
    assert inbox.take() == [["first", 1], ["first", 1]]
    assert (inbox.ended, inbox.is_torn) == (False, False)
    writer.close()
    assert inbox.take() == []
    assert (inbox.ended, inbox.is_torn) == (True, True)


def test_a_message_larger_than_the_pipe_comes_whole() -> None:
    reader, writer = Pipe(duplex=False)
    inbox = Inbox(reader)
    thread = threading.Thread(target=Sender(writer).put, args=(LARGE,))
    thread.start()
    found: list[object] = []
    while not found:
        found = inbox.take()
    thread.join()
    writer.close()
    assert found == [LARGE]
    assert inbox.take() == []
    assert (inbox.ended, inbox.is_torn) == (True, False)


def test_writing_to_one_that_does_not_read_never_waits() -> None:
    """Field case 49, the other way round."""
    reader, writer = Pipe(duplex=False)
    outbox, receiver = Outbox(writer), Receiver(reader)
    for number in range(5):
        outbox.put((number, LARGE))
    found: list[object] = []

    def read() -> None:
        found.extend(receiver.get() for _ in range(5))

    thread = threading.Thread(target=read)
    thread.start()
    while thread.is_alive():
        outbox.flush()
    assert found == [(number, LARGE) for number in range(5)]
    reader.close()
    outbox.put("nobody is there")
    outbox.flush()


@pytest.mark.parametrize("junk", [b"\xff" * 12, bytes(7) + b"\x05" + bytes(4) + b"print"])
def test_what_is_no_message_is_not_unpacked(junk: bytes) -> None:
    reader, writer = Pipe(duplex=False)
    os.write(writer.fileno(), junk)
    with pytest.raises(DamagedMessageError):
        Inbox(reader).take()


def test_a_writer_that_is_gone_ends_the_wait() -> None:
    reader, writer = Pipe(duplex=False)
    os.write(writer.fileno(), b"\0\0\0")
    writer.close()
    with pytest.raises(EOFError):
        Receiver(reader).get()
