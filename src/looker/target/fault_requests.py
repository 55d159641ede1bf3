"""What faults do to whole requests: pushes that are lost or lie, answers that do not come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from looker.target.answers import TEXT, Answer, plain_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.target.damage import AnswerDamage, StoreDamage
    from looker.target.faults import Fault, Faults

_REFUSALS: Final = {
    # what a gateway says, which tells nothing of what became of the push
    "http-429": (429, "Too Many Requests"),
    "http-500": (500, "Internal Server Error"),
    "http-503": (503, "Service Unavailable"),
    # what Loki and Cortex say before they store anything
    "retry-after": (429, "ingestion rate limit exceeded"),
}
_AFTERWARDS: Final = frozenset({"reset-after-store", "store-then-500", "partial-400"})


class FaultyRequests:
    """Answers requests as the faults want it; ``respond`` answers them as they should be."""

    def __init__(self, faults: Faults, stored: StoreDamage, found: AnswerDamage) -> None:
        self._faults = faults
        self._stored = stored
        self._found = found

    def push(self, acknowledged: Answer, respond: Callable[[], Answer]) -> Answer:
        """Answer a push; the first fault that strikes decides what becomes of it."""
        delay_s, afterwards = 0.0, ""
        for schedule in self._faults.of_pushes:
            if not self._faults.strikes(schedule):
                continue
            fault = schedule.fault
            if fault.kind == "slow":
                delay_s += fault.seconds
            elif fault.kind == "ack-without-store":
                return replace(acknowledged, delay_s=delay_s)
            elif fault.kind in _AFTERWARDS:
                afterwards = fault.kind
                break
            else:
                return replace(_unserved(fault), delay_s=delay_s)
        self._stored.keeps_half = afterwards == "partial-400"
        try:
            answer = respond()
        finally:
            self._stored.keeps_half = False
        if afterwards and answer.status < 300:
            answer = _denied(afterwards)
        return replace(answer, delay_s=delay_s)

    def query(self, respond: Callable[[], Answer]) -> Answer:
        """Answer whatever else is asked; only queries that find something are struck."""
        self._found.n_found = 0
        answer = respond()
        if self._found.n_found == 0 or answer.status != 200:
            return answer
        if self._faults.take("truncated-json", 1) is not None:
            answer = replace(answer, body=answer.body[: len(answer.body) // 2])
        elif self._faults.take("wrong-content-type", 1) is not None:
            answer = replace(answer, content_type="text/html; charset=utf-8")
        for schedule in self._faults.of_queries:
            if not self._faults.strikes(schedule):
                continue
            if schedule.fault.kind != "slow":
                return _unserved(schedule.fault)
            answer = replace(answer, delay_s=answer.delay_s + schedule.fault.seconds)
        return answer


def _unserved(fault: Fault) -> Answer:
    """Return the answer to a request that was not looked at."""
    if fault.kind in _REFUSALS:
        status, text = _REFUSALS[fault.kind]
        refusal = plain_error(status, f"{text} (looker target: fault {fault.kind})")
        if fault.kind != "retry-after":
            return refusal
        return replace(refusal, headers={"Retry-After": f"{fault.seconds:g}"})
    return Answer(0, drop_after_s=fault.seconds if fault.kind == "hang" else 0.0)


def _denied(kind: str) -> Answer:
    """Return the answer to a push that was stored, in whole or in part."""
    if kind == "reset-after-store":
        return Answer(0, drop_after_s=0.0)
    if kind == "store-then-500":
        return plain_error(500, "Internal Server Error (looker target: fault store-then-500)")
    text = "half of each fragment is too old (looker target: fault partial-400)"
    return Answer(400, (text + "\n").encode(), TEXT)
