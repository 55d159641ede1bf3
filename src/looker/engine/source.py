"""The generator thread: fills a bounded queue with push messages that are ready to be sent."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Final

import numpy as np

from looker.generate.population import MAX_OUTSTANDING
from looker.wire.snappy import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from looker.clock import Clock
    from looker.generate.encoder import EncodedBatch, Encoder
    from looker.generate.population import Picked, Population
    from looker.model.fragment import FragmentState
    from looker.verify.ledger import Ledger, LedgerSlice

BATCH_BYTES: Final = 4 << 20
MAX_BATCH_MESSAGES: Final = 64
QUEUE_BYTES: Final = 64 << 20
_LONGEST_WAIT_S: Final = 1.0
"""Wall time may be set while streams wait for it."""


@dataclass(eq=False, slots=True)
class Message:
    """One push message: its compressed body, and which fragments it holds.

    ``part`` are its fragments among those that were encoded together, ``offsets`` int64 where
    these begin in the bytes of all, and where the last one ends. ``newest_ns`` is the newest
    timestamp of its first fragment.
    """

    number: int
    body: memoryview
    newest_ns: int
    batch_streams: NDArray[np.uint32]
    part: slice
    offsets: NDArray[np.int64]
    ledger: LedgerSlice | None
    waits_for: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Return the number of fragments."""
        return int(self.part.stop - self.part.start)

    @property
    def streams(self) -> NDArray[np.uint32]:
        """The streams of its fragments."""
        return self.batch_streams[self.part]

    @property
    def n_bytes(self) -> int:
        """Length of the body before it was compressed."""
        return int(self.offsets[self.part.stop] - self.offsets[self.part.start])

    def divided(self, n_fragments: int) -> list[Message]:
        """Return messages of at most ``n_fragments`` with the same fragments, in order."""
        raw = memoryview(decompress(self.body, self.n_bytes))
        begin = int(self.offsets[self.part.start])
        messages = []
        for first in range(self.part.start, self.part.stop, n_fragments):
            part = slice(first, min(first + n_fragments, self.part.stop))
            low, high = int(self.offsets[part.start]), int(self.offsets[part.stop])
            body = compress(raw[low - begin : high - begin])
            messages.append(replace(self, body=body, part=part))
        return messages

    def settle(self, state: FragmentState, *, n_copies: int = 0) -> None:
        """Record in the ledger what became of the fragments, as :meth:`LedgerSlice.settle`."""
        if self.ledger is not None:
            self.ledger.settle(self.part, state, n_copies=n_copies)


def _messages_per_batch(body_bytes: int) -> int:
    return min(MAX_BATCH_MESSAGES, max(1, BATCH_BYTES // max(1, body_bytes)))


class _Wants(Enum):
    """What the generator thread waits for."""

    NOTHING = auto()
    ROOM = auto()
    ANSWERS = auto()


class Cause(IntEnum):
    """Why there may be no message for a writer: what the generator thread is at."""

    GENERATING = 0
    THROTTLED = 1
    """Wall time allows no stream another fragment, but for those that messages are made of."""
    STREAMS = 2
    """Every stream has its fragments under way: their answers have to come first."""
    FILLING = 3
    """A message waits for more fragments, which wait for answers."""
    FILLING_THROTTLED = 4
    """The same, but they wait for wall time."""
    ENDED = 5


class MessageSource:
    """Generates the messages of one write phase in a thread of its own.

    numpy and snappy release the interpreter, so that the event loop goes on meanwhile. A stream's
    next fragment may be generated while its predecessor is on the wire, and is handed out only
    when the outcome of that is known: a stream's samples arrive in order.

    There is no lock. The population belongs to the generator thread, and what is known of outcomes
    to the thread that takes and resolves; messages go one way and come back the other way in
    deques, whose ends are safe to use from two threads. A thread that waits says so first and looks
    again then, so that no news is missed; the other one wakes it only if it waits.
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
        batch_deadline_ns: int = 0,
    ) -> None:
        """``wake`` is called from the thread whenever there is news for the event loop.

        For up to ``batch_deadline_ns`` a message waits for ``n_fragments_per_message`` fragments,
        unless no more can come in this cycle.
        """
        self._population = population
        self._encoder = encoder
        self._ledger = ledger
        self._cycle = cycle
        self._per_message = n_fragments_per_message
        self._body_bytes_estimate = body_bytes_estimate
        self._max_queued = max(2, 2 * n_writers)
        self._clock = clock
        self._wake = wake
        self._batch_deadline_ns = batch_deadline_ns
        self._filling_since_ns: int | None = None
        self._queue: deque[Message] = deque()
        self._answered: deque[Message] = deque()
        # each is counted up by one thread only
        self._n_bytes_put = 0
        self._n_bytes_taken = 0
        self._outcomes = _Outcomes()
        # the last 32 bits of the number of each stream's last message
        self._last_message = np.zeros(population.n, np.uint32)
        self._next_number = 0
        self._wants = _Wants.NOTHING
        self._hungry = False
        self._news = threading.Event()
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None
        self.forward_leaps = 0
        self.wall_went_back_ns = 0
        self._idle_ns = 0
        self._idle_since_ns: int | None = None
        # swapped whole, so that another thread sees what belongs together
        self._course = (Cause.GENERATING, clock.monotonic_ns(), (0,) * len(Cause))
        self._thread = threading.Thread(target=self._run, name="looker-generator", daemon=True)

    def start(self) -> None:
        """Begin to generate."""
        self._thread.start()

    def stop(self) -> None:
        """Generate nothing more; what is queued and not taken is dropped as unsent."""
        self._stopping = True
        self._queue.clear()
        self._news.set()
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended; raise what it failed with."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def exhausted(self) -> bool:
        """Whether no further message will come."""
        # in this order: a message may come right before the end
        return self._ended and (self._stopping or not self._queue)

    def take(self) -> Message | None:
        """Return the first message whose predecessors are answered for, if there is one."""
        message = self._next()
        if message is None:
            self._hungry = True
            message = self._next()
            if message is None:
                if self.exhausted:
                    # the thread has ended: nobody else says so
                    self._enter(Cause.ENDED)
                return None
        self._n_bytes_taken += len(message.body)
        if self._wants is _Wants.ROOM and self._has_room():
            self._news.set()
        return message

    def limit_fragments(self, n_fragments: int) -> None:
        """Put at most ``n_fragments`` into a message from now on."""
        self._per_message = min(self._per_message, max(1, n_fragments))

    def resolve(self, message: Message) -> None:
        """Note that the outcome of a message is known: its streams may go on."""
        self._outcomes.add(message.number)
        self._answered.append(message)
        if self._wants is _Wants.ANSWERS:
            self._news.set()

    @property
    def idle_ns(self) -> int:
        """For how long the thread has had nothing to do, as streams or the queue had no room."""
        since_ns = self._idle_since_ns
        return self._idle_ns + (0 if since_ns is None else self._clock.monotonic_ns() - since_ns)

    def spent_ns(self, now_ns: int) -> tuple[int, ...]:
        """Return for how long each cause has been the case, in the order of :class:`Cause`."""
        cause, since_ns, spent = self._course
        # the other thread's clock may have been read a moment later
        lasted_ns = max(0, now_ns - since_ns)
        return tuple(spent[one] + lasted_ns if one is cause else spent[one] for one in Cause)

    def _enter(self, cause: Cause) -> None:
        if cause is not self._course[0]:
            now_ns = self._clock.monotonic_ns()
            self._course = (cause, now_ns, self.spent_ns(now_ns))

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
            self._ended = True
            self._idle_since_ns = self._clock.monotonic_ns()
            # what is left waits for answers
            self._enter(Cause.STREAMS if self._queue and not self._stopping else Cause.ENDED)
            self._wake()

    def _generate(self) -> None:
        n_messages = _messages_per_batch(self._body_bytes_estimate)
        newest_wall_ns = 0
        while self._wait_for_room():
            self._take_answers()
            now_ns = self._clock.wall_ns()
            self.wall_went_back_ns = max(self.wall_went_back_ns, newest_wall_ns - now_ns)
            newest_wall_ns = max(newest_wall_ns, now_ns)
            n_wanted = self._per_message * n_messages
            n_allowed = self._fill(n_wanted, now_ns)
            if not n_allowed:
                continue
            picked = self._population.pick(n_allowed, now_ns)
            if picked is None:
                if self._population.exhausted():
                    return
                self._wait_for_streams(now_ns)
                continue
            self._enter(self._cause_of(picked, n_wanted, now_ns))
            self.forward_leaps += picked.n_leaps
            encoded = self._encoder.encode(picked.batch)
            ledger_slice = None
            if self._ledger is not None:
                ledger_slice = self._ledger.append(encoded, self._cycle)
            self._enqueue(encoded, ledger_slice)
            # now that it is known how long messages are
            message_bytes = int(encoded.offsets[-1]) * self._per_message // len(picked.batch)
            n_messages = _messages_per_batch(message_bytes)

    def _next(self) -> Message | None:
        queue = self._queue
        passed: list[Message] = []
        found = None
        while queue and not self._stopping:
            message = queue.popleft()
            if not message.waits_for or self._outcomes.all_known(message.waits_for):
                found = message
                break
            passed.append(message)
        queue.extendleft(reversed(passed))
        return found

    def _take_answers(self) -> None:
        """Let the streams go on whose fragments have been answered for."""
        answered = self._answered
        streams = [answered.popleft().streams for _ in range(len(answered))]
        if streams:
            self._population.resolve(np.concatenate(streams))

    def _has_room(self) -> bool:
        n_bytes = self._n_bytes_put - self._n_bytes_taken
        return len(self._queue) < self._max_queued and n_bytes < QUEUE_BYTES

    def _cause_of(self, picked: Picked, n_wanted: int, now_ns: int) -> Cause:
        """Tell what keeps writers waiting while messages are made of these fragments.

        Where they are all that wall time allows, making them faster would yield no more of them.
        """
        if len(picked.batch) < n_wanted:
            ready_ns = (
                self._population.outlook(self._per_message, now_ns).enough_ns
                if self._batch_deadline_ns
                else self._population.next_ready_ns(now_ns)
            )
            if ready_ns is not None and ready_ns > now_ns:
                return Cause.THROTTLED
        return Cause.GENERATING

    def _fill(self, n_wanted: int, now_ns: int) -> int:
        """Return how many fragments may be taken now; 0 after some waiting for more.

        Whole messages are taken at once. What is left over waits from then on, or from when it is
        seen first; where it is all that can still come in this cycle, it goes.
        """
        if not self._batch_deadline_ns:
            return n_wanted
        since_ns, self._filling_since_ns = self._filling_since_ns, None
        n_full = self._per_message
        outlook = self._population.outlook(n_full, now_ns)
        monotonic_ns = self._clock.monotonic_ns()
        if outlook.n_ready >= n_full:
            if outlook.n_ready % n_full:
                self._filling_since_ns = monotonic_ns
            return min(n_wanted, outlook.n_ready // n_full * n_full)
        if not outlook.n_ready or outlook.n_ready >= outlook.n_unfinished:
            return n_wanted
        if since_ns is None:
            since_ns = monotonic_ns
        wait_ns = since_ns + self._batch_deadline_ns - monotonic_ns
        if wait_ns <= 0:
            return n_wanted
        self._filling_since_ns = since_ns
        enough_ns = outlook.enough_ns
        self._enter(Cause.FILLING if enough_ns is None else Cause.FILLING_THROTTLED)
        if enough_ns is not None:
            wait_ns = min(wait_ns, enough_ns - now_ns)
        timeout_s = min(_LONGEST_WAIT_S, wait_ns / 1e9)
        self._wait(_Wants.ANSWERS, lambda: bool(self._answered), timeout_s)
        return 0

    def _wait_for_room(self) -> bool:
        while not self._stopping and not self._has_room():
            # a writer finds nothing in a full queue where all of it waits for answers
            self._enter(Cause.STREAMS)
            self._wait(_Wants.ROOM, self._has_room, None)
        return not self._stopping

    def _wait_for_streams(self, now_ns: int) -> None:
        """Sleep until a stream is ready, or until an answer changes what is."""
        ready_ns = self._population.next_ready_ns(now_ns)
        timeout_s = _LONGEST_WAIT_S
        if ready_ns is not None:
            timeout_s = min(timeout_s, max(0.0, (ready_ns - now_ns) / 1e9))
        self._enter(Cause.STREAMS if ready_ns is None else Cause.THROTTLED)
        self._wait(_Wants.ANSWERS, lambda: bool(self._answered), timeout_s)

    def _wait(self, wants: _Wants, there: Callable[[], bool], timeout_s: float | None) -> None:
        self._news.clear()
        self._wants = wants
        if not self._stopping and not there():
            with self._idle():
                self._news.wait(timeout_s)
        self._wants = _Wants.NOTHING

    def _enqueue(self, encoded: EncodedBatch, ledger_slice: LedgerSlice | None) -> None:
        """Cut a batch into messages, compress them, and hand them over."""
        batch = encoded.batch
        index = batch.streams - np.uint32(self._population.first)
        # only these have a fragment that is not answered for yet
        waiting = self._population.outstanding[index] >= MAX_OUTSTANDING
        n_fragments, number = self._per_message, self._next_number
        numbers = number + np.arange(len(batch)) // n_fragments
        earlier = None
        if waiting.any():
            # fewer than 2**32 messages ago
            n_ago = (numbers[0] - self._last_message[index]) & 0xFFFF_FFFF
            earlier = numbers[0] - n_ago
        self._last_message[index] = numbers & 0xFFFF_FFFF
        self._next_number = int(numbers[-1]) + 1
        newest_ns = batch.start_ns[::n_fragments] + (batch.n_samples - 1) * batch.step_ns
        messages = zip(encoded.messages(n_fragments), newest_ns.tolist(), strict=True)
        for (part, raw), newest in messages:
            waits_for: tuple[int, ...] = ()
            if earlier is not None:
                waits_for = tuple(np.unique(earlier[part][waiting[part]]).tolist())
            body = compress(raw.data)
            message = Message(
                number,
                body,
                newest,
                batch.streams,
                part,
                encoded.offsets,
                ledger_slice,
                waits_for,
            )
            number += 1
            if self._stopping:
                return
            self._n_bytes_put += len(body)
            self._queue.append(message)
            if self._hungry:
                self._hungry = False
                self._wake()


class _Outcomes:
    """The numbers of the messages whose outcome is known; nearly all of them are a range."""

    def __init__(self) -> None:
        self._end = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> None:
        """Note one that was not known."""
        self._beyond.add(number)
        while self._end in self._beyond:
            self._beyond.discard(self._end)
            self._end += 1

    def all_known(self, numbers: tuple[int, ...]) -> bool:
        """Whether all of these are known."""
        return all(number < self._end or number in self._beyond for number in numbers)
