"""What a target used, from samples whose sums are known."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.analysis.metrics import Better, better
from looker.model.figures import figure_of, figure_paths, metric_of, resolved
from looker.model.target_usage import (
    CPU,
    FIGURES,
    MAX_POINTS,
    PRODUCT_METRICS,
    RSS,
    STARTED,
    PhaseWork,
    UsageSample,
    UsageSums,
    kept_metrics,
    known_metrics,
)
from looker.model.threshold import judged, parsed

SECOND = 1_000_000_000


def sample(
    at_s: float, cpu_s: float | None, rss: float = 100.0, started_s: float = 1e9, **more: float
) -> UsageSample:
    values = {RSS: rss, STARTED: started_s, **more}
    if cpu_s is not None:
        values[CPU] = cpu_s
    return UsageSample(int(at_s * SECOND), values)


def one_cycle(sums: UsageSums, cycle: int, at_s: float, cpu_s: float) -> None:
    """Add a cycle that writes for 4 CPU seconds and reads for 1, a second after it wrote."""
    work = PhaseWork(2_000_000, 500_000_000)
    for kind, phase, offset, used in (
        ("begin", "write", 0.0, 0.0),
        ("end", "write", 5.0, 4.0),
        ("begin", "read", 6.0, 4.5),
        ("end", "read", 7.0, 5.5),
    ):
        taken = sample(at_s + offset, cpu_s + used, rss=1000 + 100 * offset + 1000 * cycle)
        if kind == "begin":
            sums.begin(phase, cycle, taken)
        else:
            sums.end(phase, cycle, taken, work)
        sums.add(taken)


def figures(sums: UsageSums, n_streams: int = 100) -> dict[str, Any]:
    found = sums.figures(n_streams)
    assert found is not None
    return found


def test_one_cycle() -> None:
    sums = UsageSums()
    sums.add(sample(0.0, 10.0, rss=400))
    one_cycle(sums, 0, 1.0, 10.25)
    assert figures(sums) == {
        "cpu_s": 5.5,
        "write_cpu_s": 4.0,
        "write_cpu_s_per_gb": 8.0,
        "write_cpu_s_per_million_samples": 2.0,
        "read_cpu_s": 1.0,
        "read_cpu_s_per_million_samples": 0.5,
        "rss_bytes_start": 400,
        "rss_bytes_max": 1700,
        "rss_bytes_end": 1700,
        "rss_bytes_per_stream": 13.0,
        "metrics": {},
    }
    assert (sums.n_scrapes, sums.n_failed, sums.error, sums.restarted) == (5, 0, None, False)


@given(st.integers(1, 30), st.integers(0, 29))
def test_cycles_add_up_and_those_before_the_first_are_left_out(n_cycles: int, first: int) -> None:
    sums = UsageSums(first_cycle=first)
    for cycle in range(n_cycles):
        one_cycle(sums, cycle, 10.0 * cycle, 6.0 * cycle)
    sums.close()
    found, n_measured = figures(sums), max(0, n_cycles - first)
    assert found["write_cpu_s"] == (4.0 * n_measured if n_measured else None)
    assert found["read_cpu_s"] == (1.0 * n_measured if n_measured else None)
    assert found["write_cpu_s_per_gb"] == (8.0 if n_measured else None)
    if n_measured:
        assert found["cpu_s"] == 6.0 * n_measured - 0.5
        # the last answer before the first measured cycle, or its own first one
        assert found["rss_bytes_start"] == (1000 if first == 0 else 1700 + 1000 * (first - 1))
        assert found["rss_bytes_max"] == 1700 + 1000 * (n_cycles - 1)


def test_a_phase_of_which_an_end_is_not_known_spoils_the_sum_but_not_the_rates() -> None:
    sums = UsageSums()
    one_cycle(sums, 0, 0.0, 0.0)
    sums.begin("write", 1, sample(10.0, 6.0))
    sums.end("write", 1, None, PhaseWork(9_000_000, 9_000_000_000))
    found = figures(sums)
    assert found["write_cpu_s"] is None
    assert found["write_cpu_s_per_gb"] == 8.0
    assert found["read_cpu_s"] == 1.0
    # neither does one that never ends
    sums.begin("read", 1, sample(11.0, 7.0))
    assert figures(sums)["read_cpu_s"] == 1.0
    sums.close()
    assert figures(sums)["read_cpu_s"] is None
    assert figures(sums)["read_cpu_s_per_million_samples"] == 0.5


def test_a_phase_with_one_answer_for_both_ends_is_not_known() -> None:
    sums, taken = UsageSums(), sample(1.0, 5.0)
    sums.begin("write", 0, taken)
    sums.end("write", 0, taken, PhaseWork(10, 10))
    sums.add(taken)
    assert figures(sums)["write_cpu_s"] is None
    assert figures(sums)["write_cpu_s_per_gb"] is None


def test_a_target_that_does_not_tell_its_cpu_time() -> None:
    sums = UsageSums()
    for at_s, kind in ((0.0, "begin"), (1.0, "end")):
        taken = sample(at_s, None, rss=100 + at_s)
        if kind == "begin":
            sums.begin("write", 0, taken)
        else:
            sums.end("write", 0, taken, PhaseWork(10, 10))
        sums.add(taken)
    found = figures(sums)
    assert {name for name in FIGURES if found[name] is None} == {
        name for name in FIGURES if "cpu_s" in name
    }
    assert found["rss_bytes_per_stream"] == 0.01
    assert sums.course(0)["cpu_s"] == [None, None]


@pytest.mark.parametrize(
    ("started_s", "cpu_s", "restarted"),
    [(1e9, 6.0, False), (1e9 + 1.5, 6.0, False), (1e9 + 3, 6.0, True), (1e9, 5.4, True)],
)
def test_a_process_begun_anew(started_s: float, cpu_s: float, restarted: bool) -> None:
    sums = UsageSums()
    one_cycle(sums, 0, 0.0, 0.0)
    sums.add(sample(9.0, cpu_s, rss=50_000, started_s=started_s))
    found = figures(sums)
    assert sums.restarted is restarted
    assert (found["write_cpu_s"] is None) is restarted
    assert (found["cpu_s"] is None) is restarted
    assert (found["rss_bytes_per_stream"] is None) is restarted
    assert found["rss_bytes_max"] == found["rss_bytes_end"] == 50_000


def test_memory_that_shrinks_is_no_bytes_per_stream() -> None:
    sums = UsageSums()
    sums.add(sample(0.0, 1.0, rss=900))
    sums.begin("write", 0, sample(1.0, 1.0))
    sums.add(sample(1.0, 1.0, rss=800))
    assert figures(sums)["rss_bytes_per_stream"] is None
    assert figures(sums, 0)["rss_bytes_per_stream"] is None


def test_metrics_of_its_own() -> None:
    sums = UsageSums(asked=['asked{a="1.5"}', "never"])
    sums.add(sample(0.0, 0.0, head_series=3))
    sums.begin("write", 0, None)
    sums.add(sample(1.0, 1.0, head_series=9, **{'asked{a="1.5"}': 4.0}))
    sums.add(sample(2.0, 1.0, head_series=7, **{'asked{a="1.5"}': 6.0}))
    found = figures(sums)
    assert found["metrics"] == {
        'asked{a="1.5"}': {"start": None, "end": 6, "max": 6},
        "never": {"start": None, "end": None, "max": None},
        "head_series": {"start": 3, "end": 7, "max": 9},
    }
    totals = {"target": found}
    assert figure_of(totals, "target.metrics.head_series.max") == 9
    assert figure_of(totals, "target.metrics.never.max") is None
    assert figure_of({"target": None}, "target.metrics.head_series.max") is None
    assert figure_of({}, "target.write_cpu_s") is None
    expr = 'target.metrics.asked{a="1.5"}.end > 5'
    assert judged([parsed(expr)], totals) == [{"expr": expr, "value": 6.0, "breached": True}]
    assert parsed("metrics.a:b.start<=1").path == "target.metrics.a:b.start"


def test_nothing_was_told() -> None:
    sums = UsageSums(asked=["a"])
    sums.fail("first")
    sums.fail("second")
    sums.begin("write", 0, None)
    sums.end("write", 0, None, PhaseWork(1, 1))
    sums.close()
    assert sums.figures(10) is None
    assert (sums.n_failed, sums.error) == (2, "first")
    assert sums.course(0) == {"at_s": [], "cpu_s": [], "rss_bytes": []}


@pytest.mark.parametrize("n_samples", [1, 600, 601, 602, 1200, 1201, 5000])
def test_the_course_is_bounded_even_and_ends_with_the_last(n_samples: int) -> None:
    sums = UsageSums()
    for number in range(n_samples):
        sums.add(sample(100 + number, float(number), rss=2.0 * number))
    course = sums.course(100 * SECOND)
    at_s = course["at_s"]
    assert min(n_samples, MAX_POINTS // 2) <= len(at_s) <= MAX_POINTS
    assert at_s[-1] == n_samples - 1
    assert course["cpu_s"] == at_s
    assert course["rss_bytes"] == [2 * at for at in at_s]
    steps = {after - before for before, after in pairwise(at_s[:-1])}
    assert len(steps) <= 1
    assert n_samples > MAX_POINTS or len(at_s) == n_samples


def test_every_figure_has_a_path_and_less_of_it_is_better() -> None:
    found = figures(UsageSums(_last=sample(0, 0), _first=sample(0, 0)))
    assert {f"target.{name}" for name in found if name != "metrics"} == {
        path for path in figure_paths() if path.startswith("target.")
    }
    assert {better(f"target.{name}") for name in FIGURES} == {Better.LOWER}
    # nobody knows of any metric whether it is better
    assert better("target.metrics.cache_hits_total.end") is None
    assert resolved("write_cpu_s_per_gb") == "target.write_cpu_s_per_gb"
    assert resolved("cpu_s") == "write.cpu_s"
    assert metric_of("target.metrics.a.b.c.end") == "a.b.c"
    for path in ("target.metrics.a", "target.metrics..end", "target.metrics.a.p99"):
        with pytest.raises(ValueError, match="is no figure of the report"):
            resolved(path)


def test_what_is_kept_of_which_product() -> None:
    for product in PRODUCT_METRICS:
        heap, *names, held = kept_metrics(product)
        assert (heap, held) == ("go_memstats_heap_inuse_bytes", "looker_target_held_bytes")
        assert {heap, *names, held} < known_metrics()
        assert {name.split("_")[0] for name in names} <= {"prometheus", "loki", "cortex"}


def test_sums_keep_nothing_per_cycle() -> None:
    sums = UsageSums()
    for cycle in range(1000):
        one_cycle(sums, cycle, 10.0 * cycle, 6.0 * cycle)
    sizes = [
        len(value)
        for value in (getattr(sums, spec.name) for spec in dataclasses.fields(sums))
        if isinstance(value, list | dict)
    ]
    assert max(sizes) <= MAX_POINTS
