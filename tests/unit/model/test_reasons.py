"""The words of a target by status: folded, bounded, added up in any order."""

from __future__ import annotations

import random

from looker.model.reasons import MAX_SHOWN, MAX_STATUSES, MAX_TEXTS, Reasons

ORDER = (
    "maxFailure (quorum) on a given error family, addr=127.0.0.1:{port} state=ACTIVE zone=, rpc"
    " error: code = Code(400) desc = user=fake: err: out of order sample."
    ' timestamp=2026-11-28T07:46:{second}Z, series={{__name__="m", looker_uniquename="a-{port}"}}'
)


def test_texts_that_differ_in_numbers_and_label_sets_are_one() -> None:
    reasons = Reasons()
    for port, second in ((9095, "01.5"), (9096, "07.123"), (12, "59")):
        reasons.note("400", ORDER.format(port=port, second=second))
    reasons.note("400", "request 3f9a-77bc10aa: per-user series limit of 5 exceeded")
    reasons.note("400", "request 0b8c-1122334455: per-user series limit of 60 exceeded")
    reasons.note("500", "")
    told = reasons.to_json()
    assert [one["count"] for one in told["400"]] == [3, 2]
    # a real one, not the folded form
    assert told["400"][1]["text"].endswith("per-user series limit of 60 exceeded")
    assert told["500"] == [{"text": "", "count": 1}]


def test_a_label_set_that_was_cut_off_is_none_the_less() -> None:
    reasons = Reasons()
    reasons.note("400", 'entry too far behind for stream {a="1", looker_uniquename="x')
    reasons.note("400", 'entry too far behind for stream {a="2", looker_unique')
    assert [one["count"] for one in reasons.to_json()["400"]] == [2]


def test_what_is_kept_is_bounded_whatever_a_target_says() -> None:
    """Which texts are kept does not depend on what came first, nor do their counts."""
    texts = ["x" * length + letter for length in range(40) for letter in "yz"]
    said = [text for text in texts for _ in range(3)]
    parts = []
    for seed in range(3):
        random.Random(seed).shuffle(said)  # noqa: S311 - any order
        part = Reasons()
        for text in said:
            part.note("500", text)
        parts.append(part)
    assert parts[0] == parts[1] == parts[2]
    assert len(parts[0].by_status["500"]) == MAX_TEXTS
    total = Reasons()
    for part in parts:
        total.merge(part)
    shown = total.to_json()["500"]
    assert [one["count"] for one in shown] == [9] * MAX_SHOWN


def test_statuses_are_bounded_too_in_any_order() -> None:
    numbers = list(range(400, 500))
    kept = [str(number) for number in numbers[:MAX_STATUSES]]
    for order in (numbers, numbers[::-1], numbers[50:] + numbers[:50]):
        reasons = Reasons()
        for _ in range(2):
            for number in order:
                reasons.note(str(number), "no")
        told = reasons.to_json()
        assert list(told) == kept
        assert all(told[status] == [{"text": "no", "count": 2}] for status in kept)


def test_a_long_text_is_cut() -> None:
    reasons = Reasons()
    reasons.note("500", "a" * 10_000)
    (said,) = reasons.to_json()["500"]
    assert said == {"text": "a" * 300, "count": 1}
