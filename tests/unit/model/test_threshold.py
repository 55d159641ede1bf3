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
from looker.model.threshold import cannot_hold, judged, parsed

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
    read = ReadReport()
    return {"write": write.to_json(read), "read": read.to_json(), "spot_check": None}


def test_every_path_is_a_number_of_the_report() -> None:
    paths = figure_paths()
    assert len(set(paths)) == len(paths)
    for path in (
        "write.samples_per_s",
        "write.service_ms.p99_9",
        "read.mismatches.wrong_labels",
        "read.visible_after_ms.max",
        "write.limited_by_shares.batch_deadline",
        "read.limited_by_shares.rate_limit",
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
    # of the ten histograms, two have a value, six figures each
    assert n_without == 8 * 6
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
    assert figure_of(totals(), "read.responses_by_status.429") == 0
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


P99 = (
    "write.service_ms.p99, write.push_ms.p99, read.service_ms.p99, read.visible_after_ms.p99,"
    " write.refused_service_ms.p99, write.loop_delay_ms.p99, write.lag_ms.p99,"
    " read.refused_service_ms.p99, read.first_ask_after_ms.p99, spot_check.service_ms.p99"
)


@pytest.mark.parametrize(
    ("path", "likely"),
    [
        ("write.sample_per_s", "write.samples_per_s"),
        ("sampels_per_s", "one of these: write.samples_per_s, read.samples_per_s"),
        (
            "write.service_ms",
            "write.service_ms.p99 (or mean, p50, p90, p99_9, max instead of p99)",
        ),
        ("read.mismatches.mising", "read.mismatches.missing"),
        (
            "write.service_ms.p95",
            "one of these: write.service_ms.p99, write.service_ms.p90",
        ),
        ("read.service_ms.p99.9", "read.service_ms.p99_9"),
        ("p99", f"one of these: {P99}"),
        ("write.latency.p50", "one of these: write.service_ms.p50, write.push_ms.p50"),
        ("lost", "one of these: read.mismatches.missing, spot_check.mismatches.missing"),
    ],
)
def test_field_case_30_an_unknown_path_is_refused_with_all_that_may_be_meant(
    path: str, likely: str
) -> None:
    with pytest.raises(ValueError, match="is no figure of the report") as refusal:
        resolved(path)
    assert str(refusal.value) == f"{path} is no figure of the report; is {likely} meant?"


def test_field_case_30_a_latency_is_a_service_time() -> None:
    with pytest.raises(
        ValueError, match=r"is one of these: write\.service_ms\.p99, write\.push_ms"
    ):
        resolved("latency")


@pytest.mark.parametrize("path", ["write.responses_by_status.", "write.refusal", "x", "..", "-"])
def test_where_nothing_is_meant_the_nearest_is_named(path: str) -> None:
    with pytest.raises(ValueError, match="is no figure of the report; is ") as refusal:
        resolved(path)
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


def test_field_case_13_what_has_no_value_is_not_judged() -> None:
    """A gate that cannot close is not 'kept'."""
    conditions = [
        parsed("write.push_ms.p99 >= 0"),
        parsed("samples_acked  ==  3e6"),
        parsed("target.cpu_s > 5"),
        parsed("spot_check.mismatches.missing > 0"),
        # nothing had to come back
        parsed("read.mismatches.missing > 0"),
    ]
    assert judged(conditions, totals()) == [
        {"expr": "write.push_ms.p99 >= 0", "value": None, "breached": None},
        {"expr": "samples_acked == 3e6", "value": 3_000_000, "breached": True},
        {"expr": "target.cpu_s > 5", "value": None, "breached": None},
        {"expr": "spot_check.mismatches.missing > 0", "value": None, "breached": None},
        {"expr": "read.mismatches.missing > 0", "value": 0, "breached": None},
    ]


def test_what_is_only_measured_where_it_happens_is_kept_where_it_did_not() -> None:
    read = ReadReport(streams_visible_at_first_ask=3)
    read.findings.n_expected = read.findings.n_validated = 30
    conditions = [parsed("read.visible_after_ms.p99 > 500"), parsed("read.service_ms.p99 > 500")]
    assert judged(conditions, {"read": read.to_json()}) == [
        {"expr": "read.visible_after_ms.p99 > 500", "value": None, "breached": False},
        {"expr": "read.service_ms.p99 > 500", "value": None, "breached": None},
    ]
    read.visible_after.record_us(900_000)
    (first, _) = judged(conditions, {"read": read.to_json()})
    assert first["breached"] is True


def test_nothing_is_judged_of_a_run_that_did_nothing() -> None:
    (found,) = judged([parsed("samples_per_s < 5")], {"write": WriteReport().to_json()})
    assert found == {"expr": "samples_per_s < 5", "value": 0.0, "breached": None}
    refused = WriteReport(pushes_rejected=1)
    (found,) = judged([parsed("samples_per_s < 5")], {"write": refused.to_json()})
    assert found["breached"] is True


@pytest.mark.parametrize(
    ("expr", "never"),
    [
        ("read.mismatches.missing < 0", True),
        ("write.samples_per_s <= -1", True),
        ("write.samples_per_s == -1", True),
        ("write.samples_per_s <= 0", False),
        ("write.samples_per_s > -1", False),
        ("write.samples_per_s != -1", False),
        # of the target's own: may be below 0
        ("target.metrics.temperature.end < 0", False),
    ],
)
def test_conditions_that_could_never_hold_are_known(expr: str, never: bool) -> None:
    assert cannot_hold(parsed(expr)) is never
