"""A proxy that lies at random between a run and its target, and what each lie must come to.

A lie in an answer to a query must make the run fail, whatever later answers say; one that only
keeps something back must pass within the grace period, or be told as what it is. What a push is
answered proves nothing: nothing that was stored, or not, behind an odd answer may be a mismatch.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import liars
from looker.wire.snappy import compress, decompress
from servers import RESET, Answer, Proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from liars import Codec, Element
    from servers import Forward

_LEAST_ROWS: Final = 3
"""A lie is about a series of so many samples in one answer."""
_ALREADY: Final = b"rpc error: code = AlreadyExists desc = store locally: out of order sample"
_REPLICA: Final = b"replicas did not match, rejecting sample: replica=r2, elected=r1"
_RATE: Final = b"ingestion rate limit (9) exceeded while adding 5 samples and 0 metadata"


@dataclass(frozen=True)
class Lie:
    """What a proxy does to one answer (or, if it is ``steady``, to all of them).

    ``codes`` are the exit codes of which the run's must be one if it struck; a code of 1 says that
    mismatches were found, any other that none were. ``content`` tells that only those see it who
    look at content.
    """

    name: str
    codes: tuple[int, ...]
    query: Callable[[list[Element]], None] | None = None
    says: Mapping[str, Any] = field(default_factory=dict)
    push: tuple[Answer | None, ...] = ()
    stores: bool = True
    steady: bool = False
    content: bool = False
    labels: bool = False
    grace_s: float = 30.0

    def is_for(self, like: str | None, verify: str) -> bool:
        """Tell whether a run of this kind can see it."""
        if self.content and verify == "count":
            return False
        # the first label there may be one that Loki adds: to change it is no lie
        return not (self.labels and like == "loki-default")


def _half(elements: list[Element]) -> None:
    """Leave out the later half of each element."""
    for one in elements:
        del one.rows[len(one.rows) // 2 :]


LIES: Final = (
    *(
        Lie(
            f"{name} once",
            (1,),
            query=alter,
            content=name in ("corrupt", "unexpected"),
            labels="label" in name,
        )
        for name, (alter, _) in liars.LIES.items()
    ),
    *(
        Lie(
            f"{name} always",
            (1,),
            query=alter,
            steady=True,
            content=name in ("corrupt", "unexpected"),
            labels="label" in name,
            grace_s=0.2,
        )
        for name, (alter, _) in liars.LIES.items()
    ),
    Lie("a sample comes late", (0,), query=liars.lacking),
    Lie("a sample never comes", (1,), query=liars.lacking, steady=True, grace_s=0.2),
    Lie("an empty answer once", (0,), query=liars.empty),
    Lie("a warning beside all data", (0,), says={"warnings": ["it is cold today"]}, query=len),
    Lie(
        "half of the data, and a warning",
        (3,),
        query=_half,
        says={"warnings": ["some stores did not answer"], "isPartial": True},
        steady=True,
        grace_s=0.2,
    ),
    # stored, whatever was said of it
    Lie("201", (0, 3), push=(Answer(201),)),
    Lie("206", (0, 3), push=(Answer(206, b"partial"),)),
    Lie("303", (0, 3), push=(Answer(303, b"", {"Location": "/"}),)),
    Lie("502 behind a store", (0,), push=(Answer(502), None)),
    Lie("502, then 409", (0,), push=(Answer(502), Answer(409, _ALREADY))),
    *(
        Lie(f"502, then {status}", (0, 3), push=(Answer(502), Answer(status, b"no")))
        for status in (401, 403, 413)
    ),
    Lie("reset behind a store", (0,), push=(RESET, None)),
    Lie("a gateway's own repeat", (0, 3), push=(None, None)),
    Lie("a refusal behind a store", (3,), push=(Answer(403, b"no"),)),
    # not stored, whatever was said of it
    Lie("202 of another replica", (0, 3), push=(Answer(202, _REPLICA),), stores=False),
    Lie("529 of a rate limiter", (0,), push=(Answer(529, _RATE), None), stores=False),
    Lie("503 before a store", (0,), push=(Answer(503), None), stores=False),
    Lie("204 and not stored", (1,), push=(Answer(204),), stores=False, grace_s=0.2),
)


class Liar:
    """Scripts for a proxy: a lie strikes one push, or one answer, chosen at random."""

    def __init__(self, lie: Lie, rng: random.Random) -> None:
        self.lie = lie
        self.n_struck = 0
        self._after = rng.choice((0, 0, 1, 3))
        self._struck_push: bytes | None = None
        self._attempt = 0

    def proxy(self, url: str) -> Proxy:
        """Return the proxy in front of a target."""
        return Proxy(url, push=self._on_push, read=self._on_read)

    async def _on_push(self, number: int, forward: Forward) -> Answer:
        lie, body = self.lie, forward.body  # type: ignore[attr-defined]
        if not lie.push or (self._struck_push is None and number < self._after):
            return await forward()
        if self._struck_push is None:
            self._struck_push = body
        if body != self._struck_push:
            return await forward()
        answers, attempt = lie.push, self._attempt
        self._attempt += 1
        self.n_struck += 1
        if lie.name == "a gateway's own repeat" and attempt == 0:
            await forward()
        answer = answers[min(attempt, len(answers) - 1)]
        if answer is None or (lie.stores and attempt == 0):
            stored = await forward()
            return stored if answer is None else answer
        return answer

    async def _on_read(self, number: int, forward: Forward) -> Answer:
        answer = await forward()
        lie = self.lie
        if lie.query is None or answer.status != 200 or (self.n_struck and not lie.steady):
            return answer
        if number < self._after:
            return answer
        packed = not answer.body.startswith(b"{")
        codec = liars.REMOTE_READ if packed else _json_codec(answer.body)
        if codec is None or (packed and lie.says):
            # remote read says nothing of itself
            return answer
        body = decompress(answer.body, 1 << 30) if packed else answer.body
        elements = codec.decode(body)
        before = copy.deepcopy(elements)
        # what alters one element finds one that is long enough, in the first place
        place = next((i for i, one in enumerate(elements) if len(one.rows) >= _LEAST_ROWS), None)
        if place is None:
            return answer
        head = elements[place:]
        lie.query(head)
        elements[place:] = head
        if elements == before and not lie.says:
            return answer
        self.n_struck += 1
        altered = codec.encode(elements, body, lie.says)
        return Answer(200, compress(altered) if packed else altered, answer.headers)


def _json_codec(body: bytes) -> Codec | None:
    """Return what takes such an answer apart; None where it holds no samples of a run."""
    kind = json.loads(body)["data"]["resultType"]
    return {"streams": liars.LOGS, "matrix": liars.QUERY}.get(kind)
