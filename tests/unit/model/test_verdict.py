"""Which verdict, and which exit code, takes precedence."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import pytest

from looker.errors import ExitCode
from looker.model.verdict import Verdict, gravest, worst

FAILED, UNKNOWN, PASSED, NOT_CHECKED = (
    Verdict.FAILED,
    Verdict.UNKNOWN,
    Verdict.PASSED,
    Verdict.NOT_CHECKED,
)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        *(([1, other], 1) for other in (0, 2, 3, 4, 70, 130)),
        *(([70, other], 70) for other in (0, 3, 4, 130)),
        *(([130, other], 130) for other in (0, 3, 4)),
        *(([3, other], 3) for other in (0, 4)),
        ([0, 4], 4),
        ([0, 2], 2),
        ([4, 3, 130, 70, 1, 0], 1),
        ([4, 3, 130, 70], 70),
        ([4, 3, 130], 130),
    ],
)
def test_gravest(codes: list[int], expected: int) -> None:
    for order in permutations(codes):
        assert gravest(ExitCode(code) for code in order) is ExitCode(expected)


def test_every_code_outweighs_success() -> None:
    for code in ExitCode:
        assert gravest([ExitCode.PASSED, code]) is code


def test_gravest_is_associative() -> None:
    codes = list(ExitCode)
    for some in chain.from_iterable(combinations(codes, n) for n in (3, 4)):
        first, *rest = some
        assert gravest([first, gravest(rest)]) is gravest(some)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], UNKNOWN),
        ([PASSED], PASSED),
        ([NOT_CHECKED], NOT_CHECKED),
        ([NOT_CHECKED, PASSED], PASSED),
        ([PASSED, UNKNOWN], UNKNOWN),
        ([NOT_CHECKED, UNKNOWN], UNKNOWN),
        *(([FAILED, other], FAILED) for other in Verdict),
        ([PASSED, NOT_CHECKED, UNKNOWN, FAILED], FAILED),
    ],
)
def test_worst(verdicts: list[Verdict], expected: Verdict) -> None:
    for order in permutations(verdicts):
        assert worst(order) is expected
