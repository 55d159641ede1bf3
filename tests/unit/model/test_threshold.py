"""Figures of a report by their paths, and conditions on them."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.errors import UsageError
from looker.model.figures import figure_of, figure_paths, resolved
from looker.model.report import ReadReport, SpotCheckReport, WriteReport
from looker.model.threshold import judged, parsed

COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def totals() -> dict[str, Any]:
    write = WriteReport(samples_acked=3_000_000, cpu_s=1.5)
    write.service.record_us(2000)
    write.responses_by_status["429"] = 7
    return {"write": write.to_json(), "read": ReadReport().to_json(), "spot_check": None}


def test_every_path_is_a_number_of_the_report() -> None:
    paths = figure_paths()
    assert len(set(paths)) == len(paths)
    for path in (
        "write.samples_per_s",
        "write.service_ms.p99_9",
        "read.mismatches.wrong_labels",
        "read.visible_after_ms.max",
        "spot_check.queries",
    ):
        assert path in paths
    # neither words nor times of day, nor what is null in every run
    for path in paths:
        assert not path.endswith(("_at", "verdict", "limited_by", "latency_ms", "skipped", "error"))
    spot_check = SpotCheckReport()
    spot_check.service.record_us(5)
    found = {**totals(), "spot_check": spot_check.to_json()}
    paths = tuple(path for path in paths if not path.startswith("target."))
    n_without = sum(figure_of(found, path) is None for path in paths)
    # of the eight histograms, two have a value, six figures each
    assert n_without == 6 * 6
    assert sum(figure_of(totals(), path) is None for path in paths) == n_without + sum(
        path.startswith("spot_check.") for path in paths
    )


def test_figures_by_their_path() -> None:
    assert figure_of(totals(), "write.samples_acked") == 3_000_000
    assert figure_of(totals(), "write.cpu_s_per_million_samples") == 0.5
    assert figure_of(totals(), "write.service_ms.p50") == pytest.approx(2, rel=0.01)
    assert figure_of(totals(), "write.push_ms.p50") is None
    assert figure_of(totals(), "write.responses_by_status.429") == 7
    assert figure_of(totals(), "write.responses_by_status.500") == 0
    assert figure_of(totals(), "read.samples_per_s") == 0
    assert figure_of(totals(), "spot_check.checks") is None
    skipped = {**totals(), "read": ReadReport(skipped=True).to_json()}
    assert figure_of(skipped, "read.samples_per_s") is None
    # of a ledger that was read back
    assert figure_of({"write": None}, "write.samples_per_s") is None
    # a report of an earlier version
    assert figure_of({"write": {}}, "write.service_ms.p50") is None


def test_the_part_may_be_left_out() -> None:
    assert resolved("samples_per_s") == "write.samples_per_s"
    assert resolved("read.samples_per_s") == "read.samples_per_s"
    assert resolved("mismatches.missing") == "read.mismatches.missing"
    assert resolved("checks") == "spot_check.checks"
    assert resolved("responses_by_status.204") == "write.responses_by_status.204"


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("write.sample_per_s", "write.samples_per_s"),
        ("sampels_per_s", "write.samples_per_s"),
        ("write.service_ms", "write.service_ms."),
        ("read.mismatches.mising", "read.mismatches.missing"),
        ("write.service_ms.p95", "write.service_ms.p"),
        ("read.service_ms.p99.9", "read.service_ms.p99_9"),
        ("write.responses_by_status.", "write."),
        ("write.limited_by", "write."),
        ("x", ""),
    ],
)
def test_an_unknown_path_is_refused_with_the_nearest(path: str, near: str) -> None:
    with pytest.raises(ValueError, match="is no figure of the report; is ") as refusal:
        resolved(path)
    assert f"is {near}" in str(refusal.value)
    assert str(refusal.value).rpartition("is ")[2].removesuffix(" meant?") in figure_paths()


@given(
    path=st.sampled_from(figure_paths()),
    word=st.sampled_from(list(COMPARE)),
    bound=st.floats(allow_nan=False, allow_infinity=False),
    value=st.floats(allow_nan=False, allow_infinity=False),
    space=st.sampled_from(["", " ", "  "]),
)
def test_conditions_mean_what_they_say(
    path: str, word: str, bound: float, value: float, space: str
) -> None:
    threshold = parsed(f"{space}{path}{space}{word}{space}{bound!r}{space}")
    assert threshold.path == path
    assert threshold.holds(value) is COMPARE[word](value, bound)
    assert threshold.holds(bound) is COMPARE[word](bound, bound)


@pytest.mark.parametrize(
    "expr",
    [
        "",
        "write.samples_per_s",
        "write.samples_per_s <",
        "< 5",
        "write.samples_per_s < x",
        "write.samples_per_s < nan",
        "write.samples_per_s > inf",
        "write.samples_per_s = 5",
        "write.samples_per_s <> 5",
        "write.samples_per_s < 5 and read.queries > 3",
        "5 < write.samples_per_s",
        "write.samples_per_s < 1,000",
    ],
)
@pytest.mark.parametrize("percent", [False, True])
def test_what_is_no_condition_is_refused(expr: str, percent: bool) -> None:
    with pytest.raises(UsageError, match=r"--fail-if: .*is no condition"):
        parsed(expr, percent=percent)


def test_percent_is_for_differences() -> None:
    assert parsed("samples_per_s < -5%", percent=True).bound == -5
    assert parsed("write.service_ms.p99 >= 0 %", percent=True).holds(0)
    with pytest.raises(UsageError, match="a figure of a run is no percentage"):
        parsed("samples_per_s < 5%")
    with pytest.raises(UsageError, match="a difference is in percent"):
        parsed("samples_per_s < -5", percent=True)
    for expr in ("samples_per_s < 5%", "samples_per_s >= -0.1%"):
        with pytest.raises(UsageError, match="holds where nothing differs"):
            parsed(expr, percent=True)
    for expr in ("samples_per_s == 5%", "samples_per_s != 0%"):
        with pytest.raises(UsageError, match="a difference wants <, <=, > or >="):
            parsed(expr, percent=True)


def test_what_has_no_value_is_not_breached() -> None:
    conditions = [parsed("write.push_ms.p99 >= 0"), parsed("samples_acked  ==  3e6")]
    assert judged(conditions, totals()) == [
        {"expr": "write.push_ms.p99 >= 0", "value": None, "breached": False},
        {"expr": "samples_acked == 3e6", "value": 3_000_000, "breached": True},
    ]
