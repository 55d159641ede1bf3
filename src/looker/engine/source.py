"""The generator thread: fills a bounded queue with push messages that are ready to be sent."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.population import MAX_OUTSTANDING
from looker.wire.snappy import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from looker.clock import Clock
    from looker.generate.encoder import Encoder
    from looker.generate.population import Population
    from looker.model.fragment import FragmentBatch, FragmentState
    from looker.verify.ledger import Ledger, LedgerSlice

BATCH_BYTES: Final = 4 << 20
MAX_BATCH_MESSAGES: Final = 64
QUEUE_BYTES: Final = 64 << 20
_LONGEST_WAIT_S: Final = 1.0
"""Wall time may be set while streams wait for it."""


@dataclass(eq=False, slots=True)
class Message:
    """One push message: its compressed body, and which fragments it holds.

    ``newest_ns`` is the newest timestamp of its first fragment; ``offsets`` is where the fragments
    begin in the uncompressed body, and where that ends.
    """

    number: int
    body: memoryview
    newest_ns: int
    streams: NDArray[np.uint32]
    part: slice
    offsets: NDArray[np.int64]
    ledger: LedgerSlice | None
    waits_for: frozenset[int] = field(default=frozenset())

    def divided(self, n_fragments: int) -> list[Message]:
        """Return messages of at most ``n_fragments`` with the same fragments, in order."""
        raw = memoryview(decompress(self.body, int(self.offsets[-1])))
        messages = []
        for first in range(0, len(self.streams), n_fragments):
            last = min(first + n_fragments, len(self.streams))
            offsets = self.offsets[first : last + 1]
            part = slice(self.part.start + first, self.part.start + last)
            messages.append(
                Message(
                    self.number,
                    compress(raw[int(offsets[0]) : int(offsets[-1])]),
                    self.newest_ns,
                    self.streams[first:last],
                    part,
                    offsets - offsets[0],
                    self.ledger,
                )
            )
        return messages

    def settle(self, state: FragmentState, *, sent_again: bool) -> None:
        """Record in the ledger what became of the fragments."""
        if self.ledger is not None:
            self.ledger.settle(self.part, state, sent_again=sent_again)


class MessageSource:
    """Generates the messages of one write phase in a thread of its own.

    numpy and snappy release the interpreter, so that the event loop goes on meanwhile. A stream's
    next fragment may be generated while its predecessor is on the wire, and is handed out only
    when the outcome of that is known: a stream's samples arrive in order.
    """

    def __init__(
        self,
        *,
        population: Population,
        encoder: Encoder,
        ledger: Ledger | None,
        cycle: int,
        n_fragments_per_message: int,
        body_bytes_estimate: int,
        n_writers: int,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        """``wake`` is called from the thread whenever there is news for the event loop."""
        self._population = population
        self._encoder = encoder
        self._ledger = ledger
        self._cycle = cycle
        self._per_message = n_fragments_per_message
        self._messages_per_batch = min(
            MAX_BATCH_MESSAGES, max(1, BATCH_BYTES // max(1, body_bytes_estimate))
        )
        self._max_queued = max(2, 2 * n_writers)
        self._clock = clock
        self._wake = wake
        self._changed = threading.Condition()
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._unresolved: set[int] = set()
        self._last_message = np.full(population.n, -1, np.int64)
        self._next_number = 0
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None
        self.throttled_ns = 0
        self.forward_leaps = 0
        self.wall_went_back_ns = 0
        self._idle_ns = 0
        self._idle_since_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="looker-generator", daemon=True)

    def start(self) -> None:
        """Begin to generate."""
        self._thread.start()

    def stop(self) -> None:
        """Generate nothing more; what is queued and not taken is dropped as unsent."""
        with self._changed:
            self._stopping = True
            self._queue.clear()
            self._changed.notify_all()
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended; raise what it failed with."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def exhausted(self) -> bool:
        """Whether no further message will come."""
        with self._changed:
            return self._ended and not self._queue

    def take(self) -> Message | None:
        """Return the first message whose predecessors are answered for, if there is one."""
        with self._changed:
            for index, message in enumerate(self._queue):
                if self._unresolved.isdisjoint(message.waits_for):
                    del self._queue[index]
                    self._queued_bytes -= len(message.body)
                    self._changed.notify_all()
                    return message
        return None

    def limit_fragments(self, n_fragments: int) -> None:
        """Put at most ``n_fragments`` into a message from now on."""
        self._per_message = min(self._per_message, max(1, n_fragments))

    def resolve(self, message: Message) -> None:
        """Note that the outcome of a message is known: its streams may go on."""
        with self._changed:
            self._unresolved.discard(message.number)
            self._population.resolve(message.streams)
            self._changed.notify_all()

    @property
    def idle_ns(self) -> int:
        """For how long the thread has had nothing to do, as streams or the queue had no room."""
        since_ns = self._idle_since_ns
        return self._idle_ns + (0 if since_ns is None else self._clock.monotonic_ns() - since_ns)

    @contextlib.contextmanager
    def _idle(self) -> Iterator[None]:
        since_ns = self._idle_since_ns = self._clock.monotonic_ns()
        yield
        self._idle_since_ns = None
        self._idle_ns += self._clock.monotonic_ns() - since_ns

    def _run(self) -> None:
        try:
            self._generate()
        except BaseException as error:  # noqa: BLE001 - it is raised again by join()
            self._error = error
        finally:
            with self._changed:
                self._ended = True
            self._idle_since_ns = self._clock.monotonic_ns()
            self._wake()

    def _generate(self) -> None:
        n_wanted = self._per_message * self._messages_per_batch
        newest_wall_ns = 0
        while self._wait_for_room():
            now_ns = self._clock.wall_ns()
            self.wall_went_back_ns = max(self.wall_went_back_ns, newest_wall_ns - now_ns)
            newest_wall_ns = max(newest_wall_ns, now_ns)
            with self._changed:
                picked = self._population.pick(n_wanted, now_ns)
                if picked is None:
                    if self._population.exhausted():
                        return
                    with self._idle():
                        self._wait_for_streams(now_ns)
                    continue
            self.forward_leaps += picked.n_leaps
            encoded = self._encoder.encode(picked.batch)
            ledger_slice = None
            if self._ledger is not None:
                ledger_slice = self._ledger.append(encoded, self._cycle)
            for part, raw in encoded.messages(self._per_message):
                offsets = encoded.offsets[part.start : part.stop + 1]
                offsets = offsets - offsets[0]
                self._enqueue(compress(raw.data), encoded.batch, part, offsets, ledger_slice)

    def _wait_for_room(self) -> bool:
        with self._changed, self._idle():
            self._changed.wait_for(
                lambda: (
                    self._stopping
                    or (len(self._queue) < self._max_queued and self._queued_bytes < QUEUE_BYTES)
                )
            )
            return not self._stopping

    def _wait_for_streams(self, now_ns: int) -> None:
        """Sleep until a stream is ready, or until an answer changes what is; lock held."""
        ready_ns = self._population.next_ready_ns(now_ns)
        if ready_ns is None:
            self._changed.wait(_LONGEST_WAIT_S)
            return
        throttled = not self._queue
        begun = self._clock.monotonic_ns()
        self._changed.wait(min(_LONGEST_WAIT_S, max(0.0, (ready_ns - now_ns) / 1e9)))
        if throttled:
            self.throttled_ns += self._clock.monotonic_ns() - begun

    def _enqueue(
        self,
        body: memoryview,
        batch: FragmentBatch,
        part: slice,
        offsets: NDArray[np.int64],
        ledger_slice: LedgerSlice | None,
    ) -> None:
        streams = batch.streams[part]
        width_ns = (batch.n_samples - 1) * batch.step_ns
        newest_ns = int(batch.start_ns[part.start]) + width_ns
        index = streams - np.uint32(self._population.first)
        with self._changed:
            if self._stopping:
                return
            number = self._next_number
            self._next_number += 1
            waits_for: frozenset[int] = frozenset()
            if (self._population.outstanding[index] >= MAX_OUTSTANDING).any():
                earlier = np.unique(self._last_message[index]).tolist()
                waits_for = frozenset(self._unresolved.intersection(earlier))
            self._last_message[index] = number
            self._unresolved.add(number)
            message = Message(
                number, body, newest_ns, streams, part, offsets, ledger_slice, waits_for
            )
            self._queue.append(message)
            self._queued_bytes += len(body)
        self._wake()
