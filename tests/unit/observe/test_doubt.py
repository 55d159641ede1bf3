"""What is said of samples that were never acknowledged, and of the target's words."""

from __future__ import annotations

from typing import Any

import pytest

from looker.observe.doubt import resolved, words_of_target


def report(**changes: Any) -> dict[str, Any]:
    return {
        "interrupted": False,
        "config": {"read_n_streams": None, "n_samples_per_fragment": 5},
        **changes,
    }


def write(n_doubt: int, **said: Any) -> dict[str, Any]:
    return {
        "samples_in_doubt": n_doubt,
        "responses_by_status": said.get("counts", {}),
        "reasons_by_status": said.get("texts", {}),
    }


def read(n_found: int, **changes: Any) -> dict[str, Any]:
    return {
        "skipped": False,
        "samples_indeterminate_found": n_found,
        "verify": "content",
        "error": None,
        **changes,
    }


WHOSE = "1,000 entries that were never acknowledged"


@pytest.mark.parametrize(
    ("n_found", "changes", "said"),
    [
        (1000, {}, f"{WHOSE} were found exact"),
        (1000, {"verify": "count"}, f"{WHOSE} were found"),
        (400, {}, f"400 of {WHOSE} were found exact"),
        (0, {}, f"none of {WHOSE} was found"),
        (400, {"error": "503"}, f"of {WHOSE}, 400 were found exact before reading ended"),
        (0, {"skipped": True}, "1,000 entries were never acknowledged"),
    ],
)
def test_reading_resolves_what_was_in_doubt(
    n_found: int, changes: dict[str, Any], said: str
) -> None:
    assert resolved(report(), [write(1000)], [read(n_found, **changes)], "entries") == said


def test_where_nothing_was_in_doubt_nothing_is_said() -> None:
    assert resolved(report(), [write(0)], [read(0)], "entries") is None
    assert resolved(report(), [], [], "entries") is None


def test_the_warm_up_counts() -> None:
    said = resolved(report(), [write(10), write(5)], [read(10), read(5)], "samples")
    assert said == "15 samples that were never acknowledged were found exact"


def test_a_sparse_read_cannot_tell_of_all() -> None:
    sparse = report(config={"read_n_streams": 3, "n_samples_per_fragment": 5})
    said = resolved(sparse, [write(1000)], [read(30)], "samples")
    assert said == "30 samples that were never acknowledged were found exact"


def test_a_ledger_tells_how_much_was_in_doubt() -> None:
    ledger = {"fragments": 50, "fragments_acknowledged": 40, "sample_fraction": 1}
    whole = report(ledger=ledger)
    assert resolved(whole, [], [read(20)], "samples") == (
        "20 of 50 samples that were never acknowledged were found exact"
    )
    part = report(ledger={**ledger, "sample_fraction": 0.5})
    assert resolved(part, [], [read(20)], "samples") == (
        "20 samples that were never acknowledged were found exact"
    )


def test_the_commonest_words_of_each_status() -> None:
    one = write(
        5,
        counts={"204": 9, "500": 3, "ReadTimeout": 1, "200": 2, "401": 1},
        texts={
            "500": [{"text": "b", "count": 2}, {"text": "a", "count": 1}],
            "ReadTimeout": [{"text": "no answer in time", "count": 1}],
            "200": [{"text": "ok", "count": 2}],
            "401": [{"text": "", "count": 1}],
        },
    )
    other = write(0, counts={"500": 2}, texts={"500": [{"text": "a", "count": 2}]})
    assert words_of_target([one, other], passed=True) == [
        "answer 200, 2 times: ok",
        "answer 401, once: (without a word)",
        "answer 500, 5 times, 3 of them: a",
        "ReadTimeout, once: no answer in time",
    ]
    many = {str(status): [{"text": "x", "count": 1}] for status in range(400, 420)}
    counts = {status: 9 - (status == "400") for status in many}
    lines = words_of_target([write(1, counts=counts, texts=many)], passed=True)
    assert lines[:1] == ["answer 401, 9 times, 1 of them: x"]
    assert (len(lines), lines[-1]) == (9, "and 12 other kinds of answers")
    # what a success says is of interest only where something is not as it should be
    kind = write(0, counts={"200": 2}, texts={"200": [{"text": "ok", "count": 2}]})
    assert words_of_target([kind], passed=True) == []
    assert words_of_target([kind], passed=False) == ["answer 200, 2 times: ok"]
